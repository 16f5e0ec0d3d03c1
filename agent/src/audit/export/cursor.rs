//! How far a sink has got, on disk.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{integrity::Link, tape::Carry};
use crate::audit::journal::{
    Journal,
    reader::{self, Position, ReadError},
};

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
    /// What was wrong with it.
    incident: Option<String>,
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

impl Written {
    fn place(self) -> Place {
        Place {
            position: Position {
                segment: self.segment,
                offset: self.offset,
                seq: self.seq,
            },
            carry: self.carry,
            link: self.link,
            refused: self.refused,
        }
    }
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
    /// Reads the cursor of the sink `name`; a new sink begins with the first record there is, and so does one of another journal
    /// and one whose cursor makes no sense: records that come again harm less than an agent that does not start.
    pub(super) fn open(
        state_dir: &Path,
        journal: &Journal,
        name: &str,
    ) -> Result<Self, CursorError> {
        let folder = state_dir.join(FOLDER);
        let failed = |doing, path: &Path| {
            let path = path.to_owned();
            move |source| CursorError::Io {
                doing,
                path,
                source,
            }
        };
        fs::create_dir_all(&folder).map_err(failed("make", &folder))?;
        let path = folder.join(format!("{name}.json"));
        let id = reader::journal_id(journal.folder())?
            .map(hex::encode)
            .unwrap_or_default();
        let mut incident = None;
        let mut place = match fs::read(&path) {
            Ok(bytes) => match serde_json::from_slice::<Written>(&bytes) {
                Ok(written) if written.journal == id => written.place(),
                Ok(_) => Place::START,
                Err(error) => {
                    incident = Some(format!(
                        "the cursor of the export {name} makes no sense ({error}): all that the journal holds is sent again"
                    ));
                    Place::START
                }
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Place::START,
            Err(error) => return Err(failed("read", &path)(error)),
        };
        if let Some(end) = before(&place.position, journal)? {
            incident = Some(format!(
                "the cursor of the export {name} is at record {} of segment {}, which the journal does not have: it is set back to record {}",
                place.position.seq, place.position.segment, end.seq
            ));
            place.carry.requests.retain(|seq| *seq < end.seq);
            place.position = end;
        }
        Ok(Self {
            path,
            journal: id,
            place,
            incident,
        })
    }

    /// What was wrong with it, for once.
    pub(super) fn take_incident(&mut self) -> Option<String> {
        self.incident.take()
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
        // Synced before it takes its place: a power failure leaves this one or the one before, whole. After the one before
        // records come again, and none is missing.
        write_synced(&draft, &text)
            .and_then(|()| fs::rename(&draft, &self.path))
            .map_err(|source| CursorError::Io {
                doing: "write",
                path: self.path.clone(),
                source,
            })?;
        self.place = place;
        Ok(())
    }
}

/// Where to go on in place of a cursor that is beyond the journal's end: a power failure may have taken what it was
/// confirmed for, and other records have those numbers now. `None` where the cursor is fine.
fn before(cursor: &Position, journal: &Journal) -> Result<Option<Position>, ReadError> {
    let health = journal.health();
    let seq = if cursor.seq > health.seq + 1 {
        journal.resumed_seq() + 1
    } else if cursor.segment > health.segment {
        cursor.seq
    } else {
        return Ok(None);
    };
    let start = reader::start_of(journal.folder(), seq)?.unwrap_or(Position::START);
    Ok(Some(Position { seq, ..start }))
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_data()
}
