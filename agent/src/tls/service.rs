//! TLS to a service that the operator names, such as a collector of logs: chain and name are always verified.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{ClientConfig, Error, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt as _;

use super::roots::{RootsError, read_roots};

/// Why it cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum ServiceTlsError {
    /// The file of certificate authorities.
    #[error("cannot read certificates from {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Nobody would be trusted.
    #[error("{} has no certificate in it", path.display())]
    Empty {
        /// Which.
        path: PathBuf,
    },
    /// The library refuses.
    #[error("cannot set up TLS")]
    Setup(#[source] Error),
}

/// How to speak TLS to it. `authority` is a PEM file with the certificate authorities to trust in place of the system's.
///
/// # Errors
///
/// [`ServiceTlsError`].
pub fn service_tls(authority: Option<&PathBuf>) -> Result<Arc<ClientConfig>, ServiceTlsError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(ServiceTlsError::Setup)?;
    let builder = match authority {
        Some(path) => builder.with_root_certificates(roots(path)?),
        None => builder
            .with_platform_verifier()
            .map_err(ServiceTlsError::Setup)?,
    };
    Ok(Arc::new(builder.with_no_client_auth()))
}

fn roots(path: &Path) -> Result<RootCertStore, ServiceTlsError> {
    let roots = read_roots(path).map_err(|error| match error {
        RootsError::Read(source) => ServiceTlsError::File {
            path: path.to_owned(),
            source,
        },
        RootsError::Certificate(source) => ServiceTlsError::Setup(source),
    })?;
    if roots.is_empty() {
        return Err(ServiceTlsError::Empty {
            path: path.to_owned(),
        });
    }
    Ok(roots)
}
