//! The local certificate authority: made at first use, its key readable by root only, one leaf per name.

use std::{
    collections::HashMap,
    fs::{self, OpenOptions},
    io::{self, Write},
    net::IpAddr,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

/// The name that direct TLS must agree on (PostgreSQL 17 and later).
pub(crate) const ALPN: &[u8] = b"postgresql";

/// Why the local CA cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A file cannot be read or written.
    #[error("cannot use {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A certificate cannot be made.
    #[error("cannot make a certificate for {name}")]
    Certificate {
        /// For what.
        name: String,
        /// Why.
        #[source]
        source: rcgen::Error,
    },
    /// The key cannot sign.
    #[error("cannot use the certificate's key")]
    Key(#[source] rustls::Error),
}

/// The local CA. Clients trust it through `<state_dir>/ca.pem`.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    leaves: Mutex<HashMap<String, Arc<CertifiedKey>>>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Authority").finish_non_exhaustive()
    }
}

impl Authority {
    /// Opens the CA in `state_dir` (`ca.pem`, `ca.key`), or makes it.
    ///
    /// # Errors
    ///
    /// The files cannot be read or written, or hold something else.
    pub fn open(state_dir: &Path) -> Result<Arc<Self>, AuthorityError> {
        let (pem_file, key_file) = (state_dir.join("ca.pem"), state_dir.join("ca.key"));
        let named = |source| AuthorityError::Certificate {
            name: "the local CA".into(),
            source,
        };
        if !key_file.exists() {
            let key = KeyPair::generate().map_err(named)?;
            let certificate = parameters().self_signed(&key).map_err(named)?;
            write_new(&key_file, key.serialize_pem().as_bytes(), 0o600)?;
            write_new(&pem_file, certificate.pem().as_bytes(), 0o644)?;
        }
        let key = KeyPair::from_pem(&read(&key_file)?).map_err(named)?;
        let pem = read(&pem_file)?;
        let certificate = rustls_pemfile::certs(&mut pem.as_bytes())
            .next()
            .unwrap_or_else(|| Err(io::Error::other("it holds no certificate")))
            .map_err(|source| AuthorityError::File {
                path: pem_file,
                source,
            })?;
        Ok(Arc::new(Self {
            issuer: Issuer::new(parameters(), key),
            certificate,
            leaves: Mutex::default(),
        }))
    }

    /// The client leg's configuration for a destination, whose address names the leaf when the client names none.
    ///
    /// # Errors
    ///
    /// The TLS library refuses its own defaults.
    pub fn client_leg(
        self: &Arc<Self>,
        destination: IpAddr,
    ) -> Result<Arc<ServerConfig>, rustls::Error> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Leaves {
                authority: Arc::clone(self),
                destination,
            }));
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Arc::new(config))
    }

    fn leaf(&self, name: &str) -> Result<Arc<CertifiedKey>, AuthorityError> {
        let mut leaves = self.leaves.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(leaf) = leaves.get(name) {
            return Ok(Arc::clone(leaf));
        }
        if leaves.len() >= MAX_LEAVES {
            leaves.clear();
        }
        let leaf = Arc::new(self.issue(name)?);
        leaves.insert(name.to_owned(), Arc::clone(&leaf));
        Ok(leaf)
    }

    fn issue(&self, name: &str) -> Result<CertifiedKey, AuthorityError> {
        let named = |source| AuthorityError::Certificate {
            name: name.to_owned(),
            source,
        };
        let key = KeyPair::generate().map_err(named)?;
        let mut parameters = CertificateParams::new([name.to_owned()]).map_err(named)?;
        parameters.distinguished_name.push(DnType::CommonName, name);
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let leaf = parameters.signed_by(&key, &self.issuer).map_err(named)?;
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key)
            .map_err(AuthorityError::Key)?;
        Ok(CertifiedKey::new(
            vec![leaf.der().clone(), self.certificate.clone()],
            key,
        ))
    }
}

/// Finds the leaf for what a client asks for.
#[derive(Debug)]
struct Leaves {
    authority: Arc<Authority>,
    destination: IpAddr,
}

impl ResolvesServerCert for Leaves {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello
            .server_name()
            .map_or_else(|| self.destination.to_string(), str::to_owned);
        match self.authority.leaf(&name) {
            Ok(leaf) => Some(leaf),
            Err(error) => {
                tracing::warn!(%error, name, "cannot make a certificate for a client");
                None
            }
        }
    }
}

fn parameters() -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters
        .distinguished_name
        .push(DnType::CommonName, "weir local CA");
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    parameters
}

fn read(path: &Path) -> Result<String, AuthorityError> {
    fs::read_to_string(path).map_err(|source| AuthorityError::File {
        path: path.to_owned(),
        source,
    })
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<(), AuthorityError> {
    let mut open = OpenOptions::new();
    open.write(true).create(true).truncate(true).mode(mode);
    open.open(path)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .map_err(|source| AuthorityError::File {
            path: path.to_owned(),
            source,
        })
}

/// Names that clients make up must not take memory without end.
const MAX_LEAVES: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_authority_is_made_once_and_its_key_is_private() {
        use std::os::unix::fs::MetadataExt;

        let folder = tempfile::tempdir().expect("a folder");
        let first = Authority::open(folder.path()).expect("made");
        let second = Authority::open(folder.path()).expect("opened");
        assert_eq!(first.certificate, second.certificate);
        let mode = fs::metadata(folder.path().join("ca.key"))
            .expect("there")
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        let leaf = second.leaf("127.0.0.1").expect("issued");
        assert_eq!(leaf.cert.len(), 2);
        assert!(Arc::ptr_eq(&leaf, &second.leaf("127.0.0.1").expect("kept")));
    }
}
