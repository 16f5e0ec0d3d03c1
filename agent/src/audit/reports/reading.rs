//! How much of an answer is read: a page for many visitors must not hold a whole year in memory.

use std::{cell::Cell, ops::Deref};

use rusqlite::Connection;

use super::Value;

/// The most that an answer may hold, over all of its tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Most {
    /// Lines.
    pub lines: usize,
    /// Memory of them, bytes: texts of statements may be long.
    pub bytes: usize,
}

impl Most {
    /// For who asks alone, on the host.
    pub const ALL: Self = Self {
        lines: usize::MAX,
        bytes: usize::MAX,
    };
}

/// The store while one question is answered from it.
pub(super) struct Reading<'store> {
    store: &'store Connection,
    most: Most,
    lines: Cell<usize>,
    bytes: Cell<usize>,
    is_cut: Cell<bool>,
}

impl<'store> Reading<'store> {
    pub(super) fn new(store: &'store Connection, most: Most) -> Self {
        Self {
            store,
            most,
            lines: Cell::new(0),
            bytes: Cell::new(0),
            is_cut: Cell::new(false),
        }
    }

    /// Counts one more line of so many bytes; `false` when there is no room for it: then it is left out, and the report
    /// says so.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        let bytes = self.bytes.get().saturating_add(bytes);
        if self.is_cut.get() || self.lines.get() >= self.most.lines || bytes > self.most.bytes {
            self.is_cut.set(true);
            return false;
        }
        self.lines.set(self.lines.get() + 1);
        self.bytes.set(bytes);
        true
    }

    /// Reads rows as far as there is room for them; what comes after is not read at all.
    pub(super) fn gather(
        &self,
        found: impl Iterator<Item = rusqlite::Result<Vec<Value>>>,
    ) -> rusqlite::Result<Vec<Vec<Value>>> {
        let mut rows = Vec::new();
        for row in found {
            let row = row?;
            if !self.has_room(size(&row)) {
                break;
            }
            rows.push(row);
        }
        Ok(rows)
    }

    /// What the report says of what was left out.
    pub(super) fn note(&self) -> Option<String> {
        self.is_cut.get().then(|| {
            let lines = self.lines.get();
            format!("more than {lines} lines: narrow the period, or use weir report on the host")
        })
    }
}

impl Deref for Reading<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.store
    }
}

fn size(row: &[Value]) -> usize {
    let texts = row.iter().map(|value| match value {
        Value::Text(text) => text.len(),
        Value::Number(_) | Value::Empty => 0,
    });
    size_of_val(row) + texts.sum::<usize>()
}
