//! `weir sessions`: what is open, and how an administrator ends it.

use std::{fmt::Write as _, process::ExitCode};

use clap::Subcommand;
use comfy_table::Table;
use serde_json::Value;

use super::{output::print, status::text};
use crate::control::{Client, protocol::Request, socket_path};

/// Lists the open sessions; ends one.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 done, 1 no such session, or the agent cannot be reached or refuses.\n\nExamples:\n  weir sessions list\n  weir sessions end 42 --reason 'runs since yesterday'"
)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    List(List),
    End(End),
}

/// Lists the open sessions, the oldest first, 200 at most.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 listed, 1 the agent cannot be reached or refuses.\n\nExample:\n  weir sessions list --json | jq '.[].identity'"
)]
struct List {
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Ends a session at once: what runs is cancelled, nothing is committed, the client gets SQLSTATE 57P01.
///
/// For root; the record names who asked.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 ended, 1 no such session, or the agent cannot be reached or refuses.\n\nExample:\n  weir sessions end 42 --reason 'runs since yesterday'"
)]
struct End {
    /// The session, as `weir sessions list` shows it.
    session: u64,
    /// Why, for the record.
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::List(args) => list(&args),
        Command::End(args) => end(args),
    }
}

fn list(args: &List) -> anyhow::Result<ExitCode> {
    let status = Client::connect(&socket_path())?.ask(&Request::Status)?;
    let sessions = status["sessions"].as_array().map_or(&[][..], Vec::as_slice);
    if args.json {
        print(&format!("{:#}\n", status["sessions"]))?;
    } else if sessions.is_empty() {
        print("no sessions\n")?;
    } else {
        let mut out = format!("{}\n", table(sessions));
        let live = status["totals"]["live"].as_u64().unwrap_or_default();
        let more = live.saturating_sub(sessions.len() as u64);
        if more > 0 {
            let _ = writeln!(out, "{more} more are open");
        }
        print(&out)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Sessions as people read them.
pub(super) fn table(sessions: &[Value]) -> Table {
    let columns = [
        "session", "identity", "process", "pid", "database", "requests", "denied", "masked",
    ];
    let mut table = Table::new();
    table.set_header(columns);
    for session in sessions {
        table.add_row(columns.map(|column| text(&session[column])));
    }
    table
}

fn end(args: End) -> anyhow::Result<ExitCode> {
    let request = Request::EndSession {
        session: args.session,
        reason: args.reason,
    };
    let answer = Client::connect(&socket_path())?.ask(&request)?;
    if args.json {
        print(&format!("{answer}\n"))?;
    } else {
        print(&format!("session {} was ended\n", args.session))?;
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clients_choose_cannot_steer_the_terminal() {
        let session = serde_json::json!({
            "session": 1,
            "identity": "alice",
            "process": "/tmp/\u{1b}[2Jpsql",
            "database": "shop\r\n| 2 | root",
        });
        let table = table(&[session]).to_string();
        assert!(table.contains("/tmp/\\u{1b}[2Jpsql"), "{table}");
        assert!(
            !table.contains('\u{1b}') && !table.contains('\r'),
            "{table}"
        );
        assert!(table.contains("shop\\u{d}\\u{a}| 2 | root"), "{table}");
    }
}
