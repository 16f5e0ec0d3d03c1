//! Why a decision is what it is: the rules that matched, and those that nearly did.

use serde::Serialize;

use crate::{
    conditions::{Check, Focus, Stance, Truth},
    decide::Question,
    decision::{Decision, Obligations, RuleId},
    finding::Place,
    obligations::{Gathered, Hiding},
    pack::Pack,
    rule::Rule,
    schema::Mode,
    view::{Reading, View, actors},
};

/// A decision with what led to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// What was decided.
    pub decision: Decision,
    /// Rules that matched.
    pub matched: Vec<RuleTrace>,
    /// Rules that failed in exactly one field.
    pub near_misses: Vec<RuleTrace>,
}

/// One rule, held against one question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RuleTrace {
    /// Which.
    pub rule: RuleId,
    /// Where it is written.
    pub place: Place,
    /// Whether it acts or observes.
    pub mode: Mode,
    /// `allow`, `deny`, …
    pub effect: String,
    /// Why the rule is there.
    pub why: Option<String>,
    /// For whom it was asked, where somebody acts for somebody else.
    pub actor: Option<String>,
    /// Every field: what was asked, what was found.
    pub checks: Vec<Check>,
    /// The field that failed, of a near miss.
    pub failed: Option<String>,
    /// What it hides of what the statement can reach, `column: mask` or `relation: condition`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hidden: Vec<String>,
}

impl Pack {
    /// Decides, and says why.
    #[must_use]
    pub fn explain(&self, question: &Question<'_>) -> Explanation {
        let reading = Reading::new(question.facts, &self.classifier);
        let delegated = question
            .identity
            .is_some_and(|identity| !identity.actors.is_empty());
        let mut matched = Vec::new();
        let mut near_misses = Vec::new();
        for actor in actors(question.identity, &self.compiled.groups) {
            let name = actor.subject.filter(|_| delegated).map(str::to_owned);
            let view = self.statement(&actor, question, &reading);
            for rule in &self.compiled.rules {
                let mut trace = trace(rule, &view, question, name.clone());
                if holds(rule, &view, &reading, &mut trace) {
                    matched.push(trace);
                    continue;
                }
                let mut failures = trace.checks.iter().filter(|check| !check.holds);
                if let (Some(failure), None) = (failures.next(), failures.next()) {
                    trace.failed = Some(failure.field.clone());
                    near_misses.push(trace);
                }
            }
        }
        Explanation {
            decision: self.decide(question),
            matched,
            near_misses,
        }
    }
}

/// Whether the rule holds; for one that hides data, also of what.
fn holds(rule: &Rule, view: &View<'_>, reading: &Reading<'_>, trace: &mut RuleTrace) -> bool {
    let mut holds = rule.effects.judges()
        && match rule.evaluate(view) {
            Truth::Yes => true,
            Truth::Maybe => rule.stance() == Stance::Restrict,
            Truth::No => false,
        };
    if rule.effects.hides() && rule.evaluate(&view.focused(Focus::Some)) != Truth::No {
        let mut gathered = Gathered::default();
        let hiding = gathered.hide(rule, view, reading);
        holds |= hiding != Hiding::Nothing;
        trace.hidden = hidden(&gathered.settle(reading.facts));
        // What is hidden is decided over all that is within reach, whether or not the text names it.
        for check in &mut trace.checks {
            if SELECTING.contains(&check.field.as_str()) {
                check.holds = hiding != Hiding::Nothing;
            }
        }
    }
    holds
}

fn hidden(found: &Obligations) -> Vec<String> {
    let masks = found.masks.iter().map(ToString::to_string);
    let filters = found.filters.iter().map(ToString::to_string);
    masks.chain(filters).collect()
}

/// Fields that say which columns a mask or filter is about.
const SELECTING: &[&str] = &["classes", "columns", "relation"];

fn trace(
    rule: &Rule,
    view: &View<'_>,
    question: &Question<'_>,
    actor: Option<String>,
) -> RuleTrace {
    let stance = rule.stance();
    let mut checks: Vec<_> = rule
        .matching
        .matchers
        .iter()
        .map(|matcher| matcher.check(view, stance))
        .collect();
    for exception in rule.exceptions(question.now) {
        checks.push(exception_check(exception, view, stance.opposite()));
    }
    RuleTrace {
        rule: rule.id.clone(),
        place: rule.place.clone(),
        mode: rule.mode,
        effect: rule.effects.words().join(", "),
        why: rule.why.clone(),
        actor,
        checks,
        failed: None,
        hidden: Vec::new(),
    }
}

/// An exception as one check, which holds when the exception does not.
fn exception_check(
    exception: &crate::conditions::Conditions,
    view: &View<'_>,
    stance: Stance,
) -> Check {
    let fields: Vec<_> = exception
        .matchers
        .iter()
        .map(|matcher| matcher.check(view, stance))
        .collect();
    let join = |part: fn(&Check) -> &String| {
        let parts: Vec<_> = fields
            .iter()
            .map(|check| format!("{} {}", check.field, part(check)))
            .collect();
        parts.join(", ")
    };
    Check {
        field: "unless".to_owned(),
        wanted: format!("not ({})", join(|check| &check.wanted)),
        found: join(|check| &check.found),
        holds: fields.iter().any(|check| !check.holds),
    }
}
