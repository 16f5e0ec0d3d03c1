//! A socket that speaks in the name of a trust domain: it must be root's, in folders that only root can change.

use std::{
    fs,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
};

use super::SpiffeError;

/// As configured; looked at anew each time before it is connected to.
#[derive(Debug)]
pub(super) struct Socket {
    path: PathBuf,
    /// Whose it must be; other than root in unit tests only.
    pub(super) owner: u32,
}

impl Socket {
    /// Reads an address, as `unix:///run/spire/sockets/agent.sock`.
    pub(super) fn parse(address: &str) -> Result<Self, SpiffeError> {
        let path = address
            .strip_prefix("unix:")
            .map(|path| path.strip_prefix("//").unwrap_or(path))
            .filter(|path| path.starts_with('/') && !path.contains(['?', '#']));
        match path {
            Some(path) => Ok(Self {
                path: PathBuf::from(path),
                owner: ROOT,
            }),
            None => Err(SpiffeError::Socket {
                socket: address.to_owned(),
            }),
        }
    }

    /// Its path without symbolic links on its way, once it is clear that nobody but root put it there.
    pub(super) fn checked(&self) -> Result<PathBuf, SpiffeError> {
        let look = |path: &Path| {
            let path = path.to_owned();
            move |source| SpiffeError::Look { path, source }
        };
        let socket = self.path.canonicalize().map_err(look(&self.path))?;
        for path in socket.ancestors() {
            let found = fs::symlink_metadata(path).map_err(look(path))?;
            let is_socket = path == socket;
            if is_socket && !found.file_type().is_socket() {
                return Err(SpiffeError::NotASocket { path: socket });
            }
            // Everybody may connect to the socket; in a folder of everybody's with the sticky bit only the owner may
            // replace a file.
            let others_may_replace = found.mode() & OTHERS_WRITE != 0 && found.mode() & STICKY == 0;
            let is_theirs = found.uid() != ROOT && found.uid() != self.owner;
            if is_theirs || (!is_socket && others_may_replace) {
                return Err(SpiffeError::NotRoots {
                    path: path.to_owned(),
                });
            }
        }
        Ok(socket)
    }
}

const ROOT: u32 = 0;
const OTHERS_WRITE: u32 = 0o022;
const STICKY: u32 = 0o1000;
