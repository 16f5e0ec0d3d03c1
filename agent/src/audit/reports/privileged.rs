//! privileged: definitions, grants and refusals, and what changed about weir itself.

use rusqlite::params;

use super::{Answer, Column, PRINCIPAL, Period, Reading, Shape, Value, column, select, words};

const COLUMNS: &[Column] = &[
    column("first", Shape::Time),
    column("last", Shape::Time),
    column("what", Shape::Text),
    column("principal", Shape::Text),
    column("actor", Shape::Text),
    column("program", Shape::Text),
    column("uid", Shape::Text),
    column("database", Shape::Text),
    column("effect", Shape::Text),
    column("rules", Shape::Text),
    column("statements", Shape::Count),
    column("denied", Shape::Count),
    column("text", Shape::Text),
];

/// Events that completeness is about.
const ELSEWHERE: &str = "'ungoverned', 'kernel_counted'";

pub(super) fn rows(store: &Reading<'_>, period: Period) -> rusqlite::Result<Answer> {
    let (from, until) = period.hours();
    let mut rows = select(
        store,
        COLUMNS,
        &format!(
            "SELECT min(a.first_ns) AS first, max(a.last_ns), s.kinds, {PRINCIPAL},
                    c.actor, c.exe, CAST(c.uid AS TEXT), c.database, s.effect, s.rules, sum(a.statements), sum(a.denied), s.text
             FROM statement_usage a JOIN statement_records s ON s.id = a.statement JOIN contexts c ON c.id = a.context
             WHERE a.hour >= ?1 AND a.hour < ?2
             GROUP BY s.id, c.id
             HAVING sum(a.denied) > 0 OR s.effect <> 'allow' OR EXISTS (
                 SELECT 1 FROM (SELECT ',' || s.kinds || ',' AS kinds)
                 WHERE kinds LIKE '%,create,%' OR kinds LIKE '%,alter,%' OR kinds LIKE '%,drop,%'
                    OR kinds LIKE '%,truncate,%' OR kinds LIKE '%,grant,%' OR kinds LIKE '%,replication,%')"
        ),
        params![from, until],
    )?;
    for row in &mut rows {
        if let Some(Value::Text(rules)) = row.get_mut(9) {
            *rules = words::list(rules);
        }
    }
    rows.extend(events(store, period)?);
    rows.sort_by_key(|row| match row.first() {
        Some(Value::Number(ns)) => *ns,
        _ => 0,
    });
    Ok((COLUMNS, rows))
}

/// What changed about weir, and what happened to it.
fn events(store: &Reading<'_>, period: Period) -> rusqlite::Result<Vec<Vec<Value>>> {
    let (from, until) = period.nanoseconds();
    let mut query = store.prepare(&format!(
        "SELECT time_ns, event, body FROM event_records WHERE time_ns >= ?1 AND time_ns < ?2 AND event NOT IN ({ELSEWHERE})"
    ))?;
    let found = query.query_map(params![from, until], |row| {
        let time = Value::Number(row.get(0)?);
        let told = words::event(&row.get::<_, String>(2)?);
        Ok(vec![
            time.clone(),
            time,
            Value::Text(row.get(1)?),
            Value::Text(told.who),
            Value::Text(told.actor),
            Value::Empty,
            Value::Empty,
            Value::Empty,
            Value::Empty,
            Value::Empty,
            Value::Empty,
            Value::Empty,
            Value::Text(told.what),
        ])
    })?;
    store.gather(found)
}
