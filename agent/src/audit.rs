//! The journal, its chain, the store that reports read, and the reports.
//!
//! [`journal`] is the truth: every record is in it before the server can act. [`chain`] makes later changes visible.
//! [`store`] and [`index`] are a digest of it for questions, rebuilt from it at will; [`reports`] asks them. [`keeper`] packs
//! what is full and removes what was kept long enough.

pub mod chain;
pub mod export;
#[cfg(test)]
pub(crate) mod fixtures;
pub mod index;
pub mod journal;
pub mod keeper;
pub mod past;
pub mod record;
pub mod reports;
pub mod store;

use std::{collections::BTreeMap, time::Duration};

use serde::Deserialize;

pub(crate) use index::dictionary::word;
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
    /// How long records are kept.
    pub retention: Retention,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            segment_mib: 64,
            durability: Durability::Batched,
            on_audit_failure: OnAuditFailure::Deny,
            reserve_mib: 64,
            retention: Retention::default(),
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

/// What happens to statements that cannot be recorded because the journal's disk is short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnAuditFailure {
    /// They are refused with SQLSTATE 53100.
    Deny,
    /// They go on for so long, recorded in a segment that was made for it ahead; then they are refused.
    AllowUntil(Span),
}

/// The `[audit.retention]` section: records are removed by whole sealed segments, oldest first, and never before the index and
/// every export have them. Without a limit all is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    /// Segments sealed longer ago than this are removed.
    pub age: Option<Span>,
    /// The oldest segments are removed while all of them take more, MiB.
    pub size_mib: Option<u64>,
    /// Segments that hold a decision with one of these tags are kept for at least so long, whatever the other limits say.
    pub tags: BTreeMap<String, Span>,
}

/// A time: `30s`, `5m`, `24h`, `90d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Span(pub Duration);

impl TryFrom<String> for Span {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let parse = || {
            let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
            let seconds = match unit {
                "s" => 1,
                "m" => 60,
                "h" => 3600,
                "d" => 86_400,
                _ => return None,
            };
            let seconds = number.parse::<u64>().ok()?.checked_mul(seconds)?;
            (seconds > 0).then_some(Duration::from_secs(seconds))
        };
        parse()
            .map(Self)
            .ok_or_else(|| format!("{text:?} is no time: write 30s, 5m, 24h or 90d"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_read_as_documented() {
        let settings: Settings = toml::from_str(
            "on_audit_failure = { allow_until = \"30s\" }\n[retention]\nage = \"90d\"\ntags = { confidential = \"365d\" }\n",
        )
        .expect("settings");
        assert_eq!(
            settings.on_audit_failure,
            OnAuditFailure::AllowUntil(Span(Duration::from_secs(30)))
        );
        assert_eq!(
            settings.retention.age,
            Some(Span(Duration::from_hours(90 * 24)))
        );
        let deny: Settings = toml::from_str("on_audit_failure = \"deny\"").expect("settings");
        assert_eq!(deny, Settings::default());
        for wrong in [
            "\"allow\"",
            "{ allow_until = \"30\" }",
            "{ allow_until = \"0s\" }",
            "{ allow_until = \"-1s\" }",
        ] {
            let text = format!("on_audit_failure = {wrong}");
            assert!(toml::from_str::<Settings>(&text).is_err(), "{wrong}");
        }
    }
}
