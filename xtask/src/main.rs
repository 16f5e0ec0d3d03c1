//! `cargo xtask`: every chore.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod bench;

/// Every chore of the project.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Debug, Subcommand)]
enum Chore {
    Bench(bench::Options),
}

fn main() -> anyhow::Result<ExitCode> {
    match Arguments::parse().chore {
        Chore::Bench(options) => bench::run(&options),
    }
}
