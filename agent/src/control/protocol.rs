//! What goes over the control socket.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use weir_policy::Identity;

use crate::identity::{
    Bound, Delegation, Evidence, Resolved, RunBudget, Tried,
    login::{Flow, Prompt},
};
use crate::{
    audit::record::Verdict,
    holds::{Grant, Summary},
};

/// The longest line, in either direction.
pub const LINE_BYTES: usize = 256 * 1024;

/// What a login binds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// The kernel's audit session of the process that asks: everything that descends from one login to the host.
    Session,
    /// The process that asks and its children to come, in a cgroup of their own.
    Tree,
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Binds the process that asks to a person or service: by name at the development issuer, or by a token.
    Login {
        /// A user of the development issuer.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user: Option<String>,
        /// A JWT of a configured issuer.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        token: Option<String>,
        /// What to bind.
        scope: Scope,
    },
    /// Begins a login of a person at a provider; the answer is a [`Begun`].
    LoginBegin {
        /// The provider, where several are configured.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        issuer: Option<String>,
        /// The way.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        flow: Option<Flow>,
        /// What to bind; what is bound now, or else the session, when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        scope: Option<Scope>,
        /// The login must be as young as that.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_age_s: Option<u64>,
        /// How the person must prove itself, in the provider's words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        acr: Option<String>,
        /// The login goes on when the command has ended, bound to the audit session.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        detached: bool,
        /// Whom root lets in, by PAM; with `detached` only. Its id must be the session's login uid.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        account: Option<String>,
    },
    /// Waits a moment for the login that this connection began; the answer is a [`Progress`].
    LoginWait,
    /// Ends the binding of the process that asks.
    Logout,
    /// Who the process that asks is.
    Whoami,
    /// Who another process, or the process behind a socket, is.
    Whois {
        /// A process.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pid: Option<u32>,
        /// The client's end of a governed connection.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        address: Option<SocketAddr>,
    },
    /// Binds the process that asks, and its children to come, to an agent that acts for the present identity.
    Exec {
        /// The agent's name at its issuer.
        agent: String,
        /// What for, as it will be recorded.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        purpose: Option<String>,
        /// For how long at most.
        ttl_seconds: u64,
        /// What it may use up in all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        budget: Option<RunBudget>,
    },
    /// Statements that wait for approvals and concern who asks, and lasting approvals; the answer is an [`Approvals`].
    Approvals,
    /// All about one that waits.
    Approval {
        /// The approval's number.
        id: u64,
    },
    /// The exact text and values of one that waits.
    ApprovalValues {
        /// The approval's number.
        id: u64,
    },
    /// Decides about one that waits.
    Decide {
        /// The approval's number.
        id: u64,
        /// Yes or no.
        verdict: Verdict,
        /// Why, in one line.
        reason: String,
        /// For how many seconds the same statement needs no other approval.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lasting_s: Option<u64>,
        /// Sets the rules aside in an emergency.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        break_glass: bool,
    },
    /// Takes a lasting approval back.
    RevokeApproval {
        /// The approval's number.
        id: u64,
        /// Why, in one line.
        reason: String,
    },
    /// The agent's state, for `weir status`.
    Status,
    /// Ends a live session at once; for administrators.
    EndSession {
        /// The record's id.
        session: u64,
        /// Why, for the record.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        reason: String,
    },
    /// Where the agent's files are.
    State,
    /// Stops the agent.
    Stop,
}

/// The operations of [`Request`]; others are delegated.
pub(crate) const OPERATIONS: [&str; 16] = [
    "login",
    "login_begin",
    "login_wait",
    "logout",
    "whoami",
    "whois",
    "exec",
    "approvals",
    "approval",
    "approval_values",
    "decide",
    "revoke_approval",
    "status",
    "end_session",
    "state",
    "stop",
];

/// The answer to [`Request::Approvals`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Approvals {
    /// What waits, the oldest first.
    pub waiting: Vec<Summary>,
    /// Lasting approvals.
    pub lasting: Vec<Grant>,
    /// How many more wait than are listed.
    pub left_out: usize,
}

/// The answer to [`Request::LoginBegin`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Begun {
    /// Where the person goes.
    Prompt(Prompt),
    /// Nobody logs in at a provider here: there is only the development issuer.
    Development,
}

/// The answer to [`Request::LoginWait`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Progress {
    /// Not yet.
    Waiting,
    /// Done.
    Bound(Box<Binding>),
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reply {
    /// As asked.
    Ok(Value),
    /// Not done.
    Error(Refusal),
}

/// Why something was not done, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Why.
    pub message: String,
    /// What would help.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Refusal {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: None,
        }
    }

    pub(crate) fn with_hint(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: Some(hint.into()),
        }
    }
}

/// A binding, as `login`, `exec`, `whoami` and `whois` show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// Who.
    pub identity: Identity,
    /// To what, as text.
    pub key: String,
    /// Until when, seconds since the epoch.
    pub not_after_s: i64,
    /// SHA-256 of the token, hex.
    pub token_fingerprint: String,
    /// Whether a development issuer vouches for it.
    pub development: bool,
    /// What says that the agent may act, where one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delegation: Option<Delegation>,
    /// What the run may use up in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<RunBudget>,
    /// Whether the provider could not be asked lately: this is the last that it said.
    #[serde(default)]
    pub stale: bool,
    /// Whether the agent renews it.
    #[serde(default)]
    pub renewable: bool,
    /// When it was last vouched for, seconds since the epoch.
    #[serde(default)]
    pub verified_s: i64,
    /// When it was bound, seconds since the epoch.
    #[serde(default)]
    pub issued_s: i64,
}

/// The answer to `whoami` and `whois`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Who {
    /// Who it is; `None` is unidentified.
    pub binding: Option<Binding>,
    /// Why it is unidentified.
    pub absence: Option<String>,
    /// Whether the process is in an agent's run.
    pub in_agent_run: bool,
    /// What was observed.
    pub evidence: Evidence,
    /// How the answer came about, where it was asked for: the sources in the order in which they count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tried: Vec<Tried>,
}

impl From<&Bound> for Binding {
    fn from(bound: &Bound) -> Self {
        Self {
            identity: bound.identity.clone(),
            key: bound.key.to_string(),
            not_after_s: bound.not_after_s(),
            token_fingerprint: bound.token_fingerprint.clone(),
            development: bound.development,
            delegation: bound.delegation,
            budget: bound.budget,
            stale: bound.is_stale(),
            renewable: bound.is_renewable(),
            verified_s: bound.verified_s(),
            issued_s: bound.issued_s,
        }
    }
}

impl From<&Resolved> for Who {
    fn from(resolved: &Resolved) -> Self {
        Self {
            binding: resolved.identity.as_deref().map(Binding::from),
            absence: resolved
                .identity
                .is_none()
                .then(|| resolved.absence.to_string()),
            in_agent_run: resolved.in_agent_run,
            evidence: Evidence::clone(&resolved.evidence),
            tried: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_have_the_documented_form() {
        let request: Request =
            serde_json::from_str(r#"{"op":"login","user":"alice","scope":"tree"}"#)
                .expect("a request");
        assert_eq!(
            request,
            Request::Login {
                user: Some("alice".to_owned()),
                token: None,
                scope: Scope::Tree
            }
        );
        assert_eq!(
            serde_json::to_string(&Request::Whoami).expect("JSON"),
            r#"{"op":"whoami"}"#
        );
    }

    #[test]
    fn unknown_fields_are_errors() {
        assert!(
            serde_json::from_str::<Request>(r#"{"op":"login","usr":"alice","scope":"tree"}"#)
                .is_err()
        );
    }
}
