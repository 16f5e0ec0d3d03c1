//! What the kernel knows of an accepted socket, and the mark that spares the agent's own.

use std::{
    io,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    os::fd::{AsFd, BorrowedFd},
    sync::{Arc, Mutex, PoisonError},
};

use aya::maps::{MapData, MapError, SkStorage};
use serde::{Deserialize, Serialize};

use super::CaptureError;

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
    /// The client's socket, as no other socket of this boot; zero where it is not known.
    #[serde(default)]
    pub socket_cookie: u64,
}

impl From<agent_ebpf::Origin> for Origin {
    fn from(record: agent_ebpf::Origin) -> Self {
        let address = IpAddr::V6(Ipv6Addr::from(record.address)).to_canonical();
        Self {
            destination: SocketAddr::new(address, u16::from_be_bytes(record.port)),
            tgid: record.tgid,
            start_boottime_ns: record.start_boottime_ns,
            uid: record.uid,
            audit_session: record.audit_session,
            loginuid: record.loginuid,
            cgroup_id: record.cgroup_id,
            netns_cookie: record.netns_cookie,
            endpoint: record.endpoint,
            connected_at_ns: record.connected_at_ns,
            socket_cookie: record.socket_cookie,
        }
    }
}

/// Looks up the origins of accepted sockets. Clones share one map.
#[derive(Debug, Clone)]
pub struct Origins {
    pub(super) map: Arc<SkStorage<MapData, agent_ebpf::Origin>>,
}

impl Origins {
    /// The origin of a socket that a listener of [`super::listeners`] accepted. `None`: somebody
    /// dialled the listener itself, and the connection must be refused.
    ///
    /// # Errors
    ///
    /// [`CaptureError::Map`] when `socket` is not a socket or the kernel does not answer.
    pub fn of(&self, socket: BorrowedFd<'_>) -> Result<Option<Origin>, CaptureError> {
        match self.map.get(&socket, 0) {
            Ok(record) => Ok(Some(record.into())),
            Err(MapError::KeyNotFound) => Ok(None),
            Err(MapError::SyscallError(error)) if is_absent(&error.io_error) => Ok(None),
            Err(error) => Err(CaptureError::map("read the origin of a socket")(error)),
        }
    }
}

fn is_absent(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENOENT)
}

/// Marks the agent's own sockets, so that their connections are not captured again.
///
/// The mark lives in the kernel's storage of the socket and can be written only by who holds this
/// map; `SO_MARK` would not do, any process with `CAP_NET_RAW` may set it. Clones share one map.
#[derive(Debug, Clone)]
pub struct Marker {
    pub(super) map: Arc<Mutex<SkStorage<MapData, u32>>>,
}

impl Marker {
    /// Marks a socket. Do it before it connects to a server.
    ///
    /// # Errors
    ///
    /// [`CaptureError::Map`] when `socket` is not a socket or the kernel has no memory for it.
    pub fn mark(&self, socket: BorrowedFd<'_>) -> Result<(), CaptureError> {
        let mut map = self.map.lock().unwrap_or_else(PoisonError::into_inner);
        map.insert(&socket.as_fd(), 1, 0)
            .map_err(CaptureError::map("mark the agent's own socket"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapped_destination_is_given_as_ipv4() {
        let record = agent_ebpf::Origin {
            start_boottime_ns: 5,
            cgroup_id: 1,
            netns_cookie: 1,
            connected_at_ns: 6,
            socket_cookie: 9,
            address: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 203, 0, 113, 9],
            port: [0x15, 0x38],
            family: agent_ebpf::FAMILY_V4,
            tgid: 42,
            uid: 1000,
            audit_session: u32::MAX,
            loginuid: u32::MAX,
            endpoint: 3,
        };
        let origin = Origin::from(record);
        assert_eq!(
            origin.destination,
            SocketAddr::from(([203, 0, 113, 9], 5432))
        );
        assert_eq!((origin.tgid, origin.endpoint), (42, 3));
    }
}
