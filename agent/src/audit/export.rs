//! What was recorded, sent elsewhere: read from the journal behind the statements, at least once, with a cursor for each sink.
//!
//! A sink that is down or slow holds up nobody: its thread waits, the journal keeps what it has not confirmed, and the next
//! agent goes on where this one stopped.

mod cursor;
mod integrity;
mod messages;
mod ocsf;
mod operation;
mod otlp;
mod sender;
mod settings;
mod syslog;
mod tape;
mod work;

use std::{
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
};

use serde::Serialize;
use serde_json::Value;
use tokio::sync::watch;

use self::{cursor::Cursor, sender::Sender, work::Work};
use super::{journal::Journal, record::Event};
use crate::net;

pub use cursor::CursorError;
pub use sender::SendError;
pub use settings::{ExportSettings, ExportSettingsError, Form};

/// Why exports do not begin.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// A sink cannot be set up.
    #[error("export {name:?}")]
    Settings {
        /// Which.
        name: String,
        /// Why.
        #[source]
        source: ExportSettingsError,
    },
    /// How far a sink has got is not known.
    #[error("export {name:?}")]
    Cursor {
        /// Which.
        name: String,
        /// Why.
        #[source]
        source: CursorError,
    },
    /// Its thread.
    #[error("cannot start a thread for an export")]
    Start(#[source] std::io::Error),
}

/// How a sink is doing, for `weir status`.
#[derive(Debug, Clone, Serialize)]
pub struct SinkStatus {
    /// Its name.
    pub name: String,
    /// What it is sent.
    pub form: Form,
    /// Where to.
    pub to: String,
    /// The last record that it confirmed.
    pub confirmed_seq: u64,
    /// Records that it has not confirmed.
    pub lag: u64,
    /// Records that it will never take; they are in the journal.
    pub refused: u64,
    /// Why it gets nothing at the moment.
    pub problem: Option<String>,
}

/// What the thread of a sink shows of itself.
#[derive(Debug)]
struct Sink {
    settings: ExportSettings,
    confirmed: AtomicU64,
    refused: AtomicU64,
    problem: Mutex<Option<String>>,
}

/// All sinks. They stop when this is dropped.
#[derive(Debug)]
pub struct Exports {
    sinks: Vec<Arc<Sink>>,
    journal: Arc<Journal>,
    stop: watch::Sender<bool>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Exports {
    /// Starts a thread for each sink.
    ///
    /// # Errors
    ///
    /// [`ExportError`]; a sink that is down is none.
    pub fn start(
        settings: &[ExportSettings],
        state_dir: &Path,
        journal: &Arc<Journal>,
    ) -> Result<Self, ExportError> {
        let exports = Self {
            sinks: Vec::new(),
            journal: Arc::clone(journal),
            stop: watch::Sender::new(false),
            threads: Mutex::default(),
        };
        settings.iter().try_fold(exports, |exports, settings| {
            exports.with(settings, state_dir)
        })
    }

    fn with(mut self, settings: &ExportSettings, state_dir: &Path) -> Result<Self, ExportError> {
        let name = || settings.name.clone();
        let sender = Sender::new(settings).map_err(|source| ExportError::Settings {
            name: name(),
            source,
        })?;
        let mut cursor =
            Cursor::open(state_dir, &self.journal, &settings.name).map_err(|source| {
                ExportError::Cursor {
                    name: name(),
                    source,
                }
            })?;
        if let Some(what) = cursor.take_incident() {
            tracing::error!(export = settings.name, "{what}");
            if let Err(error) = self.journal.event(&Event::Incident { what }) {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "cannot record what was wrong with an export's cursor"
                );
            }
        }
        let sink = Arc::new(Sink {
            settings: settings.clone(),
            confirmed: AtomicU64::new(cursor.place().position.seq.saturating_sub(1)),
            refused: AtomicU64::new(cursor.place().refused),
            problem: Mutex::default(),
        });
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(ExportError::Start)?;
        let host = Host {
            name: net::host_name(),
            journal: cursor.journal().to_owned(),
        };
        let stop = self.stop.subscribe();
        let work = Work::new(Arc::clone(&sink), &self.journal, host, cursor, sender, stop);
        let thread = std::thread::Builder::new()
            .name("weir-export".to_owned())
            .spawn(move || runtime.block_on(work.run()))
            .map_err(ExportError::Start)?;
        self.threads
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .push(thread);
        self.sinks.push(sink);
        Ok(self)
    }

    /// The last record that every sink has confirmed; the last of all without sinks.
    #[must_use]
    pub fn confirmed(&self) -> u64 {
        self.sinks
            .iter()
            .map(|sink| sink.confirmed.load(Ordering::Acquire))
            .min()
            .unwrap_or(u64::MAX)
    }

    /// How each sink is doing.
    #[must_use]
    pub fn status(&self) -> Vec<SinkStatus> {
        let seq = self.journal.health().seq;
        let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        self.sinks
            .iter()
            .zip(threads.iter())
            .map(|(sink, thread)| {
                // They run until all of this is dropped.
                let ended = thread.is_finished().then(|| ENDED.to_owned());
                let confirmed_seq = sink.confirmed.load(Ordering::Acquire);
                SinkStatus {
                    name: sink.settings.name.clone(),
                    form: sink.settings.form,
                    to: sink.settings.to.clone(),
                    confirmed_seq,
                    lag: seq.saturating_sub(confirmed_seq),
                    refused: sink.refused.load(Ordering::Acquire),
                    problem: ended.or_else(|| sink.problem().clone()),
                }
            })
            .collect()
    }
}

/// What is wrong with an export without a thread.
const ENDED: &str = "its thread has ended, which is a fault in weir: it goes on where it was at the agent's next start";

impl Drop for Exports {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        let threads = std::mem::take(
            self.threads
                .get_mut()
                .unwrap_or_else(PoisonError::into_inner),
        );
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("an export's thread panicked");
            }
        }
    }
}

impl Sink {
    fn problem(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where records come from.
#[derive(Debug, Clone)]
struct Host {
    name: String,
    /// The journal's id, hex.
    journal: String,
}

/// An event as JSON; what it says of a token stays here, fingerprints too.
fn plain(event: &Event) -> Value {
    let mut body = serde_json::to_value(event).unwrap_or_default();
    forget_tokens(&mut body);
    body
}

fn forget_tokens(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, _| !name.contains("token") && !name.contains("fingerprint"));
            fields.values_mut().for_each(forget_tokens);
        }
        Value::Array(values) => values.iter_mut().for_each(forget_tokens),
        _ => {}
    }
}

#[cfg(test)]
mod tests;
