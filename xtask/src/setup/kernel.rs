//! What the kernel programs are built with: a Rust with a BPF target, and bpf-linker.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::install_by;
use crate::elevate::find;
use crate::progress::step;

/// Whether bpf-linker is there and runs.
pub(super) fn has_linker() -> bool {
    let name = find("bpf-linker").unwrap_or_else(|| cargo_home().join("bin/bpf-linker"));
    super::succeeds(
        &name.display().to_string(),
        &["--version"],
        harness::place::project(),
    )
}

/// Whether rustup has a nightly toolchain with the sources of the library.
pub(super) fn has_nightly() -> bool {
    let output = Command::new("rustup")
        .args(["run", "nightly", "rustc", "--print", "sysroot"])
        .env_remove("RUSTUP_TOOLCHAIN")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output();
    let Ok(output) = output else { return false };
    let root = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    !root.is_empty()
        && Path::new(&root)
            .join("lib/rustlib/src/rust/library/core")
            .is_dir()
}

/// Builds bpf-linker from its sources unless it is there.
///
/// # Errors
///
/// When it does not build.
pub(super) fn install_linker() -> Result<()> {
    if has_linker() {
        return Ok(());
    }
    step("setup: building bpf-linker, which turns the kernel programs into BPF (about a minute)");
    let mut command = Command::new("cargo");
    command.args([
        "install",
        "bpf-linker",
        "--version",
        LINKER_VERSION,
        "--locked",
    ]);
    if Path::new(LLVM).is_dir() {
        command
            .args(["--no-default-features", "--features", "llvm-22"])
            .env("LLVM_PREFIX", LLVM);
    }
    // The project's own settings of cargo are not meant for it.
    command
        .current_dir("/")
        .env_remove("CARGO_TARGET_DIR")
        .env_remove("RUSTFLAGS");
    install_by(&mut command).context("cannot build bpf-linker")
}

const LLVM: &str = "/usr/lib/llvm-22";
const LINKER_VERSION: &str = "0.13.0";

fn cargo_home() -> PathBuf {
    let home = || std::env::home_dir().unwrap_or_default().join(".cargo");
    std::env::var_os("CARGO_HOME").map_or_else(home, PathBuf::from)
}
