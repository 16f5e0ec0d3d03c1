//! A service's proof from a SPIFFE Workload API: a JWT-SVID for exactly the id that its entry names.
//!
//! The agent of the node (SPIRE's, most often) is asked over its unix socket, and what it answers is verified here: by the
//! keys of the id's own trust domain, which are fetched with each token, so that a rotation needs no more and no stream
//! has to stay open. Which ids weir may ask for is registered there, for weir's own selectors.
//!
//! The socket speaks in the name of the trust domain: it must be root's, in folders that only root can change.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
    time::Duration,
};

use aws_lc_rs::digest;
use spiffe::{JwtSvid, JwtSvidError, SpiffeId, SpiffeIdError, WorkloadApiClient, WorkloadApiError};
use weir_policy::{Principal, PrincipalKind};

use super::{
    settings::SpiffeSettings,
    token::{Extra, TOKEN_BYTES, Verified},
};

/// Why there is no proof.
#[derive(Debug, thiserror::Error)]
pub enum SpiffeError {
    /// The setting.
    #[error("{socket:?} is not a unix socket's address: unix:///run/spire/sockets/agent.sock")]
    Socket {
        /// As configured.
        socket: String,
    },
    /// The setting.
    #[error("{id:?} is not the SPIFFE ID of a service")]
    Id {
        /// As configured.
        id: String,
        /// Why.
        #[source]
        source: Option<SpiffeIdError>,
    },
    /// The setting.
    #[error("no audience is given")]
    Audience,
    /// The socket's place.
    #[error("cannot look at {path}")]
    Look {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file, a pipe.
    #[error("{path} is not a socket")]
    NotASocket {
        /// Where.
        path: PathBuf,
    },
    /// Somebody else could answer in the trust domain's name.
    #[error("{path} is not root's alone: whoever can replace it could vouch for anybody")]
    NotRoots {
        /// Where.
        path: PathBuf,
    },
    /// Nobody listens, or not in time.
    #[error("the Workload API did not answer within {LIMIT:?}")]
    TooSlow,
    /// Nobody listens, or the request is refused.
    #[error("the Workload API gives no token")]
    Fetch(#[source] WorkloadApiError),
    /// Nobody listens, or the request is refused.
    #[error("the Workload API gives no keys")]
    Keys(#[source] WorkloadApiError),
    /// Longer than any that is read.
    #[error("the token has {bytes} bytes, more than {TOKEN_BYTES}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// It breaks a rule.
    #[error("the token is refused")]
    Token(#[source] JwtSvidError),
    /// It is somebody else's.
    #[error("the token is for {found}, not for {expected}")]
    OtherId {
        /// The token's.
        found: String,
        /// The entry's.
        expected: String,
    },
}

/// Where an entry's proof comes from.
#[derive(Debug)]
pub(crate) struct Spiffe {
    socket: PathBuf,
    id: SpiffeId,
    audience: String,
    /// Whose the socket must be; other than root in unit tests only.
    owner: u32,
}

impl Spiffe {
    /// Reads an entry's settings; asks nobody.
    pub(crate) fn parse(settings: &SpiffeSettings) -> Result<Self, SpiffeError> {
        let SpiffeSettings {
            socket,
            id,
            audience,
        } = settings;
        let path = socket
            .strip_prefix("unix:")
            .map(|path| path.strip_prefix("//").unwrap_or(path))
            .filter(|path| path.starts_with('/') && !path.contains(['?', '#']));
        let Some(path) = path else {
            return Err(SpiffeError::Socket {
                socket: socket.clone(),
            });
        };
        let failed = |source| SpiffeError::Id {
            id: id.clone(),
            source,
        };
        let known = SpiffeId::new(id).map_err(|source| failed(Some(source)))?;
        // The trust domain's own id is nobody's in it.
        if known.path().is_empty() {
            return Err(failed(None));
        }
        if audience.is_empty() {
            return Err(SpiffeError::Audience);
        }
        Ok(Self {
            socket: PathBuf::from(path),
            id: known,
            audience: audience.clone(),
            owner: ROOT,
        })
    }

    /// Fetches a token and the keys, and verifies the one by the other.
    pub(crate) async fn obtain(&self) -> Result<Verified, SpiffeError> {
        let socket = self.checked_socket()?;
        tokio::time::timeout(LIMIT, self.fetch(&socket))
            .await
            .map_err(|_| SpiffeError::TooSlow)?
    }

    async fn fetch(&self, socket: &Path) -> Result<Verified, SpiffeError> {
        let address = format!("unix:{}", socket.display());
        let client = WorkloadApiClient::connect_to(&address)
            .await
            .map_err(SpiffeError::Fetch)?;
        let token = client
            .fetch_jwt_token([&self.audience], Some(&self.id))
            .await
            .map_err(SpiffeError::Fetch)?;
        if token.len() > TOKEN_BYTES {
            return Err(SpiffeError::TooLong { bytes: token.len() });
        }
        // After the token: a key that it was signed with a moment ago is among them.
        let keys = client
            .fetch_jwt_bundles()
            .await
            .map_err(SpiffeError::Keys)?;
        let svid = JwtSvid::parse_and_validate(&token, &keys, &[&self.audience])
            .map_err(SpiffeError::Token)?;
        if *svid.spiffe_id() != self.id {
            return Err(SpiffeError::OtherId {
                found: svid.spiffe_id().to_string(),
                expected: self.id.to_string(),
            });
        }
        Ok(Verified {
            principal: self.principal(),
            not_after_s: svid.expiry().unix_timestamp(),
            fingerprint: hex::encode(digest::digest(&digest::SHA256, token.as_bytes())),
            development: false,
            account: None,
            extra: Extra::default(),
        })
    }

    fn principal(&self) -> Principal {
        Principal {
            issuer: self.id.trust_domain().id_string(),
            subject: self.id.to_string(),
            kind: PrincipalKind::Workload,
            display: self.id.to_string(),
            groups: Vec::new(),
            groups_complete: true,
            auth_time: None,
            acr: None,
            claims: std::collections::BTreeMap::new(),
        }
    }

    /// The socket without symbolic links on its way, once it is clear that nobody but root put it there.
    fn checked_socket(&self) -> Result<PathBuf, SpiffeError> {
        let look = |path: &Path| {
            let path = path.to_owned();
            move |source| SpiffeError::Look { path, source }
        };
        let socket = self.socket.canonicalize().map_err(look(&self.socket))?;
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
/// It answers from memory, over a socket of this host.
const LIMIT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
