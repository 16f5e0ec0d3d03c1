//! The commands' end of the control socket.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use nix::sys::socket::{getsockopt, sockopt};
use serde::Serialize;
use serde_json::Value;

use super::protocol::{LINE_BYTES, Refusal, Reply};

/// Where the agent listens when `WEIR_SOCKET` does not say.
const DEFAULT_SOCKET: &str = "/run/weir/weir.sock";

/// For an answer; a login asks an issuer meanwhile.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Why a request came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error(
        "cannot reach the agent at {path}: is `weir run` running? (WEIR_SOCKET names another socket)"
    )]
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Somebody else listens, who must not be given a token.
    #[error("{path} is served by user {uid}, neither root nor you")]
    Stranger {
        /// The socket.
        path: PathBuf,
        /// Who.
        uid: u32,
    },
    /// The connection broke.
    #[error("the agent did not answer")]
    Broken(#[source] io::Error),
    /// The answer is no answer.
    #[error("the agent's answer cannot be read: are both of the same version?")]
    Unreadable,
    /// The agent says no.
    #[error("{}", text(.0))]
    Refused(Refusal),
}

/// A connection to the agent.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<UnixStream>,
}

/// `WEIR_SOCKET`, or the default.
#[must_use]
pub fn socket_path() -> PathBuf {
    std::env::var_os("WEIR_SOCKET")
        .filter(|path| !path.is_empty())
        .unwrap_or_else(|| DEFAULT_SOCKET.into())
        .into()
}

impl Client {
    /// Connects to the agent at `path`.
    ///
    /// # Errors
    ///
    /// [`ClientError`] when nobody serves it, or somebody who is neither root nor this user.
    pub fn connect(path: &Path) -> Result<Self, ClientError> {
        let unreachable = |source| ClientError::Unreachable {
            path: path.to_owned(),
            source,
        };
        let stream = UnixStream::connect(path).map_err(unreachable)?;
        let credentials = getsockopt(&stream, sockopt::PeerCredentials)
            .map_err(|error| unreachable(error.into()))?;
        let uid = credentials.uid();
        if uid != 0 && uid != nix::unistd::geteuid().as_raw() {
            return Err(ClientError::Stranger {
                path: path.to_owned(),
                uid,
            });
        }
        stream
            .set_read_timeout(Some(TIMEOUT))
            .map_err(unreachable)?;
        stream
            .set_write_timeout(Some(TIMEOUT))
            .map_err(unreachable)?;
        Ok(Self {
            stream: BufReader::new(stream),
        })
    }

    /// Sends a request and waits for its answer, half a minute at most.
    ///
    /// # Errors
    ///
    /// [`ClientError::Refused`] when the agent says no; others when it does not answer.
    pub fn ask(&mut self, request: &impl Serialize) -> Result<Value, ClientError> {
        let mut line =
            serde_json::to_vec(request).map_err(|error| ClientError::Broken(error.into()))?;
        line.push(b'\n');
        self.stream
            .get_mut()
            .write_all(&line)
            .map_err(ClientError::Broken)?;
        let mut answer = Vec::new();
        let limit = 16 * LINE_BYTES as u64;
        (&mut self.stream)
            .take(limit)
            .read_until(b'\n', &mut answer)
            .map_err(ClientError::Broken)?;
        if answer.is_empty() {
            return Err(ClientError::Broken(io::ErrorKind::UnexpectedEof.into()));
        }
        match serde_json::from_slice(&answer).map_err(|_| ClientError::Unreadable)? {
            Reply::Ok(value) => Ok(value),
            Reply::Error(refusal) => Err(ClientError::Refused(refusal)),
        }
    }
}

fn text(refusal: &Refusal) -> String {
    match &refusal.hint {
        Some(hint) => format!("{}; {hint}", refusal.message),
        None => refusal.message.clone(),
    }
}
