//! A sealed segment as it is kept: packed with zstd, every byte of the file under a checksum.
//!
//! The file is a row of zstd frames, each of up to [`CHUNK_BYTES`] of the segment, and one skippable frame with their table, so
//! that any part can be read by itself and `zstd -d` makes the segment of it:
//! per frame `packed length (4) · length (4) · CRC-32 of the packed bytes (4)`, then `frames (4) · CRC-32 of the table (4) · magic (8)`.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use super::segment;

/// Of the segment, in a frame: what reading a single record costs to unpack.
const CHUNK_BYTES: usize = 256 << 10;
/// Higher levels pack records by few percent more and take several times as long.
const LEVEL: i32 = 6;
const MAGIC: [u8; 8] = *b"WEIRPAK1";
/// What `zstd` passes over.
const SKIPPABLE: u32 = 0x184D_2A5E;
const ROW_BYTES: usize = 12;
const TAIL_BYTES: usize = 16;

/// The packed file of a segment.
pub(crate) fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:012}.segment.zst"))
}

/// Where one frame lies, and what of the segment it holds.
#[derive(Debug, Clone, Copy)]
struct Frame {
    at: u64,
    packed: usize,
    start: u64,
    length: usize,
    crc: u32,
}

/// A packed segment, open for reading.
#[derive(Debug)]
pub(crate) struct Packed {
    file: File,
    frames: Vec<Frame>,
    bytes: u64,
    /// The frame that was read last, unpacked.
    unpacked: Option<(usize, Vec<u8>)>,
}

impl Packed {
    /// Opens a packed segment.
    ///
    /// # Errors
    ///
    /// It cannot be read, or (`InvalidData`) its table is not as it was written.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        let tail_at = size.checked_sub(TAIL_BYTES as u64).ok_or_else(changed)?;
        let mut tail = [0; TAIL_BYTES];
        file.read_exact_at(&mut tail, tail_at)?;
        let count = word(&tail, 0);
        let table_bytes = u64::from(count) * ROW_BYTES as u64;
        let table_at = tail_at.checked_sub(table_bytes).ok_or_else(changed)?;
        let frames_end = table_at.checked_sub(8).ok_or_else(changed)?;
        let mut table = vec![0; usize::try_from(8 + table_bytes).map_err(|_| changed())?];
        file.read_exact_at(&mut table, frames_end)?;
        let (head, rows) = table.split_at(8);
        let whole = word(head, 0) == SKIPPABLE
            && u64::from(word(head, 4)) == table_bytes + TAIL_BYTES as u64
            && tail[8..] == MAGIC
            && word(&tail, 4) == crc32fast::hash(rows);
        if !whole {
            return Err(changed());
        }
        let (mut at, mut start) = (0, 0);
        let frames: Vec<Frame> = rows
            .chunks_exact(ROW_BYTES)
            .map(|row| {
                let frame = Frame {
                    at,
                    packed: word(row, 0) as usize,
                    start,
                    length: word(row, 4) as usize,
                    crc: word(row, 8),
                };
                at += frame.packed as u64;
                start += frame.length as u64;
                frame
            })
            .collect();
        let fits = frames.iter().all(|frame| frame.length <= CHUNK_BYTES);
        if at != frames_end || !fits {
            return Err(changed());
        }
        Ok(Self {
            file,
            frames,
            bytes: start,
            unpacked: None,
        })
    }

    /// Bytes of the segment.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Reads some of the segment's bytes at `offset`; zero at its end.
    pub(crate) fn read_at(&mut self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let number = self
            .frames
            .partition_point(|frame| frame.start + frame.length as u64 <= offset);
        let Some(frame) = self.frames.get(number).copied() else {
            return Ok(0);
        };
        if self
            .unpacked
            .as_ref()
            .is_none_or(|(kept, _)| *kept != number)
        {
            self.unpacked = Some((number, self.unpack(&frame)?));
        }
        let inside = usize::try_from(offset - frame.start).map_err(|_| changed())?;
        let from = self
            .unpacked
            .as_ref()
            .and_then(|(_, bytes)| bytes.get(inside..))
            .unwrap_or_default();
        let count = from.len().min(into.len());
        into[..count].copy_from_slice(&from[..count]);
        Ok(count)
    }

    fn unpack(&self, frame: &Frame) -> io::Result<Vec<u8>> {
        let mut packed = vec![0; frame.packed];
        self.file.read_exact_at(&mut packed, frame.at)?;
        if crc32fast::hash(&packed) != frame.crc {
            return Err(changed());
        }
        let bytes = zstd::bulk::decompress(&packed, frame.length).map_err(|_| changed())?;
        if bytes.len() == frame.length {
            Ok(bytes)
        } else {
            Err(changed())
        }
    }
}

/// Packs a sealed segment beside itself, reads it back, and only then removes the plain file.
///
/// # Errors
///
/// The operating system refuses, or what was written does not read back; the plain file stays.
pub(crate) fn pack(dir: &Path, number: u64) -> io::Result<()> {
    let plain_path = segment::path(dir, number);
    let plain = File::open(&plain_path)?;
    let size = plain.metadata()?.len();
    let draft = dir.join("packed.new");
    let packed = write(&plain, size, &draft)
        .and_then(|()| compare(&plain, size, &draft))
        .and_then(|()| std::fs::rename(&draft, path(dir, number)));
    if let Err(error) = packed {
        // A half-made file would take the very space that is lacking.
        let _ = std::fs::remove_file(&draft);
        return Err(error);
    }
    File::open(dir)?.sync_all()?;
    std::fs::remove_file(&plain_path)
}

fn write(plain: &File, size: u64, draft: &Path) -> io::Result<()> {
    let mut out = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(draft)?;
    let mut compressor = zstd::bulk::Compressor::new(LEVEL)?;
    let mut rows = Vec::new();
    let mut chunk = Vec::new();
    let mut offset = 0;
    while offset < size {
        let length = (size - offset).min(CHUNK_BYTES as u64);
        chunk.resize(usize::try_from(length).map_err(io::Error::other)?, 0);
        plain.read_exact_at(&mut chunk, offset)?;
        let packed = compressor.compress(&chunk)?;
        for number in [packed.len(), chunk.len()] {
            rows.extend(
                u32::try_from(number)
                    .map_err(io::Error::other)?
                    .to_le_bytes(),
            );
        }
        rows.extend(crc32fast::hash(&packed).to_le_bytes());
        out.write_all(&packed)?;
        offset += length;
    }
    let count = u32::try_from(rows.len() / ROW_BYTES).map_err(io::Error::other)?;
    let frame = u32::try_from(rows.len() + TAIL_BYTES).map_err(io::Error::other)?;
    out.write_all(&SKIPPABLE.to_le_bytes())?;
    out.write_all(&frame.to_le_bytes())?;
    out.write_all(&rows)?;
    out.write_all(&count.to_le_bytes())?;
    out.write_all(&crc32fast::hash(&rows).to_le_bytes())?;
    out.write_all(&MAGIC)?;
    out.sync_all()
}

fn compare(plain: &File, size: u64, draft: &Path) -> io::Result<()> {
    let mut packed = Packed::open(draft)?;
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut expected = Vec::new();
    let mut offset = 0;
    while offset < size {
        let count = packed.read_at(&mut chunk, offset)?;
        expected.resize(count, 0);
        plain.read_exact_at(&mut expected, offset)?;
        if count == 0 || chunk[..count] != expected[..] {
            return Err(io::Error::other("the packed segment does not read back"));
        }
        offset += count as u64;
    }
    if packed.bytes() == size {
        Ok(())
    } else {
        Err(io::Error::other("the packed segment is longer"))
    }
}

fn changed() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "the packed segment is not as it was written",
    )
}

/// Callers pass slices whose length they have checked.
fn word(bytes: &[u8], at: usize) -> u32 {
    bytes
        .get(at..at + 4)
        .and_then(|slice| slice.try_into().ok())
        .map_or(0, u32::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(content: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(segment::path(dir.path(), 3), content).expect("written");
        pack(dir.path(), 3).expect("packed");
        assert!(!segment::path(dir.path(), 3).exists());
        let path = path(dir.path(), 3);
        (dir, path)
    }

    fn unpack(path: &Path) -> io::Result<Vec<u8>> {
        let mut packed = Packed::open(path)?;
        let mut bytes = Vec::new();
        let mut chunk = [0; 1000];
        loop {
            match packed.read_at(&mut chunk, bytes.len() as u64)? {
                0 => return Ok(bytes),
                count => bytes.extend(&chunk[..count]),
            }
        }
    }

    #[test]
    fn a_packed_segment_reads_back_and_is_plain_zstd() {
        let content: Vec<u8> = (0..700_000_u32)
            .flat_map(|at| (at / 7).to_le_bytes())
            .collect();
        let (_dir, path) = packed(&content);
        assert_eq!(unpack(&path).expect("readable"), content);
        let file = std::fs::read(&path).expect("the file");
        assert!(file.len() < content.len() / 3);
        assert_eq!(zstd::decode_all(&file[..]).expect("zstd"), content);
    }

    #[test]
    fn any_changed_byte_shows() {
        let content: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
        let (_dir, path) = packed(&content);
        let file = std::fs::read(&path).expect("the file");
        let step = (file.len() / 500).max(1);
        for at in (0..file.len())
            .step_by(step)
            .chain(file.len() - 60..file.len())
        {
            let mut other = file.clone();
            other[at] ^= 0x10;
            std::fs::write(&path, other).expect("changed");
            assert!(unpack(&path).is_err(), "byte {at}");
        }
        for length in [0, 10, file.len() / 2, file.len() - 1] {
            std::fs::write(&path, &file[..length]).expect("cut");
            assert!(unpack(&path).is_err(), "{length} bytes");
        }
    }
}
