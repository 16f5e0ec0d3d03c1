//! `weir report`: auditors' questions.

use std::{io::IsTerminal, process::ExitCode};

use super::audit::{StateDir, open_store, print};
use crate::{
    audit::reports::{
        self, Period, Question,
        render::{self, Format, Style},
    },
    clock,
};

/// Answer auditors' questions from the audit store.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  weir report usage --since 24h
  weir report access --table orders --since 2026-01-01 --format csv
  weir report columns --column '*.customers.ssn' --since 30d
  weir report privileged --since 7d
  weir report completeness --since 30d --format json")]
pub(super) struct Args {
    #[command(subcommand)]
    report: Kind,
}

#[derive(Debug, clap::Subcommand)]
enum Kind {
    /// Who used what: principal, actor, program, database, table
    Usage(TableArgs),
    /// Who touched a table, with which program and as which database user
    Access(TableArgs),
    /// Who used which column, for what, and whether they saw it masked
    Columns(ColumnArgs),
    /// Definitions, grants, refusals; changes to agent, policy and bindings
    Privileged(Common),
    /// What was seen, what was not governed, and every gap
    Completeness(Common),
}

#[derive(Debug, clap::Args)]
struct TableArgs {
    /// Only this table; `schema.table` also finds statements that leave the schema out; `*` is a wildcard
    #[arg(long, value_name = "TABLE")]
    table: Option<String>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
struct ColumnArgs {
    /// Only columns like this: a pattern over `schema.table.column`; `*` is a wildcard
    #[arg(long, value_name = "COLUMN")]
    column: Option<String>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
struct Common {
    /// From when: 24h, 7d, 2026-01-31 or 2026-01-31T12:00:00Z (UTC)
    #[arg(long, default_value = "24h", value_name = "TIME")]
    since: String,
    /// Until when [default: now]
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// How to print it
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    state_dir: StateDir,
}

/// Prints one report.
pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let (question, common) = match args.report {
        Kind::Usage(args) => (Question::Usage { table: args.table }, args.common),
        Kind::Access(args) => (Question::Access { table: args.table }, args.common),
        Kind::Columns(args) => (
            Question::Columns {
                column: args.column,
            },
            args.common,
        ),
        Kind::Privileged(common) => (Question::Privileged, common),
        Kind::Completeness(common) => (Question::Completeness, common),
    };
    let period = Period::parse(
        &common.since,
        common.until.as_deref(),
        clock::now().as_secs(),
    )?;
    let state_dir = common.state_dir.find();
    let store = open_store(&state_dir)?;
    let report = reports::ask(&store, &state_dir, &question, period)?;
    print(&render::report(&report, common.format, style()))?;
    Ok(ExitCode::SUCCESS)
}

/// Colours and wrapping are for terminals.
pub(super) fn style() -> Style {
    let terminal = std::io::stdout().is_terminal();
    match terminal_size::terminal_size() {
        Some((width, _)) if terminal && std::env::var_os("NO_COLOR").is_none() => {
            Style::Terminal(width.0)
        }
        _ => Style::Plain,
    }
}
