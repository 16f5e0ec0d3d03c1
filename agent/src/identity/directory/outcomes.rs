//! What the directory answers with, and what it is asked to bind.

use std::{io, sync::Arc};

use weir_policy::Identity;

use super::root;
use crate::identity::{
    bound::{Bound, Delegation, Key, RunBudget},
    events::Whom,
    evidence::Evidence,
    secret::Secret,
};

/// Why a process cannot be bound.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The mark of an agent's run sticks.
    #[error("this process is in an agent's run and cannot become anyone else")]
    Marked,
    /// Bindings to a session need one.
    #[error("this process has no audit session")]
    NoSession,
    /// One command and its children are one person.
    #[error("this command was started under another login, or one that has ended")]
    Occupied,
    /// The process ended.
    #[error("the process is gone")]
    Gone(#[source] io::Error),
    /// The run's cgroup.
    #[error("cannot make a cgroup for the run")]
    Make(#[source] io::Error),
    /// The move.
    #[error("cannot move the process into the run's cgroup")]
    Enter(#[source] io::Error),
}

/// Why a process that might have had an identity has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Absence {
    /// Nothing binds it.
    Unbound,
    /// The binding's time is over.
    Expired,
    /// The binding was ended.
    Revoked,
    /// It is in a run that this agent did not make.
    ForeignRun,
    /// The cgroup that it was in is gone: it may have been an agent's run.
    UnknownCgroup,
    /// More than one workload entry matches.
    Ambiguous(Vec<String>),
    /// A workload entry matches and has no valid proof.
    Unproved(String),
    /// A workload entry may match: that is being found out.
    Pending(String),
}

impl std::fmt::Display for Absence {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unbound => write!(out, "nobody is logged in here: run `weir login`"),
            Self::Expired => write!(out, "the login has expired: run `weir login`"),
            Self::Revoked => write!(out, "the login was ended: run `weir login`"),
            Self::ForeignRun => write!(
                out,
                "this run was begun under an earlier weir: start it again"
            ),
            Self::UnknownCgroup => {
                write!(
                    out,
                    "the process and its cgroup were gone before they could be looked at"
                )
            }
            Self::Ambiguous(names) => write!(
                out,
                "several workload entries match this process: {}",
                names.join(", ")
            ),
            Self::Pending(name) => write!(
                out,
                "whether this process is workload {name} is being found out: try again"
            ),
            Self::Unproved(name) => write!(out, "workload {name} has no valid token"),
        }
    }
}

/// What is known of a process.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// What was observed.
    pub evidence: Arc<Evidence>,
    /// Who it is; live when it was resolved. `None` is unidentified.
    pub identity: Option<Arc<Bound>>,
    /// Why there is no identity; [`Absence::Unbound`] also where there is one.
    pub absence: Absence,
    /// Whether the process is in an agent's run (or one that this agent did not make): it may not bind itself anew.
    pub in_agent_run: bool,
}

impl Resolved {
    /// Why the process may not connect at all, whatever is allowed to the unidentified: it may be somebody with fewer
    /// rights than nobody has.
    #[must_use]
    pub fn bar(&self) -> Option<&Absence> {
        let is_unclear = matches!(self.absence, Absence::Ambiguous(_) | Absence::Pending(_));
        (self.identity.is_none() && (is_unclear || self.in_agent_run)).then_some(&self.absence)
    }
}

/// A binding began or ended.
#[derive(Debug, Clone)]
pub struct Change {
    /// As recorded: `login`, `exec` and `workload` begin; `logout`, `ended`, `replaced`, `revoked` (by the provider) and
    /// `expired` end; `renewed`: the provider says something else, such as other groups; `stale`: it cannot be asked;
    /// `fresh`: it can again; `left`: the last process of a login went on into an agent's run.
    pub what: &'static str,
    /// Which.
    pub bound: Arc<Bound>,
}

impl Change {
    /// Whether the sessions that rest on it must end now. Expiry leaves them to the rules of each statement.
    #[must_use]
    pub fn ends_sessions(&self) -> bool {
        matches!(self.what, "logout" | "ended" | "replaced" | "revoked")
    }

    /// Whose browsers are to be logged out with it. An agent's run or a shell that ends says nothing of the person.
    #[must_use]
    pub fn logs_out(&self) -> Option<Whom> {
        let bound = match self.what {
            // By the provider: a login that went on into an agent's run is known only through the run.
            "revoked" => root(&self.bound),
            "logout" if self.bound.identity.actors.is_empty() => &self.bound,
            _ => return None,
        };
        Some(Whom::of(&bound.identity.principal))
    }
}

/// A request to bind a process's tree or session.
#[derive(Debug)]
pub struct NewBinding {
    /// Who.
    pub identity: Identity,
    /// SHA-256 of the token, hex.
    pub fingerprint: String,
    /// Until when, seconds since the epoch.
    pub not_after_s: i64,
    /// Whether a development issuer vouches for it.
    pub development: bool,
    /// The user who asks.
    pub owner_uid: u32,
    /// What it is derived from.
    pub parent: Option<Arc<Bound>>,
    /// What an agent's run rests on.
    pub delegation: Option<Delegation>,
    /// What an agent's run may use up.
    pub budget: Option<RunBudget>,
    /// The token, where it may serve to have another one issued.
    pub token: Option<Secret>,
}

impl NewBinding {
    pub(super) fn bound_to(self, key: Key) -> Bound {
        let mut bound = Bound::new(self.identity, key, self.fingerprint, self.not_after_s);
        bound.development = self.development;
        bound.owner_uid = self.owner_uid;
        bound.parent = self.parent;
        bound.delegation = self.delegation;
        bound.budget = self.budget;
        if let Some(token) = self.token {
            bound.hold(token);
        }
        bound
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use weir_policy::{Actor, Principal, PrincipalKind, Strength};

    use super::*;

    fn bound(subject: &str, actor: Option<&str>, parent: Option<&Arc<Bound>>) -> Arc<Bound> {
        let issuer = "https://issuer.example".to_owned();
        let identity = Identity {
            principal: Principal {
                issuer: issuer.clone(),
                subject: subject.to_owned(),
                kind: PrincipalKind::Human,
                display: subject.to_owned(),
                groups: Vec::new(),
                groups_complete: true,
                auth_time: None,
                acr: None,
                amr: Vec::new(),
                claims: BTreeMap::new(),
            },
            actors: actor
                .map(|actor| Actor {
                    issuer,
                    subject: actor.to_owned(),
                    client_id: None,
                    run_id: None,
                })
                .into_iter()
                .collect(),
            method: "login".to_owned(),
            strength: Strength::Strong,
            purpose: None,
            delegation: None,
        };
        let key = Key::Cgroup {
            id: 7,
            path: "/run".to_owned(),
        };
        let mut bound = Bound::new(identity, key, String::new(), i64::MAX);
        bound.parent = parent.cloned();
        Arc::new(bound)
    }

    #[test]
    fn browsers_are_logged_out_with_the_person_and_not_with_a_shell_or_an_agents_run() {
        let login = bound("alice", None, None);
        let run = bound("alice", Some("bot"), Some(&login));
        let logs_out = |what, bound: &Arc<Bound>| {
            let bound = Arc::clone(bound);
            Change { what, bound }.logs_out()
        };
        let alice = Some(Whom::of(&login.identity.principal));
        for what in ["login", "ended", "replaced", "expired", "left", "renewed"] {
            assert_eq!(logs_out(what, &login), None, "{what}");
            assert_eq!(logs_out(what, &run), None, "{what}");
        }
        assert_eq!(logs_out("logout", &login), alice);
        assert_eq!(logs_out("logout", &run), None);
        assert_eq!(logs_out("revoked", &login), alice);
        assert_eq!(logs_out("revoked", &run), alice);
    }
}
