//! The folder of a lab, and what is left of labs whose process was killed.
//!
//! Folder, cgroup and pins of a lab share one name. A living lab holds a lock on a file in its folder; a folder whose
//! lock is free belongs to nobody.

use std::env;
use std::fs::{self, File, TryLockError};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::agent::BPF_FILE_SYSTEM;
use crate::cgroup;
use crate::undo::Undo;

/// A folder that other users may enter, removed when this is dropped.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    _undo: Undo,
    _lock: File,
}

impl Folder {
    /// Makes the folder `name` where temporary files go, and locks it.
    ///
    /// # Errors
    ///
    /// When it exists already or cannot be made.
    pub fn create(name: &str) -> Result<Self> {
        let path = env::temp_dir().join(name);
        fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        let made = path.clone();
        let undo = Undo::new(move || {
            let _ = fs::remove_dir_all(&made);
        });
        // The database runs under an account of its own.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
            .context("cannot open the folder to others")?;
        // Named once it is held: a lock that is there and free means that its lab is dead.
        let unnamed = path.join("lock.new");
        let lock = File::create(&unnamed).context("cannot make the lab's lock")?;
        lock.lock().context("cannot take the lab's lock")?;
        fs::rename(&unnamed, path.join(LOCK)).context("cannot name the lab's lock")?;
        Ok(Self {
            path,
            _undo: undo,
            _lock: lock,
        })
    }

    /// Makes a folder inside.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub fn below(&self, name: &str) -> Result<PathBuf> {
        let path = self.path.join(name);
        fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(path)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The name of the `count`th lab of a process.
#[must_use]
pub fn name(process: u32, count: u32) -> String {
    format!("{PREFIX}{process}-{count}")
}

/// Removes what killed labs left: their processes, cgroups, pins and folders.
pub fn reclaim() {
    let Ok(entries) = fs::read_dir(env::temp_dir()) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) else {
            continue;
        };
        if let Some(_lock) = abandoned(&entry.path()) {
            end_services(&entry.path());
            if let Ok(hierarchy) = cgroup::hierarchy() {
                cgroup::remove(&hierarchy.join(name));
            }
            let _ = fs::remove_dir_all(Path::new(BPF_FILE_SYSTEM).join(name));
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

const PREFIX: &str = "weir-lab-";
const LOCK: &str = "lock";

/// The lock of a lab that no process holds any more. A folder without a lock may be one that is just being made.
fn abandoned(folder: &Path) -> Option<File> {
    let file = File::open(folder.join(LOCK)).ok()?;
    match file.try_lock() {
        Ok(()) => Some(file),
        Err(TryLockError::WouldBlock | TryLockError::Error(_)) => None,
    }
}

/// Ends the programs that a killed lab had started: they work inside its folder and were told its path.
fn end_services(folder: &Path) {
    let services: Vec<i32> = processes().filter(|pid| is_service(*pid, folder)).collect();
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        let deadline = Instant::now() + Duration::from_secs(5);
        let living = || {
            services
                .iter()
                .copied()
                .filter(|pid| is_service(*pid, folder))
        };
        living().for_each(|pid| {
            let _ = kill(Pid::from_raw(pid), signal);
        });
        while living().next().is_some() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(20));
        }
    }
}

fn processes() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn is_service(pid: i32, folder: &Path) -> bool {
    let process = PathBuf::from(format!("/proc/{pid}"));
    let works_inside = fs::read_link(process.join("cwd")).is_ok_and(|cwd| cwd.starts_with(folder));
    let was_told = || fs::read(process.join("cmdline")).is_ok_and(|line| names(&line, folder));
    works_inside && was_told()
}

fn names(command_line: &[u8], folder: &Path) -> bool {
    let path = folder.as_os_str().as_encoded_bytes();
    command_line
        .split(|byte| *byte == 0)
        .any(|argument| argument.starts_with(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_living_lab_is_left_alone_and_a_dead_one_is_not() {
        let name = name(std::process::id(), 9_999);
        let folder = Folder::create(&name).expect("a folder");
        assert!(abandoned(folder.path()).is_none());
        let path = folder.path().to_path_buf();
        let dead = path.with_file_name(format!("{name}-dead"));
        fs::create_dir(&dead).expect("a folder");
        File::create(dead.join(LOCK)).expect("a lock");
        reclaim();
        assert!(path.exists());
        assert!(!dead.exists());
    }
}
