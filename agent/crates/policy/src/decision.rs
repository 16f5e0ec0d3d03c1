//! The answer to one request.

use serde::{Deserialize, Serialize};

/// A rule's name, unique in its pack.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RuleId(pub String);

/// What follows from all rules that match; the order is the lattice, strictest last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// Goes on as it is.
    Allow,
    /// Is refused; the text tells the client why and what to do.
    Deny {
        /// For the client to read.
        reason: String,
    },
}

/// One decision and what it rests on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// What happens.
    pub effect: Effect,
    /// The rules that made it so; `default` when none spoke.
    pub rules: Vec<RuleId>,
    /// Rules in observe mode that would have made it stricter.
    pub would: Vec<RuleId>,
    /// Tags that matching rules attach.
    pub tags: Vec<String>,
}

impl Decision {
    /// Whether the request may go on.
    #[must_use]
    pub fn permits(&self) -> bool {
        matches!(self.effect, Effect::Allow)
    }
}
