//! `weir report`: auditors' questions.

use std::{
    fs::OpenOptions,
    io::{IsTerminal, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;

use super::{
    audit::{StateDir, open_store},
    output::print,
};
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
  weir report access --class pii --since 30d
  weir report columns --column '*.customers.ssn' --since 30d
  weir report privileged --since 7d
  weir report approvals --since 30d --format html --output approvals.html
  weir report review --since 90d --format csv
  weir report completeness --since 30d --format json")]
pub(super) struct Args {
    #[command(subcommand)]
    report: Kind,
}

#[derive(Debug, clap::Subcommand)]
enum Kind {
    /// Who used what: principal, actor, program, database, table
    Usage(TableArgs),
    /// Who touched a table, or data of a class, with which program and as which database user
    Access(AccessArgs),
    /// Who used which column, for what, and whether they saw it masked
    Columns(ColumnArgs),
    /// Definitions, grants, refusals; changes to agent, policy and bindings
    Privileged(Common),
    /// Who asked for which approval, who decided and why, and what ran
    Approvals(Common),
    /// For access reviews: principal, groups, what it touched, when last, and the proof of its identity
    Review(ReviewArgs),
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
struct AccessArgs {
    /// Only data of this class, or of what is part of it, as the policy classified it then: `pii`, `pii.ssn`
    #[arg(long, value_name = "CLASS")]
    class: Option<String>,
    #[command(flatten)]
    of: TableArgs,
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
struct ReviewArgs {
    /// From when: 24h, 7d, 2026-01-31 or 2026-01-31T12:00:00Z (UTC)
    #[arg(long, default_value = "90d", value_name = "TIME")]
    since: String,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, clap::Args)]
struct Common {
    /// From when: 24h, 7d, 2026-01-31 or 2026-01-31T12:00:00Z (UTC)
    #[arg(long, default_value = "24h", value_name = "TIME")]
    since: String,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, clap::Args)]
struct How {
    /// Until when [default: now]
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// How to print it
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Write it to a file, readable by its owner only, instead of printing it
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    state_dir: StateDir,
}

/// Prints one report.
pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let (question, since, how) = match args.report {
        Kind::Usage(args) => common(Question::Usage { table: args.table }, args.common),
        Kind::Access(args) => {
            let (class, TableArgs { table, common: how }) = (args.class, args.of);
            common(Question::Access { table, class }, how)
        }
        Kind::Columns(args) => common(
            Question::Columns {
                column: args.column,
            },
            args.common,
        ),
        Kind::Privileged(args) => common(Question::Privileged, args),
        Kind::Approvals(args) => common(Question::Approvals, args),
        Kind::Review(args) => (Question::Review, args.since, args.how),
        Kind::Completeness(args) => common(Question::Completeness, args),
    };
    let period = Period::parse(&since, how.until.as_deref(), clock::now().as_secs())?;
    let state_dir = how.state_dir.find();
    let store = open_store(&state_dir)?;
    let report = reports::ask(&store, &state_dir, &question, period)?;
    match &how.output {
        Some(path) => write(path, &render::report(&report, how.format, Style::Plain))?,
        None => print(&render::report(&report, how.format, style()))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn common(question: Question, common: Common) -> (Question, String, How) {
    (question, common.since, common.how)
}

/// Writes the whole report or none of it.
fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let failed = || format!("cannot write {}", path.display());
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{}", std::process::id()));
    let draft = PathBuf::from(draft);
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())
                .and_then(|()| file.sync_all())
        })
        .and_then(|()| std::fs::rename(&draft, path));
    if written.is_err() {
        // What was begun is of no use to anybody.
        let _ = std::fs::remove_file(&draft);
    }
    written.with_context(failed)
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
