//! Bringing a batch to its sink; it is confirmed when this returns.

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use reqwest::{Client, Url, header};
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpStream, UdpSocket, UnixDatagram},
    time::timeout,
};
use tokio_rustls::TlsConnector;

use super::{
    Messages,
    settings::{ExportSettings, ExportSettingsError, Form, Target},
};
use crate::{net::http, tls::service_tls};

/// From connecting to the answer.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Syslog has no answers: this long a connection has to stay open behind a batch before it counts as delivered.
const LINGER: Duration = Duration::from_millis(20);

/// Why a sink has not confirmed a batch.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The sink's file.
    #[error("cannot write {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The sink's socket.
    #[error("cannot send to {to}")]
    Socket {
        /// Where.
        to: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Nothing came back.
    #[error("{to} does not take what is sent")]
    Slow {
        /// Where.
        to: String,
    },
    /// HTTP did not work.
    #[error("cannot reach {to}")]
    Reach {
        /// Where.
        to: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// The sink said no.
    #[error("{to} answered {status}")]
    Status {
        /// Where.
        to: String,
        /// The HTTP status.
        status: u16,
    },
}

/// The way to a sink.
pub(super) struct Sender {
    to: String,
    form: Form,
    way: Way,
}

enum Way {
    File(PathBuf),
    Http {
        url: Url,
        client: Client,
        token_file: Option<PathBuf>,
    },
    Stream {
        address: String,
        /// In clear where there is none.
        tls: Option<(TlsConnector, ServerName<'static>)>,
        open: Option<Box<dyn Stream>>,
    },
    Unix(PathBuf),
    Udp(String),
}

/// A connection, in clear or not.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Sender {
    /// Prepares the way; nothing is reached yet.
    pub(super) fn new(settings: &ExportSettings) -> Result<Self, ExportSettingsError> {
        let way = match settings.target()? {
            Target::File(path) => Way::File(path),
            Target::Tls { address, name } => Way::Stream {
                address,
                tls: Some((service_tls(settings.ca.as_ref())?.into(), name)),
                open: None,
            },
            Target::Tcp(address) => Way::Stream {
                address,
                tls: None,
                open: None,
            },
            Target::Unix(path) => Way::Unix(path),
            Target::Udp(address) => Way::Udp(address),
            Target::Http(url) => Way::Http {
                client: http::client(&url, settings.ca.as_deref(), TIMEOUT)?,
                url,
                token_file: settings.token_file.clone(),
            },
        };
        Ok(Self {
            to: settings.to.clone(),
            form: settings.form,
            way,
        })
    }

    /// Sends a batch. When this fails, or is cancelled, the sink may have some of it.
    pub(super) async fn send(&mut self, messages: &Messages) -> Result<(), SendError> {
        let slow = SendError::Slow {
            to: self.to.clone(),
        };
        timeout(TIMEOUT, self.send_at_leisure(messages))
            .await
            .unwrap_or(Err(slow))
    }

    async fn send_at_leisure(&mut self, messages: &Messages) -> Result<(), SendError> {
        let to = self.to.clone();
        let socket = |source| SendError::Socket {
            to: to.clone(),
            source,
        };
        match &mut self.way {
            Way::File(path) => append(path, messages).map_err(|source| SendError::File {
                path: path.clone(),
                source,
            }),
            Way::Http {
                url,
                client,
                token_file,
            } => post(client, url, token_file.as_deref(), self.form, messages).await,
            Way::Stream { address, tls, open } => {
                // A connection that broke is not used again.
                let mut stream = match open.take() {
                    Some(stream) => stream,
                    None => connect(address, tls.as_ref()).await.map_err(&socket)?,
                };
                framed(&mut stream, messages).await.map_err(&socket)?;
                *open = Some(stream);
                Ok(())
            }
            Way::Unix(path) => {
                let unix = UnixDatagram::unbound().map_err(&socket)?;
                unix.connect(&*path).map_err(&socket)?;
                for line in &messages.lines {
                    unix.send(line.as_bytes()).await.map_err(&socket)?;
                }
                Ok(())
            }
            Way::Udp(address) => datagrams(address, messages).await.map_err(socket),
        }
    }
}

/// Appends and syncs. The file is opened anew each time, so that it can be rotated.
fn append(path: &Path, messages: &Messages) -> io::Result<()> {
    use std::{io::Write as _, os::unix::fs::OpenOptionsExt as _};
    let mut file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(messages.text().as_bytes())?;
    file.sync_data()
}

async fn connect(
    address: &str,
    tls: Option<&(TlsConnector, ServerName<'static>)>,
) -> io::Result<Box<dyn Stream>> {
    let stream = TcpStream::connect(address).await?;
    Ok(match tls {
        Some((connector, name)) => Box::new(connector.connect(name.clone(), stream).await?),
        None => Box::new(stream),
    })
}

/// Octets are counted, in clear (RFC 6587) and by TLS (RFC 5425).
async fn framed(stream: &mut Box<dyn Stream>, messages: &Messages) -> io::Result<()> {
    let mut bytes = Vec::new();
    for line in &messages.lines {
        bytes.extend_from_slice(format!("{} ", line.len()).as_bytes());
        bytes.extend_from_slice(line.as_bytes());
    }
    stream.write_all(&bytes).await?;
    stream.flush().await?;
    let mut answer = [0; 64];
    match timeout(LINGER, stream.read(&mut answer)).await {
        Ok(Ok(0)) => Err(io::ErrorKind::ConnectionAborted.into()),
        Ok(Err(error)) => Err(error),
        // Still open; what a collector might say is nothing that syslog knows.
        Ok(Ok(_)) | Err(_) => Ok(()),
    }
}

async fn datagrams(address: &str, messages: &Messages) -> io::Result<()> {
    let there: SocketAddr = tokio::net::lookup_host(address)
        .await?
        .next()
        .ok_or(io::ErrorKind::AddrNotAvailable)?;
    let here = if there.is_ipv4() {
        "0.0.0.0:0"
    } else {
        "[::]:0"
    };
    let socket = UdpSocket::bind(here).await?;
    socket.connect(there).await?;
    for line in &messages.lines {
        // The largest that fits; RFC 5426 wants collectors to take 2,048 bytes at least.
        let cut = line.floor_char_boundary(UDP_BYTES);
        socket.send(&line.as_bytes()[..cut]).await?;
    }
    Ok(())
}

const UDP_BYTES: usize = 60_000;

async fn post(
    client: &Client,
    url: &Url,
    token_file: Option<&Path>,
    form: Form,
    messages: &Messages,
) -> Result<(), SendError> {
    let kind = match form {
        Form::Ocsf => "application/x-ndjson",
        Form::Otlp | Form::Syslog => "application/json",
    };
    let body = match &messages.document {
        Some(document) => document.clone(),
        None => messages.text(),
    };
    let mut request = client
        .post(url.clone())
        .header(header::CONTENT_TYPE, kind)
        .body(body);
    if let Some(path) = token_file {
        // Read each time: tokens are renewed.
        let token = std::fs::read_to_string(path).map_err(|source| SendError::File {
            path: path.to_owned(),
            source,
        })?;
        request = request.bearer_auth(token.trim());
    }
    let to = || url.host_str().unwrap_or_default().to_owned();
    let answer = request.send().await.map_err(|source| SendError::Reach {
        to: to(),
        source: source.without_url(),
    })?;
    if answer.status().is_success() {
        Ok(())
    } else {
        Err(SendError::Status {
            to: to(),
            status: answer.status().as_u16(),
        })
    }
}
