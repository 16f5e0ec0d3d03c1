//! What the journal states once and refers to by number: sessions' contexts and statements, as rows that equal ones share.

use std::collections::HashMap;

use rusqlite::{OptionalExtension, Transaction, params};
use weir_policy::{Effect, Identity};
use weir_sql::{ColumnName, ColumnUsage, Mask, Use};

use crate::audit::{
    chain::sha256,
    record::{SessionOpened, StatementDecided},
};

/// Finds or makes the row that says who, with what, on what.
pub(super) fn context(
    opened: &SessionOpened,
    transaction: &Transaction<'_>,
) -> rusqlite::Result<i64> {
    let principal = opened.identity.as_ref().map(|identity| &identity.principal);
    let kind = opened
        .identity
        .as_ref()
        .map(|identity| word(&identity.acting_kind()));
    let values = params![
        principal.map_or("", |principal| principal.issuer.as_str()),
        principal.map_or("", |principal| principal.subject.as_str()),
        principal.map_or("", |principal| principal.display.as_str()),
        kind.unwrap_or_default(),
        opened.identity.as_ref().map(actors).unwrap_or_default(),
        opened.evidence.exe_path,
        opened.evidence.uid,
        opened.target.endpoint,
        opened.target.environment,
        opened.target.engine,
        opened.target.database,
        opened.target.database_user,
    ];
    transaction
        .prepare_cached(
            "INSERT OR IGNORE INTO contexts
             (issuer, subject, display, kind, actor, exe, uid, endpoint, environment, engine, database, database_user)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        )?
        .execute(values)?;
    transaction
        .prepare_cached(
            "SELECT id FROM contexts WHERE issuer = ?1 AND subject = ?2 AND display = ?3 AND kind = ?4 AND actor = ?5 AND exe = ?6
             AND uid = ?7 AND endpoint = ?8 AND environment = ?9 AND engine = ?10 AND database = ?11 AND database_user = ?12",
        )?
        .query_row(values, |row| row.get(0))
}

/// The actors, outermost first.
fn actors(identity: &Identity) -> String {
    let names: Vec<_> = identity
        .actors
        .iter()
        .map(|actor| actor.subject.as_str())
        .collect();
    names.join(" > ")
}

/// Finds or makes the row of a statement; equal ones share it whatever their ids.
pub(super) fn statement(
    decided: &StatementDecided,
    transaction: &Transaction<'_>,
) -> rusqlite::Result<i64> {
    let facts = &decided.facts;
    let decision = &decided.decision;
    let content = json(&(
        facts,
        decision,
        &decided.policy,
        &decided.classes,
        &decided.schemas,
    ));
    let digest = sha256(&[content.as_bytes()]);
    let found = transaction
        .prepare_cached("SELECT id FROM statement_records WHERE digest = ?1")?
        .query_row([&digest[..]], |row| row.get(0))
        .optional()?;
    if let Some(id) = found {
        return Ok(id);
    }
    let kinds: Vec<_> = facts.kinds.iter().map(word).collect();
    let (effect, reason) = match &decision.effect {
        Effect::Allow => ("allow", None),
        Effect::Deny { reason } => ("deny", Some(reason)),
    };
    transaction
        .prepare_cached(
            "INSERT INTO statement_records
             (digest, fingerprint, text, kinds, confidence, effect, reason, rules, would, tags, policy)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        )?
        .execute(params![
            &digest[..],
            format!("{:016x}", facts.fingerprint),
            facts.normalised,
            kinds.join(","),
            word(&facts.confidence),
            effect,
            reason,
            json(&decision.rules),
            json(&decision.would),
            json(&decision.tags),
            decided.policy,
        ])?;
    let id = transaction.last_insert_rowid();
    let mut relations = transaction
        .prepare_cached("INSERT OR IGNORE INTO statement_relations VALUES (?1, ?2, ?3)")?;
    for used in &facts.relations {
        let name = decided.name_of(&used.relation);
        let action = match used.usage {
            Use::Read => "read",
            Use::Write => "write",
            Use::Define => "define",
        };
        relations.execute(params![id, name, action])?;
    }
    store_columns(id, decided, transaction)?;
    store_classes(id, decided, transaction)?;
    Ok(id)
}

fn store_columns(
    statement: i64,
    decided: &StatementDecided,
    transaction: &Transaction<'_>,
) -> rusqlite::Result<()> {
    let masks: HashMap<&ColumnName, Mask> = decided
        .decision
        .obligations
        .masks
        .iter()
        .map(|masked| (&masked.column, masked.mask))
        .collect();
    let mut insert = transaction
        .prepare_cached("INSERT OR IGNORE INTO statement_columns VALUES (?1, ?2, ?3, ?4)")?;
    for used in &decided.facts.columns {
        let mask = match used.usage {
            // What a statement writes is its own.
            ColumnUsage::Write => None,
            _ => masks.get(&used.column),
        };
        insert.execute(params![
            statement,
            used.column.to_string(),
            word(&used.usage),
            mask.map(ToString::to_string).unwrap_or_default(),
        ])?;
    }
    Ok(())
}

fn store_classes(
    statement: i64,
    decided: &StatementDecided,
    transaction: &Transaction<'_>,
) -> rusqlite::Result<()> {
    let mut insert = transaction
        .prepare_cached("INSERT OR IGNORE INTO statement_classes VALUES (?1, ?2, ?3)")?;
    for classed in &decided.classes {
        for class in &classed.classes {
            insert.execute(params![statement, classed.name, class])?;
        }
    }
    Ok(())
}

/// The word that a plain enum serialises to.
pub(crate) fn word(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}

pub(super) fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
