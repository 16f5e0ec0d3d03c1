//! Cuts a byte stream into messages without copying those that arrive whole.
//!
//! Small messages are given whole, held back until they are; large ones are given in pieces, so that
//! memory stays bounded whatever length a peer announces.

use super::{HEADER_BYTES, Limits, MAX_LENGTH};

/// How a message is to be given, by its tag and total length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    /// In one piece, however it arrives.
    Whole,
    /// In pieces; the first has at least this many bytes, the header included, or the whole message.
    Pieces {
        /// Bytes that the first piece needs.
        head: usize,
    },
    /// The peer may not send this.
    Refuse,
}

/// Where a piece's bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the input, from here on.
    Input(usize),
    /// In the cutter: the message came in several inputs.
    Held,
}

/// A message or a part of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece<'a> {
    /// The message's tag.
    pub tag: u8,
    /// The whole message's length, header included.
    pub total: usize,
    /// These bytes of it.
    pub bytes: &'a [u8],
    /// Whether these are the first.
    pub first: bool,
    /// Whether these are the last.
    pub last: bool,
    /// Where they are.
    pub place: Place,
}

impl<'a> Piece<'a> {
    /// The message's body, or as much of it as this first piece has.
    #[must_use]
    #[inline]
    pub fn body(&self) -> &'a [u8] {
        self.bytes.get(HEADER_BYTES..).unwrap_or_default()
    }
}

/// Why a stream cannot be cut any further; it cannot be resynchronised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The length field lies outside what the protocol allows.
    #[error("message {:?} announces an invalid length of {length}", char::from(*tag))]
    Length {
        /// The message's tag.
        tag: u8,
        /// The length field.
        length: usize,
    },
    /// The tag is not one that this side may send.
    #[error("message type {:?} of {length} bytes is not allowed here", char::from(*tag))]
    Refused {
        /// The message's tag.
        tag: u8,
        /// The length field.
        length: usize,
    },
}

/// The state between two inputs.
#[derive(Debug, Default)]
pub struct Cutter {
    /// An incomplete header or message.
    hold: Vec<u8>,
    /// Whether `hold` was given out and is to be dropped.
    given: bool,
    /// Bytes still to come of a message that is given in pieces.
    remaining: usize,
    tag: u8,
    total: usize,
}

impl Cutter {
    /// Whether the stream stands between two messages with nothing held back.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.remaining == 0 && (self.hold.is_empty() || self.given)
    }

    /// Whether nothing of an unfinished message was given out: a message may be inserted here.
    #[must_use]
    pub fn at_boundary(&self) -> bool {
        self.remaining == 0
    }

    /// Bytes still to come of a message of which a part was given out.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.remaining
    }

    /// What was held back of a message that has not come whole.
    #[must_use]
    pub fn into_unfinished(self) -> Vec<u8> {
        if self.given { Vec::new() } else { self.hold }
    }

    /// Passes over messages with this tag that are whole in `input` from `*cursor` on, within `limits`; returns how many
    /// and their bytes.
    ///
    /// What is left to [`Self::next`]: anything else, and every error.
    #[inline]
    pub fn skip(
        &mut self,
        input: &[u8],
        cursor: &mut usize,
        tag: u8,
        limits: Limits,
    ) -> (u64, usize) {
        let start = *cursor;
        let mut count = 0;
        if self.is_idle() {
            while let Some([found, a, b, c, d]) = input.get(*cursor..).and_then(<[u8]>::first_chunk)
            {
                let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
                let end = *cursor + 1 + length;
                if *found != tag || !(4..=MAX_LENGTH).contains(&length) || end > input.len() {
                    break;
                }
                if count >= limits.rows || (end - start) as u64 > limits.bytes {
                    break;
                }
                *cursor = end;
                count += 1;
            }
        }
        (count, *cursor - start)
    }

    /// Gives the next piece of `input` from `*cursor` on; `None` means that more bytes are needed and that all were taken.
    ///
    /// # Errors
    ///
    /// [`FrameError`] when the length or the tag is not allowed. The stream cannot be used after that.
    pub fn next<'s>(
        &'s mut self,
        input: &'s [u8],
        cursor: &mut usize,
        plan: impl Fn(u8, usize) -> Plan,
    ) -> Result<Option<Piece<'s>>, FrameError> {
        if self.given {
            // Given back at once: an idle connection holds no buffer.
            self.hold = Vec::new();
            self.given = false;
        }
        let rest = input.get(*cursor..).unwrap_or_default();
        if rest.is_empty() {
            return Ok(None);
        }
        if self.remaining > 0 {
            return Ok(Some(self.continue_message(rest, cursor)));
        }
        if !self.hold.is_empty() {
            return self.complete_held(rest, cursor, plan);
        }
        let Some(header) = rest.first_chunk::<HEADER_BYTES>() else {
            self.hold.extend_from_slice(rest);
            *cursor += rest.len();
            return Ok(None);
        };
        let (tag, total) = parse_header(*header)?;
        let wanted = wanted(tag, total, plan(tag, total))?;
        if rest.len() < wanted {
            self.hold.extend_from_slice(rest);
            *cursor += rest.len();
            return Ok(None);
        }
        let at = *cursor;
        let taken = rest.len().min(total);
        *cursor += taken;
        self.start(tag, total, taken);
        Ok(Some(Piece {
            tag,
            total,
            bytes: rest.get(..taken).unwrap_or_default(),
            first: true,
            last: taken == total,
            place: Place::Input(at),
        }))
    }

    #[inline]
    fn start(&mut self, tag: u8, total: usize, taken: usize) {
        self.tag = tag;
        self.total = total;
        self.remaining = total - taken;
    }

    #[inline]
    fn continue_message<'s>(&mut self, rest: &'s [u8], cursor: &mut usize) -> Piece<'s> {
        let at = *cursor;
        let taken = rest.len().min(self.remaining);
        self.remaining -= taken;
        *cursor += taken;
        Piece {
            tag: self.tag,
            total: self.total,
            bytes: rest.get(..taken).unwrap_or_default(),
            first: false,
            last: self.remaining == 0,
            place: Place::Input(at),
        }
    }

    fn complete_held<'s>(
        &'s mut self,
        rest: &[u8],
        cursor: &mut usize,
        plan: impl Fn(u8, usize) -> Plan,
    ) -> Result<Option<Piece<'s>>, FrameError> {
        let mut taken = self.fill(rest, HEADER_BYTES);
        let Some(header) = self.hold.first_chunk::<HEADER_BYTES>() else {
            *cursor += taken;
            return Ok(None);
        };
        let (tag, total) = parse_header(*header)?;
        let wanted = wanted(tag, total, plan(tag, total))?;
        taken += self.fill(rest.get(taken..).unwrap_or_default(), wanted);
        *cursor += taken;
        if self.hold.len() < wanted {
            return Ok(None);
        }
        self.start(tag, total, self.hold.len());
        self.given = true;
        Ok(Some(Piece {
            tag,
            total,
            bytes: &self.hold,
            first: true,
            last: self.hold.len() == total,
            place: Place::Held,
        }))
    }

    /// Adds to `hold` until it has `wanted` bytes; returns how many were taken.
    fn fill(&mut self, rest: &[u8], wanted: usize) -> usize {
        let missing = wanted.saturating_sub(self.hold.len());
        let part = rest.get(..missing).unwrap_or(rest);
        self.hold.extend_from_slice(part);
        part.len()
    }
}

#[inline]
fn parse_header([tag, a, b, c, d]: [u8; HEADER_BYTES]) -> Result<(u8, usize), FrameError> {
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    if (4..=MAX_LENGTH).contains(&length) {
        Ok((tag, length + 1))
    } else {
        Err(FrameError::Length { tag, length })
    }
}

#[inline]
fn wanted(tag: u8, total: usize, plan: Plan) -> Result<usize, FrameError> {
    match plan {
        Plan::Whole => Ok(total),
        Plan::Pieces { head } => Ok(head.clamp(HEADER_BYTES, total)),
        Plan::Refuse => Err(FrameError::Refused {
            tag,
            length: total - 1,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(tag: u8, total: usize) -> Plan {
        match tag {
            b'Q' if total <= 16 => Plan::Whole,
            b'Q' => Plan::Pieces { head: 8 },
            b'd' => Plan::Pieces { head: 0 },
            _ => Plan::Refuse,
        }
    }

    /// (tag, first, last, bytes) with the pieces of one message joined.
    fn messages(inputs: &[&[u8]]) -> Vec<(u8, Vec<u8>)> {
        let mut cutter = Cutter::default();
        let mut out: Vec<(u8, Vec<u8>)> = Vec::new();
        for input in inputs {
            let mut cursor = 0;
            while let Some(piece) = cutter.next(input, &mut cursor, plan).expect("valid") {
                if piece.first {
                    if piece.tag == b'Q' {
                        assert!(piece.bytes.len() >= piece.total.min(8));
                    }
                    out.push((piece.tag, Vec::new()));
                }
                out.last_mut().expect("started").1.extend(piece.bytes);
            }
            assert_eq!(cursor, input.len(), "everything is taken");
        }
        out
    }

    const STREAM: &[u8] =
        b"Q\x00\x00\x00\x0dSELECT 1\x00d\x00\x00\x00\x08abcdQ\x00\x00\x00\x1aa text longer than 16\x00d\x00\x00\x00\x04";

    #[test]
    fn every_split_in_three_gives_the_same_messages() {
        let whole = messages(&[STREAM]);
        assert_eq!(whole.len(), 4);
        assert_eq!(whole.iter().map(|m| m.1.len()).sum::<usize>(), STREAM.len());
        for a in 0..=STREAM.len() {
            for b in a..=STREAM.len() {
                let parts = [&STREAM[..a], &STREAM[a..b], &STREAM[b..]];
                assert_eq!(messages(&parts), whole, "split at {a} and {b}");
            }
        }
    }

    #[test]
    fn lengths_outside_the_protocol_are_refused() {
        for length in [0_u32, 3, 0x4000_0000, u32::MAX] {
            let mut bytes = vec![b'Q'];
            bytes.extend(length.to_be_bytes());
            let error = Cutter::default()
                .next(&bytes, &mut 0, plan)
                .expect_err("refused");
            assert!(matches!(error, FrameError::Length { tag: b'Q', .. }));
        }
    }

    #[test]
    fn an_announced_gigabyte_takes_no_memory() {
        let mut cutter = Cutter::default();
        let header = b"d\x3f\xff\xff\xff";
        let mut cursor = 0;
        assert!(
            cutter
                .next(header, &mut cursor, plan)
                .expect("valid")
                .is_some()
        );
        assert_eq!(cutter.hold.capacity(), 0);
        assert!(!cutter.at_boundary());
    }
}
