//! Column references that have to change with the relation they name, and the columns of a filter.

use pg_query::NodeEnum;
use pg_query::protobuf::{ColumnRef, Node};

use super::edits::Edits;
use super::places::{Span, quoted};
use super::read::Derived;
use super::scan::ColumnUse;
use super::{Pass, misplaced};
use crate::catalog::Relation;
use crate::facts::SessionModes;
use crate::postgres::children::{Field, Visitor, each_child};
use crate::postgres::govern::Obstacle;
use crate::postgres::walk::text_of;
use crate::postgres::{lexer, nesting, parse};

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

/// A row filter, read and written out with its columns qualified.
///
/// # Errors
///
/// [`Obstacle`] when it is no single condition over columns of `relation`.
pub(super) fn filter(
    condition: &str,
    relation: &Relation,
    qualifier: &str,
    modes: SessionModes,
) -> Result<String, Obstacle> {
    let broken = |why: &str| Obstacle {
        reason: format!(
            "the row filter of {}.{} {why}",
            relation.schema, relation.name
        ),
        hint: "ask whoever wrote the policy".to_owned(),
    };
    if modes.backslash_in_strings && condition.contains('\\') {
        return Err(broken(
            "cannot be read with standard_conforming_strings off",
        ));
    }
    let text = format!("SELECT {condition}");
    let tokens = lexer::tokens(&text, modes.backslash_in_strings);
    if tokens
        .iter()
        .any(|token| token.kind == lexer::TokenKind::Comment)
    {
        return Err(broken("holds a comment"));
    }
    let depth = nesting::bound(&text, &tokens);
    let places = parse::with_tree(&text, modes, depth, |statements| {
        let [statement] = statements else {
            return Err("is not one condition");
        };
        let select = statement
            .stmt
            .as_deref()
            .and_then(|stmt| stmt.node.as_ref());
        let Some(NodeEnum::SelectStmt(select)) = select else {
            return Err("is not a condition");
        };
        let [item] = select.target_list.as_slice() else {
            return Err("is not one condition");
        };
        let plain = pg_query::protobuf::SelectStmt {
            target_list: select.target_list.clone(),
            limit_option: select.limit_option,
            op: select.op,
            ..Default::default()
        };
        if **select != plain {
            return Err("is more than a condition");
        }
        let Some(NodeEnum::ResTarget(target)) = &item.node else {
            return Err("is not a condition");
        };
        if !target.name.is_empty() {
            return Err("has a name");
        }
        let mut found = FilterColumns::default();
        target.val.hand(&mut found);
        found.check(relation)
    })
    .map_err(|_| broken("cannot be parsed"))?
    .map_err(broken)?;
    let mut out = text;
    for place in places.into_iter().rev() {
        if !out.is_char_boundary(place) {
            return Err(broken("cannot be parsed"));
        }
        out.insert_str(place, qualifier);
    }
    Ok(out.split_off("SELECT ".len()))
}

#[derive(Default)]
struct FilterColumns<'a> {
    columns: Vec<&'a ColumnRef>,
    nested: bool,
}

impl FilterColumns<'_> {
    fn check(&self, relation: &Relation) -> Result<Vec<usize>, &'static str> {
        if self.nested {
            return Err("holds a query");
        }
        let mut places = Vec::new();
        for column in &self.columns {
            let [Node { node: Some(_) }] = column.fields.as_slice() else {
                return Err("qualifies a column");
            };
            let name = column.fields.first().and_then(text_of);
            if !relation
                .columns
                .iter()
                .any(|known| Some(known.name.as_str()) == name)
            {
                return Err("names a column that the relation does not have");
            }
            places.push(usize::try_from(column.location).map_err(|_| "cannot be parsed")?);
        }
        places.sort_unstable();
        Ok(places)
    }
}

impl<'a> Visitor<'a> for FilterColumns<'a> {
    fn node(&mut self, node: &'a NodeEnum) {
        match node {
            NodeEnum::ColumnRef(column) => self.columns.push(column),
            NodeEnum::ParamRef(_) => self.nested = true,
            _ => each_child(node, self),
        }
    }

    fn relation(&mut self, _: &'a pg_query::protobuf::RangeVar) {
        self.nested = true;
    }

    fn select(&mut self, _: &'a pg_query::protobuf::SelectStmt) {
        self.nested = true;
    }
}
