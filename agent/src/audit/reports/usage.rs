//! usage: who used what, with which program, and how much classified data came back masked or in clear.

use std::collections::BTreeSet;

use rusqlite::params;

use super::{
    Answer, Column, PRINCIPAL, Period, Reading, Shape, Value, column, select, table_patterns,
};

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
    column("classes", Shape::Text),
    column("statements", Shape::Count),
    column("denied", Shape::Count),
    column("failed", Shape::Count),
    column("rows", Shape::Count),
    column("bytes", Shape::Bytes),
    column("cells_masked", Shape::Count),
    column("cells_clear", Shape::Count),
    column("first", Shape::Time),
    column("last", Shape::Time),
];
const CLASSES: usize = 9;

/// A cell is a row's value of a column that has a class and is part of the answer, or of what the answer is made of. Cells
/// and classes are known where statements were resolved in the catalog, and counted where the table is read.
pub(super) fn rows(
    store: &Reading<'_>,
    period: Period,
    table: Option<&str>,
) -> rusqlite::Result<Answer> {
    let (from, until) = period.hours();
    let (qualified, bare) = table_patterns(table);
    let mut rows = select(
        store,
        COLUMNS,
        &format!(
            "WITH used AS (
                 SELECT context, relation, action, sum(statements) AS statements, sum(denied) AS denied,
                        sum(failed) AS failed,
                        CAST(total(rows) AS INTEGER) AS rows, CAST(total(bytes) AS INTEGER) AS bytes,
                        min(first_ns) AS first_ns, max(last_ns) AS last_ns
                 FROM usage WHERE hour >= ?1 AND hour < ?2 AND (relation GLOB ?3 OR relation GLOB ?4) GROUP BY 1, 2, 3
             ), named AS (
                 SELECT k.statement, {RELATION} AS relation, k.name, json_group_array(DISTINCT k.class) AS classes
                 FROM statement_classes k GROUP BY k.statement, k.name
             ), seen AS (
                 SELECT n.statement, n.relation, json_group_array(n.classes) AS classes,
                        sum(u.column IS NOT NULL AND u.mask <> '') AS masked, sum(u.column IS NOT NULL AND u.mask = '') AS clear
                 FROM named n LEFT JOIN statement_columns u
                   ON u.statement = n.statement AND u.column = n.name AND u.usage = 'output'
                 GROUP BY n.statement, n.relation
             ), cells AS (
                 SELECT a.context, s.relation, json_group_array(DISTINCT s.classes) AS classes,
                        CAST(total(a.rows * s.masked) AS INTEGER) AS masked,
                        CAST(total(a.rows * s.clear) AS INTEGER) AS clear
                 FROM seen s JOIN statement_usage a ON a.statement = s.statement
                 WHERE a.hour >= ?1 AND a.hour < ?2 GROUP BY 1, 2
             )
             SELECT {PRINCIPAL}, c.kind, c.actor, c.exe, CAST(c.uid AS TEXT), c.endpoint, c.database, u.relation, u.action,
                    json_group_array(k.classes),
                    sum(u.statements), sum(u.denied), sum(u.failed), CAST(total(u.rows) AS INTEGER),
                    CAST(total(u.bytes) AS INTEGER), CAST(total(k.masked) AS INTEGER),
                    CAST(total(k.clear) AS INTEGER), min(u.first_ns), max(u.last_ns)
             FROM used u JOIN contexts c ON c.id = u.context
             LEFT JOIN cells k ON k.context = u.context AND k.relation = u.relation AND u.action = 'read'
             GROUP BY c.issuer, c.subject, c.kind, c.actor, c.exe, c.uid, c.endpoint, c.database, u.relation, u.action
             HAVING sum(u.statements) + sum(u.denied) + sum(u.failed) > 0
             ORDER BY c.subject = '', c.subject, c.actor, c.exe, c.uid, c.endpoint, c.database, u.relation, u.action"
        ),
        params![from, until, qualified, bare],
    )?;
    for row in &mut rows {
        if let Some(classes) = row.get_mut(CLASSES) {
            *classes = Value::Text(most_specific(classes));
        }
    }
    Ok((COLUMNS, rows))
}

/// The relation of what has a class, which is a relation or a column.
const RELATION: &str = "CASE WHEN k.name GLOB '*.*.*' THEN rtrim(rtrim(k.name, replace(k.name, '.', '')), '.') ELSE k.name END";

/// Words in lists in lists, without those that others are part of.
fn most_specific(classes: &Value) -> String {
    fn gather(json: &str, into: &mut BTreeSet<String>) {
        match serde_json::from_str::<Vec<Option<String>>>(json) {
            Ok(inner) => inner.iter().flatten().for_each(|json| gather(json, into)),
            Err(_) => drop(into.insert(json.to_owned())),
        }
    }
    let mut all = BTreeSet::new();
    if let Value::Text(json) = classes {
        gather(json, &mut all);
    }
    let is_part = |class: &str, of: &str| {
        class
            .strip_prefix(of)
            .is_some_and(|rest| rest.starts_with('.'))
    };
    let kept: Vec<&str> = all
        .iter()
        .filter(|class| !all.iter().any(|other| is_part(other, class)))
        .map(String::as_str)
        .collect();
    kept.join(", ")
}
