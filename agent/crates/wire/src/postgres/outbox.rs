//! Collects what is to be written for one input, without copying what goes on unchanged.

use super::{Piece, Place};

/// Output for one input: a single run of the input where nothing was changed, else a buffer.
#[derive(Debug, Default)]
pub struct Outbox {
    buffer: Vec<u8>,
    run_start: usize,
    run_end: usize,
}

impl Outbox {
    /// Forgets what the last input left.
    #[inline]
    pub fn begin(&mut self) {
        self.buffer.clear();
        // One large message must not keep its memory for good.
        self.buffer.shrink_to(KEPT_BYTES);
        self.run_start = 0;
        self.run_end = 0;
    }

    /// Lets a piece go on unchanged.
    #[inline]
    pub fn pass(&mut self, input: &[u8], piece: &Piece<'_>) {
        match piece.place {
            Place::Input(at) => self.pass_range(input, at, at + piece.bytes.len()),
            Place::Held => self.push(input, piece.bytes),
        }
    }

    /// Lets a range of the input go on unchanged.
    #[inline]
    pub fn pass_range(&mut self, input: &[u8], start: usize, end: usize) {
        if self.run_end != start || self.run_start == self.run_end {
            self.flush(input);
            self.run_start = start;
        }
        self.run_end = end;
    }

    /// Adds bytes that are not of the input.
    #[inline]
    pub fn push(&mut self, input: &[u8], bytes: &[u8]) {
        self.flush(input);
        self.buffer.extend_from_slice(bytes);
    }

    /// The bytes to write.
    #[inline]
    pub fn finish<'a>(&'a mut self, input: &'a [u8]) -> &'a [u8] {
        if self.buffer.is_empty() {
            return input.get(self.run_start..self.run_end).unwrap_or_default();
        }
        self.flush(input);
        &self.buffer
    }

    #[inline]
    fn flush(&mut self, input: &[u8]) {
        let run = input.get(self.run_start..self.run_end).unwrap_or_default();
        self.buffer.extend_from_slice(run);
        self.run_start = 0;
        self.run_end = 0;
    }
}

/// Enough for the frames that are made here.
const KEPT_BYTES: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contiguous_pieces_are_not_copied() {
        let input = b"abcdef";
        let mut out = Outbox::default();
        out.begin();
        out.pass_range(input, 0, 2);
        out.pass_range(input, 2, 6);
        assert_eq!(out.finish(input).as_ptr(), input.as_ptr());
        assert!(out.buffer.is_empty());
    }

    #[test]
    fn replacements_keep_their_place() {
        let input = b"abcdef";
        let mut out = Outbox::default();
        out.begin();
        out.pass_range(input, 0, 2);
        out.push(input, b"-");
        out.pass_range(input, 4, 6);
        assert_eq!(out.finish(input), b"ab-ef");
    }
}
