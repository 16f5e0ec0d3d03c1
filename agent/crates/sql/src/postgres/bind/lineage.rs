//! What a value is made of.

/// A column of a relation, as one item of a `FROM` clause gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Base {
    /// The relation's OID.
    pub(crate) relation: u32,
    /// Index into its columns.
    pub(crate) column: u16,
    /// Which mention of the relation it is.
    pub(crate) source: u32,
}

/// The columns that a value is made of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Lineage {
    pub(crate) bases: Vec<Base>,
    /// Whether it is the value of the only one of `bases`, unchanged.
    pub(crate) exact: bool,
}

impl Lineage {
    pub(super) fn copy_of(base: Base) -> Self {
        Self {
            bases: vec![base],
            exact: true,
        }
    }

    /// Adds what another value is made of.
    pub(super) fn add(&mut self, other: &Self) {
        if other.bases.is_empty() {
            return;
        }
        self.exact = false;
        let before = self.bases.len();
        for &base in &other.bases {
            // Short lists are the rule and stay without repetition.
            if self.bases.len() > 32 || !self.bases.contains(&base) {
                self.bases.push(base);
            }
        }
        // Long ones are cleaned whenever they have doubled.
        if self.bases.len() > 64 && self.bases.len() > before.next_power_of_two() {
            self.bases.sort_unstable();
            self.bases.dedup();
        }
    }

    /// The same columns, but no longer any one's own value.
    pub(super) fn changed(mut self) -> Self {
        self.exact = false;
        self
    }

    /// Whether all of `other` is in here.
    pub(super) fn covers(&self, other: &Self) -> bool {
        other.bases.iter().all(|base| self.bases.contains(base)) && (other.exact || !self.exact)
    }
}

/// An output column of a query.
#[derive(Debug, Clone)]
pub(crate) struct Out<'a> {
    pub(crate) name: &'a str,
    pub(crate) lineage: Lineage,
}

/// The output columns of a query, or of an item of a `FROM` clause.
#[derive(Debug, Clone, Default)]
pub(super) struct Outs<'a> {
    pub(super) list: Vec<Out<'a>>,
    /// Where there may be columns that are not listed: what their values are made of.
    pub(super) open: Option<Lineage>,
}

impl<'a> Outs<'a> {
    /// What all columns together are made of.
    pub(super) fn whole(&self) -> Lineage {
        let mut whole = self.open.clone().unwrap_or_default();
        for out in &self.list {
            whole.add(&out.lineage);
        }
        whole.changed()
    }

    /// What the column at a position is made of; where positions are not sure, what all of them are.
    pub(super) fn at(&self, index: usize) -> Lineage {
        if self.open.is_some() {
            return self.whole();
        }
        self.list
            .get(index)
            .map(|out| out.lineage.clone())
            .unwrap_or_default()
    }

    /// Gives the first columns other names.
    pub(super) fn rename(&mut self, names: &[&'a str]) {
        if self.open.is_some() && !names.is_empty() {
            let whole = self.whole();
            self.list = names
                .iter()
                .map(|name| Out {
                    name,
                    lineage: whole.clone(),
                })
                .collect();
            return;
        }
        for (out, name) in self.list.iter_mut().zip(names) {
            out.name = name;
        }
    }

    /// Adds the columns of the other arm of a set operation, position by position.
    pub(super) fn unite(&mut self, other: &Self) {
        if self.open.is_some() || other.open.is_some() {
            let mut whole = self.whole();
            whole.add(&other.whole());
            for out in &mut self.list {
                out.lineage = whole.clone().changed();
            }
            self.open = Some(whole.changed());
            return;
        }
        for (out, other) in self.list.iter_mut().zip(&other.list) {
            out.lineage.add(&other.lineage);
            // A constant on the other side makes it another value too.
            out.lineage.exact = false;
        }
    }

    pub(super) fn open_with(&mut self, lineage: &Lineage) {
        self.open
            .get_or_insert_default()
            .add(&lineage.clone().changed());
    }
}
