//! usage: who used what, with which program.

use rusqlite::{Connection, params};

use super::{Answer, Column, Period, Shape, column, select, table_patterns};

const COLUMNS: &[Column] = &[
    column("principal", Shape::Text),
    column("kind", Shape::Text),
    column("actor", Shape::Text),
    column("program", Shape::Text),
    column("uid", Shape::Text),
    column("endpoint", Shape::Text),
    column("database", Shape::Text),
    column("table", Shape::Text),
    column("access", Shape::Text),
    column("statements", Shape::Count),
    column("denied", Shape::Count),
    column("failed", Shape::Count),
    column("rows", Shape::Count),
    column("bytes", Shape::Bytes),
    column("first", Shape::Time),
    column("last", Shape::Time),
];

pub(super) fn rows(
    store: &Connection,
    period: Period,
    table: Option<&str>,
) -> rusqlite::Result<Answer> {
    let (from, until) = period.hours();
    let (qualified, bare) = table_patterns(table);
    let rows = select(
        store,
        COLUMNS,
        "SELECT CASE c.subject WHEN '' THEN 'unidentified' ELSE c.subject END, c.kind, c.actor, c.exe, CAST(c.uid AS TEXT),
                c.endpoint, c.database, u.relation, u.action,
                sum(u.statements), sum(u.denied), sum(u.failed), sum(u.rows), sum(u.bytes), min(u.first_ns), max(u.last_ns)
         FROM usage u JOIN contexts c ON c.id = u.context
         WHERE u.hour >= ?1 AND u.hour < ?2 AND (u.relation GLOB ?3 OR u.relation GLOB ?4)
         GROUP BY c.issuer, c.subject, c.kind, c.actor, c.exe, c.uid, c.endpoint, c.database, u.relation, u.action
         HAVING sum(u.statements) + sum(u.denied) + sum(u.failed) > 0
         ORDER BY c.subject = '', c.subject, c.actor, c.exe, c.uid, c.endpoint, c.database, u.relation, u.action",
        params![from, until, qualified, bare],
    )?;
    Ok((COLUMNS, rows))
}
