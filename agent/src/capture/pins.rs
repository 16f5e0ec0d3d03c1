//! What outlives an agent: the folder of pinned programs and maps.

use std::{
    fs::{self, DirBuilder, File},
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::{DirBuilderExt, PermissionsExt},
    },
    path::{Path, PathBuf},
    sync::Arc,
};

use agent_ebpf::{
    ABI, COUNTERS, Conduct, EVENTS_BYTES, FLOWS_ENTRIES, FlowKey, Heartbeat, LISTENERS_ENTRIES,
    Listener, OLDER_ENTRIES, Origin, RULES_ENTRIES, Reported, RuleKey, RuleValue, WRITERS_ENTRIES,
    WriterKey,
};
use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
    mount::{MsFlags, mount},
    sys::statfs::{BPF_FS_MAGIC, statfs},
};

use super::{CaptureError, sys};

/// The folder of one layout version, held exclusively by this process.
#[derive(Debug)]
pub(super) struct PinFolder {
    root: PathBuf,
    path: PathBuf,
    /// Released by the kernel when the process ends, however it ends.
    lock: Arc<Flock<File>>,
}

/// Where bpf file systems are usually mounted.
pub(super) const BPFFS: &str = "/sys/fs/bpf";

impl PinFolder {
    /// Makes or opens the folder for this agent's layouts below `root`, mounting bpffs if it is not.
    pub(super) fn open(root: &Path) -> Result<Self, CaptureError> {
        if !is_on_bpffs(root) {
            mount_for(root)?;
        }
        let path = root.join(format!("v{ABI}"));
        let failed = |source| CaptureError::PinFolder {
            path: path.clone(),
            source,
        };
        for folder in [&path, &path.join(MAPS_FOLDER), &path.join(LINKS_FOLDER)] {
            private_folder(folder).map_err(failed)?;
        }
        let version = Version {
            root: root.to_owned(),
            path,
        };
        let lock = version.lock()?;
        let Version { root, path } = version;
        Ok(Self {
            root,
            path,
            lock: Arc::new(lock),
        })
    }

    /// Where a map is pinned.
    pub(super) fn map(&self, name: &str) -> PathBuf {
        self.path.join(MAPS_FOLDER).join(name)
    }

    /// Where the link of a program is pinned.
    pub(super) fn link(&self, name: &str) -> PathBuf {
        self.path.join(LINKS_FOLDER).join(name)
    }

    /// Whether an earlier agent left programs here.
    pub(super) fn has_links(&self) -> bool {
        fs::read_dir(self.path.join(LINKS_FOLDER)).is_ok_and(|mut entries| entries.next().is_some())
    }

    /// Compares the maps that are pinned with what this agent needs: the loader does not, and a
    /// record read with another layout would be nonsense.
    pub(super) fn check_maps(&self) -> Result<(), CaptureError> {
        for shape in &MAPS {
            let path = self.map(shape.name);
            if !path.exists() {
                continue;
            }
            let info = sys::open_pinned(&path)
                .and_then(|map| sys::map_info(map.as_fd()))
                .map_err(|source| CaptureError::PinFolder { path, source })?;
            let found = Shape {
                name: shape.name,
                kind: info.kind,
                key: info.key_size as usize,
                value: info.value_size as usize,
                entries: info.max_entries as usize,
            };
            if found != *shape {
                return Err(CaptureError::MapShape {
                    map: shape.name,
                    found: found.describe(),
                    wanted: shape.describe(),
                });
            }
        }
        Ok(())
    }

    /// The folder without its lock.
    pub(super) fn version(&self) -> Version {
        Version {
            root: self.root.clone(),
            path: self.path.clone(),
        }
    }

    /// Removes what agents with other layouts left, unless one of them is still running. Returns how many programs there were.
    pub(super) fn retire_other_versions(&self) -> Result<usize, CaptureError> {
        let mut detached = 0;
        for version in versions(&self.root)? {
            if version.path != self.path && version.lock().is_ok() {
                detached += version.remove()?;
            }
        }
        Ok(detached)
    }

    /// What undoes a start; it keeps the folder held as long as it is there.
    pub(super) fn provisional(&self) -> Provisional {
        Provisional {
            version: Some(self.version()),
            _lock: Arc::clone(&self.lock),
        }
    }
}

/// What a start has put into the kernel where nothing was before. Dropping it takes that out again, so that a start that fails
/// leaves no programs that would take the agent for dead and refuse everybody.
#[derive(Debug)]
#[must_use = "dropping it takes the programs out of the kernel"]
pub struct Provisional {
    version: Option<Version>,
    /// Until everything is gone, no other agent may put something there.
    _lock: Arc<Flock<File>>,
}

impl Provisional {
    /// The agent has started: what is in the kernel stays there.
    pub fn stay(mut self) {
        self.version = None;
    }
}

impl Drop for Provisional {
    fn drop(&mut self) {
        if let Some(version) = self.version.take()
            && let Err(error) = version.remove()
        {
            tracing::error!(%error, "the kernel programs of a start that failed cannot be removed: weir unload does");
        }
    }
}

/// The pins of one layout version, not held.
#[derive(Debug)]
pub(super) struct Version {
    root: PathBuf,
    path: PathBuf,
}

impl Version {
    /// Takes it for this process, unless an agent holds it.
    fn lock(&self) -> Result<Flock<File>, CaptureError> {
        let path = &self.path;
        let failed = |source| CaptureError::PinFolder {
            path: path.clone(),
            source,
        };
        let handle = File::open(path).map_err(failed)?;
        Flock::lock(handle, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| match error {
            Errno::EWOULDBLOCK => CaptureError::Busy { path: path.clone() },
            error => failed(error.into()),
        })
    }

    /// Removes all pins, links first, so that no program runs without its maps. Returns how many
    /// programs there were.
    pub(super) fn remove(&self) -> Result<usize, CaptureError> {
        remove_files(&self.path.join(LINKS_FOLDER))
            .and_then(|links| {
                remove_files(&self.path.join(MAPS_FOLDER))?;
                fs::remove_dir(&self.path)?;
                remove_if_empty(&self.root)?;
                Ok(links)
            })
            .map_err(|source| CaptureError::PinFolder {
                path: self.path.clone(),
                source,
            })
    }
}

fn versions(root: &Path) -> Result<Vec<Version>, CaptureError> {
    let failed = |source| CaptureError::PinFolder {
        path: root.to_owned(),
        source,
    };
    let mut versions = Vec::new();
    for entry in fs::read_dir(root).map_err(failed)? {
        versions.push(Version {
            root: root.to_owned(),
            path: entry.map_err(failed)?.path(),
        });
    }
    Ok(versions)
}

/// Removes everything that agents of any version pinned below `root`, and `root` itself. New
/// connections are no longer governed afterwards. Returns how many programs were detached.
///
/// # Errors
///
/// [`CaptureError::Busy`] while an agent runs, [`CaptureError::PinFolder`] when a pin cannot be removed.
pub fn unload(root: &Path) -> Result<usize, CaptureError> {
    if !root.exists() {
        return Ok(0);
    }
    if !is_on_bpffs(root) {
        return Err(CaptureError::NotBpffs {
            path: root.to_owned(),
        });
    }
    let mut detached = 0;
    for version in versions(root)? {
        let _lock = version.lock()?;
        detached += version.remove()?;
    }
    Ok(detached)
}

/// Opens a pinned object; `None` when nothing is pinned there.
pub(super) fn open_pin(path: &Path) -> io::Result<Option<OwnedFd>> {
    match sys::open_pinned(path) {
        Ok(object) => Ok(Some(object)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

const MAPS_FOLDER: &str = "maps";
const LINKS_FOLDER: &str = "links";

fn remove_files(folder: &Path) -> io::Result<usize> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let mut removed = 0;
    for entry in entries {
        fs::remove_file(entry?.path())?;
        removed += 1;
    }
    fs::remove_dir(folder)?;
    Ok(removed)
}

fn remove_if_empty(folder: &Path) -> io::Result<()> {
    match fs::remove_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
        // A bpf file system that is mounted right there stays.
        Err(error) if error.kind() == io::ErrorKind::ResourceBusy => Ok(()),
        other => other,
    }
}

fn private_folder(path: &Path) -> io::Result<()> {
    const OWNER_ONLY: u32 = 0o700;
    DirBuilder::new()
        .recursive(true)
        .mode(OWNER_ONLY)
        .create(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(OWNER_ONLY))
}

/// Whether the path, or what there is of it, lies on a bpf file system.
pub(super) fn is_on_bpffs(path: &Path) -> bool {
    path.ancestors()
        .find(|ancestor| ancestor.exists())
        .and_then(|ancestor| statfs(ancestor).ok())
        .is_some_and(|found| found.filesystem_type() == BPF_FS_MAGIC)
}

/// Mounts bpffs at its usual place when `root` is below it.
fn mount_for(root: &Path) -> Result<(), CaptureError> {
    let place = Path::new(BPFFS);
    if !root.starts_with(place) {
        return Err(CaptureError::NotBpffs {
            path: root.to_owned(),
        });
    }
    let failed = |source| CaptureError::PinFolder {
        path: place.to_owned(),
        source,
    };
    // Two agents that start together must not mount over each other.
    let handle = File::open(place).map_err(failed)?;
    let _lock =
        Flock::lock(handle, FlockArg::LockExclusive).map_err(|(_, error)| failed(error.into()))?;
    if is_on_bpffs(root) {
        return Ok(());
    }
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("bpf"), place, Some("bpf"), flags, Some("mode=700"))
        .map_err(|error| failed(error.into()))
}

/// A map's type and sizes.
#[derive(Debug, PartialEq, Eq)]
struct Shape {
    name: &'static str,
    kind: u32,
    key: usize,
    value: usize,
    entries: usize,
}

impl Shape {
    fn describe(&self) -> String {
        format!(
            "type {}, {} bytes of key, {} bytes of value, {} entries",
            self.kind, self.key, self.value, self.entries
        )
    }
}

/// Values of the kernel's `bpf_map_type`.
const HASH: u32 = 1;
const ARRAY: u32 = 2;
const PERCPU_ARRAY: u32 = 6;
const LPM_TRIE: u32 = 11;
const SK_STORAGE: u32 = 24;
const RINGBUF: u32 = 27;

/// Every map of the programs, as it must be for this agent.
const MAPS: [Shape; 15] = [
    storage("ORIG_CLIENT", size_of::<Origin>()),
    storage("ORIG_SERVER", size_of::<Origin>()),
    storage("AGENT", size_of::<u32>()),
    storage("PASS", size_of::<u32>()),
    shape(
        "FLOWS",
        HASH,
        size_of::<FlowKey>(),
        size_of::<Origin>(),
        FLOWS_ENTRIES,
    ),
    shape(
        "RULES",
        LPM_TRIE,
        4 + size_of::<RuleKey>(),
        size_of::<RuleValue>(),
        RULES_ENTRIES,
    ),
    shape(
        "LISTENERS",
        HASH,
        size_of::<u64>(),
        size_of::<Listener>(),
        LISTENERS_ENTRIES,
    ),
    shape(
        "OLDER",
        HASH,
        size_of::<u64>(),
        size_of::<u64>(),
        OLDER_ENTRIES,
    ),
    shape("CONDUCT", ARRAY, 4, size_of::<Conduct>(), 1),
    shape("HEARTBEAT", ARRAY, 4, size_of::<Heartbeat>(), 1),
    shape("REPORTED", ARRAY, 4, size_of::<Reported>(), 1),
    shape("STATS", PERCPU_ARRAY, 4, size_of::<u64>(), COUNTERS),
    shape("EVENTS", RINGBUF, 0, 0, EVENTS_BYTES),
    shape(
        "WRITERS",
        HASH,
        size_of::<WriterKey>(),
        size_of::<Origin>(),
        WRITERS_ENTRIES,
    ),
    shape("WRITES", ARRAY, 4, size_of::<u64>(), 1),
];

/// The names of all maps.
pub(super) fn map_names() -> impl Iterator<Item = &'static str> {
    MAPS.iter().map(|shape| shape.name)
}

const fn shape(name: &'static str, kind: u32, key: usize, value: usize, entries: usize) -> Shape {
    Shape {
        name,
        kind,
        key,
        value,
        entries,
    }
}

const fn storage(name: &'static str, value: usize) -> Shape {
    shape(name, SK_STORAGE, 4, value, 0)
}
