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
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
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
    store::{self, StoreError},
};

/// Records in a batch: some 50 ms of the store's write lock.
const BATCH_RECORDS: u64 = 200_000;

/// How long new records may wait for the index.
const INTERVAL: Duration = Duration::from_millis(500);

/// How long rows of retired segments are removed before new records are looked for again.
const PRUNING: Duration = Duration::from_millis(200);

/// The thread that keeps the store current while the agent runs. Stops when dropped.
#[derive(Debug)]
pub struct Indexer {
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Indexer {
    /// Starts indexing the journal of `state_dir`.
    ///
    /// # Errors
    ///
    /// The store cannot be opened. The agent can record without it.
    pub fn start(state_dir: &Path, journal: Arc<Journal>) -> Result<Self, StoreError> {
        let mut store = store::open(state_dir)?;
        let (at, health) = (cursor(&store)?, journal.health());
        if at.seq > health.seq + 1 || at.segment > health.segment {
            tracing::warn!(
                indexed_seq = at.seq - 1,
                seq = health.seq,
                "the audit index has records that the journal lost: it is built anew"
            );
            store::clear(&mut store)?;
        }
        let dir = state_dir.to_owned();
        let stopping = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&stopping);
        // What a power failure takes back is not to be counted: its numbers are given out again.
        let on_disk = journal.on_disk();
        let thread = std::thread::Builder::new()
            .name("weir-index".to_owned())
            .spawn(move || {
                let mut was_well = true;
                while !stop.load(Ordering::Acquire) {
                    let caught_up = catch_up_to(&mut store, &dir, Some(&on_disk)).and_then(|seq| {
                        journal.set_indexed(seq);
                        prune(&mut store, &dir, PRUNING)
                    });
                    match caught_up {
                        Ok(done) => {
                            was_well = true;
                            if !done {
                                continue;
                            }
                        }
                        Err(error) if was_well => {
                            tracing::error!(
                                error = &error as &dyn std::error::Error,
                                "the audit index stands still"
                            );
                            was_well = false;
                        }
                        Err(_) => {}
                    }
                    std::thread::park_timeout(INTERVAL);
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
