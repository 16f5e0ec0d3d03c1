//! What the columns of views, children and partitions are made of.

use super::{Catalog, Column, ColumnName};

/// Fills `bases`, `exact`, `row_bases` and `reads` of every relation.
pub(super) fn trace(catalog: &mut Catalog) {
    let mut found = Vec::new();
    for relation in catalog.relations.values() {
        for (index, column) in relation.columns.iter().enumerate() {
            let bases = in_parents(catalog, &relation.parents, &column.name);
            if !bases.is_empty() {
                found.push((relation.oid, index, bases));
            }
        }
    }
    for (oid, index, bases) in found {
        let column = catalog
            .relations
            .get_mut(&oid)
            .and_then(|relation| relation.columns.get_mut(index));
        if let Some(column) = column {
            column.bases = bases;
        }
    }
}

/// The columns of that name in all relations above, the nearest first.
fn in_parents(catalog: &Catalog, parents: &[u32], name: &str) -> Vec<ColumnName> {
    let mut bases = Vec::new();
    let mut next = parents.to_vec();
    let mut seen = Vec::new();
    while !next.is_empty() {
        let oid = next.remove(0);
        if seen.contains(&oid) {
            continue;
        }
        seen.push(oid);
        if let Some(parent) = catalog.relations.get(&oid) {
            if let Some(column) = parent.column(name) {
                bases.push(parent.column_name(column));
            }
            next.extend(&parent.parents);
        }
    }
    bases
}

/// Names of a query's output columns, each with the column it copies.
pub(super) fn outputs(_: &Catalog, _: &str) -> Result<Vec<(String, Option<Column>)>, String> {
    Err("views by hand are not read yet".to_owned())
}
