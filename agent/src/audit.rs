//! The journal, its chain, the store that reports read, and the reports.
//!
//! [`journal`] is the truth: every record is in it before the server can act. [`chain`] makes later changes visible.
//! [`store`] and [`index`] are a digest of it for questions, rebuilt from it at will; [`reports`] asks them.

pub mod chain;
#[cfg(test)]
pub(crate) mod fixtures;
pub mod index;
pub mod journal;
pub mod record;
pub mod reports;
pub mod store;

use serde::Deserialize;

pub use journal::{Journal, JournalError, JournalHealth, NewSession, Recovery, Session, Statement};

/// The `[audit]` section of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Size of a journal segment, MiB; 1 to 1024.
    pub segment_mib: u32,
    /// When a record is durable enough for its statement to leave.
    pub durability: Durability,
    /// What happens to statements that cannot be recorded.
    pub on_audit_failure: OnAuditFailure,
    /// Space on the journal's disk that the journal leaves free, MiB.
    pub reserve_mib: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            segment_mib: 64,
            durability: Durability::Batched,
            on_audit_failure: OnAuditFailure::Deny,
            reserve_mib: 64,
        }
    }
}

/// When a record is durable enough for its statement to leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// In mapped memory: survives the agent's death, and reaches the disk within 50 ms or 256 records.
    Batched,
    /// On disk: the caller awaits [`Journal::durable`].
    Strict,
}

/// What happens to statements that cannot be recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnAuditFailure {
    /// They are refused with SQLSTATE 53100.
    Deny,
}
