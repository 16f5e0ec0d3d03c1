//! What was recorded, sent elsewhere: read from the journal behind the statements, at least once, with a cursor for each sink.
//!
//! A sink that is down or slow holds up nobody: its thread waits, the journal keeps what it has not confirmed, and the next
//! agent goes on where this one stopped.

mod cursor;
mod ocsf;
mod otlp;
mod sender;
mod settings;
mod syslog;
mod tape;

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use serde::Serialize;
use tokio::sync::watch;

use self::{
    cursor::Cursor,
    sender::Sender,
    tape::{Item, Tape},
};
use super::{journal::Journal, record::Event};
use crate::{net, telemetry};

pub use cursor::CursorError;
pub use sender::SendError;
pub use settings::{ExportSettings, ExportSettingsError, Form};

/// Records sent together.
const BATCH_RECORDS: usize = 1000;
/// How often an idle sink looks for records.
const INTERVAL: Duration = Duration::from_millis(250);
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

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
    /// Why it gets nothing at the moment.
    pub problem: Option<String>,
}

/// What the thread of a sink shows of itself.
#[derive(Debug)]
struct Sink {
    settings: ExportSettings,
    confirmed: AtomicU64,
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
        let folder = self.journal.folder().to_owned();
        let cursor = Cursor::open(state_dir, &folder, &settings.name).map_err(|source| {
            ExportError::Cursor {
                name: name(),
                source,
            }
        })?;
        let sink = Arc::new(Sink {
            settings: settings.clone(),
            confirmed: AtomicU64::new(cursor.position().seq.saturating_sub(1)),
            problem: Mutex::default(),
        });
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(ExportError::Start)?;
        let work = Work {
            sink: Arc::clone(&sink),
            journal: Arc::clone(&self.journal),
            folder,
            cursor,
            sender,
            stop: self.stop.subscribe(),
        };
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
        self.sinks
            .iter()
            .map(|sink| {
                let confirmed_seq = sink.confirmed.load(Ordering::Acquire);
                SinkStatus {
                    name: sink.settings.name.clone(),
                    form: sink.settings.form,
                    to: sink.settings.to.clone(),
                    confirmed_seq,
                    lag: seq.saturating_sub(confirmed_seq),
                    problem: sink.problem().clone(),
                }
            })
            .collect()
    }
}

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

/// What the thread of a sink does.
struct Work {
    sink: Arc<Sink>,
    journal: Arc<Journal>,
    folder: PathBuf,
    cursor: Cursor,
    sender: Sender,
    stop: watch::Receiver<bool>,
}

impl Work {
    async fn run(mut self) {
        let mut tape = Tape::new(&self.folder, self.cursor.position());
        let host = host();
        let mut pause = FIRST_PAUSE;
        while !*self.stop.borrow() {
            match self.step(&mut tape, &host).await {
                Ok(Step::Sent) => {
                    *self.sink.problem() = None;
                    pause = FIRST_PAUSE;
                }
                Ok(Step::Idle) => self.wait(INTERVAL).await,
                Err(problem) => {
                    let text = telemetry::chain(&problem);
                    if self.sink.problem().replace(text.clone()).as_ref() != Some(&text) {
                        tracing::warn!(
                            export = self.sink.settings.name,
                            problem = text,
                            "an export waits"
                        );
                    }
                    // What was read goes again: from the cursor.
                    tape = Tape::new(&self.folder, self.cursor.position());
                    self.wait(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    /// Sends one batch and waits until it is confirmed.
    async fn step(&mut self, tape: &mut Tape, host: &Host) -> Result<Step, WorkError> {
        let items = tape.read(BATCH_RECORDS)?;
        let position = tape.position();
        if position == self.cursor.position() {
            return Ok(Step::Idle);
        }
        let messages = messages(self.sink.settings.form, host, &items);
        if !messages.is_empty() {
            tokio::select! {
                sent = self.sender.send(&messages) => sent?,
                // The next agent sends it again.
                _ = self.stop.wait_for(|stop| *stop) => return Ok(Step::Idle),
            }
        }
        self.cursor.advance(position)?;
        self.sink
            .confirmed
            .store(position.seq.saturating_sub(1), Ordering::Release);
        debug_assert!(
            position.seq <= self.journal.health().seq + 1,
            "nothing is sent before it is recorded"
        );
        Ok(Step::Sent)
    }

    async fn wait(&mut self, time: Duration) {
        // Ends early when the agent stops; that the sender is gone is a stop too.
        let _ = tokio::time::timeout(time, self.stop.wait_for(|stop| *stop)).await;
    }
}

enum Step {
    Sent,
    Idle,
}

#[derive(Debug, thiserror::Error)]
enum WorkError {
    #[error("cannot read the journal")]
    Read(#[from] super::journal::reader::ReadError),
    #[error(transparent)]
    Send(#[from] SendError),
    #[error(transparent)]
    Cursor(#[from] CursorError),
}

/// Where records come from.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    pub(crate) name: String,
}

fn host() -> Host {
    Host {
        name: net::host_name(),
    }
}

/// An event as JSON; what it says of a token stays here, fingerprints too.
pub(crate) fn plain(event: &Event) -> serde_json::Value {
    let mut body = serde_json::to_value(event).unwrap_or_default();
    if let Some(body) = body.as_object_mut() {
        body.retain(|name, _| !name.contains("token") && !name.contains("fingerprint"));
    }
    body
}

/// A batch as a sink takes it.
#[derive(Debug, Default)]
pub(crate) struct Messages {
    /// One for each record, without line breaks.
    pub(crate) lines: Vec<String>,
    /// All of them as one document, for sinks that take documents.
    pub(crate) document: Option<String>,
}

impl Messages {
    fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.document.is_none()
    }

    /// The lines, each ended.
    pub(crate) fn text(&self) -> String {
        self.lines.iter().fold(String::new(), |mut text, line| {
            let _ = writeln!(text, "{line}");
            text
        })
    }
}

fn messages(form: Form, host: &Host, items: &[Item]) -> Messages {
    if items.is_empty() {
        return Messages::default();
    }
    match form {
        Form::Ocsf => Messages {
            lines: items
                .iter()
                .map(|item| ocsf::event(host, item).to_string())
                .collect(),
            document: None,
        },
        Form::Otlp => Messages {
            lines: Vec::new(),
            document: Some(otlp::document(host, items).to_string()),
        },
        Form::Syslog => Messages {
            lines: items
                .iter()
                .map(|item| syslog::message(host, item))
                .collect(),
            document: None,
        },
    }
}

#[cfg(test)]
mod tests;
