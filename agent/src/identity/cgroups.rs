//! The v2 cgroup hierarchy: paths, ids, and the cgroups that weir makes for runs.
//!
//! A run is a cgroup below `<cgroup>/weir`, owned by root: a process without privilege can neither leave it nor make
//! its children leave it, which is why a binding to it holds.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
};

use aws_lc_rs::rand;

/// Directories looked at when a cgroup is sought by its id.
const WALK_LIMIT: usize = 20_000;

/// Levels of sub-cgroups removed with a run.
const DEPTH_LIMIT: usize = 64;

/// The cgroup v2 hierarchy, and the place in it below which weir makes runs.
#[derive(Debug, Clone)]
pub struct Cgroups {
    mount: PathBuf,
    runs: String,
}

/// A cgroup that weir made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The random part of its name.
    pub id: String,
    /// Its path from the hierarchy's root.
    pub path: String,
    /// Its kernel id.
    pub cgroup_id: u64,
}

/// Why the hierarchy cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CgroupsError {
    /// Nothing is mounted, or it cannot be seen.
    #[error("cannot read the mounts of this process")]
    Mounts(#[source] io::Error),
    /// The folder is on no cgroup v2 mount.
    #[error("{path} lies on no cgroup v2 mount")]
    NotV2 {
        /// As configured.
        path: PathBuf,
    },
}

impl Cgroups {
    /// Finds the mount that `cgroup` (where the kernel programs are attached) lies on.
    ///
    /// # Errors
    ///
    /// [`CgroupsError`] when it is not on a cgroup v2 mount.
    pub fn open(cgroup: &Path) -> Result<Self, CgroupsError> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").map_err(CgroupsError::Mounts)?;
        let mount = v2_mounts(&mounts)
            .filter(|mount| cgroup.starts_with(mount))
            .max_by_key(|mount| mount.components().count())
            .ok_or_else(|| CgroupsError::NotV2 {
                path: cgroup.to_owned(),
            })?;
        let below = cgroup.strip_prefix(&mount).unwrap_or(Path::new(""));
        let runs = Path::new("/").join(below).join("weir");
        Ok(Self {
            mount,
            runs: runs.to_string_lossy().into_owned(),
        })
    }

    /// Whether `path` lies in (or below) some run, whoever made it.
    #[must_use]
    pub fn is_in_a_run(&self, path: &str) -> bool {
        path.strip_prefix(&self.runs)
            .is_some_and(|rest| rest.starts_with('/'))
    }

    /// The run that `path` lies in: the path of the run's own cgroup.
    #[must_use]
    pub fn run_of<'a>(&self, path: &'a str) -> Option<&'a str> {
        let rest = path.strip_prefix(&self.runs)?.strip_prefix('/')?;
        let name = rest.split('/').next()?;
        path.get(..self.runs.len() + 1 + name.len())
    }

    /// The kernel's id of a cgroup, which in v2 is its directory's inode.
    ///
    /// # Errors
    ///
    /// When the cgroup does not exist.
    pub fn id_of(&self, path: &str) -> io::Result<u64> {
        Ok(fs::metadata(self.folder(path))?.ino())
    }

    /// The path of a cgroup by its id: walks the hierarchy, so it is for the rare case only.
    #[must_use]
    pub fn path_of(&self, id: u64) -> Option<String> {
        let mut left = WALK_LIMIT;
        let mut folders = vec![self.mount.clone()];
        while let Some(folder) = folders.pop() {
            left = left.checked_sub(1)?;
            if fs::metadata(&folder).is_ok_and(|data| data.ino() == id) {
                let below = folder.strip_prefix(&self.mount).ok()?;
                return Some(Path::new("/").join(below).to_string_lossy().into_owned());
            }
            folders.extend(children(&folder));
        }
        None
    }

    /// Makes an empty run.
    ///
    /// # Errors
    ///
    /// When the cgroup cannot be made: needs root and a writable hierarchy.
    pub fn make_run(&self) -> io::Result<Run> {
        let mut random = [0_u8; 8];
        rand::fill(&mut random).map_err(|_| io::Error::other("no randomness"))?;
        let id = hex::encode(random);
        let path = format!("{}/run-{id}", self.runs);
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(self.folder(&self.runs))?;
        fs::DirBuilder::new()
            .mode(0o755)
            .create(self.folder(&path))?;
        let cgroup_id = self.id_of(&path)?;
        Ok(Run {
            id,
            path,
            cgroup_id,
        })
    }

    /// Moves a process, all its threads, into a run. Its children to come start there.
    ///
    /// # Errors
    ///
    /// When the kernel refuses, or the process is gone.
    pub fn enter(&self, run: &Run, pid: u32) -> io::Result<()> {
        fs::write(self.folder(&run.path).join("cgroup.procs"), pid.to_string())
    }

    /// Every run there is, by path, whoever made it.
    #[must_use]
    pub fn runs(&self) -> Vec<String> {
        children(&self.folder(&self.runs))
            .into_iter()
            .filter_map(|folder| {
                folder
                    .file_name()
                    .map(|name| format!("{}/{}", self.runs, name.to_string_lossy()))
            })
            .collect()
    }

    /// Whether any process is left in a run or below; a run that does not exist has none.
    #[must_use]
    pub fn is_populated(&self, path: &str) -> bool {
        match fs::read_to_string(self.folder(path).join("cgroup.events")) {
            Ok(events) => !events.lines().any(|line| line == "populated 0"),
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        }
    }

    /// Removes an empty run and its empty sub-cgroups.
    ///
    /// # Errors
    ///
    /// When a process is still in it.
    pub fn remove(&self, path: &str) -> io::Result<()> {
        remove_tree(&self.folder(path), DEPTH_LIMIT)
    }

    /// Where the kernel programs are attached, as a path from the hierarchy's root.
    #[must_use]
    pub fn watched(&self) -> &str {
        match self.runs.strip_suffix("/weir") {
            None | Some("") => "/",
            Some(path) => path,
        }
    }

    pub(super) fn folder(&self, path: &str) -> PathBuf {
        self.mount.join(path.trim_start_matches('/'))
    }
}

/// The first cgroup v2 mount of this process: what is meant when the configuration names none.
///
/// # Errors
///
/// [`CgroupsError`] when there is none.
pub fn default_cgroup() -> Result<PathBuf, CgroupsError> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").map_err(CgroupsError::Mounts)?;
    v2_mounts(&mounts)
        .next()
        .ok_or_else(|| CgroupsError::NotV2 {
            path: PathBuf::from("/sys/fs/cgroup"),
        })
}

/// Mount points of type `cgroup2`, which follows the ` - ` in a line of `mountinfo`.
fn v2_mounts(mountinfo: &str) -> impl Iterator<Item = PathBuf> {
    mountinfo.lines().filter_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        (after.split(' ').next()? == "cgroup2").then_some(())?;
        before.split(' ').nth(4).map(PathBuf::from)
    })
}

fn children(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

fn remove_tree(folder: &Path, depth: usize) -> io::Result<()> {
    if depth == 0 {
        return Err(io::Error::other("too many levels of cgroups"));
    }
    for child in children(folder) {
        remove_tree(&child, depth - 1)?;
    }
    match fs::remove_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw
";

    fn at(runs: &str) -> Cgroups {
        Cgroups {
            mount: PathBuf::from("/nowhere"),
            runs: runs.to_owned(),
        }
    }

    #[test]
    fn the_v2_mount_of_a_hybrid_host_is_found() {
        let mounts: Vec<_> = v2_mounts(HYBRID).collect();
        assert_eq!(mounts, [PathBuf::from("/sys/fs/cgroup/unified")]);
    }

    #[test]
    fn the_run_of_a_path_is_its_own_cgroup_not_a_lookalike() {
        let cgroups = at("/weir");
        assert_eq!(cgroups.run_of("/weir/run-1/a/b"), Some("/weir/run-1"));
        assert_eq!(cgroups.run_of("/weir/run-1"), Some("/weir/run-1"));
        assert_eq!(cgroups.run_of("/weirdo/run-1"), None);
        assert_eq!(cgroups.run_of("/user.slice/weir/run-1"), None);
        assert!(!cgroups.is_in_a_run("/weir"));
        assert!(cgroups.is_in_a_run("/weir/run-1/sub"));
    }

    #[test]
    fn an_id_leads_back_to_its_path() {
        let cgroups =
            Cgroups::open(&default_cgroup().expect("a cgroup v2 mount")).expect("that mount");
        let root = cgroups.id_of("/").expect("the root's id");
        assert_eq!(cgroups.path_of(root).as_deref(), Some("/"));
    }
}
