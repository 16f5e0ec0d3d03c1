//! The signed head: how far the chain goes. Cutting the end off journal and chain leaves a head that names more.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use super::{
    Hash,
    key::{PublicKey, SigningKey},
};
use crate::audit::journal::layout;

const HEAD_BYTES: usize = 144;
const MAGIC: [u8; 8] = *b"WEIRHED1";

/// How far the chain goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The segment.
    pub segment: u64,
    /// The last block in it.
    pub block: u64,
    /// The last record covered.
    pub last_seq: u64,
    /// The chain's hash over everything up to that record.
    pub hash: Hash,
    /// When it was signed, nanoseconds since the epoch.
    pub time_ns: u64,
    /// Whether the journal was closed in good order: then nothing may follow.
    pub closed: bool,
}

/// Why a head cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HeadError {
    /// The file cannot be read.
    #[error("cannot read the chain's head")]
    Read(#[source] io::Error),
    /// It is not a head, or not one signed by this key for this journal.
    #[error("the chain's head is not signed by this journal's key")]
    Signature,
}

/// The head's file, rewritten in place.
#[derive(Debug)]
pub(crate) struct HeadFile {
    dir: PathBuf,
    file: File,
    journal: [u8; 16],
    /// Whether the file is on the disk as a whole: what is rewritten in place later is the old head or the new one.
    is_placed: bool,
}

impl HeadFile {
    pub(crate) fn open(dir: &Path, journal: [u8; 16]) -> io::Result<Self> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path(dir))?;
        Ok(Self {
            dir: dir.to_owned(),
            file,
            journal,
            is_placed: false,
        })
    }

    pub(crate) fn write(&mut self, head: &Head, key: &SigningKey) -> io::Result<()> {
        let mut bytes = head.encode();
        let signature = key.sign(&message(&self.journal, &bytes));
        bytes[80..].copy_from_slice(&signature);
        self.file.write_all_at(&bytes, 0)?;
        if !self.is_placed {
            self.file.sync_all()?;
            File::open(&self.dir)?.sync_all()?;
            self.is_placed = true;
        }
        Ok(())
    }

    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

impl Head {
    /// Reads the head of the journal in `dir`; `None` when there is none.
    ///
    /// # Errors
    ///
    /// It cannot be read, or its signature does not fit.
    pub fn read(
        dir: &Path,
        journal: &[u8; 16],
        key: &PublicKey,
    ) -> Result<Option<Self>, HeadError> {
        let bytes = match std::fs::read(path(dir)) {
            // Made with the journal, written with its first block.
            Ok(bytes) if bytes.is_empty() => return Ok(None),
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(HeadError::Read(error)),
        };
        let bytes: &[u8; HEAD_BYTES] = bytes
            .as_slice()
            .try_into()
            .map_err(|_| HeadError::Signature)?;
        if bytes[..8] != MAGIC || !key.verify(&message(journal, bytes), &bytes[80..]) {
            return Err(HeadError::Signature);
        }
        let mut hash = [0; 32];
        hash.copy_from_slice(&bytes[32..64]);
        Ok(Some(Self {
            segment: layout::take(bytes, 8),
            block: layout::take(bytes, 16),
            last_seq: layout::take(bytes, 24),
            hash,
            time_ns: layout::take(bytes, 64),
            closed: bytes[72] == 1,
        }))
    }

    fn encode(&self) -> [u8; HEAD_BYTES] {
        let mut bytes = [0; HEAD_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..16].copy_from_slice(&self.segment.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.block.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.last_seq.to_le_bytes());
        bytes[32..64].copy_from_slice(&self.hash);
        bytes[64..72].copy_from_slice(&self.time_ns.to_le_bytes());
        bytes[72] = u8::from(self.closed);
        bytes
    }
}

/// The head's file in a journal's folder.
#[must_use]
pub fn path(dir: &Path) -> PathBuf {
    dir.join("head")
}

/// Whether the head in a journal's folder, whoever signed it, names a record.
pub(crate) fn names_records(dir: &Path) -> bool {
    std::fs::read(path(dir)).is_ok_and(|bytes| {
        // One that is cut or damaged may have.
        let is_whole = bytes.len() == HEAD_BYTES && bytes[..8] == MAGIC;
        let names_none = is_whole && layout::take(&bytes, 24) == 0;
        !names_none && bytes.iter().any(|byte| *byte != 0)
    })
}

fn message(journal: &[u8; 16], bytes: &[u8; HEAD_BYTES]) -> Vec<u8> {
    let mut message = b"weir head v1".to_vec();
    message.extend(journal);
    message.extend(&bytes[..80]);
    message
}
