//! approvals: who asked, who decided and why, what ran, and what was taken back.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, params};
use serde_json::Value as Json;

use super::{Answer, Column, Period, Reading, Shape, Value, column, words};

const COLUMNS: &[Column] = &[
    column("approval", Shape::Text),
    column("requested", Shape::Time),
    column("requester", Shape::Text),
    column("actor", Shape::Text),
    column("program", Shape::Text),
    column("database", Shape::Text),
    column("statement", Shape::Text),
    column("rules", Shape::Text),
    column("asked_because", Shape::Text),
    column("approvers", Shape::Text),
    column("verdict", Shape::Text),
    column("decided", Shape::Time),
    column("waited_seconds", Shape::Count),
    column("holds_for", Shape::Text),
    column("ended", Shape::Text),
    column("ran_as_record", Shape::Text),
    column("bound_to", Shape::Text),
    column("policy", Shape::Text),
    column("ran_as_bound", Shape::Text),
    column("ran_again", Shape::Count),
    column("revoked", Shape::Time),
    column("revoked_by", Shape::Text),
    column("revoked_because", Shape::Text),
];

/// Everything known of one approval.
#[derive(Default)]
struct Case {
    requested: Option<(u64, Json)>,
    decisions: Vec<(u64, Json)>,
    ended: Option<Json>,
    /// How often a lasting approval let the same statement run again.
    used: u64,
    /// When, by whom and why a lasting approval was taken back.
    revoked: Option<(u64, Json)>,
}

pub(super) fn rows(store: &Reading<'_>, period: Period) -> rusqlite::Result<Answer> {
    let (from, until) = period.nanoseconds();
    // What was asked in the period, with all that came of it, also later; what was decided, used and taken back in it, also of
    // what was asked before.
    let mut query = store.prepare(
        "SELECT time_ns, event, body FROM event_records
         WHERE event IN ('approval_requested', 'approval_decided', 'approval_ended', 'approval_used', 'approval_revoked')
         AND body ->> '$.approval' IN (
             SELECT body ->> '$.approval' FROM event_records
             WHERE event IN ('approval_requested', 'approval_decided', 'approval_used', 'approval_revoked') AND time_ns >= ?1 AND time_ns < ?2)
         ORDER BY seq",
    )?;
    let mut found = query.query(params![from, until])?;
    let mut cases: BTreeMap<u64, Case> = BTreeMap::new();
    while let Some(row) = found.next()? {
        let text = row.get_ref(2)?.as_str()?;
        let body: Json = serde_json::from_str(text).unwrap_or_default();
        let Some(approval) = body["approval"].as_u64() else {
            continue;
        };
        // What came of the cases that there is room for is still to be read.
        if !cases.contains_key(&approval) && !store.has_room(text.len()) {
            continue;
        }
        let case = cases.entry(approval).or_default();
        let time: u64 = row.get(0)?;
        match row.get_ref(1)?.as_str()? {
            "approval_requested" => case.requested = Some((time, body)),
            "approval_decided" => case.decisions.push((time, body)),
            "approval_used" => case.used += 1,
            "approval_revoked" => case.revoked = Some((time, body)),
            _ => case.ended = Some(body),
        }
    }
    let rows = cases
        .iter()
        .map(|(approval, case)| row(store, *approval, case))
        .collect::<rusqlite::Result<_>>()?;
    Ok((COLUMNS, rows))
}

fn row(store: &Connection, approval: u64, case: &Case) -> rusqlite::Result<Vec<Value>> {
    let nothing = Json::Null;
    let (asked_ns, request) = case
        .requested
        .as_ref()
        .map_or((None, &nothing), |(time, body)| (Some(*time), body));
    let (program, database) = session(store, request["session"].as_u64())?;
    let last = case.decisions.last();
    let ended = case.ended.as_ref().unwrap_or(&nothing);
    let text = |value: &Json| Value::Text(value.as_str().unwrap_or_default().to_owned());
    let time = |time: Option<u64>| time.map_or(Value::Empty, Value::Number);
    let waited = asked_ns
        .zip(last)
        .map(|(asked, (decided, _))| decided.saturating_sub(asked) / 1_000_000_000);
    Ok(vec![
        Value::Text(approval.to_string()),
        time(asked_ns),
        Value::Text(words::subject(&request["requester"])),
        Value::Text(words::actors(&request["requester"])),
        Value::Text(program),
        Value::Text(database),
        text(&request["text"]),
        Value::Text(joined(&request["rules"])),
        text(&request["reason"]),
        Value::Text(
            case.decisions
                .iter()
                .map(|(_, decision)| decided(decision))
                .collect::<Vec<_>>()
                .join("; "),
        ),
        Value::Text(verdict(case).to_owned()),
        time(last.map(|(time, _)| *time)),
        time(waited),
        Value::Text(holds_for(case)),
        Value::Text(ended["how"].as_str().unwrap_or("waits").replace('_', " ")),
        Value::Text(
            ended["request"]
                .as_u64()
                .map_or_else(String::new, |seq| seq.to_string()),
        ),
        text(&request["bound"]["to"]),
        text(&request["bound"]["policy"]),
        Value::Text(as_bound(&request["bound"]["to"], &ended["ran"]).to_owned()),
        Value::Number(case.used),
        time(case.revoked.as_ref().map(|(time, _)| *time)),
        Value::Text(
            case.revoked
                .as_ref()
                .map_or_else(String::new, |(_, revoked)| who(&revoked["approver"])),
        ),
        text(&case.revoked.as_ref().unwrap_or(&(0, Json::Null)).1["reason"]),
    ])
}

/// How long an approval holds; empty for what nobody approved.
fn holds_for(case: &Case) -> String {
    let Some((_, last)) = case.decisions.last() else {
        return String::new();
    };
    if !matches!(verdict(case), "approved" | "break glass") {
        return String::new();
    }
    match last["until_ns"].as_u64() {
        Some(until) => format!("until {}", super::period::rfc3339(until)),
        None => "once".to_owned(),
    }
}

/// Whether what ran is what was approved, where both are known.
fn as_bound(bound: &Json, ran: &Json) -> &'static str {
    match (bound.as_str(), ran.as_str()) {
        (Some(bound), Some(ran)) if bound == ran => "yes",
        (Some(_), Some(_)) => "no",
        _ => "",
    }
}

/// Who said what, and why.
fn decided(decision: &Json) -> String {
    let glass = if decision["break_glass"] == true {
        ", glass broken"
    } else {
        ""
    };
    format!(
        "{}: {}{glass} ({})",
        who(&decision["approver"]),
        decision["verdict"].as_str().unwrap_or_default(),
        decision["reason"].as_str().unwrap_or_default()
    )
}

/// Somebody, and through whom.
fn who(identity: &Json) -> String {
    let who = words::subject(identity);
    let actor = words::actors(identity);
    if actor.is_empty() {
        who
    } else {
        format!("{who} via {actor}")
    }
}

/// One refusal is a refusal.
fn verdict(case: &Case) -> &'static str {
    let says = |word: &str| {
        case.decisions
            .iter()
            .any(|(_, decision)| decision["verdict"] == word)
    };
    if says("denied") {
        "denied"
    } else if case
        .decisions
        .iter()
        .any(|(_, decision)| decision["break_glass"] == true)
    {
        "break glass"
    } else if says("approved") {
        "approved"
    } else {
        "undecided"
    }
}

/// Program and database of a session.
fn session(store: &Connection, id: Option<u64>) -> rusqlite::Result<(String, String)> {
    let found = store
        .prepare_cached(
            "SELECT c.exe, c.database FROM session_records s JOIN contexts c ON c.id = s.context WHERE s.id = ?1",
        )?
        .query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    Ok(found.unwrap_or_default())
}

fn joined(list: &Json) -> String {
    let words: Vec<_> = list
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Json::as_str)
        .collect();
    words.join(", ")
}
