//! The references that are read: which of them become derived tables, and with which columns.

use pg_query::protobuf::RangeVar;

use super::Pass;
use super::derive::{Needed, inlines};
use super::edits::Edits;
use super::governed::{Hidden, shown};
use super::resolve::Meaning;
use super::scan::{Read, Statement};
use crate::catalog::{Column, Relation, RelationKind};
use crate::postgres::govern::Obstacle;
use crate::postgres::mask_sql;

/// A reference that became a derived table.
pub(super) struct Derived<'a> {
    pub(super) read: usize,
    pub(super) relation: &'a Relation,
    /// The columns it gives.
    pub(super) columns: Vec<&'a Column>,
    /// Columns of the server's own that it gives too, so that `*` would show them.
    pub(super) system: Vec<&'static str>,
}

impl<'a> Pass<'a> {
    /// Replaces what has to be replaced among the relations that are read.
    pub(super) fn reads(&self, edits: &mut Edits) -> Result<Vec<Derived<'a>>, Obstacle> {
        let mut derived = Vec::new();
        for (number, read) in self.scan.reads.iter().enumerate() {
            let resolved = self.meaning(read.relation, read.statement, edits)?;
            let Meaning::Relation(relation) = resolved.meaning else {
                self.settle(read.relation, read.statement, resolved, edits)?;
                continue;
            };
            let hidden = self.governing.of(relation)?;
            let needed = self.needed(read, relation);
            let masked = needed
                .columns
                .iter()
                .any(|column| hidden.masks.contains_key(column.name.as_str()));
            if !masked && hidden.filters.is_empty() && !hidden.rows {
                self.settle(read.relation, read.statement, resolved, edits)?;
                continue;
            }
            self.may_be_read(read, relation, &hidden, &needed)?;
            self.derive(read, relation, &hidden, &needed, edits)?;
            derived.push(Derived {
                read: number,
                relation,
                columns: needed.columns,
                system: needed.system,
            });
        }
        Ok(derived)
    }

    /// The columns that the statement can reach through a reference, by their names.
    fn needed(&self, read: &Read<'a>, relation: &'a Relation) -> Needed<'a> {
        let none = Statement::default();
        let statement = self.scan.statements.get(read.statement).unwrap_or(&none);
        let level = self.scan.levels.get(read.level);
        let alias = read.alias();
        let all = statement.natural
            || statement.starred.contains(alias)
            || statement.columns.contains(alias)
            || level.is_some_and(|level| level.star || level.joined)
            || read
                .relation
                .alias
                .as_ref()
                .is_some_and(|alias| !alias.colnames.is_empty())
            || self.is_argument(alias, relation);
        let columns = relation
            .columns
            .iter()
            .filter(|column| all || statement.columns.contains(column.name.as_str()))
            .collect();
        let system = if matches!(relation.kind, RelationKind::View) {
            Vec::new()
        } else {
            SYSTEM_COLUMNS
                .iter()
                .filter(|name| statement.columns.contains(*name))
                .copied()
                .collect()
        };
        Needed { columns, system }
    }

    /// Whether `alias.x` stands anywhere where `x` is no column of the relation: then `x` is a function, and the whole row
    /// its argument.
    fn is_argument(&self, alias: &str, relation: &Relation) -> bool {
        self.scan.columns.iter().any(|column| {
            let parts = column.parts();
            matches!(
                parts.as_slice(),
                [.., Some(qualifier), Some(name)] if *qualifier == alias && is_function(name, relation)
            )
        })
    }

    fn may_be_read(
        &self,
        read: &Read<'_>,
        relation: &Relation,
        hidden: &Hidden<'_>,
        needed: &Needed<'_>,
    ) -> Result<(), Obstacle> {
        let masks: Vec<_> = needed
            .columns
            .iter()
            .filter_map(|column| Some((column, *hidden.masks.get(column.name.as_str())?)))
            .collect();
        let masked = !masks.is_empty() || hidden.rows;
        if masked && !self.task.orders.store_masked && self.is_stored(read) {
            return Err(Obstacle {
                reason: format!(
                    "masked values of {} would be stored or decide what is written",
                    shown(relation)
                ),
                hint: "name only columns that are not masked, or write to a temporary table"
                    .to_owned(),
            });
        }
        let below = || {
            inlines(relation, hidden, needed)
                && self
                    .task
                    .orders
                    .masks
                    .iter()
                    .any(|mask| mask_sql::is_keyed(mask.mask))
        };
        if read.explained && (masks.iter().any(|(_, mask)| mask_sql::is_keyed(*mask)) || below()) {
            return Err(keyed(relation));
        }
        Ok(())
    }

    /// Whether what is read ends up where others can read it.
    fn is_stored(&self, read: &Read<'_>) -> bool {
        let lasting = |write: usize| {
            self.scan
                .writes
                .get(write)
                .is_some_and(|write| !self.is_temporary(write.relation, write.statement))
        };
        let beside_a_write = || {
            self.scan
                .writes
                .iter()
                .enumerate()
                .any(|(number, write)| write.statement == read.statement && lasting(number))
        };
        read.stored || read.in_write.is_some_and(lasting) || (read.in_cte && beside_a_write())
    }

    /// Whether a relation is the session's own.
    pub(super) fn is_temporary(&self, relation: &RangeVar, statement: usize) -> bool {
        matches!(
            self.resolved(relation, statement).meaning,
            Meaning::Temporary
        )
    }
}

/// Whether a name behind a relation's is no column of it, nor one of the server's own.
pub(super) fn is_function(name: &str, relation: &Relation) -> bool {
    relation.column(name).is_none() && !SYSTEM_COLUMNS.contains(&name)
}

/// Columns of the server's own, which every table has.
pub(super) const SYSTEM_COLUMNS: &[&str] = &["ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"];

/// A statement whose plan would show a secret.
pub(super) fn keyed(relation: &Relation) -> Obstacle {
    Obstacle {
        reason: format!(
            "the plan would show how columns of {} are masked",
            shown(relation)
        ),
        hint: "EXPLAIN a statement that does not name masked columns".to_owned(),
    }
}
