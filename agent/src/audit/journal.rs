//! The append-only journal: every record is in mapped memory before the call that made it returns.
//!
//! Mapped memory belongs to the kernel, so a record outlives `kill -9` of the agent; a background thread brings it to
//! the disk and extends the [chain](super::chain). Sessions and statements are written whole once per segment, before the first
//! record that names them, so that each segment can be read by itself.

mod committer;
pub(crate) mod dictionary;
pub(crate) mod layout;
pub(crate) mod packed;
pub mod reader;
mod recovery;
pub(crate) mod segment;
pub(crate) mod source;
mod trouble;
mod writer;

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{JoinHandle, Thread},
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
};
use tokio::sync::watch;
use weir_policy::{Classed, Decision, Identity, Target};
use weir_sql::Facts;

use self::writer::{Entries, Writer};
use super::{
    OnAuditFailure, Settings,
    chain::key::KeyError,
    record::{Event, Outcome, Requested, SessionOpened, StatementDecided, Via},
};
use crate::{
    capture::Origin,
    clock,
    identity::{Evidence, Proof},
    latency::{Counted, Histogram, ON_DISK},
};

pub use recovery::Recovery;

/// The journal's folder below the state directory.
pub const FOLDER: &str = "journal";

/// Why something was not recorded. The text is fit for an operator; callers refuse the statement with SQLSTATE 53100.
#[derive(Debug, Clone, thiserror::Error)]
pub enum JournalError {
    /// Another process writes this journal.
    #[error("journal {} is in use by another weir", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// The file system has less room than the reserve plus one segment.
    #[error(
        "audit journal is full: a new segment would leave {free_mib} MiB free, {reserve_mib} MiB are reserved"
    )]
    Reserve {
        /// What would be left.
        free_mib: u64,
        /// What has to be left.
        reserve_mib: u64,
    },
    /// The file system has less room than the reserve.
    #[error(
        "the disk of the audit journal has {free_mib} MiB free, {reserve_mib} MiB are reserved"
    )]
    Low {
        /// What is left.
        free_mib: u64,
        /// What has to be left.
        reserve_mib: u64,
    },
    /// One record is larger than a segment can hold.
    #[error("audit record of {bytes} bytes is too large")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// What was recorded cannot be brought to disk; nothing more is accepted.
    #[error("audit journal cannot be synced: {reason}")]
    Sync {
        /// The operating system's words.
        reason: String,
    },
    /// The operating system refused something.
    #[error("audit journal: cannot {doing} {}", path.display())]
    Io {
        /// What was attempted.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: Arc<io::Error>,
    },
    /// The key that signs the chain cannot be used.
    #[error("audit journal: cannot use the signing key")]
    Key(#[source] Arc<KeyError>),
    /// The journal was closed.
    #[error("audit journal is closed")]
    Closed,
}

impl JournalError {
    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            doing,
            path,
            source: Arc::new(source),
        }
    }
}

/// What a session's opening record says, but for its id.
#[derive(Debug, Clone)]
pub struct NewSession {
    /// As the kernel saw it.
    pub origin: Origin,
    /// What was observed of the process.
    pub evidence: Evidence,
    /// Who the provider says it is; `None` is unidentified.
    pub identity: Option<Identity>,
    /// What that rests on.
    pub proof: Option<Proof>,
    /// What is spoken to.
    pub target: Target,
    /// `application_name` as claimed.
    pub application_name: Option<String>,
    /// Whether its bytes are relayed without being read.
    pub unread: bool,
}

/// A recorded session, shared by everything that records for it.
#[derive(Debug)]
pub struct Session {
    /// Unique for this journal.
    pub id: u64,
    /// What was recorded.
    pub opened: SessionOpened,
    /// The last segment that holds it.
    last_segment: AtomicU64,
}

impl Session {
    /// A session that was recorded before: whatever names it next repeats its opening.
    #[must_use]
    pub(crate) fn repeated(opened: SessionOpened) -> Self {
        Self {
            id: opened.session,
            opened,
            last_segment: AtomicU64::new(0),
        }
    }
}

/// A decided statement, shared by every request that repeats it.
#[derive(Debug)]
pub struct Statement {
    /// Unique for this journal.
    pub id: u64,
    /// What is recorded.
    pub decided: StatementDecided,
    last_segment: AtomicU64,
}

/// The numbers of the segments that there are, in order.
///
/// # Errors
///
/// The folder cannot be read.
pub fn segments(dir: &Path) -> io::Result<Vec<u64>> {
    segment::list(dir)
}

/// How the journal is doing.
#[derive(Debug, Clone, serde::Serialize)]
pub struct JournalHealth {
    /// The last record's sequence number; zero in an empty journal.
    pub seq: u64,
    /// The segment that is written.
    pub segment: u64,
    /// The last record on disk.
    pub synced_seq: u64,
    /// The last record covered by the signed chain.
    pub chained_seq: u64,
    /// The last record in the index; zero until an indexer runs.
    pub indexed_seq: u64,
    /// When the disk was last up to date, nanoseconds since the epoch.
    pub last_sync_ns: u64,
    /// Free on the journal's file system, MiB.
    pub free_mib: u64,
    /// Kept free, MiB.
    pub reserve_mib: u64,
    /// Requests without an outcome yet.
    pub in_flight: u64,
    /// Why nothing can be recorded at the moment.
    pub failure: Option<String>,
    /// Until when recording goes on although the disk is short, nanoseconds since the epoch: `allow_until`.
    pub allowed_until_ns: Option<u64>,
}

/// The journal of one state directory, open for writing.
#[derive(Debug)]
pub struct Journal {
    inner: Arc<Inner>,
    committer: Mutex<Option<JoinHandle<()>>>,
    /// The last record of the agents before.
    resumed_seq: u64,
    /// Released when the journal is dropped.
    _lock: Flock<std::fs::File>,
}

/// What the journal and its background thread share.
#[derive(Debug)]
struct Inner {
    /// The journal's folder.
    dir: PathBuf,
    reserve_bytes: u64,
    writer: Mutex<Writer>,
    next_id: AtomicU64,
    /// The last sequence number on disk.
    synced: watch::Sender<u64>,
    /// The last sequence number on disk and in the chain; zero until those of the agents before are.
    chained_seq: Arc<AtomicU64>,
    indexed_seq: AtomicU64,
    last_sync_ns: AtomicU64,
    syncs: Histogram,
    /// Set for good once a sync fails: what was lost is unknown from then on.
    failed: AtomicBool,
    failure: Mutex<Option<String>>,
    /// Why what is recorded cannot be brought to the disk at present.
    short: Mutex<Option<JournalError>>,
    stopping: AtomicBool,
    committer: OnceLock<Thread>,
}

impl Journal {
    /// Opens or makes the journal in `state_dir`, repairs what a crash left, and starts the thread that syncs and chains.
    ///
    /// What is wrong with the journal beyond a torn end is listed in [`Recovery::alarms`] and recorded as incidents.
    ///
    /// # Errors
    ///
    /// Another process writes it, the disk is full, the key is unusable, or the operating system refuses.
    pub fn open(
        state_dir: &Path,
        settings: &Settings,
    ) -> Result<(Arc<Self>, Recovery), JournalError> {
        let dir = state_dir.join(FOLDER);
        std::fs::create_dir_all(&dir).map_err(JournalError::io("make", &dir))?;
        let lock = lock(&dir)?;
        let reserve_bytes = settings.reserve_mib.saturating_mul(1 << 20);
        let segment_bytes = u64::from(settings.segment_mib.clamp(1, 1024)) << 20;
        let mut recovered = recovery::recover(state_dir, &dir, segment_bytes, reserve_bytes)?;
        if let OnAuditFailure::AllowUntil(patience) = settings.on_audit_failure {
            recovered.writer.trouble.allow_for = Some(patience.0);
        }
        let recovery = recovered.report;
        let inner = Arc::new(Inner {
            dir,
            reserve_bytes,
            writer: Mutex::new(recovered.writer),
            next_id: AtomicU64::new(recovered.next_id),
            synced: watch::Sender::new(recovery.next_seq - 1),
            chained_seq: Arc::default(),
            indexed_seq: AtomicU64::new(0),
            last_sync_ns: AtomicU64::new(0),
            syncs: Histogram::new(ON_DISK),
            failed: AtomicBool::new(false),
            failure: Mutex::new(None),
            short: Mutex::new(None),
            stopping: AtomicBool::new(false),
            committer: OnceLock::new(),
        });
        let committer = committer::start(&inner, recovered.chain)?;
        let journal = Arc::new(Self {
            inner,
            committer: Mutex::new(Some(committer)),
            resumed_seq: recovery.next_seq - 1,
            _lock: lock,
        });
        for alarm in &recovery.alarms {
            journal.event(&Event::Incident {
                what: alarm.clone(),
            })?;
        }
        Ok((journal, recovery))
    }

    /// Records a session's opening.
    ///
    /// # Errors
    ///
    /// It could not be recorded; the session must not begin.
    pub fn session(&self, new: NewSession) -> Result<Arc<Session>, JournalError> {
        let session = Session::repeated(SessionOpened {
            session: self.inner.next_id(),
            origin: new.origin,
            evidence: new.evidence,
            identity: new.identity,
            proof: new.proof,
            target: new.target,
            application_name: new.application_name,
            opened_ns: Some(clock::now_ns()),
            unread: new.unread,
        });
        self.inner.write(&Entries::session(&session))?;
        Ok(Arc::new(session))
    }

    /// Makes a dictionary entry of a decided statement; it is written with the first request that needs it.
    pub fn statement(
        &self,
        mut facts: Facts,
        decision: Decision,
        policy: &str,
        classes: Vec<Classed>,
    ) -> Arc<Statement> {
        let id = self.inner.next_id();
        let schemas = facts.schemas();
        // What is recorded says which columns were used; those within reach have served their purpose.
        facts.reachable = Vec::new();
        Arc::new(Statement {
            id,
            decided: StatementDecided {
                id,
                facts,
                decision,
                policy: policy.to_owned(),
                classes,
                schemas,
            },
            last_segment: AtomicU64::new(0),
        })
    }

    /// A number that no session, statement or approval of this journal has.
    #[must_use]
    pub fn new_id(&self) -> u64 {
        self.inner.next_id()
    }

    /// Records a request, decided at `time_ns` since the epoch, before the server can see it. Returns the sequence number
    /// that its outcome names.
    ///
    /// # Errors
    ///
    /// It could not be recorded: the request must not go on.
    pub fn requested_at(
        &self,
        time_ns: u64,
        session: &Session,
        statement: &Statement,
        via: Via,
        parameters_hash: u64,
        request_bytes: u64,
    ) -> Result<u64, JournalError> {
        let payload = layout::encode_requested(&Requested {
            session: session.id,
            statement: statement.id,
            via,
            parameters_hash,
            request_bytes,
        });
        self.inner
            .write(&Entries::requested(time_ns, session, statement, payload))
    }

    /// Records what came of a request, known at `time_ns` since the epoch; exactly one for each [`Journal::requested_at`].
    ///
    /// # Errors
    ///
    /// It could not be recorded. Room for the outcomes of requests in flight is kept, so a full disk does not show here first.
    pub fn outcome_at(&self, time_ns: u64, outcome: &Outcome) -> Result<(), JournalError> {
        self.inner
            .write(&Entries::outcome(time_ns, layout::encode_outcome(outcome)))
            .map(drop)
    }

    /// Records a rare event. Returns its sequence number.
    ///
    /// # Errors
    ///
    /// It could not be recorded.
    pub fn event(&self, event: &Event) -> Result<u64, JournalError> {
        self.inner.write(&Entries::event(event))
    }

    /// Records a rare event that names a session, in a segment that has the session's opening. Returns its sequence number.
    ///
    /// # Errors
    ///
    /// It could not be recorded.
    pub fn event_of(&self, session: &Session, event: &Event) -> Result<u64, JournalError> {
        self.inner.write(&Entries::event_of(session, event))
    }

    /// Records the end of a session with the counts of its life.
    ///
    /// # Errors
    ///
    /// It could not be recorded.
    pub fn session_closed(
        &self,
        session: &Session,
        reason: &str,
        requests: u64,
        client_bytes: u64,
        server_bytes: u64,
    ) -> Result<u64, JournalError> {
        let event = Event::SessionClosed {
            session: session.id,
            reason: reason.to_owned(),
            requests,
            client_bytes,
            server_bytes,
        };
        self.event_of(session, &event)
    }

    /// Waits until the record `seq` is on disk; callers that wait at the same time share one sync. Cancelling is safe.
    ///
    /// # Errors
    ///
    /// The disk refused.
    pub async fn durable(&self, seq: u64) -> Result<(), JournalError> {
        let mut synced = self.inner.synced.subscribe();
        self.inner.wake_committer();
        loop {
            if *synced.borrow_and_update() >= seq {
                return Ok(());
            }
            self.inner.check()?;
            self.inner.check_room()?;
            if synced.changed().await.is_err() {
                return Err(JournalError::Closed);
            }
        }
    }

    /// Blocks until everything recorded so far is on disk and chained.
    ///
    /// # Errors
    ///
    /// The disk refused, or the journal is closed.
    pub fn sync(&self) -> Result<(), JournalError> {
        let seq = self.inner.lock().last_seq();
        loop {
            self.inner.check()?;
            if *self.inner.synced.borrow() >= seq
                && self.inner.chained_seq.load(Ordering::Acquire) >= seq
            {
                return Ok(());
            }
            self.inner.check_room()?;
            if self.inner.stopping.load(Ordering::Acquire) {
                return Err(JournalError::Closed);
            }
            self.inner.wake_committer();
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// How the journal is doing.
    #[must_use]
    pub fn health(&self) -> JournalHealth {
        let (seq, segment, in_flight, refused, allowed_until_ns) = {
            let writer = self.inner.lock();
            (
                writer.last_seq(),
                writer.segment_number(),
                writer.in_flight(),
                writer.trouble.refusal().map(ToString::to_string),
                writer.trouble.allowed_until_ns(),
            )
        };
        JournalHealth {
            seq,
            segment,
            synced_seq: *self.inner.synced.borrow(),
            chained_seq: self.inner.chained_seq.load(Ordering::Relaxed),
            indexed_seq: self.inner.indexed_seq.load(Ordering::Relaxed),
            last_sync_ns: self.inner.last_sync_ns.load(Ordering::Relaxed),
            free_mib: writer::free_bytes(&self.inner.dir).map_or(0, |bytes| bytes >> 20),
            reserve_mib: self.inner.reserve_bytes >> 20,
            in_flight,
            failure: self.inner.failure().or(refused),
            allowed_until_ns,
        }
    }

    /// How long it took each time to bring records to the disk and into the chain.
    #[must_use]
    pub fn syncs(&self) -> Counted {
        self.inner.syncs.counted()
    }

    /// The last record that was there when the journal was opened; zero in a new one.
    #[must_use]
    pub(crate) fn resumed_seq(&self) -> u64 {
        self.resumed_seq
    }

    /// The last record on disk, as it moves on: the limit for [`Reader::up_to`](reader::Reader::up_to).
    #[must_use]
    pub(crate) fn on_disk(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.inner.chained_seq)
    }

    /// The journal's id.
    #[must_use]
    pub(crate) fn id(&self) -> [u8; 16] {
        self.inner.lock().journal
    }

    /// The journal's folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.inner.dir
    }

    /// Tells [`Journal::health`] how far the index has come.
    pub fn set_indexed(&self, seq: u64) {
        self.inner.indexed_seq.store(seq, Ordering::Relaxed);
    }

    /// Syncs, chains and marks the journal as cleanly closed; later records are refused.
    pub fn close(&self) {
        self.inner.lock().close();
        self.inner.stopping.store(true, Ordering::Release);
        self.inner.wake_committer();
        let committer = self
            .committer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if committer.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the journal's background thread panicked");
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.close();
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    fn write(&self, entries: &Entries<'_>) -> Result<u64, JournalError> {
        self.check()?;
        let mut writer = self.lock();
        let seq = writer.write(entries, &self.next_id)?;
        let wake = writer.wants_commit();
        drop(writer);
        if wake {
            self.wake_committer();
        }
        Ok(seq)
    }

    fn check(&self) -> Result<(), JournalError> {
        if !self.failed.load(Ordering::Relaxed) {
            return Ok(());
        }
        Err(JournalError::Sync {
            reason: self.failure().unwrap_or_default(),
        })
    }

    /// Whether what is recorded can be brought to the disk at present.
    fn check_room(&self) -> Result<(), JournalError> {
        let short = self.short.lock().unwrap_or_else(PoisonError::into_inner);
        short.clone().map_or(Ok(()), Err)
    }

    fn set_short(&self, error: Option<JournalError>) {
        *self.short.lock().unwrap_or_else(PoisonError::into_inner) = error;
    }

    fn failure(&self) -> Option<String> {
        self.failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn wake_committer(&self) {
        if let Some(thread) = self.committer.get() {
            thread.unpark();
        }
    }
}

/// Whether a process is writing the journal in `dir` now.
pub(crate) fn is_live(dir: &Path) -> bool {
    std::fs::File::open(lock_path(dir))
        .is_ok_and(|file| Flock::lock(file, FlockArg::LockSharedNonblock).is_err())
}

/// One writer per journal: sequence numbers would repeat otherwise.
fn lock(dir: &Path) -> Result<Flock<std::fs::File>, JournalError> {
    let path = lock_path(dir);
    let mut file = std::fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(JournalError::io("open", &path))?;
    let deadline = Instant::now() + LOCK_PATIENCE;
    loop {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(lock),
            Err((back, Errno::EWOULDBLOCK)) if Instant::now() < deadline => file = back,
            Err((_, Errno::EWOULDBLOCK)) => return Err(JournalError::Locked { path }),
            Err((_, errno)) => return Err(JournalError::io("lock", &path)(errno.into())),
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Those who ask whether the journal is live hold the lock for a moment; so does a process that is being killed.
const LOCK_PATIENCE: Duration = Duration::from_millis(300);

fn lock_path(dir: &Path) -> PathBuf {
    dir.join("lock")
}

#[cfg(test)]
mod tests;
