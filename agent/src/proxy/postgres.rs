//! One PostgreSQL connection: startup, admission, log-in, relay.

mod cancel;
mod judge;
mod relay;
mod startup;

use std::{io, sync::Arc, time::Duration};

use tokio::{io::AsyncWriteExt, net::TcpStream};
use weir_policy::Target;
use weir_sql::Kind;
use weir_wire::postgres::{
    Conversation, Refusal, StartupMessage, backend, conversation::ChannelBinding,
};

use super::{Candidate, dial::DialError, listener::Place, reset, senders::Senders};
use crate::{
    audit::JournalError,
    catalog,
    guard::{KnownStanding, Scope, admission_refusal},
    identity::Absence,
    net::Leg,
    telemetry,
};

use cancel::Route;
use judge::{Asked, Parts, Sending, SessionJudge};
use relay::Relay;
use startup::{Beginning, begin};

/// Serves one connection; the session itself goes on in a task of its own, which holds nothing of the startup.
pub(super) async fn serve(candidate: Candidate, client: TcpStream, place: Place) {
    let authority = &candidate.proxy.authority;
    let destination = candidate.origin.destination.ip();
    let beginning = begin(client, &candidate.endpoint, authority, destination);
    let deadlines = &candidate.proxy.deadlines;
    match deadlines.within(STARTUP_LIMIT, beginning).await {
        Some(Ok(Beginning::Session { client, message })) => {
            if let Some(relay) = candidate.open(client, message).await {
                tokio::spawn(async move {
                    relay.await;
                    drop(place);
                });
            }
        }
        Some(Ok(Beginning::Cancel { client, packet })) => candidate.cancel(client, packet).await,
        Some(Ok(Beginning::Gone)) => {}
        Some(Err(error)) => {
            let reason = error.to_string();
            candidate.refuse(&reason);
            if let Some(client) = error.into_client() {
                let refusal = Refusal {
                    sqlstate: "08P01".into(),
                    message: format!("weir: {reason}"),
                    detail: None,
                    hint: None,
                };
                candidate.tell(client, &refusal).await;
            }
        }
        None => candidate.refuse("the client did not begin a session in time"),
    }
}

impl Candidate {
    /// Decides the connection, dials the server, sends the startup packet on, records the session.
    async fn open(&self, client: Leg, message: StartupMessage) -> Option<Relay> {
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
        if let Err(refusal) = self.admit(&scope, message.is_replication()) {
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
        let senders = Senders::new(self.proxy.writers.clone(), self.origin.socket_cookie);
        let identities = Arc::clone(&self.proxy.identities);
        let mut judge = SessionJudge::new(Parts {
            guard: Arc::clone(&self.proxy.guard),
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
        self.route().cancel(packet).await;
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
const TELL_LIMIT: Duration = Duration::from_secs(5);
