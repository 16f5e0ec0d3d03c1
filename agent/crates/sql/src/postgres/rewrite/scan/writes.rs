//! Writes: their targets, and what they read.

use pg_query::protobuf::{
    DeleteStmt, InsertStmt, MergeStmt, RangeVar, ReturningClause, UpdateStmt, WithClause,
};

use super::{Level, Scan};
use crate::postgres::children::Field;

/// A relation that is written.
pub(in crate::postgres::rewrite) struct Write<'a> {
    pub(in crate::postgres::rewrite) relation: &'a RangeVar,
    pub(in crate::postgres::rewrite) level: usize,
    pub(in crate::postgres::rewrite) statement: usize,
    pub(in crate::postgres::rewrite) node: WriteNode<'a>,
    pub(in crate::postgres::rewrite) explained: bool,
}

/// How it is written.
#[derive(Clone, Copy)]
pub(in crate::postgres::rewrite) enum WriteNode<'a> {
    Insert(&'a InsertStmt),
    Update(&'a UpdateStmt),
    Delete(&'a DeleteStmt),
    Merge(&'a MergeStmt),
}

impl<'a> WriteNode<'a> {
    pub(in crate::postgres::rewrite) fn returning(self) -> Option<&'a ReturningClause> {
        match self {
            Self::Insert(node) => node.returning_clause.as_ref(),
            Self::Update(node) => node.returning_clause.as_ref(),
            Self::Delete(node) => node.returning_clause.as_ref(),
            Self::Merge(node) => node.returning_clause.as_ref(),
        }
    }
}

impl<'a> Scan<'a> {
    pub(super) fn write(
        &mut self,
        relation: Option<&'a RangeVar>,
        with: Option<&'a WithClause>,
        node: WriteNode<'a>,
    ) {
        let outer = (self.level, self.within, self.ctes.len());
        let number = self.writes.len();
        self.within.returning = false;
        if let Some(relation) = relation {
            self.names
                .push((relation.schemaname.clone(), relation.relname.clone()));
            self.within.write = Some(number);
            self.writes.push(Write {
                relation,
                level: 0,
                statement: self.statement_number(),
                node,
                explained: self.explained,
            });
        }
        self.with(with);
        // The rows to insert cannot name the relation that they go into.
        if let WriteNode::Insert(insert) = node {
            insert.select_stmt.hand(self);
        }
        let level = self.enter(Level::default());
        if let Some(write) = self.writes.get_mut(number) {
            write.level = level;
        }
        self.write_body(node);
        if let Some(returning) = node.returning() {
            self.within.returning = true;
            self.list(&returning.exprs);
        }
        self.ctes.truncate(outer.2);
        (self.level, self.within) = (outer.0, outer.1);
    }

    fn write_body(&mut self, node: WriteNode<'a>) {
        match node {
            WriteNode::Insert(insert) => {
                insert.cols.hand(self);
                insert.on_conflict_clause.hand(self);
            }
            WriteNode::Update(update) => {
                for item in &update.from_clause {
                    self.read_item(item);
                }
                update.target_list.hand(self);
                update.where_clause.hand(self);
            }
            WriteNode::Delete(delete) => {
                for item in &delete.using_clause {
                    self.read_item(item);
                }
                delete.where_clause.hand(self);
            }
            WriteNode::Merge(merge) => {
                if let Some(source) = merge.source_relation.as_deref() {
                    self.read_item(source);
                }
                merge.join_condition.hand(self);
                merge.merge_when_clauses.hand(self);
            }
        }
    }
}
