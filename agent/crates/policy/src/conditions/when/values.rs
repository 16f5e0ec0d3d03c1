//! A question as values of an expression: only the fields that it asks for.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use cel::Value;
use weir_sql::{ColumnUse, RelationUse};

use crate::{
    bits::Bits,
    conditions::{
        Attribute, Stance,
        show::{self, word},
    },
    view::{self, Reading, View},
};

use super::schema::Root;

/// The values behind the names that are used; `longest` becomes the length of the longest list.
pub(super) fn of(
    uses: &BTreeSet<(Root, &'static str)>,
    view: &View<'_>,
    longest: &mut usize,
) -> Result<Vec<(Root, Value)>, String> {
    let mut roots = Vec::new();
    for root in Root::ALL {
        let mut fields = uses
            .iter()
            .filter(|(of, _)| *of == root)
            .map(|(_, field)| *field)
            .peekable();
        if fields.peek().is_none() {
            continue;
        }
        let mut map: HashMap<String, Value> = HashMap::new();
        for field in fields {
            let value = match root {
                Root::Statement => statement(field, view)?,
                Root::Actor => actor(field, view)?,
                Root::Process => process(field, view),
                Root::Target => target(field, view),
                Root::Now => {
                    roots.push((root, now(view)));
                    break;
                }
            };
            if let Value::List(list) = &value {
                *longest = list.len().max(*longest);
            }
            map.insert(field.to_owned(), value);
        }
        if root != Root::Now {
            roots.push((root, map.into()));
        }
    }
    Ok(roots)
}

fn statement(field: &str, view: &View<'_>) -> Result<Value, String> {
    let Some(reading) = view.reading else {
        return Ok(Value::Null);
    };
    let facts = reading.facts;
    if matches!(field, "columns" | "classes") && !reading.resolved() {
        return Err("the catalog is not known".to_owned());
    }
    Ok(match field {
        "kinds" => texts(facts.kinds.iter().map(word)),
        "actions" => texts(
            view::actions(reading.actions_for(Stance::Restrict))
                .iter()
                .map(word),
        ),
        "limit" => facts.limit.map_or(Value::Null, |rows| {
            number(i64::try_from(rows).unwrap_or(i64::MAX))
        }),
        "has_where" => facts.has_where.map_or(Value::Null, Value::Bool),
        "relations" => texts(facts.relations.iter().map(|used| relation(used, reading))),
        "functions" => texts(facts.functions.iter().cloned()),
        "columns" => texts(distinct(
            facts.columns.iter().map(|used| used.column.to_string()),
        )),
        "classes" => texts(classes(&facts.columns, view)),
        "normalised" if facts.normalised.len() > MAX_TEXT_BYTES => {
            return Err("the statement is too long for it".to_owned());
        }
        "normalised" => text(&facts.normalised),
        "statements" => number(i64::try_from(facts.statement_count).unwrap_or(i64::MAX)),
        "confidence" => text(&word(&facts.confidence)),
        "claimed" => map(facts.claimed.iter().map(|(name, value)| (name, value))),
        _ => Value::Null,
    })
}

fn actor(field: &str, view: &View<'_>) -> Result<Value, String> {
    let actor = &view.actor;
    let named = |attribute: Attribute| attribute.of(view).map_or(Value::Null, |value| text(&value));
    Ok(match field {
        "kind" => text(&show::actor_kinds(actor.kind)),
        "identified" => Value::Bool(actor.kind != view::UNIDENTIFIED),
        "id" => named(Attribute::Id),
        "subject" => named(Attribute::Subject),
        "issuer" => named(Attribute::Issuer),
        "groups" => texts(actor.group_names.iter().cloned()),
        "purpose" => named(Attribute::Purpose),
        "client" => named(Attribute::Client),
        "run" => named(Attribute::Run),
        "strength" => actor
            .strength
            .map_or(Value::Null, |strength| text(&word(&strength))),
        "claims" => map(actor.claims.into_iter().flatten()),
        "method" => actor.method.map_or(Value::Null, text),
        "delegation" => actor
            .delegation
            .map_or(Value::Null, |delegation| text(&word(&delegation))),
        "acr" => named(Attribute::Acr),
        "amr" => texts(actor.means.iter().cloned()),
        "auth_age" if view.stale.is_some() => auth_age(view),
        "stale" => Value::Bool(view.stale.ok_or(CHANGES)?),
        "auth_age" => return Err(CHANGES.to_owned()),
        _ => Value::Null,
    })
}

/// By the end of the minute: a decision is good for as long as it is remembered, and no log-in is taken for a fresher one.
fn auth_age(view: &View<'_>) -> Value {
    let minute = Duration::from_secs((view.now.as_secs() / 60 + 1) * 60);
    let age = view
        .actor
        .auth_age_s(view.now)
        .and(view.actor.auth_age_s(minute));
    age.and_then(|age| i64::try_from(age).ok())
        .map_or(Value::Null, number)
}

fn process(field: &str, view: &View<'_>) -> Value {
    match field {
        "exe" => text(&view.process.exe),
        "cgroup" => text(&view.process.cgroup),
        "exe_sha256" => optional(view.process.exe_sha256.as_deref()),
        "unit" => optional(view.process.unit.as_deref()),
        "container" => optional(view.process.container.as_deref()),
        "uid" => number(i64::from(view.process.uid)),
        _ => Value::Null,
    }
}

fn target(field: &str, view: &View<'_>) -> Value {
    match field {
        "endpoint" => text(&view.target.endpoint),
        "environment" => text(&view.target.environment),
        "engine" => text(&view.target.engine),
        "database" => text(&view.target.database),
        "database_user" => text(&view.target.database_user),
        _ => Value::Null,
    }
}

/// The minute, not the second: a decision is good for as long as it is remembered.
fn now(view: &View<'_>) -> Value {
    let minute = view.now.as_secs() / 60 * 60;
    number(i64::try_from(minute).unwrap_or(i64::MAX))
}

fn relation(used: &RelationUse, reading: &Reading<'_>) -> String {
    let name = &used.relation.name;
    let schema = used.relation.schema.as_deref();
    match schema.or_else(|| reading.schemas_of(name).next()) {
        Some(schema) => format!("{schema}.{name}"),
        None => name.clone(),
    }
}

fn classes(columns: &[ColumnUse], view: &View<'_>) -> Vec<String> {
    let mut all = Bits::default();
    for used in columns {
        all.add(&view.classifier.with_bases(&used.column, &used.bases));
    }
    view.classifier.tree().names.of(&all).cloned().collect()
}

fn distinct(values: impl Iterator<Item = String>) -> impl Iterator<Item = String> {
    values.collect::<BTreeSet<_>>().into_iter()
}

fn texts(values: impl IntoIterator<Item = String>) -> Value {
    let values: Vec<_> = values
        .into_iter()
        .map(|value| Value::String(Arc::new(value)))
        .collect();
    Value::List(Arc::new(values))
}

fn map<'a>(pairs: impl IntoIterator<Item = (&'a String, &'a String)>) -> Value {
    let map: HashMap<String, Value> = pairs
        .into_iter()
        .map(|(name, value)| (name.clone(), text(value)))
        .collect();
    map.into()
}

fn text(value: &str) -> Value {
    Value::String(Arc::new(value.to_owned()))
}

fn optional(value: Option<&str>) -> Value {
    value.map_or(Value::Null, text)
}

fn number(value: i64) -> Value {
    Value::Int(value)
}

/// Of a whole connection it cannot be said.
const CHANGES: &str = "it changes while a connection lasts";

/// Longer texts are too many to look through for every statement.
const MAX_TEXT_BYTES: usize = 64 << 10;
