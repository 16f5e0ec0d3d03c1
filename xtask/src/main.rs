//! Every chore of the project: `cargo xtask setup | demo | test | lab | vm | bench`.
//!
//! It has no native dependencies, so that it runs before anything is installed, and its own words go to standard error.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

// In a module with unit tests of its own, `tests` would be those.
extern crate tests as harness;

mod bench;
mod compile;
mod demo;
mod elevate;
mod lab;
mod progress;
mod setup;
mod test;
mod vm;

/// Every chore of the project.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Installs what building, testing and measuring need (Debian; elsewhere it says what to install)
    Setup(setup::Args),
    /// Shows unmodified clients being governed: installs, builds, starts a database and the agent, narrates, cleans up
    Demo(demo::Args),
    /// Runs every check and every test, real servers and kernel included
    #[command(visible_alias = "ci")]
    Test(test::Args),
    /// Runs a command as one of five people between a private database and the agent
    Lab(lab::Args),
    /// Runs the agent under other kernels, in an emulated machine
    Vm(vm::Args),
    /// Measures what weir costs beside a direct connection, a bare relay, haproxy and pgbouncer
    Bench(bench::Args),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Setup(args) => setup::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Lab(args) => lab::run(&args),
        Command::Vm(args) => vm::run(&args),
        Command::Bench(args) => bench::run(&args),
    };
    result.unwrap_or_else(|error| {
        eprintln!("xtask: {error:#}");
        ExitCode::FAILURE
    })
}
