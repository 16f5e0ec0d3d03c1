//! Writes: what they write, and what they read on the way.

use pg_query::NodeEnum;
use pg_query::protobuf::{
    CmdType, DeleteStmt, InsertStmt, MergeStmt, MergeWhenClause, Node, OnConflictClause, ResTarget,
    ReturningClause, ReturningOptionKind, UpdateStmt,
};

use super::Binder;
use super::lineage::{Lineage, Out, Outs};
use super::scope::{Columns, Item, Scope};
use crate::facts::ColumnUsage;

impl<'a> Binder<'a> {
    pub(super) fn insert(&mut self, insert: &'a InsertStmt) -> Outs<'a> {
        let frame = self.with(insert.with_clause.as_ref());
        let source = self.stored(|binder| binder.nested(insert.select_stmt.as_deref()));
        let Some(relation) = &insert.relation else {
            self.ctes.truncate(frame);
            return Outs::default();
        };
        let item = self.target(relation);
        let written: Vec<Out<'a>> = if insert.cols.is_empty() {
            let count = match source.open {
                Some(_) => usize::MAX,
                None => source.list.len(),
            };
            item.columns.first(count)
        } else {
            results(&insert.cols)
                .map(|target| Out {
                    name: &target.name,
                    lineage: item.columns.column(&target.name),
                })
                .collect()
        };
        for out in &written {
            self.touch(&out.lineage, ColumnUsage::Write);
        }
        for target in results(&insert.cols) {
            self.index_expressions(target);
        }
        self.scopes.push(Scope::of(item.clone()));
        if let Some(conflict) = insert.on_conflict_clause.as_deref() {
            self.conflict(conflict, &written, &source);
        }
        let outs = self.returning(insert.returning_clause.as_ref(), &item);
        self.scopes.pop();
        self.ctes.truncate(frame);
        outs
    }

    fn conflict(&mut self, conflict: &'a OnConflictClause, written: &[Out<'a>], source: &Outs<'a>) {
        if let Some(infer) = conflict.infer.as_deref() {
            let usage = std::mem::replace(&mut self.usage, ColumnUsage::Predicate);
            self.index_elements(&infer.index_elems);
            self.usage = usage;
            if let Some(condition) = infer.where_clause.as_deref() {
                self.condition(condition);
            }
        }
        // What was to be inserted: the source's values under the target's names.
        let excluded = Outs {
            list: written
                .iter()
                .enumerate()
                .map(|(index, out)| Out {
                    name: out.name,
                    lineage: source.at(index),
                })
                .collect(),
            open: Some(Lineage::default()),
        };
        self.add(Item {
            name: "excluded",
            schema: None,
            columns: Columns::Derived(excluded),
            by_name: true,
            bare: false,
        });
        self.assign(&conflict.target_list);
        if let Some(condition) = conflict.where_clause.as_deref() {
            self.condition(condition);
        }
    }

    pub(super) fn update(&mut self, update: &'a UpdateStmt) -> Outs<'a> {
        let frame = self.with(update.with_clause.as_ref());
        let Some(relation) = &update.relation else {
            self.ctes.truncate(frame);
            return Outs::default();
        };
        let item = self.target(relation);
        self.scopes.push(Scope::of(item.clone()));
        for node in &update.from_clause {
            self.source_item(node);
        }
        self.assign(&update.target_list);
        if let Some(condition) = update.where_clause.as_deref() {
            self.condition(condition);
        }
        let outs = self.returning(update.returning_clause.as_ref(), &item);
        self.scopes.pop();
        self.ctes.truncate(frame);
        outs
    }

    pub(super) fn delete(&mut self, delete: &'a DeleteStmt) -> Outs<'a> {
        let frame = self.with(delete.with_clause.as_ref());
        let Some(relation) = &delete.relation else {
            self.ctes.truncate(frame);
            return Outs::default();
        };
        let item = self.target(relation);
        self.scopes.push(Scope::of(item.clone()));
        for node in &delete.using_clause {
            self.source_item(node);
        }
        if let Some(condition) = delete.where_clause.as_deref() {
            self.condition(condition);
        }
        let outs = self.returning(delete.returning_clause.as_ref(), &item);
        self.scopes.pop();
        self.ctes.truncate(frame);
        outs
    }

    pub(super) fn merge(&mut self, merge: &'a MergeStmt) -> Outs<'a> {
        let frame = self.with(merge.with_clause.as_ref());
        let Some(relation) = &merge.relation else {
            self.ctes.truncate(frame);
            return Outs::default();
        };
        let item = self.target(relation);
        self.scopes.push(Scope::of(item.clone()));
        if let Some(source) = merge.source_relation.as_deref() {
            self.source_item(source);
        }
        if let Some(condition) = merge.join_condition.as_deref() {
            self.condition(condition);
        }
        for node in &merge.merge_when_clauses {
            if let Some(NodeEnum::MergeWhenClause(clause)) = &node.node {
                self.when(clause, &item);
            }
        }
        let outs = self.returning(merge.returning_clause.as_ref(), &item);
        self.scopes.pop();
        self.ctes.truncate(frame);
        outs
    }

    fn when(&mut self, clause: &'a MergeWhenClause, target: &Item<'a>) {
        if let Some(condition) = clause.condition.as_deref() {
            self.condition(condition);
        }
        if clause.command_type != CmdType::CmdInsert as i32 {
            return self.assign(&clause.target_list);
        }
        for value in &clause.values {
            self.stored(|binder| binder.expression(value));
        }
        if clause.target_list.is_empty() {
            for out in target.columns.first(clause.values.len()) {
                self.touch(&out.lineage, ColumnUsage::Write);
            }
        } else {
            self.assign(&clause.target_list);
        }
    }

    /// `SET a = …, (b, c) = …`: names are the target's, the first item's.
    fn assign(&mut self, targets: &'a [Node]) {
        for target in results(targets) {
            let written = self
                .scopes
                .last()
                .and_then(|scope| scope.items.first())
                .map(|item| item.columns.column(&target.name))
                .unwrap_or_default();
            self.touch(&written, ColumnUsage::Write);
            self.index_expressions(target);
            // The columns of one list share their source; once is enough.
            if let Some(value) = target.val.as_deref()
                && !matches!(&value.node, Some(NodeEnum::MultiAssignRef(part)) if part.colno > 1)
            {
                self.stored(|binder| binder.expression(value));
            }
        }
    }

    /// `SET a[i] = …` reads `i`.
    fn index_expressions(&mut self, target: &'a ResTarget) {
        self.stored(|binder| {
            for node in &target.indirection {
                binder.expression(node);
            }
        });
    }

    /// Reads what is stored.
    fn stored<T>(&mut self, read: impl FnOnce(&mut Self) -> T) -> T {
        let usage = std::mem::replace(&mut self.usage, ColumnUsage::Output);
        let result = read(self);
        self.usage = usage;
        result
    }

    fn returning(&mut self, returning: Option<&'a ReturningClause>, target: &Item<'a>) -> Outs<'a> {
        let Some(returning) = returning else {
            return Outs::default();
        };
        let (mut old, mut new) = ("old", "new");
        for node in &returning.options {
            if let Some(NodeEnum::ReturningOption(option)) = &node.node {
                match ReturningOptionKind::try_from(option.option) {
                    Ok(ReturningOptionKind::ReturningOptionOld) => old = &option.value,
                    Ok(ReturningOptionKind::ReturningOptionNew) => new = &option.value,
                    _ => {}
                }
            }
        }
        for name in [old, new] {
            self.add(Item {
                name,
                schema: None,
                bare: false,
                by_name: true,
                columns: target.columns.clone(),
            });
        }
        self.stored(|binder| binder.targets(&returning.exprs))
    }
}

fn results(targets: &[Node]) -> impl Iterator<Item = &ResTarget> {
    targets.iter().filter_map(|node| match &node.node {
        Some(NodeEnum::ResTarget(target)) => Some(target.as_ref()),
        _ => None,
    })
}
