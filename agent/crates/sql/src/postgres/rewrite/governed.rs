//! What the orders hide of each relation: its own columns and rows, its relatives', and what a view is made of.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::views;
use crate::catalog::{Catalog, Relation, RelationKind};
use crate::mask::Mask;
use crate::postgres::govern::{Obstacle, Orders};

/// The orders, by relation.
pub(in crate::postgres) struct Governing<'a> {
    catalog: &'a Catalog,
    masks: HashMap<u32, BTreeMap<&'a str, Mask>>,
    filters: HashMap<u32, Vec<&'a str>>,
}

/// What is hidden of one relation.
#[derive(Default, Debug)]
pub(in crate::postgres) struct Hidden<'a> {
    /// By column.
    pub(in crate::postgres) masks: BTreeMap<&'a str, Mask>,
    pub(in crate::postgres) filters: Vec<&'a str>,
    /// The view's own query has to stand in its place, rewritten itself.
    pub(in crate::postgres) inline: bool,
}

impl Hidden<'_> {
    pub(in crate::postgres) fn is_nothing(&self) -> bool {
        self.masks.is_empty() && self.filters.is_empty() && !self.inline
    }
}

impl<'a> Governing<'a> {
    pub(in crate::postgres) fn new(catalog: &'a Catalog, orders: &'a Orders) -> Self {
        let mut masks: HashMap<u32, BTreeMap<&str, Mask>> = HashMap::new();
        for order in &orders.masks {
            for relation in named(catalog, &order.column.schema, &order.column.relation) {
                let masks = masks.entry(relation.oid).or_default();
                let mask = masks.entry(&order.column.column).or_insert(order.mask);
                *mask = (*mask).max(order.mask);
            }
        }
        let mut filters: HashMap<u32, Vec<&str>> = HashMap::new();
        for order in &orders.filters {
            for relation in named(catalog, &order.schema, &order.relation) {
                filters
                    .entry(relation.oid)
                    .or_default()
                    .push(&order.condition);
            }
        }
        Self {
            catalog,
            masks,
            filters,
        }
    }

    /// What is hidden of a relation.
    ///
    /// # Errors
    ///
    /// [`Obstacle`] when it cannot be hidden in a statement that reads this relation.
    pub(in crate::postgres) fn of(&self, relation: &'a Relation) -> Result<Hidden<'a>, Obstacle> {
        let mut hidden = Hidden::default();
        if self.masks.is_empty() && self.filters.is_empty() {
            return Ok(hidden);
        }
        self.add(&mut hidden, relation.oid);
        for ancestor in ancestors(self.catalog, relation) {
            self.add(&mut hidden, ancestor.oid);
        }
        self.add_descendants(&mut hidden, relation)?;
        match relation.kind {
            RelationKind::View => self.view(&mut hidden, relation)?,
            RelationKind::MaterialisedView => self.materialised(&mut hidden, relation)?,
            _ => {}
        }
        hidden
            .masks
            .retain(|name, _| relation.columns.iter().any(|column| column.name == *name));
        Ok(hidden)
    }

    fn add(&self, hidden: &mut Hidden<'a>, oid: u32) {
        for (name, mask) in self.masks.get(&oid).into_iter().flatten() {
            let entry = hidden.masks.entry(name).or_insert(*mask);
            *entry = (*entry).max(*mask);
        }
        for filter in self.filters.get(&oid).into_iter().flatten() {
            if !hidden.filters.contains(filter) {
                hidden.filters.push(filter);
            }
        }
    }

    /// Reading a parent reads its children.
    fn add_descendants(&self, hidden: &mut Hidden<'a>, parent: &Relation) -> Result<(), Obstacle> {
        let governed: HashSet<u32> = self
            .masks
            .keys()
            .chain(self.filters.keys())
            .copied()
            .collect();
        for oid in governed {
            let Some(child) = self.catalog.relations.get(&oid) else {
                continue;
            };
            if oid == parent.oid
                || !ancestors(self.catalog, child)
                    .iter()
                    .any(|ancestor| ancestor.oid == parent.oid)
            {
                continue;
            }
            for (name, mask) in self.masks.get(&oid).into_iter().flatten() {
                let entry = hidden.masks.entry(name).or_insert(*mask);
                *entry = (*entry).max(*mask);
            }
            let filters = self.filters.get(&oid).map_or(&[][..], Vec::as_slice);
            if filters
                .iter()
                .any(|filter| !hidden.filters.contains(filter))
            {
                return Err(Obstacle {
                    reason: format!(
                        "rows of {} are filtered, and {} contains them",
                        shown(child),
                        shown(parent)
                    ),
                    hint: "read the partitions one by one".to_owned(),
                });
            }
        }
        Ok(())
    }

    fn view(&self, hidden: &mut Hidden<'a>, view: &'a Relation) -> Result<(), Obstacle> {
        let mut inherited: BTreeMap<&str, Mask> = BTreeMap::new();
        for under in views::relations_under(self.catalog, view)? {
            let below = self.of(under)?;
            if !below.is_nothing() {
                hidden.inline = true;
            }
            for (name, mask) in below.masks {
                let entry = inherited.entry(name).or_insert(mask);
                *entry = (*entry).max(mask);
            }
        }
        if hidden.inline {
            self.keep_own(hidden, view);
        }
        Ok(())
    }

    /// Leaves the masks that are the view's own: what it takes from the tables is masked there.
    fn keep_own(&self, hidden: &mut Hidden<'a>, view: &Relation) {
        hidden.masks.retain(|name, mask| {
            let bases = view
                .columns
                .iter()
                .find(|column| column.name == *name)
                .map_or(&[][..], |column| column.bases.as_slice());
            let inherited = bases
                .iter()
                .filter_map(|base| {
                    let relation = self.catalog.relation(&base.schema, &base.relation)?;
                    self.masks.get(&relation.oid)?.get(base.column.as_str())
                })
                .max();
            inherited.is_none_or(|inherited| inherited < mask)
        });
    }

    /// Its rows were made without masks, and cannot be made again.
    fn materialised(&self, hidden: &mut Hidden<'a>, view: &'a Relation) -> Result<(), Obstacle> {
        for under in views::relations_under(self.catalog, view)? {
            if !self.of(under)?.is_nothing() {
                return Err(Obstacle {
                    reason: format!(
                        "{} stores rows made from {}, of which something is hidden from you",
                        shown(view),
                        shown(under)
                    ),
                    hint: format!("read {} itself", shown(under)),
                });
            }
        }
        let _ = hidden;
        Ok(())
    }
}

fn named<'a>(
    catalog: &'a Catalog,
    schema: &'a str,
    name: &'a str,
) -> impl Iterator<Item = &'a Relation> {
    catalog
        .named(name)
        .filter(move |relation| schema.is_empty() || relation.schema == schema)
}

/// All parents, and theirs.
pub(in crate::postgres) fn ancestors<'a>(
    catalog: &'a Catalog,
    relation: &Relation,
) -> Vec<&'a Relation> {
    let mut found: Vec<&Relation> = Vec::new();
    let mut ahead = relation.parents.clone();
    while let Some(oid) = ahead.pop() {
        if found.iter().any(|seen| seen.oid == oid) {
            continue;
        }
        if let Some(parent) = catalog.relations.get(&oid) {
            ahead.extend(&parent.parents);
            found.push(parent);
        }
    }
    found
}

/// A relation's name for people.
pub(in crate::postgres) fn shown(relation: &Relation) -> String {
    format!("{}.{}", relation.schema, relation.name)
}
