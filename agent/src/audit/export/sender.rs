//! Bringing a batch to its sink; it is confirmed when this returns.

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use reqwest::{Client, Url, header};
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpStream, UdpSocket, UnixDatagram},
    time::timeout,
};
use tokio_rustls::TlsConnector;

use super::{
    messages::Messages,
    settings::{ExportSettings, ExportSettingsError, Form, Target},
};
use crate::{clock, net::http, tls::service_tls};

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
        /// How long it wants to be left alone.
        retry_after: Option<Duration>,
    },
}

impl SendError {
    /// Whether the sink would say the same of what it was sent each time: it is too large, or malformed to it.
    /// <https://opentelemetry.io/docs/specs/otlp/#failures-1>
    pub(super) fn is_unfit(&self) -> bool {
        matches!(
            self,
            Self::Status {
                status: 400 | 413 | 422,
                ..
            }
        )
    }

    /// Whether the sink was reached and did not answer in time.
    pub(super) fn is_slow(&self) -> bool {
        match self {
            Self::Slow { .. } => true,
            // HTTP has the same time limit.
            Self::Reach { source, .. } => source.is_timeout() && !source.is_connect(),
            _ => false,
        }
    }

    /// How long the sink wants to be left alone.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// What a sink said of what it was sent.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Taken {
    /// Records that it will never take: they are not to be sent again.
    pub(super) refused: u64,
    /// Why, in its words.
    pub(super) why: String,
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
    pub(super) async fn send(&mut self, messages: &Messages) -> Result<Taken, SendError> {
        let slow = SendError::Slow {
            to: self.to.clone(),
        };
        timeout(TIMEOUT, self.send_at_leisure(messages))
            .await
            .unwrap_or(Err(slow))
    }

    async fn send_at_leisure(&mut self, messages: &Messages) -> Result<Taken, SendError> {
        let to = self.to.clone();
        let socket = |source| SendError::Socket {
            to: to.clone(),
            source,
        };
        match &mut self.way {
            Way::File(path) => append(path, messages).map_err(|source| SendError::File {
                path: path.clone(),
                source,
            })?,
            Way::Http {
                url,
                client,
                token_file,
            } => return post(client, url, token_file.as_deref(), self.form, messages).await,
            Way::Stream { address, tls, open } => {
                // A connection that broke is not used again.
                let mut stream = match open.take() {
                    Some(stream) => stream,
                    None => connect(address, tls.as_ref()).await.map_err(&socket)?,
                };
                framed(&mut stream, messages).await.map_err(&socket)?;
                *open = Some(stream);
            }
            Way::Unix(path) => {
                let unix = UnixDatagram::unbound().map_err(&socket)?;
                unix.connect(&*path).map_err(&socket)?;
                for line in &messages.lines {
                    unix.send(datagram(line)).await.map_err(&socket)?;
                }
            }
            Way::Udp(address) => datagrams(address, messages).await.map_err(socket)?,
        }
        Ok(Taken::default())
    }
}

/// Appends and syncs. The file is opened anew each time, so that it can be rotated.
fn append(path: &Path, messages: &Messages) -> io::Result<()> {
    use std::{
        io::{Read as _, Seek as _, SeekFrom, Write as _},
        os::unix::fs::OpenOptionsExt as _,
    };
    let mut file = std::fs::OpenOptions::new()
        .create(true)
        .read(true)
        .append(true)
        .mode(0o600)
        .open(path)?;
    // A full disk may have cut the last line short; it comes again whole.
    let mut last = *b"\n";
    if file.metadata()?.is_file() && file.seek(SeekFrom::End(0))? > 0 {
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
    }
    if last != *b"\n" {
        file.write_all(b"\n")?;
    }
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
        socket.send(datagram(line)).await?;
    }
    Ok(())
}

/// As much of a message as fits: no socket takes a larger one, however often it is tried. RFC 5426 wants collectors to take
/// 2,048 bytes at least.
fn datagram(line: &str) -> &[u8] {
    &line.as_bytes()[..line.floor_char_boundary(DATAGRAM_BYTES)]
}

const DATAGRAM_BYTES: usize = 60_000;

async fn post(
    client: &Client,
    url: &Url,
    token_file: Option<&Path>,
    form: Form,
    messages: &Messages,
) -> Result<Taken, SendError> {
    let kind = match form {
        Form::Ocsf => "application/x-ndjson",
        Form::Otlp | Form::OtlpTraces | Form::Syslog => "application/json",
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
    let mut answer = request.send().await.map_err(|source| SendError::Reach {
        to: to(),
        source: source.without_url(),
    })?;
    let status = answer.status();
    if !status.is_success() {
        return Err(SendError::Status {
            to: to(),
            status: status.as_u16(),
            retry_after: answer
                .headers()
                .get(header::RETRY_AFTER)
                .and_then(|wish| retry_after(wish.to_str().ok()?, clock::now())),
        });
    }
    if !matches!(form, Form::Otlp | Form::OtlpTraces) {
        return Ok(Taken::default());
    }
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = answer.chunk().await {
        body.extend_from_slice(&chunk);
        if body.len() > ANSWER_BYTES {
            break;
        }
    }
    Ok(partial_success(&body))
}

/// Of an answer, as much is read.
const ANSWER_BYTES: usize = 64 << 10;

/// `Retry-After`: seconds, or a date.
fn retry_after(wish: &str, now: Duration) -> Option<Duration> {
    let wish = wish.trim();
    if let Ok(seconds) = wish.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = httpdate::parse_http_date(wish).ok()?;
    let until = until.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(until.saturating_sub(now))
}

/// What a collector did not take of what it has answered well: it must not be sent again.
/// <https://opentelemetry.io/docs/specs/otlp/#partial-success-1>
fn partial_success(body: &[u8]) -> Taken {
    let Ok(answer) = serde_json::from_slice::<Value>(body) else {
        return Taken::default();
    };
    let partial = &answer["partialSuccess"];
    let rejected = [&partial["rejectedLogRecords"], &partial["rejectedSpans"]];
    // 64-bit integers are text in OTLP's JSON, and numbers are taken as well.
    let refused = rejected
        .into_iter()
        .find_map(|count| count.as_u64().or_else(|| count.as_str()?.parse().ok()));
    let why = partial["errorMessage"].as_str().unwrap_or_default();
    Taken {
        refused: refused.unwrap_or_default(),
        why: why
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .take(300)
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_to_be_left_alone_is_read_as_seconds_and_as_a_date() {
        let now = Duration::from_secs(784_111_777);
        let seconds = |wish| retry_after(wish, now).map(|wish| wish.as_secs());
        assert_eq!(seconds(" 120 "), Some(120));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:50:37 GMT"), Some(60));
        assert_eq!(
            seconds("Sun, 06 Nov 1994 08:00:00 GMT"),
            Some(0),
            "it is past"
        );
        assert_eq!(seconds("soon"), None);
        assert_eq!(seconds("-1"), None);
    }

    #[test]
    fn what_a_collector_did_not_take_is_counted() {
        let refused = |body: &str| partial_success(body.as_bytes()).refused;
        assert_eq!(refused("{\"partialSuccess\":{}}"), 0);
        assert_eq!(refused(""), 0);
        assert_eq!(refused("{\"partialSuccess\":{\"rejectedSpans\":\"3\"}}"), 3);
        let said =
            b"{\"partialSuccess\":{\"rejectedLogRecords\":2,\"errorMessage\":\"too\\nold\"}}";
        let expected = Taken {
            refused: 2,
            why: "too old".to_owned(),
        };
        assert_eq!(partial_success(said), expected);
    }

    #[test]
    fn a_sink_that_does_not_answer_is_slow_and_one_that_is_not_there_is_none() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let url = Url::parse(&format!("http://{address}/")).expect("an address");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let ask = || {
            runtime.block_on(async {
                let client = http::client(&url, None, Duration::from_millis(200)).expect("HTTP");
                post(&client, &url, None, Form::Otlp, &Messages::default())
                    .await
                    .expect_err("no answer")
            })
        };
        let error = ask();
        assert!(error.is_slow(), "{error:?}");
        drop(listener);
        let error = ask();
        assert!(!error.is_slow(), "{error:?}");
    }

    #[test]
    fn a_line_that_a_full_disk_cut_short_spoils_no_other() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("events");
        let messages = Messages {
            lines: vec!["one".to_owned(), "two".to_owned()],
            document: None,
        };
        append(&path, &messages).expect("written");
        std::fs::write(&path, "one\ntw").expect("cut");
        append(&path, &messages).expect("written");
        let text = std::fs::read_to_string(&path).expect("read");
        assert_eq!(text, "one\ntw\none\ntwo\n");
    }
}
