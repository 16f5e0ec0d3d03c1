//! The HTTP client for what weir sends of its own accord: no redirects, and in clear to loopback only.

use std::{
    io,
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use reqwest::{Certificate, Client, Url, redirect};

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The certificates, or the client itself.
    #[error("cannot prepare the HTTP client")]
    Client(#[source] reqwest::Error),
    /// The file of certificate authorities.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A client for `url`, whose requests end after `limit`. `ca` is a PEM file with the certificate authorities to trust in place of
/// the system's.
///
/// # Errors
///
/// [`ClientError`].
pub(crate) fn client(url: &Url, ca: Option<&Path>, limit: Duration) -> Result<Client, ClientError> {
    let mut builder = Client::builder()
        .redirect(redirect::Policy::none())
        .timeout(limit)
        .user_agent(concat!("weir/", env!("CARGO_PKG_VERSION")));
    if url.scheme() == "http" {
        // Loopback: no trusted certificates and no proxy are needed.
        builder = builder.no_proxy().tls_certs_only([]);
    } else if let Some(path) = ca {
        let read = |source| ClientError::Read {
            path: path.to_owned(),
            source,
        };
        let pem = std::fs::read(path).map_err(read)?;
        let certificates = Certificate::from_pem_bundle(&pem).map_err(ClientError::Client)?;
        builder = builder.tls_certs_only(certificates);
    }
    builder.build().map_err(ClientError::Client)
}

/// Whether a URL names this host.
pub(crate) fn is_loopback(url: &Url) -> bool {
    url.host_str().is_some_and(|host| {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost"
            || host
                .parse::<IpAddr>()
                .is_ok_and(|address| address.is_loopback())
    })
}
