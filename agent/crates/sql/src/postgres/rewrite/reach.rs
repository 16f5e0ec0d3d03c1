//! What a text reaches beyond what the binder lists: so that the orders speak of all that the rewriting comes across.

use std::collections::HashSet;

use pg_query::protobuf::RawStmt;

use super::resolve::{Meaning, resolve};
use super::scan::{Scan, WriteNode};
use super::{governed, namings, removals};
use crate::catalog::{Catalog, Relation};
use crate::facts::{Facts, Reachable};
use crate::postgres::closure::{self, Called};
use crate::postgres::govern::Context;

/// Adds to [`Facts::reachable`] the relations that the rewriting will ask about.
pub(in crate::postgres) fn extend(
    facts: &mut Facts,
    statements: &[RawStmt],
    scan: &Scan<'_>,
    context: &Context<'_>,
) {
    let catalog = context.catalog;
    let namings = namings(statements, context.naming);
    let mut direct: Vec<&Relation> = Vec::new();
    let mut name = |relation, statement: usize| {
        let naming = namings.get(statement).unwrap_or(context.naming);
        if let Meaning::Relation(found) = resolve(catalog, naming, relation).meaning {
            direct.push(found);
        }
    };
    for (relation, statement) in scan.read_names() {
        name(relation, statement);
    }
    // Whoever may not see its data may not change its definition either.
    for &(relation, statement) in &scan.mentions {
        name(relation, statement);
    }
    // Nor take away what is hidden with all the rest.
    for (number, statement) in statements.iter().enumerate() {
        let naming = namings.get(number).unwrap_or(context.naming);
        direct.extend(removals::removed(catalog, naming, statement));
    }
    let mut name = |relation, statement: usize| {
        let naming = namings.get(statement).unwrap_or(context.naming);
        if let Meaning::Relation(found) = resolve(catalog, naming, relation).meaning {
            direct.push(found);
        }
    };
    for write in &scan.writes {
        // What is only added is not read.
        let reads = match write.node {
            WriteNode::Insert(insert) => {
                insert.returning_clause.is_some() || insert.on_conflict_clause.is_some()
            }
            _ => true,
        };
        if reads {
            name(write.relation, write.statement);
        }
    }
    let mut runs: Vec<u32> = Vec::new();
    for write in &scan.writes {
        let naming = namings.get(write.statement).unwrap_or(context.naming);
        if let Meaning::Relation(found) = resolve(catalog, naming, write.relation).meaning {
            runs.extend(&found.writing_runs);
            direct.extend(
                found
                    .rules_read
                    .iter()
                    .filter_map(|oid| catalog.relations.get(oid)),
            );
        }
    }
    direct.extend(called(scan, catalog, &direct, &runs));
    if direct.is_empty() {
        return;
    }
    let mut reached = Reached {
        catalog,
        known: facts
            .reachable
            .iter()
            .map(|reachable| {
                let column = &reachable.column;
                (column.schema.clone(), column.relation.clone())
            })
            .collect(),
        added: Vec::new(),
    };
    for relation in direct {
        reached.all(relation);
    }
    let added = reached.added;
    if !added.is_empty() {
        facts.reachable.extend(added);
        facts.reachable.sort_unstable();
        facts.reachable.dedup();
    }
}

/// What the functions made by users could read that are called, by the text, by the views it reads or (`runs`) by its writes.
fn called<'c>(
    scan: &Scan<'_>,
    catalog: &'c Catalog,
    direct: &[&Relation],
    runs: &[u32],
) -> Vec<&'c Relation> {
    if catalog.functions.is_empty() {
        return Vec::new();
    }
    let mut called = Called::default();
    for name in &scan.called {
        if catalog.functions.contains_key(*name) {
            called.functions.push((*name).to_owned());
        }
        called.operator(catalog, name);
    }
    for functions in catalog.functions.values() {
        let run = functions
            .iter()
            .filter(|function| runs.contains(&function.oid));
        called
            .functions
            .extend(run.map(|function| function.name.clone()));
    }
    for relation in direct {
        called
            .functions
            .extend(closure::calls_of_view(catalog, relation));
    }
    if called.functions.is_empty() {
        return Vec::new();
    }
    closure::relations_called(catalog, &called)
}

struct Reached<'a> {
    catalog: &'a Catalog,
    known: HashSet<(String, String)>,
    added: Vec<Reachable>,
}

impl Reached<'_> {
    /// A relation, what it reads, and all theirs.
    fn all(&mut self, relation: &Relation) {
        let mut next = vec![relation.oid];
        let mut seen = HashSet::new();
        while let Some(oid) = next.pop() {
            if !seen.insert(oid) {
                continue;
            }
            let Some(relation) = self.catalog.relations.get(&oid) else {
                continue;
            };
            next.extend(&relation.reads);
            self.add(relation, relation.columns.len());
            // Masks of relatives come with the columns' bases; for their filters it is enough to be named.
            for ancestor in governed::ancestors(self.catalog, relation) {
                self.add(ancestor, 1);
            }
            for child in self.catalog.descendants(oid) {
                if let Some(child) = self.catalog.relations.get(&child) {
                    self.add(child, 1);
                }
            }
        }
    }

    fn add(&mut self, relation: &Relation, columns: usize) {
        let name = (relation.schema.clone(), relation.name.clone());
        if self.known.contains(&name) {
            return;
        }
        for column in relation.columns.iter().take(columns) {
            self.added.push(Reachable {
                column: relation.column_name(column),
                bases: self.catalog.bases_of(relation, column),
            });
        }
        if columns > 1 || relation.columns.len() <= 1 {
            self.known.insert(name);
        }
    }
}
