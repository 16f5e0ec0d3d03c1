//! The web page and its API: what runs, who uses which data, what waits, whether the record holds.
//!
//! Served on a unix socket of this host, where the kernel names who asks, and where configured by TLS with log-in at the
//! provider. [`routes`] is the table that the router and the test of roles are made from; who may have what is decided
//! there and nowhere else. Pages work without scripts; the scripts that there are keep the map live. Nothing here waits on
//! the threads that statements pass through, and nothing of a literal or a value is known here.

mod access;
mod assets;
mod error;
mod limits;
mod live;
mod login;
mod page;
mod questions;
mod request;
pub mod routes;
mod server;
pub mod settings;
mod visits;

use std::{path::PathBuf, sync::Arc};

use crate::{
    audit::{Journal, export::SinkStatus},
    capture::{Counters, Finding},
    holds::Holds,
    identity::Identities,
    policy::Policy,
    sessions::Sessions,
    webhooks::HookStatus,
};

pub use access::{Need, Role};
pub use server::{Admin, StartError, WebHandle, unusable_files};
pub use settings::{AdminSettings, AdminSettingsError};

/// The parts of the agent that pages show.
#[derive(Clone)]
pub struct Reach {
    /// What is open.
    pub sessions: Arc<Sessions>,
    /// What decides.
    pub policy: Arc<Policy>,
    /// What waits for approvals.
    pub holds: Arc<Holds>,
    /// What records.
    pub journal: Arc<Journal>,
    /// Who is who.
    pub identities: Arc<Identities>,
    /// Where journal, store and keys are.
    pub state_dir: PathBuf,
    /// How the rest is.
    pub health: Arc<dyn Health>,
}

/// How the parts are that have no door of their own. Its methods must not wait.
pub trait Health: Send + Sync {
    /// The kernel programs, each in its place or not.
    fn hooks(&self) -> Vec<Finding>;

    /// What the kernel has counted; `None` when it does not say.
    fn counters(&self) -> Option<Counters>;

    /// How far exports have got.
    fn exports(&self) -> Vec<SinkStatus>;
    /// How each webhook is doing.
    fn webhooks(&self) -> Vec<HookStatus>;

    /// Why the policy's folder is not in force as it is.
    fn policy_problem(&self) -> Option<String>;
}
