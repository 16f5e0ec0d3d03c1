//! Decisions that rest on what a database holds: statement and catalog in, what may go on out.

use weir_policy::{Decision, Effect, Question, RuleId};
use weir_sql::{
    Confidence, Facts, Kind, RelationName, SessionModes, Use,
    catalog::{Catalog, Naming, Resolved},
    postgres::{self, Context, Obstacle, Orders, Outcome, Step},
};

use super::{Protection, SessionView, verdict::Replacement};

/// What was decided about a text.
pub(super) struct Judged {
    pub(super) facts: Facts,
    pub(super) decision: Decision,
    pub(super) replacement: Option<Replacement>,
    /// What to write instead, where nothing can be hidden in the text faithfully.
    pub(super) obstacle: Option<Obstacle>,
    /// A relation that the catalog does not know.
    pub(super) unknown: Option<RelationName>,
    /// What the text does to how names are read.
    pub(super) steps: Vec<Step>,
    /// Columns within reach that stay as they are, by relation and number, sorted.
    pub(super) cleared: Vec<(u32, i16)>,
}

/// Reads a text by the session's catalog, asks `decide`, and rewrites.
pub(super) fn judge(
    text: &[u8],
    view: &SessionView<'_>,
    catalog: &Catalog,
    orders: &OrdersFor<'_>,
    decide: &dyn Fn(&Facts) -> Decision,
) -> Judged {
    let naming = &view.naming.naming;
    let context = Context {
        modes: view.modes,
        catalog,
        naming,
    };
    let mut taken = None;
    let governed = postgres::govern(text, &context, &mut |facts| {
        let decision = decide(facts);
        let orders = orders.of(&decision);
        taken = Some(decision);
        orders
    });
    let facts = governed.facts;
    let decision = taken.unwrap_or_else(|| decide(&facts));
    let mut judged = Judged::plain(facts, decision);
    if !judged.decision.permits() {
        return judged;
    }
    match governed.outcome {
        Ok(Outcome::Unchanged) => {}
        Ok(Outcome::Rewritten(rewritten)) => {
            judged.replacement = Some(Replacement {
                text: rewritten.text.into_bytes().into(),
                edits: rewritten.edits,
            });
        }
        Err(obstacle) => {
            judged.refuse(obstacle);
            return judged;
        }
    }
    if orders.protection.hides {
        judged.cleared = cleared(&judged, catalog);
        if judged.facts.confidence >= Confidence::Opaque {
            judged.refuse(opaque(judged.facts.confidence));
        } else if !view.defining {
            judged.unknown = unknown(&judged.facts, catalog, naming);
        }
    }
    judged
}

/// The same without a catalog: what touches no data may go on, all else is refused to whom anything is hidden from.
pub(super) fn judge_blind(facts: Facts, decision: Decision, protection: Protection) -> Judged {
    let mut judged = Judged::plain(facts, decision);
    if judged.decision.permits() && protection.hides && !touches_nothing(&judged.facts) {
        judged.refuse(Obstacle {
            reason: "what this database holds cannot be read, so nothing can be hidden in it"
                .to_owned(),
            hint: "in a transaction, end it and run this again; else ask the operator of this host: \"weir status\" shows why"
                .to_owned(),
        });
    }
    judged
}

impl Judged {
    /// Nothing is to be done with the text.
    pub(super) fn plain(facts: Facts, decision: Decision) -> Self {
        Self {
            facts,
            decision,
            replacement: None,
            obstacle: None,
            unknown: None,
            steps: Vec::new(),
            cleared: Vec::new(),
        }
    }

    /// A request without a text that could be read.
    pub(super) fn unseen(facts: Facts, decision: Decision, protection: Protection) -> Self {
        let mut judged = Self::plain(facts, decision);
        let seen_through = judged.facts.confidence < Confidence::Opaque;
        if judged.decision.permits() && protection.hides && !seen_through {
            let confidence = judged.facts.confidence;
            judged.refuse(opaque(confidence));
        }
        judged
    }

    /// Whether every text that differs in literals only would be judged alike: names decide what is hidden, and what
    /// calls functions or changes settings may mean something by a literal.
    pub(super) fn holds_for_its_shape(&self) -> bool {
        let facts = &self.facts;
        facts.literal_free
            && facts.confidence == Confidence::Exact
            && facts.functions.is_empty()
            && facts.kinds.iter().all(|kind| {
                matches!(
                    kind,
                    Kind::Select | Kind::Insert | Kind::Update | Kind::Delete
                )
            })
            && self.replacement.is_none()
            && self.obstacle.is_none()
            // What somebody is to approve is one text.
            && !self.decision.waits()
    }

    fn refuse(&mut self, obstacle: Obstacle) {
        self.decision = Decision {
            effect: Effect::Deny {
                reason: obstacle.reason.clone(),
            },
            rules: vec![RuleId(MASKING.to_owned())],
            would: Vec::new(),
            tags: std::mem::take(&mut self.decision.tags),
            obligations: std::mem::take(&mut self.decision.obligations),
            step_up: None,
        };
        self.replacement = None;
        self.obstacle = Some(obstacle);
    }
}

/// What a text does to how names are read; almost all texts can be told to do nothing from what is known of them already.
pub(super) fn steps(
    text: &[u8],
    modes: SessionModes,
    facts: &Facts,
    catalog: Option<&Catalog>,
) -> Vec<Step> {
    let may = facts.changes_session
        || facts.confidence >= Confidence::Opaque
        || facts.kinds.iter().any(|kind| {
            matches!(
                kind,
                Kind::Create
                    | Kind::Alter
                    | Kind::Drop
                    | Kind::Set
                    | Kind::Transaction
                    | Kind::Call
                    | Kind::Do
                    | Kind::Explain
            )
        });
    let mut steps = if may {
        postgres::steps(text, modes)
    } else {
        Vec::new()
    };
    if let Some(catalog) = catalog {
        steps.extend(postgres::steps_of_functions(facts, catalog));
    }
    steps
}

/// What follows from a decision for the text.
pub(super) struct OrdersFor<'a> {
    pub(super) protection: Protection,
    pub(super) key: &'a [u8; 32],
    pub(super) reviewed_functions: &'a [String],
}

impl OrdersFor<'_> {
    fn of(&self, decision: &Decision) -> Orders {
        if !decision.permits() {
            // It goes nowhere: nothing is to be rewritten.
            return Orders::default();
        }
        let protect = self.protection.hides;
        decision
            .obligations
            .orders(protect, self.reviewed_functions, self.key)
    }
}

/// A question that is asked while a text is read.
pub(super) fn decide(
    snapshot: &crate::policy::Snapshot,
    who: &super::Who,
    facts: &Facts,
    standing: super::Standing,
) -> Decision {
    snapshot.pack.decide(&Question {
        identity: who.identity.as_ref(),
        process: &who.process,
        target: &who.target,
        facts,
        now: standing.time(),
        stale: standing.stale,
    })
}

fn opaque(confidence: Confidence) -> Obstacle {
    let what = match confidence {
        Confidence::Unparsed => "weir cannot read it",
        _ => "it runs code that its text does not show",
    };
    Obstacle {
        reason: format!("nothing can be hidden in this statement: {what}"),
        hint: "write the query itself".to_owned(),
    }
}

fn touches_nothing(facts: &Facts) -> bool {
    facts.confidence == Confidence::Exact
        && facts.relations.is_empty()
        && facts.functions.is_empty()
        && facts
            .kinds
            .iter()
            .all(|kind| matches!(kind, Kind::Select | Kind::Transaction))
}

fn cleared(judged: &Judged, catalog: &Catalog) -> Vec<(u32, i16)> {
    let masks = &judged.decision.obligations.masks;
    let mut cleared: Vec<_> = judged
        .facts
        .reachable
        .iter()
        .map(|reachable| &reachable.column)
        .filter(|name| !masks.iter().any(|mask| mask.column == **name))
        .filter_map(|name| {
            let relation = catalog.relation(&name.schema, &name.relation)?;
            Some((relation.oid, relation.column(&name.column)?.number))
        })
        .collect();
    cleared.sort_unstable();
    cleared
}

/// The first relation whose rows are read or written and that is not there as far as the catalog goes.
fn unknown(facts: &Facts, catalog: &Catalog, naming: &Naming) -> Option<RelationName> {
    let made_here = |name: &RelationName| {
        facts
            .relations
            .iter()
            .any(|other| other.usage == Use::Define && other.relation.name == name.name)
    };
    facts
        .relations
        .iter()
        .filter(|used| used.usage != Use::Define)
        .map(|used| &used.relation)
        .find(|name| {
            matches!(
                catalog.resolve(naming, name.schema.as_deref(), &name.name),
                Resolved::Unknown
            ) && !made_here(name)
        })
        .cloned()
}

/// Stands for the rewriting among the rules of a refusal.
const MASKING: &str = "masking";
