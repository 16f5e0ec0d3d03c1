//! The checkpoint of a full segment: text that people can read and send elsewhere, signed.

use std::{
    io,
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{
    Hash,
    key::{PublicKey, SigningKey},
    signed::{self, SIGNATURE, hash},
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
        signed::read(&path(dir, segment), |text| Self::parse(text, key))
    }

    /// Writes the checkpoint beside its segment, whole or not at all.
    pub(crate) fn write(&self, dir: &Path, key: &SigningKey) -> io::Result<()> {
        let place = path(dir, self.segment);
        signed::write(dir, "seal.new", &place, &self.text(), key)
    }

    /// Reads a checkpoint's text.
    ///
    /// # Errors
    ///
    /// It is malformed or its signature does not fit.
    pub fn parse(text: &str, key: &PublicKey) -> Result<Self, SealError> {
        let at = text.find(SIGNATURE).ok_or(SealError::Malformed)?;
        let (signed, signature) = text.split_at(at);
        let seal = Self::fields(signed).ok_or(SealError::Malformed)?;
        let signature = signature
            .strip_prefix(SIGNATURE)
            .and_then(|signature| signature.strip_suffix('\n'))
            .and_then(|signature| STANDARD.decode(signature).ok())
            .ok_or(SealError::Malformed)?;
        // Written again from its fields, it has to be the same text: there is one spelling.
        if seal.text() != signed || !key.verify(signed.as_bytes(), &signature) {
            return Err(SealError::Signature);
        }
        Ok(seal)
    }

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
        let mut lines = text.lines();
        if lines.next() != Some(TITLE) {
            return None;
        }
        let mut field = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ');
        Some(Self {
            journal: hex::decode(field("journal")?).ok()?.try_into().ok()?,
            segment: field("segment")?.parse().ok()?,
            first_seq: field("first_seq")?.parse().ok()?,
            last_seq: field("last_seq")?.parse().ok()?,
            bytes: field("bytes")?.parse().ok()?,
            blocks: field("blocks")?.parse().ok()?,
            last_hash: hash(field("last_hash")?)?,
            root: hash(field("root")?)?,
            previous_root: hash(field("previous_root")?)?,
            sealed_ns: field("sealed_ns")?.parse().ok()?,
        })
    }
}

/// The checkpoint's file of a segment.
#[must_use]
pub fn path(dir: &Path, segment: u64) -> PathBuf {
    dir.join(format!("{segment:012}.seal"))
}
