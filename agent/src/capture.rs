//! The kernel's side of weir, seen from user space: programs, maps, and what they know of a socket.
//!
//! A client's connection to a governed endpoint arrives at the agent's listener; [`Origins`] tells
//! where it wanted to go and which process made it. What that means is for others to say.
//!
//! ```text
//! enter(cgroup)                   the listener's cgroup decides which programs see its sockets
//! listeners(port)                 before anything is redirected to them
//! Capture::attach(..)             from here on connections come
//!   beat() every 250 ms           or the kernel takes the agent for dead
//!   origins().of(accepted)        for each accepted socket; none: refuse
//!   marker().mark(upstream)       before a connection of the agent's own
//!   events()                      what went around the agent, and why
//!   writers()                     who else writes on a connection, where the kernel tells
//! stop()
//! ```

mod attach;
mod btf;
mod cgroups;
mod cidr;
mod counters;
mod error;
mod events;
mod listeners;
mod namespaces;
mod observe;
mod older;
pub mod origins;
mod pins;
mod probe;
mod programs;
mod rules;
mod settings;
mod sock_diag;
mod sys;
mod writers;

pub use agent_ebpf::ABI;
pub use attach::{Capture, Takeover};
pub use btf::BtfError;
pub use cgroups::{cgroup_path, cgroup2_mount, enter};
pub use cidr::{Cidr, CidrError};
pub use counters::Counters;
pub use error::CaptureError;
pub use events::{EventSource, EventStream, Ungoverned, UngovernedConnection};
pub use listeners::{ListenerPorts, listeners};
pub use observe::Unattended;
pub use older::{Fate, Older};
pub use origins::{Marker, Origin, Origins};
pub use pins::{Provisional, unload};
pub use probe::{Finding, probe};
pub use rules::EndpointRule;
pub use settings::{Existing, OnAgentDown, OnStop, OtherNamespaces, Settings, WatchWriters};
pub use writers::{Writer, Writers};
