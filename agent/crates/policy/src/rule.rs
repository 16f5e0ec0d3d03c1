//! A rule, ready to be held against a question.

use std::time::Duration;

use time::{
    Date, OffsetDateTime, format_description::well_known::Rfc3339, macros::format_description,
};

use crate::{
    bits::Bits,
    conditions::{Conditions, Known, Matcher, Stance, StepUp, Truth, When},
    decision::RuleId,
    finding::{Finding, Place, suggest},
    masking::{self, MaskPlan},
    pattern::Agreement,
    schema::{Effects, ExemptText, Mode, RuleText},
    template::Template,
    view::View,
};

/// One rule of a pack.
#[derive(Debug)]
pub struct Rule {
    /// Unique in its pack.
    pub id: RuleId,
    /// Why it is there, for people to read.
    pub why: Option<String>,
    /// Where it is written.
    pub place: Place,
    /// Whether it acts or observes.
    pub mode: Mode,
    /// What it does.
    pub effects: Effects,
    pub(crate) matching: Conditions,
    pub(crate) unless: Option<Conditions>,
    pub(crate) exemptions: Vec<Exemption>,
    pub(crate) masking: MaskPlan,
    pub(crate) filter: Option<Template>,
    /// Whether an exception depends on which column is meant.
    selective: bool,
    /// Classes of which a column must have one.
    wanted: Option<Bits>,
}

/// An exception with a reason and an end.
#[derive(Debug)]
pub(crate) struct Exemption {
    pub(crate) matching: Conditions,
    pub(crate) reason: String,
    /// Since the epoch.
    pub(crate) expires: Duration,
    pub(crate) place: Place,
}

impl Rule {
    /// Compiles one rule; what is wrong with it is added to `findings`.
    pub(crate) fn compile(
        text: RuleText,
        mode: Mode,
        known: &Known<'_>,
        file: &str,
        findings: &mut Vec<Finding>,
    ) -> Self {
        let place = Place::new(file, text.id.referenced);
        check_id(&text.id.value, &place, findings);
        let mut matching = Conditions::compile(&text.matching.value, known, &place, findings);
        let unless = text.unless.map(|unless| {
            let place = Place::new(file, unless.referenced);
            let conditions = Conditions::compile(&unless.value, known, &place, findings);
            if conditions.matchers.is_empty() {
                findings.push(place.error(
                    "an empty `unless` holds always, so the rule never would",
                    "name what is excepted, or remove the field",
                ));
            }
            conditions
        });
        let exemptions: Vec<_> = text
            .exempt
            .into_iter()
            .map(|exempt| {
                Exemption::compile(
                    exempt.value,
                    known,
                    &Place::new(file, exempt.referenced),
                    findings,
                )
            })
            .collect();
        if let Some(when) = &text.when {
            let place = Place::new(file, when.referenced);
            let when = When::compile(&when.value, &place, findings);
            matching
                .matchers
                .extend(when.map(Box::new).map(Matcher::When));
        }
        let effects = text.effect.value;
        let filter = effects.filter.as_ref().map(|written| {
            let place = Place::new(file, text.effect.referenced);
            Template::compile(written, &place, findings)
        });
        let rule = Self {
            id: RuleId(text.id.value),
            why: text.why,
            place,
            mode,
            masking: MaskPlan::new(&effects.mask, known.classes),
            filter,
            effects,
            selective: unless
                .iter()
                .chain(
                    exemptions
                        .iter()
                        .map(|exemption: &Exemption| &exemption.matching),
                )
                .any(Conditions::has_selectors),
            wanted: matching.wanted_classes(),
            matching,
            unless,
            exemptions,
        };
        rule.check(findings);
        rule
    }

    /// A rule that allows works as a grant; every other one restricts.
    pub(crate) fn stance(&self) -> Stance {
        if self.effects.allow {
            Stance::Grant
        } else {
            Stance::Restrict
        }
    }

    pub(crate) fn is_denial(&self) -> bool {
        self.effects.deny.is_some()
    }

    /// What the client reads when the rule refuses.
    pub(crate) fn reason(&self) -> String {
        self.effects.deny.clone().unwrap_or_default()
    }

    pub(crate) fn evaluate(&self, view: &View<'_>) -> Truth {
        let stance = self.stance();
        let mut truth = self.matching.evaluate(view, stance);
        for exception in self.exceptions(view.now) {
            if truth == Truth::No {
                break;
            }
            truth = truth.min(exception.evaluate(view, stance.opposite()).not());
        }
        truth
    }

    /// What a new log-in would have to bring for a rule that allows to allow, or for one that restricts to except.
    pub(crate) fn step_up(&self, view: &View<'_>) -> Option<StepUp> {
        if self.effects.allow {
            return self.matching.step_up(view).filter(|_| {
                self.exceptions(view.now)
                    .all(|exception| exception.evaluate(view, Stance::Restrict) == Truth::No)
            });
        }
        self.exceptions(view.now)
            .find_map(|exception| exception.step_up(view))
    }

    /// How old a log-in may be for its fields to hold, each limit that is named.
    pub(crate) fn auth_age_limits(&self) -> impl Iterator<Item = Duration> {
        self.all_matchers().filter_map(|matcher| match matcher {
            Matcher::MaxAuthAge(limit) => Some(*limit),
            _ => None,
        })
    }

    /// Whether a column with these classes can be meant at all: the quick answer for most columns.
    pub(crate) fn may_mean(&self, classes: &Bits) -> bool {
        self.wanted
            .as_ref()
            .is_none_or(|wanted| classes.intersects(wanted))
    }

    /// Whether a relation of that name, in a schema that is not known, could be meant.
    pub(crate) fn may_mean_relation(&self, name: &str) -> bool {
        self.matching.matchers.iter().all(|matcher| match matcher {
            Matcher::Relations(patterns) => patterns
                .iter()
                .any(|pattern| pattern.agreement(None, name) != Agreement::No),
            _ => true,
        })
    }

    /// Whether a rule that may hold for some column of what is read holds for the one in view.
    pub(crate) fn selects(&self, view: &View<'_>) -> bool {
        let stance = self.stance();
        self.matching.selects(view, stance)
            && (!self.selective
                || self
                    .exceptions(view.now)
                    .all(|exception| exception.evaluate(view, stance.opposite()) != Truth::Yes))
    }

    /// What lifts the rule at this time.
    pub(crate) fn exceptions(&self, now: Duration) -> impl Iterator<Item = &Conditions> {
        self.unless.iter().chain(
            self.exemptions
                .iter()
                .filter(move |exemption| now < exemption.expires)
                .map(|exemption| &exemption.matching),
        )
    }

    /// Whether what it says depends on the columns that a statement names or can reach.
    pub(crate) fn needs_catalog(&self) -> bool {
        self.effects.hides()
            || self.all_matchers().any(|matcher| {
                matches!(
                    matcher,
                    Matcher::Classes(_) | Matcher::Columns { .. } | Matcher::Joins(_)
                )
            })
    }

    /// Whether it keeps somebody from data: by a mask or filter, or by refusing what touches it.
    pub(crate) fn protects(&self) -> bool {
        self.effects.hides()
            || (self.effects.stops()
                && self.matching.matchers.iter().any(|matcher| {
                    matches!(matcher, Matcher::Classes(_) | Matcher::Columns { .. })
                }))
    }

    /// When a field that depends on the time changes next, since the epoch.
    pub(crate) fn next_change(&self, now: Duration) -> Option<Duration> {
        self.all_matchers()
            .filter_map(|matcher| match matcher {
                Matcher::Time(window) => Some(window.next_change(now)),
                Matcher::When(when) if when.asks_for_now() => {
                    Some(Duration::from_secs((now.as_secs() / 60 + 1) * 60))
                }
                _ => None,
            })
            .min()
    }

    pub(crate) fn all_matchers(&self) -> impl Iterator<Item = &Matcher> {
        let exemptions = self.exemptions.iter().map(|exemption| &exemption.matching);
        std::iter::once(&self.matching)
            .chain(&self.unless)
            .chain(exemptions)
            .flat_map(|conditions| &conditions.matchers)
    }

    /// The classes that it names, anywhere.
    pub(crate) fn class_names(&self) -> impl Iterator<Item = &String> {
        let matched = self.all_matchers().flat_map(Matcher::class_names);
        let masked = self.effects.mask.keys();
        matched.chain(masked.filter(|class| *class != masking::DEFAULT))
    }

    /// Whether the rule speaks of statements that cannot be seen through, which nothing else can allow.
    pub(crate) fn names_confidence(&self) -> bool {
        self.matching
            .matchers
            .iter()
            .any(|matcher| matches!(matcher, Matcher::Confidence { .. }))
    }

    fn check(&self, findings: &mut Vec<Finding>) {
        if self.effects.allow && !self.exemptions.is_empty() {
            findings.push(self.place.error(
                format!(
                    "`{}` allows, so there is nothing to be exempt from",
                    self.id.0
                ),
                "use `unless` to leave somebody out, or move the exemption to the rule that denies",
            ));
        }
        if self.effects.hides() && self.effects.mask.is_empty() && !self.matching.has_selectors() {
            findings.push(self.place.error(
                format!("the filter of `{}` does not say of which relation", self.id.0),
                "add `relation: [schema.table]` to `match`: the condition is over that relation's columns",
            ));
        }
    }
}

impl Exemption {
    fn compile(
        text: ExemptText,
        known: &Known<'_>,
        place: &Place,
        findings: &mut Vec<Finding>,
    ) -> Self {
        let matching = Conditions::compile(&text.matching.value, known, place, findings);
        if matching.matchers.is_empty() {
            findings.push(place.error(
                "an empty `match` in an exemption holds for everybody",
                "name who or what is exempt",
            ));
        }
        if text.reason.value.trim().is_empty() {
            findings.push(place.error("the exemption gives no reason", "say why it is needed"));
        }
        let expires = parse_instant(&text.expires.value).unwrap_or_else(|| {
            findings.push(place.error(
                format!("`{}` is no date", text.expires.value),
                "write 2030-01-31, or 2030-01-31T18:00:00Z",
            ));
            Duration::ZERO
        });
        Self {
            matching,
            reason: text.reason.value,
            expires,
            place: place.clone(),
        }
    }
}

fn check_id(id: &str, place: &Place, findings: &mut Vec<Finding>) {
    if id.is_empty()
        || !id
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    {
        findings.push(place.error(
            format!("`{id}` is no rule id"),
            "use letters, digits, `-`, `_` and `.`",
        ));
    }
    if RESERVED_IDS.contains(&id) {
        findings.push(place.error(
            format!("`{id}` is the name of what holds where no rule speaks"),
            suggest(&format!("{id}-rule"), &[format!("{id}-rule")]),
        ));
    }
}

/// A day ends an exemption as it begins, in UTC.
pub(crate) fn parse_instant(text: &str) -> Option<Duration> {
    let instant = match Date::parse(text, format_description!("[year]-[month]-[day]")) {
        Ok(date) => date.midnight().assume_utc(),
        Err(_) => OffsetDateTime::parse(text, &Rfc3339).ok()?,
    };
    u64::try_from(instant.unix_timestamp())
        .ok()
        .map(Duration::from_secs)
}

/// What decides where no rule speaks.
pub(crate) const DEFAULT: &str = "default";
/// What decides about statements that cannot be seen through.
pub(crate) const ON_OPAQUE: &str = "on_opaque";
const RESERVED_IDS: &[&str] = &[DEFAULT, ON_OPAQUE];
