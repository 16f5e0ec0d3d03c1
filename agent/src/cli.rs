//! The command line: one file per command.

mod unload;

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
    Unload(unload::Unload),
}

/// Parses the arguments, runs the command, reports an error with its whole chain.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.command {
        Command::Unload(command) => command.run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("weir: {error:#}");
            ExitCode::FAILURE
        }
    }
}
