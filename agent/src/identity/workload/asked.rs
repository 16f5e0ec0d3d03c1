//! Those that were seen to connect and have not been looked at.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

/// They wait for the next look; a crowd beyond what is looked at together asks again.
#[derive(Debug)]
pub(super) struct Asked<T>(Mutex<BTreeSet<T>>);

impl<T> Default for Asked<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Ord> Asked<T> {
    /// Has one looked at. Whether it had not been asked for already.
    pub(super) fn add(&self, one: T) -> bool {
        let mut asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        asked.len() < TOGETHER && asked.insert(one)
    }

    /// Whether anything waits.
    pub(super) fn is_waiting(&self) -> bool {
        self.0.lock().is_ok_and(|asked| !asked.is_empty())
    }

    /// All that wait; they do so no longer.
    pub(super) fn take(&self) -> BTreeSet<T> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

const TOGETHER: usize = 1_024;
