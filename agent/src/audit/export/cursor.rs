//! How far a sink has got, on disk.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{integrity::Link, tape::Carry};
use crate::audit::journal::reader::{self, Position, ReadError};

/// The cursors' folder below the state directory.
const FOLDER: &str = "export";

/// Why a cursor cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CursorError {
    /// The operating system refused.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// What was attempted.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// Its content makes no sense; without it records would be missing or come twice.
    #[error("{} is no cursor of an export; remove it to send everything again", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
    },
    /// The journal that it is a place in.
    #[error("cannot read the journal's id")]
    Journal(#[from] ReadError),
}

/// How far a sink has got.
#[derive(Debug)]
pub(super) struct Cursor {
    path: PathBuf,
    journal: String,
    place: Place,
}

/// A place in the journal, and what whoever goes on there has to know of what lies before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) position: Position,
    pub(super) carry: Carry,
    /// The last event that was sent, where events are chained.
    pub(super) link: Option<Link>,
    /// Records that the sink will never take.
    pub(super) refused: u64,
}

impl Place {
    const START: Self = Self {
        position: Position::START,
        carry: Carry {
            requests: BTreeSet::new(),
            sessions: BTreeMap::new(),
        },
        link: None,
        refused: 0,
    };
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    journal: String,
    segment: u64,
    offset: u64,
    seq: u64,
    // Earlier versions did not note these.
    #[serde(default)]
    carry: Carry,
    #[serde(default)]
    link: Option<Link>,
    #[serde(default)]
    refused: u64,
}

impl Cursor {
    /// Reads the cursor of the sink `name`; a new sink begins with the first record there is, and so does one of another journal.
    pub(super) fn open(state_dir: &Path, journal: &Path, name: &str) -> Result<Self, CursorError> {
        let folder = state_dir.join(FOLDER);
        let failed = |doing, path: &Path| {
            let path = path.to_owned();
            move |source| CursorError::Io {
                doing,
                path,
                source,
            }
        };
        std::fs::create_dir_all(&folder).map_err(failed("make", &folder))?;
        let path = folder.join(format!("{name}.json"));
        let journal = reader::journal_id(journal)?
            .map(hex::encode)
            .unwrap_or_default();
        let place = match std::fs::read(&path) {
            Ok(bytes) => {
                let written: Written = serde_json::from_slice(&bytes)
                    .map_err(|_| CursorError::Malformed { path: path.clone() })?;
                if written.journal == journal {
                    Place {
                        position: Position {
                            segment: written.segment,
                            offset: written.offset,
                            seq: written.seq,
                        },
                        carry: written.carry,
                        link: written.link,
                        refused: written.refused,
                    }
                } else {
                    Place::START
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Place::START,
            Err(error) => return Err(failed("read", &path)(error)),
        };
        Ok(Self {
            path,
            journal,
            place,
        })
    }

    /// The journal's id, hex.
    pub(super) fn journal(&self) -> &str {
        &self.journal
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// Notes that everything before `place` was confirmed.
    pub(super) fn advance(&mut self, place: Place) -> Result<(), CursorError> {
        let written = Written {
            journal: self.journal.clone(),
            segment: place.position.segment,
            offset: place.position.offset,
            seq: place.position.seq,
            carry: place.carry.clone(),
            link: place.link.clone(),
            refused: place.refused,
        };
        let draft = self.path.with_extension("new");
        let text = serde_json::to_vec(&written).unwrap_or_default();
        // Not synced: after a power failure records come again, and none is missing.
        std::fs::write(&draft, text)
            .and_then(|()| std::fs::rename(&draft, &self.path))
            .map_err(|source| CursorError::Io {
                doing: "write",
                path: self.path.clone(),
                source,
            })?;
        self.place = place;
        Ok(())
    }
}
