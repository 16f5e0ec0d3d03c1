//! Facts of the process that is calling, read from its `task_struct` at offsets from the kernel's BTF.

use agent_ebpf::Origin;
use aya_ebpf::helpers::{
    bpf_get_current_cgroup_id, bpf_get_current_pid_tgid, bpf_get_current_uid_gid,
    bpf_ktime_get_boot_ns,
    generated::{bpf_get_current_task, bpf_probe_read_kernel},
};

use crate::maps::TASK_OFFSETS;

/// An audit session or login uid that is not set.
const UNSET: u32 = u32::MAX;

/// An origin with everything of the calling process, and nothing of the destination.
#[inline(always)]
pub(crate) fn current() -> Origin {
    let offsets = TASK_OFFSETS.load();
    // SAFETY: no arguments; the helper answers the current task's address.
    let task = unsafe { bpf_get_current_task() };
    let leader: u64 = field(task, offsets.group_leader, 0);
    let credentials: u64 = field(task, offsets.cred, 0);
    // Without BTF for the credentials the real user id is the best there is.
    let real_uid = bpf_get_current_uid_gid() as u32;
    Origin {
        start_boottime_ns: field(leader, offsets.start_boottime, 0),
        // SAFETY: no arguments.
        cgroup_id: unsafe { bpf_get_current_cgroup_id() },
        netns_cookie: 0,
        // SAFETY: no arguments.
        connected_at_ns: unsafe { bpf_ktime_get_boot_ns() },
        socket_cookie: 0,
        address: [0; 16],
        port: [0; 2],
        family: 0,
        tgid: (bpf_get_current_pid_tgid() >> 32) as u32,
        uid: field(credentials, offsets.euid, real_uid),
        audit_session: field(task, offsets.sessionid, UNSET),
        loginuid: field(task, offsets.loginuid, UNSET),
        endpoint: 0,
    }
}

/// The key of the process that is calling: its thread group and that one's start.
#[inline(always)]
pub(crate) fn key() -> (u32, u64) {
    let offsets = TASK_OFFSETS.load();
    // SAFETY: no arguments; the helper answers the current task's address.
    let task = unsafe { bpf_get_current_task() };
    let leader: u64 = field(task, offsets.group_leader, 0);
    (
        (bpf_get_current_pid_tgid() >> 32) as u32,
        field(leader, offsets.start_boottime, 0),
    )
}

/// Reads a field of a kernel structure; `otherwise` when the structure or the field is missing.
#[inline(always)]
fn field<T: Copy>(structure: u64, offset: u32, otherwise: T) -> T {
    if structure == 0 || offset == 0 {
        return otherwise;
    }
    let mut value = otherwise;
    // SAFETY: the helper checks the address itself, and writes exactly `T` into `value`.
    let failed = unsafe {
        bpf_probe_read_kernel(
            (&raw mut value).cast(),
            size_of::<T>() as u32,
            (structure + u64::from(offset)) as *const _,
        )
    };
    if failed == 0 { value } else { otherwise }
}
