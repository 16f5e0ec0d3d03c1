//! A verified identity bound to processes, and whether the binding still holds.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use weir_policy::Identity;

use super::secret::Secret;

/// What a binding is attached to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Key {
    /// The kernel's audit session: everything that descends from one login.
    AuditSession {
        /// Session ids start anew at each boot.
        boot_id: String,
        /// The id.
        id: u32,
    },
    /// A cgroup that weir made, and everything below it.
    Cgroup {
        /// The kernel's id.
        id: u64,
        /// From the hierarchy's root.
        path: String,
    },
    /// A `[[workload]]` entry.
    Workload {
        /// Its name.
        name: String,
    },
}

impl fmt::Display for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AuditSession { boot_id, id } => {
                write!(out, "audit session {id} of boot {boot_id}")
            }
            Self::Cgroup { id, path } => write!(out, "cgroup {path} ({id})"),
            Self::Workload { name } => write!(out, "workload {name}"),
        }
    }
}

/// What the word of an agent's right to act for somebody rests on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Delegation {
    /// The issuer's: a token that names both (RFC 8693).
    #[default]
    Exchange,
    /// The issuer's: an assertion about the person, given to the agent (ID-JAG).
    IdJag,
    /// This host's: both tokens were verified here, and the record in the journal's chain joins them.
    Local,
}

impl fmt::Display for Delegation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Exchange => "exchange",
            Self::IdJag => "id-jag",
            Self::Local => "local",
        })
    }
}

/// What a run may use up in all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunBudget {
    /// Rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// Bytes of rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

/// Whether a binding holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// It holds.
    Live,
    /// Its time is over: the running statement finishes, the next is refused.
    Expired,
    /// It was ended: cancel, stop relaying, close.
    Revoked,
}

/// An identity bound to processes. Shared by the sessions that rest on it; reading its state takes no lock.
#[derive(Debug)]
pub struct Bound {
    /// Who.
    pub identity: Identity,
    /// To what.
    pub key: Key,
    /// SHA-256 of the token, hex.
    pub token_fingerprint: String,
    /// Whether a development issuer vouches for it.
    pub development: bool,
    /// The user who made it, who may end it.
    pub owner_uid: u32,
    /// The binding that this one was derived from: an agent's run ends with the login it acts for.
    pub parent: Option<Arc<Bound>>,
    /// What an agent's run rests on.
    pub delegation: Option<Delegation>,
    /// What an agent's run may use up.
    pub budget: Option<RunBudget>,
    /// The token, where it may serve to have another one issued. A restarted agent does not have it.
    pub token: Option<Secret>,
    not_after_s: AtomicI64,
    revoked: AtomicBool,
}

impl Bound {
    /// A live binding that ends at `not_after_s`, seconds since the epoch.
    #[must_use]
    pub fn new(identity: Identity, key: Key, token_fingerprint: String, not_after_s: i64) -> Self {
        Self {
            identity,
            key,
            token_fingerprint,
            development: false,
            owner_uid: 0,
            parent: None,
            delegation: None,
            budget: None,
            token: None,
            not_after_s: AtomicI64::new(not_after_s),
            revoked: AtomicBool::new(false),
        }
    }

    /// Whether it holds at `now` (since the epoch), and all it was derived from as well.
    #[must_use]
    pub fn state(&self, now: Duration) -> State {
        let inherited = self
            .parent
            .as_ref()
            .map_or(State::Live, |parent| parent.state(now));
        inherited.max(self.own_state(now))
    }

    /// When it ends, seconds since the epoch, if nothing ends it earlier.
    #[must_use]
    pub fn not_after_s(&self) -> i64 {
        self.not_after_s.load(Ordering::Relaxed)
    }

    /// Whether this is an agent acting for somebody.
    #[must_use]
    pub fn is_agent_run(&self) -> bool {
        !self.identity.actors.is_empty()
    }

    /// Whether it is `other` or was derived from it.
    #[must_use]
    pub fn rests_on(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
            || self
                .parent
                .as_ref()
                .is_some_and(|parent| parent.rests_on(other))
    }

    /// Ends it. Returns whether it had not been ended before.
    pub(crate) fn revoke(&self) -> bool {
        !self.revoked.swap(true, Ordering::AcqRel)
    }

    /// Whether it was ended itself, whatever it rests on.
    pub(crate) fn is_revoked(&self) -> bool {
        self.revoked.load(Ordering::Acquire)
    }

    /// A newer proof of the same identity.
    pub(crate) fn extend(&self, not_after_s: i64) {
        self.not_after_s.store(not_after_s, Ordering::Relaxed);
    }

    fn own_state(&self, now: Duration) -> State {
        if self.is_revoked() {
            return State::Revoked;
        }
        let now_s = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        if now_s >= self.not_after_s() {
            State::Expired
        } else {
            State::Live
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use weir_policy::{Actor, Principal, PrincipalKind, Strength};

    use super::*;

    pub(crate) fn identity(subject: &str, actor: Option<&str>) -> Identity {
        Identity {
            principal: Principal {
                issuer: "http://127.0.0.1:1".to_owned(),
                subject: subject.to_owned(),
                kind: PrincipalKind::Human,
                display: subject.to_owned(),
                groups: Vec::new(),
                groups_complete: true,
                auth_time: None,
                acr: None,
                claims: std::collections::BTreeMap::new(),
            },
            actors: actor
                .map(|name| Actor {
                    issuer: "http://127.0.0.1:1".to_owned(),
                    subject: name.to_owned(),
                    client_id: None,
                    run_id: None,
                })
                .into_iter()
                .collect(),
            method: "login".to_owned(),
            strength: Strength::Strong,
            purpose: None,
        }
    }

    fn bound(not_after_s: i64) -> Bound {
        let key = Key::Workload {
            name: "x".to_owned(),
        };
        Bound::new(identity("bob", None), key, String::new(), not_after_s)
    }

    #[test]
    fn a_binding_ends_with_its_time() {
        let bound = bound(100);
        assert_eq!(bound.state(Duration::from_secs(99)), State::Live);
        assert_eq!(bound.state(Duration::from_secs(100)), State::Expired);
        bound.extend(200);
        assert_eq!(bound.state(Duration::from_secs(100)), State::Live);
    }

    #[test]
    fn what_rests_on_a_revoked_binding_is_revoked() {
        let person = Arc::new(bound(100));
        let run = Bound {
            parent: Some(Arc::clone(&person)),
            ..bound(50)
        };

        assert!(run.rests_on(&person) && !person.rests_on(&run));
        assert!(person.revoke() && !person.revoke());

        assert_eq!(run.state(Duration::from_secs(1)), State::Revoked);
        assert_eq!(run.state(Duration::from_secs(70)), State::Revoked);
    }
}
