//! The configuration of a site that browsers use: a certificate of the operator's, or one of the host's own CA.

use std::{path::Path, sync::Arc};

use rustls::{
    ServerConfig,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::{Authority, AuthorityError, ServerPair, ServerPairError};

/// Why TLS cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum SiteTlsError {
    /// The operator's certificate or key.
    #[error("cannot use tls_cert and tls_key")]
    Pair(#[from] ServerPairError),
    /// The host's own CA.
    #[error("the local CA makes no certificate")]
    Authority(#[from] AuthorityError),
    /// The library.
    #[error("the TLS library refuses its own defaults")]
    Library(#[from] rustls::Error),
}

/// TLS for `names`. The certificate is that of `pair`, read again when the file changes, or the local CA's, made anew
/// before it runs out.
///
/// # Errors
///
/// [`SiteTlsError`] when there is none.
pub fn site_tls(
    pair: Option<(&Path, &Path)>,
    authority: &Arc<Authority>,
    names: &[&str],
) -> Result<Arc<ServerConfig>, SiteTlsError> {
    let shown = if let Some((certificate, key)) = pair {
        Shown::Pair(ServerPair::load(certificate, key)?)
    } else {
        authority.leaf(names)?;
        Shown::Leaf {
            authority: Arc::clone(authority),
            names: names.iter().map(|name| (*name).to_owned()).collect(),
        }
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(shown));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

#[derive(Debug)]
enum Shown {
    Pair(ServerPair),
    Leaf {
        authority: Arc<Authority>,
        names: Vec<String>,
    },
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        match self {
            Self::Pair(pair) => Some(pair.current()),
            Self::Leaf { authority, names } => {
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                authority
                    .leaf(&names)
                    .inspect_err(|error| tracing::error!(%error, "no certificate for the web page"))
                    .ok()
            }
        }
    }
}
