//! `weir audit query`: read-only SQL on the audit store.

use std::process::ExitCode;

use anyhow::Context;

use super::StateDir;
use crate::{
    audit::reports::{
        Value,
        render::{self, Format},
    },
    cli::report::style,
};

/// Ask the audit store with SQL; nothing can be changed.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Views: usage_view, sessions, bindings, evidence, proofs, statements, relations, columns, classes, activity_view, approvals, events.

Examples:
  weir audit query 'SELECT principal, relation, sum(rows) FROM usage_view GROUP BY 1, 2'
  weir audit query --format csv 'SELECT * FROM sessions WHERE closed IS NULL'
  weir audit query \"SELECT time, body FROM events WHERE event = 'incident'\"")]
pub(super) struct Args {
    /// One SQL statement, in SQLite's dialect
    sql: String,
    #[command(flatten)]
    state_dir: StateDir,
    /// How to print the rows
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let store = super::open_store(&args.state_dir.find())?;
    let mut query = store
        .prepare(&args.sql)
        .context("cannot understand the query")?;
    let columns: Vec<String> = query.column_names().map(str::to_owned).collect();
    let mut found = query.query([]).context("cannot ask the audit store")?;
    let mut rows = Vec::new();
    while let Some(row) = found.next().context("cannot ask the audit store")? {
        let values: Result<Vec<Value>, _> =
            (0..columns.len()).map(|at| Value::read(row, at)).collect();
        rows.push(values?);
    }
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    super::print(&render::rows(&columns, &rows, args.format, style()))?;
    Ok(ExitCode::SUCCESS)
}
