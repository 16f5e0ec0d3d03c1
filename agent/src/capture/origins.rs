//! What the kernel knows of an accepted socket.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// The address that the client meant to reach, and the process that meant it, as the kernel saw them in `connect(2)`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// Where the client wanted to go; a v4-mapped address is given as IPv4.
    pub destination: SocketAddr,
    /// The process (thread group).
    pub tgid: u32,
    /// The process's start, nanoseconds of the boot clock; with `tgid` the process's key.
    pub start_boottime_ns: u64,
    /// Effective user id.
    pub uid: u32,
    /// The audit session id; `u32::MAX` when unset.
    pub audit_session: u32,
    /// The login uid; `u32::MAX` when unset.
    pub loginuid: u32,
    /// The v2 cgroup's id.
    pub cgroup_id: u64,
    /// The network namespace's cookie.
    pub netns_cookie: u64,
    /// The endpoint rule that governed the destination.
    pub endpoint: u32,
    /// When `connect(2)` was called, nanoseconds of the boot clock.
    pub connected_at_ns: u64,
}
