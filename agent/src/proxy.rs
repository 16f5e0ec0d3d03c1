//! From an accepted socket to the end of its session: origin, identity, startup, decision, relay.

pub mod deadlines;
pub mod dial;
pub mod endpoint;
pub mod listener;
pub mod mode;
mod opaque;
mod postgres;
mod senders;

use std::{collections::HashMap, net::SocketAddr, sync::Arc, time::Duration};

use tokio::net::TcpStream;
use weir_policy::{Budget, Identity, Process, Target};

use crate::{
    audit::{Journal, JournalError, NewSession, record::Event},
    capture::{Marker, Origin, Origins, Writers},
    catalog::Catalogs,
    guard::{self, Guard, Scope, Who},
    holds::Holds,
    identity::{Absence, Bound, Evidence, Identities, Key, Resolved},
    logins::Logins,
    net::Leg,
    sessions::{Registration, Sessions},
    tls::Authority,
};

use dial::DialError;

pub use deadlines::Deadlines;
pub use endpoint::{Endpoint, Engine};

/// What every connection needs; built once.
pub struct Proxy {
    /// What the kernel knows of accepted sockets.
    pub origins: Origins,
    /// Makes our own sockets known to the kernel.
    pub marker: Marker,
    /// Who else writes on connections; `None` where the kernel does not tell.
    pub writers: Option<Writers>,
    /// Who is behind a process.
    pub identities: Arc<Identities>,
    /// Decides.
    pub guard: Arc<Guard>,
    /// What waits for an approval.
    pub holds: Arc<Holds>,
    /// What databases hold.
    pub catalogs: Arc<Catalogs>,
    /// What log-ins need that clients do not bring.
    pub logins: Arc<Logins>,
    /// Records.
    pub journal: Arc<Journal>,
    /// What is live.
    pub sessions: Arc<Sessions>,
    /// By the id that the kernel reports.
    pub endpoints: HashMap<u32, Arc<Endpoint>>,
    /// Signs leaves for clients.
    pub authority: Arc<Authority>,
    /// What must not take for ever.
    pub deadlines: Arc<Deadlines>,
    /// Our own listeners' port: never a server's.
    pub port: u16,
}

impl Proxy {
    /// Serves one accepted connection to its end.
    pub(crate) async fn serve(self: Arc<Self>, client: TcpStream, place: listener::Place) {
        let origin = match self.origins.of(std::os::fd::AsFd::as_fd(&client)) {
            Ok(Some(origin)) => origin,
            // Somebody dialled the listener, or the kernel could not tell: close, never guess.
            Ok(None) => {
                self.sessions.count_unattributed();
                reset(client);
                return;
            }
            Err(error) => {
                tracing::error!(%error, "cannot learn where a connection was meant to go");
                reset(client);
                return;
            }
        };
        let Some(endpoint) = self.endpoints.get(&origin.endpoint).cloned() else {
            tracing::error!(
                endpoint = origin.endpoint,
                "the kernel names an endpoint that is not configured"
            );
            reset(client);
            return;
        };
        if self.is_own_listener(origin.destination) {
            self.refuse(&origin, None, "the destination is weir's own listener");
            reset(client);
            return;
        }
        let Ok(address) = client.peer_addr() else {
            // It has gone already.
            return;
        };
        let _ = client.set_nodelay(true);
        let resolved = self.identities.resolve(&origin);
        let candidate = Candidate {
            proxy: self,
            address,
            origin,
            endpoint,
            resolved,
        };
        match candidate.endpoint.engine {
            Engine::Postgres => postgres::serve(candidate, client, place).await,
            Engine::Mysql => opaque::serve(candidate, client, place).await,
        }
    }

    /// Every endpoint, by name.
    #[must_use]
    pub fn endpoint_summaries(&self) -> Vec<endpoint::Summary> {
        let summary = |it: &Arc<Endpoint>| it.summary(self.logins.problem(&it.name));
        let mut summaries: Vec<_> = self.endpoints.values().map(summary).collect();
        summaries.sort_by(|a, b| a.name.cmp(&b.name));
        summaries
    }

    fn is_own_listener(&self, destination: SocketAddr) -> bool {
        destination.port() == self.port && destination.ip().is_loopback()
    }

    /// Records a connection that never became a session.
    fn refuse(&self, origin: &Origin, evidence: Option<&Evidence>, reason: &str) {
        self.sessions.count_refused();
        let event = Event::ConnectionRefused {
            origin: Some(origin.clone()),
            evidence: evidence.cloned(),
            reason: reason.to_owned(),
        };
        if let Err(error) = self.journal.event(&event) {
            tracing::error!(%error, reason, "cannot record a refused connection");
        }
    }
}

/// A connection on its way to a session.
struct Candidate {
    proxy: Arc<Proxy>,
    /// The client's end.
    address: SocketAddr,
    origin: Origin,
    endpoint: Arc<Endpoint>,
    resolved: Resolved,
}

impl Candidate {
    /// What is spoken to, as far as the endpoint says it.
    fn target(&self) -> Target {
        Target {
            endpoint: self.endpoint.name.clone(),
            environment: self.endpoint.environment.clone(),
            engine: self.endpoint.engine.name().to_owned(),
            ..Target::default()
        }
    }

    /// Why the process may not connect, whatever is allowed to the unidentified.
    fn bar(&self) -> Option<&Absence> {
        self.resolved.bar().filter(|_| self.proxy.guard.enforces())
    }

    fn identity(&self) -> Option<Identity> {
        let bound = self.resolved.identity.as_ref();
        bound.map(|bound| bound.identity.clone())
    }

    fn scope(&self, target: Target) -> Arc<Scope> {
        let evidence = &self.resolved.evidence;
        self.proxy.guard.scope(Who {
            identity: self.identity(),
            process: Process::from(&**evidence),
            target,
            budgets: run_budgets(self.resolved.identity.as_ref()),
        })
    }

    async fn dial(&self) -> Result<Leg, DialError> {
        dial::dial(
            &self.proxy.deadlines,
            &self.proxy.marker,
            &self.endpoint,
            self.origin.destination,
        )
        .await
    }

    /// Records a session whose statements are read, and registers it.
    fn record(
        &self,
        target: Target,
        application_name: Option<String>,
    ) -> Result<Registration, JournalError> {
        self.register(self.new_session(target, application_name))
    }

    /// Records a session that is relayed without being read, and registers it.
    fn record_unread(&self, target: Target) -> Result<Registration, JournalError> {
        self.register(NewSession {
            unread: true,
            ..self.new_session(target, None)
        })
    }

    fn new_session(&self, target: Target, application_name: Option<String>) -> NewSession {
        NewSession {
            origin: self.origin.clone(),
            evidence: (*self.resolved.evidence).clone(),
            identity: self.identity(),
            proof: self.resolved.identity.as_ref().map(|bound| bound.proof()),
            target,
            application_name,
            unread: false,
        }
    }

    fn register(&self, new: NewSession) -> Result<Registration, JournalError> {
        let session = self.proxy.journal.session(new)?;
        let bound = self.resolved.identity.clone();
        Ok(self.proxy.sessions.register(session, bound, self.address))
    }

    /// Records the end of a session that never got to its loop.
    fn close_record(&self, live: &Registration, reason: &str) {
        let journal = &self.proxy.journal;
        if let Err(error) = journal.session_closed(&live.session, reason, 0, 0, 0) {
            tracing::error!(%error, "cannot record a session's end");
        }
    }

    fn refuse(&self, reason: &str) {
        self.proxy
            .refuse(&self.origin, Some(&self.resolved.evidence), reason);
    }
}

/// Of an agent's run, and of those that it was started from.
fn run_budgets(bound: Option<&Arc<Bound>>) -> Vec<Budget> {
    let mut budgets = Vec::new();
    let mut run = bound;
    while let Some(bound) = run {
        if let (Some(budget), Key::Cgroup { path, .. }) = (&bound.budget, &bound.key) {
            let id = path.rsplit('/').next().unwrap_or(path);
            budgets.push(guard::run_budget(id, budget.rows, budget.bytes));
        }
        run = bound.parent.as_ref();
    }
    budgets
}

/// Closes with RST: the peer sees at once that nothing is there.
fn reset(stream: TcpStream) {
    let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
    drop(stream);
}
