//! `COPY t TO`: a relation of which something is hidden is copied out through a query.

use pg_query::protobuf::CopyStmt;

use super::derive::{Needed, Source, derived_table};
use super::edits::Edits;
use super::names::name_of;
use super::places::Span;
use super::resolve::Meaning;
use super::{Pass, misplaced};
use crate::catalog::{Column, Relation, RelationKind};
use crate::postgres::govern::Obstacle;
use crate::postgres::walk::text_of;

impl Pass<'_> {
    /// `COPY t TO` becomes `COPY (SELECT …) TO`.
    pub(super) fn copies(&self, edits: &mut Edits) -> Result<(), Obstacle> {
        for &(copy, statement) in &self.scan.copies {
            let Some(written) = &copy.relation else {
                continue;
            };
            let resolved = self.meaning(written, statement, edits)?;
            let Meaning::Relation(relation) = resolved.meaning else {
                self.settle(written, statement, resolved, edits)?;
                continue;
            };
            let hidden = self.governing.of(relation)?;
            let columns = copied(copy, relation);
            let masked = columns
                .iter()
                .any(|column| hidden.masks.contains_key(column.name.as_str()));
            // The server refuses to copy views; it may say so itself.
            if (!masked && hidden.filters.is_empty()) || relation.kind == RelationKind::View {
                self.settle(written, statement, resolved, edits)?;
                continue;
            }
            let place = self.place(written)?;
            let mut last = place.last;
            if !copy.attlist.is_empty() {
                last = self
                    .places
                    .closing(last + 1)
                    .ok_or_else(|| misplaced("the columns of COPY"))?;
            }
            let source = Source {
                relation,
                // Rows of children are not copied with their parent.
                only: true,
                sample: None,
                fenced: false,
            };
            let needed = Needed {
                columns,
                system: Vec::new(),
            };
            let mut names = Vec::new();
            let query = derived_table(self.task, &source, &hidden, &needed, &mut names)?;
            let range = self
                .places
                .range(Span {
                    first: place.first,
                    last,
                })
                .ok_or_else(|| misplaced("a relation"))?;
            edits.replace(range, format!("({query})"));
            edits.renamed(&name_of(written), names);
        }
        Ok(())
    }
}

fn copied<'a>(copy: &CopyStmt, relation: &'a Relation) -> Vec<&'a Column> {
    if copy.attlist.is_empty() {
        // What is computed is left out, as the server does.
        let stored = |column: &&Column| column.generated_from.is_none();
        return relation.columns.iter().filter(stored).collect();
    }
    copy.attlist
        .iter()
        .filter_map(text_of)
        .filter_map(|name| relation.columns.iter().find(|column| column.name == name))
        .collect()
}
