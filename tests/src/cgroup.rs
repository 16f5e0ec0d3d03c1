//! Private cgroups, so that the kernel programs of a test see only the processes of that test.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::undo::Undo;

/// A cgroup that is removed, with all below it, when this is dropped.
#[derive(Debug)]
pub struct Cgroup {
    path: PathBuf,
    _undo: Undo,
}

impl Cgroup {
    /// Makes the cgroup `name` below the root of the cgroup v2 hierarchy.
    ///
    /// # Errors
    ///
    /// When there is no such hierarchy or this process may not write to it.
    pub fn create(name: &str) -> Result<Self> {
        let path = hierarchy()?.join(name);
        fs::create_dir(&path)
            .with_context(|| format!("cannot make the cgroup {} (root may)", path.display()))?;
        let made = path.clone();
        Ok(Self {
            path,
            _undo: Undo::new(move || remove(&made)),
        })
    }

    /// Makes `name` below this one; it goes when this one goes.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub fn below(&self, name: &str) -> Result<PathBuf> {
        let path = self.path.join(name);
        fs::create_dir_all(&path)
            .with_context(|| format!("cannot make the cgroup {}", path.display()))?;
        Ok(path)
    }

    /// Its folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Where the cgroup v2 hierarchy is mounted.
///
/// # Errors
///
/// When it is not.
pub fn hierarchy() -> Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").context("cannot read the mounts")?;
    mounts
        .lines()
        .find_map(cgroup2_mount)
        .context("no cgroup v2 hierarchy is mounted")
}

/// Ends every process in the cgroup and removes it with all below it.
pub fn remove(path: &Path) {
    let _ = fs::write(path.join("cgroup.kill"), "1");
    let deadline = Instant::now() + Duration::from_secs(5);
    while path.exists() && !remove_folders(path) && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(10));
    }
}

/// Children first; the files inside belong to the kernel.
fn remove_folders(path: &Path) -> bool {
    if let Ok(entries) = fs::read_dir(path) {
        for entry in entries.flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                remove_folders(&entry.path());
            }
        }
    }
    fs::remove_dir(path).is_ok()
}

/// `36 32 0:31 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw`
fn cgroup2_mount(line: &str) -> Option<PathBuf> {
    let (mount, filesystem) = line.split_once(" - ")?;
    let is_cgroup2 = filesystem.split(' ').next() == Some("cgroup2");
    let fields: Vec<&str> = mount.split(' ').collect();
    let is_whole = fields.get(3) == Some(&"/");
    (is_cgroup2 && is_whole)
        .then(|| fields.get(4).map(PathBuf::from))
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_v2_mount_is_told_from_v1() {
        let v1 = "33 32 0:28 / /sys/fs/cgroup/cpu rw,relatime shared:9 - cgroup cgroup rw,cpu";
        let v2 = "36 32 0:31 / /sys/fs/cgroup/unified rw,relatime shared:5 - cgroup2 cgroup2 rw";
        assert_eq!(cgroup2_mount(v1), None);
        assert_eq!(
            cgroup2_mount(v2),
            Some(PathBuf::from("/sys/fs/cgroup/unified"))
        );
    }
}
