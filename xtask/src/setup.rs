//! `cargo xtask setup`: installs what is missing, and nothing that is there.

use std::io;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;

mod apt;
mod drivers;
mod kernel;
mod kernels;
mod packages;

/// Installs what is missing for building, the demonstration, the tests and the measurements.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  cargo xtask setup --for demo")]
pub(crate) struct Args {
    /// Only what this needs [default: everything]
    #[arg(long = "for", value_enum, value_name = "PURPOSE")]
    purpose: Option<Purpose>,
    /// Lists what would be installed and why, and installs nothing
    #[arg(long)]
    list: bool,
}

/// What the machine is made ready for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Purpose {
    /// `cargo build`
    Build,
    /// `cargo xtask demo` and `lab`
    Demo,
    /// `cargo xtask test`
    Test,
    /// `cargo xtask bench`
    Bench,
}

impl Purpose {
    /// Whether a thing that `other` needs is needed for this too.
    fn includes(self, other: Self) -> bool {
        match self {
            Self::Build => other == Self::Build,
            Self::Demo => other <= Self::Demo,
            Self::Test => other <= Self::Test,
            Self::Bench => other <= Self::Demo || other == Self::Bench,
        }
    }
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let purposes = match args.purpose {
        Some(purpose) => vec![purpose],
        None => vec![Purpose::Test, Purpose::Bench],
    };
    if args.list {
        for purpose in purposes {
            packages::print_list(purpose);
        }
        return Ok(ExitCode::SUCCESS);
    }
    for purpose in purposes {
        prepare(purpose)?;
    }
    eprintln!("setup: everything is there");
    Ok(ExitCode::SUCCESS)
}

/// Installs what `purpose` needs and is not there. Says nothing when nothing is missing.
///
/// # Errors
///
/// When something cannot be installed; the message says what, and what to do instead.
pub(crate) fn prepare(purpose: Purpose) -> Result<()> {
    install(purpose)?;
    if purpose == Purpose::Test {
        fetch()?;
    }
    Ok(())
}

/// The first part of it: what the machine has to have.
///
/// # Errors
///
/// As [`prepare`].
pub(crate) fn install(purpose: Purpose) -> Result<()> {
    let missing = packages::missing(purpose)?;
    if !missing.is_empty() {
        if apt::is_here() {
            apt::install(&missing)?;
        } else {
            packages::say_what_to_install(&missing, purpose);
        }
    }
    kernel::install_linker()
}

/// The rest of what tests need, kept below `target/`; nothing is compiled with it.
///
/// # Errors
///
/// As [`prepare`].
pub(crate) fn fetch() -> Result<()> {
    drivers::install()?;
    kernels::unpack()
}

/// Runs a command of an installation: its output goes to standard error, its failure is ours.
fn install_by(command: &mut Command) -> Result<()> {
    let status = command
        .stdin(Stdio::null())
        .stdout(io::stderr())
        .status()
        .with_context(|| format!("cannot run {command:?}"))?;
    ensure!(status.success(), "{command:?} failed ({status})");
    Ok(())
}

/// Whether a command succeeds, with all its words thrown away.
fn succeeds(program: &str, arguments: &[&str], folder: &Path) -> bool {
    Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demonstration_needs_neither_drivers_nor_peers() {
        assert!(Purpose::Demo.includes(Purpose::Build));
        assert!(!Purpose::Demo.includes(Purpose::Test));
        assert!(!Purpose::Demo.includes(Purpose::Bench));
        assert!(Purpose::Bench.includes(Purpose::Demo) && !Purpose::Bench.includes(Purpose::Test));
    }
}
