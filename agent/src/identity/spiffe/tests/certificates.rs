//! A trust domain's X509-SVIDs, and a broker that shows one.

use std::{path::PathBuf, sync::Arc};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
    server::WebPkiClientVerifier,
};

use super::{
    ID,
    server::{Answers, Api},
};
use crate::identity::{
    settings::{SpiffeApi, SpiffeSettings},
    spiffe::Broker,
};

pub(crate) const WEIR: &str = "spiffe://shop.example/weir";
pub(crate) const AGENT: &str = "spiffe://shop.example/spire/agent/node-1";

/// The authority of X509-SVIDs.
pub(crate) struct Domain {
    certificate: Vec<u8>,
    issuer: Issuer<'static, KeyPair>,
}

impl Domain {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        parameters.subject_alt_names = vec![uri("spiffe://shop.example")];
        let certificate = parameters.self_signed(&key).expect("an authority");
        Self {
            certificate: certificate.der().to_vec(),
            issuer: Issuer::new(parameters, key),
        }
    }

    /// Certificate, key and the authority.
    pub(crate) fn svid(&self, id: &str) -> [Vec<u8>; 3] {
        let key = KeyPair::generate().expect("a key");
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::ExplicitNoCa;
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        parameters.subject_alt_names = vec![uri(id)];
        let certificate = parameters.signed_by(&key, &self.issuer).expect("an SVID");
        [
            certificate.der().to_vec(),
            key.serialize_der(),
            self.certificate.clone(),
        ]
    }

    /// How a server is who it is, and lets in who has an SVID of this domain.
    pub(crate) fn server(&self, id: &str) -> ServerConfig {
        let [certificate, key, authority] = self.svid(id);
        let mut roots = RootCertStore::empty();
        roots.add(authority.into()).expect("an authority");
        let provider = Arc::new(default_provider());
        let clients =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .build()
                .expect("a verifier");
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_client_cert_verifier(clients)
            .with_single_cert(
                vec![CertificateDer::from(certificate)],
                PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key)),
            )
            .expect("a certificate");
        config.alpn_protocols = vec![b"h2".to_vec()];
        config
    }
}

fn uri(id: &str) -> SanType {
    SanType::URI(id.try_into().expect("text"))
}

/// A node with both APIs.
pub(crate) struct Node {
    pub(crate) api: Api,
    pub(crate) domain: Domain,
    socket: PathBuf,
}

impl Node {
    pub(crate) fn start(answers: Answers) -> Self {
        Self::served_by(AGENT, answers)
    }

    /// With a broker of that id.
    pub(crate) fn served_by(id: &str, answers: Answers) -> Self {
        let domain = Domain::new();
        let own = Some(domain.svid(WEIR));
        let api = Api::start(Answers { own, ..answers });
        let socket = api.broker(domain.server(id));
        Self {
            api,
            domain,
            socket,
        }
    }

    /// Has other answers given; who weir is stays.
    pub(crate) fn set(&self, answers: Answers) {
        let own = Some(self.domain.svid(WEIR));
        self.api.set(Answers { own, ..answers });
    }

    pub(crate) fn settings(&self) -> SpiffeSettings {
        SpiffeSettings {
            api: SpiffeApi::Broker,
            socket: format!("unix://{}", self.socket.display()),
            workload_socket: Some(format!("unix://{}", self.api.socket().display())),
            server_id: Some("spiffe://shop.example/spire/agent/*".to_owned()),
            id: ID.to_owned(),
            ..SpiffeSettings::default()
        }
    }

    pub(crate) fn broker(&self) -> Broker {
        let mut broker = Broker::parse(&self.settings()).expect("settings");
        let own = nix::unistd::getuid().as_raw();
        broker.socket.owner = own;
        broker.workload_socket.owner = own;
        broker
    }
}
