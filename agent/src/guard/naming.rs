//! How sessions read names, numbered: equal ones share what was decided.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use weir_sql::catalog::Naming;

/// A session's naming with its number.
#[derive(Debug)]
pub struct KnownNaming {
    pub(super) id: u64,
    /// How names are read.
    pub naming: Naming,
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
