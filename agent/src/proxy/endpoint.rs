//! A governed database endpoint, as the proxy needs it.

use std::{collections::HashMap, net::IpAddr, sync::RwLock};

use serde::Deserialize;

use crate::tls::ServerTls;

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
    /// Names behind addresses, as last resolved: a certificate is checked against the name.
    pub names: RwLock<HashMap<IpAddr, String>>,
}

impl Endpoint {
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
