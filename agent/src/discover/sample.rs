//! Reading samples: read only, a few rows of each table, within a time limit, never a view or a foreign table.
//!
//! Nothing of the owners' own runs with the agent's rights: views are left out, row-level security is off (a table that
//! would apply a policy to us answers with an error instead), and only types of the server's own are converted.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;
use tokio_postgres::SimpleQueryRow;
use weir_detect::columns::{ColumnFacts, propose};
use weir_sql::{
    ColumnName,
    catalog::{Catalog, Column, Relation, RelationKind},
};

use super::{Discoveries, Found, Proposed, Unread};
use crate::{
    catalog::{Place, Session, SideError},
    telemetry,
};

/// Looks at one database; what was found before an error stays in `found`.
pub(super) async fn read(
    of: &Discoveries,
    place: &Place,
    sample: u32,
    found: &mut Found,
) -> Result<(), SideError> {
    let session = of.catalogs.open(place).await?;
    let catalog = session.catalog().await?;
    let sizes = sizes(&session).await?;
    let comments = comments(&session).await?;
    let until = Instant::now() + TIME_LIMIT;
    for relation in worth_reading(&catalog) {
        found.relations += 1;
        found.columns += relation.columns.len();
        let rows = if Instant::now() < until {
            sampled(
                &session,
                relation,
                sizes.get(&relation.oid).copied(),
                sample,
            )
            .await
        } else {
            Err("the time for one look was over".to_owned())
        };
        let rows = rows.unwrap_or_else(|why| {
            if found.unread.len() < MAX_UNREAD {
                found.unread.push(Unread {
                    relation: format!("{}.{}", relation.schema, relation.name),
                    why,
                });
            }
            Vec::new()
        });
        vote(of, relation, &comments, &rows, found);
    }
    Ok(())
}

/// Tables with columns, in order of name. A partition or a child has its parent's classes.
fn worth_reading(catalog: &Catalog) -> Vec<&Relation> {
    let mut relations: Vec<&Relation> = catalog
        .relations
        .values()
        .filter(|relation| {
            matches!(
                relation.kind,
                RelationKind::Table | RelationKind::MaterialisedView | RelationKind::Foreign
            ) && !relation.system
                && relation.parents.is_empty()
        })
        .collect();
    relations.sort_by(|a, b| (&a.schema, &a.name).cmp(&(&b.schema, &b.name)));
    relations.truncate(MAX_RELATIONS);
    relations
}

fn vote(
    of: &Discoveries,
    relation: &Relation,
    comments: &HashMap<(u32, i16), String>,
    rows: &[SimpleQueryRow],
    found: &mut Found,
) {
    let pack = of.policy.current().pack.clone();
    let mut cell = 0;
    for column in &relation.columns {
        let mine = cell;
        let is_read = expression(column).is_some();
        cell += usize::from(is_read);
        let values = rows
            .iter()
            .filter(|_| is_read)
            .filter_map(|row| row.get(mine))
            .map(str::as_bytes);
        let facts = ColumnFacts {
            schema: &relation.schema,
            relation: &relation.name,
            name: &column.name,
            type_name: &column.type_sql,
            comment: comments
                .get(&(relation.oid, column.number))
                .map(String::as_str),
        };
        let Some(proposal) = propose(&of.scanner, &facts, values) else {
            continue;
        };
        let name = ColumnName {
            schema: relation.schema.clone(),
            relation: relation.name.clone(),
            column: column.name.clone(),
        };
        found.proposals.push(Proposed {
            known: pack.classes_of(&name),
            column: name,
            proposal,
        });
    }
}

async fn sampled(
    session: &Session,
    relation: &Relation,
    size: Option<f64>,
    sample: u32,
) -> Result<Vec<SimpleQueryRow>, String> {
    if relation.kind == RelationKind::Foreign {
        return Err("its values are on another server".to_owned());
    }
    let Some(query) = query(relation, size, sample) else {
        return Ok(Vec::new());
    };
    let read = async |query: &str| {
        let rows = session.rows("a sample", query, SECONDS_PER_TABLE).await;
        rows.map_err(|error| telemetry::chain(&error))
    };
    let rows = read(&query).await?;
    if rows.is_empty() && query.contains(TABLESAMPLE) {
        // Pages that were picked may hold no row.
        return read(&self::query(relation, None, sample).unwrap_or_default()).await;
    }
    Ok(rows)
}

/// The query for a sample; `None` when no column is worth reading.
fn query(relation: &Relation, size: Option<f64>, sample: u32) -> Option<String> {
    let columns: Vec<String> = relation.columns.iter().filter_map(expression).collect();
    if columns.is_empty() {
        return None;
    }
    let wanted = f64::from(sample);
    let picked = match size {
        // A sample of pages spreads over the table; ten times as many rows as wanted survive pages that are half empty.
        Some(rows) if rows > wanted * 50.0 && relation.kind == RelationKind::Table => {
            format!(
                " {TABLESAMPLE} ({:.6})",
                (wanted * 10.0 / rows * 100.0).clamp(0.000_1, 100.0)
            )
        }
        _ => String::new(),
    };
    Some(format!(
        "SET LOCAL row_security = off; SELECT {} FROM {}.{}{picked} LIMIT {sample}",
        columns.join(", "),
        quoted(&relation.schema),
        quoted(&relation.name),
    ))
}

/// How a column is read: its beginning, as text; `None` where the name and the type are all that is looked at.
fn expression(column: &Column) -> Option<String> {
    let name = quoted(&column.name);
    match column.base_type {
        TEXT | VARCHAR | BPCHAR | JSON | JSONB | XML => Some(format!(
            "pg_catalog.left({name}::pg_catalog.text, {MAX_CHARACTERS})"
        )),
        NAME | INT4 | INT8 | NUMERIC | DATE | TIMESTAMP | TIMESTAMPTZ | INET | MACADDR
        | TEXT_ARRAY | VARCHAR_ARRAY => Some(name),
        _ => None,
    }
}

/// Rows of each table, as the server guesses.
async fn sizes(session: &Session) -> Result<HashMap<u32, f64>, SideError> {
    let rows = session
        .rows("the sizes of tables", SIZES, SECONDS_PER_TABLE)
        .await?;
    Ok(rows
        .iter()
        .filter_map(|row| Some((row.get(0)?.parse().ok()?, row.get(1)?.parse().ok()?)))
        .collect())
}

async fn comments(session: &Session) -> Result<HashMap<(u32, i16), String>, SideError> {
    let rows = session
        .rows("comments on columns", COMMENTS, SECONDS_PER_TABLE)
        .await?;
    Ok(rows
        .iter()
        .filter_map(|row| {
            let key = (row.get(0)?.parse().ok()?, row.get(1)?.parse().ok()?);
            Some((key, row.get(2)?.to_owned()))
        })
        .collect())
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

const SIZES: &str = "SELECT oid, reltuples FROM pg_catalog.pg_class \
    WHERE relkind OPERATOR(pg_catalog.=) 'r' AND reltuples OPERATOR(pg_catalog.>) 0";

const COMMENTS: &str = "SELECT objoid, objsubid, pg_catalog.left(description, 500) FROM pg_catalog.pg_description \
    WHERE classoid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass \
    AND objsubid OPERATOR(pg_catalog.>) 0 LIMIT 100000";

const TABLESAMPLE: &str = "TABLESAMPLE SYSTEM";

/// <https://github.com/postgres/postgres/blob/master/src/include/catalog/pg_type.dat>
const INT8: u32 = 20;
const NAME: u32 = 19;
const INT4: u32 = 23;
const TEXT: u32 = 25;
const JSON: u32 = 114;
const XML: u32 = 142;
const MACADDR: u32 = 829;
const INET: u32 = 869;
const TEXT_ARRAY: u32 = 1009;
const VARCHAR_ARRAY: u32 = 1015;
const BPCHAR: u32 = 1042;
const VARCHAR: u32 = 1043;
const DATE: u32 = 1082;
const TIMESTAMP: u32 = 1114;
const TIMESTAMPTZ: u32 = 1184;
const NUMERIC: u32 = 1700;
const JSONB: u32 = 3802;

/// Longer values say no more about a column.
const MAX_CHARACTERS: u32 = 4_096;
const SECONDS_PER_TABLE: u32 = 5;
const MAX_RELATIONS: usize = 20_000;
const MAX_UNREAD: usize = 500;
/// A look at one database ends then; the rest is judged by names and types.
const TIME_LIMIT: Duration = Duration::from_mins(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn relation() -> Relation {
        let column = |number: i16, name: &str, base_type: u32| Column {
            number,
            name: name.to_owned(),
            type_oid: base_type,
            type_sql: "text".to_owned(),
            base_type,
            category: 'S',
            bases: Vec::new(),
            exact: true,
            generated_from: None,
        };
        Relation {
            oid: 1,
            schema: "a\"b".to_owned(),
            name: "t".to_owned(),
            kind: RelationKind::Table,
            columns: vec![
                column(1, "x", TEXT),
                column(2, "shape", 600),
                column(3, "n", INT8),
            ],
            parents: Vec::new(),
            primary_key: Vec::new(),
            definition: None,
            row_bases: Vec::new(),
            reads: Vec::new(),
            rules_read: Vec::new(),
            writing_runs: Vec::new(),
            system: false,
        }
    }

    #[test]
    fn names_are_quoted_and_other_types_left_out() {
        let query = query(&relation(), None, 7).expect("columns to read");
        assert_eq!(
            query,
            "SET LOCAL row_security = off; SELECT pg_catalog.left(\"x\"::pg_catalog.text, 4096), \"n\" \
             FROM \"a\"\"b\".\"t\" LIMIT 7"
        );
    }

    #[test]
    fn only_large_tables_are_sampled_by_page() {
        let sampled = |size: f64| {
            query(&relation(), Some(size), 100)
                .expect("a query")
                .contains(TABLESAMPLE)
        };
        assert!(sampled(1e6));
        assert!(!sampled(1_000.0));
    }
}
