//! Why the kernel's side could not be set up or asked.

use std::{io, path::PathBuf};

use aya::{EbpfError, maps::MapError, programs::ProgramError};

use super::btf::BtfError;

/// Why the kernel's side could not be set up or asked.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The cgroup to capture cannot be opened or entered.
    #[error("cannot use the cgroup {path}")]
    Cgroup {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There is no cgroup2 mount.
    #[error("no cgroup2 file system is mounted")]
    NoCgroup2,
    /// The pin folder cannot be made or read.
    #[error("cannot use the pin folder {path}")]
    PinFolder {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The pin folder is elsewhere.
    #[error("the pin folder {path} is not on a bpf file system")]
    NotBpffs {
        /// Which.
        path: PathBuf,
    },
    /// Another agent holds the pin folder.
    #[error("another agent is using the pin folder {path}")]
    Busy {
        /// Which.
        path: PathBuf,
    },
    /// A map that an earlier agent left has another shape.
    #[error(
        "the pinned map {map} has {found}, this agent needs {wanted}; `weir unload` removes it"
    )]
    MapShape {
        /// Which.
        map: &'static str,
        /// Type, key bytes, value bytes and entries that are there.
        found: String,
        /// Type, key bytes, value bytes and entries that are needed.
        wanted: String,
    },
    /// The word that tells of foreign writers cannot be mapped.
    #[error("cannot map the kernel's word on foreign writers")]
    Stamp {
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The kernel's type information is missing or unreadable.
    #[error("cannot read the kernel's type information")]
    Btf(#[from] BtfError),
    /// The programs' object file is not accepted.
    #[error("cannot load the kernel programs")]
    Load(#[source] Box<EbpfError>),
    /// The kernel refuses a program.
    #[error("the kernel refuses the program {name}")]
    Program {
        /// Which.
        name: &'static str,
        /// Why.
        #[source]
        source: Box<ProgramError>,
    },
    /// A program cannot be attached, replaced or pinned.
    #[error("cannot {action} the program {name}")]
    Link {
        /// What was attempted.
        action: &'static str,
        /// With which program.
        name: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A map cannot be read or written.
    #[error("cannot {action}")]
    Map {
        /// What was attempted.
        action: &'static str,
        /// Why.
        #[source]
        source: Box<MapError>,
    },
    /// The rules need more room than the kernel's table has.
    #[error("the rules have {entries} address entries, the kernel's table has room for {room}")]
    TooManyRules {
        /// Needed.
        entries: usize,
        /// There.
        room: usize,
    },
    /// The sockets of this host cannot be listed or closed.
    #[error("cannot {action}")]
    SockDiag {
        /// What was attempted.
        action: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The network namespace's cookie cannot be read.
    #[error("cannot read the network namespace's cookie")]
    NamespaceCookie(#[source] io::Error),
}

impl CaptureError {
    /// Wraps a map's error with what was attempted.
    pub(super) fn map(action: &'static str) -> impl FnOnce(MapError) -> Self {
        move |source| Self::Map {
            action,
            source: Box::new(source),
        }
    }
}
