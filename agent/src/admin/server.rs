//! The thread that serves: sockets, TLS, and what every answer carries. Its own runtime, so that no statement waits for it.

use std::{
    hash::Hash,
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Weak},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Body,
    http::{HeaderName, HeaderValue, Method, Request, StatusCode, header},
    middleware::{self, Next},
    response::Response,
    routing::{MethodFilter, on},
};
use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    runtime::Builder,
    sync::{Semaphore, oneshot},
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

use super::{
    Reach,
    error::Error,
    live::{self, Live},
    login::Logins,
    questions,
    request::{self, Connection, Wants, Web},
    routes::{self, chain::Verifier},
    settings::{AdminSettings, Site},
    visits::Visits,
};
use crate::{
    control::peer::Peer,
    identity::{Secret, events::Whom, oidc::random_text},
    net::{
        seats::{Seat, Seats, network},
        socket::{BindError, Listener},
    },
    tls::{Authority, ServerPair, SiteTlsError, site_tls},
};

/// Why the page is not served.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Threads or the event loop.
    #[error("cannot start the web page")]
    Start(#[source] io::Error),
    /// The unix socket.
    #[error("cannot open the web page's socket")]
    Socket(#[from] BindError),
    /// The port.
    #[error("cannot listen on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Certificate or key.
    #[error("cannot serve TLS")]
    Tls(#[from] SiteTlsError),
    /// The token for measurements.
    #[error("cannot read metrics_token_file {}", path.display())]
    Token {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// No randomness.
    #[error("the system gives no random numbers")]
    Random,
}

/// The page, being served. It stops when this is dropped.
#[derive(Debug)]
pub struct Admin {
    web: WebHandle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What the rest of the agent tells the page.
#[derive(Clone)]
pub struct WebHandle(Weak<Web>);

impl std::fmt::Debug for WebHandle {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("WebHandle").finish_non_exhaustive()
    }
}

impl WebHandle {
    /// Somebody's log-in was revoked: their browsers are logged out.
    pub fn log_out(&self, whom: &Whom) {
        if let Some(web) = self.0.upgrade() {
            web.visits.end_of(whom);
        }
    }
}

impl Admin {
    /// Opens sockets and serves from a thread of its own.
    ///
    /// # Errors
    ///
    /// [`StartError`].
    pub fn start(
        settings: AdminSettings,
        site: Option<Site>,
        reach: Reach,
        authority: &Arc<Authority>,
    ) -> Result<Self, StartError> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            // Questions to the store: more at a time would only wait for each other.
            .max_blocking_threads(BLOCKING_THREADS)
            .thread_name("weir-admin-store")
            .build()
            .map_err(StartError::Start)?;
        let inside = runtime.enter();
        let socket = Listener::bind(&settings.socket)?;
        let tls = site
            .as_ref()
            .map(|site| listen(site, &settings, authority))
            .transpose()?;
        drop(inside);
        let metrics_token = metrics_token(&settings)?;
        let (tries, changes) = request::limits();
        let web = Arc::new(Web {
            live: Arc::new(Live::new(reach.clone())),
            verifier: Arc::new(Verifier::default()),
            secret: Secret::new(random_text().map_err(|_| StartError::Random)?),
            visits: Visits::default(),
            logins: Logins::default(),
            streams: Arc::new(Semaphore::new(STREAMS)),
            questions: questions::seats(),
            reach,
            settings,
            site,
            metrics_token,
            tries,
            changes,
        });
        let (stop, stopped) = oneshot::channel();
        let handle = WebHandle(Arc::downgrade(&web));
        let thread = std::thread::Builder::new()
            .name("weir-admin".to_owned())
            .spawn(move || {
                runtime.block_on(async move {
                    let all = serve(web, socket, tls);
                    tokio::select! {
                        () = all => {}
                        _ = stopped => {}
                    }
                });
                runtime.shutdown_timeout(LAST_WORK);
            })
            .map_err(StartError::Start)?;
        Ok(Self {
            web: handle,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// For what the rest of the agent has to tell.
    #[must_use]
    pub fn handle(&self) -> WebHandle {
        self.web.clone()
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What is wrong with the files that `[admin]` names, opened as [`Admin::start`] does.
#[must_use]
pub fn unusable_files(settings: &AdminSettings) -> Vec<StartError> {
    let pair = pair(settings).map(|(certificate, key)| {
        let loaded = ServerPair::load(certificate, key).map(drop);
        loaded.map_err(|error| StartError::Tls(error.into()))
    });
    let token = metrics_token(settings).map(drop);
    pair.into_iter()
        .chain([token])
        .filter_map(Result::err)
        .collect()
}

fn metrics_token(settings: &AdminSettings) -> Result<Option<Secret>, StartError> {
    let read = |path: &PathBuf| {
        Secret::read(path).map_err(|source| StartError::Token {
            path: path.clone(),
            source,
        })
    };
    settings.metrics_token_file.as_ref().map(read).transpose()
}

/// Certificate and key.
fn pair(settings: &AdminSettings) -> Option<(&Path, &Path)> {
    let (certificate, key) = (settings.tls_cert.as_deref(), settings.tls_key.as_deref());
    certificate.zip(key)
}

struct Tls {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

fn listen(
    site: &Site,
    settings: &AdminSettings,
    authority: &Arc<Authority>,
) -> Result<Tls, StartError> {
    let failed = |source| StartError::Listen {
        address: site.listen,
        source,
    };
    let listener = std::net::TcpListener::bind(site.listen).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let ip = site.listen.ip().to_string();
    let config = site_tls(pair(settings), authority, &[&site.name, &ip, "localhost"])?;
    Ok(Tls {
        listener: TcpListener::from_std(listener).map_err(failed)?,
        acceptor: TlsAcceptor::from(config),
    })
}

async fn serve(web: Arc<Web>, socket: Listener, tls: Option<Tls>) {
    let router = router(&web);
    let by_tls = async {
        match tls {
            Some(tls) => accept_tls(tls, &router).await,
            None => std::future::pending().await,
        }
    };
    tokio::join!(
        accept_local(&socket, &router),
        by_tls,
        live::keep(Arc::clone(&web.live)),
    );
}

async fn accept_local(socket: &Listener, router: &Router) {
    let seats = Seats::new(CONNECTIONS_PER_USER, CONNECTIONS);
    loop {
        let Ok((stream, _)) = socket.accept().await else {
            // Out of descriptors, mostly: they come back as clients leave.
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let Ok(peer) = Peer::of(&stream) else {
            continue;
        };
        let Some(seat) = seats.take_as_user(peer.uid) else {
            continue;
        };
        let connection = Connection::Socket(Arc::new(peer));
        tokio::spawn(converse(stream, connection, router.clone(), seat));
    }
}

async fn accept_tls(tls: Tls, router: &Router) {
    let seats = Seats::new(CONNECTIONS_PER_ADDRESS, CONNECTIONS);
    loop {
        let Ok((stream, address)) = tls.listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        // Before the handshake, which is what costs most; without a word, which would cost more.
        let Some(seat) = seats.take(network(address.ip())) else {
            continue;
        };
        let (acceptor, router) = (tls.acceptor.clone(), router.clone());
        tokio::spawn(async move {
            let shaken = timeout(HANDSHAKE, acceptor.accept(stream)).await;
            if let Ok(Ok(stream)) = shaken {
                converse(stream, Connection::Tls(address), router, seat).await;
            }
        });
    }
}

async fn converse<K: Eq + Hash>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    connection: Connection,
    router: Router,
    seat: Seat<K>,
) {
    let service = service_fn(move |mut request: Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(connection.clone());
        hyper::service::Service::call(&TowerToHyperService::new(router.clone()), request)
    });
    let serving = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .max_buf_size(BUFFER_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    // Whatever a client does: nothing is held for ever. A page that follows the map connects again by itself.
    if let Ok(Err(error)) = timeout(LONGEST_CONNECTION, serving).await {
        tracing::debug!(%error, "a connection of the web page ended");
    }
    drop(seat);
}

fn router(web: &Arc<Web>) -> Router {
    let mut router = Router::new();
    for route in routes::all() {
        let filter = match *route.method() {
            Method::POST => MethodFilter::POST,
            _ => MethodFilter::GET,
        };
        for path in route.paths() {
            let web = Arc::clone(web);
            let handler =
                move |request: Request<Body>| request::serve(Arc::clone(&web), route, request);
            router = router.route(&path, on(filter, handler));
        }
    }
    router
        .fallback(|request: Request<Body>| async move {
            Error::not_found().render(Wants::of(request.uri()))
        })
        .layer(middleware::from_fn_with_state(Arc::clone(web), envelope))
}

/// Around every answer: to the right name, in time, and with what keeps browsers from harm.
async fn envelope(
    axum::extract::State(web): axum::extract::State<Arc<Web>>,
    request: Request<Body>,
    next: Next,
) -> Response {
    let begun = Instant::now();
    let wants = Wants::of(request.uri());
    let connection = request.extensions().get::<Connection>().cloned();
    let is_tls = matches!(connection, Some(Connection::Tls(_)));
    let is_ours = connection
        .as_ref()
        .is_some_and(|connection| request::host_is_ours(&web, connection, request.headers()));
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let mut response = if is_ours {
        timeout(ANSWER, next.run(request))
            .await
            .unwrap_or_else(|_| {
                Error::new(StatusCode::GATEWAY_TIMEOUT, "the answer took too long").render(wants)
            })
    } else {
        Error::new(
            StatusCode::MISDIRECTED_REQUEST,
            "this site has another name",
        )
        .hint("use the address of [admin] public_url, or http://localhost on the socket")
        .render(wants)
    };
    tracing::debug!(%method, path, status = response.status().as_u16(), took = ?begun.elapsed(), "a request");
    let headers = response.headers_mut();
    for (name, value) in HEADERS_OF_ALL {
        headers.insert(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
    if is_tls {
        headers.insert(
            header::STRICT_TRANSPORT_SECURITY,
            HeaderValue::from_static("max-age=31536000"),
        );
    }
    response
}

/// No script, style or picture but the site's own, no frame around it, nothing kept in caches.
const HEADERS_OF_ALL: &[(&str, &str)] = &[
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
         form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    // Not `no-referrer`: browsers would then send `Origin: null` with the forms of these pages.
    ("referrer-policy", "same-origin"),
    ("cache-control", "no-store"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
];

const BLOCKING_THREADS: usize = 4;
/// Connections at a time, of each kind: of all, and of one user of the host or one address. A browser has six.
const CONNECTIONS: usize = 256;
const CONNECTIONS_PER_USER: usize = 16;
const CONNECTIONS_PER_ADDRESS: usize = 32;
/// Pages that follow the map.
pub(super) const STREAMS: usize = 64;
const HANDSHAKE: Duration = Duration::from_secs(10);
const HEADERS: Duration = Duration::from_secs(15);
/// Longer than a question to the store may take: who asked is told why it was given up.
const ANSWER: Duration = Duration::from_secs(40);
const LONGEST_CONNECTION: Duration = Duration::from_mins(30);
const BUFFER_BYTES: usize = 32 * 1024;
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
const LAST_WORK: Duration = Duration::from_secs(1);
