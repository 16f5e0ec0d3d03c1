//! A segment as it lies in the journal's folder, plain or packed, for reading.

use std::{fs::File, io, os::unix::fs::FileExt, path::Path, time::Duration};

use nix::errno::Errno;

use super::{
    packed::{self, Packed},
    segment,
};

/// A segment, open for reading.
#[derive(Debug)]
pub(crate) enum Source {
    /// As it is written.
    Plain(File),
    /// As it is kept.
    Packed(Packed),
}

impl Source {
    /// Opens a segment; the plain file where there are both.
    ///
    /// # Errors
    ///
    /// There is none, it cannot be read, or (`InvalidData`) it was changed.
    pub(crate) fn open(dir: &Path, number: u64) -> io::Result<Self> {
        match File::open(segment::path(dir, number)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Packed::open(&packed::path(dir, number)).map(Self::Packed)
            }
            file => file.map(Self::Plain),
        }
    }

    /// Whether the segment is there, in either form.
    pub(crate) fn exists(dir: &Path, number: u64) -> bool {
        // In this order: packing makes the second before it removes the first.
        segment::path(dir, number).exists() || packed::path(dir, number).exists()
    }

    /// Bytes of the segment.
    pub(crate) fn bytes(&self) -> io::Result<u64> {
        match self {
            Self::Plain(file) => Ok(file.metadata()?.len()),
            Self::Packed(packed) => Ok(packed.bytes()),
        }
    }

    /// Reads some bytes at `offset`; zero at the end.
    pub(crate) fn read_at(&mut self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        match self {
            Self::Plain(file) => file.read_at(into, offset),
            Self::Packed(packed) => packed.read_at(into, offset),
        }
    }

    /// Fills `into` from `offset` on, as far as the segment goes; returns how far that is.
    pub(crate) fn fill_at(&mut self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let (mut filled, mut looks) = (0, 1);
        while filled < into.len() {
            match self.read_at(&mut into[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // A disk that recovers from it does so at once.
                Err(error) if is_unreadable(&error) && looks < LOOKS => {
                    looks += 1;
                    std::thread::sleep(PAUSE);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    /// Fills all of `into`.
    ///
    /// # Errors
    ///
    /// Also when the segment is shorter.
    pub(crate) fn read_exact_at(&mut self, into: &mut [u8], offset: u64) -> io::Result<()> {
        if self.fill_at(into, offset)? == into.len() {
            Ok(())
        } else {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }

    /// Everything from `offset` to the end.
    pub(crate) fn read_from(&mut self, offset: u64) -> io::Result<Vec<u8>> {
        let length = self.bytes()?.saturating_sub(offset);
        let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        let filled = self.fill_at(&mut bytes, offset)?;
        bytes.truncate(filled);
        Ok(bytes)
    }
}

/// How often a part that the disk does not give is asked for.
const LOOKS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(20);

/// Whether the disk has lost what was to be read: other than a lack of rights or of memory that does not pass.
pub(crate) fn is_unreadable(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::EIO as i32)
}
