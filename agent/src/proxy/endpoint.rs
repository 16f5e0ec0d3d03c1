//! A governed database endpoint, as the proxy needs it.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use serde::{Deserialize, Serialize};

use super::mode::Mode;
use crate::tls::{Authority, Presented, ServerPair, ServerTls};

/// Which protocol the endpoint speaks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// PostgreSQL's.
    #[default]
    Postgres,
    /// MySQL's; relayed unread for now, with connection rules and records only.
    Mysql,
}

impl Engine {
    /// As rules and records say it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Mysql => "mysql",
        }
    }
}

/// Whether clients may speak TLS on their leg, which never leaves the host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientTls {
    /// Requests for TLS are answered with no.
    #[default]
    Off,
    /// They are answered with a leaf of the local CA.
    On,
}

/// One governed endpoint.
#[derive(Debug)]
pub struct Endpoint {
    /// The operator's name for it.
    pub name: String,
    /// What it speaks.
    pub engine: Engine,
    /// `production`, `staging`, …
    pub environment: String,
    /// How its servers are spoken to; `None` is in clear.
    pub server_tls: Option<ServerTls>,
    /// How its clients may speak.
    pub client_tls: ClientTls,
    /// How log-ins pass.
    pub mode: Mode,
    /// Why in this way.
    pub mode_reason: &'static str,
    /// The server's own certificate, where clients are shown it.
    pub server_pair: Option<Arc<ServerPair>>,
    /// The operator's names of its hosts.
    pub hosts: Vec<String>,
    /// Names behind addresses, as last resolved: a certificate is checked against the name.
    pub names: RwLock<HashMap<IpAddr, String>>,
    /// What happened.
    pub counts: Counts,
}

/// What happened to connections of an endpoint before any statement.
#[derive(Debug, Default)]
pub struct Counts {
    /// Clients that asked for TLS, were told that there is none, and left.
    pub insisted_on_tls: AtomicU64,
    /// Connections that were relayed unread.
    pub not_inspected: AtomicU64,
}

/// One endpoint, for people and scripts to read.
#[derive(Debug, Serialize)]
pub struct Summary {
    /// The operator's name for it.
    pub name: String,
    /// What it speaks.
    pub engine: &'static str,
    /// How log-ins pass.
    pub mode: &'static str,
    /// Why in this way.
    pub reason: &'static str,
    /// What it means for clients.
    pub meaning: &'static str,
    /// Whether its servers are spoken to over TLS.
    pub server_tls: bool,
    /// Whether its clients may speak TLS to weir.
    pub client_tls: bool,
    /// See [`Counts`].
    pub insisted_on_tls: u64,
    /// See [`Counts`].
    pub not_inspected: u64,
    /// Why the last log-in that needed the agent's help did not get it.
    pub problem: Option<String>,
}

impl Endpoint {
    /// What clients are shown when they speak TLS to weir.
    #[must_use]
    pub fn presented(&self, authority: &Arc<Authority>) -> Presented {
        match &self.server_pair {
            Some(pair) => Presented::Server(Arc::clone(pair)),
            None => Presented::Leaf {
                authority: Arc::clone(authority),
                names: self.hosts.clone(),
            },
        }
    }

    /// As it is now.
    #[must_use]
    pub fn summary(&self, problem: Option<String>) -> Summary {
        Summary {
            name: self.name.clone(),
            engine: self.engine.name(),
            mode: match self.engine {
                Engine::Postgres => self.mode.name(),
                Engine::Mysql => Mode::Opaque.name(),
            },
            reason: match self.engine {
                Engine::Postgres => self.mode_reason,
                Engine::Mysql => "this protocol is not read yet",
            },
            meaning: match self.engine {
                Engine::Postgres => self.mode.meaning(),
                Engine::Mysql => Mode::Opaque.meaning(),
            },
            server_tls: self.server_tls.is_some(),
            client_tls: self.client_tls == ClientTls::On,
            insisted_on_tls: self.counts.insisted_on_tls.load(Ordering::Relaxed),
            not_inspected: self.counts.not_inspected.load(Ordering::Relaxed),
            problem,
        }
    }

    /// The name that a server's certificate must hold.
    #[must_use]
    pub fn server_name(&self, address: IpAddr) -> String {
        let names = self
            .names
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        names
            .get(&address)
            .cloned()
            .unwrap_or_else(|| address.to_string())
    }
}
