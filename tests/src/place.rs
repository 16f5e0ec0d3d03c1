//! Where things are: the project, its build output, the programs under test, the cache of downloaded tools.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// The project's root folder.
///
/// # Panics
///
/// Never: this package lies inside the project.
#[must_use]
pub fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("this package lies in the project")
}

/// The folder that holds `weir` and the other programs of this build: that of the running program, or the one above `deps/`.
///
/// # Errors
///
/// When the running program's own path cannot be read.
pub fn programs() -> Result<PathBuf> {
    let own = env::current_exe().context("cannot find the running program")?;
    let folder = own.parent().context("the running program has no folder")?;
    let is_nested = matches!(
        folder.file_name().and_then(|name| name.to_str()),
        Some("deps" | "examples")
    );
    let programs = if is_nested {
        folder.parent().unwrap_or(folder)
    } else {
        folder
    };
    Ok(programs.to_path_buf())
}

/// The agent's program: `WEIR_BIN`, or `weir` of this build.
///
/// # Errors
///
/// When it is not there.
pub fn weir() -> Result<PathBuf> {
    let path = weir_to_be()?;
    ensure!(
        path.is_file(),
        "{} is missing: run `cargo build --release -p weir`",
        path.display()
    );
    Ok(path)
}

/// Where the agent's program is, or will be once it is built.
///
/// # Errors
///
/// When the running program's own path cannot be read.
pub fn weir_to_be() -> Result<PathBuf> {
    match env::var_os("WEIR_BIN") {
        Some(path) => Ok(PathBuf::from(path)),
        None => Ok(programs()?.join("weir")),
    }
}

/// The folder for what is fetched once and kept: drivers, tools, the second server version.
///
/// # Errors
///
/// When the running program's own path cannot be read.
pub fn cache() -> Result<PathBuf> {
    let programs = programs()?;
    let target = programs
        .parent()
        .context("the build output has no folder above it")?;
    Ok(target.join("cache"))
}

/// The Python environment with the drivers: `WEIR_TEST_VENV`, or the one that `cargo xtask setup` made.
///
/// # Errors
///
/// When the cache folder cannot be named.
pub fn python_environment() -> Result<PathBuf> {
    named_or_cached("WEIR_TEST_VENV", "venv")
}

/// The `node_modules` folder with the drivers: `WEIR_TEST_NODE_MODULES`, or the one that `cargo xtask setup` made.
///
/// # Errors
///
/// When the cache folder cannot be named.
pub fn node_modules() -> Result<PathBuf> {
    named_or_cached("WEIR_TEST_NODE_MODULES", "node/node_modules")
}

/// The `node_modules` folder with what drives a browser: `WEIR_TEST_BROWSER_MODULES`, or the one that `cargo xtask setup` made.
///
/// # Errors
///
/// When the cache folder cannot be named.
pub fn browser_modules() -> Result<PathBuf> {
    named_or_cached("WEIR_TEST_BROWSER_MODULES", "browser/node_modules")
}

fn named_or_cached(variable: &str, name: &str) -> Result<PathBuf> {
    match env::var_os(variable) {
        Some(path) => Ok(PathBuf::from(path)),
        None => Ok(cache()?.join(name)),
    }
}
