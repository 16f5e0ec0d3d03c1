//! Writes of relations of which something is hidden: they may write it, and may not read it.

use pg_query::NodeEnum;
use pg_query::protobuf::{OnConflictAction, ReturningClause};

use super::derive::condition;
use super::edits::Edits;
use super::governed::{Hidden, shown};
use super::places::quoted;
use super::read::{is_function, keyed};
use super::resolve::Meaning;
use super::scan::{ColumnUse, Write, WriteNode, alias_of};
use super::{Pass, misplaced};
use crate::catalog::Relation;
use crate::postgres::govern::Obstacle;
use crate::postgres::mask_sql;

/// A write whose target hides something.
struct Target<'a> {
    write: &'a Write<'a>,
    relation: &'a Relation,
    hidden: Hidden<'a>,
    /// What its columns can be qualified by.
    aliases: Vec<&'a str>,
}

impl<'a> Pass<'a> {
    /// Masks what writes give back, and refuses those that read what is hidden.
    pub(super) fn writes(&'a self, edits: &mut Edits) -> Result<(), Obstacle> {
        for write in &self.scan.writes {
            let resolved = self.meaning(write.relation, write.statement, edits)?;
            let Meaning::Relation(relation) = resolved.meaning else {
                self.settle(write.relation, write.statement, resolved, edits)?;
                continue;
            };
            let hidden = self.governing.of(relation)?;
            if hidden.is_nothing() {
                self.settle(write.relation, write.statement, resolved, edits)?;
                continue;
            }
            self.settle_surely(write.relation, write.statement, resolved, edits)?;
            let mut aliases = vec![alias_of(write.relation)];
            aliases.extend(returned_aliases(write.node.returning()));
            let target = Target {
                write,
                relation,
                hidden,
                aliases,
            };
            self.write(&target, edits)?;
        }
        Ok(())
    }

    fn write(&self, target: &Target<'_>, edits: &mut Edits) -> Result<(), Obstacle> {
        if target.hidden.rows {
            return Err(target.refused("is a view over rows that are hidden"));
        }
        target.infers()?;
        for column in &self.scan.columns {
            if self.scan.is_within(column.level, target.write.level) {
                self.column_of_target(column, target, edits)?;
            }
        }
        if target.hidden.filters.is_empty() {
            return Ok(());
        }
        self.filter_target(target, edits)
    }

    fn column_of_target(
        &self,
        column: &ColumnUse<'_>,
        target: &Target<'_>,
        edits: &mut Edits,
    ) -> Result<(), Obstacle> {
        let parts = column.parts();
        let (qualifier, last) = match parts.as_slice() {
            [last] => (None, *last),
            [.., Some(qualifier), last] => (Some(*qualifier), *last),
            _ => return Ok(()),
        };
        let is_targets = match qualifier {
            Some(qualifier) => target.aliases.contains(&qualifier),
            None => true,
        };
        if !is_targets {
            return Ok(());
        }
        let Some(name) = last else {
            return self.all_of_target(column, qualifier, target, edits);
        };
        let is_row = match qualifier {
            None => target.aliases.contains(&name),
            Some(_) => is_function(name, target.relation),
        };
        if is_row {
            return Err(target.refused("is used as a whole row"));
        }
        let Some(mask) = target.hidden.masks.get(name) else {
            return Ok(());
        };
        if qualifier.is_none() && self.is_inner(column, name, target) {
            return Ok(());
        }
        if !column.returning {
            return Err(target.refused(&format!("has its masked column {name} read by the write")));
        }
        if target.write.explained && mask_sql::is_keyed(*mask) {
            return Err(keyed(target.relation));
        }
        self.mask_in_place(column, name, target, edits)
    }

    /// Whether a nested query has a column of that name itself.
    fn is_inner(&self, column: &ColumnUse<'_>, name: &str, target: &Target<'_>) -> bool {
        let mut at = column.level;
        while let Some(number) = at.filter(|number| *number != target.write.level) {
            let Some(level) = self.scan.levels.get(number) else {
                return false;
            };
            let has = level.reads.iter().any(|read| {
                self.scan
                    .reads
                    .get(*read)
                    .and_then(
                        |read| match self.resolved(read.relation, read.statement).meaning {
                            Meaning::Relation(relation) => relation.column(name),
                            _ => None,
                        },
                    )
                    .is_some()
            });
            if has {
                return true;
            }
            at = level.parent;
        }
        false
    }

    /// The masked value in the place of the column.
    fn mask_in_place(
        &self,
        column: &ColumnUse<'_>,
        name: &str,
        target: &Target<'_>,
        edits: &mut Edits,
    ) -> Result<(), Obstacle> {
        let unplaced = || misplaced("a column that is given back");
        let first = self
            .places
            .at(column.reference.location)
            .ok_or_else(unplaced)?;
        let parts = self.places.name(first).ok_or_else(unplaced)?;
        let span = super::places::Span {
            first,
            last: parts.last().ok_or_else(unplaced)?.last,
        };
        let value = self.places.slice(span).ok_or_else(unplaced)?;
        let masked = target.masked(name, value, self).ok_or_else(unplaced)?;
        let named = if column.bare_item {
            format!("{masked} AS {}", quoted(name))
        } else {
            format!("({masked})")
        };
        edits.replace(self.places.range(span).ok_or_else(unplaced)?, named);
        Ok(())
    }

    /// `RETURNING *`: the columns one by one.
    fn all_of_target(
        &self,
        column: &ColumnUse<'_>,
        qualifier: Option<&str>,
        target: &Target<'_>,
        edits: &mut Edits,
    ) -> Result<(), Obstacle> {
        let unplaced = || misplaced("*");
        let own_level = column.level == Some(target.write.level);
        if qualifier.is_none() && !own_level {
            return Ok(());
        }
        let others = self
            .scan
            .levels
            .get(target.write.level)
            .is_none_or(|level| level.items > 0);
        if !column.returning || !own_level || (qualifier.is_none() && others) {
            return Err(target.refused("has all its columns read by the write"));
        }
        let first = self
            .places
            .at(column.reference.location)
            .ok_or_else(unplaced)?;
        let last = if qualifier.is_none() {
            first
        } else {
            let parts = self.places.name(first).ok_or_else(unplaced)?;
            parts.last().ok_or_else(unplaced)?.last
        };
        let qualifier = quoted(qualifier.unwrap_or_else(|| alias_of(target.write.relation)));
        let mut spelled = Vec::new();
        for column in &target.relation.columns {
            let name = quoted(&column.name);
            let value = format!("{qualifier}.{name}");
            spelled.push(match target.masked(&column.name, &value, self) {
                Some(masked) => format!("{masked} AS {name}"),
                None => value,
            });
        }
        let span = super::places::Span { first, last };
        edits.replace(
            self.places.range(span).ok_or_else(unplaced)?,
            spelled.join(", "),
        );
        Ok(())
    }

    /// Only rows that may be seen may be changed.
    fn filter_target(&self, target: &Target<'_>, edits: &mut Edits) -> Result<(), Obstacle> {
        let place = match target.write.node {
            WriteNode::Insert(_) => return Ok(()),
            WriteNode::Update(update) => update.where_clause.as_deref(),
            WriteNode::Delete(delete) => delete.where_clause.as_deref(),
            WriteNode::Merge(_) => {
                return Err(
                    target.refused("shows only some of its rows, and MERGE could change others")
                );
            }
        };
        let unplaced = || misplaced("WHERE");
        let qualifier = format!("{}.", quoted(alias_of(target.write.relation)));
        let filter = condition(self.task, target.relation, &target.hidden, &qualifier)?;
        let Some(place) = place else {
            let at = self.write_end(target)?;
            edits.insert(at, format!(" WHERE {filter}"));
            return Ok(());
        };
        if matches!(place.node, Some(NodeEnum::CurrentOfExpr(_))) {
            return Err(target.refused(
                "shows only some of its rows; WHERE CURRENT OF cannot be limited to them",
            ));
        }
        let target_end = self.place(target.write.relation)?.last;
        let before = self
            .places
            .clause_end(target_end + 1, &["where"])
            .map(|last| last + 1)
            .filter(|at| self.places.is_word(*at, "where"))
            .ok_or_else(unplaced)?;
        let end = self
            .places
            .clause_end(before + 1, &["returning"])
            .and_then(|last| self.places.end(last))
            .ok_or_else(unplaced)?;
        let start = self.places.start(before + 1).ok_or_else(unplaced)?;
        // The order of evaluation is fixed: what the client wrote sees no row that it may not.
        edits.insert(start, format!("CASE WHEN {filter} THEN ("));
        edits.insert(end, ") ELSE false END".to_owned());
        Ok(())
    }

    /// Where a write without `WHERE` ends, before `RETURNING`.
    fn write_end(&self, target: &Target<'_>) -> Result<usize, Obstacle> {
        let unplaced = || misplaced("the end of the write");
        let first = self.place(target.write.relation)?.last;
        self.places
            .clause_end(first + 1, &["returning"])
            .and_then(|last| self.places.end(last))
            .ok_or_else(unplaced)
    }
}

impl Target<'_> {
    /// `ON CONFLICT (c)` asks whether a value is there.
    fn infers(&self) -> Result<(), Obstacle> {
        let WriteNode::Insert(insert) = self.write.node else {
            return Ok(());
        };
        let Some(conflict) = insert.on_conflict_clause.as_deref() else {
            return Ok(());
        };
        let elements = conflict.infer.iter().flat_map(|infer| &infer.index_elems);
        for element in elements {
            if let Some(NodeEnum::IndexElem(element)) = &element.node
                && self.hidden.masks.contains_key(element.name.as_str())
            {
                return Err(self.refused("has a masked column in ON CONFLICT"));
            }
        }
        let updates = conflict.action == OnConflictAction::OnconflictUpdate as i32;
        if updates && !self.hidden.filters.is_empty() {
            return Err(
                self.refused("shows only some of its rows, and ON CONFLICT could change others")
            );
        }
        Ok(())
    }

    /// The masked value of a column, where it is masked.
    fn masked(&self, name: &str, value: &str, pass: &Pass<'_>) -> Option<String> {
        let mask = self.hidden.masks.get(name)?;
        let column = self.relation.column(name)?;
        Some(mask_sql::expression(
            *mask,
            column,
            value,
            &pass.task.orders.key,
        ))
    }

    fn refused(&self, why: &str) -> Obstacle {
        Obstacle {
            reason: format!("{} {why}", shown(self.relation)),
            hint: "let the write name only columns that are not masked".to_owned(),
        }
    }
}

/// `old` and `new`, and what `RETURNING WITH (OLD AS o)` calls them.
fn returned_aliases(returning: Option<&ReturningClause>) -> Vec<&str> {
    let mut aliases = vec!["old", "new"];
    if let Some(returning) = returning {
        aliases.extend(
            returning
                .options
                .iter()
                .filter_map(|option| match &option.node {
                    Some(NodeEnum::ReturningOption(option)) => Some(option.value.as_str()),
                    _ => None,
                }),
        );
    }
    aliases
}
