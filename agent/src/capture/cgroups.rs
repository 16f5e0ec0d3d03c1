//! Finding, opening and entering cgroups of the v2 hierarchy.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io,
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd},
        unix::{ffi::OsStrExt, fs::MetadataExt},
    },
    path::{Path, PathBuf},
};

use super::CaptureError;

/// The cgroup2 mount of this mount namespace, the shortest path if there are several.
#[must_use]
pub fn cgroup2_mount() -> Option<PathBuf> {
    let table = fs::read("/proc/self/mountinfo").ok()?;
    mount_points(&table, "cgroup2")
        .into_iter()
        .min_by_key(|path| path.as_os_str().len())
}

/// The path of a cgroup below the cgroup2 mount, `/` first; `None` when it is gone.
#[must_use]
pub fn cgroup_path(id: u64) -> Option<PathBuf> {
    let mount = cgroup2_mount()?;
    let root = File::open(&mount).ok()?;
    let path = fs::read_link(format!(
        "/proc/self/fd/{}",
        open_by_id(&root, id).ok()?.as_raw_fd()
    ))
    .ok()?;
    Some(Path::new("/").join(path.strip_prefix(&mount).ok()?))
}

/// Moves this process into `<cgroup>/weir-agent` unless it already is somewhere below `cgroup`.
///
/// The kernel runs the programs of the *listener's* cgroup when a connection is accepted, so a
/// listener made outside would never learn an origin: call this before [`super::listeners`].
///
/// # Errors
///
/// [`CaptureError::Cgroup`] when the group cannot be made or entered.
pub fn enter(cgroup: &Path) -> Result<(), CaptureError> {
    let own = own_path()?;
    if own.starts_with(cgroup) {
        return Ok(());
    }
    let group = cgroup.join(AGENT_GROUP);
    let entered = fs::create_dir(&group)
        .or_else(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => Ok(()),
            _ => Err(error),
        })
        .and_then(|()| fs::write(group.join("cgroup.procs"), "0"));
    entered.map_err(|source| CaptureError::Cgroup {
        path: group,
        source,
    })
}

/// The group that [`enter`] makes.
pub(super) const AGENT_GROUP: &str = "weir-agent";

/// A cgroup that is open, for attaching to it.
#[derive(Debug)]
pub(super) struct Cgroup {
    pub(super) file: File,
    pub(super) id: u64,
    pub(super) path: PathBuf,
    is_root: bool,
}

impl Cgroup {
    /// Opens the cgroup of the settings, or the cgroup2 mount.
    pub(super) fn open(path: Option<&Path>) -> Result<Self, CaptureError> {
        let mount = cgroup2_mount().ok_or(CaptureError::NoCgroup2)?;
        let path = path.unwrap_or(&mount).to_owned();
        let failed = |source| CaptureError::Cgroup {
            path: path.clone(),
            source,
        };
        let file = File::open(&path).map_err(failed)?;
        // The id that the programs see is the inode number of the group's folder.
        let id = file.metadata().map_err(failed)?.ino();
        Ok(Self {
            file,
            id,
            is_root: path == mount,
            path,
        })
    }

    /// Whether the group with this id is this one or below it.
    pub(super) fn contains(&self, id: u64) -> bool {
        if self.is_root || id == self.id {
            return true;
        }
        cgroup2_mount()
            .and_then(|mount| {
                let path = cgroup_path(id)?;
                Some(mount.join(path.strip_prefix("/").ok()?))
            })
            .is_some_and(|path| path.starts_with(&self.path))
    }
}

/// Where this process is in the v2 hierarchy, as a path of the file system.
fn own_path() -> Result<PathBuf, CaptureError> {
    const OWN: &str = "/proc/self/cgroup";
    let failed = |source| CaptureError::Cgroup {
        path: PathBuf::from(OWN),
        source,
    };
    let mount = cgroup2_mount().ok_or(CaptureError::NoCgroup2)?;
    let groups = fs::read_to_string(OWN).map_err(failed)?;
    let own = groups
        .lines()
        .find_map(|line| line.strip_prefix("0::/"))
        .ok_or(CaptureError::NoCgroup2)?;
    Ok(if own.is_empty() {
        mount
    } else {
        mount.join(own)
    })
}

/// Mount points of a file system type in the text of `/proc/self/mountinfo`.
pub(super) fn mount_points(table: &[u8], kind: &str) -> Vec<PathBuf> {
    table
        .split(|byte| *byte == b'\n')
        .filter_map(|line| {
            let mut fields = line.split(|byte| *byte == b' ');
            let point = fields.nth(4)?;
            // Optional fields end with a lone dash; the type follows.
            fields.by_ref().find(|field| *field == b"-")?;
            (fields.next()? == kind.as_bytes())
                .then(|| PathBuf::from(OsStr::from_bytes(&unescaped(point))))
        })
        .collect()
}

/// Undoes the octal escapes of blanks and backslashes.
fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, tail)) = rest.split_first() {
        let escape = tail
            .first_chunk::<3>()
            .filter(|_| *first == b'\\')
            .and_then(|digits| {
                let text = std::str::from_utf8(digits).ok()?;
                u8::from_str_radix(text, 8).ok()
            });
        if let Some(byte) = escape {
            plain.push(byte);
            rest = &tail[3..];
        } else {
            plain.push(*first);
            rest = tail;
        }
    }
    plain
}

/// Opens a cgroup by its id, which is a kernfs file handle.
fn open_by_id(root: &File, id: u64) -> io::Result<OwnedFd> {
    /// The kernel's `struct file_handle` with room for a kernfs id.
    #[repr(C)]
    struct Handle {
        bytes: u32,
        kind: i32,
        id: [u8; 8],
    }
    /// `FILEID_KERNFS`.
    const KERNFS: i32 = 0xfe;
    let mut handle = Handle {
        bytes: 8,
        kind: KERNFS,
        id: id.to_ne_bytes(),
    };
    // SAFETY: the handle has the layout and the length that it says, and outlives the call.
    let fd = unsafe {
        libc::open_by_handle_at(
            root.as_raw_fd(),
            (&raw mut handle).cast(),
            libc::O_PATH | libc::O_CLOEXEC | libc::O_DIRECTORY,
        )
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_found_by_type() {
        let table = b"30 23 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n\
            31 23 0:27 / /tmp/a\\040b rw shared:1 master:2 - bpf bpf rw\n\
            broken line\n";
        assert_eq!(
            mount_points(table, "cgroup2"),
            [Path::new("/sys/fs/cgroup/unified")]
        );
        assert_eq!(mount_points(table, "bpf"), [Path::new("/tmp/a b")]);
        assert!(mount_points(table, "ext4").is_empty());
    }

    #[test]
    fn an_escape_at_the_end_is_kept() {
        assert_eq!(unescaped(b"a\\1"), b"a\\1");
        assert_eq!(unescaped(b"a\\134b"), b"a\\b");
    }
}
