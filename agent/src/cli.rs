//! The command line: one file per command.

mod approvals;
mod audit;
mod dev_idp;
mod discover;
mod doctor;
mod exec;
mod login;
mod logout;
mod output;
mod policy;
mod report;
mod run;
mod sessions;
mod status;
mod top;
mod trust;
mod unload;
mod whoami;
mod whois;

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
    Run(run::Args),
    Doctor(doctor::Args),
    Status(status::Args),
    Top(top::Args),
    Sessions(sessions::Args),
    Login(login::Args),
    Logout(logout::Args),
    Whoami(whoami::Args),
    Whois(whois::Args),
    Exec(exec::Args),
    Policy(policy::Args),
    Approvals(approvals::Args),
    Discover(discover::Args),
    Trust(trust::Args),
    Audit(audit::Args),
    Report(report::Args),
    Unload(unload::Args),
    DevIdp(dev_idp::Args),
}

/// Parses the arguments, runs the command, reports an error with its whole chain.
#[must_use]
pub fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Run(args) => run::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Sessions(args) => sessions::run(args),
        Command::Top(args) => top::run(&args),
        Command::Login(args) => login::run(&args),
        Command::Logout(args) => logout::run(args),
        Command::Whoami(args) => whoami::run(args),
        Command::Whois(args) => whois::run(args),
        Command::Exec(args) => exec::run(args),
        Command::Policy(args) => policy::run(args),
        Command::Approvals(args) => approvals::run(args),
        Command::Discover(args) => discover::run(&args),
        Command::Trust(args) => trust::run(args),
        Command::Audit(args) => audit::run(args),
        Command::Report(args) => report::run(args),
        Command::Unload(args) => unload::run(args),
        Command::DevIdp(args) => dev_idp::run(args),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("weir: {error:#}");
        ExitCode::FAILURE
    })
}
