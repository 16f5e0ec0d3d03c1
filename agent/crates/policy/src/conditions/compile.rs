//! From the written fields to matchers.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    bits::Names,
    classes::ClassTree,
    finding::{Finding, Place},
    pattern::{ColumnPattern, Pattern, QualifiedPattern},
    schema::{ActorKind, LimitText, MatchText, OneOrMany, SetText, parse_duration},
    view::{self, action_bit, confidence_bit, kind_bits},
};

use super::{Attribute, ClassSet, Conditions, Groups, Joins, Matcher, Means, Window};

/// The names that all rules of a pack share.
pub(crate) struct Known<'a> {
    pub(crate) groups: &'a Names,
    pub(crate) classes: &'a ClassTree,
}

impl Conditions {
    /// Compiles the fields; what is wrong with them is added to `findings`.
    pub(crate) fn compile(
        text: &MatchText,
        known: &Known<'_>,
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
            matchers.push(Matcher::Groups(Box::new(groups(&set.value, known.groups))));
        }
        login(text, place, &mut matchers, findings);
        named(text, &mut matchers);
        statement(text, place, &mut matchers, findings);
        data(text, known, place, &mut matchers, findings);
        if let Some(window) = &text.time {
            let place = Place::new(&place.file, window.referenced);
            matchers.extend(
                Window::compile(&window.value, &place, findings)
                    .map(Box::new)
                    .map(Matcher::Time),
            );
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

/// The classes that the fields name.
pub(crate) fn class_names(text: &MatchText) -> impl Iterator<Item = &String> {
    let classes = text
        .classes
        .iter()
        .flat_map(|set| [&set.value.any, &set.value.all, &set.value.none]);
    let joins = text
        .joins
        .iter()
        .flat_map(|set| [&set.value.any, &set.value.all]);
    classes.chain(joins).flatten().flatten()
}

/// What is asked of relations, columns and classes beyond their names in the text.
fn data(
    text: &MatchText,
    known: &Known<'_>,
    place: &Place,
    matchers: &mut Vec<Matcher>,
    findings: &mut Vec<Finding>,
) {
    let usages = text
        .action
        .as_ref()
        .map_or(view::ANY_USAGE, |OneOrMany(actions)| {
            view::usages_of(actions)
        });
    if let Some(set) = &text.classes {
        let place = Place::new(&place.file, set.referenced);
        non_empty(&set.value, "classes", &place, findings);
        matchers.push(Matcher::Classes(Box::new(ClassSet::new(
            &set.value,
            known.classes,
            usages,
        ))));
    }
    if let Some(OneOrMany(globs)) = &text.columns {
        matchers.push(Matcher::Columns {
            patterns: globs.iter().map(|glob| ColumnPattern::new(glob)).collect(),
            usages,
        });
    }
    if let Some(joins) = &text.joins {
        let place = Place::new(&place.file, joins.referenced);
        matchers.push(Matcher::Joins(Box::new(Joins::compile(
            &joins.value,
            known.classes,
            &place,
            findings,
        ))));
    }
}

fn claims(written: &BTreeMap<String, OneOrMany<String>>) -> Vec<(String, Vec<Pattern>)> {
    written
        .iter()
        .map(|(name, OneOrMany(globs))| {
            (
                name.clone(),
                globs.iter().map(|glob| Pattern::name(glob)).collect(),
            )
        })
        .collect()
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
        (Attribute::Id, &text.actor_id),
        (Attribute::Client, &text.actor_client),
        (Attribute::Run, &text.actor_run),
        (Attribute::Acr, &text.actor_acr),
        (Attribute::Purpose, &text.actor_purpose),
        (Attribute::Unit, &text.process_unit),
        (Attribute::Container, &text.process_container),
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
    if let Some(OneOrMany(uids)) = &text.process_uid {
        matchers.push(Matcher::Uids(uids.clone()));
    }
    for OneOrMany(strengths) in [&text.strength, &text.actor_strength].into_iter().flatten() {
        matchers.push(Matcher::Strengths(strengths.clone()));
    }
    if let Some(hashes) = &text.process_exe_sha256 {
        let OneOrMany(written) = &hashes.value;
        if let Some(bad) = written.iter().find(|hash| !is_sha256(hash)) {
            findings.push(Place::new(&place.file, hashes.referenced).error(
                format!("`{bad}` is no SHA-256"),
                "write its 64 hexadecimal digits, as sha256sum prints them",
            ));
        }
        let hashes = written.iter().map(|hash| hash.to_ascii_lowercase());
        matchers.push(Matcher::Hashes(hashes.collect()));
    }
    matchers.extend(text.claimed.as_ref().map(claims).map(Matcher::Claimed));
    matchers.extend(text.actor_claims.as_ref().map(claims).map(Matcher::Claims));
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

/// What is asked of the log-in and of how the process is bound to it.
fn login(
    text: &MatchText,
    place: &Place,
    matchers: &mut Vec<Matcher>,
    findings: &mut Vec<Finding>,
) {
    if let Some(OneOrMany(methods)) = &text.actor_method {
        matchers.push(Matcher::Methods(methods.clone()));
    }
    if let Some(OneOrMany(delegations)) = &text.actor_delegation {
        matchers.push(Matcher::Delegations(delegations.clone()));
    }
    if let Some(set) = &text.actor_amr {
        let place = Place::new(&place.file, set.referenced);
        non_empty(&set.value, "actor.amr", &place, findings);
        matchers.push(Matcher::Means(Box::new(Means::new(&set.value))));
    }
    if let Some(age) = &text.actor_max_auth_age {
        let limit = parse_duration(&age.value).unwrap_or_else(|| {
            findings.push(Place::new(&place.file, age.referenced).error(
                format!("`{}` is no duration", age.value),
                "write 90s, 15m, 2h or 1d",
            ));
            Duration::ZERO
        });
        matchers.push(Matcher::MaxAuthAge(limit));
    }
    matchers.extend(text.actor_stale.map(Matcher::Stale));
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn groups(set: &SetText, names: &Names) -> Groups {
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
