//! What /proc says of a process, tied to the process the kernel saw and not to whoever has its number now.
//!
//! A directory handle on `/proc/PID` refers to one process for good: after its end every read through it fails. The
//! start time read through the handle says whether it is the right one.

mod folder;

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex},
};

use self::folder::{Folder, NS_PER_TICK, UNSET, ancestors, field, stat_of, v2_path};
use super::{cgroups::Cgroups, evidence::Evidence};
use crate::capture::Origin;

/// Processes remembered per generation; two generations are kept.
const REMEMBERED: usize = 4_096;

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
    /// By a parent and its start: its own parent and what is above. Children of one shell share it.
    ancestors: HashMap<(u32, u64), (u32, Vec<String>)>,
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

impl Sighting {
    /// The start as /proc says it, in hundredths of a second of the boot clock.
    #[must_use]
    pub fn start_ticks(&self) -> u64 {
        self.start_boottime_ns / NS_PER_TICK
    }

    /// Whether the user and session are those of an earlier sighting.
    fn is_as_in(&self, evidence: &Evidence) -> bool {
        (self.uid, self.audit_session, self.loginuid)
            == (evidence.uid, evidence.audit_session, evidence.loginuid)
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
        let cgroup = v2_path(&folder.text(c"cgroup")?)
            .ok_or_else(|| io::Error::other("the process's cgroup cannot be read"))?;
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

    /// The program file of the very process that was seen, as it is executed: under whatever name, or none.
    #[must_use]
    pub fn open_exe(&self, seen: &Sighting) -> Option<std::fs::File> {
        Folder::of(seen)?.0.open_exe().ok()
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
        let Some((folder, stat)) = Folder::of(seen) else {
            return Observation {
                evidence: Arc::new(self.captured_only(seen)),
                present_cgroup: None,
            };
        };
        let present_cgroup = folder.text(c"cgroup").ok().and_then(|text| v2_path(&text));
        let key = (seen.tgid, seen.start_ticks(), seen.cgroup_id);
        let exe = folder.exe();
        // A process may have executed another file or changed its user since it was remembered.
        if let Some(evidence) = self.remembered(&key)
            && exe.as_deref() == Some(evidence.exe_path.as_str())
            && seen.is_as_in(&evidence)
        {
            return Observation {
                evidence,
                present_cgroup,
            };
        }
        let evidence = Arc::new(Evidence {
            comm: stat.comm,
            exe_path: exe.unwrap_or_default(),
            parents: self.parents(stat.parent),
            ..self.captured(seen, present_cgroup.as_deref())
        });
        self.remember(key, Arc::clone(&evidence));
        Observation {
            evidence,
            present_cgroup,
        }
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

    /// The parent as it is now, and those above as they were when first seen below that parent.
    fn parents(&self, parent: u32) -> Vec<String> {
        let Some(stat) = stat_of(parent) else {
            return Vec::new();
        };
        let key = (parent, stat.start_ticks);
        let known = |memory: &Memory| {
            memory
                .ancestors
                .get(&key)
                .filter(|known| known.0 == stat.parent)
                .cloned()
        };
        let known = self.memory.lock().ok().and_then(|memory| known(&memory));
        let above = known.map_or_else(|| ancestors(stat.parent), |known| known.1);
        if let Ok(mut memory) = self.memory.lock() {
            if memory.ancestors.len() >= REMEMBERED {
                memory.ancestors.clear();
            }
            memory.ancestors.insert(key, (stat.parent, above.clone()));
        }
        std::iter::once(format!("{}({parent})", stat.comm))
            .chain(above)
            .collect()
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

/// The innermost unit: `/user.slice/user@1000.service/app.slice/x.scope` is `x.scope`.
fn systemd_unit(cgroup: &str) -> Option<String> {
    let is_unit = |part: &&str| matches!(part.rsplit_once('.'), Some((_, "service" | "scope")));
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
