//! Installing Debian packages without changing what runs on the machine.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::install_by;
use super::packages::{self, Package};
use crate::elevate::{as_root, find, is_root};
use crate::progress::step;

/// Whether this system installs packages with apt.
pub(super) fn is_here() -> bool {
    find("apt-get").is_some() && find("dpkg-query").is_some()
}

/// Installs `missing`. Servers among them are left stopped: the lab starts its own.
///
/// # Errors
///
/// When this is neither root nor has sudo, or apt fails.
pub(super) fn install(missing: &[&Package]) -> Result<()> {
    let names: Vec<&str> = missing.iter().map(|package| package.name).collect();
    packages::say(missing);
    ensure!(
        is_root() || find("sudo").is_some(),
        "installing needs root: run `apt-get install {}` as root",
        names.join(" ")
    );
    step("setup: apt-get update");
    install_by(as_root().args(["apt-get", "-q", "-q", "update"]))?;
    if names.contains(&"postgresql") {
        keep_postgres_from_starting()?;
    }
    step("setup: apt-get install");
    install_by(&mut apt_get_install(&names)).with_context(|| ADVICE)?;
    for (package, service) in [
        ("pgbouncer", "pgbouncer"),
        ("haproxy", "haproxy"),
        ("openssh-server", "ssh"),
        ("cron", "cron"),
    ] {
        if names.contains(&package) {
            stop_service(service);
        }
    }
    Ok(())
}

const ADVICE: &str = "if a package of LLVM or rustc-web is unknown to this release, \
    `rustup toolchain install nightly --component rust-src` and `cargo install bpf-linker` do as well";

fn apt_get_install(names: &[&str]) -> Command {
    let mut command = as_root();
    command
        .args([
            "DEBIAN_FRONTEND=noninteractive",
            "apt-get",
            "-q",
            "-q",
            "-o",
            "Dpkg::Use-Pty=0",
        ])
        .args([
            "-o",
            "DPkg::Lock::Timeout=300",
            "install",
            "-y",
            "--no-install-recommends",
        ])
        .args(names);
    command
}

/// A server package makes a cluster and starts it on port 5432, unless its common part has been told not to.
fn keep_postgres_from_starting() -> Result<()> {
    let settings = Path::new("/etc/postgresql-common/createcluster.conf");
    if !settings.exists() {
        step("setup: apt-get install postgresql-common");
        install_by(&mut apt_get_install(&["postgresql-common"]))?;
    }
    let text = fs::read_to_string(settings)
        .with_context(|| format!("cannot read {}", settings.display()))?;
    if text
        .lines()
        .any(|line| line.starts_with("create_main_cluster"))
    {
        return Ok(());
    }
    let script = "echo 'create_main_cluster = false' >> \"$1\"";
    install_by(as_root().args(["sh", "-c", script, "sh"]).arg(settings))
}

/// The package starts its service; nobody asked for it to run.
fn stop_service(name: &str) {
    let stop = if Path::new("/run/systemd/system").exists() {
        vec!["systemctl", "disable", "--now", name]
    } else {
        vec!["service", name, "stop"]
    };
    if let Err(error) = install_by(as_root().args(stop)) {
        eprintln!("setup: {name} may be running now: {error:#}");
    }
}
