//! `weir run`: the agent.

use std::{path::PathBuf, process::ExitCode};

use crate::{app, config::Config, telemetry};

/// Runs the agent in the foreground until SIGTERM or SIGINT.
///
/// Without a configuration it observes: PostgreSQL's and MySQL's usual ports, nothing refused, nothing left in the kernel.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  weir run --config /etc/weir/weir.toml")]
pub(super) struct Args {
    /// The configuration.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Write the log as JSON lines.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    telemetry::init(args.json);
    let config = match &args.config {
        Some(path) => Config::load(path)?,
        None => Config::observing(),
    };
    app::run(&config)?;
    Ok(ExitCode::SUCCESS)
}
