//! The network namespaces of this host: sockets are listed in each by itself.

use std::{
    collections::HashMap,
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt,
    thread,
};

use nix::sched::{CloneFlags, setns};

use super::{CaptureError, listeners::namespace_cookie, sock_diag::Channel};

/// A namespace as seen through a channel that was opened inside.
#[derive(Debug)]
pub(super) struct Namespace {
    pub(super) cookie: u64,
    pub(super) sockets: Channel,
}

/// Opens a channel into every network namespace that a process is in.
pub(super) fn all() -> Result<Vec<Namespace>, CaptureError> {
    let handles = handles();
    // A thread of its own: it moves from namespace to namespace and must not come back.
    thread::scope(|threads| {
        let visit = || {
            handles
                .iter()
                .filter_map(|handle| enter(handle).transpose())
                .collect()
        };
        threads.spawn(visit).join().unwrap_or_else(|_| {
            let source = io::Error::other("the visiting thread panicked");
            Err(failed(source))
        })
    })
}

/// Moves this thread into a namespace; `None` when it may not.
fn enter(handle: &File) -> Result<Option<Namespace>, CaptureError> {
    if let Err(error) = setns(handle, CloneFlags::CLONE_NEWNET) {
        tracing::warn!(%error, "cannot look into a network namespace: its older connections will stall");
        return Ok(None);
    }
    Ok(Some(Namespace {
        cookie: namespace_cookie()?,
        sockets: Channel::open().map_err(failed)?,
    }))
}

/// One open handle for each namespace.
fn handles() -> Vec<File> {
    let mut handles = HashMap::new();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    for process in processes {
        // A process may end at any moment, and most of /proc are none.
        let Ok(handle) = File::open(process.path().join("ns/net")) else {
            continue;
        };
        if let Ok(metadata) = handle.metadata() {
            handles.entry(metadata.ino()).or_insert(handle);
        }
    }
    handles.into_values().collect()
}

fn failed(source: io::Error) -> CaptureError {
    CaptureError::SockDiag {
        action: "look into a network namespace",
        source,
    }
}
