//! Holding matchers against a view.

use std::{borrow::Cow, collections::BTreeMap};

use weir_sql::{Facts, Kind, RelationUse};

use crate::{
    bits::Bits,
    pattern::{Agreement, Pattern, QualifiedPattern},
    view::{ActorView, Reading, UNIDENTIFIED, View, confidence_bit, kind_bits},
};

use super::{Attribute, Conditions, Focus, Groups, Matcher, Stance, Truth, data, login};

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

    /// Only what says which columns are meant, asked of the column in view.
    pub(crate) fn selects(&self, view: &View<'_>, stance: Stance) -> bool {
        self.matchers
            .iter()
            .filter(|matcher| matcher.selects())
            .all(|matcher| matcher.evaluate(view, stance) != Truth::No)
    }

    /// The classes of which a column must have one to be meant.
    pub(crate) fn wanted_classes(&self) -> Option<Bits> {
        self.matchers.iter().find_map(|matcher| match matcher {
            Matcher::Classes(set) => set.any.as_ref().map(|(any, _)| any.clone()),
            _ => None,
        })
    }

    /// Whether any field says which columns are meant.
    pub(crate) fn has_selectors(&self) -> bool {
        self.matchers.iter().any(Matcher::selects)
    }
}

impl Matcher {
    pub(crate) fn evaluate(&self, view: &View<'_>, stance: Stance) -> Truth {
        match self {
            Self::ActorKind(mask) => (view.actor.kind & mask != 0).into(),
            Self::Identified(identified) => {
                ((view.actor.kind != UNIDENTIFIED) == *identified).into()
            }
            Self::Groups(groups) => groups.hold(view.actor, stance).into(),
            Self::Named(attribute, patterns) => attribute
                .of(view)
                .is_some_and(|value| any_matches(patterns, &value))
                .into(),
            Self::Time(window) => window.holds(view.now).into(),
            Self::Uids(uids) => uids.contains(&view.process.uid).into(),
            Self::Strengths(strengths) => view
                .actor
                .strength
                .is_some_and(|strength| strengths.contains(&strength))
                .into(),
            Self::Methods(methods) => view
                .actor
                .method
                .is_some_and(|found| methods.iter().any(|method| method.word() == found))
                .into(),
            Self::Delegations(delegations) => view
                .actor
                .delegation
                .is_some_and(|delegation| delegations.contains(&delegation))
                .into(),
            Self::Means(means) => means.hold(view.actor.means, stance).into(),
            Self::MaxAuthAge(limit) => login::is_fresh(*limit, view, stance),
            Self::Stale(wanted) => login::is_stale(*wanted, view),
            Self::Hashes(hashes) => login::has_hash(hashes, view, stance).into(),
            Self::Claims(wanted) => view
                .actor
                .claims
                .is_some_and(|claims| claim(wanted, claims))
                .into(),
            Self::When(when) => when.evaluate(view),
            Self::Confidence { mask, .. } => view.reading.map_or(Truth::Maybe, |reading| {
                (confidence_bit(reading.facts.confidence) & mask != 0).into()
            }),
            selector if selector.selects() && !matches!(view.focus, Focus::Statement) => {
                match view.focus {
                    Focus::Column(column) => selector.holds_for_column(column, view, stance).into(),
                    _ => Truth::Maybe,
                }
            }
            Self::Classes(_) | Self::Columns { .. } | Self::Joins(_)
                if view.reading.is_some_and(|reading| !reading.resolved()) =>
            {
                Truth::Maybe
            }
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
            Self::Actions { mask, .. } => covers(
                u64::from(*mask),
                u64::from(reading.actions_for(stance)),
                stance,
            ),
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
            Self::Relations(patterns) => relations(patterns, reading, stance),
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
            Self::Classes(set) => set.holds_for_statement(reading, stance),
            Self::Columns { patterns, usages } => data::touches(patterns, *usages, reading, stance),
            Self::Joins(joins) => joins.hold(reading),
            Self::Claimed(wanted) => wanted.iter().all(|(name, patterns)| {
                facts
                    .claimed
                    .iter()
                    .any(|(key, value)| key == name && any_matches(patterns, value))
            }),
            Self::ActorKind(_)
            | Self::Identified(_)
            | Self::Groups(_)
            | Self::Named(..)
            | Self::Confidence { .. }
            | Self::Time(_)
            | Self::Uids(_)
            | Self::Strengths(_)
            | Self::Methods(_)
            | Self::Delegations(_)
            | Self::Means(_)
            | Self::MaxAuthAge(_)
            | Self::Stale(_)
            | Self::Hashes(_)
            | Self::Claims(_)
            | Self::When(_) => false,
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
    pub(crate) fn of<'a>(self, view: &View<'a>) -> Option<Cow<'a, str>> {
        let text = match self {
            Self::Id => {
                let (issuer, subject) = (view.actor.issuer?, view.actor.subject?);
                return Some(format!("{issuer}#{subject}").into());
            }
            Self::Subject => view.actor.subject,
            Self::Issuer => view.actor.issuer,
            Self::Purpose => view.actor.purpose,
            Self::Acr => view.actor.acr,
            Self::Unit => view.process.unit.as_deref(),
            Self::Container => view.process.container.as_deref(),
            Self::Exe => Some(view.process.exe.as_str()),
            Self::Cgroup => Some(view.process.cgroup.as_str()),
            Self::Database => Some(view.target.database.as_str()),
            Self::DatabaseUser => Some(view.target.database_user.as_str()),
            Self::Endpoint => Some(view.target.endpoint.as_str()),
            Self::Environment => Some(view.target.environment.as_str()),
            Self::Client => view.actor.client,
            Self::Run => view.actor.run,
        };
        text.map(Cow::Borrowed)
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

/// Each name as the text has it; where it leaves the schema out, in the schemas that the catalog found it in.
fn relations(patterns: &[QualifiedPattern], reading: &Reading<'_>, stance: Stance) -> bool {
    let agrees = |used: &RelationUse| {
        let name = used.relation.name.as_str();
        if used.relation.schema.is_none() {
            let mut found = reading.schemas_of(name).peekable();
            if found.peek().is_some() {
                let mut agrees = found
                    .map(|schema| patterns.iter().any(|pattern| pattern.matches(schema, name)));
                return match stance {
                    Stance::Restrict => agrees.any(|agrees| agrees),
                    Stance::Grant => agrees.all(|agrees| agrees),
                };
            }
        }
        qualified(
            patterns,
            std::iter::once((used.relation.schema.as_deref(), name)),
            stance,
        )
    };
    let relations = &reading.facts.relations;
    match stance {
        Stance::Restrict => relations.iter().any(agrees),
        Stance::Grant => !relations.is_empty() && relations.iter().all(agrees),
    }
}

fn claim(wanted: &[(String, Vec<Pattern>)], claims: &BTreeMap<String, String>) -> bool {
    wanted.iter().all(|(name, patterns)| {
        claims
            .get(name)
            .is_some_and(|value| any_matches(patterns, value))
    })
}

fn any_matches(patterns: &[Pattern], value: &str) -> bool {
    patterns.iter().any(|pattern| pattern.matches(value))
}
