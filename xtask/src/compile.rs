//! Building the agent.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::{env, io};

use anyhow::{Context, Result, ensure};

/// How much cargo says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Talk {
    /// Progress.
    Progress,
    /// Warnings and errors only.
    Quiet,
}

/// Builds `weir` unless `WEIR_BIN` names one, and returns its path.
///
/// # Errors
///
/// When the build fails.
pub(crate) fn weir(talk: Talk) -> Result<PathBuf> {
    if env::var_os("WEIR_BIN").is_none() && !crate::elevate::is_prepared() {
        // The whole workspace is named so that its crates get the features that the tests build them with.
        let what = ["--workspace", "--features", FEATURES, "--bin", "weir"];
        build("weir", &what, talk)?;
    }
    harness::place::weir()
}

/// Builds what tests are made of, given as cargo is told it, and `weir` where they need it and `WEIR_BIN` names none.
///
/// # Errors
///
/// When the build fails.
pub(crate) fn tests(with_weir: bool, targets: &[&str]) -> Result<()> {
    let mut what = vec!["--workspace", "--features", FEATURES];
    if with_weir && env::var_os("WEIR_BIN").is_none() {
        what.extend(["--bin", "weir"]);
    } else if targets.is_empty() {
        return Ok(());
    }
    what.extend(targets);
    build("weir and its tests", &what, Talk::Progress)
}

/// As the suites of `cargo xtask test` say it: one build serves all.
const FEATURES: &str = "tests/kernel";

/// Builds what runs inside the machine of `cargo xtask vm`.
///
/// # Errors
///
/// When the build fails.
pub(crate) fn guest() -> Result<()> {
    build(
        "the guest",
        &["--workspace", "--bin", "guest"],
        Talk::Progress,
    )
}

/// Builds what loads databases, for `cargo xtask bench`.
///
/// # Errors
///
/// When the build fails.
pub(crate) fn load_tools() -> Result<()> {
    build("the load tools", &["--package", "loadtools"], Talk::Quiet)
}

/// Builds with the shipped profile; what cargo says goes to standard error.
fn build(name: &str, what: &[&str], talk: Talk) -> Result<()> {
    let mut command = cargo();
    command.args(["build", "--release", "--locked"]).args(what);
    if talk == Talk::Quiet {
        command.arg("--quiet");
    }
    let status = command
        .stdin(Stdio::null())
        .stdout(io::stderr())
        .status()
        .context("cannot run cargo")?;
    ensure!(
        status.success(),
        "building {name} failed: cargo's own message is above"
    );
    Ok(())
}

/// Cargo, in the project's folder.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(harness::place::project());
    // What this run of xtask was given by its own cargo is not meant for another package.
    for variable in [
        "CARGO_MANIFEST_DIR",
        "CARGO_MANIFEST_PATH",
        "CARGO_PKG_NAME",
        "CARGO_PKG_VERSION",
    ] {
        command.env_remove(variable);
    }
    command
}
