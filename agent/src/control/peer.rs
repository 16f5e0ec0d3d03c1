//! The process at the other end of a connection, as the kernel names it.

use std::{
    fs, io,
    os::fd::{AsRawFd, OwnedFd},
};

use nix::sys::socket::{getsockopt, sockopt};
use tokio::net::UnixStream;

/// Who connected.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) pid: u32,
    pub(crate) uid: u32,
    /// From Linux 6.5 on; before that a number that was used again in the moment between cannot be told.
    handle: Option<OwnedFd>,
}

impl Peer {
    /// # Errors
    ///
    /// When the kernel does not say, or the process is outside of this process's view.
    pub(crate) fn of(stream: &UnixStream) -> io::Result<Self> {
        let credentials = getsockopt(stream, sockopt::PeerCredentials)?;
        let pid = u32::try_from(credentials.pid())
            .ok()
            .filter(|pid| *pid != 0);
        let pid = pid.ok_or_else(|| io::Error::other("the peer is in another PID namespace"))?;
        Ok(Self {
            pid,
            uid: credentials.uid(),
            handle: getsockopt(stream, sockopt::PeerPidfd).ok(),
        })
    }

    /// Whether the number still means the process that connected.
    pub(crate) fn is_alive(&self) -> bool {
        let Some(handle) = &self.handle else {
            return true;
        };
        fs::read_to_string(format!("/proc/self/fdinfo/{}", handle.as_raw_fd())).is_ok_and(|text| {
            text.lines().any(|line| {
                line.strip_prefix("Pid:")
                    .is_some_and(|pid| pid.trim().parse() == Ok(self.pid))
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::net::UnixStream as StdStream, process::Command};

    use super::*;

    #[tokio::test]
    async fn the_peer_is_this_process() {
        let (one, _other) = StdStream::pair().expect("a pair");
        one.set_nonblocking(true).expect("a flag");
        let peer = Peer::of(&UnixStream::from_std(one).expect("a stream")).expect("a peer");
        assert_eq!(peer.pid, std::process::id());
        assert!(peer.is_alive() && peer.handle.is_some());
    }

    #[tokio::test]
    async fn a_peer_that_ended_is_not_alive() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("s");
        let listener = tokio::net::UnixListener::bind(&path).expect("a socket");
        let script = format!(
            "import socket,time; s=socket.socket(socket.AF_UNIX); s.connect({path:?}); time.sleep(60)"
        );
        let mut child = Command::new("python3")
            .args(["-c", &script])
            .spawn()
            .expect("python3");
        let (stream, _) = listener.accept().await.expect("a client");
        let peer = Peer::of(&stream).expect("a peer");
        assert_eq!(peer.pid, child.id());
        assert!(peer.is_alive());

        child.kill().expect("a kill");
        child.wait().expect("an end");

        assert!(!peer.is_alive());
    }
}
