//! review: what an access review goes through. Each line is one principal's use of one table, to be kept or withdrawn.

use std::collections::BTreeSet;

use rusqlite::params;

use super::{
    Answer, Column, PRINCIPAL, Period, Reading, Shape, Value, column, proof_of, select,
    verified_of, words,
};

const COLUMNS: &[Column] = &[
    column("principal", Shape::Text),
    column("kind", Shape::Text),
    column("issuer", Shape::Text),
    column("groups", Shape::Text),
    column("actor", Shape::Text),
    column("endpoint", Shape::Text),
    column("database", Shape::Text),
    column("database_users", Shape::Text),
    column("table", Shape::Text),
    column("access", Shape::Text),
    column("programs", Shape::Text),
    column("statements", Shape::Count),
    column("denied", Shape::Count),
    column("rows", Shape::Count),
    column("last", Shape::Time),
    column("proof", Shape::Text),
    column("verified", Shape::Time),
    column("attention", Shape::Text),
];
const GROUPS: usize = 3;
const STATEMENTS: usize = 11;
const DENIED: usize = 12;
const LAST: usize = 14;
const PROOF: usize = 15;
/// Whose groups, proof and last verification a line shows.
const WHO: &[&str] = &["issuer", "subject", "kind", "actor"];
/// Columns that are lists of words.
const LISTS: [usize; 2] = [7, 10];

/// Access that was not used for so long is worth a question.
const IDLE_NS: u64 = 30 * 24 * 3600 * 1_000_000_000;

pub(super) fn rows(store: &Reading<'_>, period: Period) -> rusqlite::Result<Answer> {
    let (from, until) = period.hours();
    let (proof, verified) = (proof_of(WHO), verified_of(WHO));
    let mut rows = select(
        store,
        COLUMNS,
        &format!(
            "SELECT {PRINCIPAL}, c.kind, c.issuer,
                    (SELECT json_group_array(DISTINCT p.groups) FROM context_proofs p JOIN contexts o ON o.id = p.context
                     WHERE (o.issuer, o.subject, o.kind, o.actor) = (c.issuer, c.subject, c.kind, c.actor)),
                    c.actor, c.endpoint, c.database, json_group_array(DISTINCT c.database_user), u.relation, u.action,
                    json_group_array(DISTINCT c.exe), sum(u.statements), sum(u.denied),
                    CAST(total(u.rows) AS INTEGER), max(u.last_ns),
                    {proof}, {verified}, ''
             FROM usage u JOIN contexts c ON c.id = u.context
             WHERE u.hour >= ?1 AND u.hour < ?2 AND u.relation <> ''
             GROUP BY c.issuer, c.subject, c.kind, c.actor, c.endpoint, c.database, u.relation, u.action
             HAVING sum(u.statements) + sum(u.denied) > 0
             ORDER BY c.subject = '', c.subject, c.actor, c.endpoint, c.database, u.relation, u.action"
        ),
        params![from, until],
    )?;
    let (_, until_ns) = period.nanoseconds();
    for row in &mut rows {
        finish(row, until_ns);
    }
    Ok((COLUMNS, rows))
}

/// Makes words of the lists, and says what deserves a look.
fn finish(row: &mut [Value], until_ns: u64) {
    let text = |row: &[Value], at: usize| match row.get(at) {
        Some(Value::Text(text)) => text.clone(),
        _ => String::new(),
    };
    let number = |row: &[Value], at: usize| match row.get(at) {
        Some(Value::Number(number)) => *number,
        _ => 0,
    };
    let groups: BTreeSet<String> = serde_json::from_str::<Vec<String>>(&text(row, GROUPS))
        .unwrap_or_default()
        .iter()
        .flat_map(|groups| serde_json::from_str::<Vec<String>>(groups).unwrap_or_default())
        .collect();
    let proof = words::list(&text(row, PROOF));
    let mut attention = Vec::new();
    if text(row, 0) == "unidentified" {
        attention.push("nobody vouches for it".to_owned());
    } else if proof.contains("weak") {
        attention.push("weak proof".to_owned());
    }
    if number(row, DENIED) > 0 && number(row, DENIED) >= number(row, STATEMENTS) {
        attention.push("refused throughout".to_owned());
    }
    let idle = until_ns.saturating_sub(number(row, LAST));
    if idle >= IDLE_NS {
        attention.push(format!(
            "unused for {} days",
            idle / (24 * 3600 * 1_000_000_000)
        ));
    }
    row[GROUPS] = Value::Text(groups.into_iter().collect::<Vec<_>>().join(", "));
    row[PROOF] = Value::Text(proof);
    for at in LISTS {
        row[at] = Value::Text(words::list(&text(row, at)));
    }
    if let Some(last) = row.last_mut() {
        *last = Value::Text(attention.join(", "));
    }
}
