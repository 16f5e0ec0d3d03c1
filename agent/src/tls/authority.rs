//! The local certificate authority: made at first use, its key readable by root only, one leaf per name.

use std::{
    collections::HashMap,
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::{
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
    sign::CertifiedKey,
};
use time::{Duration, OffsetDateTime};

/// The name that direct TLS must agree on (PostgreSQL 17 and later).
pub(super) const ALPN: &[u8] = b"postgresql";

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
    leaves: Mutex<HashMap<Vec<String>, Leaf>>,
}

/// A certificate that was made, and when.
struct Leaf {
    key: Arc<CertifiedKey>,
    made: OffsetDateTime,
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

    /// The CA's own certificate.
    #[must_use]
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// A certificate for these names, of which the first is its subject; the same one until it has half run out.
    pub(super) fn leaf(&self, names: &[&str]) -> Result<Arc<CertifiedKey>, AuthorityError> {
        let mut wanted: Vec<String> = Vec::new();
        for name in names {
            if !wanted.iter().any(|known| known == name) {
                wanted.push((*name).to_owned());
            }
        }
        let now = OffsetDateTime::now_utc();
        let mut leaves = self.leaves.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(leaf) = leaves.get(&wanted)
            && (leaf.made..leaf.made + LEAF_LIFE / 2).contains(&now)
        {
            return Ok(Arc::clone(&leaf.key));
        }
        if leaves.len() >= MAX_LEAVES {
            leaves.clear();
        }
        let key = Arc::new(self.issue(&wanted, now)?);
        let made = Leaf {
            key: Arc::clone(&key),
            made: now,
        };
        leaves.insert(wanted, made);
        Ok(key)
    }

    fn issue(&self, names: &[String], now: OffsetDateTime) -> Result<CertifiedKey, AuthorityError> {
        let subject = names.first().cloned().unwrap_or_default();
        let failed = |source| AuthorityError::Certificate {
            name: subject.clone(),
            source,
        };
        let key = KeyPair::generate().map_err(failed)?;
        let mut parameters = CertificateParams::new(names).map_err(failed)?;
        // RFC 5280 has 64 characters for it; the names that count are the alternative ones.
        let short: String = subject.chars().take(64).collect();
        parameters
            .distinguished_name
            .push(DnType::CommonName, short);
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        parameters.use_authority_key_identifier_extension = true;
        // Clocks differ a little between a container and its host.
        parameters.not_before = now - Duration::days(1);
        parameters.not_after = now + LEAF_LIFE;
        let leaf = parameters.signed_by(&key, &self.issuer).map_err(failed)?;
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key)
            .map_err(AuthorityError::Key)?;
        Ok(CertifiedKey::new(
            vec![leaf.der().clone(), self.certificate.clone()],
            key,
        ))
    }
}

fn parameters() -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters
        .distinguished_name
        .push(DnType::CommonName, "weir local CA");
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let now = OffsetDateTime::now_utc();
    parameters.not_before = now - Duration::days(1);
    parameters.not_after = now + AUTHORITY_LIFE;
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
/// A key that leaks is worth little for long; a new leaf is made at half of it.
const LEAF_LIFE: Duration = Duration::days(8);
const AUTHORITY_LIFE: Duration = Duration::days(3650);

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
        let leaf = second.leaf(&["127.0.0.1"]).expect("issued");
        assert_eq!(leaf.cert.len(), 2);
        assert!(Arc::ptr_eq(
            &leaf,
            &second.leaf(&["127.0.0.1"]).expect("kept")
        ));
    }
}
