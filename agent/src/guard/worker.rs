//! What one worker remembers of what was decided; only its own thread touches it.

use std::{cell::RefCell, sync::Arc};

use weir_sql::postgres::{self, Shape};

use super::{
    Verdict,
    cache::{Cache, Key},
};

/// What else a new verdict is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    /// For nothing.
    Not,
    /// For the same text.
    Text,
    /// For texts of the same shape, where the text has one.
    Shape,
}

/// The verdict that is kept for a text or for its shape; a new one, kept as `judge` says, where there is none.
#[inline]
pub(super) fn recall_or(
    key: &Key<'_>,
    judge: impl FnOnce() -> (Arc<Verdict>, Keep),
) -> Arc<Verdict> {
    WORKER.with_borrow_mut(|worker| {
        if let Some(verdict) = worker.cache.find(key) {
            return verdict;
        }
        let shaped = postgres::shape(key.text, key.modes, &mut worker.shape);
        let by_shape = Key {
            text: worker.shape.as_bytes(),
            shape: true,
            ..*key
        };
        if shaped && let Some(verdict) = worker.cache.find(&by_shape) {
            return verdict;
        }
        let (verdict, keep) = judge();
        match keep {
            Keep::Not => {}
            Keep::Shape if shaped => worker.cache.insert(&by_shape, &verdict),
            Keep::Shape | Keep::Text => worker.cache.insert(key, &verdict),
        }
        verdict
    })
}

#[derive(Default)]
struct Worker {
    cache: Cache,
    shape: Shape,
}

thread_local! {
    static WORKER: RefCell<Worker> = RefCell::default();
}
