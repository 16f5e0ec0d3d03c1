//! `weir audit query`: read-only SQL on the audit store.

use std::process::ExitCode;

use anyhow::Context;
use rusqlite::{
    Connection, ErrorCode,
    hooks::{AuthAction, AuthContext, Authorization},
};

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
Views: usage_view, sessions, unread_sessions, bindings, evidence, proofs, statements, relations, columns, classes, activity_view, approvals, events.

Examples:
  weir audit query 'SELECT principal, relation, sum(rows) FROM usage_view GROUP BY 1, 2'
  weir audit query --format csv 'SELECT * FROM sessions WHERE closed IS NULL'
  weir audit query \"SELECT time, body FROM events WHERE event = 'incident'\"

Exit codes: 0 answered, 1 not a question, or the store cannot be read.")]
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
    let mut store = super::open_store(&args.state_dir.find())?;
    let mut query = prepare(&mut store, &args.sql)?;
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

/// A statement that only asks. Nothing can be written into the store; but others could make files beside it, or read some,
/// with the rights of root.
fn prepare<'store>(
    store: &'store mut Connection,
    sql: &str,
) -> anyhow::Result<rusqlite::Statement<'store>> {
    store
        .authorizer(Some(|context: AuthContext<'_>| {
            if asks(&context.action) {
                Authorization::Allow
            } else {
                Authorization::Deny
            }
        }))
        .context("cannot ask the audit store")?;
    let query = store.prepare(sql).map_err(|error| {
        if error.sqlite_error_code() == Some(ErrorCode::AuthorizationForStatementDenied) {
            return anyhow::anyhow!(ONLY_QUESTIONS);
        }
        anyhow::Error::new(error).context("cannot understand the query")
    })?;
    // Not everything that writes asks whether it may.
    anyhow::ensure!(query.readonly(), ONLY_QUESTIONS);
    Ok(query)
}

fn asks(action: &AuthAction<'_>) -> bool {
    match action {
        AuthAction::Select
        | AuthAction::Read { .. }
        | AuthAction::Function { .. }
        | AuthAction::Recursive => true,
        AuthAction::Pragma { pragma_name, .. } => PRAGMAS.contains(pragma_name),
        _ => false,
    }
}

/// Those that tell what tables and columns there are.
const PRAGMAS: &[&str] = &[
    "table_list",
    "table_info",
    "table_xinfo",
    "index_list",
    "index_info",
    "index_xinfo",
    "user_version",
];

const ONLY_QUESTIONS: &str =
    "only questions can be put to the audit store: SELECT, VALUES, EXPLAIN";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::store;

    #[test]
    fn only_questions_are_asked_and_no_file_is_made() {
        let dir = tempfile::tempdir().expect("a folder");
        drop(store::open(dir.path()).expect("a store"));
        let mut store = store::open_read_only(dir.path()).expect("a store");
        let made = dir.path().join("made");
        let path = made.display();
        for sql in [
            format!("VACUUM INTO '{path}'"),
            format!("ATTACH '{path}' AS other"),
            format!("ATTACH 'file:{path}?mode=rwc' AS other"),
            "PRAGMA query_only = OFF".to_owned(),
            "PRAGMA user_version = 1".to_owned(),
            "VACUUM".to_owned(),
            "DELETE FROM cursor".to_owned(),
            "CREATE TEMP TABLE t (x)".to_owned(),
            "BEGIN".to_owned(),
            format!("SELECT 1; VACUUM INTO '{path}'"),
        ] {
            assert!(prepare(&mut store, &sql).is_err(), "{sql}");
            assert!(!made.exists(), "{sql}");
        }
        let refused = prepare(&mut store, &format!("VACUUM INTO '{path}'")).expect_err("a refusal");
        assert!(refused.to_string().contains("only questions"), "{refused}");
    }

    #[test]
    fn questions_of_every_form_are_asked() {
        let dir = tempfile::tempdir().expect("a folder");
        drop(store::open(dir.path()).expect("a store"));
        let mut store = store::open_read_only(dir.path()).expect("a store");
        for sql in [
            "SELECT principal, relation, sum(rows) FROM usage_view GROUP BY 1, 2",
            "SELECT * FROM sessions WHERE closed IS NULL",
            "SELECT value FROM json_each('[1]')",
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3) SELECT i FROM n",
            "VALUES (1)",
            "EXPLAIN QUERY PLAN SELECT * FROM events",
            "SELECT name FROM pragma_table_info('events')",
            "SELECT sql FROM sqlite_schema",
        ] {
            let mut query = prepare(&mut store, sql).expect(sql);
            let mut rows = query.query([]).expect(sql);
            while rows.next().expect(sql).is_some() {}
        }
    }
}
