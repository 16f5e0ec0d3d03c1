//! completeness: what weir saw, what it did not govern, and every gap.

use rusqlite::{Connection, params};

use super::{Answer, Column, Period, Shape, Value, column};

const COLUMNS: &[Column] = &[
    column("measure", Shape::Text),
    column("count", Shape::Count),
];

pub(super) fn rows(store: &Connection, period: Period) -> rusqlite::Result<Answer> {
    let (from_ns, until_ns) = period.nanoseconds();
    let mut rows = Vec::new();
    let mut measure = |name: &str, count: u64| {
        rows.push(vec![Value::Text(name.to_owned()), Value::Number(count)]);
    };
    let count =
        |sql: &str| store.query_row(sql, params![from_ns, until_ns], |row| row.get::<_, u64>(0));
    measure(
        "sessions governed",
        count("SELECT count(*) FROM session_records WHERE opened_ns >= ?1 AND opened_ns < ?2")?,
    );
    measure(
        "of them unidentified",
        count(
            "SELECT count(*) FROM session_records s JOIN contexts c ON c.id = s.context
             WHERE opened_ns >= ?1 AND opened_ns < ?2 AND c.subject = ''",
        )?,
    );
    // Each of these shares its connection with the session before it.
    measure(
        "of them gone on with by another process",
        count(
            "SELECT count(*) FROM event_records
             WHERE event = 'sender_changed' AND body ->> '$.continued_as' IS NOT NULL
               AND time_ns >= ?1 AND time_ns < ?2",
        )?,
    );
    measure(
        "connections refused before a session",
        count(&events("connection_refused", "count(*)"))?,
    );
    let mut query = store.prepare(
        "SELECT body ->> '$.why', count(*) FROM event_records
         WHERE event = 'ungoverned' AND time_ns >= ?1 AND time_ns < ?2 GROUP BY 1 ORDER BY 1",
    )?;
    let ungoverned = query.query_map(params![from_ns, until_ns], |row| {
        Ok((row.get::<_, String>(0)?, row.get(1)?))
    })?;
    for reason in ungoverned {
        let (why, connections) = reason?;
        measure(&format!("connections not governed: {why}"), connections);
    }
    measure("times without an agent", count(&events("gap", "count(*)"))?);
    measure(
        "connections passed without an agent",
        count(&events("gap", "coalesce(sum(body ->> '$.passed'), 0)"))?,
    );
    measure(
        "connections refused without an agent",
        count(&events("gap", "coalesce(sum(body ->> '$.denied'), 0)"))?,
    );
    measure("incidents", count(&events("incident", "count(*)"))?);
    measure(
        "requests without an outcome",
        store.query_row("SELECT count(*) FROM open_requests", [], |row| row.get(0))?,
    );
    measure(
        "breaks in the journal",
        store.query_row("SELECT count(*) FROM breaks", [], |row| row.get(0))?,
    );
    Ok((COLUMNS, rows))
}

fn events(name: &str, what: &str) -> String {
    format!(
        "SELECT {what} FROM event_records WHERE event = '{name}' AND time_ns >= ?1 AND time_ns < ?2"
    )
}
