//! From a process to a person or service that the identity provider vouches for.
//!
//! [`Identities`] is the door: `resolve` turns what the kernel knows of a socket into [`Evidence`] and, where a
//! login, a workload entry or an agent's run binds the process, a [`Bound`] identity whose state a session re-reads
//! per statement. Tokens are verified here and nowhere else; they are never kept, logged or recorded, only their
//! SHA-256 is. Who may ask for a binding is [`crate::control`]'s business.

pub mod account;
pub mod agents;
pub mod bound;
pub mod cgroups;
pub mod development;
pub mod directory;
pub mod events;
pub mod evidence;
pub mod examine;
pub mod fetch;
pub(crate) mod http;
pub mod issuers;
pub mod jwks;
mod kept;
pub mod login;
pub mod oauth_client;
pub mod oidc;
pub mod process;
mod renewal;
pub mod secret;
pub mod settings;
#[cfg(feature = "spiffe")]
mod spiffe;
pub mod token;
pub mod workload;

pub use agents::{Delegated, DelegationError};
pub use bound::{Bound, Delegation, Key, Proof, RunBudget, State};
pub use directory::{
    Absence, BindError, Change, Identities, NewBinding, OpenError, Resolved, Said, Tried,
};
pub use evidence::Evidence;
pub use secret::Secret;
pub use settings::{
    AiAgentSettings, ClientSettings, IssuerSettings, PodSettings, ProjectedSettings, Settings,
    WorkloadSettings,
};
pub use token::{TokenError, Verified};
