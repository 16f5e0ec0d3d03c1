//! columns: who used which column, for what, and whether they saw it masked.

use rusqlite::params;

use super::{Answer, Column, Period, Reading, Shape, column, escape, select};

const COLUMNS: &[Column] = &[
    column("column", Shape::Text),
    column("usage", Shape::Text),
    column("shown", Shape::Text),
    column("principal", Shape::Text),
    column("kind", Shape::Text),
    column("actor", Shape::Text),
    column("program", Shape::Text),
    column("endpoint", Shape::Text),
    column("database", Shape::Text),
    column("statements", Shape::Count),
    column("denied", Shape::Count),
    column("rows", Shape::Count),
    column("first", Shape::Time),
    column("last", Shape::Time),
];

pub(super) fn rows(
    store: &Reading<'_>,
    period: Period,
    pattern: Option<&str>,
) -> rusqlite::Result<Answer> {
    let (from, until) = period.hours();
    let pattern = pattern.map_or_else(|| "*".to_owned(), escape);
    let rows = select(
        store,
        COLUMNS,
        "SELECT u.column, u.usage, CASE u.mask WHEN '' THEN 'as it is' ELSE u.mask END,
                CASE c.subject WHEN '' THEN 'unidentified' ELSE c.subject END, c.kind, c.actor, c.exe, c.endpoint, c.database,
                sum(a.statements), sum(a.denied), CAST(total(a.rows) AS INTEGER),
                min(a.first_ns), max(a.last_ns)
         FROM statement_usage a JOIN statement_columns u ON u.statement = a.statement
         JOIN contexts c ON c.id = a.context
         WHERE a.hour >= ?1 AND a.hour < ?2 AND u.column GLOB ?3
         GROUP BY u.column, u.usage, u.mask, c.issuer, c.subject, c.kind, c.actor, c.exe, c.endpoint, c.database
         HAVING sum(a.statements) + sum(a.denied) > 0
         ORDER BY u.column, u.usage, u.mask, c.subject = '', c.subject, c.actor, c.exe, c.endpoint, c.database",
        params![from, until, pattern],
    )?;
    Ok((COLUMNS, rows))
}
