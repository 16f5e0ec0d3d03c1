//! Other processes than the one that connected, writing on a governed connection: noticed where the kernel can.
//!
//! The kernel programs are optional. Where they run, everything a session has read was written by its maker or by a
//! process that [`Writers`] names by then, see [`Writers::stamp`].

use std::{
    os::fd::AsFd,
    sync::{Arc, Mutex},
};

use agent_ebpf::{WRITER_SLOTS, WriterKey};
use aya::{
    Btf, Ebpf,
    maps::{HashMap, MapData, MapError},
    programs::{FEntry, ProgramError, fentry::FEntryLink},
};
use memmap2::{Mmap, MmapOptions};

use super::{CaptureError, Finding, Origin, WatchWriters, attach::hold};

/// Names the processes that wrote on a connection they had not made. Clones share one map.
#[derive(Debug, Clone)]
pub struct Writers {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    map: Mutex<HashMap<MapData, WriterKey, agent_ebpf::Origin>>,
    stamp: Mmap,
}

/// A process that wrote on a connection it had not made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Writer {
    /// This one; destination and cookie are the connection's.
    Known(Box<Origin>),
    /// There were more than the kernel programs tell apart.
    Others,
}

impl Writers {
    pub(super) fn open(
        mut map: HashMap<MapData, WriterKey, agent_ebpf::Origin>,
        stamp: &MapData,
    ) -> Result<Self, CaptureError> {
        // Whoever wrote on an earlier agent's connections: they ended with it.
        let stale: Vec<WriterKey> = map.keys().flatten().collect();
        for key in &stale {
            let _ = map.remove(key);
        }
        let failed = |source| CaptureError::Stamp { source };
        // SAFETY: the map is an array of one word that lives as long as the mapping, and is only read by `stamp`.
        let stamp = unsafe { MmapOptions::new().len(STAMP_BYTES).map(&stamp.fd().as_fd()) };
        Ok(Self {
            shared: Arc::new(Shared {
                map: Mutex::new(map),
                stamp: stamp.map_err(failed)?,
            }),
        })
    }

    /// Changes before the bytes of a new foreign writer can be read from its connection. Takes no system call.
    #[must_use]
    #[expect(clippy::cast_ptr_alignment, reason = "a mapping is aligned to a page")]
    pub fn stamp(&self) -> u64 {
        let word = self.shared.stamp.as_ptr().cast::<u64>();
        // SAFETY: the mapping is a page long and aligned to one. The kernel writes whole words.
        unsafe { word.read_volatile() }
    }

    /// Takes the foreign writers of a connection, by its [`Origin::socket_cookie`]; one that writes again is noted again.
    ///
    /// # Errors
    ///
    /// [`CaptureError::Map`] when the kernel does not answer.
    pub fn take(&self, socket_cookie: u64) -> Result<Vec<Writer>, CaptureError> {
        let failed = "read who wrote on a connection";
        let mut map = hold(&self.shared.map);
        let mut found = Vec::new();
        // A slot is filled once, and again only after it was taken; those behind it may be filled while it is empty.
        for slot in 0..=WRITER_SLOTS {
            let key = key(socket_cookie, slot);
            match map.get(&key, 0) {
                Ok(_) if slot == WRITER_SLOTS => found.push(Writer::Others),
                Ok(record) => found.push(Writer::Known(Box::new(record.into()))),
                Err(MapError::KeyNotFound) => continue,
                Err(error) => return Err(CaptureError::map(failed)(error)),
            }
            map.remove(&key).map_err(CaptureError::map(failed))?;
        }
        Ok(found)
    }

    /// Forgets the writers of connections that became no session: those noted before `before_ns` (boot clock), unless
    /// `is_live` knows the connection.
    pub fn sweep(&self, before_ns: u64, is_live: impl Fn(u64) -> bool) {
        let mut map = hold(&self.shared.map);
        let stale: Vec<WriterKey> = map
            .iter()
            .flatten()
            .filter(|(key, writer)| {
                writer.connected_at_ns < before_ns && !is_live(key.socket_cookie)
            })
            .map(|(key, _)| key)
            .collect();
        for key in &stale {
            let _ = map.remove(key);
        }
    }
}

fn key(socket_cookie: u64, slot: u32) -> WriterKey {
    WriterKey {
        socket_cookie,
        slot,
        reserved: 0,
    }
}

const STAMP_BYTES: usize = 8;

/// Whether foreign writers are noticed.
pub(super) enum Watch {
    /// As long as these live.
    On(Vec<FEntryLink>),
    /// The operator does not want it.
    Off,
    /// The kernel does not do it, and why.
    Absent(String),
}

impl Watch {
    /// Attaches the programs, where the operator wants it and the kernel can.
    pub(super) fn start(programs: &mut Ebpf, wanted: WatchWriters) -> Self {
        if wanted == WatchWriters::Off {
            return Self::Off;
        }
        match attach(programs) {
            Ok(links) => Self::On(links),
            Err(why) => Self::Absent(why),
        }
    }

    pub(super) fn is_on(&self) -> bool {
        matches!(self, Self::On(_))
    }

    /// What there is to say of it.
    pub(super) fn finding(&self) -> Finding {
        let found = match self {
            Self::On(links) => Ok(format!("on, {} programs", links.len())),
            Self::Off => Err("turned off: [capture] watch_writers".to_owned()),
            Self::Absent(why) => Err(why.clone()),
        };
        Finding::optional(NAME, found, REMEDY)
    }
}

fn attach(programs: &mut Ebpf) -> Result<Vec<FEntryLink>, String> {
    let btf = Btf::from_sys_fs().map_err(|error| chain(&error))?;
    let mut links = Vec::with_capacity(HOOKS.len());
    for (name, function, needed) in HOOKS {
        match attach_one(programs, name, function, &btf) {
            Ok(link) => links.push(link),
            Err(ProgramError::Btf(_)) if !needed => {}
            Err(error) => return Err(format!("{function}: {}", chain(&error))),
        }
    }
    Ok(links)
}

fn attach_one(
    programs: &mut Ebpf,
    name: &str,
    function: &str,
    btf: &Btf,
) -> Result<FEntryLink, ProgramError> {
    let program = programs
        .program_mut(name)
        .ok_or(ProgramError::UnexpectedProgramType)?;
    let program: &mut FEntry = program.try_into()?;
    program.load(function, btf)?;
    let link = program.attach()?;
    program.take_link(link)
}

/// The programs, the kernel functions they stand before, and whether every kernel that can has them.
const HOOKS: [(&str, &str, bool); 2] = [
    ("writes", "tcp_sendmsg", true),
    ("page_writes", "tcp_sendpage", false),
];

/// As `weir doctor` and `weir status` call it.
const NAME: &str = "writers";
const REMEDY: &str = "a connection counts as its maker's, whoever writes on it; Linux 5.11 or later that lets programs trace functions tells them apart";

/// What went wrong, without the verifier's log: it is long, and for developers.
fn chain(error: &dyn std::error::Error) -> String {
    let text = error.to_string();
    if let Some((said, _)) = text.split_once(". Verifier output") {
        return said.to_owned();
    }
    error
        .source()
        .map_or(text.clone(), |cause| format!("{text}: {cause}"))
}

/// Whether this kernel would do it; nothing stays.
pub(super) fn probe() -> Finding {
    let found = aya::EbpfLoader::new()
        .load(super::programs::OBJECT)
        .map_err(|error| chain(&error))
        .and_then(|mut programs| attach(&mut programs))
        .map(|links| format!("the kernel has it, {} programs", links.len()));
    Finding::optional(NAME, found, REMEDY)
}
