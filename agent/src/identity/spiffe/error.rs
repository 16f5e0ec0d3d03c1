//! Why SPIFFE proves nothing.

use std::{io, path::PathBuf};

use spiffe::{JwtBundleError, JwtSvidError, SpiffeIdError, WorkloadApiError};

use super::{LIMIT, TOKEN_BYTES};

/// Why there is no proof.
#[derive(Debug, thiserror::Error)]
pub enum SpiffeError {
    /// The setting.
    #[error("{socket:?} is not a unix socket's address: unix:///run/spire/sockets/agent.sock")]
    Socket {
        /// As configured.
        socket: String,
    },
    /// The setting.
    #[error("{id:?} is not the SPIFFE ID of a service")]
    Id {
        /// As configured.
        id: String,
        /// Why.
        #[source]
        source: Option<SpiffeIdError>,
    },
    /// The setting.
    #[error("no audience is given")]
    Audience,
    /// The socket's place.
    #[error("cannot look at {path}")]
    Look {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file, a pipe.
    #[error("{path} is not a socket")]
    NotASocket {
        /// Where.
        path: PathBuf,
    },
    /// Somebody else could answer in the trust domain's name.
    #[error("{path} is not root's alone: whoever can replace it could vouch for anybody")]
    NotRoots {
        /// Where.
        path: PathBuf,
    },
    /// Nobody listens, or not in time.
    #[error("SPIFFE did not answer within {LIMIT:?}")]
    TooSlow,
    /// Nobody listens, or the request is refused.
    #[error("the Workload API gives no token")]
    Fetch(#[source] WorkloadApiError),
    /// Nobody listens, or the request is refused.
    #[error("the Workload API gives no keys")]
    Keys(#[source] WorkloadApiError),
    /// Longer than any that is read.
    #[error("the token has {bytes} bytes, more than {TOKEN_BYTES}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// It breaks a rule.
    #[error("the token is refused")]
    Token(#[source] JwtSvidError),
    /// It is somebody else's.
    #[error("the token is for {found}, not for {expected}")]
    OtherId {
        /// The token's.
        found: String,
        /// The entry's.
        expected: String,
    },
    /// Settings of the Broker API without it.
    #[error("workload_socket and server_id are for api = \"broker\" alone")]
    BrokersAlone,
    /// The Broker API's setting.
    #[error(
        "api = \"broker\" needs workload_socket, the Workload API's: weir proves itself to the broker by its own X509-SVID"
    )]
    NoWorkloadSocket,
    /// The Broker API's setting.
    #[error(
        "api = \"broker\" needs server_id, the SPIFFE ID of who serves it, as spiffe://shop.example/spire/agent/*"
    )]
    NoServerId,
    /// The Broker API's setting.
    #[error("server_id = {server_id:?} is not of the trust domain of {id}")]
    ServerDomain {
        /// As configured.
        server_id: String,
        /// The entry's.
        id: String,
    },
    /// weir is not registered.
    #[error("the Workload API gives weir no X509-SVID of its own")]
    Own(#[source] WorkloadApiError),
    /// Neither of weir's ids is of that trust domain, or its authorities are not told.
    #[error("the Workload API gives weir no X509-SVID of {domain}")]
    NoOwn {
        /// The trust domain.
        domain: String,
    },
    /// What the Workload API gave cannot be used.
    #[error("weir's own X509-SVID cannot be used")]
    Tls(#[source] rustls::Error),
    /// Nobody listens, or somebody else.
    #[error("the broker cannot be connected to")]
    Connect(#[source] tonic::transport::Error),
    /// It may not be asked, or knows no such process, or gives that process another id.
    #[error("the broker gives no token for the process")]
    Refused(#[source] Box<tonic::Status>),
    /// An answer without the id that was asked for.
    #[error("the broker gives no token for {id}")]
    NoToken {
        /// The entry's.
        id: String,
    },
    /// Nobody listens, or the request is refused.
    #[error("the broker gives no keys for the process")]
    NoKeys(#[source] Option<Box<tonic::Status>>),
    /// What it gave for the id's trust domain.
    #[error("the broker's keys cannot be used")]
    BadKeys(#[source] JwtBundleError),
    /// The kernel's numbers are positive and small.
    #[error("{pid} is no process's number")]
    Pid {
        /// As seen.
        pid: u32,
    },
}
