//! The records that cross the kernel boundary, with their layouts asserted.
//!
//! Addresses and ports are bytes in network order; an IPv4 address is carried v4-mapped. Every
//! record is plain old data without padding, so that no byte of kernel stack leaks into a map.
#![no_std]

/// The version of all layouts in this file and of the maps' sizes: part of the pin folder's name.
/// Raise it whenever one of them changes.
pub const ABI: u32 = 2;

/// The heartbeat is stale after this many nanoseconds without a beat; agents beat every 250 ms.
pub const STALE_NS: u64 = 1_000_000_000;

/// Bits of [`RuleKey`] ahead of the address: the prefix length of "any address on this port".
pub const PORT_BITS: u32 = 32;

/// Entries that fit into `FLOWS`: connections between the client's and the listener's handshake end.
pub const FLOWS_ENTRIES: usize = 65_536;
/// Entries that fit into `OLDER`.
pub const OLDER_ENTRIES: usize = 65_536;
/// Entries that fit into `RULES`.
pub const RULES_ENTRIES: usize = 16_384;
/// Entries that fit into `LISTENERS`.
pub const LISTENERS_ENTRIES: usize = 1_024;
/// Entries that fit into `WRITERS`: processes that wrote on another one's governed connection.
pub const WRITERS_ENTRIES: usize = 8_192;
/// Foreign writers of one connection that are told apart; one more only says that there were more.
pub const WRITER_SLOTS: u32 = 4;
/// Bytes of the event ring.
pub const EVENTS_BYTES: usize = 256 * 1024;

/// Where a client wanted to go, and the process that wanted it, seen in `connect(2)`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Start of the process, nanoseconds of the boot clock; zero when unknown.
    pub start_boottime_ns: u64,
    /// The v2 cgroup's id.
    pub cgroup_id: u64,
    /// The network namespace's cookie.
    pub netns_cookie: u64,
    /// When `connect(2)` was called, nanoseconds of the boot clock.
    pub connected_at_ns: u64,
    /// The client's socket, as no other socket of this boot.
    pub socket_cookie: u64,
    /// The destination, v4-mapped for IPv4.
    pub address: [u8; 16],
    /// The destination's port.
    pub port: [u8; 2],
    /// The family of the address that the client gave: [`FAMILY_V4`] or [`FAMILY_V6`].
    pub family: u16,
    /// The process (thread group).
    pub tgid: u32,
    /// Effective user id.
    pub uid: u32,
    /// Audit session id; `u32::MAX` when unset.
    pub audit_session: u32,
    /// Login uid; `u32::MAX` when unset.
    pub loginuid: u32,
    /// The endpoint rule that governs the destination.
    pub endpoint: u32,
}

/// `AF_INET`.
pub const FAMILY_V4: u16 = 2;
/// `AF_INET6`.
pub const FAMILY_V6: u16 = 10;

/// One loopback connection between a redirected client and a listener, until both halves know it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowKey {
    /// Both ends are in this network namespace.
    pub netns_cookie: u64,
    /// The client's address, v4-mapped for IPv4.
    pub client: [u32; 4],
    /// The listener's address, v4-mapped for IPv4.
    pub listener: [u32; 4],
    /// The client's port, host order.
    pub client_port: u32,
    /// The listener's port, host order.
    pub listener_port: u32,
}

/// One of the processes that wrote on a governed connection and had not made it. What is stored is an [`Origin`] with the
/// writer's facts, the connection's destination and cookie, and the time of the first such write.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WriterKey {
    /// [`Origin::socket_cookie`].
    pub socket_cookie: u64,
    /// From zero; [`WRITER_SLOTS`] itself means that there were more than can be told.
    pub slot: u32,
    /// Zero.
    pub reserved: u32,
}

/// What the longest-prefix lookup of rules is keyed by.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleKey {
    /// The destination's port.
    pub port: [u8; 2],
    /// Zero; keeps the address aligned.
    pub reserved: [u8; 2],
    /// The destination's address, v4-mapped for IPv4.
    pub address: [u8; 16],
}

/// What a rule says of the destinations it matches.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleValue {
    /// The endpoint that governs them.
    pub endpoint: u32,
    /// [`RULE_GOVERNED`] or [`RULE_EXCLUDED`].
    pub verdict: u32,
}

/// Connections go through the agent.
pub const RULE_GOVERNED: u32 = 1;
/// Connections are left alone although a shorter prefix is governed.
pub const RULE_EXCLUDED: u32 = 2;

/// The agent's listeners in one network namespace; a port of zero means there is none.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listener {
    /// The port on 127.0.0.1.
    pub v4: [u8; 2],
    /// The port on ::1.
    pub v6: [u8; 2],
}

/// How the programs act; written by the agent at start.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conduct {
    /// [`REFUSE`] or [`LET_PASS`] while no agent beats.
    pub on_agent_down: u32,
    /// [`REFUSE`] or [`LET_PASS`] in a network namespace without a listener.
    pub other_namespaces: u32,
}

/// The connection fails with `EPERM`.
pub const REFUSE: u32 = 0;
/// The connection goes to its destination, and is counted and reported.
pub const LET_PASS: u32 = 1;

/// The sign of a living agent.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// The last beat, nanoseconds of the boot clock.
    pub at_ns: u64,
    /// One while an agent runs, zero after an orderly stop: stale at once.
    pub running: u64,
}

/// What an earlier agent already reported of [`Counter::PassedAgentDown`] and [`Counter::DeniedAgentDown`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reported {
    /// Connections let through.
    pub passed: u64,
    /// Connections refused.
    pub denied: u64,
}

/// A connection that went to a governed destination without the agent.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// [`WHY_AGENT_DOWN`] or [`WHY_OTHER_NAMESPACE`].
    pub why: u32,
    /// Zero.
    pub reserved: u32,
    /// Who and where to.
    pub origin: Origin,
}

/// No agent was beating and `on_agent_down` is `open`.
pub const WHY_AGENT_DOWN: u32 = 1;
/// The client's network namespace has no listener and `other_namespaces` is `report`.
pub const WHY_OTHER_NAMESPACE: u32 = 2;

/// Offsets into the running kernel's structures, read from its BTF. Zero means: this kernel has no such field.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TaskOffsets {
    /// `task_struct.group_leader`.
    pub group_leader: u32,
    /// `task_struct.start_boottime`.
    pub start_boottime: u32,
    /// `task_struct.loginuid`.
    pub loginuid: u32,
    /// `task_struct.sessionid`.
    pub sessionid: u32,
    /// `task_struct.cred`.
    pub cred: u32,
    /// `cred.euid`.
    pub euid: u32,
}

/// What the programs count: indices of the `STATS` array.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// Connections redirected to the agent.
    Governed = 0,
    /// The agent's own connections.
    PassedAgent = 1,
    /// Let through because no agent was beating.
    PassedAgentDown = 2,
    /// Let through because the namespace has no listener.
    PassedOtherNamespace = 3,
    /// Refused because no agent was beating.
    DeniedAgentDown = 4,
    /// Refused because the namespace has no listener.
    DeniedOtherNamespace = 5,
    /// Refused because the kernel could not note the origin.
    DeniedStorage = 6,
    /// Refused because the socket stayed bound to a device.
    DeniedDevice = 7,
    /// Refused because the namespace has no listener of the destination's family.
    DeniedFamily = 8,
    /// Packets to governed endpoints dropped at egress.
    Dropped = 9,
    /// Accepted connections whose origin could not be handed over.
    Unattributed = 10,
    /// Events that did not fit into the ring.
    EventsLost = 11,
    /// Foreign writers that did not fit into `WRITERS`.
    WritersLost = 12,
}

/// How many counters there are.
pub const COUNTERS: usize = 13;

const _: () = {
    assert!(size_of::<Origin>() == 80 && align_of::<Origin>() == 8);
    assert!(core::mem::offset_of!(Origin, address) == 40);
    assert!(core::mem::offset_of!(Origin, port) == 56);
    assert!(core::mem::offset_of!(Origin, endpoint) == 76);
    assert!(size_of::<FlowKey>() == 48 && size_of::<WriterKey>() == 16);
    assert!(size_of::<RuleKey>() == 20 && align_of::<RuleKey>() == 1);
    assert!(core::mem::offset_of!(RuleKey, address) * 8 == PORT_BITS as usize);
    assert!(size_of::<RuleValue>() == 8 && size_of::<Listener>() == 4);
    assert!(
        size_of::<Conduct>() == 8 && size_of::<Heartbeat>() == 16 && size_of::<Reported>() == 16
    );
    assert!(size_of::<Event>() == 88 && core::mem::offset_of!(Event, origin) == 8);
    assert!(size_of::<TaskOffsets>() == 24);
    assert!(Counter::WritersLost as usize + 1 == COUNTERS);
};

#[cfg(feature = "user")]
mod user {
    use super::{
        Conduct, Event, FlowKey, Heartbeat, Listener, Origin, Reported, RuleKey, RuleValue,
        TaskOffsets, WriterKey,
    };

    macro_rules! plain {
        ($($record:ty),+) => {$(
            // SAFETY: `repr(C)`, integers only, and the assertions above leave no room for padding.
            unsafe impl aya::Pod for $record {}
        )+};
    }
    plain!(
        Conduct,
        Event,
        FlowKey,
        Heartbeat,
        Listener,
        Origin,
        Reported,
        RuleKey,
        RuleValue,
        TaskOffsets,
        WriterKey
    );
}
