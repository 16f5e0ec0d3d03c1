//! What is recorded: each kind of record and what it carries.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use weir_policy::{Classed, Decision, Identity, Target};
use weir_sql::{Facts, RelationName};

use crate::{
    capture::{Counters, Origin},
    identity::{Delegation, Evidence, Proof, RunBudget},
};

/// A session's opening: everything its statements have in common.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionOpened {
    /// Unique for this journal.
    pub session: u64,
    /// As the kernel saw it.
    pub origin: Origin,
    /// What was observed of the process.
    pub evidence: Evidence,
    /// Who the provider says it is; `None` is unidentified.
    pub identity: Option<Identity>,
    /// What that rests on. Earlier versions did not record it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<Proof>,
    /// What is spoken to; database and user as the startup packet says.
    pub target: Target,
    /// `application_name` as claimed.
    pub application_name: Option<String>,
    /// When it was opened, nanoseconds since the epoch: what later segments repeat has the time of the repetition.
    /// Earlier versions did not record it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opened_ns: Option<u64>,
    /// Whether its bytes are relayed without being read: what is said in it is not known, and no statement of it recorded.
    /// Earlier versions tell it at the session's end only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unread: bool,
}

/// How the end of a session begins whose bytes were relayed without being read.
pub const NOT_INSPECTED: &str = "not inspected";

/// A statement as decided: dictionary entry that decision records refer to by `id`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatementDecided {
    /// Unique for this journal.
    pub id: u64,
    /// What it does.
    pub facts: Facts,
    /// What was decided and why.
    pub decision: Decision,
    /// The policy's digest at that time.
    pub policy: String,
    /// What of the data that it uses had classes then.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<Classed>,
    /// The schemas of relations that the text names without one, where the catalog told.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub schemas: BTreeMap<String, String>,
}

impl StatementDecided {
    /// A relation's name with its schema, as far as that is known.
    #[must_use]
    pub fn name_of(&self, relation: &RelationName) -> String {
        match self.schemas.get(&relation.name) {
            Some(schema) if relation.schema.is_none() => format!("{schema}.{}", relation.name),
            _ => relation.to_string(),
        }
    }
}

/// How a request reached the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Via {
    /// A simple query.
    Simple = 0,
    /// A `Parse`: nothing runs yet, but a denial shows here.
    Parse = 1,
    /// An `Execute` of a portal.
    Execute = 2,
    /// The fast path.
    FunctionCall = 3,
    /// A replication command.
    Replication = 4,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Ending {
    /// The server completed it.
    Completed = 0,
    /// The server refused it; `sqlstate` says why.
    Failed = 1,
    /// weir refused it.
    Denied = 2,
    /// A portal stopped at its row limit and may go on.
    Suspended = 3,
    /// The server skipped it after an earlier error.
    Skipped = 4,
    /// The connection ended first.
    Disconnected = 5,
}

/// The hot record: one request, decided, before the server can see it. Fixed size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Requested {
    /// A [`SessionOpened`].
    pub session: u64,
    /// A [`StatementDecided`].
    pub statement: u64,
    /// How it came.
    pub via: Via,
    /// A keyed hash over the bound parameters' bytes; zero without parameters.
    pub parameters_hash: u64,
    /// Bytes of the request.
    pub request_bytes: u64,
}

/// The hot record's other half: what came of it. Fixed size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// The sequence number of the [`Requested`] record.
    pub request: u64,
    /// How it ended.
    pub ending: Ending,
    /// Rows sent to the client.
    pub rows: u64,
    /// Bytes of those rows' messages, or of copy data in either direction.
    pub bytes: u64,
    /// From forwarding to the end, nanoseconds.
    pub duration_ns: u64,
    /// The server's, when it failed; five ASCII bytes.
    pub sqlstate: [u8; 5],
}

/// Any record, as read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A session's opening; repeated in each segment that mentions it.
    SessionOpened(Box<SessionOpened>),
    /// A statement's dictionary entry; repeated in each segment that mentions it.
    StatementDecided(Box<StatementDecided>),
    /// A request.
    Requested(Requested),
    /// What came of one.
    Outcome(Outcome),
    /// A rare event.
    Event(Box<Event>),
}

/// Rare records, written whole as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The agent began; `resumed` when it took over what an earlier agent left in the kernel.
    AgentStarted {
        /// weir's version.
        version: String,
        /// Whether kernel programs of an earlier agent were found and taken over.
        resumed: bool,
        /// The policy's digest.
        policy: String,
        /// Whether a development issuer is trusted.
        development_issuer: bool,
    },
    /// The agent ended by itself.
    AgentStopped {
        /// Why.
        reason: String,
    },
    /// A time without an agent: what the kernel did meanwhile.
    Gap {
        /// When the last heartbeat of the agent before was, nanoseconds since the epoch.
        from_ns: u64,
        /// When this one took over.
        until_ns: u64,
        /// Connections that the kernel let through (`on_agent_down = "open"`).
        passed: u64,
        /// Connections that the kernel refused.
        denied: u64,
    },
    /// A connection that weir did not govern, and why: `agent_down`, `other_namespace`, `older`.
    Ungoverned {
        /// Why.
        why: String,
        /// As the kernel saw it.
        origin: Origin,
    },
    /// A connection was refused before a session began.
    ConnectionRefused {
        /// As the kernel saw it, where it did.
        origin: Option<Origin>,
        /// What was observed.
        evidence: Option<Evidence>,
        /// Why.
        reason: String,
    },
    /// A session ended; counts over its life.
    SessionClosed {
        /// A [`SessionOpened`].
        session: u64,
        /// How.
        reason: String,
        /// Requests recorded.
        requests: u64,
        /// Bytes from the client.
        client_bytes: u64,
        /// Bytes from the server.
        server_bytes: u64,
    },
    /// A policy was loaded.
    PolicyLoaded {
        /// Its digest.
        digest: String,
        /// Where from.
        path: String,
        /// Rules in it.
        rules: usize,
    },
    /// A binding was made or ended: `login`, `logout`, `exec`, `expired`.
    Binding {
        /// What happened.
        what: String,
        /// Who.
        identity: Identity,
        /// The key it is bound to, as text.
        key: String,
        /// SHA-256 of the token, hex.
        token_fingerprint: String,
        /// All that it rests on. Earlier versions did not record it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        proof: Option<Proof>,
    },
    /// A session goes on with a newer log-in of the same subject: its records from here on rest on that.
    SessionRenewed {
        /// A [`SessionOpened`].
        session: u64,
        /// With the groups it has now.
        identity: Identity,
        /// What it rests on.
        proof: Proof,
    },
    /// An administrator ended a session.
    SessionEnded {
        /// A [`SessionOpened`].
        session: u64,
        /// Who, as the provider vouches for it; `None` is root without a log-in.
        administrator: Option<Identity>,
        /// The process that asked, where the control socket was asked.
        evidence: Option<Box<Evidence>>,
        /// Why, in the administrator's words; may be empty.
        reason: String,
    },
    /// An agent was let act for somebody: what joins the two. With `delegation: local` this record is that, and the
    /// chain's seal its signature.
    Delegation {
        /// What it rests on: `exchange`, `id-jag`, `local`.
        delegation: Delegation,
        /// The person and all who act, the latest last, with the run's id.
        identity: Identity,
        /// SHA-256 of the token that bound the person (or the run that this one was started from), hex.
        subject_fingerprint: String,
        /// SHA-256 of the delegated token, or of the agent's own, hex.
        actor_fingerprint: String,
        /// Until when, seconds since the epoch.
        not_after_s: i64,
        /// What the run may use up in all.
        budget: Option<RunBudget>,
    },
    /// Another process than the one that connected wrote on a session's connection.
    SenderChanged {
        /// The [`SessionOpened`] of the connection.
        session: u64,
        /// The process as the kernel saw it; `None` when there were more than it tells apart.
        sender: Option<Origin>,
        /// What was observed of it.
        evidence: Option<Box<Evidence>>,
        /// Who the provider says it is.
        identity: Option<Box<Identity>>,
        /// `kept`: the same identity, or a stronger one; `kept, another program`; `weakened`: the sender's, which rests on
        /// the session's; `unidentified`: the sender has another identity or none; `too many`: nothing more may run.
        outcome: String,
        /// The [`SessionOpened`] that what follows is recorded under, where it is another.
        continued_as: Option<u64>,
    },
    /// A statement waits for an approval.
    ApprovalRequested {
        /// Unique for this journal.
        approval: u64,
        /// A [`SessionOpened`].
        session: u64,
        /// Who wants it.
        requester: Option<Identity>,
        /// The rules that ask for the approval.
        rules: Vec<String>,
        /// What the rules say about why.
        reason: String,
        /// The statement, literals replaced.
        text: String,
        /// Groups whose members may decide.
        approvers: Vec<String>,
        /// How many of them have to agree.
        quorum: u32,
        /// When it is given up, nanoseconds since the epoch.
        expires_ns: u64,
        /// What an approval holds for. Earlier versions did not record it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        bound: Option<Bound>,
    },
    /// Somebody decided about a statement that waits.
    ApprovalDecided {
        /// An [`Event::ApprovalRequested`].
        approval: u64,
        /// Who.
        approver: Identity,
        /// What.
        verdict: Verdict,
        /// Why, in the approver's words.
        reason: String,
        /// Until when the same statement needs no other approval, nanoseconds since the epoch; `None` is this once.
        until_ns: Option<u64>,
        /// Whether the rules were set aside for an emergency.
        break_glass: bool,
    },
    /// A statement no longer waits.
    ApprovalEnded {
        /// An [`Event::ApprovalRequested`].
        approval: u64,
        /// How.
        how: Settled,
        /// The sequence number of the [`Requested`] that ran it; `None` when nothing ran.
        request: Option<u64>,
        /// What ran, hashed as [`Bound::to`] is: the same where it is what was approved.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ran: Option<String>,
    },
    /// Somebody did something by the web page or its API.
    Administered {
        /// `log-in`, `log-out`, `verification`.
        what: String,
        /// Who the provider says it is; `None` is a user of this host.
        identity: Option<Identity>,
        /// The user id of the process that asked, where it asked on this host.
        uid: Option<u32>,
    },
    /// The exact text and values of a statement that waits were shown to somebody who may decide about it.
    ApprovalShown {
        /// An [`Event::ApprovalRequested`].
        approval: u64,
        /// To whom.
        approver: Identity,
    },
    /// An approval that lasts let a statement run.
    ApprovalUsed {
        /// An [`Event::ApprovalRequested`].
        approval: u64,
        /// The sequence number of the [`Requested`] that ran.
        request: u64,
        /// What ran, hashed as [`Bound::to`] is; another one where literals or values differ.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ran: Option<String>,
    },
    /// An approval that lasts was taken back.
    ApprovalRevoked {
        /// An [`Event::ApprovalRequested`].
        approval: u64,
        /// By whom.
        approver: Identity,
        /// Why.
        reason: String,
    },
    /// What the kernel programs have counted since their maps were made: the denominator of completeness.
    KernelCounted {
        /// All of it, from the start.
        counters: Counters,
    },
    /// Sealed segments were removed because they were kept long enough.
    SegmentsRetired {
        /// The first of them.
        from_segment: u64,
        /// The last.
        until_segment: u64,
        /// The last record in them.
        last_seq: u64,
        /// Which limit they exceeded.
        why: String,
        /// When the first record that stays was made, nanoseconds since the epoch. Earlier versions did not record it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        kept_from_ns: Option<u64>,
    },
    /// What was recorded in a segment that is about to be removed, and what later records rest on.
    Repeated {
        /// The number of the record that said it first.
        seq: u64,
        /// When that was made, nanoseconds since the epoch.
        time_ns: u64,
        /// What it says.
        said: Box<Event>,
    },
    /// Something that ought not to be: a broken invariant, a bypass attempt.
    Incident {
        /// What.
        what: String,
    },
}

/// What an approval holds for. Nothing of it tells a literal or a value: hashes are keyed, by a key that ends with the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bound {
    /// A keyed hash of all that has to be the same when it runs: exact text, values, who asks, how the text and its names are
    /// read, rules, catalog, and what the server gets in its place. 16 hexadecimal digits.
    pub to: String,
    /// The policy's digest.
    pub policy: String,
    /// Which reading of the database's catalog, counted from the agent's start; `None` where it played no part.
    pub catalog: Option<u64>,
}

/// What an approver said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It may run.
    Approved,
    /// It may not.
    Denied,
}

/// How the wait for an approval ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Settled {
    /// Approved, and sent to the server.
    Ran,
    /// The client did not go on with it, or what stood ahead of it failed.
    NotRun,
    /// Refused by an approver.
    Denied,
    /// Nobody decided in time.
    TimedOut,
    /// The client took it back.
    Cancelled,
    /// The client went away.
    Disconnected,
    /// Policy, catalog or session changed in the meantime: what was approved is not what would run.
    Changed,
    /// The agent ended.
    AgentStopped,
}
