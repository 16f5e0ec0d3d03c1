//! A Workload API over a unix socket that answers as it is told, in bytes: what it says need not be right. The Broker API
//! is served beside it, by TLS.

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
use futures_util::stream::{self, Stream};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use rustls::ServerConfig;
use spiffe::SpiffeId;
use tokio::{
    io::copy_bidirectional,
    net::{UnixListener, UnixStream},
};
use tokio_rustls::TlsAcceptor;
use tonic::{
    Request, Response, Status,
    body::Body,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    codegen::{BoxFuture, Service, http},
    server::{Grpc, ServerStreamingService, UnaryService},
};

/// What the server says.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answers {
    pub(crate) token: String,
    /// Key sets by trust domain.
    pub(crate) keys: BTreeMap<String, String>,
    pub(crate) fault: Option<Fault>,
    /// weir's own X509-SVID: certificate, key and the authority, in DER.
    pub(crate) own: Option<[Vec<u8>; 3]>,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// No identity is registered for who asks.
    Refuses,
    /// The stream of keys ends before the first ones.
    EndsAtOnce,
    /// Nothing is answered at all.
    Hangs,
    /// The process that is asked about has ended when the answer comes.
    Kills,
}

/// A running server; it ends with the test's runtime.
pub(crate) struct Api {
    folder: tempfile::TempDir,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    answers: Answers,
    /// Audience and id of each request for a token.
    asked: Vec<(String, String)>,
    /// The process of each request to the broker.
    pids: Vec<u32>,
    /// Who connected to the broker.
    brokers: Vec<SpiffeId>,
}

impl Api {
    pub(crate) fn start(answers: Answers) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let state = Arc::new(Mutex::new(State {
            answers,
            ..State::default()
        }));
        let api = Self { folder, state };
        let listener = UnixListener::bind(api.socket()).expect("a socket");
        let service = Workloads {
            state: Arc::clone(&api.state),
        };
        tokio::spawn(async move {
            let connections = stream::unfold(listener, async |listener| {
                let accepted = listener.accept().await;
                Some((accepted.map(|(connection, _)| connection), listener))
            });
            let server = tonic::transport::Server::builder();
            server.serve_with_incoming(service, connections).await
        });
        api
    }

    pub(crate) fn socket(&self) -> PathBuf {
        let folder: &Path = self.folder.path();
        folder.join("agent.sock")
    }

    /// Serves the Broker API as well: who has connected by TLS is let through to the same server.
    pub(crate) fn broker(&self, config: ServerConfig) -> PathBuf {
        let path = self.folder.path().join("broker.sock");
        let listener = UnixListener::bind(&path).expect("a socket");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let (inside, state) = (self.socket(), Arc::clone(&self.state));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(mut outer) = acceptor.accept(stream).await else {
                    continue;
                };
                let shown = outer.get_ref().1.peer_certificates().expect("a client's");
                let id = spiffe::cert::spiffe_id_from_der(&shown[0]).expect("an X509-SVID");
                state.lock().expect("state").brokers.push(id);
                let mut inner = UnixStream::connect(&inside).await.expect("the server");
                tokio::spawn(async move { copy_bidirectional(&mut outer, &mut inner).await });
            }
        });
        path
    }

    pub(crate) fn pids(&self) -> Vec<u32> {
        self.state.lock().expect("state").pids.clone()
    }

    pub(crate) fn brokers(&self) -> Vec<SpiffeId> {
        self.state.lock().expect("state").brokers.clone()
    }

    pub(crate) fn set(&self, answers: Answers) {
        self.state.lock().expect("state").answers = answers;
    }

    pub(crate) fn asked(&self) -> Vec<(String, String)> {
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
        let hangs = self.state.lock().expect("state").answers.fault == Some(Fault::Hangs);
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
                "/SpiffeWorkloadAPI/FetchX509SVID" => {
                    grpc.server_streaming(Own(service), request).await
                }
                "/spiffe.broker.API/FetchJWTSVID" => {
                    grpc.unary(ProcessToken(service), request).await
                }
                "/spiffe.broker.API/SubscribeToJWTBundles" => {
                    grpc.server_streaming(ProcessKeys(service), request).await
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
        if let Err(refusal) = checked(&request, "workload.spiffe.io") {
            return ready(Err(refusal));
        }
        ready(self.0.token(&request, 1))
    }
}

impl Workloads {
    /// The audience is in that field, the id in the one behind it.
    fn token(&self, request: &Request<Vec<u8>>, audience: u8) -> Result<Response<Vec<u8>>, Status> {
        let mut state = self.state.lock().expect("state");
        let asked = fields(request.get_ref());
        let field = |number| {
            let bytes = asked.get(&number).cloned().unwrap_or_default();
            String::from_utf8(bytes).expect("text")
        };
        let id = field(audience + 1);
        state.asked.push((field(audience), id.clone()));
        if state.answers.fault == Some(Fault::Refuses) {
            return Err(Status::permission_denied("no identity issued"));
        }
        let mut svid = text(1, id.as_bytes());
        svid.extend(text(2, state.answers.token.as_bytes()));
        Ok(Response::new(text(1, &svid)))
    }

    fn keys(&self) -> Response<Messages> {
        let state = self.state.lock().expect("state");
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
        let said = (state.answers.fault != Some(Fault::EndsAtOnce)).then_some(Ok(bundles));
        Response::new(Box::pin(stream::iter(said)))
    }
}

/// A token for the process that the request refers to.
struct ProcessToken(Workloads);

impl UnaryService<Vec<u8>> for ProcessToken {
    type Response = Vec<u8>;
    type Future = Ready<Result<Response<Vec<u8>>, Status>>;

    fn call(&mut self, request: Request<Vec<u8>>) -> Self::Future {
        if let Err(refusal) = checked(&request, "broker.spiffe.io") {
            return ready(Err(refusal));
        }
        let pid = process(request.get_ref());
        let mut state = self.0.state.lock().expect("state");
        state.pids.push(pid);
        if state.answers.fault == Some(Fault::Kills) {
            end(pid);
        }
        drop(state);
        ready(self.0.token(&request, 2))
    }
}

/// The keys for the process that the request refers to.
struct ProcessKeys(Workloads);

impl ServerStreamingService<Vec<u8>> for ProcessKeys {
    type Response = Vec<u8>;
    type ResponseStream = Messages;
    type Future = Ready<Result<Response<Messages>, Status>>;

    fn call(&mut self, request: Request<Vec<u8>>) -> Self::Future {
        if let Err(refusal) = checked(&request, "broker.spiffe.io") {
            return ready(Err(refusal));
        }
        assert!(process(request.get_ref()) > 0);
        ready(Ok(self.0.keys()))
    }
}

/// An X509-SVID for weir itself.
struct Own(Workloads);

impl ServerStreamingService<Vec<u8>> for Own {
    type Response = Vec<u8>;
    type ResponseStream = Messages;
    type Future = Ready<Result<Response<Messages>, Status>>;

    fn call(&mut self, request: Request<Vec<u8>>) -> Self::Future {
        if let Err(refusal) = checked(&request, "workload.spiffe.io") {
            return ready(Err(refusal));
        }
        let own = self.0.state.lock().expect("state").answers.own.clone();
        let Some([certificate, key, authority]) = own else {
            return ready(Err(Status::permission_denied("no identity issued")));
        };
        let id = spiffe::cert::spiffe_id_from_der(&certificate).expect("an X509-SVID");
        let mut svid = text(1, id.to_string().as_bytes());
        svid.extend(text(2, &certificate));
        svid.extend(text(3, &key));
        svid.extend(text(4, &authority));
        let stream: Messages = Box::pin(stream::iter([Ok(text(1, &svid))]));
        ready(Ok(Response::new(stream)))
    }
}

struct Keys(Workloads);

type Messages = Pin<Box<dyn Stream<Item = Result<Vec<u8>, Status>> + Send>>;

impl ServerStreamingService<Vec<u8>> for Keys {
    type Response = Vec<u8>;
    type ResponseStream = Messages;
    type Future = Ready<Result<Response<Messages>, Status>>;

    fn call(&mut self, request: Request<Vec<u8>>) -> Self::Future {
        ready(checked(&request, "workload.spiffe.io").map(|()| self.0.keys()))
    }
}

/// Without this header a request could have been forwarded from elsewhere.
fn checked(request: &Request<Vec<u8>>, name: &str) -> Result<(), Status> {
    let header = request.metadata().get(name);
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

/// The number in a reference to a process: message in message, packed with the name of its type.
fn process(request: &[u8]) -> u32 {
    let inside = |message: &[u8], number| fields(message).remove(&number).expect("a field");
    let packed = inside(&inside(request, 1), 1);
    let kind = String::from_utf8(inside(&packed, 1)).expect("text");
    assert_eq!(
        kind,
        "type.googleapis.com/spiffe.broker.WorkloadPIDReference"
    );
    let value = inside(&packed, 2);
    let (tag, digits) = value.split_first().expect("a number");
    assert_eq!(*tag, 1 << 3);
    let digits = digits.iter().rev();
    digits.fold(0, |number, digit| number << 7 | u32::from(digit & 0x7f))
}

/// Ends a process; it is still to be waited for.
fn end(pid: u32) {
    let number = Pid::from_raw(i32::try_from(pid).expect("a number"));
    kill(number, Signal::SIGKILL).expect("a kill");
    while std::fs::read_link(format!("/proc/{pid}/exe")).is_ok() {
        std::thread::yield_now();
    }
}

/// The fields of a message, each shorter than 128 bytes; the last of each number.
fn fields(mut message: &[u8]) -> BTreeMap<u8, Vec<u8>> {
    let mut found = BTreeMap::new();
    while let [tag, length, rest @ ..] = message {
        let (value, after) = rest.split_at(usize::from(*length));
        found.insert(tag >> 3, value.to_vec());
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
