//! Matchers for people to read: what was asked, what was found.

use std::fmt::Display;

use serde::Serialize;
use weir_sql::RelationUse;

use crate::{
    pattern::Pattern,
    view::{self, View},
};

use super::{Attribute, Groups, Matcher, Stance, Truth};

/// One field of a rule, held against one question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// As the rule writes it; in front `unless` where it is one.
    pub field: String,
    /// What the rule asks for.
    pub wanted: String,
    /// What the question has.
    pub found: String,
    /// Whether they agree; in doubt as the rule resolves it.
    pub holds: bool,
}

impl Matcher {
    pub(crate) fn check(&self, view: &View<'_>, stance: Stance) -> Check {
        Check {
            field: self.field().to_owned(),
            wanted: self.wanted(),
            found: self.found(view),
            holds: match self.evaluate(view, stance) {
                Truth::Yes => true,
                Truth::No => false,
                Truth::Maybe => stance == Stance::Restrict,
            },
        }
    }

    pub(crate) fn field(&self) -> &'static str {
        match self {
            Self::ActorKind(_) => "actor.kind",
            Self::Identified(_) => "actor.identified",
            Self::Confidence { .. } => "confidence",
            Self::Kinds { .. } => "kind",
            Self::Actions { .. } => "action",
            Self::HasWhere(_) => "has_where",
            Self::LimitAbove(_) | Self::LimitAtMost(_) => "limit",
            Self::Groups(_) => "actor.groups",
            Self::Named(attribute, _) => attribute.field(),
            Self::Relations(_) => "relation",
            Self::Functions(_) => "function",
            Self::Later(field) => field,
        }
    }

    fn wanted(&self) -> String {
        match self {
            Self::ActorKind(mask) => actor_kinds(*mask),
            Self::Identified(identified) => identified.to_string(),
            Self::Confidence { written, .. } => words(written),
            Self::Kinds { written, .. } => words(written),
            Self::Actions { written, .. } => words(written),
            Self::HasWhere(wanted) => wanted.to_string(),
            Self::LimitAbove(rows) => format!("above {rows}"),
            Self::LimitAtMost(rows) => format!("at most {rows}"),
            Self::Groups(groups) => groups.wanted(),
            Self::Named(_, patterns) => list(patterns.iter().map(Pattern::to_string)),
            Self::Relations(patterns) | Self::Functions(patterns) => list(patterns),
            Self::Later(_) => "not enforceable by this version".to_owned(),
        }
    }

    fn found(&self, view: &View<'_>) -> String {
        let text = |show: &dyn Fn(&view::Reading<'_>) -> String| match view.reading {
            None => "no statement yet".to_owned(),
            Some(reading) if !reading.parsed() => "unknown: not parsed".to_owned(),
            Some(reading) => show(reading),
        };
        match self {
            Self::ActorKind(_) => actor_kinds(view.actor.kind),
            Self::Identified(_) => (view.actor.kind != view::UNIDENTIFIED).to_string(),
            Self::Confidence { .. } => view.reading.map_or_else(
                || "no statement yet".to_owned(),
                |reading| words(&[reading.facts.confidence]),
            ),
            Self::Kinds { .. } => text(&|reading| words(&reading.facts.kinds)),
            Self::Actions { .. } => text(&|reading| actions(reading.actions)),
            Self::HasWhere(_) => text(&|reading| option(reading.facts.has_where)),
            Self::LimitAbove(_) | Self::LimitAtMost(_) => {
                text(&|reading| option(reading.facts.limit))
            }
            Self::Groups(_) => {
                let names = list(view.actor.group_names);
                if view.actor.groups_complete {
                    names
                } else {
                    format!("{names}, incomplete")
                }
            }
            Self::Named(attribute, _) => attribute.of(view).unwrap_or("none").to_owned(),
            Self::Relations(_) => {
                text(&|reading| list(reading.facts.relations.iter().map(relation)))
            }
            Self::Functions(_) => text(&|reading| list(&reading.facts.functions)),
            Self::Later(_) => "unknown".to_owned(),
        }
    }
}

impl Groups {
    fn wanted(&self) -> String {
        let sets = [("any", &self.any), ("all", &self.all), ("none", &self.none)];
        let sets: Vec<_> = sets
            .into_iter()
            .filter_map(|(word, set)| {
                set.as_ref()
                    .map(|(_, names)| format!("{word} of {}", list(names)))
            })
            .collect();
        sets.join(" and ")
    }
}

impl Attribute {
    pub(crate) fn field(self) -> &'static str {
        match self {
            Self::Subject => "actor.subject",
            Self::Issuer => "actor.issuer",
            Self::Exe => "process.exe",
            Self::Cgroup => "process.cgroup",
            Self::Database => "database",
            Self::DatabaseUser => "database_user",
            Self::Endpoint => "endpoint",
            Self::Environment => "environment",
            Self::Purpose => "purpose",
        }
    }
}

/// The kinds of actors in a mask, as words.
pub(crate) fn actor_kinds(mask: u8) -> String {
    let kinds = [
        (view::HUMAN, "human"),
        (view::WORKLOAD, "workload"),
        (view::AGENT, "agent"),
        (view::UNIDENTIFIED, "unidentified"),
    ];
    list(
        kinds
            .iter()
            .filter(|(bit, _)| mask & bit != 0)
            .map(|(_, word)| word),
    )
}

fn actions(mask: u8) -> String {
    use crate::schema::Action;
    let all = [Action::Read, Action::Write, Action::Define, Action::Execute];
    let done: Vec<_> = all
        .into_iter()
        .filter(|&action| mask & view::action_bit(action) != 0)
        .collect();
    words(&done)
}

fn relation(used: &RelationUse) -> String {
    match &used.relation.schema {
        Some(schema) => format!("{schema}.{}", used.relation.name),
        None => used.relation.name.clone(),
    }
}

/// Words of the format, as it spells them.
fn words<T: Serialize>(values: &[T]) -> String {
    list(
        values
            .iter()
            .filter_map(|value| match serde_json::to_value(value) {
                Ok(serde_json::Value::String(word)) => Some(word),
                _ => None,
            }),
    )
}

fn option(value: Option<impl Display>) -> String {
    value.map_or_else(|| "none".to_owned(), |value| value.to_string())
}

fn list<T: Display>(values: impl IntoIterator<Item = T>) -> String {
    let values: Vec<_> = values.into_iter().map(|value| value.to_string()).collect();
    if values.is_empty() {
        "none".to_owned()
    } else {
        values.join(", ")
    }
}
