//! The client's first bytes, up to its startup packet: read exactly, so that nothing is taken before its time.

use std::{io, net::IpAddr, sync::Arc};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsAcceptor, TlsStream};
use weir_wire::postgres::{
    StartupError, StartupMessage,
    startup::{self, Startup},
};

use crate::{
    net::Leg,
    proxy::{Endpoint, endpoint::ClientTls},
    tls::Authority,
};

/// How a connection begins.
pub(super) enum Beginning {
    /// With a session.
    Session {
        client: Leg,
        message: StartupMessage,
    },
    /// With a cancellation, which is all there is.
    Cancel { client: Leg, packet: Vec<u8> },
    /// It closed first.
    Gone,
}

/// Why a client never began.
#[derive(Debug, thiserror::Error)]
pub(super) enum BeginError {
    /// Bytes that begin nothing.
    #[error("{source}")]
    Protocol {
        source: StartupError,
        client: Box<Leg>,
    },
    /// Bytes behind a request for TLS could have been put there by somebody on the path.
    #[error("the client sent data before the reply to its request for TLS")]
    EarlyData,
    /// A second request for encryption.
    #[error("the client asks for encryption again")]
    AskedAgain,
    /// TLS at once, where the client leg speaks none.
    #[error("the client begins with TLS, and this endpoint's client_tls is off")]
    TlsIsOff,
    /// The handshake failed: the client does not trust the local CA, most often.
    #[error("cannot agree on TLS with the client: {0}")]
    Handshake(#[source] io::Error),
    /// The connection failed.
    #[error("cannot read from the client: {0}")]
    Read(#[source] io::Error),
}

impl BeginError {
    /// The connection, where the client can still be told.
    pub(super) fn into_client(self) -> Option<Leg> {
        match self {
            Self::Protocol { client, .. } => Some(*client),
            _ => None,
        }
    }
}

/// Takes a client up to its startup packet.
pub(super) async fn begin(
    client: TcpStream,
    endpoint: &Endpoint,
    authority: &Arc<Authority>,
    destination: IpAddr,
) -> Result<Beginning, BeginError> {
    let mut first = [0];
    if client.peek(&mut first).await.map_err(BeginError::Read)? == 0 {
        return Ok(Beginning::Gone);
    }
    let direct = first[0] == TLS_HANDSHAKE;
    let mut client = if direct {
        if endpoint.client_tls == ClientTls::Off {
            return Err(BeginError::TlsIsOff);
        }
        encrypt(client, authority, destination).await?
    } else {
        Leg::Plain(client)
    };
    let (mut tls_asked, mut gss_asked) = (direct, false);
    loop {
        let Some(request) = next(&mut client).await? else {
            return Ok(Beginning::Gone);
        };
        match request {
            Ok(Startup::Message(message)) => return Ok(Beginning::Session { client, message }),
            Ok(Startup::Cancel { packet }) => return Ok(Beginning::Cancel { client, packet }),
            Ok(Startup::SslRequest) if !std::mem::replace(&mut tls_asked, true) => {
                client = answer_tls(client, endpoint, authority, destination).await?;
            }
            Ok(Startup::GssEncRequest) if !std::mem::replace(&mut gss_asked, true) => {
                // What came after a yes could not be read.
                client.write_all(b"N").await.map_err(BeginError::Read)?;
            }
            Ok(_) => return Err(BeginError::AskedAgain),
            Err(source) => {
                let client = Box::new(client);
                return Err(BeginError::Protocol { source, client });
            }
        }
    }
}

async fn answer_tls(
    client: Leg,
    endpoint: &Endpoint,
    authority: &Arc<Authority>,
    destination: IpAddr,
) -> Result<Leg, BeginError> {
    if let Leg::Plain(stream) = &client {
        // As the server does: whatever it answers, nothing may have come behind the question.
        match stream.try_read(&mut [0]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(BeginError::Read(error)),
            Ok(_) => return Err(BeginError::EarlyData),
        }
    }
    match (client, endpoint.client_tls) {
        (Leg::Plain(mut stream), ClientTls::On) => {
            stream.write_all(b"S").await.map_err(BeginError::Read)?;
            encrypt(stream, authority, destination).await
        }
        (mut client, _) => {
            client.write_all(b"N").await.map_err(BeginError::Read)?;
            client.flush().await.map_err(BeginError::Read)?;
            Ok(client)
        }
    }
}

async fn encrypt(
    stream: TcpStream,
    authority: &Arc<Authority>,
    destination: IpAddr,
) -> Result<Leg, BeginError> {
    let config = authority
        .client_leg(destination)
        .map_err(|error| BeginError::Handshake(io::Error::other(error)))?;
    let stream = TlsAcceptor::from(config)
        .accept(stream)
        .await
        .map_err(BeginError::Handshake)?;
    Ok(Leg::Tls(Box::new(TlsStream::Server(stream))))
}

/// Reads exactly one request; `None` when the client closes instead.
async fn next(client: &mut Leg) -> Result<Option<Result<Startup, StartupError>>, BeginError> {
    let mut bytes = vec![0; 4];
    match client.read_exact(&mut bytes).await {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read.map_err(BeginError::Read)?,
    };
    let length = match startup::take(&bytes) {
        Err(error) => return Ok(Some(Err(error))),
        Ok(Some(_)) => return Ok(Some(Err(StartupError::Malformed))),
        Ok(None) => bytes
            .first_chunk()
            .map_or(0, |length| u32::from_be_bytes(*length) as usize),
    };
    bytes.resize(length, 0);
    match client
        .read_exact(bytes.get_mut(4..).unwrap_or_default())
        .await
    {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read.map_err(BeginError::Read)?,
    };
    Ok(Some(startup::take(&bytes).and_then(|request| {
        request.ok_or(StartupError::Malformed)
    })))
}

const TLS_HANDSHAKE: u8 = 0x16;
