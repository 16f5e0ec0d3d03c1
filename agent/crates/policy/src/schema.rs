//! A pack's files as they are written: every field known, every value typed.

mod effect;
mod window;
mod words;

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_saphyr::Spanned;
pub use weir_sql::Mask;
use weir_sql::{Confidence, Kind};

use crate::principal::{Delegation, Method, Strength};

pub use effect::parse_duration;
pub(crate) use effect::show_duration;
pub use effect::{Approve, BudgetText, Cap, Effects, InTransaction, OnWrite, Per};
pub(crate) use window::{DAY_MINUTES, WindowText, parse_days, parse_hours, parse_zone};
pub(crate) use words::OneOrMany;
pub use words::{Action, Mode};

/// A file of rules.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RuleFile {
    pub(crate) version: Spanned<u32>,
    #[serde(default)]
    pub(crate) defaults: Defaults,
    #[serde(default)]
    pub(crate) rules: Vec<Spanned<RuleText>>,
    /// Functions that somebody has read and found to show nothing that is hidden, as globs over `schema.name`.
    #[serde(default)]
    pub(crate) reviewed_functions: Vec<String>,
}

/// What holds where no rule speaks. What no file states is the stricter.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Defaults {
    pub(crate) effect: Option<Answer>,
    pub(crate) on_opaque: Option<Answer>,
    pub(crate) on_audit_failure: Option<Answer>,
    pub(crate) mode: Option<Mode>,
}

/// Yes or no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// Goes on.
    Allow,
    /// Is refused.
    Deny,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RuleText {
    pub(crate) id: Spanned<String>,
    pub(crate) why: Option<String>,
    #[serde(rename = "match")]
    pub(crate) matching: Spanned<MatchText>,
    pub(crate) unless: Option<Spanned<MatchText>>,
    #[serde(default)]
    pub(crate) exempt: Vec<Spanned<ExemptText>>,
    pub(crate) when: Option<Spanned<String>>,
    pub(crate) effect: Spanned<Effects>,
    pub(crate) mode: Option<Mode>,
}

/// The closed vocabulary of `match`, `unless` and `exempt`: all fields given must hold.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MatchText {
    #[serde(rename = "actor.kind")]
    pub(crate) actor_kind: Option<OneOrMany<ActorKind>>,
    #[serde(rename = "actor.groups")]
    pub(crate) actor_groups: Option<Spanned<SetText>>,
    #[serde(rename = "actor.subject")]
    pub(crate) actor_subject: Option<OneOrMany<String>>,
    #[serde(rename = "actor.issuer")]
    pub(crate) actor_issuer: Option<OneOrMany<String>>,
    #[serde(rename = "actor.identified")]
    pub(crate) actor_identified: Option<bool>,
    #[serde(rename = "process.exe")]
    pub(crate) process_exe: Option<OneOrMany<String>>,
    #[serde(rename = "process.cgroup")]
    pub(crate) process_cgroup: Option<OneOrMany<String>>,
    pub(crate) database: Option<OneOrMany<String>>,
    pub(crate) database_user: Option<OneOrMany<String>>,
    pub(crate) endpoint: Option<OneOrMany<String>>,
    pub(crate) environment: Option<OneOrMany<String>>,
    pub(crate) purpose: Option<OneOrMany<String>>,
    pub(crate) kind: Option<OneOrMany<Kind>>,
    pub(crate) action: Option<OneOrMany<Action>>,
    pub(crate) relation: Option<OneOrMany<String>>,
    pub(crate) function: Option<OneOrMany<String>>,
    pub(crate) has_where: Option<bool>,
    pub(crate) limit: Option<Spanned<LimitText>>,
    pub(crate) confidence: Option<OneOrMany<Confidence>>,
    pub(crate) classes: Option<Spanned<SetText>>,
    pub(crate) joins: Option<Spanned<JoinsText>>,
    pub(crate) columns: Option<OneOrMany<String>>,
    pub(crate) time: Option<Spanned<WindowText>>,
    pub(crate) strength: Option<OneOrMany<Strength>>,
    /// What the statement says of itself; anybody can write it.
    pub(crate) claimed: Option<BTreeMap<String, OneOrMany<String>>>,
    #[serde(rename = "actor.id")]
    pub(crate) actor_id: Option<OneOrMany<String>>,
    #[serde(rename = "actor.client")]
    pub(crate) actor_client: Option<OneOrMany<String>>,
    #[serde(rename = "actor.run")]
    pub(crate) actor_run: Option<OneOrMany<String>>,
    #[serde(rename = "actor.claims")]
    pub(crate) actor_claims: Option<BTreeMap<String, OneOrMany<String>>>,
    #[serde(rename = "process.uid")]
    pub(crate) process_uid: Option<OneOrMany<u32>>,
    /// How the binding came about.
    #[serde(rename = "actor.method")]
    pub(crate) actor_method: Option<OneOrMany<Method>>,
    /// Who vouches for it that an agent acts for somebody.
    #[serde(rename = "actor.delegation")]
    pub(crate) actor_delegation: Option<OneOrMany<Delegation>>,
    /// Globs over the context class of the log-in.
    #[serde(rename = "actor.acr")]
    pub(crate) actor_acr: Option<OneOrMany<String>>,
    /// By which means the subject logged in.
    #[serde(rename = "actor.amr")]
    pub(crate) actor_amr: Option<Spanned<SetText>>,
    /// The subject logged in at most so long ago; written `90s`, `15m`, `2h`, `1d`.
    #[serde(rename = "actor.max_auth_age")]
    pub(crate) actor_max_auth_age: Option<Spanned<String>>,
    /// Whether the provider could not be asked lately whether the log-in still holds.
    #[serde(rename = "actor.stale")]
    pub(crate) actor_stale: Option<bool>,
    /// The same as `strength`.
    #[serde(rename = "actor.strength")]
    pub(crate) actor_strength: Option<OneOrMany<Strength>>,
    /// The same as `purpose`.
    #[serde(rename = "actor.purpose")]
    pub(crate) actor_purpose: Option<OneOrMany<String>>,
    /// SHA-256 of the program's file, hex.
    #[serde(rename = "process.exe_sha256")]
    pub(crate) process_exe_sha256: Option<Spanned<OneOrMany<String>>>,
    #[serde(rename = "process.unit")]
    pub(crate) process_unit: Option<OneOrMany<String>>,
    #[serde(rename = "process.container")]
    pub(crate) process_container: Option<OneOrMany<String>>,
}

/// Who acts, as rules name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ActorKind {
    Human,
    Workload,
    Agent,
}

/// `{ any: […], all: […], none: […] }`; what is given must hold together.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SetText {
    pub(crate) any: Option<Vec<String>>,
    pub(crate) all: Option<Vec<String>>,
    pub(crate) none: Option<Vec<String>>,
}

/// `{ all: […], any: […] }` of classes that meet columns of another relation.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct JoinsText {
    pub(crate) all: Option<Vec<String>>,
    pub(crate) any: Option<Vec<String>>,
}

/// Exactly one of the two.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LimitText {
    /// A `SELECT` without a constant `LIMIT`, or with a larger one.
    pub(crate) above: Option<u64>,
    /// A `SELECT` with a constant `LIMIT` of at most this.
    pub(crate) at_most: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExemptText {
    #[serde(rename = "match")]
    pub(crate) matching: Spanned<MatchText>,
    pub(crate) reason: Spanned<String>,
    pub(crate) expires: Spanned<String>,
}

/// `classes.yaml`: what data is, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Classes {
    /// The format's version.
    pub version: u32,
    /// Glob over `schema.table.column` to class.
    #[serde(default)]
    pub columns: BTreeMap<String, String>,
    /// Glob over `schema.table` to class.
    #[serde(default)]
    pub relations: BTreeMap<String, String>,
    /// What a class is part of, where its dots do not say it.
    #[serde(default)]
    pub tree: BTreeMap<String, String>,
}

/// The one version of the format there is.
pub(crate) const VERSION: u32 = 1;
