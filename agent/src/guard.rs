//! The one door to policy: statement in, verdict out, remembered per worker.
//!
//! The steady state is one hash: a verdict is remembered by the statement's bytes, the session's modes, who asks about what,
//! and the policy's epoch. Texts that differ only in literals share a verdict where the facts do not depend on them.

mod cache;
mod verdict;

use std::{
    cell::RefCell,
    collections::HashMap,
    hash::BuildHasher,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use weir_policy::{Decision, Identity, Process, Question, Target};
use weir_sql::{
    Confidence, Facts, Kind, SessionModes,
    postgres::{self, Shape},
};

use crate::{
    audit::{Durability, Journal},
    clock,
    policy::{Policy, Snapshot},
};

pub use verdict::{Verdict, admission_refusal};

use cache::{Cache, Key};

/// Decides for all sessions.
#[derive(Debug)]
pub struct Guard {
    policy: Arc<Policy>,
    journal: Arc<Journal>,
    durability: Durability,
    scopes: Mutex<HashMap<Arc<Who>, Arc<Scope>>>,
    next_scope: AtomicU64,
    /// Keys the hashes of bound values: they can be compared with each other while this agent lives, and mean nothing elsewhere.
    value_hash: std::hash::RandomState,
}

/// What a decision depends on besides the statement: equal for all sessions of the same kind.
#[derive(Debug)]
pub struct Scope {
    id: u64,
    who: Arc<Who>,
}

/// Who asks, with which program, on which database.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Who {
    /// Verified, or nobody.
    pub identity: Option<Identity>,
    /// As observed.
    pub process: Process,
    /// What is spoken to.
    pub target: Target,
}

/// The answer about a connection, before a session begins.
#[derive(Debug)]
pub struct Admission {
    /// What was decided.
    pub decision: Decision,
    /// The policy's digest.
    pub policy: String,
}

impl Guard {
    /// A guard over the current and future policies.
    #[must_use]
    pub fn new(policy: Arc<Policy>, journal: Arc<Journal>, durability: Durability) -> Self {
        Self {
            policy,
            journal,
            durability,
            scopes: Mutex::default(),
            next_scope: AtomicU64::new(1),
            value_hash: std::hash::RandomState::new(),
        }
    }

    /// The scope of a session; equal ones share what was decided.
    pub fn scope(&self, who: Who) -> Arc<Scope> {
        let mut scopes = self.scopes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(scope) = scopes.get(&who) {
            return Arc::clone(scope);
        }
        if scopes.len() >= MAX_SCOPES {
            scopes.clear();
        }
        let who = Arc::new(who);
        let scope = Arc::new(Scope {
            id: self.next_scope.fetch_add(1, Ordering::Relaxed),
            who: Arc::clone(&who),
        });
        scopes.insert(who, Arc::clone(&scope));
        scope
    }

    /// Decides whether a session may begin.
    pub fn admit(&self, scope: &Scope) -> Admission {
        let snapshot = self.policy.current();
        let who = &scope.who;
        let identity = who.identity.as_ref();
        let decision = snapshot
            .pack
            .admit(identity, &who.process, &who.target, clock::now());
        Admission {
            decision,
            policy: snapshot.digest.clone(),
        }
    }

    /// Decides a statement's text.
    pub fn decide(&self, scope: &Scope, modes: SessionModes, text: &[u8]) -> Arc<Verdict> {
        let epoch = self.policy.epoch();
        WORKER.with_borrow_mut(|worker| {
            let key = |text, shape| Key {
                text,
                shape,
                scope: scope.id,
                modes,
                epoch,
            };
            if let Some(verdict) = worker.cache.find(&key(text, false)) {
                return verdict;
            }
            let shaped = postgres::shape(text, modes, &mut worker.shape);
            if shaped && let Some(verdict) = worker.cache.find(&key(worker.shape.as_bytes(), true))
            {
                return verdict;
            }
            let facts = postgres::analyse(text, modes);
            let by_shape = shaped && facts.literal_free;
            let verdict = self.verdict(scope, text, facts);
            let stored = if by_shape {
                worker.shape.as_bytes()
            } else {
                text
            };
            worker.cache.insert(&key(stored, by_shape), &verdict);
            verdict
        })
    }

    /// Decides a request that is not a text weir can read.
    pub fn decide_opaque(&self, scope: &Scope, kind: Kind, description: &str) -> Arc<Verdict> {
        let confidence = match kind {
            Kind::Unknown => Confidence::Unparsed,
            _ => Confidence::Opaque,
        };
        let facts = Facts {
            kinds: vec![kind],
            confidence,
            parse_error: (kind == Kind::Unknown).then(|| description.to_owned()),
            normalised: format!("<{description}>"),
            ..Facts::default()
        };
        self.verdict(scope, b"", facts)
    }

    /// The verdict for what only SQL named (`PREPARE`, `DECLARE`): its text was decided when it was made.
    pub fn made_by_sql(&self, scope: &Scope) -> Arc<Verdict> {
        let facts = Facts {
            kinds: vec![Kind::Utility],
            normalised: "<execution of what SQL prepared or declared>".to_owned(),
            ..Facts::default()
        };
        self.verdict(scope, b"", facts)
    }

    /// Whether no rule could refuse anything: then what cannot be read may pass.
    #[must_use]
    pub fn permits_everything(&self, scope: &Scope) -> bool {
        let snapshot = self.policy.current();
        let who = &scope.who;
        let identity = who.identity.as_ref();
        snapshot
            .pack
            .permits_everything(identity, &who.process, &who.target, clock::now())
    }

    /// Whether a verdict was taken under the policy in force.
    #[must_use]
    pub fn is_current(&self, verdict: &Verdict) -> bool {
        verdict.epoch == self.policy.epoch()
    }

    /// A keyed hash of bound values.
    #[must_use]
    pub fn hash_values(&self, values: &[u8]) -> u64 {
        self.value_hash.hash_one(values)
    }

    fn verdict(&self, scope: &Scope, text: &[u8], facts: Facts) -> Arc<Verdict> {
        let snapshot: Arc<Snapshot> = self.policy.current();
        let who = &scope.who;
        let decision = snapshot.pack.decide(&Question {
            identity: who.identity.as_ref(),
            process: &who.process,
            target: &who.target,
            facts: &facts,
            now: clock::now(),
        });
        let strict = self.durability == Durability::Strict || deserves_sync(who, &facts);
        Arc::new(Verdict {
            refusal: verdict::refusal(&decision, &facts),
            changes_session: facts.changes_session,
            strict,
            epoch: snapshot.epoch,
            text: text.into(),
            statement: self.journal.statement(facts, decision, &snapshot.digest),
        })
    }
}

/// Records of these are on disk before the statement leaves, whatever the default durability.
fn deserves_sync(who: &Who, facts: &Facts) -> bool {
    let agent = who
        .identity
        .as_ref()
        .is_some_and(|identity| identity.acting_kind() == weir_policy::PrincipalKind::Agent);
    agent
        || facts.kinds.iter().any(|kind| {
            matches!(
                kind,
                Kind::Create | Kind::Alter | Kind::Drop | Kind::Truncate | Kind::Grant
            )
        })
}

/// What one worker remembers; only its own thread touches it.
#[derive(Default)]
struct Worker {
    cache: Cache,
    shape: Shape,
}

thread_local! {
    static WORKER: RefCell<Worker> = RefCell::default();
}

/// Scopes that are remembered; a host has far fewer.
const MAX_SCOPES: usize = 10_000;
