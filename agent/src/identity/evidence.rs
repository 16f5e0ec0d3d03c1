//! What was observed of a process, whether or not anybody vouches for it.

use serde::{Deserialize, Serialize};
use weir_policy::Process;

/// What was observed of the process behind a socket.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// The kernel's boot id.
    pub boot_id: String,
    /// The process.
    pub tgid: u32,
    /// Its start, nanoseconds of the boot clock.
    pub start_boottime_ns: u64,
    /// Its name (`comm`).
    pub comm: String,
    /// Its program file; empty when it could not be read.
    pub exe_path: String,
    /// SHA-256 of that file as it is executed, hex, where it is known already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exe_sha256: Option<String>,
    /// Its effective user id at connect time. Its arguments are never recorded: they may hold secrets.
    pub uid: u32,
    /// The audit session id, where one is set.
    pub audit_session: Option<u32>,
    /// The login uid, where one is set.
    pub loginuid: Option<u32>,
    /// The v2 cgroup's path below the mount, `/` first.
    pub cgroup_path: String,
    /// The systemd unit that the cgroup names.
    pub systemd_unit: Option<String>,
    /// The container that the cgroup names.
    pub container_id: Option<String>,
    /// Parent first, each as `comm(pid)`, up to init or eight.
    pub parents: Vec<String>,
    /// Whether the process had ended (or its id was in use again) when weir looked: only what the kernel captured is known.
    #[serde(default)]
    pub gone: bool,
}

/// What rules may ask of it.
impl From<&Evidence> for Process {
    fn from(evidence: &Evidence) -> Self {
        Self {
            exe: evidence.exe_path.clone(),
            exe_sha256: evidence.exe_sha256.clone(),
            cgroup: evidence.cgroup_path.clone(),
            unit: evidence.systemd_unit.clone(),
            container: evidence.container_id.clone(),
            uid: evidence.uid,
        }
    }
}
