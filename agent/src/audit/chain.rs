//! Tamper evidence: blocks of records are hash-chained and signed, full segments get a signed Merkle root.
//!
//! A block is up to 1,024 records as they lie in their segment, the segment's header included in its first block. Its hash
//! is SHA-256 over the hash before it and those bytes. Block hashes lie in a file beside the segment, each entry signed
//! (ed25519); the signed [`head`] names the last one, so that cutting the end off shows; a full segment is [sealed](seal)
//! with the Merkle root over its blocks. The key lies on the same host: all this proves that nothing
//! changed after a head or seal was copied elsewhere, not that root could not have forged everything before.

pub mod head;
pub mod key;
pub mod merkle;
pub mod retired;
pub mod seal;
mod signed;
pub mod verify;

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use aws_lc_rs::digest;

use self::key::SigningKey;
use super::journal::layout;

/// SHA-256.
pub type Hash = [u8; 32];

/// Records in a block: with fewer, signing them costs a busy agent more than writing them.
pub(crate) const BLOCK_RECORDS: u32 = 1_024;
/// A block is full at this size too.
const BLOCK_BYTES: usize = 256 << 10;
/// Read at a time: a block of hot records has 64 KiB.
const WINDOW_BYTES: u64 = 68 << 10;
/// Bytes of an entry of a chain file. Divides a page, so that an entry is written whole or not at all.
pub(crate) const ENTRY_BYTES: usize = 128;

/// What precedes the first block of a journal.
#[must_use]
pub fn genesis(journal: &[u8; 16]) -> Hash {
    sha256(&[b"weir journal v1", journal])
}

/// A block's hash.
#[must_use]
pub fn block_hash(previous: &Hash, block: &[u8]) -> Hash {
    sha256(&[previous, block])
}

pub(crate) fn sha256(parts: &[&[u8]]) -> Hash {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(part);
    }
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

/// One block as its chain file states it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Where the block starts in its segment.
    pub(crate) offset: u64,
    /// Its length, bytes.
    pub(crate) length: u64,
    /// Its first record.
    pub(crate) first_seq: u64,
    pub(crate) records: u64,
    pub(crate) hash: Hash,
}

impl Entry {
    fn message(&self, journal: &[u8; 16], segment: u64, block: u64) -> Vec<u8> {
        let mut message = b"weir block v1".to_vec();
        message.extend(journal);
        for number in [
            segment,
            block,
            self.offset,
            self.length,
            self.first_seq,
            self.records,
        ] {
            message.extend(number.to_le_bytes());
        }
        message.extend(self.hash);
        message
    }

    fn encode(
        &self,
        journal: &[u8; 16],
        segment: u64,
        block: u64,
        key: &SigningKey,
    ) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        for (slot, number) in
            bytes
                .chunks_exact_mut(8)
                .zip([self.offset, self.length, self.first_seq, self.records])
        {
            slot.copy_from_slice(&number.to_le_bytes());
        }
        bytes[32..64].copy_from_slice(&self.hash);
        bytes[64..].copy_from_slice(&key.sign(&self.message(journal, segment, block)));
        bytes
    }

    /// Reads an entry; `None` when the signature does not fit its place and content.
    pub(crate) fn decode(
        bytes: &[u8],
        journal: &[u8; 16],
        segment: u64,
        block: u64,
        key: &key::PublicKey,
    ) -> Option<Self> {
        let bytes: &[u8; ENTRY_BYTES] = bytes.try_into().ok()?;
        let entry = Self {
            offset: layout::take(bytes, 0),
            length: layout::take(bytes, 8),
            first_seq: layout::take(bytes, 16),
            records: layout::take(bytes, 24),
            hash: *bytes[32..].first_chunk()?,
        };
        key.verify(&entry.message(journal, segment, block), &bytes[64..])
            .then_some(entry)
    }
}

/// The chain of one segment, being written.
///
/// The last block is hashed again and its entry overwritten until it is full: a trickle of records does not leave
/// an entry for each.
#[derive(Debug)]
pub(crate) struct SegmentChain {
    journal: [u8; 16],
    pub(crate) segment: u64,
    file: File,
    /// Full blocks.
    blocks: Vec<Hash>,
    /// Before the open block.
    previous: Hash,
    open: Entry,
}

impl SegmentChain {
    /// Begins the chain of a segment whose first record is `first_seq`; an older file of that name is emptied.
    pub(crate) fn begin(
        dir: &Path,
        journal: [u8; 16],
        segment: u64,
        first_seq: u64,
        previous: Hash,
    ) -> io::Result<Self> {
        Ok(Self {
            journal,
            segment,
            file: open(dir, segment, true)?,
            blocks: Vec::new(),
            previous,
            open: Entry {
                offset: 0,
                length: 0,
                first_seq,
                records: 0,
                hash: previous,
            },
        })
    }

    /// Goes on with a chain whose entries the caller has checked.
    pub(crate) fn resume(
        dir: &Path,
        journal: [u8; 16],
        segment: u64,
        previous: Hash,
        entries: &[Entry],
    ) -> io::Result<Self> {
        let mut chain = Self {
            journal,
            segment,
            file: open(dir, segment, false)?,
            blocks: Vec::new(),
            previous,
            open: Entry {
                offset: 0,
                length: 0,
                first_seq: 0,
                records: 0,
                hash: previous,
            },
        };
        for (at, entry) in entries.iter().enumerate() {
            chain.open = *entry;
            if at + 1 < entries.len() {
                chain.close_block();
            }
        }
        chain.file.set_len((entries.len() * ENTRY_BYTES) as u64)?;
        Ok(chain)
    }

    /// The last hash, and the block it belongs to.
    pub(crate) fn last(&self) -> (u64, Hash) {
        if self.open.length == 0 {
            ((self.blocks.len() as u64).saturating_sub(1), self.previous)
        } else {
            (self.blocks.len() as u64, self.open.hash)
        }
    }

    /// Covers the segment's records up to `until`, which is where a record ends.
    ///
    /// # Errors
    ///
    /// Reading or writing fails, or the segment's bytes are not records.
    pub(crate) fn extend(
        &mut self,
        segment: &File,
        until: usize,
        key: &SigningKey,
    ) -> io::Result<()> {
        let until = until as u64;
        let mut window = Vec::new();
        while self.covered() < until {
            let before = self.open;
            let count = (until - self.open.offset).min(self.open.length + WINDOW_BYTES);
            read_exact_at(segment, &mut window, self.open.offset, count)?;
            let mut at = usize::try_from(self.open.length).map_err(io::Error::other)?;
            if self.open.offset == 0 && at == 0 {
                at = layout::SEGMENT_HEADER_BYTES;
            }
            while self.open.records < u64::from(BLOCK_RECORDS)
                && self.open.offset + (at as u64) < until
                && at < BLOCK_BYTES
            {
                let total = match window.get(at..).and_then(layout::length_at) {
                    Some(total) => total,
                    // The record's first word lies beyond the window.
                    None if at >= window.len() => break,
                    None => {
                        return Err(io::Error::other(
                            "the segment holds something that is not a record",
                        ));
                    }
                };
                if at + total > window.len() {
                    let count = (at + total) as u64;
                    if self.open.offset + count > until {
                        return Err(io::Error::other(
                            "a record reaches beyond the segment's end",
                        ));
                    }
                    read_exact_at(segment, &mut window, self.open.offset, count)?;
                }
                at += total;
                self.open.records += 1;
            }
            self.open.length = at as u64;
            self.open.hash = block_hash(&self.previous, &window[..at]);
            let block = self.blocks.len() as u64;
            let entry = self.open.encode(&self.journal, self.segment, block, key);
            if let Err(error) = self.file.write_all_at(&entry, block * ENTRY_BYTES as u64) {
                // Not covered then: it is tried again once the disk has room.
                self.open = before;
                return Err(error);
            }
            if self.open.records >= u64::from(BLOCK_RECORDS) || at >= BLOCK_BYTES {
                self.close_block();
            }
        }
        Ok(())
    }

    /// Waits until the entries are on disk.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// The hashes of all blocks, the open one included: what the seal is over.
    pub(crate) fn block_hashes(&self) -> Vec<Hash> {
        let open = (self.open.length > 0).then_some(self.open.hash);
        self.blocks.iter().copied().chain(open).collect()
    }

    fn covered(&self) -> u64 {
        self.open.offset + self.open.length
    }

    fn close_block(&mut self) {
        self.blocks.push(self.open.hash);
        self.previous = self.open.hash;
        self.open = Entry {
            offset: self.covered(),
            length: 0,
            first_seq: self.open.first_seq + self.open.records,
            records: 0,
            hash: self.previous,
        };
    }
}

/// The chain file of a segment.
pub(crate) fn path(dir: &Path, segment: u64) -> PathBuf {
    dir.join(format!("{segment:012}.chain"))
}

fn open(dir: &Path, segment: u64, fresh: bool) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(fresh)
        .mode(0o600)
        .open(path(dir, segment))
}

fn read_exact_at(file: &File, into: &mut Vec<u8>, offset: u64, count: u64) -> io::Result<()> {
    into.resize(usize::try_from(count).map_err(io::Error::other)?, 0);
    file.read_exact_at(into, offset)
}
