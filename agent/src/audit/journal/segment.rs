//! One preallocated, mapped file of the journal.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use memmap2::{MmapOptions, MmapRaw};
use nix::fcntl::{FallocateFlags, fallocate};

use super::layout::{self, RecordKind, SEGMENT_HEADER_BYTES, SegmentHeader};

/// A segment open for writing. Shared with the thread that syncs it; only the holder of the journal's lock stores into it.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) number: u64,
    pub(crate) path: PathBuf,
    map: MmapRaw,
    /// Kept open for reading back and for cutting the segment to size.
    pub(crate) file: File,
}

impl Segment {
    /// Makes a file of `bytes` whose blocks exist, so that storing into the mapping cannot meet a full disk.
    pub(crate) fn create(path: &Path, bytes: u64) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)?;
        let length = i64::try_from(bytes).map_err(io::Error::other)?;
        fallocate(&file, FallocateFlags::empty(), 0, length)?;
        Self::map(path, file, 0)
    }

    /// Maps an existing segment, whose blocks are allocated again in case something made holes.
    pub(crate) fn reopen(path: &Path, number: u64) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let length = i64::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
        fallocate(&file, FallocateFlags::empty(), 0, length)?;
        Self::map(path, file, number)
    }

    fn map(path: &Path, file: File, number: u64) -> io::Result<Self> {
        let map = MmapOptions::new().map_raw(&file)?;
        Ok(Self {
            number,
            path: path.to_owned(),
            map,
            file,
        })
    }

    /// Bytes of the file.
    pub(crate) fn capacity(&self) -> usize {
        self.map.len()
    }

    /// Gives a created segment its number and its place: from here on it is part of the journal.
    pub(crate) fn activate(&mut self, header: &SegmentHeader, path: PathBuf) -> io::Result<()> {
        self.store(0, &header.encode());
        std::fs::rename(&self.path, &path)?;
        self.number = header.number;
        self.path = path;
        Ok(())
    }

    /// Stores a record at `at`, its first word last: a reader sees the whole record or none. Returns its length.
    ///
    /// The caller holds the journal's lock and has checked that the record fits.
    pub(crate) fn append(
        &self,
        at: usize,
        kind: RecordKind,
        seq: u64,
        time_ns: u64,
        payload: &[u8],
    ) -> usize {
        let total = layout::record_bytes(payload.len());
        let mut small = [0_u8; layout::HOT_RECORD_BYTES];
        let word = if total <= small.len() {
            let word = layout::encode(&mut small[..total], kind, seq, time_ns, payload);
            self.store(at + 4, &small[4..total]);
            word
        } else {
            let mut large = vec![0; total];
            let word = layout::encode(&mut large, kind, seq, time_ns, payload);
            self.store(at + 4, &large[4..]);
            word
        };
        self.publish(at, word);
        total
    }

    /// Overwrites everything from `at` with zeros: the torn end of a segment.
    pub(crate) fn clear_from(&self, at: usize) {
        let zeros = [0; 4096];
        let mut at = at;
        while at < self.capacity() {
            let count = zeros.len().min(self.capacity() - at);
            self.store(at, &zeros[..count]);
            at += count;
        }
    }

    /// Waits until the bytes of `range` are on disk.
    pub(crate) fn sync(&self, from: usize, until: usize) -> io::Result<()> {
        if until > from {
            self.map.flush_range(from, until - from)?;
        }
        Ok(())
    }

    fn store(&self, at: usize, bytes: &[u8]) {
        assert!(
            at.checked_add(bytes.len())
                .is_some_and(|end| end <= self.capacity()),
            "a record lies within its segment"
        );
        // SAFETY: the range lies within the mapping (checked above), which lives as long as `self`. The file's blocks are
        // allocated and nobody shortens it while it is mapped. The only writer holds the journal's lock (or owns the segment
        // alone); readers in this process read the file, never this mapping.
        unsafe {
            std::ptr::copy_nonoverlapping(
                bytes.as_ptr(),
                self.map.as_mut_ptr().add(at),
                bytes.len(),
            );
        }
    }

    fn publish(&self, at: usize, word: u32) {
        assert!(
            at.is_multiple_of(8) && at + 4 <= self.capacity(),
            "records are aligned"
        );
        // SAFETY: as in `store`; mappings are page-aligned and `at` is a multiple of eight, so the word is aligned.
        let slot = unsafe { AtomicU32::from_ptr(self.map.as_mut_ptr().add(at).cast()) };
        slot.store(word.to_le(), Ordering::Release);
    }
}

/// The name of a journal's segment.
pub(crate) fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:012}.segment"))
}

/// The numbers of the segments in a journal, plain or packed, ascending.
///
/// # Errors
///
/// The folder cannot be read.
pub(crate) fn list(dir: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let name = entry?.file_name();
        let name = name
            .to_str()
            .map(|name| name.strip_suffix(".zst").unwrap_or(name));
        let stem = name.and_then(|name| name.strip_suffix(".segment"));
        numbers.extend(stem.and_then(|stem| stem.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    // For a moment, or after a crash, a segment is there plain and packed.
    numbers.dedup();
    Ok(numbers)
}

/// Where a segment's first record starts.
pub(crate) const FIRST_RECORD: usize = SEGMENT_HEADER_BYTES;
