//! What others are told about a statement that waits: after it is recorded, and without values.

use std::sync::Arc;

use super::Summary;
use crate::audit::record::{Settled, Verdict};

/// Whoever is told; called with the holds locked, so it must not wait.
pub type Tell = Arc<dyn Fn(Note) + Send + Sync>;

/// One thing that happened to it.
#[derive(Debug, Clone)]
pub struct Note {
    /// The statement.
    pub summary: Summary,
    /// What happened.
    pub what: What,
}

/// What happens to a statement that waits.
#[derive(Debug, Clone)]
pub enum What {
    /// It waits from now on.
    Requested,
    /// Somebody decided.
    Decided {
        /// Who.
        by: String,
        /// What.
        verdict: Verdict,
        /// Why, in their words.
        reason: String,
        /// Until when the same statement needs no other approval, nanoseconds since the epoch.
        until_ns: Option<u64>,
        /// Whether the rules were set aside in an emergency.
        break_glass: bool,
        /// How many others still have to agree.
        missing: usize,
    },
    /// Nobody decides any more.
    Ended {
        /// Why not.
        how: Settled,
    },
}
