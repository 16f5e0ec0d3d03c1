//! What has to be undone, however the process ends: return, panic, `SIGINT`, `SIGTERM` or `SIGHUP`.
//!
//! The list is global to the process because a signal is: its handler has no owner to ask.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;

use tokio::signal::unix::{SignalKind, signal};

/// A step that is taken back when this is dropped, or when the process is told to end.
///
/// Actions run one at a time, the latest first. An action must not make or drop another `Undo`.
#[derive(Debug)]
#[must_use = "dropping it undoes the step at once"]
pub struct Undo {
    id: u64,
}

impl Undo {
    /// Registers the action that takes a step back.
    pub fn new(action: impl FnOnce() + Send + 'static) -> Self {
        static WATCH: OnceLock<()> = OnceLock::new();
        WATCH.get_or_init(watch_signals);
        let mut pending = pending();
        let id = pending.keys().next_back().map_or(0, |last| last + 1);
        pending.insert(id, Box::new(action));
        Self { id }
    }

    /// Leaves the step as it is, for good.
    pub fn disarm(self) {
        pending().remove(&self.id);
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        // Waits here while a signal is being handled: the process must not end under the handler's hands.
        let _running = running();
        let action = pending().remove(&self.id);
        if let Some(action) = action {
            action();
        }
    }
}

type Action = Box<dyn FnOnce() + Send>;

static PENDING: Mutex<BTreeMap<u64, Action>> = Mutex::new(BTreeMap::new());
static RUNNING: Mutex<()> = Mutex::new(());

fn pending() -> MutexGuard<'static, BTreeMap<u64, Action>> {
    PENDING.lock().unwrap_or_else(PoisonError::into_inner)
}

fn running() -> MutexGuard<'static, ()> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts the thread that undoes everything and ends the process on the first signal.
fn watch_signals() {
    thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .expect("a runtime needs only an epoll descriptor");
        let number = runtime.block_on(first_signal());
        let _running = undo_all();
        exit(128 + number);
    });
}

async fn first_signal() -> i32 {
    let mut interrupt = signal(SignalKind::interrupt()).expect("SIGINT can be handled");
    let mut terminate = signal(SignalKind::terminate()).expect("SIGTERM can be handled");
    let mut hang_up = signal(SignalKind::hangup()).expect("SIGHUP can be handled");
    tokio::select! {
        _ = interrupt.recv() => libc::SIGINT,
        _ = terminate.recv() => libc::SIGTERM,
        _ = hang_up.recv() => libc::SIGHUP,
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a signal ends the process from outside; everything is undone before"
)]
fn exit(code: i32) -> ! {
    std::process::exit(code)
}

/// Returns the right to run actions: whoever holds it keeps a thread that drops its own `Undo` waiting.
fn undo_all() -> MutexGuard<'static, ()> {
    let running = running();
    loop {
        let last = pending().pop_last();
        let Some((_, action)) = last else { break };
        action();
    }
    running
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn an_action_runs_once_when_dropped() {
        let count = Arc::new(AtomicU32::new(0));
        let seen = Arc::clone(&count);
        let undo = Undo::new(move || {
            seen.fetch_add(1, Ordering::SeqCst);
        });
        assert_eq!(count.load(Ordering::SeqCst), 0);
        drop(undo);
        assert_eq!(count.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_panic_undoes_too() {
        let count = Arc::new(AtomicU32::new(0));
        let seen = Arc::clone(&count);
        let result = thread::spawn(move || {
            let _undo = Undo::new(move || {
                seen.fetch_add(1, Ordering::SeqCst);
            });
            panic!("on purpose");
        })
        .join();
        assert!(result.is_err());
        assert_eq!(count.load(Ordering::SeqCst), 1);
    }
}
