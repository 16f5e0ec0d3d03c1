//! The control socket: how commands of this host ask the agent, and prove who asks.
//!
//! One JSON document per line and direction. The socket is open to everyone; each request is judged by the process
//! at the other end, which the kernel names. What lies outside of identity is delegated to [`Parts`].

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use serde_json::Value;

use crate::{
    audit::record::Event,
    capture::Origin,
    holds::Holds,
    identity::{Bound, events::Whom},
    sessions::{EndError, EndOrder},
};

pub mod client;
pub mod protocol;
pub mod server;

mod approvals;
mod detached;
mod events;
mod logins;
pub(crate) mod peer;
mod requests;
mod sessions;

pub use crate::net::socket::{BindError, Listener};
pub use client::{Client, ClientError, socket_path};
pub use server::serve;

/// The rest of the agent, as far as requests reach it. Its methods must not wait.
pub trait Parts: Send + Sync {
    /// What `weir status` shows.
    fn status(&self) -> Value;

    /// Where the journal, the store and keys are.
    fn state_dir(&self) -> PathBuf;

    /// What the kernel knows of the socket with this local address.
    fn socket_origin(&self, client: SocketAddr) -> Option<Origin>;

    /// Begins an orderly stop.
    fn stop(&self);

    /// Records that a binding began or ended.
    fn record(&self, event: Event);

    /// Ends all sessions whose identity [rests on](Bound::rests_on) this binding, at once.
    fn end_sessions(&self, bound: &Bound);

    /// Ends the visits of somebody's browsers, wherever they are.
    fn log_out(&self, whom: &Whom) {
        let _ = whom;
    }

    /// Ends the sessions whose log-in has expired and was not renewed in time; called every second.
    fn end_lapsed_sessions(&self) {}

    /// What waits for approvals; `None` where nothing can.
    fn holds(&self) -> Option<&Arc<Holds>> {
        None
    }

    /// Ends one session as an administrator orders it, and records that.
    ///
    /// # Errors
    ///
    /// [`EndError`] when there is no such session, or the journal could not take the record.
    fn end_session(&self, order: EndOrder) -> Result<(), EndError>;

    /// Answers a request that this module does not know; `None` when nobody does.
    fn other(&self, request: &Value, asking: &Asking) -> Option<Result<Value, String>> {
        let _ = (request, asking);
        None
    }
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asking {
    /// The process.
    pub pid: u32,
    /// Its effective user id.
    pub uid: u32,
    /// Whether it is in an agent's run, whatever its user id.
    pub in_agent_run: bool,
}

impl Asking {
    /// Whether it may see and end what is not its own.
    #[must_use]
    pub fn is_administrator(&self) -> bool {
        self.uid == 0 && !self.in_agent_run
    }
}
