//! One PostgreSQL connection: startup, admission, log-in, relay.

mod judge;
mod relay;
mod startup;

use std::{io, sync::Arc, time::Duration};

use tokio::{io::AsyncWriteExt, net::TcpStream, time::timeout};
use weir_policy::Target;
use weir_sql::Kind;
use weir_wire::postgres::{
    Conversation, Refusal, StartupMessage, backend, conversation::ChannelBinding,
};

use super::{Candidate, dial::DialError, listener::Place, reset};
use crate::{
    audit::JournalError,
    guard::{Scope, admission_refusal},
    net::Leg,
};

use judge::{Parts, SessionJudge};
use relay::Relay;
use startup::{Beginning, begin};

/// Serves one connection; the session itself goes on in a task of its own, which holds nothing of the startup.
pub(super) async fn serve(candidate: Candidate, client: TcpStream, place: Place) {
    let authority = &candidate.proxy.authority;
    let destination = candidate.origin.destination.ip();
    let beginning = begin(client, &candidate.endpoint, authority, destination);
    match timeout(STARTUP_LIMIT, beginning).await {
        Ok(Ok(Beginning::Session { client, message })) => {
            if let Some(relay) = candidate.open(client, message).await {
                tokio::spawn(async move {
                    relay.await;
                    drop(place);
                });
            }
        }
        Ok(Ok(Beginning::Cancel { client, packet })) => candidate.cancel(client, &packet).await,
        Ok(Ok(Beginning::Gone)) => {}
        Ok(Err(error)) => {
            let reason = error.to_string();
            candidate.refuse(&reason);
            if let Some(client) = error.into_client() {
                let refusal = Refusal {
                    sqlstate: "08P01".into(),
                    message: format!("weir: {reason}"),
                    detail: None,
                    hint: None,
                };
                tell(client, &refusal).await;
            }
        }
        Err(_) => candidate.refuse("the client did not begin a session in time"),
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
        if let Err(refusal) = self.admit(&scope, message.is_replication()) {
            self.refuse(&refusal.message);
            tell(client, &refusal).await;
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
                tell(client, &unrecorded(&error)).await;
                return None;
            }
        };
        if let Err(source) = server.write_all(&message.packet).await {
            let address = self.origin.destination;
            self.unreachable(client, &DialError::Connect { address, source })
                .await;
            return None;
        }
        let _ = server.flush().await;
        let judge = SessionJudge::new(Parts {
            guard: Arc::clone(&self.proxy.guard),
            journal: Arc::clone(&self.proxy.journal),
            scope,
            bound: self.resolved.identity.clone(),
            live,
            modes_uncertain: message.sets_backslash_mode(),
            replication: message.is_replication(),
        });
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
        ))
    }

    fn admit(&self, scope: &Arc<Scope>, replication: bool) -> Result<(), Refusal> {
        let admission = self.proxy.guard.admit(scope);
        if !admission.decision.permits() {
            let identified = self.resolved.identity.is_some();
            return Err(admission_refusal(&admission.decision, identified));
        }
        if replication {
            let verdict = self.proxy.guard.decide_opaque(
                scope,
                Kind::Replication,
                "replication session".into(),
            );
            if let Some(refusal) = &verdict.refusal {
                return Err(refusal.clone());
            }
        }
        Ok(())
    }

    /// Sends a cancellation on; the key in it decides what it reaches.
    async fn cancel(&self, mut client: Leg, packet: &[u8]) {
        let scope = self.scope(self.target());
        if let Err(refusal) = self.admit(&scope, false) {
            self.refuse(&refusal.message);
            return;
        }
        match self.dial().await {
            Ok(mut server) => {
                let sent = async {
                    server.write_all(packet).await?;
                    server.flush().await?;
                    // The server closes once the cancellation is on its way: clients wait for that.
                    tokio::io::copy(&mut server, &mut tokio::io::sink()).await
                };
                if !matches!(timeout(STARTUP_LIMIT, sent).await, Ok(Ok(_))) {
                    tracing::warn!(destination = %self.origin.destination, "a cancellation was not taken");
                }
            }
            Err(error) => tracing::warn!(%error, "cannot send a cancellation on"),
        }
        // With TLS a bare end of the stream could be anyone's doing: clients take it for a failure.
        let _ = timeout(STARTUP_LIMIT, client.shutdown()).await;
    }

    async fn unreachable(&self, client: Leg, error: &DialError) {
        let mut reason = error.to_string();
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            reason = format!("{reason}: {cause}");
            source = cause.source();
        }
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
        tell(client, &refusal).await;
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

/// Sends a FATAL error and closes.
async fn tell(mut client: Leg, refusal: &Refusal) {
    let frame = backend::error_response("FATAL", refusal);
    let told = async {
        client.write_all(&frame).await?;
        client.flush().await?;
        client.shutdown().await
    };
    if timeout(TELL_LIMIT, told).await.is_err() {
        tracing::debug!("a refused client does not read");
    }
}

/// `authentication_timeout`'s default.
const STARTUP_LIMIT: Duration = Duration::from_secs(60);
const TELL_LIMIT: Duration = Duration::from_secs(5);
