//! A unix socket that everyone on this host may connect to; who may have what is decided per request.

use std::{
    fs, io,
    os::unix::{
        fs::{DirBuilderExt, FileTypeExt, PermissionsExt},
        net::UnixStream as StdStream,
    },
    path::{Path, PathBuf},
};

use tokio::net::{UnixListener, UnixStream, unix::SocketAddr};

/// Why the socket cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The folder.
    #[error("cannot make the folder of the socket {path}")]
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
    #[error("cannot listen on the socket {path}")]
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

impl Listener {
    /// The next connection. Cancelling is safe.
    ///
    /// # Errors
    ///
    /// Out of descriptors, mostly.
    pub async fn accept(&self) -> io::Result<(UnixStream, SocketAddr)> {
        self.socket.accept().await
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// A socket that nobody answers on is left over from an agent that was killed.
pub(crate) fn remove_stale(path: &Path) -> Result<(), BindError> {
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
