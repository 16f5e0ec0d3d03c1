//! The agent's end of the control socket, and the chores that keep bindings true.

use std::{
    collections::HashMap,
    fs, io,
    os::unix::{
        fs::{DirBuilderExt, FileTypeExt, PermissionsExt},
        net::UnixStream as StdStream,
    },
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    time,
};

use super::{
    Parts, events,
    logins::Talk,
    peer::Peer,
    protocol::{LINE_BYTES, Refusal, Reply},
    requests::Desk,
};
use crate::identity::Identities;

/// For a client to send its next line, or to take an answer.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(10);

/// The same while a login is waited for, which ends with the connection.
const LOGIN_TIMEOUT: Duration = Duration::from_mins(1);

/// For an answer; longer than an issuer has for two requests.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// Connections served at a time, of one user and of all; root is exempt from the first.
const CONNECTIONS_PER_USER: usize = 32;
const CONNECTIONS: usize = 256;

/// Between two looks at runs, and at sessions and workloads' tokens.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
const RENEW_EVERY: Duration = Duration::from_secs(30);

/// Between two looks at logins that are due to be renewed, or whose end is to be told to their provider.
const PROBE_EVERY: Duration = Duration::from_millis(500);

/// Why the socket cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The folder.
    #[error("cannot make the folder of the control socket {path}")]
    Folder {
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another agent answers on it.
    #[error("another agent serves {path} already")]
    Taken {
        /// The socket.
        path: PathBuf,
    },
    /// Something that is no socket is there.
    #[error("{path} exists and is no socket")]
    NoSocket {
        /// The path.
        path: PathBuf,
    },
    /// The socket.
    #[error("cannot listen on the control socket {path}")]
    Listen {
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// The bound socket; its file goes when it is dropped.
#[derive(Debug)]
pub struct Listener {
    socket: UnixListener,
    path: PathBuf,
}

impl Listener {
    /// Listens on `path`, in place of a socket that nobody serves any more. Must be called inside a runtime.
    ///
    /// # Errors
    ///
    /// [`BindError`] when an agent serves it already, or it cannot be made.
    pub fn bind(path: &Path) -> Result<Self, BindError> {
        let owned = || path.to_owned();
        let folder = path.parent().unwrap_or(Path::new("/"));
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(folder)
            .map_err(|source| BindError::Folder {
                path: owned(),
                source,
            })?;
        remove_stale(path)?;
        let listen = |source| BindError::Listen {
            path: owned(),
            source,
        };
        let socket = UnixListener::bind(path).map_err(listen)?;
        // Everyone may ask; who may have what is decided per request.
        fs::set_permissions(path, fs::Permissions::from_mode(0o666)).map_err(listen)?;
        Ok(Self {
            socket,
            path: owned(),
        })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Answers requests and keeps bindings true (expiry, empty runs, ended sessions, workloads' tokens) until `stop`
/// completes. Dropping the future is safe at any point.
pub async fn serve(
    listener: Listener,
    identities: Arc<Identities>,
    parts: Arc<dyn Parts>,
    stop: impl Future<Output = ()>,
) {
    let desk = Arc::new(Desk {
        identities,
        parts,
        detached: Arc::default(),
    });
    let seats = Arc::new(Seats::default());
    let chores = async {
        tokio::join!(
            sweep(&desk),
            renew(&desk),
            probe(&desk),
            events::receive(&desk)
        );
    };
    tokio::select! {
        () = accept(&listener, &desk, &seats) => {}
        () = chores => {}
        () = stop => {}
    }
}

async fn accept(listener: &Listener, desk: &Arc<Desk>, seats: &Arc<Seats>) {
    loop {
        let Ok((stream, _)) = listener.socket.accept().await else {
            // Out of descriptors, mostly: they come back as clients leave.
            time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let Ok(peer) = Peer::of(&stream) else {
            continue;
        };
        let Some(seat) = seats.take(peer.uid) else {
            continue;
        };
        let desk = Arc::clone(desk);
        tokio::spawn(async move {
            if let Err(error) = converse(&desk, &peer, stream).await {
                tracing::debug!(pid = peer.pid, %error, "a control connection ended");
            }
            drop(seat);
        });
    }
}

async fn converse(desk: &Desk, peer: &Peer, stream: UnixStream) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    // A login that nobody waits for any more ends with the connection.
    let mut talk = Talk::default();
    loop {
        let mut line = Vec::new();
        let limit = LINE_BYTES as u64 + 1;
        let patience = if talk.has_begun() {
            LOGIN_TIMEOUT
        } else {
            CLIENT_TIMEOUT
        };
        time::timeout(
            patience,
            (&mut reader).take(limit).read_until(b'\n', &mut line),
        )
        .await??;
        if line.is_empty() {
            return Ok(());
        }
        let whole = line.last() == Some(&b'\n');
        let answer = if whole {
            let late = || Err(Refusal::new("the answer took too long"));
            time::timeout(ANSWER_TIMEOUT, desk.answer(peer, &mut talk, &line))
                .await
                .unwrap_or_else(|_| late())
        } else {
            Err(Refusal::new(format!(
                "a request is one line of at most {LINE_BYTES} bytes"
            )))
        };
        let reply = answer.map_or_else(Reply::Error, Reply::Ok);
        let mut bytes = serde_json::to_vec(&reply)?;
        bytes.push(b'\n');
        time::timeout(CLIENT_TIMEOUT, writer.write_all(&bytes)).await??;
        if !whole {
            return Ok(());
        }
    }
}

async fn sweep(desk: &Desk) {
    loop {
        time::sleep(SWEEP_EVERY).await;
        desk.settle(&desk.identities.sweep());
        desk.parts.end_lapsed_sessions();
    }
}

async fn probe(desk: &Desk) {
    loop {
        desk.settle(&desk.identities.renew_logins().await);
        time::sleep(PROBE_EVERY).await;
    }
}

async fn renew(desk: &Desk) {
    loop {
        desk.settle(&desk.identities.renew_workloads().await);
        let identities = Arc::clone(&desk.identities);
        if let Ok(changes) = tokio::task::spawn_blocking(move || identities.sweep_sessions()).await
        {
            desk.settle(&changes);
        }
        let due = time::Instant::now() + RENEW_EVERY;
        // A pod that connects for the first time is looked at soon, and a crowd of them together.
        while time::Instant::now() < due {
            time::sleep(SWEEP_EVERY).await;
            if desk.identities.wants_renewal() {
                break;
            }
        }
    }
}

/// A socket that nobody answers on is left over from an agent that was killed.
fn remove_stale(path: &Path) -> Result<(), BindError> {
    let Ok(found) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    if !found.file_type().is_socket() {
        return Err(BindError::NoSocket {
            path: path.to_owned(),
        });
    }
    if StdStream::connect(path).is_ok() {
        return Err(BindError::Taken {
            path: path.to_owned(),
        });
    }
    fs::remove_file(path).map_err(|source| BindError::Listen {
        path: path.to_owned(),
        source,
    })
}

/// How many connections each user has.
#[derive(Debug, Default)]
struct Seats {
    taken: Mutex<HashMap<u32, usize>>,
}

struct Seat {
    seats: Arc<Seats>,
    uid: u32,
}

impl Seats {
    fn take(self: &Arc<Self>, uid: u32) -> Option<Seat> {
        let mut taken = self.taken.lock().ok()?;
        let all: usize = taken.values().sum();
        let own = taken.entry(uid).or_default();
        if uid != 0 && (*own >= CONNECTIONS_PER_USER || all >= CONNECTIONS) {
            return None;
        }
        *own += 1;
        Some(Seat {
            seats: Arc::clone(self),
            uid,
        })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let Ok(mut taken) = self.seats.taken.lock() else {
            return;
        };
        if let Some(own) = taken.get_mut(&self.uid) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.uid);
            }
        }
    }
}

#[cfg(test)]
mod tests;
