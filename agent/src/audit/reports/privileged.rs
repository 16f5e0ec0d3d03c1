//! privileged: definitions, grants and refusals, and what changed about weir itself.

use rusqlite::{Connection, params};

use super::{Answer, Column, Period, Shape, column, select};

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

pub(super) fn rows(store: &Connection, period: Period) -> rusqlite::Result<Answer> {
    let (from, until) = period.hours();
    let (from_ns, until_ns) = period.nanoseconds();
    let rows = select(
        store,
        COLUMNS,
        "SELECT min(a.first_ns) AS first, max(a.last_ns), s.kinds, CASE c.subject WHEN '' THEN 'unidentified' ELSE c.subject END,
                c.actor, c.exe, CAST(c.uid AS TEXT), c.database, s.effect, s.rules, sum(a.statements), sum(a.denied), s.text
         FROM activity a JOIN statement_records s ON s.id = a.statement
         JOIN session_records n ON n.id = a.session JOIN contexts c ON c.id = n.context
         WHERE a.hour >= ?1 AND a.hour < ?2
         GROUP BY s.id, c.id
         HAVING sum(a.denied) > 0 OR s.effect <> 'allow' OR EXISTS (
             SELECT 1 FROM (SELECT ',' || s.kinds || ',' AS kinds)
             WHERE kinds LIKE '%,create,%' OR kinds LIKE '%,alter,%' OR kinds LIKE '%,drop,%'
                OR kinds LIKE '%,truncate,%' OR kinds LIKE '%,grant,%' OR kinds LIKE '%,replication,%')
         UNION ALL
         SELECT time_ns, time_ns, event, coalesce(body ->> '$.identity.principal.subject', ''), '', '', '', '', '', '', NULL, NULL, body
         FROM event_records WHERE time_ns >= ?3 AND time_ns < ?4 AND event <> 'ungoverned'
         ORDER BY first",
        params![from, until, from_ns, until_ns],
    )?;
    Ok((COLUMNS, rows))
}
