//! What the columns of views, children and partitions are made of.

use std::collections::{HashMap, HashSet};

use super::{Catalog, Column, ColumnName, Naming, Relation};
use crate::facts::ColumnUsage;
use crate::postgres::{Base, Binder, Lineage, with_view};

/// Fills `bases`, `exact`, `row_bases` and `reads` of every relation.
pub(super) fn trace(catalog: &mut Catalog) {
    let views: HashMap<u32, Query> = catalog
        .relations
        .values()
        .filter_map(|relation| {
            let definition = relation.definition.as_deref()?;
            let query = Query::read(catalog, relation, definition)
                .unwrap_or_else(|| Query::unread(catalog, relation, definition));
            Some((relation.oid, query))
        })
        .collect();
    let mut found = Vec::new();
    for relation in catalog.relations.values() {
        let trace = Trace {
            catalog,
            views: &views,
        };
        let columns: Vec<_> = (0..)
            .zip(&relation.columns)
            .map(|(index, column)| trace.column(relation, column, index))
            .collect();
        if let Some(view) = views.get(&relation.oid) {
            let rows = trace.rows(view);
            found.push((relation.oid, columns, rows, view.reads.clone()));
        } else if columns.iter().any(|(bases, _)| !bases.is_empty()) {
            found.push((relation.oid, columns, Vec::new(), Vec::new()));
        }
    }
    for (oid, columns, rows, reads) in found {
        if let Some(relation) = catalog.relations.get_mut(&oid) {
            for (column, (bases, exact)) in relation.columns.iter_mut().zip(columns) {
                column.bases = bases;
                column.exact = exact;
            }
            relation.row_bases = rows;
            relation.reads = reads;
        }
    }
}

/// A view's query: what its columns and rows are made of, other views as they are.
struct Query {
    columns: Vec<Lineage>,
    rows: Vec<(u32, u16)>,
    reads: Vec<u32>,
}

impl Query {
    fn read(catalog: &Catalog, view: &Relation, definition: &str) -> Option<Self> {
        let naming = Naming {
            certain: true,
            ..Naming::default()
        };
        let query = with_view(definition, |statements| {
            let mut binder = Binder::of_view(catalog, &naming);
            let outs = binder.statements(statements);
            let rows = binder
                .touched
                .iter()
                .filter(|touch| matches!(touch.usage, ColumnUsage::Predicate | ColumnUsage::Join))
                .map(|touch| (touch.base.relation, touch.base.column))
                .collect();
            (!binder.overflow).then(|| Self {
                columns: outs.into_iter().map(|out| out.lineage).collect(),
                rows,
                reads: std::mem::take(&mut binder.reads),
            })
        })
        .ok()??;
        (query.columns.len() == view.columns.len()).then_some(query)
    }

    /// A query that cannot be followed: everything depends on every column of all that its text could name.
    fn unread(catalog: &Catalog, view: &Relation, definition: &str) -> Self {
        let words: HashSet<&str> = definition
            .split(|letter: char| !letter.is_alphanumeric() && letter != '_' && letter != '$')
            .collect();
        let reads: Vec<u32> = catalog
            .relations
            .values()
            .filter(|relation| relation.oid != view.oid && !relation.system)
            .filter(|relation| {
                let plain = |letter: char| letter.is_alphanumeric() || letter == '_';
                // Names that are more than a word are looked for as they are.
                words.contains(relation.name.as_str())
                    || (!relation.name.chars().all(plain) && definition.contains(&relation.name))
            })
            .map(|relation| relation.oid)
            .collect();
        let rows: Vec<(u32, u16)> = reads
            .iter()
            .filter_map(|oid| catalog.relations.get(oid))
            .flat_map(|relation| {
                (0..)
                    .zip(&relation.columns)
                    .map(|(index, _)| (relation.oid, index))
            })
            .collect();
        let everything = Lineage {
            bases: rows
                .iter()
                .map(|&(relation, column)| Base {
                    relation,
                    column,
                    source: 0,
                })
                .collect(),
            exact: false,
        };
        Self {
            columns: vec![everything; view.columns.len()],
            rows,
            reads,
        }
    }
}

struct Trace<'c> {
    catalog: &'c Catalog,
    views: &'c HashMap<u32, Query>,
}

impl Trace<'_> {
    /// What a column is made of, and whether that is one column unchanged.
    fn column(&self, relation: &Relation, column: &Column, index: u16) -> (Vec<ColumnName>, bool) {
        if !self.views.contains_key(&relation.oid) {
            let mut bases = self.parents(relation, &column.name);
            for source in sources(relation, column) {
                add(&mut bases, source);
            }
            return (bases, column.generated_from.is_none());
        }
        let mut bases = Vec::new();
        let exact = self.follow((relation.oid, index), &mut bases, &mut HashSet::new());
        (bases, exact)
    }

    /// Adds the tables' columns that a column is made of; whether it is the first of them unchanged.
    fn follow(
        &self,
        (oid, index): (u32, u16),
        bases: &mut Vec<ColumnName>,
        seen: &mut HashSet<(u32, u16)>,
    ) -> bool {
        let Some(relation) = self.catalog.relations.get(&oid) else {
            return false;
        };
        let index_of = usize::from(index);
        if let Some(view) = self.views.get(&oid) {
            let Some(lineage) = view.columns.get(index_of) else {
                return false;
            };
            if !seen.insert((oid, index)) {
                return lineage.exact;
            }
            let mut exact = lineage.exact;
            for base in &lineage.bases {
                exact &= self.follow((base.relation, base.column), bases, seen);
            }
            return exact;
        }
        if let Some(column) = relation.columns.get(index_of) {
            add(bases, relation.column_name(column));
            for parent in self.parents(relation, &column.name) {
                add(bases, parent);
            }
            for source in sources(relation, column) {
                add(bases, source);
            }
        }
        true
    }

    /// The tables' columns that a view's rows depend on, those of the views below among them.
    fn rows(&self, view: &Query) -> Vec<ColumnName> {
        let mut bases = Vec::new();
        let mut seen = HashSet::new();
        let mut queries = vec![view];
        let mut views = HashSet::new();
        while let Some(query) = queries.pop() {
            for &column in &query.rows {
                self.follow(column, &mut bases, &mut seen);
            }
            for &oid in &query.reads {
                if let Some(below) = self.views.get(&oid)
                    && views.insert(oid)
                {
                    queries.push(below);
                }
            }
        }
        bases.sort_unstable();
        bases.dedup();
        bases
    }

    /// The columns of that name in all relations above, the nearest first.
    fn parents(&self, relation: &Relation, name: &str) -> Vec<ColumnName> {
        let mut bases = Vec::new();
        let mut seen = vec![relation.oid];
        let mut next = relation.parents.clone();
        while !next.is_empty() {
            let oid = next.remove(0);
            if seen.contains(&oid) {
                continue;
            }
            seen.push(oid);
            if let Some(parent) = self.catalog.relations.get(&oid) {
                if let Some(column) = parent.column(name) {
                    bases.push(parent.column_name(column));
                }
                next.extend(&parent.parents);
            }
        }
        bases
    }
}

/// The columns of the same row that a generated one is computed from.
fn sources(relation: &Relation, column: &Column) -> impl Iterator<Item = ColumnName> {
    let numbers = column.generated_from.as_deref().unwrap_or_default();
    let made_of = |other: &&Column| numbers.contains(&other.number);
    relation
        .columns
        .iter()
        .filter(made_of)
        .map(|other| relation.column_name(other))
}

fn add(bases: &mut Vec<ColumnName>, column: ColumnName) {
    if !bases.contains(&column) {
        bases.push(column);
    }
}

/// Names of a query's output columns, each with the column it copies.
pub(super) fn outputs(
    catalog: &Catalog,
    query: &str,
) -> Result<Vec<(String, Option<Column>)>, String> {
    let naming = Naming::default();
    with_view(query, |statements| {
        let mut binder = Binder::of_view(catalog, &naming);
        let outs = binder.statements(statements);
        outs.into_iter()
            .map(|out| {
                let copied = match out.lineage.bases.as_slice() {
                    [base] if out.lineage.exact => catalog
                        .relations
                        .get(&base.relation)
                        .and_then(|relation| relation.columns.get(usize::from(base.column)))
                        .cloned(),
                    _ => None,
                };
                (out.name.to_owned(), copied)
            })
            .collect()
    })
}

impl Catalog {
    /// All tables' columns whose classes hold for a column: what it is made of, and the columns of children and partitions
    /// that are read with it.
    #[must_use]
    pub fn bases_of(&self, relation: &Relation, column: &Column) -> Vec<ColumnName> {
        let mut bases = column.bases.clone();
        if self.children.is_empty() {
            return bases;
        }
        self.add_children(relation.oid, &column.name, &mut bases);
        if relation.definition.is_some() {
            for base in &column.bases {
                if let Some(below) = self.relation(&base.schema, &base.relation) {
                    self.add_children(below.oid, &base.column, &mut bases);
                }
            }
            bases.sort_unstable();
            bases.dedup();
        }
        bases
    }

    fn add_children(&self, oid: u32, name: &str, bases: &mut Vec<ColumnName>) {
        if !self.children.contains_key(&oid) {
            return;
        }
        for child in self.descendants(oid) {
            if let Some(child) = self.relations.get(&child)
                && let Some(column) = child.column(name)
            {
                bases.push(child.column_name(column));
            }
        }
    }
}
