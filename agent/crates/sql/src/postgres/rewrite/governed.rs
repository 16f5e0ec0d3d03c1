//! What the orders hide of each relation: its own columns and rows, its relatives', and what a view is made of.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::MAX_VIEWS;
use crate::catalog::{Catalog, ColumnName, Relation, RelationKind};
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
    /// A view's columns that are computed from hidden ones.
    pub(in crate::postgres) computed: BTreeSet<&'a str>,
    /// Which rows the view has depends on what is hidden.
    pub(in crate::postgres) rows: bool,
    /// Masks of the view's columns that are stricter than those of what they are made from.
    pub(in crate::postgres) own: BTreeMap<&'a str, Mask>,
}

impl Hidden<'_> {
    pub(in crate::postgres) fn is_nothing(&self) -> bool {
        self.masks.is_empty() && self.filters.is_empty() && self.computed.is_empty() && !self.rows
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
        if matches!(
            relation.kind,
            RelationKind::View | RelationKind::MaterialisedView
        ) {
            self.view(&mut hidden, relation)?;
        }
        hidden
            .masks
            .retain(|name, _| relation.column(name).is_some());
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

    /// What a view takes from tables is hidden as it is there.
    fn view(&self, hidden: &mut Hidden<'a>, view: &'a Relation) -> Result<(), Obstacle> {
        for column in &view.columns {
            let name = column.name.as_str();
            let ordered = hidden.masks.get(name).copied();
            let mut below = None;
            for base in &column.bases {
                below = below.max(self.mask_of(base)?);
            }
            if ordered > below
                && let Some(mask) = ordered
            {
                hidden.own.insert(name, mask);
            }
            let Some(below) = below else {
                continue;
            };
            if column.exact {
                hidden
                    .masks
                    .insert(name, below.max(ordered.unwrap_or(below)));
            } else {
                hidden.masks.insert(name, Mask::Redact.max(below));
                hidden.computed.insert(name);
            }
        }
        for base in &view.row_bases {
            hidden.rows |= self.mask_of(base)?.is_some();
        }
        hidden.rows |= self.filtered_below(view, MAX_VIEWS)?;
        Ok(())
    }

    fn mask_of(&self, column: &ColumnName) -> Result<Option<Mask>, Obstacle> {
        match self.catalog.relation(&column.schema, &column.relation) {
            Some(relation) => {
                let hidden = self.of(relation)?;
                Ok(hidden.masks.get(column.column.as_str()).copied())
            }
            None => Ok(None),
        }
    }

    /// Whether rows of anything that a view reads are filtered.
    fn filtered_below(&self, view: &Relation, depth: usize) -> Result<bool, Obstacle> {
        for oid in &view.reads {
            let Some(relation) = self.catalog.relations.get(oid).filter(|_| depth > 0) else {
                return Ok(true);
            };
            let filtered = match relation.kind {
                RelationKind::View | RelationKind::MaterialisedView => {
                    self.filters.contains_key(oid) || self.filtered_below(relation, depth - 1)?
                }
                _ => !self.of(relation)?.filters.is_empty(),
            };
            if filtered {
                return Ok(true);
            }
        }
        Ok(false)
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
