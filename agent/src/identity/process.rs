//! What /proc says of a process, tied to the process the kernel saw and not to whoever has its number now.
//!
//! A directory handle on `/proc/PID` refers to one process for good: after its end every read through it fails. The
//! start time read through the handle says whether it is the right one.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read},
    os::fd::OwnedFd,
    sync::{Arc, Mutex},
};

use nix::{
    fcntl::{OFlag, open, openat, readlinkat},
    sys::stat::Mode,
};

use super::{cgroups::Cgroups, evidence::Evidence};
use crate::capture::Origin;

/// `/proc` counts in hundredths of a second on every architecture weir runs on.
const NS_PER_TICK: u64 = 10_000_000;

/// Processes remembered per generation; two generations are kept.
const REMEMBERED: usize = 4_096;

/// Ancestors recorded.
const MAX_PARENTS: usize = 8;

/// The most that is read of a file in /proc.
const READ_BYTES: usize = 4_096;

/// The kernel's "not set" for session and login ids.
const UNSET: u32 = u32::MAX;

/// A process as the kernel captured it, or as /proc shows it now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// The process.
    pub tgid: u32,
    /// Its start, nanoseconds of the boot clock; from /proc with hundredths of a second.
    pub start_boottime_ns: u64,
    /// Effective user id.
    pub uid: u32,
    /// The audit session, where one is set.
    pub audit_session: Option<u32>,
    /// The login uid, where one is set.
    pub loginuid: Option<u32>,
    /// The v2 cgroup's id.
    pub cgroup_id: u64,
}

/// What was observed, and where the process is now.
#[derive(Debug, Clone)]
pub struct Observation {
    /// To record.
    pub evidence: Arc<Evidence>,
    /// The cgroup the process is in at this moment, if it still runs: it may have moved since it connected.
    pub present_cgroup: Option<String>,
}

/// Observes processes and remembers what it saw.
#[derive(Debug)]
pub struct Processes {
    cgroups: Cgroups,
    boot_id: String,
    memory: Mutex<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    young: HashMap<ProcessKey, Arc<Evidence>>,
    old: HashMap<ProcessKey, Arc<Evidence>>,
}

/// The cgroup is part of the key because a process may be moved.
type ProcessKey = (u32, u64, u64);

impl From<&Origin> for Sighting {
    fn from(origin: &Origin) -> Self {
        Self {
            tgid: origin.tgid,
            start_boottime_ns: origin.start_boottime_ns,
            uid: origin.uid,
            audit_session: Some(origin.audit_session).filter(|id| *id != UNSET),
            loginuid: Some(origin.loginuid).filter(|id| *id != UNSET),
            cgroup_id: origin.cgroup_id,
        }
    }
}

impl Processes {
    /// Reads the boot id.
    ///
    /// # Errors
    ///
    /// When /proc cannot be read.
    pub fn open(cgroups: Cgroups) -> io::Result<Self> {
        let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?
            .trim()
            .to_owned();
        Ok(Self {
            cgroups,
            boot_id,
            memory: Mutex::default(),
        })
    }

    /// The kernel's boot id.
    #[must_use]
    pub fn boot_id(&self) -> &str {
        &self.boot_id
    }

    /// A process that runs now, by its number.
    ///
    /// # Errors
    ///
    /// When there is none, or /proc does not show it.
    pub fn sighting(&self, pid: u32) -> io::Result<Sighting> {
        let folder = Folder::open(pid)?;
        let stat = folder.stat()?;
        let cgroup = v2_path(&folder.text(c"cgroup")?).unwrap_or_else(|| "/".to_owned());
        Ok(Sighting {
            tgid: pid,
            start_boottime_ns: stat.start_ticks * NS_PER_TICK,
            uid: folder.effective_uid()?,
            audit_session: folder.id(c"sessionid"),
            loginuid: folder.id(c"loginuid"),
            cgroup_id: self.cgroups.id_of(&cgroup)?,
        })
    }

    /// Whether a process can gain privileges by executing a file (`no_new_privs` is off).
    ///
    /// # Errors
    ///
    /// When there is no such process.
    pub fn can_gain_privileges(&self, pid: u32) -> io::Result<bool> {
        let status = Folder::open(pid)?.text(c"status")?;
        Ok(field(&status, "NoNewPrivs:") != Some("1"))
    }

    /// The audit sessions that some process belongs to. Looks at every process.
    #[must_use]
    pub fn live_sessions(&self) -> Vec<u32> {
        let Ok(entries) = std::fs::read_dir("/proc") else {
            return Vec::new();
        };
        let mut sessions: Vec<u32> = entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
            .filter_map(|pid| Folder::open(pid).ok()?.id(c"sessionid"))
            .collect();
        sessions.sort_unstable();
        sessions.dedup();
        sessions
    }

    /// What there is to know of the process that was seen.
    #[must_use]
    pub fn observe(&self, seen: &Sighting) -> Observation {
        let Some(folder) = Folder::of(seen) else {
            return Observation {
                evidence: Arc::new(self.captured_only(seen)),
                present_cgroup: None,
            };
        };
        let present_cgroup = folder.text(c"cgroup").ok().and_then(|text| v2_path(&text));
        let key = (
            seen.tgid,
            seen.start_boottime_ns / NS_PER_TICK,
            seen.cgroup_id,
        );
        let exe = folder.exe();
        // A process may have executed another file since it was remembered.
        if let Some(evidence) = self.remembered(&key)
            && exe.as_deref() == Some(evidence.exe_path.as_str())
        {
            return Observation {
                evidence,
                present_cgroup,
            };
        }
        let evidence = Arc::new(self.look(seen, &folder, exe, present_cgroup.as_deref()));
        if !evidence.gone {
            self.remember(key, Arc::clone(&evidence));
        }
        Observation {
            evidence,
            present_cgroup,
        }
    }

    fn look(
        &self,
        seen: &Sighting,
        folder: &Folder,
        exe: Option<String>,
        present: Option<&str>,
    ) -> Evidence {
        let Ok(stat) = folder.stat() else {
            return self.captured_only(seen);
        };
        let mut evidence = self.captured(seen, present);
        evidence.comm = stat.comm;
        evidence.exe_path = exe.unwrap_or_default();
        evidence.parents = parents(stat.parent);
        evidence
    }

    fn captured_only(&self, seen: &Sighting) -> Evidence {
        Evidence {
            gone: true,
            ..self.captured(seen, None)
        }
    }

    /// What the kernel said, with the cgroup's path: `present` where it is the cgroup that was captured.
    fn captured(&self, seen: &Sighting, present: Option<&str>) -> Evidence {
        let cgroup_path = present
            .filter(|path| {
                self.cgroups
                    .id_of(path)
                    .is_ok_and(|id| id == seen.cgroup_id)
            })
            .map(str::to_owned)
            .or_else(|| self.cgroups.path_of(seen.cgroup_id))
            .unwrap_or_default();
        Evidence {
            boot_id: self.boot_id.clone(),
            tgid: seen.tgid,
            start_boottime_ns: seen.start_boottime_ns,
            uid: seen.uid,
            audit_session: seen.audit_session,
            loginuid: seen.loginuid,
            systemd_unit: systemd_unit(&cgroup_path),
            container_id: container_id(&cgroup_path),
            cgroup_path,
            ..Evidence::default()
        }
    }

    fn remembered(&self, key: &ProcessKey) -> Option<Arc<Evidence>> {
        let mut memory = self.memory.lock().ok()?;
        if let Some(evidence) = memory.young.get(key) {
            return Some(Arc::clone(evidence));
        }
        let evidence = memory.old.remove(key)?;
        memory.insert(*key, Arc::clone(&evidence));
        Some(evidence)
    }

    fn remember(&self, key: ProcessKey, evidence: Arc<Evidence>) {
        if let Ok(mut memory) = self.memory.lock() {
            memory.insert(key, evidence);
        }
    }
}

impl Memory {
    fn insert(&mut self, key: ProcessKey, evidence: Arc<Evidence>) {
        if self.young.len() >= REMEMBERED {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, evidence);
    }
}

/// A handle on one process's folder in /proc.
struct Folder(OwnedFd);

struct Stat {
    comm: String,
    parent: u32,
    start_ticks: u64,
}

impl Folder {
    fn open(pid: u32) -> io::Result<Self> {
        let flags = OFlag::O_DIRECTORY | OFlag::O_CLOEXEC | OFlag::O_PATH;
        Ok(Self(open(
            format!("/proc/{pid}").as_str(),
            flags,
            Mode::empty(),
        )?))
    }

    /// The folder of the very process that was seen; `None` when it ended.
    fn of(seen: &Sighting) -> Option<Self> {
        let folder = Self::open(seen.tgid).ok()?;
        let stat = folder.stat().ok()?;
        (stat.start_ticks == seen.start_boottime_ns / NS_PER_TICK).then_some(folder)
    }

    fn text(&self, name: &std::ffi::CStr) -> io::Result<String> {
        let file = openat(
            &self.0,
            name,
            OFlag::O_RDONLY | OFlag::O_CLOEXEC,
            Mode::empty(),
        )?;
        let mut buffer = vec![0_u8; READ_BYTES];
        let length = File::from(file).read(&mut buffer)?;
        buffer.truncate(length);
        Ok(String::from_utf8_lossy(&buffer).into_owned())
    }

    fn stat(&self) -> io::Result<Stat> {
        let text = self.text(c"stat")?;
        parse_stat(&text)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "unreadable /proc/PID/stat"))
    }

    fn exe(&self) -> Option<String> {
        Some(
            readlinkat(&self.0, c"exe")
                .ok()?
                .to_string_lossy()
                .into_owned(),
        )
    }

    fn id(&self, name: &std::ffi::CStr) -> Option<u32> {
        self.text(name)
            .ok()?
            .trim()
            .parse()
            .ok()
            .filter(|id| *id != UNSET)
    }

    fn effective_uid(&self) -> io::Result<u32> {
        let status = self.text(c"status")?;
        field(&status, "Uid:")
            .and_then(|uids| uids.split_whitespace().nth(1)?.parse().ok())
            .ok_or_else(|| {
                io::Error::new(io::ErrorKind::InvalidData, "unreadable /proc/PID/status")
            })
    }
}

fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .map(str::trim)
}

/// The name stands in parentheses and may itself hold parentheses, blanks and newlines.
fn parse_stat(text: &str) -> Option<Stat> {
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

fn parents(first: u32) -> Vec<String> {
    let mut chain = Vec::new();
    let mut pid = first;
    while pid != 0 && chain.len() < MAX_PARENTS {
        let Some(stat) = Folder::open(pid).ok().and_then(|folder| folder.stat().ok()) else {
            break;
        };
        chain.push(format!("{}({pid})", stat.comm));
        pid = stat.parent;
    }
    chain
}

/// The line `0::/path`; a folder that was removed is marked at the end.
fn v2_path(cgroup: &str) -> Option<String> {
    let path = cgroup.lines().find_map(|line| line.strip_prefix("0::"))?;
    Some(path.strip_suffix(" (deleted)").unwrap_or(path).to_owned())
}

/// The innermost unit: `/user.slice/user@1000.service/app.slice/x.scope` is `x.scope`.
fn systemd_unit(cgroup: &str) -> Option<String> {
    let is_unit = |part: &&str| part.ends_with(".service") || part.ends_with(".scope");
    cgroup.rsplit('/').find(is_unit).map(str::to_owned)
}

/// Runtimes name a container's cgroup by its 64 hexadecimal digits, with their own prefix and `.scope`.
fn container_id(cgroup: &str) -> Option<String> {
    cgroup.rsplit('/').find_map(|part| {
        let part = part.strip_suffix(".scope").unwrap_or(part);
        let id = part.rsplit(['-', ':']).next()?;
        let is_id = id.len() == 64
            && id
                .bytes()
                .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        is_id.then(|| id.to_owned())
    })
}

#[cfg(test)]
mod tests;
