//! `weir audit`: checks the journal, shows it, asks the store.

mod query;
mod tail;
mod verify;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context;
use rusqlite::Connection;

use super::output::{print, print_on};
use crate::{
    audit::{index, store},
    control::{Client, protocol::Request, socket_path},
};

/// Where the state is when neither option, environment nor agent says.
const DEFAULT_STATE_DIR: &str = "/var/lib/weir";

/// Check the audit journal, follow it, ask the audit store.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 done (verify: intact), 1 not (verify: broken), 2 bad usage (verify: cannot be read).\n\nExamples:\n  weir audit verify\n  weir audit tail --follow\n  weir audit query 'SELECT * FROM sessions WHERE closed IS NULL'\n  weir audit reindex --state-dir /var/lib/weir"
)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Verify(verify::Args),
    Tail(tail::Args),
    Query(query::Args),
    Reindex(ReindexArgs),
}

/// Where the journal and the store are.
#[derive(Debug, clap::Args)]
pub(crate) struct StateDir {
    /// The agent's state directory [default: WEIR_STATE_DIR, else the running agent's, else /var/lib/weir]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

/// Rebuild the audit store from the journal.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 rebuilt, 1 not.\n\nExample:\n  weir audit reindex --state-dir /var/lib/weir"
)]
struct ReindexArgs {
    #[command(flatten)]
    state_dir: StateDir,
}

/// Runs one of the sub-commands.
pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::Verify(args) => verify::run(&args),
        Command::Tail(args) => tail::run(&args),
        Command::Query(args) => query::run(&args),
        Command::Reindex(args) => reindex(&args),
    }
}

impl StateDir {
    /// The option, the environment, the running agent's, the default: the first that there is.
    pub(crate) fn find(&self) -> PathBuf {
        let environment = || {
            std::env::var_os("WEIR_STATE_DIR")
                .filter(|path| !path.is_empty())
                .map(PathBuf::from)
        };
        self.state_dir
            .clone()
            .or_else(environment)
            .or_else(ask_agent)
            .unwrap_or_else(|| DEFAULT_STATE_DIR.into())
    }
}

fn ask_agent() -> Option<PathBuf> {
    let answer = Client::connect(&socket_path())
        .ok()?
        .ask(&Request::State)
        .ok()?;
    answer.get("state_dir")?.as_str().map(PathBuf::from)
}

/// Opens the store for questions; brings it up to date first where this process may.
pub(crate) fn open_store(state_dir: &Path) -> anyhow::Result<Connection> {
    if !state_dir.is_dir() {
        anyhow::bail!(
            "there is no state directory {}; name the agent's with --state-dir or WEIR_STATE_DIR",
            state_dir.display()
        );
    }
    match store::open(state_dir) {
        Ok(mut writable) => {
            index::catch_up(&mut writable, state_dir)
                .context("cannot bring the audit store up to date")?;
        }
        Err(error) => {
            // The report's header says how far the index is behind.
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                "the store is read as it is"
            );
        }
    }
    store::open_read_only(state_dir)
        .context("cannot read the audit store (its reader has to be root)")
}

fn reindex(args: &ReindexArgs) -> anyhow::Result<ExitCode> {
    let state_dir = args.state_dir.find();
    let (mut store, damage) = store::open_or_renew(&state_dir)?;
    if let Some(damage) = damage {
        eprintln!(
            "weir: the store is made anew: {damage:#}",
            damage = anyhow::Error::from(damage)
        );
    }
    store::clear(&mut store)?;
    let seq = index::catch_up(&mut store, &state_dir)?;
    index::prune(&mut store, &state_dir, Duration::MAX)?;
    print(&format!("{seq} records indexed\n"))?;
    Ok(ExitCode::SUCCESS)
}
