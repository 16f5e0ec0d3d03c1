//! `cargo xtask demo`: what weir does, on a real database with unmodified clients, told as it happens.

use std::process::ExitCode;

use anyhow::{Result, bail};
use harness::{Lab, LabOptions};

use crate::compile::{self, Talk};
use crate::elevate;
use crate::progress::{self, step};
use crate::setup::{self, Purpose};

mod act;
mod script;

/// Shows unmodified clients being governed: installs what is missing, builds, starts a database and the agent, narrates.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_: &Args) -> Result<ExitCode> {
    progress::start();
    if !elevate::is_prepared() {
        setup::prepare(Purpose::Demo)?;
        step("building weir and its kernel programs (the first time takes some minutes)");
        compile::weir(Talk::Progress)?;
    }
    elevate::become_root("loading kernel programs")?;
    step("starting a private PostgreSQL with a small shop, a development issuer, and the agent");
    let mut lab = Lab::start(&LabOptions::default())?;
    let stage = act::Stage::new();
    stage.introduce(&lab);
    let surprises = script::play(&stage, &mut lab)?;
    step("ending the agent, the issuer and the database; removing their files and kernel programs");
    drop(lab);
    if surprises > 0 {
        bail!("{surprises} of the things shown did not behave as told");
    }
    println!(
        "\nEverything behaved as told, in {:.0} s.",
        progress::start().elapsed().as_secs_f64()
    );
    println!(
        "Next: `cargo xtask lab --as bob -- psql` is a shell of your own; README.md says how to run weir for real."
    );
    Ok(ExitCode::SUCCESS)
}
