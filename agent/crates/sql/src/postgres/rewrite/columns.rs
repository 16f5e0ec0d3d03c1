//! Column references that have to change with the relation they name.

use super::edits::Edits;
use super::places::{Span, quoted};
use super::read::Derived;
use super::scan::ColumnUse;
use super::{Pass, misplaced};
use crate::postgres::govern::Obstacle;

impl Pass<'_> {
    /// Shortens references that name a derived table by its schema, and spells out `*` where it would show too much.
    pub(super) fn columns(
        &self,
        derived: &[Derived<'_>],
        edits: &mut Edits,
    ) -> Result<(), Obstacle> {
        for column in &self.scan.columns {
            let parts = column.parts();
            match parts.as_slice() {
                [None] => self.spell_out_all(column, derived, edits)?,
                [Some(qualifier), None] => self.spell_out(column, qualifier, derived, edits)?,
                [.., Some(schema), Some(relation), last] => {
                    let renamed =
                        self.names_derived(schema, relation, derived) && last.is_none_or(|_| true);
                    if renamed {
                        self.shorten(column, 2, edits)?;
                    }
                }
                // A whole row, by its schema.
                [Some(schema), Some(relation)] if self.names_derived(schema, relation, derived) => {
                    self.shorten(column, 1, edits)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn names_derived(&self, schema: &str, relation: &str, derived: &[Derived<'_>]) -> bool {
        derived.iter().any(|derived| {
            let read = self.scan.reads.get(derived.read);
            derived.relation.schema == schema
                && derived.relation.name == relation
                && read.is_some_and(|read| read.relation.alias.is_none())
        })
    }

    /// Leaves the last `keep` parts of a name.
    fn shorten(
        &self,
        column: &ColumnUse<'_>,
        keep: usize,
        edits: &mut Edits,
    ) -> Result<(), Obstacle> {
        let unplaced = || misplaced("a column");
        let first = self
            .places
            .at(column.reference.location)
            .ok_or_else(unplaced)?;
        let parts = self.places.name(first).ok_or_else(unplaced)?;
        let kept = parts
            .len()
            .checked_sub(keep)
            .and_then(|at| parts.get(at))
            .ok_or_else(unplaced)?;
        let start = self.places.start(first).ok_or_else(unplaced)?;
        let end = self.places.start(kept.first).ok_or_else(unplaced)?;
        edits.replace(start..end, String::new());
        Ok(())
    }

    /// `c.*`, where the derived table also gives columns that `*` does not show.
    fn spell_out(
        &self,
        column: &ColumnUse<'_>,
        qualifier: &str,
        derived: &[Derived<'_>],
        edits: &mut Edits,
    ) -> Result<(), Obstacle> {
        let meant = derived.iter().find(|derived| {
            !derived.system.is_empty()
                && self.scan.reads.get(derived.read).is_some_and(|read| {
                    read.alias() == qualifier && self.scan.is_within(column.level, read.level)
                })
        });
        match meant {
            Some(derived) if column.bare_item => self.spell(column, derived, qualifier, edits),
            Some(_) => Err(too_much()),
            None => Ok(()),
        }
    }

    fn spell_out_all(
        &self,
        column: &ColumnUse<'_>,
        derived: &[Derived<'_>],
        edits: &mut Edits,
    ) -> Result<(), Obstacle> {
        let Some(level) = column.level.and_then(|level| self.scan.levels.get(level)) else {
            return Ok(());
        };
        let meant = derived
            .iter()
            .find(|derived| !derived.system.is_empty() && level.reads.contains(&derived.read));
        match meant {
            // Written by the grammar for `TABLE t`, which names no column of the server's own.
            Some(_) if column.reference.location < 0 => Err(too_much()),
            Some(derived) if level.items == 1 => {
                let alias = self
                    .scan
                    .reads
                    .get(derived.read)
                    .map_or("", |read| read.alias());
                self.spell(column, derived, alias, edits)
            }
            Some(_) => Err(too_much()),
            None => Ok(()),
        }
    }

    fn spell(
        &self,
        column: &ColumnUse<'_>,
        derived: &Derived<'_>,
        alias: &str,
        edits: &mut Edits,
    ) -> Result<(), Obstacle> {
        let unplaced = || misplaced("*");
        let first = self
            .places
            .at(column.reference.location)
            .ok_or_else(unplaced)?;
        let last = if self.places.is_symbol(first, b'*') {
            first
        } else {
            let parts = self.places.name(first).ok_or_else(unplaced)?;
            parts.last().ok_or_else(unplaced)?.last
        };
        let range = self
            .places
            .range(Span { first, last })
            .ok_or_else(unplaced)?;
        let spelled: Vec<_> = derived
            .columns
            .iter()
            .map(|column| format!("{}.{}", quoted(alias), quoted(&column.name)))
            .collect();
        edits.replace(range, spelled.join(", "));
        Ok(())
    }
}

fn too_much() -> Obstacle {
    Obstacle {
        reason: "* stands beside a system column of a masked table".to_owned(),
        hint: "name the columns instead of *".to_owned(),
    }
}
