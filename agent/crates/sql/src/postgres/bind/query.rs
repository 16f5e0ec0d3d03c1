//! Queries: their clauses in the order in which names become known.

use pg_query::NodeEnum;
use pg_query::protobuf::{Node, ResTarget, SelectStmt, SetOperation, a_const};

use super::lineage::{Out, Outs};
use super::scope::Scope;
use super::{Binder, MAX_OUTPUTS};
use crate::facts::ColumnUsage;
use crate::postgres::walk::text_of;

impl<'a> Binder<'a> {
    /// Reads a query and returns its columns.
    pub(super) fn query(&mut self, select: &'a SelectStmt) -> Outs<'a> {
        if self.overflow {
            return Outs::default();
        }
        // What the columns of this query touch is part of a comparison around it; its own conditions are not.
        let around = self.comparison.take();
        let frame = self.with(select.with_clause.as_ref());
        let outs = if select.op != SetOperation::SetopNone as i32 {
            self.set_operation(select, around)
        } else if select.values_lists.is_empty() {
            self.plain(select, around)
        } else {
            self.comparison = around;
            let outs = self.values(&select.values_lists);
            self.scopes.push(Scope::default());
            let around = self.comparison.take();
            self.order(&select.sort_clause, &outs);
            self.limits(select);
            self.scopes.pop();
            self.comparison = around;
            outs
        };
        self.ctes.truncate(frame);
        outs
    }

    fn plain(&mut self, select: &'a SelectStmt, around: Option<Vec<usize>>) -> Outs<'a> {
        self.scopes.push(Scope::default());
        for item in &select.from_clause {
            self.source_item(item);
        }
        self.windows(&select.window_clause);
        self.comparison = around;
        let outs = self.targets(&select.target_list);
        let around = self.comparison.take();
        if let Some(condition) = select.where_clause.as_deref() {
            self.condition(condition);
        }
        let usage = std::mem::replace(&mut self.usage, ColumnUsage::Predicate);
        for node in &select.group_clause {
            self.group(node, &outs);
        }
        self.usage = usage;
        if let Some(condition) = select.having_clause.as_deref() {
            self.condition(condition);
        }
        self.distinct(&select.distinct_clause, &outs);
        self.order(&select.sort_clause, &outs);
        self.limits(select);
        self.scopes.pop();
        self.comparison = around;
        outs
    }

    fn set_operation(&mut self, select: &'a SelectStmt, around: Option<Vec<usize>>) -> Outs<'a> {
        self.comparison = around;
        let mut outs = select
            .larg
            .as_deref()
            .map(|arm| self.query(arm))
            .unwrap_or_default();
        if let Some(arm) = select.rarg.as_deref() {
            let right = self.query(arm);
            outs.unite(&right);
        }
        let around = self.comparison.take();
        let keeps_all = select.all && select.op == SetOperation::SetopUnion as i32;
        if !keeps_all {
            self.touch_all(&outs, ColumnUsage::Predicate);
        }
        // Its order can only name its columns.
        self.scopes.push(Scope::default());
        self.order(&select.sort_clause, &outs);
        self.limits(select);
        self.scopes.pop();
        self.comparison = around;
        outs
    }

    fn values(&mut self, rows: &'a [Node]) -> Outs<'a> {
        let mut outs = Outs::default();
        for row in rows {
            let Some(NodeEnum::List(row)) = &row.node else {
                continue;
            };
            for (index, value) in row.items.iter().enumerate() {
                let lineage = self.expression(value);
                match outs.list.get_mut(index) {
                    Some(out) => {
                        out.lineage.add(&lineage);
                        out.lineage.exact = false;
                    }
                    None => outs.list.push(Out {
                        name: VALUE_NAMES.get(index).copied().unwrap_or_default(),
                        lineage: lineage.changed(),
                    }),
                }
            }
        }
        outs
    }

    fn windows(&mut self, windows: &'a [Node]) {
        let usage = std::mem::replace(&mut self.usage, ColumnUsage::Predicate);
        for node in windows {
            let Some(NodeEnum::WindowDef(window)) = &node.node else {
                continue;
            };
            let lineage = self.window(window);
            if let Some(scope) = self.scopes.last_mut() {
                scope.windows.push((&window.name, lineage));
            }
        }
        self.usage = usage;
    }

    /// Reads a list of results: of `SELECT` or `RETURNING`.
    pub(super) fn targets(&mut self, targets: &'a [Node]) -> Outs<'a> {
        let mut outs = Outs::default();
        for node in targets {
            let Some(NodeEnum::ResTarget(target)) = &node.node else {
                continue;
            };
            self.result(target, &mut outs);
            if outs.list.len() > MAX_OUTPUTS {
                self.overflow = true;
                return Outs::default();
            }
        }
        outs
    }

    fn result(&mut self, target: &'a ResTarget, outs: &mut Outs<'a>) {
        let Some(value) = target.val.as_deref() else {
            return;
        };
        if let Some(star) = self.star(value) {
            let open = star.open.is_some();
            outs.list.extend(star.list);
            if let Some(rest) = &star.open {
                outs.open_with(rest);
            }
            if open {
                let whole = outs.whole();
                outs.open_with(&whole);
            }
            return;
        }
        let lineage = self.expression(value);
        let name = if target.name.is_empty() {
            super::result_name::name_of(value)
        } else {
            &target.name
        };
        outs.list.push(Out { name, lineage });
    }

    /// `GROUP BY`: an input column of that name comes before an output column.
    fn group(&mut self, node: &'a Node, outs: &Outs<'a>) {
        match &node.node {
            Some(NodeEnum::GroupingSet(set)) => {
                for node in &set.content {
                    self.group(node, outs);
                }
            }
            Some(NodeEnum::RowExpr(row)) => {
                for node in &row.args {
                    self.group(node, outs);
                }
            }
            _ => {
                let name = single_name(node);
                if name.is_some_and(|name| self.is_local(name)) || !self.refers_to(node, outs) {
                    self.expression(node);
                }
            }
        }
    }

    fn distinct(&mut self, clause: &'a [Node], outs: &Outs<'a>) {
        // Plain `DISTINCT` is a list of one node that is nothing.
        if clause.iter().any(|node| node.node.is_none()) {
            self.touch_all(outs, ColumnUsage::Predicate);
            return;
        }
        let usage = std::mem::replace(&mut self.usage, ColumnUsage::Predicate);
        for node in clause {
            if !self.refers_to(node, outs) {
                self.expression(node);
            }
        }
        self.usage = usage;
    }

    /// `ORDER BY`: an output column of that name comes before an input column.
    fn order(&mut self, clause: &'a [Node], outs: &Outs<'a>) {
        let usage = std::mem::replace(&mut self.usage, ColumnUsage::Predicate);
        for node in clause {
            let Some(NodeEnum::SortBy(sort)) = &node.node else {
                continue;
            };
            if let Some(node) = sort.node.as_deref()
                && !self.refers_to(node, outs)
            {
                self.expression(node);
            }
        }
        self.usage = usage;
    }

    /// Whether `node` is a position or a name among the results; then that result is touched.
    fn refers_to(&mut self, node: &'a Node, outs: &Outs<'a>) -> bool {
        let lineage = if let Some(name) = single_name(node) {
            let mut named = outs.list.iter().filter(|out| out.name == name);
            let Some(first) = named.next() else {
                return false;
            };
            let mut lineage = first.lineage.clone();
            for out in named {
                lineage.add(&out.lineage);
            }
            lineage
        } else if let Some(position) = position(node) {
            if self.exact_ordinals {
                outs.at(position.saturating_sub(1))
            } else {
                outs.whole()
            }
        } else {
            return false;
        };
        self.touch(&lineage, ColumnUsage::Predicate);
        true
    }

    fn limits(&mut self, select: &'a SelectStmt) {
        let usage = std::mem::replace(&mut self.usage, ColumnUsage::Predicate);
        for node in [&select.limit_offset, &select.limit_count]
            .into_iter()
            .filter_map(Option::as_deref)
        {
            self.expression(node);
        }
        self.usage = usage;
    }
}

/// The number, where `node` is a number alone.
fn position(node: &Node) -> Option<usize> {
    let Some(NodeEnum::AConst(constant)) = &node.node else {
        return None;
    };
    match &constant.val {
        Some(a_const::Val::Ival(position)) => usize::try_from(position.ival).ok(),
        // Too large to be a position: the server refuses it.
        Some(a_const::Val::Fval(_)) => Some(0),
        _ => None,
    }
}

/// The name, where `node` is a name alone.
fn single_name(node: &Node) -> Option<&str> {
    match &node.node {
        Some(NodeEnum::ColumnRef(column)) => match column.fields.as_slice() {
            [name] => text_of(name),
            _ => None,
        },
        _ => None,
    }
}

/// What the server calls the columns of `VALUES`, as many as people write down.
const VALUE_NAMES: &[&str] = &[
    "column1", "column2", "column3", "column4", "column5", "column6", "column7", "column8",
    "column9", "column10", "column11", "column12", "column13", "column14", "column15", "column16",
];
