//! `cargo xtask vm`: the agent under kernels other than this machine's.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use harness::vm::{self, Kernel};

use crate::compile::{self, Talk};
use crate::progress::{self, step};
use crate::setup::{self, Purpose};

/// Boots Debian kernels in an emulated machine, runs the agent there, and prints what happens.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  cargo xtask vm --kernel 6.12")]
pub(crate) struct Args {
    /// Only this series; may be given again
    #[arg(long = "kernel", value_name = "SERIES", value_parser = Kernel::SERIES)]
    kernels: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    progress::start();
    setup::prepare(Purpose::Test)?;
    step("building weir and its guest");
    compile::weir(Talk::Progress)?;
    compile::guest()?;
    let all = || Kernel::SERIES.map(str::to_owned).to_vec();
    let kernels = if args.kernels.is_empty() {
        all()
    } else {
        args.kernels.clone()
    };
    for series in kernels {
        let kernel = Kernel::of_series(&series)?;
        step(&format!("booting Linux {}", kernel.release()));
        let begun = Instant::now();
        let transcript = vm::run(&kernel)?;
        for line in transcript.lines() {
            println!("{line}");
        }
        step(&format!(
            "over after {:.0} s",
            begun.elapsed().as_secs_f64()
        ));
    }
    Ok(ExitCode::SUCCESS)
}
