//! Connections to governed endpoints that were made before the agent could capture them.

use std::{
    collections::{HashMap as Map, HashSet},
    fs, io,
    net::SocketAddr,
    os::fd::{AsFd, BorrowedFd},
    sync::PoisonError,
    time::Duration,
};

use aya::maps::{HashMap, MapData, MapError};
use serde::Serialize;

use super::{
    Capture, CaptureError, Existing, Origin, OtherNamespaces,
    namespaces::{self, Namespace},
    sock_diag::TcpSocket,
};
use crate::clock;

/// A connection to a governed endpoint that does not go through the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Older {
    /// Who and where to, as far as `/proc` tells: `tgid` is zero when no process could be found,
    /// `start_boottime_ns` is rounded to clock ticks, `connected_at_ns` is zero.
    pub origin: Origin,
    /// The client's own end.
    pub client: SocketAddr,
    /// What became of it.
    pub fate: Fate,
}

/// What became of a connection older than the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// It was aborted.
    Killed,
    /// It lives until its grace is over.
    Grace,
    /// It lives on.
    Reported,
}

/// Until when a connection that is only reported may go on: longer than any host is up.
const FOREVER: u64 = u64::MAX;

impl Capture {
    /// Finds connections to governed endpoints that go around the agent, in every network namespace,
    /// and does with them what the settings say. Each is returned once when it is found, and again
    /// when its grace ends. Where other namespaces may connect past the agent, their connections are
    /// only reported: aborted ones would come back the same way.
    ///
    /// [`Capture::attach`] has done it once. Call it again after [`Capture::replace_rules`], and
    /// every few seconds while there is grace.
    ///
    /// # Errors
    ///
    /// [`CaptureError::SockDiag`] when sockets cannot be listed or aborted.
    pub fn older(&self) -> Result<Vec<Older>, CaptureError> {
        let marks: Vec<BorrowedFd<'_>> = self.marks.iter().map(|map| map.fd().as_fd()).collect();
        let mut around = Vec::new();
        for namespace in namespaces::all()? {
            let sockets =
                namespace
                    .sockets
                    .connected(&marks)
                    .map_err(|source| CaptureError::SockDiag {
                        action: "list the connections of this host",
                        source,
                    })?;
            around.push((self.going_around(sockets), namespace));
        }
        let mut known = self.older.lock().unwrap_or_else(PoisonError::into_inner);
        prune(&mut known, around.iter().flat_map(|(sockets, _)| sockets))?;
        let mut owners = None;
        let mut found = Vec::new();
        for (sockets, namespace) in &around {
            for (socket, endpoint) in sockets {
                let Some(fate) = self.settle(&mut known, socket, namespace)? else {
                    continue;
                };
                let owners = owners.get_or_insert_with(socket_owners);
                let owner = owners.get(&socket.inode).copied().unwrap_or_default();
                found.push(Older {
                    origin: describe(socket, *endpoint, owner, namespace.cookie),
                    client: socket.local,
                    fate,
                });
            }
        }
        Ok(found)
    }

    fn going_around(&self, sockets: Vec<TcpSocket>) -> Vec<(TcpSocket, u32)> {
        let rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        sockets
            .into_iter()
            .filter(|socket| !socket.is_marked)
            .filter_map(|socket| {
                let endpoint = rules.endpoint(socket.remote.ip(), socket.remote.port())?;
                Some((socket, endpoint))
            })
            .filter(|(socket, _)| socket.cgroup_id.is_none_or(|id| self.cgroup.contains(id)))
            .collect()
    }

    /// Does with one connection what the settings say; `None` when there is nothing new about it.
    fn settle(
        &self,
        known: &mut HashMap<MapData, u64, u64>,
        socket: &TcpSocket,
        namespace: &Namespace,
    ) -> Result<Option<Fate>, CaptureError> {
        let noted = match known.get(&socket.cookie, 0) {
            Ok(until) => Some(until),
            Err(MapError::KeyNotFound) => None,
            Err(error) => return Err(CaptureError::map("look up an older connection")(error)),
        };
        let now = nanoseconds(clock::boot());
        let may_go_around = namespace.cookie != self.netns_cookie
            && self.other_namespaces == OtherNamespaces::Report;
        let existing = if may_go_around {
            Existing::Report
        } else {
            self.existing
        };
        let (until, fate) = match (existing, noted) {
            (Existing::Report, Some(FOREVER)) => return Ok(None),
            (Existing::Report, _) => (FOREVER, Fate::Reported),
            (Existing::Grace, Some(until)) if until != FOREVER && now < until => return Ok(None),
            (Existing::Grace, None | Some(FOREVER)) => {
                (now.saturating_add(nanoseconds(self.grace)), Fate::Grace)
            }
            (Existing::Grace, Some(_)) | (Existing::Kill, _) => {
                namespace
                    .sockets
                    .destroy(socket)
                    .map_err(|source| CaptureError::SockDiag {
                        action: "abort a connection older than the agent",
                        source,
                    })?;
                forget(known, socket.cookie)?;
                return Ok(Some(Fate::Killed));
            }
        };
        known
            .insert(socket.cookie, until, 0)
            .map_err(CaptureError::map("note an older connection"))?;
        Ok(Some(fate))
    }
}

fn describe(socket: &TcpSocket, endpoint: u32, tgid: u32, netns_cookie: u64) -> Origin {
    Origin {
        destination: socket.remote,
        tgid,
        start_boottime_ns: started_at(tgid).unwrap_or(0),
        uid: socket.uid,
        audit_session: number(tgid, "sessionid"),
        loginuid: number(tgid, "loginuid"),
        cgroup_id: socket.cgroup_id.unwrap_or(0),
        netns_cookie,
        endpoint,
        connected_at_ns: 0,
        socket_cookie: 0,
    }
}

/// Forgets connections that have ended.
fn prune<'a>(
    known: &mut HashMap<MapData, u64, u64>,
    alive: impl Iterator<Item = &'a (TcpSocket, u32)>,
) -> Result<(), CaptureError> {
    let alive: HashSet<u64> = alive.map(|(socket, _)| socket.cookie).collect();
    let cookies: Vec<u64> = known
        .keys()
        .collect::<Result<_, _>>()
        .map_err(CaptureError::map("list older connections"))?;
    for cookie in cookies {
        if !alive.contains(&cookie) {
            forget(known, cookie)?;
        }
    }
    Ok(())
}

fn forget(known: &mut HashMap<MapData, u64, u64>, cookie: u64) -> Result<(), CaptureError> {
    match known.remove(&cookie) {
        Ok(()) | Err(MapError::KeyNotFound) => Ok(()),
        Err(MapError::SyscallError(error)) if error.io_error.kind() == io::ErrorKind::NotFound => {
            Ok(())
        }
        Err(error) => Err(CaptureError::map("forget an older connection")(error)),
    }
}

/// Which process holds each socket, by the socket's inode; the first one of several.
fn socket_owners() -> Map<u32, u32> {
    let mut owners = Map::new();
    for pid in numbers("/proc") {
        let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else {
            continue;
        };
        for descriptor in descriptors.flatten() {
            let inode = fs::read_link(descriptor.path()).ok().and_then(|target| {
                let inode = target
                    .to_str()?
                    .strip_prefix("socket:[")?
                    .strip_suffix(']')?;
                inode.parse().ok()
            });
            if let Some(inode) = inode {
                owners.entry(inode).or_insert(pid);
            }
        }
    }
    owners
}

fn numbers(folder: &str) -> impl Iterator<Item = u32> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// A process's start, nanoseconds of the boot clock, rounded down to clock ticks.
fn started_at(pid: u32) -> Option<u64> {
    /// Of the fields after the name in `/proc/PID/stat`.
    const START: usize = 19;
    /// `USER_HZ` is 100 everywhere that weir runs.
    const TICK_NS: u64 = 10_000_000;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    let ticks: u64 = fields.split(' ').nth(START)?.parse().ok()?;
    ticks.checked_mul(TICK_NS)
}

/// A number of a process's own file; `u32::MAX`, which stands for unset, when it cannot be read.
fn number(pid: u32, file: &str) -> u32 {
    fs::read_to_string(format!("/proc/{pid}/{file}"))
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(u32::MAX)
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_owns_its_sockets() {
        use std::os::unix::fs::MetadataExt;

        let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let file = fs::File::from(std::os::fd::OwnedFd::from(socket));
        let inode = u32::try_from(file.metadata().expect("metadata").ino()).expect("an inode");
        assert_eq!(socket_owners().get(&inode), Some(&std::process::id()));
    }

    #[test]
    fn this_process_has_started() {
        let start = started_at(std::process::id()).expect("a start");
        assert!(start > 0 && start <= nanoseconds(clock::boot()));
        assert_eq!(started_at(u32::MAX), None);
    }
}
