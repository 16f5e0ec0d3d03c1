//! One database's catalog and how current it is: sessions ask for checks, one task makes them, and all who asked before
//! a check began are served by it.

use std::{
    future::Future,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, timeout},
};
use weir_sql::catalog::Catalog;

use super::{CatalogSnapshot, Catalogs, Credentials, Place, Summary, lending::Lending, next_epoch};
use crate::{clock, telemetry};

/// One database.
#[derive(Debug)]
pub(super) struct Database {
    place: Place,
    credentials: Option<Arc<Credentials>>,
    epochs: Arc<AtomicU64>,
    sessions: AtomicUsize,
    /// Checks that were asked for, by number.
    asked: AtomicU64,
    /// The last check that is done.
    done: AtomicU64,
    /// The check that everybody waits for.
    required: AtomicU64,
    /// Grows whenever the snapshot is replaced or lost.
    version: AtomicU64,
    state: Mutex<State>,
    doorbell: Notify,
    /// Used where there are no credentials.
    lending: Lending,
}

#[derive(Debug, Default)]
struct State {
    snapshot: Option<Arc<CatalogSnapshot>>,
    checked_at: Option<Duration>,
    problem: Option<String>,
    waiting: Vec<Waker>,
}

/// What looking at a database found.
#[derive(Debug)]
pub(super) enum Look {
    /// Nothing has changed since the last look.
    Same,
    /// What it holds now.
    Changed(Box<Catalog>),
}

/// Looks at a database.
pub(super) trait Reader: Send {
    /// Why it could not.
    type Error: std::error::Error + Send + Sync;

    /// Looks; the first time, and after an error, all is read.
    fn look(&mut self) -> impl Future<Output = Result<Look, Self::Error>> + Send;

    /// Nobody needs the database for now.
    fn rest(&mut self);
}

impl Database {
    pub(super) fn new(
        place: Place,
        credentials: Option<Arc<Credentials>>,
        epochs: Arc<AtomicU64>,
    ) -> Self {
        Self {
            place,
            credentials,
            epochs,
            sessions: AtomicUsize::new(0),
            asked: AtomicU64::new(0),
            done: AtomicU64::new(0),
            required: AtomicU64::new(0),
            version: AtomicU64::new(1),
            state: Mutex::default(),
            doorbell: Notify::new(),
            lending: Lending::default(),
        }
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    pub(super) fn credentials(&self) -> Option<&Arc<Credentials>> {
        self.credentials.as_ref()
    }

    pub(super) fn lending(&self) -> &Lending {
        &self.lending
    }

    pub(super) fn enter(&self) {
        self.sessions.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn leave(&self) {
        self.sessions.fetch_sub(1, Ordering::AcqRel);
    }

    pub(super) fn is_needed(&self) -> bool {
        self.sessions.load(Ordering::Acquire) > 0
    }

    /// Whether no second session needs it.
    pub(super) fn is_alone(&self) -> bool {
        self.sessions.load(Ordering::Acquire) <= 1
    }

    /// The last check that was asked for.
    pub(super) fn asked(&self) -> u64 {
        self.asked.load(Ordering::Acquire)
    }

    /// The last check that is done.
    pub(super) fn done(&self) -> u64 {
        self.done.load(Ordering::Acquire)
    }

    /// The check that everybody waits for.
    pub(super) fn required(&self) -> u64 {
        self.required.load(Ordering::Acquire)
    }

    /// Asks for a check that begins after this call; the number is for [`Self::poll_checked`].
    pub(super) fn ask(&self) -> u64 {
        let number = self.asked.fetch_add(1, Ordering::AcqRel) + 1;
        self.doorbell.notify_one();
        number
    }

    /// As [`Self::ask`], and everybody waits for it.
    pub(super) fn require(&self) {
        let number = self.ask();
        self.required.fetch_max(number, Ordering::AcqRel);
    }

    /// Ready once the check with that number is done, and the one that everybody waits for.
    pub(super) fn poll_checked(&self, number: u64, cx: &mut Context<'_>) -> Poll<()> {
        let needed = || number.max(self.required.load(Ordering::Acquire));
        if self.done.load(Ordering::Acquire) >= needed() {
            return Poll::Ready(());
        }
        self.wake_later(cx);
        // A check that ends now either is seen here or wakes.
        if self.done.load(Ordering::Acquire) >= needed() {
            return Poll::Ready(());
        }
        Poll::Pending
    }

    /// Whoever asks is woken when the next check is done, or came to nothing. What has happened before is for it to see.
    pub(super) fn wake_later(&self, cx: &Context<'_>) {
        let mut state = self.lock();
        let mut waiting = state.waiting.iter();
        if !waiting.any(|waker| waker.will_wake(cx.waker())) {
            state.waiting.push(cx.waker().clone());
        }
    }

    pub(super) fn wake(&self) {
        let waiting = std::mem::take(&mut self.lock().waiting);
        waiting.into_iter().for_each(Waker::wake);
    }

    /// A look on a session's connection came to nothing: that session goes without, the others look for themselves.
    pub(super) fn look_failed(&self, problem: String) {
        let mut state = self.lock();
        if state.problem.as_ref() != Some(&problem) {
            tracing::warn!(
                place = %self.place,
                problem,
                "the catalog cannot be read on a session's connection: who may not see everything is refused there"
            );
        }
        state.problem = Some(problem);
    }

    pub(super) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    pub(super) fn snapshot(&self) -> Option<Arc<CatalogSnapshot>> {
        self.lock().snapshot.clone()
    }

    pub(super) fn summary(&self, governed: &dyn Fn(&Catalog) -> usize) -> Summary {
        // Counting takes a while in a large database: nobody waits for it.
        let snapshot = self.lock().snapshot.clone();
        let governed_columns = snapshot
            .as_ref()
            .map_or(0, |snapshot| governed(&snapshot.catalog));
        let state = self.lock();
        let snapshot = snapshot.as_ref();
        Summary {
            endpoint: self.place.endpoint.clone(),
            address: self.place.address.to_string(),
            database: self.place.database.clone(),
            mode: if self.credentials.is_some() {
                "side"
            } else {
                "sessions"
            },
            sessions: self.sessions.load(Ordering::Acquire),
            epoch: snapshot.map_or(0, |snapshot| snapshot.epoch),
            checked_seconds_ago: state
                .checked_at
                .map(|at| clock::now().saturating_sub(at).as_secs()),
            relations: snapshot.map_or(0, |snapshot| snapshot.catalog.relations.len()),
            governed_columns,
            problem: state.problem.clone(),
        }
    }

    /// Takes what a check found, and lets go who waits for it.
    pub(super) fn publish(&self, number: u64, found: Result<Look, String>) {
        let waiting = {
            let mut state = self.lock();
            match found {
                Ok(Look::Same) => {
                    state.checked_at = Some(clock::now());
                    state.problem = None;
                }
                Ok(Look::Changed(catalog)) => {
                    let read_at = clock::now();
                    let epoch = next_epoch(&self.epochs);
                    tracing::info!(
                        place = %self.place,
                        epoch,
                        relations = catalog.relations.len(),
                        "catalog read"
                    );
                    state.snapshot = Some(Arc::new(CatalogSnapshot {
                        catalog: *catalog,
                        epoch,
                        read_at,
                    }));
                    state.checked_at = Some(read_at);
                    state.problem = None;
                    self.version.fetch_add(1, Ordering::AcqRel);
                }
                Err(problem) => {
                    if state.problem.as_ref() != Some(&problem) {
                        tracing::error!(
                            place = %self.place,
                            problem,
                            "the catalog cannot be read: who may not see everything is refused"
                        );
                    }
                    state.snapshot = None;
                    state.problem = Some(problem);
                    self.version.fetch_add(1, Ordering::AcqRel);
                }
            }
            self.done.fetch_max(number, Ordering::AcqRel);
            std::mem::take(&mut state.waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps a database's catalog current for as long as somebody needs it.
pub(super) async fn keep<R: Reader>(
    database: Arc<Database>,
    mut reader: R,
    catalogs: Weak<Catalogs>,
) {
    let poll = database
        .credentials
        .as_ref()
        .map_or(POLL_WITHOUT, |credentials| credentials.poll);
    let mut idle_since = None;
    loop {
        let _ = timeout(poll, database.doorbell.notified()).await;
        let number = database.asked.load(Ordering::Acquire);
        let wanted = number > database.done.load(Ordering::Acquire);
        if !wanted && !database.is_needed() {
            let since = *idle_since.get_or_insert_with(Instant::now);
            if since.elapsed() < KEPT {
                continue;
            }
            reader.rest();
            if catalogs
                .upgrade()
                .is_none_or(|catalogs| catalogs.forget(&database))
            {
                return;
            }
        }
        idle_since = None;
        let found = match timeout(LOOK_LIMIT, reader.look()).await {
            Ok(found) => found.map_err(|error| telemetry::chain(&error)),
            Err(_) => Err(format!(
                "it was not read within {} seconds",
                LOOK_LIMIT.as_secs()
            )),
        };
        database.publish(number, found);
    }
}

/// Reading a database of 10,000 tables takes some seconds on a busy server.
const LOOK_LIMIT: Duration = Duration::from_secs(30);
/// A database whose last session has ended stays known for as long.
const KEPT: Duration = Duration::from_mins(1);
/// Nothing can be read, but the operator's mistake may be corrected.
const POLL_WITHOUT: Duration = Duration::from_secs(5);
