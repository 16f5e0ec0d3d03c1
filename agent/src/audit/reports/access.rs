//! access: who touched a table, or data of a class, as which database user, with which kinds of statement.

use rusqlite::params;

use super::{
    Answer, Column, Period, Reading, Shape, Value, column, proof_of, select, table_patterns,
    verified_of, words,
};

const COLUMNS: &[Column] = &[
    column("table", Shape::Text),
    column("access", Shape::Text),
    column("kinds", Shape::Text),
    column("principal", Shape::Text),
    column("issuer", Shape::Text),
    column("actor", Shape::Text),
    column("program", Shape::Text),
    column("uid", Shape::Text),
    column("endpoint", Shape::Text),
    column("database", Shape::Text),
    column("database_user", Shape::Text),
    column("statements", Shape::Count),
    column("denied", Shape::Count),
    column("failed", Shape::Count),
    column("rows", Shape::Count),
    column("bytes", Shape::Bytes),
    column("first", Shape::Time),
    column("last", Shape::Time),
    column("proof", Shape::Text),
    column("verified", Shape::Time),
];

const BY_CLASS: &[Column] = &[
    column("class", Shape::Text),
    column("data", Shape::Text),
    column("shown", Shape::Text),
    column("kinds", Shape::Text),
    column("principal", Shape::Text),
    column("issuer", Shape::Text),
    column("actor", Shape::Text),
    column("program", Shape::Text),
    column("uid", Shape::Text),
    column("endpoint", Shape::Text),
    column("database", Shape::Text),
    column("database_user", Shape::Text),
    column("statements", Shape::Count),
    column("denied", Shape::Count),
    column("failed", Shape::Count),
    column("rows", Shape::Count),
    column("first", Shape::Time),
    column("last", Shape::Time),
    column("proof", Shape::Text),
    column("verified", Shape::Time),
];

/// What a line's contexts have in common.
const WHO: &[&str] = &[
    "issuer",
    "subject",
    "actor",
    "exe",
    "uid",
    "endpoint",
    "database",
    "database_user",
];

/// Who touched data of a class, or of what is part of it. A relation that has the class as a whole is a line of its own.
pub(super) fn rows_of_class(
    store: &Reading<'_>,
    period: Period,
    table: Option<&str>,
    class: &str,
) -> rusqlite::Result<Answer> {
    let (from, until) = period.hours();
    // A column is found by its table, and a relation by its own name.
    let (qualified, _) = table_patterns(table);
    let (proof, verified) = (proof_of(WHO), verified_of(WHO));
    let rows = select(
        store,
        BY_CLASS,
        &format!("SELECT k.class, k.name,
                CASE WHEN u.mask IS NULL THEN '' WHEN u.mask = '' THEN 'as it is' ELSE u.mask END, r.kinds,
                CASE c.subject WHEN '' THEN 'unidentified' ELSE c.subject END, c.issuer, c.actor,
                c.exe, CAST(c.uid AS TEXT), c.endpoint, c.database, c.database_user,
                sum(a.statements), sum(a.denied), sum(a.failed), CAST(total(a.rows) AS INTEGER),
                min(a.first_ns), max(a.last_ns),
                {proof}, {verified}
         FROM statement_classes k
         JOIN statement_usage a ON a.statement = k.statement
         JOIN statement_records r ON r.id = k.statement
         JOIN contexts c ON c.id = a.context
         LEFT JOIN (SELECT statement, column, max(mask) AS mask FROM statement_columns WHERE usage <> 'write' GROUP BY 1, 2) u
                ON u.statement = k.statement AND u.column = k.name
         WHERE a.hour >= ?1 AND a.hour < ?2 AND k.class = ?3
           AND (k.name GLOB ?4 || '.*' OR (k.name GLOB ?4 AND k.name NOT GLOB '*.*.*'))
         GROUP BY k.name, u.mask, r.kinds, c.issuer, c.subject, c.actor, c.exe, c.uid, c.endpoint, c.database, c.database_user
         HAVING sum(a.statements) + sum(a.denied) + sum(a.failed) > 0
         ORDER BY k.name, c.subject = '', c.subject, c.actor, c.exe, c.uid, c.endpoint, c.database, r.kinds"),
        params![from, until, class, qualified],
    )?;
    Ok((BY_CLASS, proofs_in_words(BY_CLASS, rows)))
}

pub(super) fn rows(
    store: &Reading<'_>,
    period: Period,
    table: Option<&str>,
) -> rusqlite::Result<Answer> {
    let (from, until) = period.hours();
    let (qualified, bare) = table_patterns(table);
    let (proof, verified) = (proof_of(WHO), verified_of(WHO));
    let rows = select(
        store,
        COLUMNS,
        &format!("SELECT u.relation, u.action, u.kinds, CASE c.subject WHEN '' THEN 'unidentified' ELSE c.subject END, c.issuer, c.actor,
                c.exe, CAST(c.uid AS TEXT), c.endpoint, c.database, c.database_user,
                sum(u.statements), sum(u.denied), sum(u.failed), CAST(total(u.rows) AS INTEGER),
                CAST(total(u.bytes) AS INTEGER), min(u.first_ns), max(u.last_ns),
                {proof}, {verified}
         FROM usage u JOIN contexts c ON c.id = u.context
         WHERE u.hour >= ?1 AND u.hour < ?2 AND u.relation <> '' AND (u.relation GLOB ?3 OR u.relation GLOB ?4)
         GROUP BY u.relation, u.action, u.kinds, c.issuer, c.subject, c.actor, c.exe, c.uid, c.endpoint, c.database, c.database_user
         HAVING sum(u.statements) + sum(u.denied) + sum(u.failed) > 0
         ORDER BY u.relation, u.action, c.subject = '', c.subject, c.actor, c.exe, c.uid, c.endpoint, c.database, u.kinds"),
        params![from, until, qualified, bare],
    )?;
    Ok((COLUMNS, proofs_in_words(COLUMNS, rows)))
}

fn proofs_in_words(columns: &[Column], mut rows: Vec<Vec<Value>>) -> Vec<Vec<Value>> {
    let proof = columns.iter().position(|column| column.name == "proof");
    for row in &mut rows {
        if let Some(Value::Text(words)) = proof.and_then(|at| row.get_mut(at)) {
            *words = words::list(words);
        }
    }
    rows
}
