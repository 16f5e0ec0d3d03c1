//! What this host offers, for `weir doctor`.

use std::{
    fs::{self, File},
    io,
    os::fd::AsFd,
    path::Path,
};

use serde::Serialize;

use super::{btf, cgroups::cgroup2_mount, pins, programs::PROGRAMS, sys, writers};

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub name: &'static str,
    /// Whether it is as weir needs it.
    pub ok: bool,
    /// Whether weir governs without it, too.
    pub optional: bool,
    /// What was found.
    pub detail: String,
    /// What to do about it; empty when it is as it should be.
    pub remedy: String,
}

impl Finding {
    pub(super) fn new(name: &'static str, found: Result<String, String>, remedy: &str) -> Self {
        match found {
            Ok(detail) => Self {
                name,
                ok: true,
                optional: false,
                detail,
                remedy: String::new(),
            },
            Err(detail) => Self {
                name,
                ok: false,
                optional: false,
                detail,
                remedy: remedy.to_owned(),
            },
        }
    }

    /// A thing that weir governs without, too.
    pub(super) fn optional(
        name: &'static str,
        found: Result<String, String>,
        remedy: &str,
    ) -> Self {
        Self {
            optional: true,
            ..Self::new(name, found, remedy)
        }
    }

    /// Whether enforcement does not hold for it.
    #[must_use]
    pub fn is_bad(&self) -> bool {
        !self.ok && !self.optional
    }
}

/// Looks at everything that capturing needs of the kernel and of this process's privileges. Changes nothing.
#[must_use]
pub fn probe() -> Vec<Finding> {
    let mut findings = vec![
        Finding::new("kernel", kernel(), "run Linux 5.15 or later"),
        Finding::new(
            "btf",
            btf(),
            "run a kernel built with CONFIG_DEBUG_INFO_BTF",
        ),
        Finding::new(
            "cgroup2",
            cgroup2(),
            "mount it: mount -t cgroup2 none /sys/fs/cgroup",
        ),
        Finding::new(
            "privileges",
            privileges(),
            "run as root, or with CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON and CAP_SYS_ADMIN",
        ),
        Finding::new("bpffs", bpffs(), "mount it: mount -t bpf bpf /sys/fs/bpf"),
    ];
    findings.extend(hooks());
    findings.push(writers::probe());
    findings
}

/// Socket storage by sock_ops programs together with namespace cookies.
const OLDEST: (u32, u32) = (5, 15);

fn kernel() -> Result<String, String> {
    let release =
        fs::read_to_string("/proc/sys/kernel/osrelease").map_err(|error| error.to_string())?;
    let release = release.trim();
    match version(release) {
        Some(version) if version >= OLDEST => Ok(format!("Linux {release}")),
        _ => Err(format!("Linux {release} is too old")),
    }
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|character: char| !character.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn btf() -> Result<String, String> {
    match btf::task_offsets() {
        Ok(offsets) if offsets.loginuid == 0 => {
            Ok("process facts, without audit sessions".to_owned())
        }
        Ok(_) => Ok("process facts and audit sessions".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn cgroup2() -> Result<String, String> {
    cgroup2_mount()
        .map(|path| path.display().to_string())
        .ok_or_else(|| "not mounted".to_owned())
}

/// CAP_NET_ADMIN, CAP_SYS_ADMIN, CAP_PERFMON, CAP_BPF: <https://man7.org/linux/man-pages/man7/capabilities.7.html>.
const NEEDED: [(&str, u32); 4] = [
    ("CAP_NET_ADMIN", 12),
    ("CAP_SYS_ADMIN", 21),
    ("CAP_PERFMON", 38),
    ("CAP_BPF", 39),
];

fn privileges() -> Result<String, String> {
    let status = fs::read_to_string("/proc/self/status").map_err(|error| error.to_string())?;
    let effective = effective_capabilities(&status).ok_or("the kernel does not tell")?;
    let missing: Vec<&str> = NEEDED
        .iter()
        .filter(|(_, bit)| effective >> bit & 1 == 0)
        .map(|(name, _)| *name)
        .collect();
    if missing.is_empty() {
        Ok("all that is needed".to_owned())
    } else {
        Err(format!("without {}", missing.join(", ")))
    }
}

fn effective_capabilities(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

fn bpffs() -> Result<String, String> {
    let place = Path::new(pins::BPFFS);
    if pins::is_on_bpffs(place) {
        Ok(pins::BPFFS.to_owned())
    } else if place.is_dir() {
        Ok(format!(
            "not mounted; the agent mounts it at {}",
            pins::BPFFS
        ))
    } else {
        Err(format!("{} does not exist", pins::BPFFS))
    }
}

fn hooks() -> Vec<Finding> {
    let cgroup = cgroup2_mount()
        .ok_or_else(|| "no cgroup2 mount to look at".to_owned())
        .and_then(|path| File::open(path).map_err(|error| error.to_string()));
    PROGRAMS
        .iter()
        .map(|(name, hook)| {
            let found = cgroup.as_ref().map_err(Clone::clone).and_then(|cgroup| {
                match sys::hook_exists(cgroup.as_fd(), *hook) {
                    Ok(()) => Ok("the kernel has it".to_owned()),
                    Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                        Err("the kernel does not have it".to_owned())
                    }
                    Err(error) => Err(format!("cannot be asked for: {error}")),
                }
            });
            Finding::new(name, found, "run a kernel with CONFIG_CGROUP_BPF, as root")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_compared_by_number() {
        assert_eq!(version("6.18.44-fc-v595"), Some((6, 18)));
        assert!(version("5.4.0-150-generic").expect("a version") < OLDEST);
        assert!(version("5.15").expect("a version") >= OLDEST);
        assert_eq!(version("unknown"), None);
    }

    #[test]
    fn capabilities_are_read_as_hexadecimal() {
        assert_eq!(
            effective_capabilities("Name:\tx\nCapEff:\t0000000000001000\n"),
            Some(1 << 12)
        );
        assert_eq!(effective_capabilities("Name:\tx\n"), None);
    }
}
