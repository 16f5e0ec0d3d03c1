//! The proof of one process by the SPIFFE Broker API: whoever serves it finds out who the process is and signs for that.
//!
//! weir is a client that may ask for others, and proves itself as such by the X509-SVID that the Workload API gives it.
//! Connections and certificates last for one round of questions: what is revoked or rotated counts from the next on.

use std::{
    io,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use spiffe::{
    JwtBundle, JwtBundleSet,
    broker_api::{
        SecurityHeader,
        pb::spiffe::broker::{
            FetchJwtsvidRequest, SubscribeToJwtBundlesRequest, WorkloadPidReference,
            WorkloadReference, api_client::ApiClient,
        },
    },
};
use tokio::{net::UnixStream, time::Instant};
use tokio_rustls::TlsConnector;
use tonic::{
    service::interceptor::InterceptedService,
    transport::{Channel, Endpoint, Uri},
};
use tower::service_fn;

use super::{
    Expected, LIMIT, SpiffeError, connect, parse_id,
    socket::Socket,
    tls::{self, ServerId},
};
use crate::identity::{settings::SpiffeSettings, token::Verified};

/// Where the processes' proofs come from.
#[derive(Debug)]
pub(crate) struct Broker {
    pub(super) socket: Socket,
    pub(super) workload_socket: Socket,
    server: ServerId,
    expected: Expected,
}

/// One round of questions.
#[derive(Debug, Clone)]
pub(crate) struct Round {
    client: ApiClient<InterceptedService<Channel, SecurityHeader>>,
    expected: Expected,
    /// For all of them together: a broker that does not answer holds up nothing else for long.
    deadline: Instant,
}

impl Broker {
    /// Reads an entry's settings; asks nobody.
    pub(crate) fn parse(settings: &SpiffeSettings) -> Result<Self, SpiffeError> {
        let expected = Expected::parse(settings)?;
        let own = settings.workload_socket.as_ref();
        let own = own.ok_or(SpiffeError::NoWorkloadSocket)?;
        let server = settings.server_id.as_ref();
        let text = server.ok_or(SpiffeError::NoServerId)?;
        let server = match text.strip_suffix("/*") {
            Some(above) => ServerId::Below(parse_id(above)?),
            None => ServerId::Exactly(parse_id(text)?),
        };
        // A process is registered with the agent of its own trust domain.
        if server.id().trust_domain() != expected.id.trust_domain() {
            return Err(SpiffeError::ServerDomain {
                server_id: text.clone(),
                id: expected.id.to_string(),
            });
        }
        Ok(Self {
            socket: Socket::parse(&settings.socket)?,
            workload_socket: Socket::parse(own)?,
            server,
            expected,
        })
    }

    /// Connects, both sides having shown who they are.
    pub(crate) async fn connect(&self) -> Result<Round, SpiffeError> {
        let deadline = Instant::now() + LIMIT;
        let client = tokio::time::timeout_at(deadline, self.dial())
            .await
            .map_err(|_| SpiffeError::TooSlow)??;
        Ok(Round {
            client,
            expected: self.expected.clone(),
            deadline,
        })
    }

    async fn dial(
        &self,
    ) -> Result<ApiClient<InterceptedService<Channel, SecurityHeader>>, SpiffeError> {
        let workload_socket = self.workload_socket.checked()?;
        let client = connect(&workload_socket).await.map_err(SpiffeError::Own)?;
        let context = client
            .fetch_x509_context()
            .await
            .map_err(SpiffeError::Own)?;
        let domain = self.expected.id.trust_domain();
        let mut known = context.svids().iter();
        let own = known.find(|own| own.spiffe_id().trust_domain() == domain);
        let (Some(own), Some(bundle)) = (own, context.bundle_set().get(domain)) else {
            return Err(SpiffeError::NoOwn {
                domain: domain.id_string(),
            });
        };
        let config = tls::config(own, &bundle, &self.server).map_err(SpiffeError::Tls)?;
        let connector = TlsConnector::from(Arc::new(config));
        let socket = self.socket.checked()?;
        let channel = Endpoint::from_static("http://localhost")
            .connect_with_connector(service_fn(move |_: Uri| {
                let (socket, connector) = (socket.clone(), connector.clone());
                async move {
                    let stream = UnixStream::connect(socket).await?;
                    // Certificates of SPIFFE carry no host names: this one is neither sent nor looked at.
                    let nobody = ServerName::from(IpAddr::V4(Ipv4Addr::LOCALHOST));
                    let stream = connector.connect(nobody, stream).await?;
                    Ok::<_, io::Error>(TokioIo::new(stream))
                }
            }))
            .await
            .map_err(SpiffeError::Connect)?;
        Ok(ApiClient::with_interceptor(channel, SecurityHeader::new()))
    }
}

impl Round {
    /// The proof of whoever has a number at the moment. It is the caller's to make sure that the process is the one that
    /// was meant, afterwards.
    pub(crate) async fn obtain(&self, pid: u32) -> Result<Verified, SpiffeError> {
        tokio::time::timeout_at(self.deadline, self.fetch(pid))
            .await
            .map_err(|_| SpiffeError::TooSlow)?
    }

    async fn fetch(&self, pid: u32) -> Result<Verified, SpiffeError> {
        let number = i32::try_from(pid).ok().filter(|number| *number > 0);
        let reference: WorkloadReference = WorkloadPidReference {
            pid: number.ok_or(SpiffeError::Pid { pid })?,
        }
        .into();
        let Expected { id, audience } = &self.expected;
        let mut client = self.client.clone();
        let answer = client
            .fetch_jwtsvid(FetchJwtsvidRequest {
                reference: Some(reference.clone()),
                audience: vec![audience.clone()],
                spiffe_id: id.to_string(),
            })
            .await
            .map_err(|status| SpiffeError::Refused(Box::new(status)))?;
        let svids = answer.into_inner().svids;
        let Some(found) = svids.iter().find(|svid| svid.spiffe_id == id.to_string()) else {
            return Err(SpiffeError::NoToken { id: id.to_string() });
        };
        // After the token: a key that it was signed with a moment ago is among them.
        let no_keys = |status| SpiffeError::NoKeys(Some(Box::new(status)));
        let mut stream = client
            .subscribe_to_jwt_bundles(SubscribeToJwtBundlesRequest {
                reference: Some(reference),
            })
            .await
            .map_err(no_keys)?
            .into_inner();
        let bundles = stream.message().await.map_err(no_keys)?;
        let bundles = bundles.ok_or(SpiffeError::NoKeys(None))?.bundles;
        let domain = id.trust_domain();
        let keys = bundles.get(&domain.id_string());
        let keys = keys.ok_or(SpiffeError::NoKeys(None))?;
        let bundle =
            JwtBundle::from_jwt_authorities(domain.clone(), keys).map_err(SpiffeError::BadKeys)?;
        let mut known = JwtBundleSet::new();
        known.add_bundle(bundle);
        self.expected.verify(&found.svid, &known)
    }
}
