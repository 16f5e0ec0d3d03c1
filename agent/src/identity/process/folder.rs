//! One process's folder in /proc, and what its files say.

use std::{
    ffi::CStr,
    fs::File,
    io::{self, Read},
    os::fd::OwnedFd,
};

use nix::{
    fcntl::{OFlag, open, openat, readlinkat},
    sys::stat::Mode,
};

use super::Sighting;

/// `/proc` counts in hundredths of a second on every architecture weir runs on.
pub(super) const NS_PER_TICK: u64 = 10_000_000;

/// The kernel's "not set" for session and login ids.
pub(super) const UNSET: u32 = u32::MAX;

/// Ancestors recorded.
const MAX_PARENTS: usize = 8;

/// The most that is read of a file in /proc: a process may be in a dozen hierarchies with long paths.
const READ_BYTES: usize = 16 * 1024;

/// A handle on one process's folder in /proc.
pub(super) struct Folder(OwnedFd);

pub(super) struct Stat {
    pub(super) comm: String,
    pub(super) parent: u32,
    pub(super) start_ticks: u64,
}

impl Folder {
    pub(super) fn open(pid: u32) -> io::Result<Self> {
        let flags = OFlag::O_DIRECTORY | OFlag::O_CLOEXEC | OFlag::O_PATH;
        Ok(Self(open(
            format!("/proc/{pid}").as_str(),
            flags,
            Mode::empty(),
        )?))
    }

    /// The folder of the very process that was seen; `None` when it ended.
    pub(super) fn of(seen: &Sighting) -> Option<(Self, Stat)> {
        let folder = Self::open(seen.tgid).ok()?;
        let stat = folder.stat().ok()?;
        (stat.start_ticks == seen.start_ticks()).then_some((folder, stat))
    }

    pub(super) fn text(&self, name: &CStr) -> io::Result<String> {
        let file = openat(
            &self.0,
            name,
            OFlag::O_RDONLY | OFlag::O_CLOEXEC,
            Mode::empty(),
        )?;
        read_once(File::from(file))
    }

    pub(super) fn stat(&self) -> io::Result<Stat> {
        let text = self.text(c"stat")?;
        parse_stat(&text)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "unreadable /proc/PID/stat"))
    }

    pub(super) fn exe(&self) -> Option<String> {
        Some(
            readlinkat(&self.0, c"exe")
                .ok()?
                .to_string_lossy()
                .into_owned(),
        )
    }

    pub(super) fn open_exe(&self) -> io::Result<File> {
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
        Ok(File::from(openat(&self.0, c"exe", flags, Mode::empty())?))
    }

    pub(super) fn id(&self, name: &CStr) -> Option<u32> {
        self.text(name)
            .ok()?
            .trim()
            .parse()
            .ok()
            .filter(|id| *id != UNSET)
    }

    pub(super) fn effective_uid(&self) -> io::Result<u32> {
        let status = self.text(c"status")?;
        field(&status, "Uid:")
            .and_then(|uids| uids.split_whitespace().nth(1)?.parse().ok())
            .ok_or_else(|| {
                io::Error::new(io::ErrorKind::InvalidData, "unreadable /proc/PID/status")
            })
    }
}

/// The kernel gives a file of /proc whole to a reader with room for it.
fn read_once(mut file: File) -> io::Result<String> {
    let mut buffer = [0_u8; READ_BYTES];
    let length = file.read(&mut buffer)?;
    Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
}

pub(super) fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .map(str::trim)
}

/// The name stands in parentheses and may itself hold parentheses, blanks and newlines.
pub(super) fn parse_stat(text: &str) -> Option<Stat> {
    let (before, after) = text.rsplit_once(')')?;
    let (_, comm) = before.split_once('(')?;
    let mut fields = after.split_ascii_whitespace();
    Some(Stat {
        comm: comm.to_owned(),
        // Fields 4 and 22 of the manual, counted from the third, which follows the name.
        parent: fields.nth(1)?.parse().ok()?,
        start_ticks: fields.nth(17)?.parse().ok()?,
    })
}

/// Reading eight of these takes longer than all else that is observed together.
pub(super) fn stat_of(pid: u32) -> Option<Stat> {
    let text = File::open(format!("/proc/{pid}/stat"))
        .and_then(read_once)
        .ok()?;
    parse_stat(&text)
}

pub(super) fn ancestors(first: u32) -> Vec<String> {
    let mut chain = Vec::new();
    let mut pid = first;
    while pid != 0 && chain.len() < MAX_PARENTS - 1 {
        let Some(stat) = stat_of(pid) else {
            break;
        };
        chain.push(format!("{}({pid})", stat.comm));
        pid = stat.parent;
    }
    chain
}

/// The line `0::/path`; a folder that was removed is marked at the end.
pub(super) fn v2_path(cgroup: &str) -> Option<String> {
    let path = cgroup.lines().find_map(|line| line.strip_prefix("0::"))?;
    Some(path.strip_suffix(" (deleted)").unwrap_or(path).to_owned())
}
