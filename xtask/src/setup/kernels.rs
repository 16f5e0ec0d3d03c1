//! Kernels for the virtual machine of the tests: Debian's packages, unpacked and not installed.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use harness::vm::Kernel;

use super::{apt, install_by};
use crate::elevate::as_root;
use crate::progress::step;

/// Fetches and unpacks the newest kernel of each series that is not there yet.
///
/// # Errors
///
/// When one cannot be found, fetched or unpacked.
pub(super) fn unpack() -> Result<()> {
    for series in Kernel::SERIES {
        if Kernel::of_series(series).is_ok() {
            continue;
        }
        if !apt::is_here() {
            step(&format!(
                "setup: this is not Debian. Unpack its package of Linux {series} (linux-image-{series}…-cloud-amd64) into {}",
                Kernel::folder(series)?.display()
            ));
            continue;
        }
        step(&format!(
            "setup: Linux {series} for the virtual machine of the tests"
        ));
        let folder = Kernel::folder(series)?;
        // The lists may be older than what the server still has.
        fetch(series, &folder).or_else(|_| {
            install_by(as_root().args(["apt-get", "-q", "-q", "update"]))?;
            fetch(series, &folder)
        })?;
    }
    Ok(())
}

/// Unpacked beside its place and then renamed: what is there is whole.
fn fetch(series: &str, folder: &Path) -> Result<()> {
    let package = newest(series)?;
    let unfinished = folder.with_extension("new");
    let _ = fs::remove_dir_all(&unfinished);
    fs::create_dir_all(&unfinished)
        .with_context(|| format!("cannot make {}", unfinished.display()))?;
    install_by(
        Command::new("apt-get")
            .args([
                "-q",
                "-q",
                "-o",
                "APT::Sandbox::User=root",
                "download",
                &package,
            ])
            .current_dir(&unfinished),
    )?;
    let archive = fs::read_dir(&unfinished)
        .context("cannot list what was fetched")?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .with_context(|| format!("apt-get has not fetched {package}"))?;
    install_by(
        Command::new("dpkg-deb")
            .arg("--extract")
            .arg(&archive)
            .arg(&unfinished),
    )?;
    fs::remove_file(&archive).context("cannot remove the package")?;
    let _ = fs::remove_dir_all(folder);
    fs::rename(&unfinished, folder).with_context(|| format!("cannot name {}", folder.display()))
}

/// `linux-image-6.1.0-57-cloud-amd64`, `linux-image-6.12.117+deb12-cloud-amd64`: the highest of a series.
fn newest(series: &str) -> Result<String> {
    let output = Command::new("apt-cache")
        .args(["pkgnames", &format!("linux-image-{series}.")])
        .stdin(Stdio::null())
        .output()
        .context("cannot run apt-cache")?;
    let names = String::from_utf8_lossy(&output.stdout);
    highest(names.lines()).map(str::to_owned).with_context(|| {
        format!(
            "Debian's lists have no linux-image-{series}.*-cloud-amd64: is this another release?"
        )
    })
}

fn highest<'a>(names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    names
        .filter(|name| name.ends_with("-cloud-amd64"))
        .max_by_key(|name| numbers(name))
}

fn numbers(name: &str) -> Vec<u32> {
    name.split(|character: char| !character.is_ascii_digit())
        .filter_map(|number| number.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_number() {
        let names = [
            "linux-image-6.1.0-9-cloud-amd64",
            "linux-image-6.1.0-57-cloud-amd64",
            "linux-image-6.1.0-58-amd64",
            "linux-image-6.1.0-59-cloud-amd64-unsigned",
            "linux-image-6.1.0-60-cloud-amd64-dbg",
        ];
        assert_eq!(highest(names.into_iter()), Some(names[1]));
        let names = [
            "linux-image-6.12.117+deb12-cloud-amd64",
            "linux-image-6.12.99+deb12-cloud-amd64",
        ];
        assert_eq!(highest(names.into_iter()), Some(names[0]));
        assert_eq!(highest(["linux-image-6.12-amd64"].into_iter()), None);
    }
}
