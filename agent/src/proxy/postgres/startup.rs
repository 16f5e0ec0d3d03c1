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
    tls::{ClientLeg, Presented},
};

/// How a connection begins.
pub(super) enum Beginning {
    /// With a session.
    Session {
        client: Leg,
        message: StartupMessage,
        /// What a log-in of the client is bound to, where its leg has TLS.
        binding: Option<Vec<u8>>,
    },
    /// With a cancellation, which is all there is.
    Cancel { client: Leg, packet: Vec<u8> },
    /// With TLS that is for the server: asked for in the protocol's own way, or at once.
    Encrypted { client: TcpStream, asked: bool },
    /// It wanted TLS, was told that there is none, and closed.
    InsistedOnTls,
    /// It closed first.
    Gone,
}

/// What a client's wish for TLS is answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TlsAnswer {
    /// There is none.
    No,
    /// TLS with weir.
    Ours,
    /// TLS with the server.
    Theirs,
}

/// How clients of an endpoint are let in.
pub(super) struct Door {
    pub(super) tls: TlsAnswer,
    pub(super) presented: Presented,
    pub(super) destination: IpAddr,
    /// It has been answered before.
    pub(super) tls_asked: bool,
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
    #[error(
        "the client begins with TLS, which this endpoint's clients are not spoken to with: set its mode to \"verifier\" or \"server-certificate\""
    )]
    TlsIsOff,
    /// The handshake failed: the client does not trust the local CA, most often.
    #[error(
        "cannot agree on TLS with the client (\"weir trust install\" makes clients trust weir's certificates): {0}"
    )]
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
pub(super) async fn begin(client: TcpStream, door: &Door) -> Result<Beginning, BeginError> {
    let mut first = [0];
    if client.peek(&mut first).await.map_err(BeginError::Read)? == 0 {
        return Ok(Beginning::Gone);
    }
    let direct = first[0] == TLS_HANDSHAKE;
    let (mut client, mut binding) = match (direct, door.tls) {
        (false, _) => (Leg::Plain(client), None),
        (true, TlsAnswer::Ours) => encrypt(client, door).await?,
        (true, TlsAnswer::No) => return Err(BeginError::TlsIsOff),
        (true, TlsAnswer::Theirs) => {
            return Ok(Beginning::Encrypted {
                client,
                asked: false,
            });
        }
    };
    let (mut tls_asked, mut gss_asked) = (direct || door.tls_asked, false);
    loop {
        let Some(request) = next(&mut client).await? else {
            let insisted = tls_asked && matches!(client, Leg::Plain(_));
            return Ok(if insisted {
                Beginning::InsistedOnTls
            } else {
                Beginning::Gone
            });
        };
        match request {
            Ok(Startup::Message(message)) => {
                return Ok(Beginning::Session {
                    client,
                    message,
                    binding,
                });
            }
            Ok(Startup::Cancel { packet }) => return Ok(Beginning::Cancel { client, packet }),
            Ok(Startup::SslRequest) if !std::mem::replace(&mut tls_asked, true) => {
                let stream = nothing_behind(client)?;
                if door.tls == TlsAnswer::Theirs {
                    return Ok(Beginning::Encrypted {
                        client: stream,
                        asked: true,
                    });
                }
                (client, binding) = answer_tls(stream, door).await?;
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

/// As the server does: whatever it answers, nothing may have come behind the question.
fn nothing_behind(client: Leg) -> Result<TcpStream, BeginError> {
    let Leg::Plain(stream) = client else {
        return Err(BeginError::AskedAgain);
    };
    match stream.try_read(&mut [0]) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(stream),
        Err(error) => Err(BeginError::Read(error)),
        // It closed, or it sent more.
        Ok(_) => Err(BeginError::EarlyData),
    }
}

async fn answer_tls(
    mut stream: TcpStream,
    door: &Door,
) -> Result<(Leg, Option<Vec<u8>>), BeginError> {
    if door.tls == TlsAnswer::Ours {
        stream.write_all(b"S").await.map_err(BeginError::Read)?;
        return encrypt(stream, door).await;
    }
    stream.write_all(b"N").await.map_err(BeginError::Read)?;
    Ok((Leg::Plain(stream), None))
}

async fn encrypt(stream: TcpStream, door: &Door) -> Result<(Leg, Option<Vec<u8>>), BeginError> {
    let leg = ClientLeg::new(door.presented.clone(), door.destination)
        .map_err(|error| BeginError::Handshake(io::Error::other(error)))?;
    let stream = TlsAcceptor::from(Arc::clone(&leg.config))
        .accept(stream)
        .await
        .map_err(BeginError::Handshake)?;
    Ok((Leg::Tls(Box::new(TlsStream::Server(stream))), leg.binding()))
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
