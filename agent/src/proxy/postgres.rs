//! One PostgreSQL connection: startup, admission, log-in, relay.

mod cancel;
mod judge;
mod login;
mod relay;
mod startup;

use std::{io, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use weir_policy::Target;
use weir_sql::Kind;
use weir_wire::postgres::{
    Conversation, Refusal, StartupMessage, backend, conversation::ChannelBinding,
    startup::SSL_REQUEST_BYTES,
};

use super::{
    Candidate,
    dial::{self, DialError},
    endpoint::ClientTls,
    listener::Place,
    mode::Mode,
    reset,
    senders::Senders,
};
use crate::{
    audit::JournalError,
    catalog,
    guard::{KnownStanding, Scope, admission_refusal},
    identity::Absence,
    net::Leg,
    sessions::Registration,
    telemetry,
};

use cancel::Route;
use judge::{Asked, Parts, Sending, SessionJudge};
use login::{Login, LoginError};
use relay::Relay;
use startup::{Beginning, Door, TlsAnswer, begin};

/// Serves one connection; the session itself goes on in a task of its own, which holds nothing of the startup.
pub(super) async fn serve(candidate: Candidate, client: TcpStream, place: Place) {
    let mut door = candidate.door();
    let mut client = client;
    loop {
        let beginning = begin(client, &door);
        let deadlines = &candidate.proxy.deadlines;
        match deadlines.within(STARTUP_LIMIT, beginning).await {
            Some(Ok(Beginning::Session {
                client,
                message,
                binding,
            })) => {
                if let Some(relay) = candidate.open(client, message, binding).await {
                    tokio::spawn(async move {
                        relay.await;
                        drop(place);
                    });
                }
            }
            Some(Ok(Beginning::Cancel { client, packet })) => {
                candidate.cancel(client, packet).await;
            }
            Some(Ok(Beginning::Encrypted {
                client: stream,
                asked,
            })) => {
                let Some(stream) = candidate.pass_encrypted(stream, asked).await else {
                    return;
                };
                // The server has no TLS either: what follows is in clear, and can be read.
                door.tls = TlsAnswer::No;
                door.tls_asked = true;
                client = stream;
                continue;
            }
            Some(Ok(Beginning::InsistedOnTls)) => candidate.turned_away(),
            Some(Ok(Beginning::Gone)) => {}
            Some(Err(error)) => candidate.not_begun(error).await,
            None => candidate.refuse("the client did not begin a session in time"),
        }
        return;
    }
}

impl Candidate {
    /// How this client is let in.
    fn door(&self) -> Door {
        let tls = match (self.endpoint.mode, self.endpoint.client_tls) {
            (Mode::Opaque, _) if self.may_pass_unread() => TlsAnswer::Theirs,
            // Whoever is refused is told so, and that takes a channel.
            (Mode::Opaque, _) | (_, ClientTls::On) => TlsAnswer::Ours,
            (_, ClientTls::Off) => TlsAnswer::No,
        };
        Door {
            tls,
            presented: self.endpoint.presented(&self.proxy.authority),
            destination: self.origin.destination.ip(),
            tls_asked: false,
        }
    }

    /// Relays what the client encrypts for the server. When the server has no TLS the client is told so and comes back.
    async fn pass_encrypted(&self, mut client: TcpStream, asked: bool) -> Option<TcpStream> {
        let (deadlines, marker) = (&self.proxy.deadlines, &self.proxy.marker);
        let dialled = dial::dial_raw(deadlines, marker, self.origin.destination).await;
        let mut server = match dialled {
            Ok(server) => server,
            Err(error) => {
                self.unreachable(Leg::Plain(client), &error).await;
                return None;
            }
        };
        if asked {
            let answered = async {
                server.write_all(&SSL_REQUEST_BYTES).await?;
                let answer = server.read_u8().await?;
                client
                    .write_all(if answer == b'S' { b"S" } else { b"N" })
                    .await?;
                io::Result::Ok(answer)
            };
            match deadlines.within(STARTUP_LIMIT, answered).await {
                Some(Ok(b'S')) => {}
                Some(Ok(_)) => return Some(client),
                _ => {
                    self.refuse("the server does not say whether it speaks TLS");
                    reset(client);
                    return None;
                }
            }
        }
        self.relay_unread(client, Leg::Plain(server)).await;
        None
    }

    /// A client that wants TLS or nothing could not be told why there is none: drivers show words of their own.
    fn turned_away(&self) {
        let insisted = &self.endpoint.counts.insisted_on_tls;
        insisted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.refuse(
            "the client insists on TLS, which this endpoint's clients are not spoken to with: set its mode to \"verifier\" \
             or \"server-certificate\", or the client's sslmode to prefer",
        );
    }

    async fn not_begun(&self, error: startup::BeginError) {
        let reason = error.to_string();
        self.refuse(&reason);
        if let Some(client) = error.into_client() {
            let refusal = Refusal {
                sqlstate: "08P01".into(),
                message: format!("weir: {reason}"),
                detail: None,
                hint: None,
            };
            self.tell(client, &refusal).await;
        }
    }

    /// Decides the connection, dials the server, sends the startup packet on, records the session.
    async fn open(
        &self,
        client: Leg,
        message: StartupMessage,
        binding: Option<Vec<u8>>,
    ) -> Option<Relay> {
        let target = Target {
            database: message.database(),
            database_user: message.user(),
            ..self.target()
        };
        let scope = self.scope(target.clone());
        let place = catalog::Place {
            endpoint: target.endpoint.clone(),
            address: self.origin.destination,
            database: target.database.clone(),
        };
        let admitted = self
            .admit(&scope, message.is_replication())
            .and_then(|()| self.may_be_read(&client));
        if let Err(refusal) = admitted {
            self.refuse(&refusal.message);
            self.tell(client, &refusal).await;
            return None;
        }
        let mut server = match self.dial().await {
            Ok(server) => server,
            Err(error) => {
                self.unreachable(client, &error).await;
                return None;
            }
        };
        let live = match self.record(target, message.text("application_name")) {
            Ok(live) => live,
            Err(error) => {
                tracing::error!(%error, "cannot record a session: it is refused");
                self.tell(client, &unrecorded(&error)).await;
                return None;
            }
        };
        if let Err(source) = server.write_all(&message.packet).await {
            self.close_record(&live, "connection lost");
            let address = self.origin.destination;
            self.unreachable(client, &DialError::Connect { address, source })
                .await;
            return None;
        }
        let _ = server.flush().await;
        let (client, server) = if self.takes_part(&client, &server) {
            self.log_in(&live, Login::new(self, &message, client, server, binding))
                .await?
        } else {
            (client, server)
        };
        let senders = Senders::new(self.proxy.writers.clone(), self.origin.socket_cookie);
        let identities = Arc::clone(&self.proxy.identities);
        let mut judge = SessionJudge::new(Parts {
            guard: Arc::clone(&self.proxy.guard),
            holds: Arc::clone(&self.proxy.holds),
            journal: Arc::clone(&self.proxy.journal),
            scope,
            catalog: self.proxy.catalogs.link(place),
            bound: self.resolved.identity.clone(),
            live,
            modes_uncertain: message.sets_backslash_mode(),
            replication: message.is_replication(),
            search_path: Asked::of(&message),
            database_user: message.user(),
            sending: Sending::new(senders, identities, &self.resolved),
        });
        judge.meet_senders();
        // Binding a log-in to a TLS channel needs one: a client in clear would refuse the offer (and need not make it).
        let stripped = matches!((&client, &server), (Leg::Plain(_), Leg::Tls(_)));
        let channel_binding = if stripped {
            ChannelBinding::Stripped
        } else {
            ChannelBinding::Relayed
        };
        Some(Relay::new(
            client,
            server,
            Conversation::new(channel_binding),
            judge,
            self.route(),
        ))
    }

    /// Takes part in the log-in; afterwards the relay goes on with both legs.
    async fn log_in(&self, live: &Registration, mut login: Login<'_>) -> Option<(Leg, Leg)> {
        let deadlines = &self.proxy.deadlines;
        let outcome = deadlines.within(STARTUP_LIMIT, login.run()).await;
        let (client, server) = login.into_legs();
        let error = match outcome {
            Some(Ok(())) => return Some((client, server)),
            Some(Err(error)) => error,
            None => {
                self.close_record(live, "the log-in took too long");
                return None;
            }
        };
        self.close_record(live, &telemetry::chain(&error));
        drop(server);
        match error {
            LoginError::Refused(refusal) => self.tell(client, &refusal).await,
            LoginError::Dial(error) => self.unreachable(client, &error).await,
            LoginError::Server(error) => {
                let refusal = Refusal {
                    sqlstate: "08006".into(),
                    message: format!("weir: the server broke the log-in off: {error}"),
                    detail: None,
                    hint: None,
                };
                self.tell(client, &refusal).await;
            }
            LoginError::Told => {
                let mut client = client;
                let _ = deadlines.within(TELL_LIMIT, client.shutdown()).await;
            }
            LoginError::Gone | LoginError::Client(_) => {}
        }
        None
    }

    /// A client that speaks TLS with weir on an endpoint whose TLS is for the server does so to be told why.
    fn may_be_read(&self, client: &Leg) -> Result<(), Refusal> {
        if self.endpoint.mode == Mode::Opaque && matches!(client, Leg::Tls(_)) {
            return Err(Refusal {
                sqlstate: "42501".into(),
                message: "weir: what clients of this endpoint encrypt would pass uninspected (mode \"opaque\"), and rules apply to it"
                    .into(),
                detail: None,
                hint: Some(
                    "the operator of this host can set another mode, or allow it by the policy's on_opaque where no rule restricts statements"
                        .into(),
                ),
            });
        }
        Ok(())
    }

    fn admit(&self, scope: &Arc<Scope>, replication: bool) -> Result<(), Refusal> {
        if let Some(absence) = self.bar() {
            return Err(barred(absence));
        }
        let admission = self.proxy.guard.admit(scope);
        if !admission.decision.permits() {
            let identified = self.resolved.identity.is_some();
            return Err(admission_refusal(&admission.decision, identified));
        }
        if replication {
            let stale = self
                .resolved
                .identity
                .as_ref()
                .is_some_and(|it| it.is_stale());
            let guard = &self.proxy.guard;
            let standing = guard.standing(scope, &mut KnownStanding::default(), stale);
            let verdict =
                guard.decide_opaque(scope, standing, Kind::Replication, "replication session");
            if let Some(refusal) = &verdict.refusal {
                return Err(refusal.clone());
            }
            if !verdict.obligations.approvals.is_empty() {
                return Err(Refusal {
                    sqlstate: "42501".into(),
                    message: "weir: replication needs an approval here, and a whole session cannot wait for one".into(),
                    detail: None,
                    hint: Some("ask the operator of this host for a rule that allows it".into()),
                });
            }
        }
        Ok(())
    }

    /// Sends a cancellation on; the key in it decides what it reaches.
    async fn cancel(&self, mut client: Leg, packet: Vec<u8>) {
        let scope = self.scope(self.target());
        if let Err(refusal) = self.admit(&scope, false) {
            self.refuse(&refusal.message);
            return;
        }
        // Of what waits nothing is at the server; what went ahead of it may be.
        let key = packet.get(CANCEL_KEY..).unwrap_or_default();
        let held = self.proxy.holds.cancel(self.origin.destination, key);
        if !held {
            self.route().cancel(packet).await;
        }
        // With TLS a bare end of the stream could be anyone's doing: clients take it for a failure.
        let shutdown = client.shutdown();
        let _ = self.proxy.deadlines.within(TELL_LIMIT, shutdown).await;
    }

    /// For connections beside a session's own.
    fn route(&self) -> Route {
        Route {
            proxy: Arc::clone(&self.proxy),
            endpoint: Arc::clone(&self.endpoint),
            destination: self.origin.destination,
        }
    }

    async fn unreachable(&self, client: Leg, error: &DialError) {
        let reason = telemetry::chain(error);
        self.refuse(&reason);
        let refused = matches!(error, DialError::Connect { source, .. } if source.kind() == io::ErrorKind::ConnectionRefused);
        if refused && let Leg::Plain(stream) = client {
            // As without weir: the client sees that nobody listens there. Too late for ECONNREFUSED, but not for RST.
            reset(stream);
            return;
        }
        let refusal = Refusal {
            sqlstate: "08001".into(),
            message: format!("weir: {reason}"),
            detail: None,
            hint: Some("\"weir doctor\" checks this host's configuration".into()),
        };
        self.tell(client, &refusal).await;
    }

    /// Sends a FATAL error and closes.
    async fn tell(&self, mut client: Leg, refusal: &Refusal) {
        let frame = backend::error_response("FATAL", refusal);
        let told = async {
            client.write_all(&frame).await?;
            client.flush().await?;
            client.shutdown().await
        };
        let told = self.proxy.deadlines.within(TELL_LIMIT, told).await;
        if !matches!(told, Some(Ok(()))) {
            tracing::debug!("a refused client does not read");
        }
    }
}

/// For who may have fewer rights than nobody has.
fn barred(absence: &Absence) -> Refusal {
    Refusal {
        sqlstate: "28000".into(),
        message: format!("weir: {absence}"),
        detail: None,
        hint: Some("\"weir whoami\" shows what is known of this process".into()),
    }
}

fn unrecorded(error: &JournalError) -> Refusal {
    Refusal {
        sqlstate: "53100".into(),
        message: format!("weir: the session cannot be recorded, so it may not begin: {error}"),
        detail: None,
        hint: Some("ask the operator of this host: \"weir status\" shows the journal".into()),
    }
}

/// `authentication_timeout`'s default.
const STARTUP_LIMIT: Duration = Duration::from_mins(1);
/// Where the key stands in a cancel request.
const CANCEL_KEY: usize = 8;
const TELL_LIMIT: Duration = Duration::from_secs(5);
