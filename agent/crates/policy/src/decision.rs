//! The answer to one request.

use std::fmt;

use serde::{Deserialize, Serialize};
use weir_sql::{ColumnMask, Facts, RowFilter, postgres::Orders};

use crate::{conditions::StepUp, schema::Per};

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
    /// What must be done with the request before it goes on, and with its answer.
    #[serde(default)]
    pub obligations: Obligations,
    /// What a new log-in would have to bring for this to be allowed, where that is all that is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_up: Option<StepUp>,
}

/// What an allowed request is subject to: all rules together, the strictest of each.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Obligations {
    /// Columns to mask: of every relation the request reads, whether or not it names them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub masks: Vec<ColumnMask>,
    /// Conditions that rows must meet, all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<RowFilter>,
    /// Rows that may come back, at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_rows: Option<u64>,
    /// Bytes that may come back, at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<u64>,
    /// Whether masked values may be stored.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub store_masked: bool,
    /// What may come back over a time, of which this request is a part.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub budgets: Vec<Budget>,
    /// Who must agree before the request goes on: each of these, and who holds the request up sees to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approvals: Vec<Approval>,
}

/// What one rule wants before a request goes on. With several rules each has to be satisfied: another rule never makes it
/// easier.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Approval {
    /// The rule that wants it.
    pub rule: RuleId,
    /// Why the rule is there, for who decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Members of any of these may agree.
    pub groups: Vec<String>,
    /// How many must.
    pub quorum: u32,
    /// For how many seconds the request waits.
    pub ttl_s: u64,
    /// For how many seconds, at most, the same statement may be allowed again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reuse_s: Option<u64>,
    /// Whether a request inside a transaction is refused rather than held.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub not_in_transaction: bool,
    /// Members of any of these may set it aside in an emergency.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub break_glass: Vec<String>,
}

/// A limit over several requests. Who keeps count refuses a request when one of its budgets is used up.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Budget {
    /// The rule that sets it: each keeps its own count.
    pub rule: RuleId,
    /// Rows in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// Bytes in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Statements in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statements: Option<u64>,
    /// Whose requests count together.
    pub per: Per,
    /// Over how many seconds.
    pub window_s: u64,
}

impl fmt::Display for Approval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let groups = self.groups.join(" or ");
        match self.quorum {
            1 => write!(f, "approval by {groups}"),
            quorum => write!(f, "approval by {quorum} of {groups}"),
        }
    }
}

impl Obligations {
    /// Whether the request goes on as if there were none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The masks that show in the answer: those of columns that the statement itself uses.
    pub fn shown_masks<'a>(&'a self, facts: &'a Facts) -> impl Iterator<Item = &'a ColumnMask> {
        self.masks
            .iter()
            .filter(|masked| facts.uses(&masked.column))
    }

    /// What the text is subject to; `protect` and `reviewed_functions` are the pack's for whoever asks.
    #[must_use]
    pub fn orders(&self, protect: bool, reviewed_functions: &[String], key: &[u8; 32]) -> Orders {
        Orders {
            protect,
            masks: self.masks.clone(),
            filters: self.filters.clone(),
            store_masked: self.store_masked,
            reviewed_functions: reviewed_functions.to_vec(),
            key: *key,
        }
    }
}

impl Decision {
    /// Whether the request may go on, once its obligations are met.
    #[must_use]
    pub fn permits(&self) -> bool {
        matches!(self.effect, Effect::Allow)
    }

    /// Whether the request may go on only after somebody has agreed.
    #[must_use]
    pub fn waits(&self) -> bool {
        self.permits() && !self.obligations.approvals.is_empty()
    }
}
