//! The command line: one file per command.

pub mod dev_idp;
pub mod exec;
pub mod login;
pub mod logout;
pub mod whoami;
pub mod whois;

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
    Login(login::Args),
    Logout(logout::Args),
    Whoami(whoami::Args),
    Whois(whois::Args),
    Exec(exec::Args),
    DevIdp(dev_idp::Args),
}

/// Parses the arguments, runs the command, reports an error with its whole chain.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.command {
        Command::Login(args) => login::run(args),
        Command::Logout(args) => logout::run(args),
        Command::Whoami(args) => whoami::run(args),
        Command::Whois(args) => whois::run(args),
        Command::Exec(args) => exec::run(args),
        Command::DevIdp(args) => dev_idp::run(args),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("weir: {error:#}");
        ExitCode::FAILURE
    })
}
