//! Common table expressions: bound when first needed, because those of `WITH RECURSIVE` may name later ones and themselves.

use pg_query::NodeEnum;
use pg_query::protobuf::{CommonTableExpr, Node, SelectStmt, SetOperation, WithClause};

use super::Binder;
use super::lineage::{Lineage, Out, Outs};
use crate::facts::ColumnUsage;
use crate::postgres::walk::{cte_of, text_of};

/// A common table expression in sight.
#[derive(Debug)]
pub(super) struct Cte<'a> {
    node: &'a CommonTableExpr,
    state: State<'a>,
    /// How many levels of scopes it sees.
    scopes_seen: usize,
    /// How many common table expressions it sees.
    ctes_seen: usize,
    /// What its columns count as.
    usage: ColumnUsage,
}

#[derive(Debug)]
enum State<'a> {
    Unbound,
    /// At work: what is known of its columns, and whether that has been asked for.
    Binding {
        outs: Outs<'a>,
        asked: bool,
    },
    Done(Outs<'a>),
}

impl<'a> Binder<'a> {
    /// Brings the names of a `WITH` clause into sight; returns what to truncate to after it.
    pub(super) fn with(&mut self, with: Option<&'a WithClause>) -> usize {
        let start = self.ctes.len();
        let Some(with) = with else {
            return start;
        };
        let nodes = || with.ctes.iter().filter_map(cte_of);
        if with.recursive {
            let ctes_seen = start + nodes().count();
            let scopes_seen = self.scopes.len();
            let usage = self.usage;
            self.ctes.extend(nodes().map(|node| Cte {
                node,
                state: State::Unbound,
                scopes_seen,
                ctes_seen,
                usage,
            }));
            for index in start..ctes_seen {
                self.bind_recursive(index);
            }
            return start;
        }
        for node in nodes() {
            let mut outs = self.nested(node.ctequery.as_deref());
            finish(node, &mut outs);
            self.ctes.push(Cte {
                node,
                state: State::Done(outs),
                scopes_seen: self.scopes.len(),
                ctes_seen: self.ctes.len(),
                usage: self.usage,
            });
        }
        start
    }

    /// The columns of the common table expression of that name, where one is in sight.
    pub(super) fn cte(&mut self, name: &str) -> Option<Outs<'a>> {
        let index = self.ctes.iter().rposition(|cte| cte.node.ctename == name)?;
        if matches!(self.ctes.get(index)?.state, State::Unbound) {
            self.bind_recursive(index);
        }
        match &mut self.ctes.get_mut(index)?.state {
            State::Unbound => None,
            State::Binding { outs, asked } => {
                *asked = true;
                Some(outs.clone())
            }
            State::Done(outs) => Some(outs.clone()),
        }
    }

    fn bind_recursive(&mut self, index: usize) {
        let Some(cte) = self.ctes.get(index) else {
            return;
        };
        if !matches!(cte.state, State::Unbound) {
            return;
        }
        let (node, scopes_seen, ctes_seen) = (cte.node, cte.scopes_seen, cte.ctes_seen);
        let usage = std::mem::replace(&mut self.usage, cte.usage);
        // It sees what its `WITH` clause sees, wherever it is first named.
        let scopes = self.scopes.split_off(scopes_seen.min(self.scopes.len()));
        let ctes = self.ctes.split_off(ctes_seen.min(self.ctes.len()));
        let comparison = self.comparison.take();
        self.recursions += 1;
        let outs = self.fixed_point(index, node);
        self.recursions -= 1;
        self.set_state(index, State::Done(outs));
        self.scopes.extend(scopes);
        self.ctes.extend(ctes);
        self.comparison = comparison;
        self.usage = usage;
    }

    /// Binds a query that may name itself until what its columns are made of grows no more.
    fn fixed_point(&mut self, index: usize, node: &'a CommonTableExpr) -> Outs<'a> {
        let unknown = Outs {
            list: Vec::new(),
            open: Some(Lineage::default()),
        };
        let mut outs = match first_arm(node.ctequery.as_deref()) {
            Some(arm) => {
                self.set_state(
                    index,
                    State::Binding {
                        outs: unknown,
                        asked: false,
                    },
                );
                self.query(arm)
            }
            None => unknown,
        };
        finish(node, &mut outs);
        // Nested ones multiply, so they get fewer tries.
        let rounds = if self.recursions > 2 { 1 } else { MAX_ROUNDS };
        for _ in 0..rounds {
            self.set_state(
                index,
                State::Binding {
                    outs: outs.clone(),
                    asked: false,
                },
            );
            let mut next = self.nested(node.ctequery.as_deref());
            finish(node, &mut next);
            let asked = matches!(
                self.ctes.get(index).map(|cte| &cte.state),
                Some(State::Binding { asked: true, .. })
            );
            let stable = next.open.is_none() == outs.open.is_none()
                && outs
                    .list
                    .iter()
                    .zip(&next.list)
                    .all(|(before, after)| before.lineage.covers(&after.lineage));
            if !asked || stable {
                return next;
            }
            for (after, before) in next.list.iter_mut().zip(&outs.list) {
                after.lineage.add(&before.lineage);
            }
            outs = next;
        }
        let whole = outs.whole();
        for out in &mut outs.list {
            out.lineage = whole.clone();
        }
        outs
    }

    fn set_state(&mut self, index: usize, state: State<'a>) {
        if let Some(cte) = self.ctes.get_mut(index) {
            cte.state = state;
        }
    }

    /// Notes what a `CYCLE` clause compares.
    pub(super) fn touch_all(&mut self, outs: &Outs<'a>, usage: ColumnUsage) {
        for out in &outs.list {
            self.touch(&out.lineage, usage);
        }
        if let Some(open) = &outs.open {
            self.touch(&open.clone(), usage);
        }
    }
}

/// Gives the columns the names of the clause and adds those that `SEARCH` and `CYCLE` make.
fn finish<'a>(node: &'a CommonTableExpr, outs: &mut Outs<'a>) {
    let names: Vec<_> = node.aliascolnames.iter().filter_map(text_of).collect();
    outs.rename(&names);
    let mut made = Vec::new();
    if let Some(search) = &node.search_clause {
        made.push(search.search_seq_column.as_str());
    }
    if let Some(cycle) = node.cycle_clause.as_deref() {
        made.push(cycle.cycle_mark_column.as_str());
        made.push(cycle.cycle_path_column.as_str());
    }
    if !made.is_empty() {
        let lineage = outs.whole();
        outs.list.extend(made.into_iter().map(|name| Out {
            name,
            lineage: lineage.clone(),
        }));
    }
}

/// What a recursive query begins with: it does not name itself.
fn first_arm(query: Option<&Node>) -> Option<&SelectStmt> {
    match query?.node.as_ref()? {
        NodeEnum::SelectStmt(select) if select.op != SetOperation::SetopNone as i32 => {
            select.larg.as_deref()
        }
        _ => None,
    }
}

/// Columns that a recursive query passes on to one another settle in as many rounds as they form a chain; longer chains
/// count as made of everything.
const MAX_ROUNDS: usize = 3;
