//! Processes that several workload entries mean, for the operator to see.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use crate::identity::evidence::Evidence;

/// The latest process for each set of entries.
#[derive(Debug, Default)]
pub(super) struct Ambiguities {
    seen: Mutex<BTreeMap<Vec<String>, String>>,
}

impl Ambiguities {
    /// Notes a refused process; logs the first one of each set of entries.
    pub(super) fn note(&self, names: &[String], evidence: &Evidence) {
        let process = format!("{} ({})", evidence.exe_path, evidence.tgid);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= REMEMBERED && !seen.contains_key(names) {
            return;
        }
        let before = seen.insert(names.to_vec(), process);
        if before.is_none() {
            tracing::warn!(
                ?names,
                tgid = evidence.tgid,
                "several workload entries match one process; it is refused"
            );
        }
    }

    /// One sentence for each set of entries.
    pub(super) fn list(&self) -> Vec<String> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.iter()
            .map(|(names, process)| {
                format!(
                    "workloads {} mean the same process, which is refused: {process}",
                    names.join(" and ")
                )
            })
            .collect()
    }
}

const REMEMBERED: usize = 64;
