//! The certificate that a client is shown: a leaf of the local CA, or the server's own where the operator gave it to weir.

use std::{
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::SystemTime,
};

use rustls::{
    ServerConfig,
    pki_types::PrivateKeyDer,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::{Authority, authority::ALPN, binding::tls_server_end_point};

/// Where the certificates for an endpoint's clients come from.
#[derive(Debug, Clone)]
pub enum Presented {
    /// Leaves of the local CA, with these names in them beside the one that the client asks for.
    Leaf {
        /// Signs.
        authority: Arc<Authority>,
        /// The destination and the endpoint's own names.
        names: Vec<String>,
    },
    /// The server's own.
    Server(Arc<ServerPair>),
}

/// One client's leg: how to speak TLS on it, and what was shown.
#[derive(Debug)]
pub struct ClientLeg {
    /// For the TLS library.
    pub config: Arc<ServerConfig>,
    shown: Arc<Shown>,
}

impl ClientLeg {
    /// Prepares the leg of one connection.
    ///
    /// # Errors
    ///
    /// The TLS library refuses its own defaults.
    pub fn new(presented: Presented, destination: IpAddr) -> Result<Self, rustls::Error> {
        let shown = Arc::new(Shown {
            presented,
            destination,
            chosen: OnceLock::new(),
        });
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&shown) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![ALPN.to_vec()];
        // Nobody comes back to this configuration with a ticket.
        config.send_tls13_tickets = 0;
        Ok(Self {
            config: Arc::new(config),
            shown,
        })
    }

    /// What a client that binds to this channel binds to; `None` before the handshake, or where there is no such thing.
    #[must_use]
    pub fn binding(&self) -> Option<Vec<u8>> {
        let chosen = self.shown.chosen.get()?;
        tls_server_end_point(chosen.end_entity_cert().ok()?)
    }
}

/// Chooses the certificate for a client, and remembers it.
#[derive(Debug)]
struct Shown {
    presented: Presented,
    destination: IpAddr,
    chosen: OnceLock<Arc<CertifiedKey>>,
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let destination = self.destination.to_string();
        let asked = hello.server_name();
        let found = match &self.presented {
            Presented::Server(pair) => Ok(pair.current()),
            Presented::Leaf { authority, names } => {
                let mut all: Vec<&str> = asked.into_iter().collect();
                all.push(&destination);
                all.extend(names.iter().map(String::as_str));
                authority
                    .leaf(&all)
                    .map_err(|error| crate::telemetry::chain(&error))
            }
        };
        match found {
            Ok(key) => Some(Arc::clone(self.chosen.get_or_init(|| key))),
            Err(error) => {
                tracing::warn!(error, asked, "there is no certificate for a client");
                None
            }
        }
    }
}

/// Why the server's certificate cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum ServerPairError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There is nothing in it.
    #[error("{} holds no {what}", path.display())]
    Missing {
        /// Which.
        path: PathBuf,
        /// A certificate or a key.
        what: &'static str,
    },
    /// Key and certificate do not belong together, or the key cannot sign.
    #[error("cannot use the key in {}", path.display())]
    Key {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls::Error,
    },
}

/// A server's certificate and key, read again when the certificate's file changes.
#[derive(Debug)]
pub struct ServerPair {
    certificate: PathBuf,
    key: PathBuf,
    loaded: Mutex<(Option<SystemTime>, Arc<CertifiedKey>)>,
}

impl ServerPair {
    /// Reads both files.
    ///
    /// # Errors
    ///
    /// [`ServerPairError`].
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, ServerPairError> {
        let loaded = (changed_at(certificate), read_pair(certificate, key)?);
        Ok(Self {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            loaded: Mutex::new(loaded),
        })
    }

    /// The pair as the files have it now. While they cannot be read, what was read before goes on.
    pub(super) fn current(&self) -> Arc<CertifiedKey> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = changed_at(&self.certificate);
        if changed != loaded.0 {
            match read_pair(&self.certificate, &self.key) {
                Ok(pair) => *loaded = (changed, pair),
                Err(error) => {
                    tracing::warn!(%error, "a server's new certificate cannot be used");
                }
            }
        }
        Arc::clone(&loaded.1)
    }
}

fn changed_at(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|found| found.modified()).ok()
}

fn read_pair(certificate: &Path, key: &Path) -> Result<Arc<CertifiedKey>, ServerPairError> {
    let read = |path: &Path| {
        fs::read(path).map_err(|source| ServerPairError::File {
            path: path.to_owned(),
            source,
        })
    };
    let file = |path: &Path| {
        let path = path.to_owned();
        move |source| ServerPairError::File { path, source }
    };
    let chain: Vec<_> = rustls_pemfile::certs(&mut read(certificate)?.as_slice())
        .collect::<Result<_, _>>()
        .map_err(file(certificate))?;
    if chain.is_empty() {
        return Err(ServerPairError::Missing {
            path: certificate.to_owned(),
            what: "certificate",
        });
    }
    let bytes = zeroize::Zeroizing::new(read(key)?);
    let secret: PrivateKeyDer<'_> = rustls_pemfile::private_key(&mut bytes.as_slice())
        .map_err(file(key))?
        .ok_or_else(|| ServerPairError::Missing {
            path: key.to_owned(),
            what: "private key",
        })?;
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let pair = CertifiedKey::from_der(chain, secret, &provider).map_err(|source| {
        ServerPairError::Key {
            path: key.to_owned(),
            source,
        }
    })?;
    Ok(Arc::new(pair))
}
