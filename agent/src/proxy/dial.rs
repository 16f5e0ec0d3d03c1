//! Connections to servers: marked as ours before they are made, encrypted as configured.

use std::{collections::HashMap, io, net::SocketAddr, os::fd::AsFd, sync::Arc, time::Duration};

use rustls::pki_types::{InvalidDnsNameError, ServerName};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};
use tokio_rustls::{TlsConnector, TlsStream};
use weir_wire::postgres::startup::SSL_REQUEST_BYTES;

use super::{Deadlines, Endpoint};
use crate::{
    capture::{CaptureError, Marker},
    catalog::{Dial, Dialling},
    net::Leg,
};

/// Why the server cannot be reached.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// No socket.
    #[error("cannot make a socket")]
    Socket(#[source] io::Error),
    /// The kernel was not told that the socket is ours, so it would come back to us.
    #[error("cannot mark the socket as weir's own")]
    Mark(#[source] CaptureError),
    /// The server does not answer.
    #[error("cannot connect to {address}")]
    Connect {
        /// Where.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The server does not answer in time.
    #[error("{address} does not answer within {} seconds", limit.as_secs())]
    Timeout {
        /// Where.
        address: SocketAddr,
        /// The limit.
        limit: Duration,
    },
    /// The server speaks no TLS, and the configuration demands it.
    #[error("{address} does not speak TLS, and this endpoint's configuration demands it")]
    NoTls {
        /// Where.
        address: SocketAddr,
    },
    /// The name cannot be in a certificate.
    #[error("{name:?} is not a name that a certificate can hold")]
    Name {
        /// Which.
        name: String,
        /// Why.
        #[source]
        source: InvalidDnsNameError,
    },
    /// The handshake failed: the certificate, most often.
    #[error("cannot agree on TLS with {address}")]
    Handshake {
        /// Where.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Connects to `address`, with TLS where the endpoint has it.
///
/// # Errors
///
/// [`DialError`]. Nothing falls back to less than what is configured.
pub(crate) async fn dial(
    deadlines: &Deadlines,
    marker: &Marker,
    endpoint: &Endpoint,
    address: SocketAddr,
) -> Result<Leg, DialError> {
    deadlines
        .within(DIAL_LIMIT, dial_unbounded(marker, endpoint, address))
        .await
        .unwrap_or(Err(DialError::Timeout {
            address,
            limit: DIAL_LIMIT,
        }))
}

/// Connects to `address` in clear, for bytes that somebody else has encrypted.
///
/// # Errors
///
/// [`DialError`].
pub(crate) async fn dial_raw(
    deadlines: &Deadlines,
    marker: &Marker,
    address: SocketAddr,
) -> Result<TcpStream, DialError> {
    deadlines
        .within(DIAL_LIMIT, connect(marker, address))
        .await
        .unwrap_or(Err(DialError::Timeout {
            address,
            limit: DIAL_LIMIT,
        }))
}

async fn dial_unbounded(
    marker: &Marker,
    endpoint: &Endpoint,
    address: SocketAddr,
) -> Result<Leg, DialError> {
    let stream = connect(marker, address).await?;
    match &endpoint.server_tls {
        None => Ok(Leg::Plain(stream)),
        Some(tls) => encrypt(stream, Arc::clone(&tls.config), endpoint, address).await,
    }
}

async fn connect(marker: &Marker, address: SocketAddr) -> Result<TcpStream, DialError> {
    let connect = |source| DialError::Connect { address, source };
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )
    .map_err(DialError::Socket)?;
    socket.set_nonblocking(true).map_err(DialError::Socket)?;
    marker.mark(socket.as_fd()).map_err(DialError::Mark)?;
    let socket = TcpSocket::from_std_stream(socket.into());
    let stream = socket.connect(address).await.map_err(connect)?;
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

async fn encrypt(
    mut stream: TcpStream,
    config: Arc<rustls::ClientConfig>,
    endpoint: &Endpoint,
    address: SocketAddr,
) -> Result<Leg, DialError> {
    let connect = |source| DialError::Connect { address, source };
    stream
        .write_all(&SSL_REQUEST_BYTES)
        .await
        .map_err(connect)?;
    if stream.read_u8().await.map_err(connect)? != b'S' {
        return Err(DialError::NoTls { address });
    }
    let name = endpoint.server_name(address.ip());
    let server_name =
        ServerName::try_from(name.clone()).map_err(|source| DialError::Name { name, source })?;
    let stream = TlsConnector::from(config)
        .connect(server_name, stream)
        .await
        .map_err(|source| DialError::Handshake { address, source })?;
    Ok(Leg::Tls(Box::new(TlsStream::Client(stream))))
}

/// Makes the agent's own connections to the endpoints' servers.
pub struct Dialler {
    deadlines: Arc<Deadlines>,
    marker: Arc<Marker>,
    endpoints: HashMap<String, Arc<Endpoint>>,
}

impl Dialler {
    /// For these endpoints.
    pub fn new<'e>(
        deadlines: &Arc<Deadlines>,
        marker: Marker,
        endpoints: impl IntoIterator<Item = &'e Arc<Endpoint>>,
    ) -> Self {
        Self {
            deadlines: Arc::clone(deadlines),
            marker: Arc::new(marker),
            endpoints: endpoints
                .into_iter()
                .map(|endpoint| (endpoint.name.clone(), Arc::clone(endpoint)))
                .collect(),
        }
    }
}

impl Dial for Dialler {
    fn dial(&self, endpoint: &str, address: SocketAddr) -> Dialling {
        let found = self.endpoints.get(endpoint).cloned();
        let (deadlines, marker) = (Arc::clone(&self.deadlines), Arc::clone(&self.marker));
        let name = endpoint.to_owned();
        Box::pin(async move {
            let endpoint = found.ok_or_else(|| format!("no endpoint is named {name:?}"))?;
            Ok(dial(&deadlines, &marker, &endpoint, address).await?)
        })
    }
}

/// As long as libpq would wait for a silent host by most operators' settings.
const DIAL_LIMIT: Duration = Duration::from_secs(30);
