//! What a binder has found, in the words of facts.

use pg_query::protobuf::RawStmt;

use super::Binder;
use crate::catalog::{Catalog, Naming, Relation};
use crate::facts::{ColumnUsage, ColumnUse, Reachable, RelationUse, Use};
use crate::postgres::rewrite::namings;
use crate::postgres::vectors::Vectors;

/// What the catalog adds to the facts of a text.
#[derive(Debug)]
pub(in crate::postgres) struct Summary {
    pub(in crate::postgres) columns: Vec<ColumnUse>,
    pub(in crate::postgres) reachable: Vec<Reachable>,
    pub(in crate::postgres) vectors: Vectors,
}

/// Reads a text's statements; `relations` are those that its names alone show.
pub(in crate::postgres) fn summary(
    statements: &[RawStmt],
    relations: &[RelationUse],
    catalog: &Catalog,
    naming: &Naming,
) -> Summary {
    let namings = namings(statements, naming);
    let mut binder = Binder::new(catalog, naming);
    binder.statements_in(statements, &namings);
    // By name alone nothing is missed, whatever the binder makes of the scopes.
    for used in relations.iter().filter(|used| used.usage == Use::Read) {
        let name = &used.relation;
        for naming in std::iter::once(naming).chain(&namings) {
            let resolved = catalog.resolve(naming, name.schema.as_deref(), &name.name);
            let oids = resolved.candidates().iter().map(|relation| relation.oid);
            binder.reads.extend(oids);
        }
    }
    let reads = with_what_views_read(catalog, &binder.reads);
    Summary {
        columns: columns(catalog, &binder, &reads),
        reachable: reachable(catalog, &reads),
        vectors: binder.vectors,
    }
}

/// All relations read, those behind views among them.
fn with_what_views_read<'c>(catalog: &'c Catalog, direct: &[u32]) -> Vec<&'c Relation> {
    let mut found: Vec<&Relation> = Vec::with_capacity(direct.len());
    let mut next = direct.to_vec();
    while let Some(oid) = next.pop() {
        if found.iter().any(|relation| relation.oid == oid) {
            continue;
        }
        if let Some(relation) = catalog.relations.get(&oid) {
            next.extend(&relation.reads);
            found.push(relation);
        }
    }
    found
}

fn columns(catalog: &Catalog, binder: &Binder<'_>, reads: &[&Relation]) -> Vec<ColumnUse> {
    let mut found = Vec::new();
    if binder.overflow {
        for relation in reads {
            for (index, _) in (0..).zip(&relation.columns) {
                for usage in [
                    ColumnUsage::Output,
                    ColumnUsage::Predicate,
                    ColumnUsage::Join,
                ] {
                    found.push((relation.oid, index, usage));
                }
            }
        }
    }
    found.extend(
        binder
            .touched
            .iter()
            .map(|touch| (touch.base.relation, touch.base.column, touch.usage)),
    );
    found.sort_unstable();
    found.dedup();
    let mut uses: Vec<ColumnUse> = found
        .into_iter()
        .filter_map(|(oid, index, usage)| {
            let relation = catalog.relations.get(&oid)?;
            let column = relation.columns.get(usize::from(index))?;
            Some(ColumnUse {
                column: relation.column_name(column),
                bases: catalog.bases_of(relation, column),
                usage,
            })
        })
        .collect();
    // Which rows a view has depends on these, whether or not its columns show them.
    for relation in reads {
        uses.extend(relation.row_bases.iter().map(|column| ColumnUse {
            column: column.clone(),
            bases: Vec::new(),
            usage: ColumnUsage::Predicate,
        }));
    }
    uses.sort_unstable();
    uses.dedup();
    uses
}

fn reachable(catalog: &Catalog, reads: &[&Relation]) -> Vec<Reachable> {
    let mut reachable: Vec<_> = reads
        .iter()
        .flat_map(|relation| {
            relation.columns.iter().map(|column| Reachable {
                column: relation.column_name(column),
                bases: catalog.bases_of(relation, column),
            })
        })
        .collect();
    reachable.sort_unstable();
    reachable
}
