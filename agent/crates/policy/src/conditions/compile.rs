//! From the written fields to matchers.

use crate::{
    finding::{Finding, Place},
    groups::GroupNames,
    pattern::{Pattern, QualifiedPattern},
    schema::{ActorKind, LimitText, MatchText, OneOrMany, SetText},
    view::{self, action_bit, confidence_bit, kind_bits},
};

use super::{Attribute, Conditions, Groups, Matcher};

impl Conditions {
    /// Compiles the fields; what is wrong with them is added to `findings`.
    pub(crate) fn compile(
        text: &MatchText,
        names: &GroupNames,
        place: &Place,
        findings: &mut Vec<Finding>,
    ) -> Self {
        let mut matchers = Vec::new();
        if let Some(kinds) = &text.actor_kind {
            matchers.push(Matcher::ActorKind(
                kinds.0.iter().fold(0, |mask, &kind| mask | actor_bit(kind)),
            ));
        }
        matchers.extend(text.actor_identified.map(Matcher::Identified));
        if let Some(set) = &text.actor_groups {
            let place = Place::new(&place.file, set.referenced);
            non_empty(&set.value, "actor.groups", &place, findings);
            matchers.push(Matcher::Groups(Box::new(groups(&set.value, names))));
        }
        named(text, &mut matchers);
        statement(text, place, &mut matchers, findings);
        for (set, field) in [(&text.classes, "classes"), (&text.joins, "joins")] {
            if let Some(set) = set {
                non_empty(
                    &set.value,
                    field,
                    &Place::new(&place.file, set.referenced),
                    findings,
                );
                matchers.push(Matcher::Later(field));
            }
        }
        matchers.sort_by_key(Matcher::cost);
        Self { matchers }
    }
}

/// The groups that the fields name.
pub(crate) fn group_names(text: &MatchText) -> impl Iterator<Item = &String> {
    text.actor_groups
        .iter()
        .flat_map(|set| [&set.value.any, &set.value.all, &set.value.none])
        .flatten()
        .flatten()
}

fn named(text: &MatchText, matchers: &mut Vec<Matcher>) {
    let fields = [
        (Attribute::Subject, &text.actor_subject),
        (Attribute::Issuer, &text.actor_issuer),
        (Attribute::Exe, &text.process_exe),
        (Attribute::Cgroup, &text.process_cgroup),
        (Attribute::Database, &text.database),
        (Attribute::DatabaseUser, &text.database_user),
        (Attribute::Endpoint, &text.endpoint),
        (Attribute::Environment, &text.environment),
        (Attribute::Purpose, &text.purpose),
    ];
    for (attribute, globs) in fields {
        let Some(OneOrMany(globs)) = globs else {
            continue;
        };
        let pattern = match attribute {
            Attribute::Exe | Attribute::Cgroup => Pattern::path,
            _ => Pattern::name,
        };
        let patterns = globs.iter().map(|glob| pattern(glob)).collect();
        matchers.push(Matcher::Named(attribute, patterns));
    }
}

fn statement(
    text: &MatchText,
    place: &Place,
    matchers: &mut Vec<Matcher>,
    findings: &mut Vec<Finding>,
) {
    if let Some(OneOrMany(written)) = &text.confidence {
        let mask = written.iter().fold(0, |mask, &c| mask | confidence_bit(c));
        matchers.push(Matcher::Confidence {
            mask,
            written: written.clone(),
        });
    }
    if let Some(OneOrMany(written)) = &text.kind {
        let mask = written.iter().fold(0, |mask, &kind| mask | kind_bits(kind));
        matchers.push(Matcher::Kinds {
            mask,
            written: written.clone(),
        });
    }
    if let Some(OneOrMany(written)) = &text.action {
        let mask = written
            .iter()
            .fold(0, |mask, &action| mask | action_bit(action));
        matchers.push(Matcher::Actions {
            mask,
            written: written.clone(),
        });
    }
    matchers.extend(text.has_where.map(Matcher::HasWhere));
    if let Some(limit) = &text.limit {
        match limit.value {
            LimitText {
                above: Some(rows),
                at_most: None,
            } => matchers.push(Matcher::LimitAbove(rows)),
            LimitText {
                above: None,
                at_most: Some(rows),
            } => matchers.push(Matcher::LimitAtMost(rows)),
            _ => findings.push(Place::new(&place.file, limit.referenced).error(
                "`limit` asks for both bounds or for none",
                "give either `above: N` or `at_most: N`",
            )),
        }
    }
    let qualified = |globs: &OneOrMany<String>| {
        globs
            .0
            .iter()
            .map(|glob| QualifiedPattern::new(glob))
            .collect()
    };
    matchers.extend(
        text.relation
            .as_ref()
            .map(|globs| Matcher::Relations(qualified(globs))),
    );
    matchers.extend(
        text.function
            .as_ref()
            .map(|globs| Matcher::Functions(qualified(globs))),
    );
}

fn groups(set: &SetText, names: &GroupNames) -> Groups {
    let bits = |groups: &Option<Vec<String>>| {
        groups
            .as_ref()
            .map(|groups| (names.bits(groups), groups.clone()))
    };
    Groups {
        any: bits(&set.any),
        all: bits(&set.all),
        none: bits(&set.none),
    }
}

fn non_empty(set: &SetText, field: &str, place: &Place, findings: &mut Vec<Finding>) {
    let lists = [&set.any, &set.all, &set.none];
    if lists.iter().all(|list| list.is_none())
        || lists
            .iter()
            .any(|list| list.as_ref().is_some_and(Vec::is_empty))
    {
        findings.push(place.error(
            format!("`{field}` names nothing"),
            format!(
                "write {field}: {{ any: [name] }}, all or none, with at least one name in each"
            ),
        ));
    }
}

fn actor_bit(kind: ActorKind) -> u8 {
    match kind {
        ActorKind::Human => view::HUMAN,
        ActorKind::Workload => view::WORKLOAD,
        ActorKind::Agent => view::AGENT,
    }
}
