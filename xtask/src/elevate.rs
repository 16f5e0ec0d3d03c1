//! Root, which loading kernel programs needs.

use std::env;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use nix::unistd::geteuid;

/// Whether this process is root.
pub(crate) fn is_root() -> bool {
    geteuid().is_root()
}

/// Whether this process was started by [`become_root`], which has built and installed everything before.
pub(crate) fn is_prepared() -> bool {
    env::var_os(PREPARED).is_some()
}

/// Goes on as root: returns at once when this process is root, else replaces it by itself under `sudo`.
///
/// # Errors
///
/// When there is no `sudo`.
pub(crate) fn become_root(why: &str) -> Result<()> {
    if is_root() {
        return Ok(());
    }
    if find("sudo").is_none() {
        bail!("{why} needs root, and there is no sudo: run this as root");
    }
    eprintln!("xtask: {why} needs root: going on under sudo");
    let own = env::current_exe().context("cannot find this program")?;
    let error = as_root()
        .arg("env")
        .args(
            [
                "PATH",
                "CARGO",
                "CARGO_HOME",
                "RUSTUP_HOME",
                "RUST_LOG",
                "WEIR_BIN",
            ]
            .into_iter()
            .filter_map(kept),
        )
        .arg(format!("{PREPARED}=1"))
        .arg(own)
        .args(env::args_os().skip(1))
        .exec();
    Err(error).context("cannot run sudo")
}

/// The beginning of a command that runs as root.
pub(crate) fn as_root() -> Command {
    if is_root() {
        Command::new("env")
    } else {
        Command::new("sudo")
    }
}

/// Finds a program on `PATH`, or where system programs are.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    env::split_paths(&path)
        .chain(system)
        .map(|folder| folder.join(name))
        .find(|file| is_program(file))
}

const PREPARED: &str = "WEIR_XTASK_PREPARED";

fn kept(name: &str) -> Option<String> {
    env::var(name).ok().map(|value| format!("{name}={value}"))
}

fn is_program(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    file.metadata()
        .is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}
