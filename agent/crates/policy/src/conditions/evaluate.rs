//! Holding matchers against a view.

use weir_sql::{Facts, Kind};

use crate::{
    pattern::{Agreement, Pattern, QualifiedPattern},
    view::{ActorView, Reading, UNIDENTIFIED, View, confidence_bit, kind_bits},
};

use super::{Attribute, Conditions, Groups, Matcher, Stance, Truth};

impl Conditions {
    pub(crate) fn evaluate(&self, view: &View<'_>, stance: Stance) -> Truth {
        let mut all = Truth::Yes;
        for matcher in &self.matchers {
            all = all.min(matcher.evaluate(view, stance));
            if all == Truth::No {
                break;
            }
        }
        all
    }
}

impl Matcher {
    pub(crate) fn evaluate(&self, view: &View<'_>, stance: Stance) -> Truth {
        match self {
            Self::ActorKind(mask) => (view.actor.kind & mask != 0).into(),
            Self::Identified(identified) => {
                ((view.actor.kind != UNIDENTIFIED) == *identified).into()
            }
            Self::Groups(groups) => groups.hold(&view.actor, stance).into(),
            Self::Named(attribute, patterns) => attribute
                .of(view)
                .is_some_and(|value| any_matches(patterns, value))
                .into(),
            Self::Later(_) => Truth::Maybe,
            Self::Confidence { mask, .. } => view.reading.map_or(Truth::Maybe, |reading| {
                (confidence_bit(reading.facts.confidence) & mask != 0).into()
            }),
            _ => match view.reading {
                Some(reading) if reading.parsed() => self.holds_for_text(reading, stance).into(),
                _ => Truth::Maybe,
            },
        }
    }

    fn holds_for_text(&self, reading: &Reading<'_>, stance: Stance) -> bool {
        let facts = reading.facts;
        match self {
            Self::Kinds { mask, .. } => covers(u64::from(*mask), u64::from(reading.kinds), stance),
            Self::Actions { mask, .. } => {
                covers(u64::from(*mask), u64::from(reading.actions), stance)
            }
            Self::HasWhere(wanted) => facts.has_where == Some(*wanted),
            Self::LimitAbove(rows) => {
                selects(reading)
                    && in_doubt(facts, stance, facts.limit.is_none_or(|limit| limit > *rows))
            }
            Self::LimitAtMost(rows) => {
                selects(reading)
                    && in_doubt(
                        facts,
                        stance,
                        facts.limit.is_some_and(|limit| limit <= *rows),
                    )
            }
            Self::Relations(patterns) => qualified(
                patterns,
                facts
                    .relations
                    .iter()
                    .map(|used| (used.relation.schema.as_deref(), used.relation.name.as_str())),
                stance,
            ),
            Self::Functions(patterns) => qualified(
                patterns,
                facts
                    .functions
                    .iter()
                    .map(|function| match function.rsplit_once('.') {
                        Some((schema, name)) => (Some(schema), name),
                        None => (None, function.as_str()),
                    }),
                stance,
            ),
            Self::ActorKind(_)
            | Self::Identified(_)
            | Self::Groups(_)
            | Self::Named(..)
            | Self::Confidence { .. }
            | Self::Later(_) => false,
        }
    }
}

impl Groups {
    fn hold(&self, actor: &ActorView<'_>, stance: Stance) -> bool {
        if actor.kind == UNIDENTIFIED {
            // Nobody is a member of nothing: a restriction on those outside a group meets the unidentified, a grant does not.
            return stance == Stance::Restrict && self.any.is_none() && self.all.is_none();
        }
        if !actor.groups_complete {
            return stance == Stance::Restrict;
        }
        let has = &actor.groups;
        self.any.as_ref().is_none_or(|(any, _)| has.intersects(any))
            && self
                .all
                .as_ref()
                .is_none_or(|(all, _)| has.contains_all(all))
            && self
                .none
                .as_ref()
                .is_none_or(|(none, _)| !has.intersects(none))
    }
}

impl Attribute {
    pub(crate) fn of<'a>(self, view: &View<'a>) -> Option<&'a str> {
        match self {
            Self::Subject => view.actor.subject,
            Self::Issuer => view.actor.issuer,
            Self::Purpose => view.actor.purpose,
            Self::Exe => Some(&view.process.exe),
            Self::Cgroup => Some(&view.process.cgroup),
            Self::Database => Some(&view.target.database),
            Self::DatabaseUser => Some(&view.target.database_user),
            Self::Endpoint => Some(&view.target.endpoint),
            Self::Environment => Some(&view.target.environment),
        }
    }
}

/// A restriction needs one bit in common; a grant must cover all of them, and covers a text that does nothing.
fn covers(mask: u64, found: u64, stance: Stance) -> bool {
    match stance {
        Stance::Grant => found & !mask == 0,
        Stance::Restrict => found & mask != 0,
    }
}

/// The limit of several statements in one text is known of one of them only.
fn in_doubt(facts: &Facts, stance: Stance, holds: bool) -> bool {
    if facts.statement_count > 1 {
        stance == Stance::Restrict
    } else {
        holds
    }
}

fn selects(reading: &Reading<'_>) -> bool {
    reading.kinds & kind_bits(Kind::Select) != 0
}

/// A restriction needs one name that may agree; a grant needs at least one, and that all agree for sure.
fn qualified<'a>(
    patterns: &[QualifiedPattern],
    mut names: impl ExactSizeIterator<Item = (Option<&'a str>, &'a str)>,
    stance: Stance,
) -> bool {
    let reaches = |(schema, name): (Option<&str>, &str), least: Agreement| {
        patterns.iter().any(|pattern| {
            let agreement = pattern.agreement(schema, name);
            agreement == Agreement::Yes || (agreement == least && least != Agreement::No)
        })
    };
    match stance {
        Stance::Restrict => names.any(|name| reaches(name, Agreement::UpToSchema)),
        Stance::Grant => names.len() > 0 && names.all(|name| reaches(name, Agreement::Yes)),
    }
}

fn any_matches(patterns: &[Pattern], value: &str) -> bool {
    patterns.iter().any(|pattern| pattern.matches(value))
}
