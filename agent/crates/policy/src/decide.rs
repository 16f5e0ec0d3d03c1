//! From a question to a decision: every rule is asked, and the strictest answer holds.

use std::time::Duration;

use weir_sql::{Confidence, Facts, Kind};

use crate::{
    conditions::{Focus, StepUp, Truth},
    decision::{Decision, Effect, Obligations, RuleId},
    obligations::{Gathered, Hiding},
    pack::{Compiled, Pack},
    principal::{Identity, Process, Target},
    rule::{DEFAULT, ON_OPAQUE, Rule},
    schema::{Answer, Mode},
    view::{ActorView, Reading, View, actors},
};

/// One request of somebody, with a program, on a database.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// Who; `None` when nobody vouches for the process.
    pub identity: Option<&'a Identity>,
    /// With which program.
    pub process: &'a Process,
    /// On which database.
    pub target: &'a Target,
    /// What the request does.
    pub facts: &'a Facts,
    /// Since the epoch; exemptions end by it, and log-ins age.
    pub now: Duration,
    /// Whether the identity provider could not be asked lately whether the log-in still holds.
    pub stale: bool,
}

impl Pack {
    /// Decides one request. For a delegated agent the decision is taken for the principal and for each actor, and the
    /// strictest one holds.
    #[must_use]
    pub fn decide(&self, question: &Question<'_>) -> Decision {
        let reading = Reading::new(question.facts, &self.classifier);
        let mut answers = Answers::default();
        for actor in actors(question.identity, &self.compiled.groups) {
            let view = self.statement(&actor, question, &reading);
            self.ask(&view, &reading, &mut answers);
        }
        answers.settle(&self.compiled, question.facts)
    }

    /// Decides whether the connection may begin at all: refused when no statement could be allowed on it.
    #[must_use]
    pub fn admit(
        &self,
        identity: Option<&Identity>,
        process: &Process,
        target: &Target,
        now: Duration,
    ) -> Decision {
        let mut answers = Answers::default();
        for actor in actors(identity, &self.compiled.groups) {
            let view = self.connection(&actor, process, target, now);
            let mut possible = self.compiled.defaults.effect == Answer::Allow;
            for rule in &self.compiled.rules {
                match (rule.evaluate(&view), rule.mode) {
                    (Truth::No, _) => {}
                    (_, Mode::Enforce) if rule.effects.allow => possible = true,
                    (Truth::Yes, _) if !rule.effects.allow => answers.add(rule),
                    _ => {}
                }
            }
            answers.uncovered |= !possible;
        }
        answers.settle_connection(&self.compiled)
    }

    /// Whether no rule could refuse or change any request on such a connection: then a text that is too long or cannot
    /// be parsed may go on.
    #[must_use]
    pub fn permits_everything(
        &self,
        identity: Option<&Identity>,
        process: &Process,
        target: &Target,
        now: Duration,
    ) -> bool {
        let defaults = &self.compiled.defaults;
        actors(identity, &self.compiled.groups).all(|actor| {
            let view = self.connection(&actor, process, target, now);
            let mut truths = self
                .compiled
                .rules
                .iter()
                .filter(|rule| rule.mode == Mode::Enforce)
                .map(|rule| (rule, rule.evaluate(&view)));
            let mut granted = defaults.mode == Mode::Observe || defaults.effect == Answer::Allow;
            let restricted = truths.any(|(rule, truth)| {
                granted |= rule.effects.allow && truth == Truth::Yes;
                rule.effects.restricts() && truth != Truth::No
            });
            let opaque = defaults.mode == Mode::Observe || defaults.on_opaque == Answer::Allow;
            !restricted && granted && opaque
        })
    }

    /// Whether a rule could keep this principal from data on this database, by a mask, a filter, or by refusing what
    /// touches it: then whatever could read around the text of a statement is to be refused.
    #[must_use]
    pub fn hides(
        &self,
        identity: Option<&Identity>,
        process: &Process,
        target: &Target,
        now: Duration,
    ) -> bool {
        actors(identity, &self.compiled.groups).any(|actor| {
            let view = self.connection(&actor, process, target, now);
            self.compiled.rules.iter().any(|rule| {
                rule.mode == Mode::Enforce && rule.protects() && rule.evaluate(&view) != Truth::No
            })
        })
    }

    /// Whether what is decided for this principal on this database may depend on what the database holds.
    #[must_use]
    pub fn depends_on_catalog(
        &self,
        identity: Option<&Identity>,
        process: &Process,
        target: &Target,
        now: Duration,
    ) -> bool {
        actors(identity, &self.compiled.groups).any(|actor| {
            let view = self.connection(&actor, process, target, now);
            self.compiled
                .rules
                .iter()
                .any(|rule| rule.needs_catalog() && rule.evaluate(&view) != Truth::No)
        })
    }

    /// One of those behind a request, with all that it is about.
    pub(crate) fn statement<'a>(
        &'a self,
        actor: &'a ActorView<'a>,
        question: &'a Question<'_>,
        reading: &'a Reading<'a>,
    ) -> View<'a> {
        View {
            actor,
            process: question.process,
            target: question.target,
            reading: Some(reading),
            focus: Focus::Statement,
            classifier: &self.classifier,
            now: question.now,
            stale: Some(question.stale),
        }
    }

    fn connection<'a>(
        &'a self,
        actor: &'a ActorView<'a>,
        process: &'a Process,
        target: &'a Target,
        now: Duration,
    ) -> View<'a> {
        View {
            actor,
            process,
            target,
            reading: None,
            focus: Focus::Some,
            classifier: &self.classifier,
            now,
            stale: None,
        }
    }

    fn ask<'p, 'f>(
        &'p self,
        view: &View<'_>,
        reading: &Reading<'f>,
        answers: &mut Answers<'p, 'f>,
    ) {
        let defaults = &self.compiled.defaults;
        let mut granted = false;
        let mut seen_through =
            reading.facts.confidence < Confidence::Opaque || defaults.on_opaque == Answer::Allow;
        for (rule, gate) in self.compiled.rules.iter().zip(&self.compiled.gates) {
            if !gate.passes(view) {
                continue;
            }
            if rule.effects.hides() && rule.evaluate(&view.focused(Focus::Some)) != Truth::No {
                answers.hide(rule, view, reading);
            }
            if !rule.effects.judges() {
                continue;
            }
            match rule.evaluate(view) {
                Truth::No if rule.effects.allow => answers.wish(rule, view),
                Truth::No => {}
                Truth::Yes if rule.effects.allow => {
                    if rule.mode == Mode::Enforce {
                        granted = true;
                        seen_through |= rule.names_confidence();
                        answers.grants.push(rule);
                    }
                }
                // What may not hold grants nothing.
                Truth::Maybe if rule.effects.allow => {}
                Truth::Maybe if rule.mode == Mode::Enforce && rule.is_denial() => {
                    answers.doubts.push(rule);
                }
                Truth::Maybe | Truth::Yes => {
                    if rule.is_denial() && rule.mode == Mode::Enforce {
                        answers.steps.push(rule.step_up(view));
                    }
                    answers.add(rule);
                }
            }
        }
        answers.uncovered |= !granted && defaults.effect == Answer::Deny;
        answers.opaque |= !seen_through;
    }
}

/// What the rules say, for all who act.
#[derive(Default)]
struct Answers<'p, 'f> {
    denials: Vec<&'p Rule>,
    /// Would deny if the text says what it may say.
    doubts: Vec<&'p Rule>,
    observed: Vec<&'p Rule>,
    grants: Vec<&'p Rule>,
    tagging: Vec<&'p Rule>,
    gathered: Gathered<'p, 'f>,
    /// What these hide could be read, and it is not known what is.
    veiled: Vec<&'p Rule>,
    /// Nothing allows it for one of those who act.
    uncovered: bool,
    /// It cannot be seen through, and nothing allows that.
    opaque: bool,
    /// For each denial, what a new log-in would have to bring to lift it.
    steps: Vec<Option<StepUp>>,
    /// What a new log-in would have to bring for a rule to allow it.
    wished: Option<StepUp>,
}

impl<'p, 'f> Answers<'p, 'f> {
    fn hide(&mut self, rule: &'p Rule, view: &View<'_>, reading: &Reading<'f>) {
        if rule.mode == Mode::Observe {
            let mut aside = Gathered::default();
            if aside.hide(rule, view, reading) != Hiding::Nothing {
                self.observed.push(rule);
            }
        } else if self.gathered.hide(rule, view, reading) == Hiding::Unknown {
            self.veiled.push(rule);
        }
    }

    fn add(&mut self, rule: &'p Rule) {
        match rule.mode {
            Mode::Observe if rule.effects.stops() || rule.effects.limits() => {
                self.observed.push(rule);
            }
            Mode::Observe => {}
            Mode::Enforce => {
                if rule.is_denial() {
                    self.denials.push(rule);
                }
                self.gathered.hold(rule);
                if rule.effects.limits() {
                    self.gathered.limit(rule);
                }
                if !rule.effects.tags.is_empty() {
                    self.tagging.push(rule);
                }
            }
        }
    }

    /// A rule that does not allow the request, but would after another log-in.
    fn wish(&mut self, rule: &'p Rule, view: &View<'_>) {
        if rule.mode == Mode::Enforce && self.wished.is_none() {
            self.wished = rule.step_up(view);
        }
    }

    /// What would lift all denials; nothing where one of them stays.
    fn lifted(&self) -> Option<StepUp> {
        let mut all: Option<StepUp> = None;
        for step in &self.steps {
            let step = step.clone()?;
            all = Some(match all {
                None => step,
                Some(all) => all.and(step),
            });
        }
        all
    }

    fn settle(mut self, pack: &Compiled, facts: &'f Facts) -> Decision {
        if !self.denials.is_empty() {
            let mut decision = self.deny(reasons(&self.denials), ids(&self.denials));
            decision.step_up = self.lifted();
            return decision;
        }
        let enforced = pack.defaults.mode == Mode::Enforce;
        if self.opaque && enforced {
            return self.deny(opaque_reason(facts), by_default(ON_OPAQUE));
        }
        if !self.doubts.is_empty() {
            return self.deny(doubt_reason(facts), ids(&self.doubts));
        }
        if !self.veiled.is_empty() {
            let reason = format!("{}, and data is hidden here", unknown_reason(facts));
            return self.deny(reason, ids(&self.veiled));
        }
        if self.uncovered && enforced {
            let mut decision = self.deny("no rule allows this".to_owned(), by_default(DEFAULT));
            decision.step_up.clone_from(&self.wished);
            return decision;
        }
        if let Some((rule, claim)) = self.gathered.lacking.first() {
            let reason = format!(
                "rows are chosen by the claim `{claim}`, which this identity lacks; ask whoever runs the identity provider"
            );
            let rules = vec![rule.id.clone()];
            return self.deny(reason, rules);
        }
        let gathered = std::mem::take(&mut self.gathered);
        let mut decision = self.allow();
        decision.rules.extend(gathered.rule_ids());
        decision.rules.sort_unstable();
        decision.rules.dedup();
        decision.obligations = gathered.settle(facts);
        decision
    }

    fn settle_connection(self, pack: &Compiled) -> Decision {
        if !self.denials.is_empty() {
            return self.deny(reasons(&self.denials), ids(&self.denials));
        }
        if self.uncovered && pack.defaults.mode == Mode::Enforce {
            return self.deny(
                "no rule allows anything on this connection".to_owned(),
                by_default(DEFAULT),
            );
        }
        self.allow()
    }

    fn allow(&self) -> Decision {
        let rules = if self.grants.is_empty() {
            by_default(DEFAULT)
        } else {
            ids(&self.grants)
        };
        let mut would = ids(&self.observed);
        // The defaults only get here when they observe.
        would.extend(self.opaque.then(|| RuleId(ON_OPAQUE.to_owned())));
        would.extend(self.uncovered.then(|| RuleId(DEFAULT.to_owned())));
        Decision {
            effect: Effect::Allow,
            rules,
            would,
            tags: self.tags(),
            obligations: Obligations::default(),
            step_up: None,
        }
    }

    fn deny(&self, reason: String, rules: Vec<RuleId>) -> Decision {
        // What only observes cannot make a refusal stricter.
        Decision {
            effect: Effect::Deny { reason },
            rules,
            would: Vec::new(),
            tags: self.tags(),
            obligations: Obligations::default(),
            step_up: None,
        }
    }

    fn tags(&self) -> Vec<String> {
        let mut tags: Vec<_> = self
            .tagging
            .iter()
            .flat_map(|rule| rule.effects.tags.iter().cloned())
            .collect();
        tags.sort_unstable();
        tags.dedup();
        tags
    }
}

/// The texts of all rules that deny, in the order of their ids: the order of files must not show.
fn reasons(denials: &[&Rule]) -> String {
    let mut sorted = denials.to_vec();
    sorted.sort_by_key(|rule| &rule.id);
    let mut texts: Vec<String> = Vec::new();
    for rule in sorted {
        let text = rule.reason();
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    texts.join("; ")
}

fn ids(rules: &[&Rule]) -> Vec<RuleId> {
    let mut ids: Vec<_> = rules.iter().map(|rule| rule.id.clone()).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

fn by_default(word: &str) -> Vec<RuleId> {
    vec![RuleId(word.to_owned())]
}

fn opaque_reason(facts: &Facts) -> String {
    match (&facts.confidence, &facts.parse_error) {
        (Confidence::Unparsed, Some(error)) => format!("the statement cannot be parsed: {error}"),
        (Confidence::Unparsed, None) => "the statement cannot be parsed".to_owned(),
        _ => "the statement runs code that its text does not show, and no rule allows that"
            .to_owned(),
    }
}

fn doubt_reason(facts: &Facts) -> String {
    format!("{}, and a rule could forbid it", unknown_reason(facts))
}

fn unknown_reason(facts: &Facts) -> String {
    if facts.confidence >= Confidence::Opaque || facts.kinds.contains(&Kind::Unknown) {
        return opaque_reason(facts);
    }
    if facts.resolved {
        "a condition of a rule cannot be evaluated for this statement".to_owned()
    } else {
        "the database's catalog is not known, so neither is what the statement reads".to_owned()
    }
}

#[cfg(test)]
mod tests;
