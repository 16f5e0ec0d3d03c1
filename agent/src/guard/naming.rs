//! How sessions read names, numbered: equal ones share what was decided.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use weir_sql::{Facts, catalog::Naming};

/// A session's naming with its number.
#[derive(Debug)]
pub struct KnownNaming {
    pub(super) id: u64,
    /// How names are read.
    pub naming: Naming,
}

impl KnownNaming {
    #[cfg(test)]
    pub(crate) fn for_test(naming: Naming) -> Arc<Self> {
        Arc::new(Self { id: 1, naming })
    }

    /// Whether names in a text mean the same in both.
    pub(super) fn reads_alike(&self, other: &Self, facts: &Facts) -> bool {
        if self.id == other.id {
            return true;
        }
        let (one, other) = (&self.naming, &other.naming);
        let bare = || {
            let relations = facts.relations.iter().map(|used| &used.relation);
            relations.filter(|relation| relation.schema.is_none())
        };
        bare().next().is_none()
            || (one.search_path == other.search_path
                && one.certain == other.certain
                && one.veiled == other.veiled
                && bare().all(|relation| {
                    one.temporary.contains(&relation.name)
                        == other.temporary.contains(&relation.name)
                }))
    }
}

/// All that were met.
#[derive(Debug)]
pub(super) struct Namings {
    known: Mutex<HashMap<Naming, Arc<KnownNaming>>>,
    next: AtomicU64,
}

impl Default for Namings {
    fn default() -> Self {
        Self {
            known: Mutex::default(),
            // Zero stands for none.
            next: AtomicU64::new(1),
        }
    }
}

impl Namings {
    pub(super) fn of(&self, naming: Naming) -> Arc<KnownNaming> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.get(&naming) {
            return Arc::clone(known);
        }
        if known.len() >= MAX_NAMINGS {
            // Who holds one keeps it; numbers are never used again.
            known.clear();
        }
        let made = Arc::new(KnownNaming {
            id: self.next.fetch_add(1, Ordering::Relaxed),
            naming: naming.clone(),
        });
        known.insert(naming, Arc::clone(&made));
        made
    }
}

/// Sessions with temporary tables of their own make one each.
const MAX_NAMINGS: usize = 10_000;
