//! The selected row of a list whose rows come, go and change places.

/// It stays with its row; when that goes, it stays in its place.
#[derive(Debug, Default)]
pub(super) struct Cursor {
    id: Option<u64>,
    at: usize,
}

impl Cursor {
    /// The selected row's id.
    pub(super) fn id(&self) -> Option<u64> {
        self.id
    }

    /// Where the selected row is in a list.
    pub(super) fn place(&self, ids: &[u64]) -> Option<usize> {
        ids.iter().position(|id| Some(*id) == self.id)
    }

    /// Takes in the list as it is now.
    pub(super) fn settle(&mut self, ids: &[u64]) {
        let last = ids.len().saturating_sub(1);
        self.at = self.place(ids).unwrap_or(self.at).min(last);
        self.id = ids.get(self.at).copied();
    }

    /// Moves by so many rows, to an end at most.
    pub(super) fn step(&mut self, ids: &[u64], by: isize) {
        self.settle(ids);
        self.at = self.at.saturating_add_signed(by);
        self.id = None;
        self.settle(ids);
    }
}
