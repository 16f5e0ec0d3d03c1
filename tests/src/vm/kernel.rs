//! The kernels that the machine can boot: what `cargo xtask setup` has unpacked from Debian's packages.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::place;

/// A kernel image and its modules.
#[derive(Clone, Debug)]
pub struct Kernel {
    release: String,
    folder: PathBuf,
}

impl Kernel {
    /// The series that are tried: the oldest that Debian still keeps, and the one of its present release.
    pub const SERIES: [&str; 2] = ["6.1", "6.12"];

    /// The unpacked kernel of a series.
    ///
    /// # Errors
    ///
    /// When `cargo xtask setup` has not unpacked one.
    pub fn of_series(series: &str) -> Result<Self> {
        let folder = Self::folder(series)?;
        let release = release(&folder).with_context(|| {
            format!(
                "there is no Linux {series} below {}: run `cargo xtask setup --for test`",
                folder.display()
            )
        })?;
        Ok(Self { release, folder })
    }

    /// Where the kernel of a series is unpacked.
    ///
    /// # Errors
    ///
    /// When the cache folder cannot be named.
    pub fn folder(series: &str) -> Result<PathBuf> {
        Ok(place::cache()?.join("kernels").join(series))
    }

    /// Its version, as `uname -r` says it.
    #[must_use]
    pub fn release(&self) -> &str {
        &self.release
    }

    /// The bootable image.
    #[must_use]
    pub fn image(&self) -> PathBuf {
        self.folder
            .join("boot")
            .join(format!("{IMAGE}{}", self.release))
    }

    /// The file of a module, compressed or not.
    pub(super) fn module(&self, path: &str) -> Result<PathBuf> {
        let modules = self
            .folder
            .join("lib/modules")
            .join(&self.release)
            .join("kernel");
        [".ko", ".ko.xz"]
            .map(|ending| modules.join(format!("{path}{ending}")))
            .into_iter()
            .find(|file| file.is_file())
            .with_context(|| format!("Linux {} has no module {path}", self.release))
    }
}

const IMAGE: &str = "vmlinuz-";

fn release(folder: &Path) -> Option<String> {
    let entries = fs::read_dir(folder.join("boot")).ok()?;
    entries.flatten().find_map(|entry| {
        entry
            .file_name()
            .to_str()?
            .strip_prefix(IMAGE)
            .map(str::to_owned)
    })
}
