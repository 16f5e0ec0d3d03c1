//! Matchers for people to read: what was asked, what was found.

use std::{collections::BTreeSet, fmt::Display, time::Duration};

use serde::Serialize;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    bits::Bits,
    pattern::Pattern,
    schema::show_duration,
    view::{self, Reading, View},
};

use super::{Attribute, ClassSet, Groups, Joins, Matcher, Means, Stance, Truth};

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
            Self::Classes(_) => "classes",
            Self::Columns { .. } => "columns",
            Self::Joins(_) => "joins",
            Self::Time(_) => "time",
            Self::Uids(_) => "process.uid",
            Self::Strengths(_) => "actor.strength",
            Self::Methods(_) => "actor.method",
            Self::Delegations(_) => "actor.delegation",
            Self::Means(_) => "actor.amr",
            Self::MaxAuthAge(_) => "actor.max_auth_age",
            Self::Stale(_) => "actor.stale",
            Self::Hashes(_) => "process.exe_sha256",
            Self::Claimed(_) => "claimed",
            Self::Claims(_) => "actor.claims",
            Self::When(_) => "when",
        }
    }

    fn wanted(&self) -> String {
        match self {
            Self::ActorKind(mask) => actor_kinds(*mask),
            Self::Identified(identified) => identified.to_string(),
            Self::Confidence { written, .. } => words(written),
            Self::Kinds { written, .. } => words(written),
            Self::Actions { written, .. } => words(written),
            Self::HasWhere(wanted) | Self::Stale(wanted) => wanted.to_string(),
            Self::LimitAbove(rows) => format!("above {rows}"),
            Self::LimitAtMost(rows) => format!("at most {rows}"),
            Self::Groups(groups) => groups.wanted(),
            Self::Named(_, patterns) => list(patterns.iter().map(Pattern::to_string)),
            Self::Relations(patterns) | Self::Functions(patterns) => list(patterns),
            Self::Classes(set) => set.wanted(),
            Self::Columns { patterns, .. } => list(patterns),
            Self::Joins(joins) => joins.wanted(),
            Self::Time(window) => window.to_string(),
            Self::When(when) => when.written.clone(),
            Self::Uids(uids) => list(uids),
            Self::Strengths(strengths) => words(strengths),
            Self::Methods(methods) => words(methods),
            Self::Delegations(delegations) => words(delegations),
            Self::Means(means) => means.wanted(),
            Self::MaxAuthAge(limit) => format!("at most {}", show_duration(*limit)),
            Self::Hashes(hashes) => list(hashes),
            Self::Claimed(wanted) | Self::Claims(wanted) => list(
                wanted
                    .iter()
                    .map(|(name, patterns)| format!("{name}={}", list(patterns))),
            ),
        }
    }

    fn found(&self, view: &View<'_>) -> String {
        let text = |show: &dyn Fn(&Reading<'_>) -> String| match view.reading {
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
            Self::Actions { .. } => {
                text(&|reading| words(&view::actions(reading.actions_for(Stance::Restrict))))
            }
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
            Self::Named(attribute, _) => option(attribute.of(view)),
            Self::Relations(_) => {
                text(&|reading| list(reading.facts.relations.iter().map(|used| &used.relation)))
            }
            Self::Functions(_) => text(&|reading| list(&reading.facts.functions)),
            Self::Classes(set) => text(&|reading| classes(reading, set.usages, view)),
            Self::Columns { usages, .. } => text(&|reading| columns(reading, *usages)),
            Self::Joins(_) => text(&|reading| joined(reading, view)),
            Self::Time(_) => time(view.now),
            Self::When(when) => when.show(view),
            Self::Uids(_) => view.process.uid.to_string(),
            Self::Strengths(_) => view
                .actor
                .strength
                .map_or_else(|| "none".to_owned(), |strength| words(&[strength])),
            Self::Methods(_) => option(view.actor.method),
            Self::Delegations(_) => {
                option(view.actor.delegation.map(|delegation| word(&delegation)))
            }
            Self::Means(_) => list(view.actor.means),
            Self::MaxAuthAge(_) => match view.actor.auth_age_s(view.now) {
                _ if view.stale.is_none() => "changes while a connection lasts".to_owned(),
                Some(age) => show_duration(Duration::from_secs(age)),
                None => "unknown".to_owned(),
            },
            Self::Stale(_) => view.stale.map_or_else(
                || "may change while a connection lasts".to_owned(),
                |stale| stale.to_string(),
            ),
            Self::Hashes(_) => view
                .process
                .exe_sha256
                .clone()
                .unwrap_or_else(|| "unknown".to_owned()),
            Self::Claimed(_) => text(&|reading| pairs(&reading.facts.claimed)),
            Self::Claims(_) => view.actor.claims.map_or_else(|| "none".to_owned(), pairs),
        }
    }
}

impl Groups {
    fn wanted(&self) -> String {
        sets([&self.any, &self.all, &self.none])
    }
}

impl Means {
    fn wanted(&self) -> String {
        let sets = [("any", &self.any), ("all", &self.all), ("none", &self.none)];
        let sets = sets.into_iter().filter_map(|(word, set)| {
            set.as_ref()
                .map(|names| format!("{word} of {}", list(names)))
        });
        sets.collect::<Vec<_>>().join(" and ")
    }
}

impl ClassSet {
    fn wanted(&self) -> String {
        sets([&self.any, &self.all, &self.none])
    }
}

impl Joins {
    fn wanted(&self) -> String {
        let named = |classes: &[(Bits, String)]| list(classes.iter().map(|(_, name)| name));
        let all = (!self.all.is_empty()).then(|| format!("all of {}", named(&self.all)));
        let any = (!self.any.is_empty()).then(|| format!("any of {}", named(&self.any)));
        all.into_iter().chain(any).collect::<Vec<_>>().join(" and ")
    }
}

fn sets(sets: [&Option<(Bits, Vec<String>)>; 3]) -> String {
    let sets: Vec<_> = ["any", "all", "none"]
        .into_iter()
        .zip(sets)
        .filter_map(|(word, set)| {
            set.as_ref()
                .map(|(_, names)| format!("{word} of {}", list(names)))
        })
        .collect();
    sets.join(" and ")
}

/// Columns that are used, and the classes they have.
fn classes(reading: &Reading<'_>, usages: u8, view: &View<'_>) -> String {
    if !reading.resolved() {
        return UNRESOLVED.to_owned();
    }
    let tree = view.classifier.tree();
    let columns = reading.used(usages).filter_map(|used| {
        let classes = view.classifier.with_bases(&used.column, &used.bases);
        (!classes.is_empty())
            .then(|| format!("{} ({})", used.column, list(tree.names.of(&classes))))
    });
    list(columns.collect::<BTreeSet<_>>())
}

fn columns(reading: &Reading<'_>, usages: u8) -> String {
    if !reading.resolved() {
        return UNRESOLVED.to_owned();
    }
    list(
        reading
            .used(usages)
            .map(|used| used.column.to_string())
            .collect::<BTreeSet<_>>(),
    )
}

fn joined(reading: &Reading<'_>, view: &View<'_>) -> String {
    if !reading.resolved() {
        return UNRESOLVED.to_owned();
    }
    let names = &view.classifier.tree().names;
    let relations: Vec<_> = reading
        .touched_by_relation()
        .iter()
        .map(|classes| format!("({})", list(names.of(classes))))
        .collect();
    list(relations)
}

fn pairs<'a>(pairs: impl IntoIterator<Item = impl Pair<'a>>) -> String {
    list(pairs.into_iter().map(|pair| {
        let (name, value) = pair.parts();
        format!("{name}={value}")
    }))
}

/// What a list of pairs and a map give out alike.
trait Pair<'a> {
    fn parts(self) -> (&'a str, &'a str);
}

impl<'a> Pair<'a> for &'a (String, String) {
    fn parts(self) -> (&'a str, &'a str) {
        (&self.0, &self.1)
    }
}

impl<'a> Pair<'a> for (&'a String, &'a String) {
    fn parts(self) -> (&'a str, &'a str) {
        (self.0, self.1)
    }
}

fn time(now: Duration) -> String {
    i64::try_from(now.as_secs())
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        .and_then(|instant| instant.format(&Rfc3339).ok())
        .unwrap_or_else(|| format!("{} s", now.as_secs()))
}

const UNRESOLVED: &str = "unknown: no catalog";

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
            Self::Purpose => "actor.purpose",
            Self::Acr => "actor.acr",
            Self::Unit => "process.unit",
            Self::Container => "process.container",
            Self::Id => "actor.id",
            Self::Client => "actor.client",
            Self::Run => "actor.run",
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

/// Words of the format, as it spells them.
fn words<T: Serialize>(values: &[T]) -> String {
    list(values.iter().map(word))
}

/// A word of the format, as it spells it.
pub(crate) fn word<T: Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
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
