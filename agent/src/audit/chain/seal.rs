//! The checkpoint of a full segment: text that people can read and send elsewhere, signed.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::{
    Hash,
    key::{PublicKey, SigningKey},
    signed::{self, Fields, Stated},
};

const TITLE: &str = "weir journal checkpoint v1";

/// What a checkpoint states of its segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seal {
    /// The journal's id.
    pub journal: [u8; 16],
    /// The segment.
    pub segment: u64,
    /// Its first record.
    pub first_seq: u64,
    /// Its last record.
    pub last_seq: u64,
    /// Its size, bytes.
    pub bytes: u64,
    /// Its blocks.
    pub blocks: u64,
    /// The last block's hash.
    pub last_hash: Hash,
    /// The Merkle root over its blocks' hashes.
    pub root: Hash,
    /// The root of the segment before; zeros for the first.
    pub previous_root: Hash,
    /// When it was sealed, nanoseconds since the epoch.
    pub sealed_ns: u64,
}

/// Why a checkpoint cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The file cannot be read.
    #[error("cannot read the checkpoint")]
    Read(#[source] io::Error),
    /// Its text is not a checkpoint's.
    #[error("the checkpoint is malformed")]
    Malformed,
    /// Not signed by this key.
    #[error("the checkpoint is not signed by this journal's key")]
    Signature,
}

impl Seal {
    /// Reads the checkpoint of a segment; `None` when the segment has none.
    ///
    /// # Errors
    ///
    /// It cannot be read, is malformed, or its signature does not fit.
    pub fn read(dir: &Path, segment: u64, key: &PublicKey) -> Result<Option<Self>, SealError> {
        signed::read(&path(dir, segment), key)
    }

    /// Writes the checkpoint beside its segment, whole or not at all.
    pub(crate) fn write(&self, dir: &Path, key: &SigningKey) -> io::Result<()> {
        let place = path(dir, self.segment);
        signed::write(dir, "seal.new", &place, self, key)
    }

    /// Reads a checkpoint's text.
    ///
    /// # Errors
    ///
    /// It is malformed or its signature does not fit.
    pub fn parse(text: &str, key: &PublicKey) -> Result<Self, SealError> {
        signed::parse(text, key)
    }
}

impl Stated for Seal {
    fn text(&self) -> String {
        format!(
            "{TITLE}\njournal {}\nsegment {}\nfirst_seq {}\nlast_seq {}\nbytes {}\nblocks {}\nlast_hash {}\nroot {}\nprevious_root {}\nsealed_ns {}\n",
            hex::encode(self.journal),
            self.segment,
            self.first_seq,
            self.last_seq,
            self.bytes,
            self.blocks,
            hex::encode(self.last_hash),
            hex::encode(self.root),
            hex::encode(self.previous_root),
            self.sealed_ns,
        )
    }

    fn fields(text: &str) -> Option<Self> {
        let mut fields = Fields::below(TITLE, text)?;
        Some(Self {
            journal: fields.bytes("journal")?,
            segment: fields.number("segment")?,
            first_seq: fields.number("first_seq")?,
            last_seq: fields.number("last_seq")?,
            bytes: fields.number("bytes")?,
            blocks: fields.number("blocks")?,
            last_hash: fields.bytes("last_hash")?,
            root: fields.bytes("root")?,
            previous_root: fields.bytes("previous_root")?,
            sealed_ns: fields.number("sealed_ns")?,
        })
    }
}

/// The checkpoint's file of a segment.
#[must_use]
pub fn path(dir: &Path, segment: u64) -> PathBuf {
    dir.join(format!("{segment:012}.seal"))
}
