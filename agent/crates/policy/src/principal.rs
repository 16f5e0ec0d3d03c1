//! Who acts, with which program, on which database: the words that identity, policy and audit share.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

/// What kind of subject the identity provider vouches for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PrincipalKind {
    /// A person.
    Human,
    /// A service.
    Workload,
    /// An AI agent that acts for somebody.
    Agent,
}

/// A subject that an identity provider vouches for. The key is (`issuer`, `subject`); the rest is for rules and display.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Principal {
    /// The token's `iss`.
    pub issuer: String,
    /// The token's `sub`.
    pub subject: String,
    /// Person, service or agent.
    pub kind: PrincipalKind,
    /// A name for people to read; never a key.
    pub display: String,
    /// Groups as the provider states them.
    pub groups: Vec<String>,
    /// Whether the provider's list of groups was whole; when not, no grant by group holds.
    pub groups_complete: bool,
    /// When the subject logged in, seconds since the epoch.
    pub auth_time: Option<i64>,
    /// The token's `acr`.
    pub acr: Option<String>,
    /// The token's `amr`: by which means the subject logged in; empty where the provider does not say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub amr: Vec<String>,
    /// Further claims with a text for a value, which row filters and rules may ask for by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub claims: BTreeMap<String, String>,
}

/// One who acts for the principal.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Actor {
    /// Who vouches for the actor.
    pub issuer: String,
    /// The actor's name.
    pub subject: String,
    /// The OAuth client, where there is one.
    pub client_id: Option<String>,
    /// One run of the agent.
    pub run_id: Option<String>,
}

/// How strongly the binding of a process to a principal holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Strength {
    /// By something an unprivileged process can neither choose nor change.
    Strong,
    /// By something it could imitate.
    Weak,
}

/// How a binding came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// `weir login` by name at the development issuer.
    Login,
    /// `weir login` through a browser on this host.
    Code,
    /// `weir login` through a browser elsewhere.
    Device,
    /// `weir login` with a token that was handed over.
    Token,
    /// A `[[workload]]` entry.
    Workload,
    /// `weir exec`: an agent that acts for somebody.
    Exec,
}

impl Method {
    /// As identities and records spell it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Code => "code",
            Self::Device => "device",
            Self::Token => "token",
            Self::Workload => "workload",
            Self::Exec => "exec",
        }
    }
}

/// Who vouches for it that an agent acts for somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Delegation {
    /// This host alone: both were verified, and weir put them together.
    Local,
    /// The identity provider: it issued a token for both.
    Exchanged,
}

/// A verified identity: the person or service, and who acts for it (outermost first; empty for plain humans and workloads).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Identity {
    /// On whose behalf.
    pub principal: Principal,
    /// Through whom.
    pub actors: Vec<Actor>,
    /// How it was established, a [`Method`]'s word.
    pub method: String,
    /// How well the process is bound to it.
    pub strength: Strength,
    /// What it is for, as the run was started with.
    pub purpose: Option<String>,
    /// Who vouches for the delegation, where somebody acts for the principal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delegation: Option<Delegation>,
}

/// Who, and through whom, for people to read.
impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.principal.display)?;
        self.actors
            .iter()
            .try_for_each(|actor| write!(f, " through {}", actor.subject))
    }
}

impl Principal {
    /// The groups that it is known to be in: none where the provider's list was cut off.
    #[must_use]
    pub fn proven_groups(&self) -> &[String] {
        if self.groups_complete {
            &self.groups
        } else {
            &[]
        }
    }
}

impl Identity {
    /// What acts: an agent when one acts for the principal, else the principal's kind.
    #[must_use]
    pub fn acting_kind(&self) -> PrincipalKind {
        if self.actors.is_empty() {
            self.principal.kind
        } else {
            PrincipalKind::Agent
        }
    }
}

/// The observed process, as far as rules may ask about it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Process {
    /// The program file.
    pub exe: String,
    /// SHA-256 of that file, hex; `None` while it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exe_sha256: Option<String>,
    /// The cgroup's path.
    pub cgroup: String,
    /// The systemd unit that the cgroup names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// The container that the cgroup names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// The effective user id at connect time.
    pub uid: u32,
}

/// The database that is spoken to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Target {
    /// The endpoint's name in the configuration.
    pub endpoint: String,
    /// `production`, `staging`, … as configured.
    pub environment: String,
    /// `postgres` or `mysql`.
    pub engine: String,
    /// The database's name.
    pub database: String,
    /// The database user.
    pub database_user: String,
}
