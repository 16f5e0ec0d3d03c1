//! Pieces of the text and what stands in their place.

use super::scan::Scan;
use crate::postgres::govern::{Edit, Obstacle, Rewritten};

/// A relation's name, schema first; the schema is empty where the text has none.
pub(super) type Name = (String, String);

/// The edits of one text, and which relations it names after them.
pub(super) struct Edits {
    pieces: Vec<(usize, usize, String)>,
    names: Vec<Name>,
    /// Names that the catalog does not know.
    pub(super) unknown: Vec<String>,
}

impl Edits {
    pub(super) fn new(scan: &Scan<'_>) -> Self {
        Self {
            pieces: Vec::new(),
            names: scan.names.clone(),
            unknown: Vec::new(),
        }
    }

    pub(super) fn replace(&mut self, place: std::ops::Range<usize>, text: String) {
        self.pieces.push((place.start, place.end, text));
    }

    pub(super) fn insert(&mut self, at: usize, text: String) {
        self.pieces.push((at, at, text));
    }

    /// Notes that one mention of a relation became others.
    pub(super) fn renamed(&mut self, from: &Name, to: Vec<Name>) {
        if let Some(at) = self.names.iter().position(|name| name == from) {
            self.names.swap_remove(at);
        }
        self.names.extend(to);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// The relations that the rewritten text has to name, sorted, each as often as it is named.
    pub(super) fn expected(&self) -> Vec<Name> {
        let mut names = self.names.clone();
        names.sort_unstable();
        names
    }

    /// The text with all edits.
    pub(super) fn apply(mut self, text: &str) -> Result<Rewritten, Obstacle> {
        // Stable: insertions at one place stay in the order they were made.
        self.pieces.sort_by_key(|&(start, end, _)| (start, end));
        let mut out = String::with_capacity(text.len() * 2);
        let mut edits = Vec::with_capacity(self.pieces.len());
        let mut at = 0;
        for (start, end, replacement) in &self.pieces {
            let kept = text
                .get(at..*start)
                .ok_or_else(|| super::misplaced("two changes"))?;
            out.push_str(kept);
            out.push_str(replacement);
            edits.push(Edit {
                start: *start,
                end: *end,
                length: replacement.len(),
            });
            at = *end;
        }
        out.push_str(text.get(at..).unwrap_or_default());
        Ok(Rewritten { text: out, edits })
    }
}
