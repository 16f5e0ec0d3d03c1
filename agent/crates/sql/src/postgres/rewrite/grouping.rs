//! `GROUP BY` a primary key: a derived table has none, so the columns it decides are named beside it.

use pg_query::NodeEnum;
use pg_query::protobuf::{Node, SelectStmt, a_const};

use super::edits::Edits;
use super::places::quoted;
use super::read::Derived;
use super::{Pass, misplaced};
use crate::catalog::Column;
use crate::postgres::children::{Field, Visitor, each_child};
use crate::postgres::govern::Obstacle;
use crate::postgres::walk::text_of;

impl Pass<'_> {
    /// Adds to each `GROUP BY` what the primary keys in it decided.
    pub(super) fn grouping(
        &self,
        derived: &[Derived<'_>],
        edits: &mut Edits,
    ) -> Result<(), Obstacle> {
        for level in &self.scan.levels {
            let Some(select) = level
                .select
                .filter(|select| !select.group_clause.is_empty())
            else {
                continue;
            };
            let mut added = Vec::new();
            let sets = in_sets(select);
            for derived in derived
                .iter()
                .filter(|derived| level.reads.contains(&derived.read))
            {
                let Some(read) = self.scan.reads.get(derived.read) else {
                    continue;
                };
                // With names of its own for the columns it is the names that are grouped by.
                let renamed = read
                    .relation
                    .alias
                    .as_ref()
                    .is_some_and(|alias| !alias.colnames.is_empty());
                if renamed || !groups_by_key(select, read.alias(), derived) {
                    continue;
                }
                added.extend(
                    derived
                        .columns
                        .iter()
                        .filter(|column| {
                            !derived.relation.primary_key.contains(&column.number)
                                && can_be_grouped(column)
                                && !sets.names.contains(&column.name.as_str())
                        })
                        .map(|column| {
                            format!("{}.{}, ", quoted(read.alias()), quoted(&column.name))
                        }),
                );
            }
            if !added.is_empty() {
                edits.insert(self.first_group(select)?, added.concat());
            }
        }
        Ok(())
    }

    /// Where the first item of a `GROUP BY` begins.
    fn first_group(&self, select: &SelectStmt) -> Result<usize, Obstacle> {
        let unplaced = || misplaced("GROUP BY");
        let mut first = First { location: i32::MAX };
        select.group_clause.hand(&mut first);
        let token = self.places.at(first.location).ok_or_else(unplaced)?;
        let by = (0..token)
            .rev()
            .find(|&at| {
                self.places.is_word(at, "by")
                    && at
                        .checked_sub(1)
                        .is_some_and(|before| self.places.is_word(before, "group"))
            })
            .ok_or_else(unplaced)?;
        let quantified =
            self.places.is_word(by + 1, "distinct") || self.places.is_word(by + 1, "all");
        self.places
            .start(by + 1 + usize::from(quantified))
            .ok_or_else(unplaced)
    }
}

/// Names inside `ROLLUP`, `CUBE` and the like: beside them they would be grouped by in every set.
fn in_sets(select: &SelectStmt) -> Names<'_> {
    let mut names = Names::default();
    for item in &select.group_clause {
        if let Some(NodeEnum::GroupingSet(_)) = &item.node {
            item.hand(&mut names);
        }
    }
    names
}

#[derive(Default)]
struct Names<'a> {
    names: Vec<&'a str>,
}

impl<'a> Visitor<'a> for Names<'a> {
    fn node(&mut self, node: &'a NodeEnum) {
        if let NodeEnum::ColumnRef(column) = node {
            self.names.extend(column.fields.last().and_then(text_of));
        }
        each_child(node, self);
    }

    fn relation(&mut self, _: &'a pg_query::protobuf::RangeVar) {}

    fn select(&mut self, _: &'a SelectStmt) {}
}

/// Whether the primary key is among the items.
fn groups_by_key(select: &SelectStmt, alias: &str, derived: &Derived<'_>) -> bool {
    let key = &derived.relation.primary_key;
    !key.is_empty()
        && key.iter().all(|number| {
            let column = derived
                .relation
                .columns
                .iter()
                .find(|column| column.number == *number);
            column.is_some_and(|column| {
                select
                    .group_clause
                    .iter()
                    .any(|item| is_column(select, item, alias, &column.name))
            })
        })
}

/// Whether an item is that column, by its name, by an output's name, or by an output's number.
fn is_column(select: &SelectStmt, item: &Node, alias: &str, name: &str) -> bool {
    match &item.node {
        Some(NodeEnum::AConst(constant)) => {
            let Some(a_const::Val::Ival(number)) = &constant.val else {
                return false;
            };
            let output = usize::try_from(number.ival)
                .ok()
                .and_then(|number| number.checked_sub(1))
                .and_then(|at| select.target_list.get(at));
            output.is_some_and(|output| value_of(output, |val| names(val, alias, name)))
        }
        Some(NodeEnum::ColumnRef(column)) => {
            let output = match column.fields.as_slice() {
                [only] => text_of(only),
                _ => None,
            };
            names(item, alias, name)
                || output.is_some_and(|output| {
                    select.target_list.iter().any(|target| {
                    matches!(&target.node, Some(NodeEnum::ResTarget(found)) if found.name == output)
                        && value_of(target, |val| names(val, alias, name))
                })
                })
        }
        _ => false,
    }
}

fn value_of(target: &Node, fits: impl Fn(&Node) -> bool) -> bool {
    match &target.node {
        Some(NodeEnum::ResTarget(target)) => target.val.as_deref().is_some_and(fits),
        _ => false,
    }
}

fn names(node: &Node, alias: &str, name: &str) -> bool {
    let Some(NodeEnum::ColumnRef(column)) = &node.node else {
        return false;
    };
    match column
        .fields
        .iter()
        .map(text_of)
        .collect::<Vec<_>>()
        .as_slice()
    {
        [Some(last)] => *last == name,
        [.., Some(qualifier), Some(last)] => *qualifier == alias && *last == name,
        _ => false,
    }
}

/// Types without equality cannot be grouped; only aggregates can use them then.
fn can_be_grouped(column: &Column) -> bool {
    !matches!(
        column.base_type,
        JSON | XML | POINT | LSEG | PATH | BOX | POLYGON | LINE | CIRCLE
    )
}

const JSON: u32 = 114;
const XML: u32 = 142;
const POINT: u32 = 600;
const LSEG: u32 = 601;
const PATH: u32 = 602;
const BOX: u32 = 603;
const POLYGON: u32 = 604;
const LINE: u32 = 628;
const CIRCLE: u32 = 718;

/// The first place in the text that a tree names.
struct First {
    location: i32,
}

impl<'a> Visitor<'a> for First {
    fn node(&mut self, node: &'a NodeEnum) {
        let location = match node {
            NodeEnum::ColumnRef(node) => node.location,
            NodeEnum::AConst(node) => node.location,
            NodeEnum::FuncCall(node) => node.location,
            NodeEnum::ParamRef(node) => node.location,
            NodeEnum::CaseExpr(node) => node.location,
            NodeEnum::GroupingSet(node) => node.location,
            NodeEnum::RowExpr(node) => node.location,
            _ => -1,
        };
        if location >= 0 {
            self.location = self.location.min(location);
        }
        each_child(node, self);
    }

    fn relation(&mut self, _: &'a pg_query::protobuf::RangeVar) {}

    fn select(&mut self, _: &'a SelectStmt) {}
}
