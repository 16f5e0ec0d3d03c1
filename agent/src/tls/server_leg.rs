//! TLS to the database server: what is verified is the operator's choice, and nothing falls back to less.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    CertificateError, ClientConfig, Error,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier},
    crypto::CryptoProvider,
};
use serde::Deserialize;

use super::{
    judge::{Judge, Judged, Shown},
    roots::{RootsError, read_roots},
};

/// What of the server's certificate is verified; the words are libpq's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verification {
    /// Chain and name.
    VerifyFull,
    /// The chain.
    VerifyCa,
    /// Nothing: the leg is only encrypted.
    Require,
    /// The leg is plain.
    #[default]
    Off,
}

/// Why the server leg's TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum ServerTlsError {
    /// Verifying needs to know whom to trust.
    #[error("tls = \"{mode}\" needs tls_ca, the file with the server's CA")]
    NoAuthority {
        /// As configured.
        mode: &'static str,
    },
    /// The file cannot be read.
    #[error("cannot read certificates from {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The library refuses.
    #[error("cannot set up TLS to the server")]
    Setup(#[source] Error),
    /// The trust roots are unusable.
    #[error("cannot use the certificates in {}", path.display())]
    Roots {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls::client::VerifierBuilderError,
    },
}

/// How to speak TLS to one endpoint's servers.
#[derive(Debug, Clone)]
pub struct ServerTls {
    /// For the TLS library.
    pub config: Arc<ClientConfig>,
}

impl ServerTls {
    /// Prepares a mode; `None` when the leg is plain.
    ///
    /// # Errors
    ///
    /// A mode that verifies without a CA file, or one that cannot be used.
    pub fn prepare(
        mode: Verification,
        authority: Option<&PathBuf>,
    ) -> Result<Option<Self>, ServerTlsError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier: Arc<dyn ServerCertVerifier> = match (mode, authority) {
            (Verification::Off, _) => return Ok(None),
            (Verification::Require, _) => judged(Anybody, &provider),
            (Verification::VerifyFull, Some(path)) => chain(path, &provider)?,
            (Verification::VerifyCa, Some(path)) => {
                judged(AnyName(chain(path, &provider)?), &provider)
            }
            (Verification::VerifyFull, None) => {
                return Err(ServerTlsError::NoAuthority {
                    mode: "verify-full",
                });
            }
            (Verification::VerifyCa, None) => {
                return Err(ServerTlsError::NoAuthority { mode: "verify-ca" });
            }
        };
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(ServerTlsError::Setup)?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        config.alpn_protocols = vec![super::authority::ALPN.to_vec()];
        Ok(Some(Self {
            config: Arc::new(config),
        }))
    }
}

fn judged(
    judge: impl Judge + 'static,
    provider: &Arc<CryptoProvider>,
) -> Arc<dyn ServerCertVerifier> {
    Arc::new(Judged {
        judge,
        provider: Arc::clone(provider),
    })
}

fn chain(
    path: &Path,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, ServerTlsError> {
    let roots = read_roots(path).map_err(|error| match error {
        RootsError::Read(source) => ServerTlsError::File {
            path: path.to_owned(),
            source,
        },
        RootsError::Certificate(source) => ServerTlsError::Setup(source),
    })?;
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map_err(|source| ServerTlsError::Roots {
            path: path.to_owned(),
            source,
        })
}

/// `verify-ca`: the chain must hold, the name may be another.
#[derive(Debug)]
struct AnyName(Arc<WebPkiServerVerifier>);

impl Judge for AnyName {
    fn judge(&self, shown: &Shown<'_>) -> Result<(), Error> {
        let verified = self.0.verify_server_cert(
            shown.certificate,
            shown.intermediates,
            shown.name,
            shown.ocsp_response,
            shown.now,
        );
        match verified {
            // The name is checked last: everything else held.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(()),
            other => other.map(drop),
        }
    }
}

/// `require`: whoever answers is accepted.
#[derive(Debug)]
struct Anybody;

impl Judge for Anybody {
    fn judge(&self, _: &Shown<'_>) -> Result<(), Error> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verifying_without_a_ca_is_refused() {
        let error = ServerTls::prepare(Verification::VerifyFull, None).expect_err("refused");
        assert!(error.to_string().contains("needs tls_ca"));
        assert!(ServerTls::prepare(Verification::Require, None).is_ok_and(|tls| tls.is_some()));
        assert!(ServerTls::prepare(Verification::Off, None).is_ok_and(|tls| tls.is_none()));
    }
}
