//! A Workload API over a unix socket that answers as it is told, in bytes: what it says need not be right.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    future::{Ready, ready},
    path::{Path, PathBuf},
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use bytes::{Buf, BufMut};
use tokio_stream::{Stream, wrappers::UnixListenerStream};
use tonic::{
    Request, Response, Status,
    body::Body,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    codegen::{BoxFuture, Service, http},
    server::{Grpc, ServerStreamingService, UnaryService},
};

/// What the server says.
#[derive(Debug, Clone, Default)]
pub(super) struct Answers {
    pub(super) token: String,
    /// Key sets by trust domain.
    pub(super) keys: BTreeMap<String, String>,
    /// No identity is registered for who asks.
    pub(super) refuses: bool,
    /// The stream of keys ends before the first ones.
    pub(super) ends_at_once: bool,
    /// Nothing is answered at all.
    pub(super) hangs: bool,
}

/// A running server; it ends with the test's runtime.
pub(super) struct Api {
    folder: tempfile::TempDir,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    answers: Answers,
    /// Audience and id of each request for a token.
    asked: Vec<(String, String)>,
}

impl Api {
    pub(super) fn start(answers: Answers) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let state = Arc::new(Mutex::new(State {
            answers,
            asked: Vec::new(),
        }));
        let api = Self { folder, state };
        let listener = tokio::net::UnixListener::bind(api.socket()).expect("a socket");
        let service = Workloads {
            state: Arc::clone(&api.state),
        };
        tokio::spawn(async move {
            let connections = UnixListenerStream::new(listener);
            let server = tonic::transport::Server::builder();
            server.serve_with_incoming(service, connections).await
        });
        api
    }

    pub(super) fn socket(&self) -> PathBuf {
        let folder: &Path = self.folder.path();
        folder.join("agent.sock")
    }

    pub(super) fn set(&self, answers: Answers) {
        self.state.lock().expect("state").answers = answers;
    }

    pub(super) fn asked(&self) -> Vec<(String, String)> {
        self.state.lock().expect("state").asked.clone()
    }
}

#[derive(Clone)]
struct Workloads {
    state: Arc<Mutex<State>>,
}

impl Service<http::Request<Body>> for Workloads {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let service = self.clone();
        let hangs = self.state.lock().expect("state").answers.hangs;
        Box::pin(async move {
            if hangs {
                std::future::pending::<()>().await;
            }
            let mut grpc = Grpc::new(Raw);
            Ok(match request.uri().path() {
                "/SpiffeWorkloadAPI/FetchJWTSVID" => grpc.unary(Token(service), request).await,
                "/SpiffeWorkloadAPI/FetchJWTBundles" => {
                    grpc.server_streaming(Keys(service), request).await
                }
                _ => Status::unimplemented("no such call").into_http(),
            })
        })
    }
}

struct Token(Workloads);

impl UnaryService<Vec<u8>> for Token {
    type Response = Vec<u8>;
    type Future = Ready<Result<Response<Vec<u8>>, Status>>;

    fn call(&mut self, request: Request<Vec<u8>>) -> Self::Future {
        if let Err(refusal) = checked(&request) {
            return ready(Err(refusal));
        }
        let mut state = self.0.state.lock().expect("state");
        let asked = texts(request.get_ref());
        let field = |number| asked.get(&number).cloned().unwrap_or_default();
        state.asked.push((field(1), field(2)));
        if state.answers.refuses {
            return ready(Err(Status::permission_denied("no identity issued")));
        }
        let mut svid = text(1, field(2).as_bytes());
        svid.extend(text(2, state.answers.token.as_bytes()));
        ready(Ok(Response::new(text(1, &svid))))
    }
}

struct Keys(Workloads);

type KeyStream = Pin<Box<dyn Stream<Item = Result<Vec<u8>, Status>> + Send>>;

impl ServerStreamingService<Vec<u8>> for Keys {
    type Response = Vec<u8>;
    type ResponseStream = KeyStream;
    type Future = Ready<Result<Response<KeyStream>, Status>>;

    fn call(&mut self, request: Request<Vec<u8>>) -> Self::Future {
        if let Err(refusal) = checked(&request) {
            return ready(Err(refusal));
        }
        let state = self.0.state.lock().expect("state");
        let bundles: Vec<u8> = state
            .answers
            .keys
            .iter()
            .flat_map(|(domain, keys)| {
                let mut entry = text(1, domain.as_bytes());
                entry.extend(text(2, keys.as_bytes()));
                text(1, &entry)
            })
            .collect();
        let said = (!state.answers.ends_at_once).then_some(Ok(bundles));
        let stream: KeyStream = Box::pin(tokio_stream::iter(said));
        ready(Ok(Response::new(stream)))
    }
}

/// Without this header a request could have been forwarded from elsewhere.
fn checked(request: &Request<Vec<u8>>) -> Result<(), Status> {
    let header = request.metadata().get("workload.spiffe.io");
    if header.is_some_and(|value| value == "true") {
        Ok(())
    } else {
        Err(Status::invalid_argument("security header missing"))
    }
}

/// A field with a length: <https://protobuf.dev/programming-guides/encoding/>.
fn text(number: u8, bytes: &[u8]) -> Vec<u8> {
    const LENGTH_DELIMITED: u8 = 2;
    let mut out = vec![number << 3 | LENGTH_DELIMITED];
    let mut length = bytes.len();
    while length >= 0x80 {
        out.push(u8::try_from(length & 0x7f).expect("seven bits") | 0x80);
        length >>= 7;
    }
    out.push(u8::try_from(length).expect("seven bits"));
    out.extend_from_slice(bytes);
    out
}

/// The fields of a message whose texts are short; the last of each number.
fn texts(mut message: &[u8]) -> BTreeMap<u8, String> {
    let mut found = BTreeMap::new();
    while let [tag, length, rest @ ..] = message {
        let (value, after) = rest.split_at(usize::from(*length));
        found.insert(tag >> 3, String::from_utf8(value.to_vec()).expect("text"));
        message = after;
    }
    found
}

/// Messages as bytes.
#[derive(Clone, Copy)]
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let mut item = vec![0; buffer.remaining()];
        buffer.copy_to_slice(&mut item);
        Ok(Some(item))
    }
}
