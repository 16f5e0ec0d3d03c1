//! The bytes of one cell, and what stands around a position in them.

use std::cell::Cell;

use crate::cues::{Cue, Cues, Nearby};

/// A cell while it is scanned.
pub(crate) struct Text<'a> {
    pub(crate) bytes: &'a [u8],
    cues: &'a Cues,
    /// What the last look around gave, for the position it was asked for.
    last: Cell<Option<(usize, Nearby)>>,
    /// The words that a column's name would say about the whole cell.
    assumed: bool,
}

impl<'a> Text<'a> {
    pub(crate) fn new(bytes: &'a [u8], cues: &'a Cues) -> Self {
        Self {
            bytes,
            cues,
            last: Cell::new(None),
            assumed: false,
        }
    }

    /// A cell that is taken as what it could be, as if a word before it said so.
    pub(crate) fn assumed(bytes: &'a [u8], cues: &'a Cues) -> Self {
        Self {
            assumed: true,
            ..Self::new(bytes, cues)
        }
    }

    /// The byte at a position; zero beyond the ends.
    pub(crate) fn at(&self, position: usize) -> u8 {
        self.bytes.get(position).copied().unwrap_or(0)
    }

    /// The byte before a position; zero at the beginning.
    pub(crate) fn before(&self, position: usize) -> u8 {
        position.checked_sub(1).map_or(0, |before| self.at(before))
    }

    /// Whether a word goes on at a position: an ASCII letter or digit, or a letter beyond ASCII.
    pub(crate) fn is_word(&self, position: usize) -> bool {
        let byte = self.at(position);
        byte.is_ascii_alphanumeric() || byte >= 0x80 && !is_sign(self.bytes, position)
    }

    /// Whether the words before a position speak of `cue`.
    pub(crate) fn speaks_of(&self, cue: Cue, position: usize) -> bool {
        self.assumed || self.nearby(position).has(cue)
    }

    /// Whether, of the words before a position, the nearest that says anything speaks of `cue`.
    pub(crate) fn last_speaks_of(&self, cue: Cue, position: usize) -> bool {
        self.assumed || self.nearby(position).nearest == Some(cue)
    }

    /// Whether the nearest word that says anything names another kind of number, an order's or an invoice's.
    pub(crate) fn speaks_of_another_number(&self, position: usize) -> bool {
        !self.assumed && self.nearby(position).nearest == Some(Cue::OtherNumber)
    }

    fn nearby(&self, position: usize) -> Nearby {
        if let Some((known, nearby)) = self.last.get()
            && known == position
        {
            return nearby;
        }
        let nearby = self.cues.before(self.bytes, position);
        self.last.set(Some((position, nearby)));
        nearby
    }
}

/// The bytes of the sign beyond ASCII that begins at a position and is no letter: a quote, dash, space or bullet; zero when
/// none does.
pub(crate) fn sign_width(bytes: &[u8], at: usize) -> usize {
    match bytes.get(at..) {
        // U+0080 to U+00BF, U+2000 to U+20FF, U+3000 to U+303F.
        Some([0xC2, _, ..]) => 2,
        Some([0xE2, 0x80..=0x83, _, ..] | [0xE3, 0x80, _, ..]) => 3,
        _ => 0,
    }
}

/// Whether such a sign begins at a position.
pub(crate) fn is_sign(bytes: &[u8], at: usize) -> bool {
    sign_width(bytes, at) > 0
}

/// Where `start..end` begins once all up to its last such sign is left out.
pub(crate) fn after_signs(bytes: &[u8], start: usize, end: usize) -> usize {
    let last = (start..end).rev().find(|at| is_sign(bytes, *at));
    last.map_or(start, |last| (last + sign_width(bytes, last)).min(end))
}
