//! The command line: one file per command.

pub mod policy;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Identity-bound governance of database traffic, on the hosts where clients run.
#[derive(Debug, Parser)]
#[command(name = "weir", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Policy(policy::Args),
}

/// Parses the arguments, runs the command, reports an error with its whole chain.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.command {
        Command::Policy(args) => policy::run(args),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("weir: {error:#}");
        ExitCode::FAILURE
    })
}
