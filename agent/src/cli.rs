//! The command line: one file per command.

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
enum Command {}

/// Parses the arguments, runs the command, reports an error with its whole chain.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command {}
}
