//! TLS as the SPIFFE Broker Endpoint demands it: both sides show an X509-SVID, and each wants the other's id.

use std::sync::Arc;

use rustls::{
    CertificateError, ClientConfig, Error, RootCertStore,
    client::{Resumption, verify_server_cert_signed_by_trust_anchor},
    crypto::{self, WebPkiSupportedAlgorithms},
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
    server::ParsedCertificate,
};
use spiffe::{SpiffeId, X509Bundle, X509Svid, cert};

use crate::tls::judge::{Judge, Judged, Shown};

/// Whom weir takes for the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ServerId {
    /// One id.
    Exactly(SpiffeId),
    /// Any below it: the agent of a node often has the node's name in its id.
    Below(SpiffeId),
}

impl ServerId {
    pub(super) fn id(&self) -> &SpiffeId {
        match self {
            Self::Exactly(id) | Self::Below(id) => id,
        }
    }

    fn is(&self, found: &SpiffeId) -> bool {
        match self {
            Self::Exactly(id) => id == found,
            Self::Below(id) => {
                id.trust_domain() == found.trust_domain()
                    && found
                        .path()
                        .strip_prefix(id.path())
                        .is_some_and(|below| below.starts_with('/'))
            }
        }
    }
}

/// How to speak to the broker, as `own`, trusting the authorities of its trust domain.
pub(super) fn config(
    own: &X509Svid,
    bundle: &X509Bundle,
    server: &ServerId,
) -> Result<ClientConfig, Error> {
    let provider = Arc::new(crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    for authority in bundle.authorities() {
        roots.add(CertificateDer::from(authority.as_bytes()))?;
    }
    let verifier = Judged {
        judge: Broker {
            roots,
            server: server.clone(),
            algorithms: provider.signature_verification_algorithms,
        },
        provider: Arc::clone(&provider),
    };
    let chain = own
        .cert_chain()
        .iter()
        .map(|certificate| CertificateDer::from(certificate.as_bytes().to_vec()))
        .collect();
    let key = PrivatePkcs8KeyDer::from(own.private_key().as_bytes().to_vec());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_auth_cert(chain, PrivateKeyDer::Pkcs8(key))?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_sni = false;
    Ok(config)
}

/// Holds a server's certificate against the trust domain's authorities and the expected id. There is no host name in it.
#[derive(Debug)]
struct Broker {
    roots: RootCertStore,
    server: ServerId,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Judge for Broker {
    fn judge(&self, shown: &Shown<'_>) -> Result<(), Error> {
        verify_server_cert_signed_by_trust_anchor(
            &ParsedCertificate::try_from(shown.certificate)?,
            &self.roots,
            shown.intermediates,
            shown.now,
            self.algorithms.all,
        )?;
        let found = cert::spiffe_id_from_der(shown.certificate)
            .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
        if self.server.is(&found) {
            Ok(())
        } else {
            Err(Error::General(format!(
                "the server is {found}, not as server_id says"
            )))
        }
    }
}
