//! The maps, and what is handed over when the programs are loaded.
//!
//! All of them are pinned, and their sizes are part of [`agent_ebpf::ABI`].

use agent_ebpf::{
    COUNTERS, Conduct, Counter, EVENTS_BYTES, Event, FLOWS_ENTRIES, FlowKey, Heartbeat,
    LISTENERS_ENTRIES, Listener, OLDER_ENTRIES, Origin, RULES_ENTRIES, Reported, RuleKey,
    RuleValue, TaskOffsets, WRITERS_ENTRIES, WriterKey,
};
use aya_ebpf::{
    Global,
    btf_maps::{Array, HashMap, LpmTrie, PerCpuArray, RingBuf, SkStorage},
    macros::btf_map,
};

/// Where a client's socket wanted to go. Separate from `ORIG_SERVER`, or `getpeername` on an
/// accepted socket would answer with the destination instead of the client.
#[btf_map]
pub(crate) static ORIG_CLIENT: SkStorage<Origin> = SkStorage::new();

/// What the client of an accepted socket wanted; user space reads it by fd.
#[btf_map]
pub(crate) static ORIG_SERVER: SkStorage<Origin> = SkStorage::new();

/// The agent's own sockets, marked by fd from user space.
#[btf_map]
pub(crate) static AGENT: SkStorage<u32> = SkStorage::new();

/// Sockets that were let through on purpose; the value is the event's reason.
#[btf_map]
pub(crate) static PASS: SkStorage<u32> = SkStorage::new();

/// Origins on their way from the client's half of a connection to the listener's.
#[btf_map]
pub(crate) static FLOWS: HashMap<FlowKey, Origin, FLOWS_ENTRIES> = HashMap::new();

/// Destinations that are governed or excluded.
#[btf_map]
pub(crate) static RULES: LpmTrie<RuleKey, RuleValue, RULES_ENTRIES> = LpmTrie::new();

/// The listeners of a network namespace, by its cookie.
#[btf_map]
pub(crate) static LISTENERS: HashMap<u64, Listener, LISTENERS_ENTRIES> = HashMap::new();

/// Cookies of connections older than the agent that may go on, until when (boot clock, nanoseconds).
#[btf_map]
pub(crate) static OLDER: HashMap<u64, u64, OLDER_ENTRIES> = HashMap::new();

/// How the programs act.
#[btf_map]
pub(crate) static CONDUCT: Array<Conduct, 1> = Array::new();

/// The agent's last sign of life.
#[btf_map]
pub(crate) static HEARTBEAT: Array<Heartbeat, 1> = Array::new();

/// User space's own note of what it has reported; pinned here because it must outlive an agent.
#[btf_map]
pub(crate) static REPORTED: Array<Reported, 1> = Array::new();

/// Counters, by [`Counter`].
#[btf_map]
pub(crate) static STATS: PerCpuArray<u64, COUNTERS> = PerCpuArray::new();

/// Connections that went to governed destinations without the agent.
#[btf_map]
pub(crate) static EVENTS: RingBuf<Event, EVENTS_BYTES> = RingBuf::new();

/// Processes that wrote on a governed connection and had not made it.
#[btf_map]
pub(crate) static WRITERS: HashMap<WriterKey, Origin, WRITERS_ENTRIES> = HashMap::new();

/// Changes whenever something was added to `WRITERS`. User space maps it: looking costs no system call.
#[btf_map]
pub(crate) static WRITES: Array<u64, 1, MMAPABLE> = Array::new();

/// `BPF_F_MMAPABLE`.
const MMAPABLE: usize = 1 << 10;

/// Written into the object by the loader.
#[unsafe(no_mangle)]
pub(crate) static TASK_OFFSETS: Global<TaskOffsets> = Global::new(TaskOffsets {
    group_leader: 0,
    start_boottime: 0,
    loginuid: 0,
    sessionid: 0,
    cred: 0,
    euid: 0,
});

/// Adds one to a counter of this CPU.
#[inline(always)]
pub(crate) fn count(counter: Counter) {
    if let Some(value) = STATS.get_ptr_mut(counter as u32) {
        // SAFETY: the slot is this CPU's own, and programs of this kind do not nest on it.
        unsafe { *value += 1 };
    }
}
