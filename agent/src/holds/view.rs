//! What people and scripts see of statements that wait. Values are in none of it: see [`Exact`].

use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use weir_policy::Approval;

use super::held::{Given, Held};
use crate::audit::word;

/// One statement that waits, in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// The approval's number.
    pub id: u64,
    /// The session's.
    pub session: u64,
    /// Who asks, and through whom.
    pub requester: String,
    /// The program.
    pub process: String,
    /// Where to.
    pub endpoint: String,
    /// Which database.
    pub database: String,
    /// As which of its users.
    pub database_user: String,
    /// The rules that hold it.
    pub rules: Vec<String>,
    /// Why they are there.
    pub reason: String,
    /// The statement, literals replaced.
    pub text: String,
    /// Since when, nanoseconds since the epoch.
    pub since_ns: u64,
    /// When it is given up, nanoseconds since the epoch.
    pub expires_ns: u64,
    /// What each rule wants, and what it has got.
    pub demands: Vec<Demand>,
}

/// What one rule wants, and what it has got.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Demand {
    /// The rule.
    pub rule: String,
    /// Whose members may agree.
    pub groups: Vec<String>,
    /// How many must.
    pub quorum: u32,
    /// Who has.
    pub given: Vec<String>,
    /// For how many seconds, at most, the same statement may be allowed again; `None` is only once.
    pub reuse_s: Option<u64>,
    /// Whose members may set it aside in an emergency.
    pub break_glass: Vec<String>,
}

/// All that may be seen of one before deciding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// As in the list.
    #[serde(flatten)]
    pub summary: Summary,
    /// What it does.
    pub kinds: Vec<String>,
    /// What it touches, and how.
    pub relations: Vec<String>,
    /// The columns that it uses.
    pub columns: Vec<String>,
    /// The process and its parents, child first.
    pub lineage: Vec<String>,
    /// The cgroup.
    pub cgroup: String,
    /// What the run is for, as it was started with.
    pub purpose: Option<String>,
    /// SHA-256 of the exact text, hex.
    pub text_sha256: String,
    /// How many values are bound to it, in bytes.
    pub values_bytes: usize,
    /// Whether it waits inside a transaction, whose locks are held meanwhile.
    pub in_transaction: bool,
    /// Whether the server gets another text, in which data is masked or filtered.
    pub rewritten: bool,
    /// What the server expects of it.
    pub estimate: Option<Estimate>,
}

/// What the server expects, by its own `EXPLAIN`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Estimate {
    /// Rows and cost of the plan.
    Plan {
        /// Rows that it reads or changes, at its widest.
        rows: u64,
        /// The planner's cost, as it writes it.
        cost: String,
        /// The outermost step, with its relation.
        step: String,
    },
    /// There is none, and why.
    None(String),
}

/// The exact text and values: shown to who may decide and asks for it, and recorded.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exact {
    /// The text.
    pub text: String,
    /// What is bound to it, in order; `None` is NULL. Binary values are in hex, `\x` first.
    pub values: Vec<Option<String>>,
}

impl Summary {
    /// With a text of at most a few lines.
    #[must_use]
    pub fn shortened(mut self) -> Self {
        shorten(&mut self.text, SHORT_TEXT);
        self
    }
}

impl View {
    /// With a text that fits into an answer of the control socket.
    #[must_use]
    pub fn shortened(mut self) -> Self {
        shorten(&mut self.summary.text, LONG_TEXT);
        self
    }
}

fn shorten(text: &mut String, bytes: usize) {
    if text.len() > bytes {
        text.truncate(text.floor_char_boundary(bytes));
        text.push('…');
    }
}

impl Held {
    pub(super) fn summary(&self, id: u64) -> Summary {
        let opened = &self.ask.session.opened;
        let decided = &self.ask.statement.decided;
        let target = &opened.target;
        Summary {
            id,
            session: self.ask.session.id,
            requester: self.ask.requester.to_string(),
            process: opened.evidence.exe_path.clone(),
            endpoint: target.endpoint.clone(),
            database: target.database.clone(),
            database_user: target.database_user.clone(),
            rules: rules(&self.ask.approvals),
            reason: reasons(&self.ask.approvals),
            text: decided.facts.normalised.clone(),
            since_ns: self.since_ns,
            expires_ns: self.expires_ns,
            demands: (self.ask.approvals.iter())
                .map(|approval| demand(approval, &self.given))
                .collect(),
        }
    }

    pub(super) fn view(&self, id: u64) -> View {
        let facts = &self.ask.statement.decided.facts;
        let evidence = &self.ask.session.opened.evidence;
        let own = format!("{}({})", evidence.comm, evidence.tgid);
        View {
            summary: self.summary(id),
            kinds: facts.kinds.iter().map(word).collect(),
            relations: (facts.relations.iter())
                .map(|used| format!("{} {}", word(&used.usage), used.relation))
                .collect(),
            columns: (facts.columns.iter())
                .map(|used| used.column.to_string())
                .collect(),
            lineage: std::iter::once(own)
                .chain(evidence.parents.iter().cloned())
                .collect(),
            cgroup: evidence.cgroup_path.clone(),
            purpose: self.ask.requester.purpose.clone(),
            text_sha256: hex::encode(digest(&SHA256, &self.ask.text)),
            values_bytes: self.ask.values.len(),
            in_transaction: self.ask.in_transaction,
            rewritten: self.ask.rewritten,
            estimate: self.estimate.clone(),
        }
    }
}

fn demand(approval: &Approval, given: &[Given]) -> Demand {
    Demand {
        rule: approval.rule.0.clone(),
        groups: approval.groups.clone(),
        quorum: approval.quorum,
        given: given
            .iter()
            .filter(|given| given.approver.in_one_of(&approval.groups))
            .map(|given| given.approver.name().to_owned())
            .collect(),
        reuse_s: approval.reuse_s,
        break_glass: approval.break_glass.clone(),
    }
}

pub(super) fn rules(approvals: &[Approval]) -> Vec<String> {
    approvals.iter().map(|it| it.rule.0.clone()).collect()
}

pub(super) fn reasons(approvals: &[Approval]) -> String {
    let mut texts: Vec<&str> = approvals
        .iter()
        .filter_map(|it| it.why.as_deref())
        .collect();
    texts.dedup();
    texts.join("; ")
}

const SHORT_TEXT: usize = 1_000;
const LONG_TEXT: usize = 100_000;
