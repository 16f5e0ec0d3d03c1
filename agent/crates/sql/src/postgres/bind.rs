//! The columns that a statement touches: names resolved through scopes as the server resolves them.
//!
//! Where a name could be several columns, all of them count; where it can be none, the server refuses the statement and
//! nothing counts. What is found here informs policy. That masked values stay inside never depends on it: masks are
//! decided over everything [`reachable`](crate::facts::Facts::reachable), which needs relations only.

mod expression;
mod from;
mod join;
mod lineage;
mod query;
mod result_name;
mod scope;
mod summary;
mod with;
mod write;

use pg_query::NodeEnum;
use pg_query::protobuf::{CopyStmt, IndexStmt, Node, RangeVar, RawStmt, SelectStmt};

use super::children::{Visitor, each_child};
use super::vectors::Vectors;
use crate::catalog::{Catalog, Naming};
use crate::facts::ColumnUsage;
use lineage::Outs;
pub(crate) use lineage::{Base, Lineage, Out};
use scope::Scope;
pub(super) use summary::summary;
use with::Cte;

/// A column touched: the finest that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Touch {
    pub(crate) base: Base,
    pub(crate) usage: ColumnUsage,
}

/// Reads statements; what it has found is left in its fields.
pub(crate) struct Binder<'a> {
    catalog: &'a Catalog,
    naming: &'a Naming,
    /// What has been touched so far, with repetition.
    pub(crate) touched: Vec<Touch>,
    /// Relations read, with repetition.
    pub(crate) reads: Vec<u32>,
    pub(super) vectors: Vectors,
    /// Whether there was more than is worth following; then everything counts as touched.
    pub(crate) overflow: bool,
    /// Whether `ORDER BY 2` means just the second column. Texts that differ in literals must have the same facts, so for
    /// them it means any.
    exact_ordinals: bool,
    scopes: Vec<Scope<'a>>,
    ctes: Vec<Cte<'a>>,
    /// How many recursive queries are being followed to their fixed point.
    recursions: usize,
    /// What a reference counts as where the binder is.
    usage: ColumnUsage,
    /// Indices of what the comparison at hand has touched.
    comparison: Option<Vec<usize>>,
    sources: u32,
    /// Targets of writes: their sources, and what they are.
    targets: Vec<(u32, u32)>,
}

impl<'a> Binder<'a> {
    pub(crate) fn new(catalog: &'a Catalog, naming: &'a Naming) -> Self {
        Self {
            catalog,
            naming,
            touched: Vec::new(),
            reads: Vec::new(),
            vectors: Vectors::default(),
            overflow: false,
            exact_ordinals: false,
            scopes: Vec::new(),
            ctes: Vec::new(),
            recursions: 0,
            usage: ColumnUsage::Output,
            comparison: None,
            sources: 0,
            targets: Vec::new(),
        }
    }

    /// A binder for one fixed text: a view's.
    pub(crate) fn of_view(catalog: &'a Catalog, naming: &'a Naming) -> Self {
        Self {
            exact_ordinals: true,
            ..Self::new(catalog, naming)
        }
    }

    /// Reads all statements of a text; the output columns are the last one's.
    pub(crate) fn statements(&mut self, statements: &'a [RawStmt]) -> Vec<Out<'a>> {
        self.statements_in(statements, &[])
    }

    /// Reads all statements, each by its own naming where there is one.
    pub(super) fn statements_in(
        &mut self,
        statements: &'a [RawStmt],
        namings: &'a [Naming],
    ) -> Vec<Out<'a>> {
        let mut outs = Outs::default();
        for (number, statement) in statements.iter().enumerate() {
            if let Some(naming) = namings.get(number) {
                self.naming = naming;
            }
            if let Some(node) = statement
                .stmt
                .as_deref()
                .and_then(|stmt| stmt.node.as_ref())
            {
                outs = self.statement(node);
            }
        }
        for &(source, relation) in &self.targets {
            let is_read = self
                .touched
                .iter()
                .any(|touch| touch.base.source == source && touch.usage != ColumnUsage::Write);
            if is_read {
                self.reads.push(relation);
            }
        }
        self.reads.sort_unstable();
        self.reads.dedup();
        outs.list
    }

    fn statement(&mut self, node: &'a NodeEnum) -> Outs<'a> {
        match node {
            NodeEnum::SelectStmt(select) => self.query(select),
            NodeEnum::InsertStmt(insert) => self.insert(insert),
            NodeEnum::UpdateStmt(update) => self.update(update),
            NodeEnum::DeleteStmt(delete) => self.delete(delete),
            NodeEnum::MergeStmt(merge) => self.merge(merge),
            NodeEnum::CopyStmt(copy) => {
                self.copy(copy);
                Outs::default()
            }
            NodeEnum::IndexStmt(index) => {
                self.index(index);
                Outs::default()
            }
            other => {
                each_child(other, &mut Inner(self));
                Outs::default()
            }
        }
    }

    fn nested(&mut self, node: Option<&'a Node>) -> Outs<'a> {
        match node.and_then(|node| node.node.as_ref()) {
            Some(node) => self.statement(node),
            None => Outs::default(),
        }
    }

    fn copy(&mut self, copy: &'a CopyStmt) {
        self.nested(copy.query.as_deref());
        let Some(relation) = &copy.relation else {
            return;
        };
        let usage = if copy.is_from {
            ColumnUsage::Write
        } else {
            ColumnUsage::Output
        };
        let item = if copy.is_from {
            self.target(relation)
        } else {
            self.table(relation)
        };
        if copy.attlist.is_empty() {
            let all = item.columns.whole();
            self.touch(&all, usage);
        } else {
            for name in copy.attlist.iter().filter_map(super::walk::text_of) {
                let lineage = item.columns.column(name);
                self.touch(&lineage, usage);
            }
        }
        if let Some(condition) = copy.where_clause.as_deref() {
            self.scopes.push(Scope::of(item));
            self.condition(condition);
            self.scopes.pop();
        }
    }

    fn index(&mut self, index: &'a IndexStmt) {
        let Some(relation) = &index.relation else {
            return;
        };
        let item = self.target(relation);
        self.scopes.push(Scope::of(item));
        let outer = std::mem::replace(&mut self.usage, ColumnUsage::Predicate);
        self.index_elements(&index.index_params);
        self.usage = outer;
        if let Some(condition) = index.where_clause.as_deref() {
            self.condition(condition);
        }
        self.scopes.pop();
    }

    /// Notes what has been touched.
    fn touch(&mut self, lineage: &Lineage, usage: ColumnUsage) {
        if self.touched.len() + lineage.bases.len() > MAX_TOUCHED {
            self.overflow = true;
            return;
        }
        for &base in &lineage.bases {
            if let Some(comparison) = &mut self.comparison {
                comparison.push(self.touched.len());
            }
            self.touched.push(Touch { base, usage });
            if usage == ColumnUsage::Write && self.is_vector(base) {
                self.vectors.written = true;
            }
        }
    }

    /// Whether a column is one of vectors.
    fn is_vector(&self, base: Base) -> bool {
        !self.catalog.vector_types.is_empty()
            && self
                .catalog
                .relations
                .get(&base.relation)
                .and_then(|relation| relation.columns.get(usize::from(base.column)))
                .is_some_and(|column| self.catalog.vector_types.contains(&column.base_type))
    }

    fn next_source(&mut self) -> u32 {
        self.sources += 1;
        self.sources
    }
}

/// Finds the statements inside what is no query.
struct Inner<'b, 'a>(&'b mut Binder<'a>);

impl<'a> Visitor<'a> for Inner<'_, 'a> {
    fn node(&mut self, node: &'a NodeEnum) {
        match node {
            NodeEnum::InsertStmt(_)
            | NodeEnum::UpdateStmt(_)
            | NodeEnum::DeleteStmt(_)
            | NodeEnum::MergeStmt(_) => {
                self.0.statement(node);
            }
            _ => each_child(node, self),
        }
    }

    fn relation(&mut self, _: &'a RangeVar) {}

    fn select(&mut self, select: &'a SelectStmt) {
        self.0.query(select);
    }
}

/// More touches than any sensible text has: a thousand columns a hundred times over.
const MAX_TOUCHED: usize = 100_000;

/// The server's own limit for the columns of a result.
/// <https://www.postgresql.org/docs/current/limits.html>
const MAX_OUTPUTS: usize = 1_664;
