//! The signed statement that the first segments were removed on purpose: without it their absence is a fault.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::{
    Hash,
    key::{PublicKey, SigningKey},
    seal::{Seal, SealError},
    signed::{self, Fields, Stated},
};

const TITLE: &str = "weir journal retention v1";

/// Up to where a journal was removed because it was kept long enough, and where its chain stood there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retired {
    /// The journal's id.
    pub journal: [u8; 16],
    /// The last segment that was removed.
    pub segment: u64,
    /// The last record in it.
    pub last_seq: u64,
    /// The hash of its last block.
    pub last_hash: Hash,
    /// The Merkle root over its blocks.
    pub root: Hash,
    /// When it was decided, nanoseconds since the epoch.
    pub retired_ns: u64,
}

impl Retired {
    /// States that the segments up to the one that `seal` is of are no longer kept.
    #[must_use]
    pub fn through(seal: &Seal, retired_ns: u64) -> Self {
        Self {
            journal: seal.journal,
            segment: seal.segment,
            last_seq: seal.last_seq,
            last_hash: seal.last_hash,
            root: seal.root,
            retired_ns,
        }
    }

    /// Reads the statement of the journal in `dir`; `None` when nothing was removed.
    ///
    /// # Errors
    ///
    /// It cannot be read, is malformed, or its signature does not fit.
    pub fn read(dir: &Path, key: &PublicKey) -> Result<Option<Self>, SealError> {
        signed::read(&path(dir), key)
    }

    /// The statement, for those who only read on: its signature is not looked at. `None` when nothing was removed.
    #[must_use]
    pub fn unverified(dir: &Path) -> Option<Self> {
        let text = std::fs::read_to_string(path(dir)).ok()?;
        Self::fields(&text)
    }

    /// The last segment that was removed; zero when none was. Not verified.
    #[must_use]
    pub fn last_segment(dir: &Path) -> u64 {
        Self::unverified(dir).map_or(0, |retired| retired.segment)
    }

    /// Writes the statement, whole or not at all.
    pub(crate) fn write(&self, dir: &Path, key: &SigningKey) -> io::Result<()> {
        signed::write(dir, "retired.new", &path(dir), self, key)
    }
}

impl Stated for Retired {
    fn text(&self) -> String {
        format!(
            "{TITLE}\njournal {}\nsegment {}\nlast_seq {}\nlast_hash {}\nroot {}\nretired_ns {}\n",
            hex::encode(self.journal),
            self.segment,
            self.last_seq,
            hex::encode(self.last_hash),
            hex::encode(self.root),
            self.retired_ns,
        )
    }

    fn fields(text: &str) -> Option<Self> {
        let mut fields = Fields::below(TITLE, text)?;
        Some(Self {
            journal: fields.bytes("journal")?,
            segment: fields.number("segment")?,
            last_seq: fields.number("last_seq")?,
            last_hash: fields.bytes("last_hash")?,
            root: fields.bytes("root")?,
            retired_ns: fields.number("retired_ns")?,
        })
    }
}

/// The statement's file in a journal's folder.
#[must_use]
pub fn path(dir: &Path) -> PathBuf {
    dir.join("retired")
}
