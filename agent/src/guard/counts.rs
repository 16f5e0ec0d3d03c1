//! What masking did since the agent's start, for status and reports.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use serde_json::{Value, json};

/// Counts over texts that were decided; one that is decided again from memory counts once.
#[derive(Debug, Default)]
pub(super) struct Counts {
    rewritten: AtomicU64,
    masked_columns: AtomicU64,
    filtered: AtomicU64,
    obstacles: Mutex<BTreeMap<String, u64>>,
    incidents: AtomicU64,
}

impl Counts {
    pub(super) fn rewritten(&self, masks: usize, filters: usize) {
        self.rewritten.fetch_add(1, Ordering::Relaxed);
        self.masked_columns
            .fetch_add(masks as u64, Ordering::Relaxed);
        self.filtered.fetch_add(filters as u64, Ordering::Relaxed);
    }

    pub(super) fn incident(&self) {
        self.incidents.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn obstacle(&self, reason: &str) {
        let reason = without_names(reason);
        let mut obstacles = self
            .obstacles
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if obstacles.len() < MAX_REASONS || obstacles.contains_key(&reason) {
            *obstacles.entry(reason).or_default() += 1;
        }
    }

    pub(super) fn show(&self) -> Value {
        let obstacles = self
            .obstacles
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        json!({
            "rewritten": self.rewritten.load(Ordering::Relaxed),
            "masked_columns": self.masked_columns.load(Ordering::Relaxed),
            "filters": self.filtered.load(Ordering::Relaxed),
            "refused": obstacles.values().sum::<u64>(),
            "incidents": self.incidents.load(Ordering::Relaxed),
            "refused_because": *obstacles,
        })
    }
}

/// A reason with what stands in quotes left out: names of objects would make every reason another.
fn without_names(reason: &str) -> String {
    let mut text = String::with_capacity(reason.len());
    for (index, part) in reason.split(['"', '`']).enumerate() {
        text.push_str(if index % 2 == 0 { part } else { "…" });
    }
    text
}

const MAX_REASONS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_counted_without_the_names_in_them() {
        let counts = Counts::default();
        counts.obstacle("the function \"a.f\" is not known");
        counts.obstacle("the function \"b.g\" is not known");
        counts.rewritten(2, 1);
        let shown = counts.show();
        assert_eq!(shown["refused_because"]["the function … is not known"], 2);
        assert_eq!(
            (&shown["refused"], &shown["masked_columns"]),
            (&json!(2), &json!(2))
        );
    }
}
