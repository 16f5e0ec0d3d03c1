//! The one door to policy: statement in, verdict out, remembered per worker.
//!
//! The steady state is one hash: a verdict is remembered by the statement's bytes, the session's modes, who asks about what,
//! and the policy's epoch. Texts that differ only in literals share a verdict where the facts do not depend on them.

mod budgets;
mod cache;
mod counts;
mod governed;
mod hidden;
mod key;
mod naming;
mod scope;
mod standing;
mod verdict;
mod worker;

use std::{
    collections::HashMap,
    hash::BuildHasher,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use weir_policy::{Classed, Decision, Identity};
use weir_sql::{Confidence, Facts, Kind, SessionModes, catalog::Naming, postgres};

use weir_wire::postgres::Refusal;

use crate::{
    audit::{Durability, Journal},
    catalog::CatalogSnapshot,
    clock,
    policy::{Policy, Snapshot},
};

pub use budgets::{Left, of_run as run_budget};
pub use key::{MaskKey, MaskKeyError};
pub use naming::KnownNaming;
pub use scope::{Protection, Scope, Who};
pub use standing::{KnownStanding, Standing};
pub use verdict::{Moves, Replacement, Verdict, admission_refusal};

use budgets::Budgets;
use cache::Key;
use counts::Counts;
use governed::{Judged, OrdersFor};
use naming::Namings;
use worker::Keep;

/// Decides for all sessions.
#[derive(Debug)]
pub struct Guard {
    policy: Arc<Policy>,
    journal: Arc<Journal>,
    durability: Durability,
    scopes: Mutex<HashMap<Arc<Who>, Arc<Scope>>>,
    next_scope: AtomicU64,
    namings: Namings,
    mask_key: MaskKey,
    budgets: Budgets,
    counts: Counts,
    /// Keys the hashes of bound values: they can be compared with each other while this agent lives, and mean nothing elsewhere.
    value_hash: std::hash::RandomState,
}

/// What of a session's state a decision depends on.
#[derive(Debug, Clone, Copy)]
pub struct SessionView<'a> {
    /// How it reads strings.
    pub modes: SessionModes,
    /// How it reads names.
    pub naming: &'a Arc<KnownNaming>,
    /// What its database holds, where that is needed and known.
    pub catalog: Option<&'a Arc<CatalogSnapshot>>,
    /// Whether it may know objects that the catalog does not show yet.
    pub defining: bool,
    /// How its log-in stands.
    pub standing: Standing,
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
    pub fn new(
        policy: Arc<Policy>,
        journal: Arc<Journal>,
        durability: Durability,
        mask_key: MaskKey,
    ) -> Self {
        Self {
            policy,
            journal,
            durability,
            scopes: Mutex::default(),
            next_scope: AtomicU64::new(1),
            namings: Namings::default(),
            mask_key,
            budgets: Budgets::default(),
            counts: Counts::default(),
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
        let id = self.next_scope.fetch_add(1, Ordering::Relaxed);
        let scope = Arc::new(Scope::new(id, Arc::clone(&who)));
        scopes.insert(who, Arc::clone(&scope));
        scope
    }

    /// The scope of a session whose log-in was renewed.
    pub fn scope_of_renewed(&self, scope: &Scope, identity: Identity) -> Arc<Scope> {
        let who = &scope.who;
        self.scope(Who {
            identity: Some(identity),
            process: who.process.clone(),
            target: who.target.clone(),
            budgets: who.budgets.clone(),
        })
    }

    /// Whether anything is refused at all.
    #[must_use]
    pub fn enforces(&self) -> bool {
        self.policy.current().pack.enforces()
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

    /// What the policy in force means for a scope before any statement; one load as long as the policy stays.
    #[must_use]
    pub fn protection(&self, scope: &Scope) -> Protection {
        scope
            .known_protection(self.policy.epoch())
            .unwrap_or_else(|| scope.ask_protection(&self.policy.current(), clock::now()))
    }

    /// How a session reads names, from now on.
    #[must_use]
    pub fn naming(&self, naming: Naming) -> Arc<KnownNaming> {
        self.namings.of(naming)
    }

    /// Decides a statement's text.
    #[inline]
    pub fn decide(&self, scope: &Scope, view: &SessionView<'_>, text: &[u8]) -> Arc<Verdict> {
        let protection = self.protection(scope);
        if protection.needs_catalog {
            self.decide_governed(scope, view, text, protection)
        } else {
            self.decide_plain(scope, view, text)
        }
    }

    /// Where neither columns nor classes matter.
    fn decide_plain(&self, scope: &Scope, view: &SessionView<'_>, text: &[u8]) -> Arc<Verdict> {
        let (modes, standing) = (view.modes, view.standing);
        let key = Key {
            text,
            shape: false,
            scope: scope.id,
            modes,
            naming: 0,
            epoch: self.policy.epoch(),
            catalog: 0,
            standing: standing.code,
        };
        worker::recall_or(&key, || {
            let facts = postgres::analyse(text, modes);
            let snapshot = self.policy.current();
            let decision = governed::decide(&snapshot, &scope.who, &facts, standing);
            // What somebody is to approve is one text, with its literals.
            let keep = if facts.literal_free && !decision.waits() {
                Keep::Shape
            } else {
                Keep::Text
            };
            let mut judged = Judged::plain(facts, decision);
            judged.steps = governed::steps(text, modes, &judged.facts, None);
            let basis = Basis {
                standing: standing.code,
                ..Basis::default()
            };
            (self.verdict(scope, &snapshot, text, judged, &basis), keep)
        })
    }

    /// Where they do. Texts of one shape share a verdict only where nothing is hidden in them: a rewritten text carries its
    /// literals.
    fn decide_governed(
        &self,
        scope: &Scope,
        view: &SessionView<'_>,
        text: &[u8],
        protection: Protection,
    ) -> Arc<Verdict> {
        let catalog = view.catalog.map_or(0, |snapshot| snapshot.epoch);
        let key = Key {
            text,
            shape: false,
            scope: scope.id,
            modes: view.modes,
            naming: view.naming.id,
            epoch: self.policy.epoch(),
            catalog,
            standing: view.standing.code,
        };
        worker::recall_or(&key, || {
            let snapshot = self.policy.current();
            let mut judged = self.judge(scope, view, &snapshot, text, protection);
            let known = view.catalog.map(|known| &known.catalog);
            judged.steps = governed::steps(text, view.modes, &judged.facts, known);
            let holds_for_its_shape = judged.holds_for_its_shape();
            let basis = Basis {
                protect: protection.hides,
                catalog: Some(catalog),
                naming: Some(view.naming),
                standing: view.standing.code,
            };
            let verdict = self.verdict(scope, &snapshot, text, judged, &basis);
            // What the session defines itself is not known to others, and what is not known may be made at any time: such a
            // verdict is for this once.
            let keep = match holds_for_its_shape {
                _ if view.defining || verdict.unknown => Keep::Not,
                true => Keep::Shape,
                false => Keep::Text,
            };
            (verdict, keep)
        })
    }

    fn judge(
        &self,
        scope: &Scope,
        view: &SessionView<'_>,
        snapshot: &Snapshot,
        text: &[u8],
        protection: Protection,
    ) -> Judged {
        let decide = |facts: &Facts| governed::decide(snapshot, &scope.who, facts, view.standing);
        let Some(known) = view.catalog else {
            let facts = postgres::analyse(text, view.modes);
            let decision = decide(&facts);
            return governed::judge_blind(facts, decision, protection);
        };
        let orders = OrdersFor {
            protection,
            key: &self.mask_key.0,
            reviewed_functions: snapshot.pack.reviewed_functions(),
        };
        governed::judge(text, view, &known.catalog, &orders, &decide)
    }

    /// Decides a request that is not a text weir can read.
    pub fn decide_opaque(
        &self,
        scope: &Scope,
        standing: Standing,
        kind: Kind,
        description: &str,
    ) -> Arc<Verdict> {
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
        self.decide_facts(scope, standing, facts)
    }

    /// The verdict for what only SQL named (`PREPARE`, `DECLARE`): its text was decided when it was made.
    pub fn made_by_sql(&self, scope: &Scope, standing: Standing) -> Arc<Verdict> {
        let facts = Facts {
            kinds: vec![Kind::Utility],
            normalised: "<execution of what SQL prepared or declared>".to_owned(),
            ..Facts::default()
        };
        self.decide_facts(scope, standing, facts)
    }

    fn decide_facts(&self, scope: &Scope, standing: Standing, facts: Facts) -> Arc<Verdict> {
        let snapshot = self.policy.current();
        let protection = self.protection(scope);
        let decision = governed::decide(&snapshot, &scope.who, &facts, standing);
        let judged = Judged::unseen(facts, decision, protection);
        let basis = Basis {
            protect: protection.hides,
            catalog: None,
            naming: None,
            standing: standing.code,
        };
        self.verdict(scope, &snapshot, b"", judged, &basis)
    }

    /// Whether no rule could refuse anything: then what cannot be read may pass.
    #[must_use]
    pub fn permits_everything(&self, scope: &Scope) -> bool {
        let snapshot = self.policy.current();
        let who = &scope.who;
        let identity = who.identity.as_ref();
        !self.protection(scope).needs_catalog
            && snapshot
                .pack
                .permits_everything(identity, &who.process, &who.target, clock::now())
    }

    /// Whether a verdict was taken for whom the session is of, under the policy in force, as their log-in stands, by the
    /// catalog that the session goes by, and with its names read as they are read now: the server reads those of a
    /// prepared statement anew.
    #[must_use]
    pub fn is_current(&self, scope: &Scope, verdict: &Verdict, view: &SessionView<'_>) -> bool {
        let known = view.catalog.map_or(0, |snapshot| snapshot.epoch);
        verdict.scope == scope.id
            && verdict.epoch == self.policy.epoch()
            && verdict.standing == view.standing.code
            && verdict.catalog.is_none_or(|epoch| epoch == known)
            && (verdict.naming.as_ref()).is_none_or(|naming| {
                naming.reads_alike(view.naming, &verdict.statement.decided.facts)
            })
    }

    /// Whether a result column that comes straight from this column of a relation must not be seen as it is: then the
    /// rewriting has missed it. Column zero is the whole row.
    #[must_use]
    pub fn is_hidden(
        &self,
        scope: &Scope,
        verdict: &Verdict,
        view: &SessionView<'_>,
        relation: u32,
        column: i16,
    ) -> bool {
        verdict.protect
            && view.catalog.is_some_and(|known| {
                let snapshot = self.policy.current();
                scope
                    .hidden
                    .of(&snapshot, known, &scope.who, view, relation)
                    .hides(column, |number| {
                        verdict.cleared.binary_search(&(relation, number)).is_ok()
                    })
            })
    }

    /// Something that rewriting should have made impossible was stopped on its way.
    pub fn incident(&self) {
        self.counts.incident();
    }

    /// What masking did since the agent's start.
    #[must_use]
    pub fn status(&self) -> serde_json::Value {
        self.counts.show()
    }

    /// Takes a statement that is about to run off its budgets; what they leave for its answer.
    ///
    /// # Errors
    ///
    /// One of them is used up.
    pub fn take(&self, scope: &Scope, verdict: &Verdict) -> Result<Left, Box<Refusal>> {
        let budgets = scope.budgets(verdict);
        self.budgets.take(&scope.payers, &budgets, clock::now())
    }

    /// What budgets leave while a statement runs.
    #[must_use]
    pub fn left(&self, scope: &Scope, verdict: &Verdict) -> Left {
        let budgets = scope.budgets(verdict);
        self.budgets.left(&scope.payers, &budgets, clock::now())
    }

    /// Takes what came back off the budgets; called while rows stream and once more at the end.
    pub fn spend(&self, scope: &Scope, verdict: &Verdict, rows: u64, bytes: u64) {
        let budgets = scope.budgets(verdict);
        let used = (rows, bytes);
        self.budgets
            .spend(&scope.payers, &budgets, used, clock::now());
    }

    /// A keyed hash of bound values.
    #[must_use]
    pub fn hash_values(&self, values: &[u8]) -> u64 {
        self.value_hash.hash_one(values)
    }

    /// A keyed hash of all that an approval of a text holds for; `parameters` is the hash of its values.
    #[must_use]
    pub fn hash_bound(&self, verdict: &Verdict, modes: SessionModes, parameters: u64) -> u64 {
        let sent = verdict.replacement.as_ref().map(|other| &other.text);
        self.value_hash
            .hash_one((verdict.basis(), verdict.text(), sent, modes, parameters))
    }

    fn verdict(
        &self,
        scope: &Scope,
        snapshot: &Snapshot,
        text: &[u8],
        judged: Judged,
        basis: &Basis<'_>,
    ) -> Arc<Verdict> {
        let refusal = verdict::refusal(&judged);
        self.count(&judged);
        let Judged {
            mut facts,
            mut decision,
            replacement,
            unknown,
            steps,
            cleared,
            ..
        } = judged;
        let classes = snapshot.pack.classified(&facts);
        let strict = self.durability == Durability::Strict
            || decision.waits()
            || deserves_sync(&scope.who, &facts)
            || classes.iter().any(is_confidential);
        let mut moves = Moves::of(&steps);
        // A function that nobody has looked into may do the same.
        moves.names |= basis.catalog.is_none() && facts.confidence > Confidence::Exact;
        verdict::forget_quotes(&mut facts, &mut decision);
        Arc::new(Verdict {
            refusal,
            changes_session: facts.changes_session,
            strict,
            replacement,
            obligations: decision.obligations.clone(),
            protect: basis.protect,
            defines: defines(&facts),
            unknown: unknown.is_some(),
            steps,
            moves,
            cleared: cleared.into(),
            scope: scope.id,
            epoch: snapshot.epoch,
            standing: basis.standing,
            catalog: basis.catalog,
            naming: basis.naming.cloned(),
            names: names_queries(&facts),
            clearance: None,
            text: text.into(),
            statement: self
                .journal
                .statement(facts, decision, &snapshot.digest, classes),
        })
    }

    fn count(&self, judged: &Judged) {
        if let Some(obstacle) = &judged.obstacle {
            self.counts.obstacle(&obstacle.reason);
        }
        if judged.replacement.is_some() {
            let obligations = &judged.decision.obligations;
            self.counts
                .rewritten(obligations.masks.len(), obligations.filters.len());
        }
    }
}

/// What a verdict rests on besides text and policy.
#[derive(Debug, Default)]
struct Basis<'a> {
    protect: bool,
    /// The catalog's epoch, zero when there was none; `None` when it played no part.
    catalog: Option<u64>,
    /// How the log-in stood.
    standing: u32,
    /// How names were read, where that played a part.
    naming: Option<&'a Arc<KnownNaming>>,
}

/// Whether the text gives names to queries in SQL, or makes views that only its session sees. In doubt it does.
fn names_queries(facts: &Facts) -> bool {
    let text = facts.normalised.as_bytes();
    let has = |word: &[u8]| {
        text.windows(word.len())
            .any(|window| window.eq_ignore_ascii_case(word))
    };
    has(b"prepare") || has(b"declare") || (facts.kinds.contains(&Kind::Create) && has(b"view"))
}

/// Whether the text makes, changes or removes what a catalog lists.
fn defines(facts: &Facts) -> bool {
    facts.confidence >= Confidence::Opaque
        || facts.kinds.iter().any(|kind| {
            matches!(
                kind,
                Kind::Create | Kind::Alter | Kind::Drop | Kind::Grant | Kind::Do | Kind::Call
            )
        })
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

/// The same goes for whatever touches this class or a part of it.
fn is_confidential(classed: &Classed) -> bool {
    classed.classes.iter().any(|class| class == "confidential")
}

/// Scopes that are remembered; a host has far fewer.
const MAX_SCOPES: usize = 10_000;

#[cfg(test)]
mod tests;
