//! From the journal to the store: reads on from the store's cursor, one transaction a batch.
//!
//! Each batch takes the store's write lock, then reads the cursor: the agent's indexer and a command that catches up
//! for itself may run at once, each record is counted once. Within a batch counts are gathered in memory, so that
//! a statement costs the store nothing but its share of a few upserts. What only retired segments said goes in
//! [steps](prune) that are as short.

mod batch;
pub(crate) mod dictionary;
mod prune;
mod rollup;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use rusqlite::{Connection, Transaction, TransactionBehavior};

use self::batch::Batch;
pub use self::prune::prune;
use super::{
    chain::retired::Retired,
    journal::{
        self, Journal,
        reader::{Position, ReadError, Reader},
    },
    record::Event,
    store::{self, StoreError},
};
use crate::telemetry;

/// Records in a batch: some 50 ms of the store's write lock.
const BATCH_RECORDS: u64 = 200_000;

/// How long new records may wait for the index.
const INTERVAL: Duration = Duration::from_millis(500);

/// How long rows of retired segments are removed before new records are looked for again.
const PRUNING: Duration = Duration::from_millis(200);

/// How long a store has lasted at least that is put aside when it is damaged.
const RENEWAL: Duration = Duration::from_hours(1);

/// The thread that keeps the store current while the agent runs. Stops when dropped.
#[derive(Debug)]
pub struct Indexer {
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Indexer {
    /// Starts indexing the journal of `state_dir`. A store that is damaged is made anew; one that cannot be used for another
    /// reason is tried again, and recording goes on without it.
    ///
    /// # Errors
    ///
    /// No thread can be begun.
    pub fn start(state_dir: &Path, journal: Arc<Journal>) -> Result<Self, StoreError> {
        let mut work = Work::new(state_dir, journal);
        let opened = work.open().map(|store| work.store = Some(store));
        let mut was_well = work.tell(&opened, true);
        let stopping = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&stopping);
        let thread = std::thread::Builder::new()
            .name("weir-index".to_owned())
            .spawn(move || {
                while !stop.load(Ordering::Acquire) {
                    let passed = work.pass();
                    let is_more = matches!(passed, Ok(false));
                    was_well = work.tell(&passed, was_well);
                    if !is_more {
                        std::thread::park_timeout(INTERVAL);
                    }
                }
            })
            .map_err(|source| StoreError::Io {
                doing: "start the indexer of",
                path: state_dir.to_owned(),
                source,
            })?;
        Ok(Self {
            stopping,
            thread: Some(thread),
        })
    }
}

/// What the thread does.
struct Work {
    state_dir: PathBuf,
    journal: Arc<Journal>,
    /// What a power failure takes back is not to be counted: its numbers are given out again.
    on_disk: Arc<AtomicU64>,
    store: Option<Connection>,
    /// When a damaged store was put aside last.
    renewed: Option<Instant>,
}

impl Work {
    fn new(state_dir: &Path, journal: Arc<Journal>) -> Self {
        Self {
            state_dir: state_dir.to_owned(),
            on_disk: journal.on_disk(),
            journal,
            store: None,
            renewed: None,
        }
    }

    /// Opens the store; one that holds what the journal lost is emptied.
    fn open(&mut self) -> Result<Connection, StoreError> {
        let mut store = match store::open(&self.state_dir) {
            Err(damage) if damage.is_damage() => {
                self.renew(damage)?;
                store::open(&self.state_dir)?
            }
            opened => opened?,
        };
        let (at, health) = (cursor(&store)?, self.journal.health());
        if at.seq > health.seq + 1 || at.segment > health.segment {
            tracing::warn!(
                indexed_seq = at.seq - 1,
                seq = health.seq,
                "the audit index has records that the journal lost: it is built anew"
            );
            store::clear(&mut store)?;
        }
        Ok(store)
    }

    /// Indexes what was recorded; whether all of it is done.
    fn pass(&mut self) -> Result<bool, StoreError> {
        let mut store = match self.store.take() {
            Some(store) => store,
            None => self.open()?,
        };
        let passed =
            catch_up_to(&mut store, &self.state_dir, Some(&self.on_disk)).and_then(|seq| {
                self.journal.set_indexed(seq);
                prune(&mut store, &self.state_dir, PRUNING)
            });
        match passed {
            Err(damage) if damage.is_damage() => {
                drop(store);
                self.renew(damage)?;
                Ok(false)
            }
            passed => {
                self.store = Some(store);
                passed
            }
        }
    }

    /// Puts a damaged store aside: the next one is built from the journal. Not again and again, where the disk damages each.
    fn renew(&mut self, damage: StoreError) -> Result<(), StoreError> {
        if self.renewed.is_some_and(|at| at.elapsed() < RENEWAL) {
            return Err(damage);
        }
        store::put_aside(&self.state_dir)?;
        self.renewed = Some(Instant::now());
        // Nothing is removed from the journal before the new one has it.
        self.journal.set_indexed(0);
        let what = format!(
            "the audit index is damaged ({}): it is put aside and built anew from the journal",
            telemetry::chain(&damage)
        );
        tracing::error!("{what}");
        if let Err(error) = self.journal.event(&Event::Incident { what }) {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "cannot record that the audit index was damaged"
            );
        }
        Ok(())
    }

    /// Says once that the index stands still; whether it does not.
    fn tell<T>(&self, passed: &Result<T, StoreError>, was_well: bool) -> bool {
        if let Err(error) = passed
            && was_well
        {
            tracing::error!(
                error = error as &dyn std::error::Error,
                indexed_seq = self.journal.health().indexed_seq,
                "the audit index stands still"
            );
        }
        passed.is_ok()
    }
}

impl Drop for Indexer {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            if thread.join().is_err() {
                tracing::error!("the indexer panicked");
            }
        }
    }
}

/// Indexes everything that has been recorded; returns the last record's sequence number.
///
/// # Errors
///
/// The journal or the store cannot be used.
pub fn catch_up(store: &mut Connection, state_dir: &Path) -> Result<u64, StoreError> {
    catch_up_to(store, state_dir, None)
}

/// As [`catch_up`], up to the record that `limit` names at the time.
fn catch_up_to(
    store: &mut Connection,
    state_dir: &Path,
    limit: Option<&Arc<AtomicU64>>,
) -> Result<u64, StoreError> {
    let read = |dir: &Path, at| Reader::new(dir, at).up_to(limit.cloned());
    let dir = state_dir.join(journal::FOLDER);
    if !dir.exists() {
        return Ok(0);
    }
    let mut reader: Option<Reader> = None;
    loop {
        let at = cursor(store)?;
        // Without new records the write lock stays free.
        let mut current = reader
            .take()
            .filter(|reader| reader.position() == at)
            .unwrap_or_else(|| read(&dir, at));
        if matches!(current.next_raw(), Ok(None)) {
            return Ok(at.seq - 1);
        }
        let transaction = store
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(StoreError::sqlite("index into"))?;
        let at = cursor(&transaction)?;
        let mut current = read(&dir, at);
        // Of a request that was removed since, an outcome says nothing more.
        let retired_seq = Retired::unverified(&dir).map_or(0, |retired| retired.last_seq);
        let mut batch = Batch::new(retired_seq);
        let more = read_batch(&mut current, &mut batch, &transaction)?;
        batch
            .store(&transaction)
            .map_err(StoreError::sqlite("index into"))?;
        set_cursor(&transaction, current.position()).map_err(StoreError::sqlite("index into"))?;
        transaction
            .commit()
            .map_err(StoreError::sqlite("index into"))?;
        if !more {
            return Ok(current.position().seq - 1);
        }
        reader = Some(current);
    }
}

/// Where the store has got to.
///
/// # Errors
///
/// SQLite refuses.
pub fn cursor(store: &Connection) -> Result<Position, StoreError> {
    store
        .query_row("SELECT segment, offset, seq FROM cursor", [], |row| {
            Ok(Position {
                segment: row.get(0)?,
                offset: row.get(1)?,
                seq: row.get(2)?,
            })
        })
        .map_err(StoreError::sqlite("read the cursor of"))
}

fn set_cursor(transaction: &Transaction<'_>, at: Position) -> rusqlite::Result<()> {
    transaction
        .execute(
            "UPDATE cursor SET segment = ?1, offset = ?2, seq = ?3",
            (at.segment, at.offset, at.seq),
        )
        .map(drop)
}

/// Reads up to a batch's size; whether there is more.
fn read_batch(
    reader: &mut Reader,
    batch: &mut Batch,
    transaction: &Transaction<'_>,
) -> Result<bool, StoreError> {
    for _ in 0..BATCH_RECORDS {
        let at = reader.position();
        match reader.next_placed() {
            Ok(Some((segment, raw))) => {
                let understood = batch
                    .add(segment, &raw, transaction)
                    .map_err(StoreError::sqlite("index into"))?;
                if !understood {
                    note_break(transaction, at, raw.seq)?;
                }
            }
            Ok(None) => return Ok(false),
            Err(ReadError::Broken { at: broken }) => {
                // A break is noted once and indexing goes on behind it: the rest is worth reporting.
                if !reader.skip_broken()? {
                    return Ok(false);
                }
                note_break(transaction, broken, reader.position().seq.saturating_sub(1))?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(true)
}

fn note_break(transaction: &Transaction<'_>, at: Position, until: u64) -> Result<(), StoreError> {
    transaction
        .execute(
            "INSERT OR IGNORE INTO breaks VALUES (?1, ?2, ?3)",
            (at.segment, at.seq, until.max(at.seq)),
        )
        .map(drop)
        .map_err(StoreError::sqlite("index into"))
}

#[cfg(test)]
mod tests;
