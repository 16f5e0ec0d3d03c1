//! Which columns are hidden from somebody whatever the statement: what result columns are checked against.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use weir_sql::{Facts, Kind, Reachable, RelationName, RelationUse, Use, catalog::Relation};

use super::{SessionView, Standing, Who, governed};
use crate::{catalog::CatalogSnapshot, policy::Snapshot};

/// Numbers of hidden columns by relation, under one policy and one catalog; asked for as relations are met.
#[derive(Debug, Default)]
pub(super) struct Hidden(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// Of the policy and of the catalog, and how the log-in stood.
    basis: (u64, u64, u32),
    columns: HashMap<u32, Arc<[i16]>>,
}

/// What is hidden of one relation.
pub(super) enum HiddenColumns {
    /// It is not known, so all of it.
    All,
    None,
    /// By number.
    These(Arc<[i16]>),
}

impl HiddenColumns {
    /// Whether the column is hidden, or any for number zero; `cleared` names those that a statement may show after all.
    pub(super) fn hides(&self, column: i16, cleared: impl Fn(i16) -> bool) -> bool {
        match self {
            Self::All => true,
            Self::None => false,
            Self::These(columns) => columns
                .iter()
                .any(|&hidden| (column == 0 || column == hidden) && !cleared(hidden)),
        }
    }
}

impl Hidden {
    pub(super) fn of(
        &self,
        policy: &Snapshot,
        catalog: &CatalogSnapshot,
        who: &Who,
        view: &SessionView<'_>,
        relation: u32,
    ) -> HiddenColumns {
        let Some(known) = catalog.catalog.relations.get(&relation) else {
            // Made by this session, or a moment ago by somebody; the server's own hold nobody's data.
            let own = view.defining || !view.naming.naming.temporary.is_empty();
            return if relation >= FIRST_USER_OID && !own {
                HiddenColumns::All
            } else {
                HiddenColumns::None
            };
        };
        HiddenColumns::These(self.columns(policy, catalog, who, view.standing, known))
    }

    fn columns(
        &self,
        policy: &Snapshot,
        catalog: &CatalogSnapshot,
        who: &Who,
        standing: Standing,
        relation: &Relation,
    ) -> Arc<[i16]> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let basis = (policy.epoch, catalog.epoch, standing.code);
        if known.basis != basis {
            known.basis = basis;
            known.columns.clear();
        }
        let columns = known
            .columns
            .entry(relation.oid)
            .or_insert_with(|| ask(policy, who, standing, relation));
        Arc::clone(columns)
    }
}

/// As if all of the relation were read.
fn ask(policy: &Snapshot, who: &Who, standing: Standing, relation: &Relation) -> Arc<[i16]> {
    let reachable = relation
        .columns
        .iter()
        .map(|column| Reachable {
            column: relation.column_name(column),
            bases: column.bases.clone(),
        })
        .collect();
    let facts = Facts {
        kinds: vec![Kind::Select],
        relations: vec![RelationUse {
            relation: RelationName {
                schema: Some(relation.schema.clone()),
                name: relation.name.clone(),
            },
            usage: Use::Read,
        }],
        reachable,
        resolved: true,
        ..Facts::default()
    };
    let decision = governed::decide(policy, who, &facts, standing);
    relation
        .columns
        .iter()
        .filter(|column| {
            // What may not be read at all is hidden as well, unless a statement that may clears it.
            !decision.permits()
                || decision.waits()
                || decision
                    .obligations
                    .masks
                    .iter()
                    .any(|mask| mask.column == relation.column_name(column))
        })
        .map(|column| column.number)
        .collect()
}

/// Lower numbers are the server's own.
const FIRST_USER_OID: u32 = 16_384;
