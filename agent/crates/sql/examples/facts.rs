//! Prints what statements do on a database: `cargo run --release -p weir-sql --example facts < INPUT`.
//!
//! The input is one JSON document: `rows` has for each catalog query its rows (arrays of texts and nulls), `search_path` the schemas
//! searched, `statements` the texts. The output has one JSON line for each statement: `error`, or `kinds`,
//! `relations` (`read app.t`; all candidates), `columns` (`output app.t.c`) and `reachable`. With `--queries` it prints the
//! catalog queries as a JSON object instead.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{Read as _, Write as _};

use serde::Deserialize;
use serde_json::json;
use weir_sql::catalog::{Builder, QUERIES};
use weir_sql::postgres::{Context, analyse_in};
use weir_sql::{Catalog, Naming, SessionModes};

#[derive(Deserialize)]
struct Input {
    rows: BTreeMap<String, Vec<Vec<Option<String>>>>,
    search_path: Vec<String>,
    statements: Vec<String>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut output = std::io::BufWriter::new(std::io::stdout().lock());
    if std::env::args().any(|argument| argument == "--queries") {
        let queries: BTreeMap<_, _> = QUERIES.iter().copied().collect();
        writeln!(output, "{}", serde_json::to_string_pretty(&queries)?)?;
        return Ok(());
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    let input: Input = serde_json::from_str(&text)?;
    let mut builder = Builder::new();
    for (query, rows) in &input.rows {
        for row in rows {
            let cells: Vec<_> = row.iter().map(Option::as_deref).collect();
            builder.row(query, &cells)?;
        }
    }
    let catalog = builder.finish();
    let naming = Naming {
        search_path: input.search_path,
        certain: true,
        ..Naming::default()
    };
    for statement in &input.statements {
        writeln!(output, "{}", answer(statement, &catalog, &naming)?)?;
    }
    Ok(())
}

fn answer(
    statement: &str,
    catalog: &Catalog,
    naming: &Naming,
) -> Result<serde_json::Value, serde_json::Error> {
    let context = Context {
        modes: SessionModes::default(),
        catalog,
        naming,
    };
    let facts = analyse_in(statement.as_bytes(), &context);
    if let Some(error) = facts.parse_error {
        return Ok(json!({ "error": error }));
    }
    let mut relations = Vec::new();
    for used in &facts.relations {
        let usage = serde_json::to_value(used.usage)?;
        let usage = usage.as_str().unwrap_or_default();
        let name = &used.relation;
        let resolved = catalog.resolve(naming, name.schema.as_deref(), &name.name);
        for relation in resolved.candidates() {
            relations.push(format!("{usage} {}.{}", relation.schema, relation.name));
        }
    }
    let mut columns = Vec::new();
    for used in &facts.columns {
        let usage = serde_json::to_value(used.usage)?;
        let usage = usage.as_str().unwrap_or_default();
        columns.push(format!("{usage} {}", used.column));
    }
    let reachable: Vec<_> = facts
        .reachable
        .iter()
        .map(|reachable| reachable.column.to_string())
        .collect();
    Ok(json!({
        "kinds": facts.kinds,
        "relations": relations,
        "columns": columns,
        "reachable": reachable,
    }))
}
