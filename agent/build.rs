//! Builds the kernel programs from source, so that the agent carries exactly the ones beside it.
//!
//! Rust's BPF target ships without `core`. Two toolchains provide one: rustup's nightly with
//! `rust-src`, which builds it, and Debian's `libstd-rust-web-dev-bpf`, which has it built.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

const TARGET: &str = "bpfel-unknown-none";
const PROFILE: &str = "bpf";
const PROGRAM: &str = "weir-ebpf";

fn main() -> ExitCode {
    match build() {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

fn build() -> Result<(), String> {
    let workspace = folder("CARGO_MANIFEST_DIR")?.join("..");
    let out = folder("OUT_DIR")?;
    for path in ["agent-ebpf", "Cargo.toml", "Cargo.lock"] {
        println!("cargo::rerun-if-changed={}", workspace.join(path).display());
    }
    println!("cargo::rerun-if-env-changed=PATH");

    let toolchain = Toolchain::find()?;
    // Toolchains of different versions cannot share build products.
    let target = out.join(toolchain.name());
    let status = toolchain
        .command()
        .args([
            "build",
            "--locked",
            "--package",
            "agent-ebpf",
            "--bin",
            PROGRAM,
        ])
        .args([
            "--features",
            "programs",
            "--profile",
            PROFILE,
            "--target",
            TARGET,
        ])
        .arg("--target-dir")
        .arg(&target)
        .current_dir(&workspace)
        .status()
        .map_err(|error| format!("cannot run cargo for the kernel programs: {error}"))?;
    if !status.success() {
        return Err(format!("the kernel programs do not build ({status})"));
    }
    let built = target.join(TARGET).join(PROFILE).join(PROGRAM);
    fs::copy(&built, out.join(PROGRAM))
        .map_err(|error| format!("cannot copy {}: {error}", built.display()))?;
    Ok(())
}

/// What can compile for the kernel's target.
enum Toolchain {
    /// rustup's nightly, which builds `core` from `rust-src`.
    Nightly,
    /// Debian's compiler and cargo, with `core` for the target installed.
    Debian,
}

impl Toolchain {
    /// Takes the first one that is complete.
    fn find() -> Result<Self, String> {
        if output(clean("bpf-linker").arg("--version")).is_none() {
            return Err(missing("bpf-linker"));
        }
        let nightly =
            output(clean("rustc").args(["+nightly", "--print", "sysroot"])).is_some_and(|root| {
                Path::new(root.trim())
                    .join("lib/rustlib/src/rust/library")
                    .is_dir()
            });
        if nightly {
            return Ok(Self::Nightly);
        }
        let debian = output(clean(DEBIAN_RUSTC).args(["--print", "sysroot"])).is_some_and(|root| {
            Path::new(root.trim())
                .join("lib/rustlib")
                .join(TARGET)
                .is_dir()
        });
        if debian && Path::new(DEBIAN_CARGO).exists() {
            return Ok(Self::Debian);
        }
        Err(missing("a Rust toolchain for the BPF target"))
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Nightly => "kernel-nightly",
            Self::Debian => "kernel-debian",
        }
    }

    /// A cargo call without its arguments.
    fn command(&self) -> Command {
        let mut command = match self {
            Self::Nightly => {
                let mut command = clean("cargo");
                command.args(["+nightly", "-Zbuild-std=core"]);
                command
            }
            Self::Debian => {
                let mut command = clean(DEBIAN_CARGO);
                // The target is a tier that the stable compiler reserves for itself.
                command
                    .env("RUSTC", DEBIAN_RUSTC)
                    .env("RUSTC_BOOTSTRAP", "1");
                command
            }
        };
        command.env(
            "CARGO_ENCODED_RUSTFLAGS",
            ["-Clinker=bpf-linker", "-Clink-arg=--btf", "-Cdebuginfo=2"].join("\x1f"),
        );
        command
    }
}

const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_CARGO: &str = "/usr/bin/cargo";

fn missing(what: &str) -> String {
    format!("the kernel programs need {what}, which is missing here: run `cargo xtask setup`")
}

/// A command that does not inherit what the outer cargo, or clippy, sets for its own compiler.
fn clean(program: &str) -> Command {
    let mut command = Command::new(program);
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy();
        let is_cargos = name.starts_with("CARGO") && name != "CARGO_HOME";
        let is_rusts = name.starts_with("RUST") && name != "RUSTUP_HOME";
        if is_cargos || is_rusts || name == "CLIPPY_ARGS" || name == "__CARGO_TEST_ROOT" {
            command.env_remove(&*name);
        }
    }
    // The network's settings are the user's, not the outer build's.
    for name in ["CARGO_NET_OFFLINE", "CARGO_HTTP_CAINFO", "CARGO_HTTP_PROXY"] {
        if let Some(value) = env::var_os(name) {
            command.env(name, value);
        }
    }
    command
}

fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

fn folder(name: &str) -> Result<PathBuf, String> {
    env::var_os(name)
        .map(PathBuf::from)
        .ok_or_else(|| format!("cargo did not set {name}"))
}
