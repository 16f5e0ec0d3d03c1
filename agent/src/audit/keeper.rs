//! What becomes of full segments: they are packed at once, and removed when they were kept long enough.

mod carried;
mod known;

use std::{
    collections::HashSet,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use self::{carried::Carried, known::Known};
use super::{
    Retention,
    chain::{
        self,
        key::{KeyError, SigningKey},
        retired::Retired,
        seal::Seal,
    },
    journal::{
        Journal, JournalError, packed,
        reader::{Position, ReadError, Reader},
        segment,
    },
    record::{Entry, Event},
    store::StoreError,
};
use crate::clock;

/// How often it looks for work.
const INTERVAL: Duration = Duration::from_secs(2);

/// Segments removed at once: what they hold of what later records rest on is kept in memory for that time.
const MOST_AT_ONCE: usize = 16;

/// The last record that everybody who has to has read; what is behind it may be removed.
pub type Confirmed = Arc<dyn Fn() -> u64 + Send + Sync>;

/// Why full segments stay as they are.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// A segment cannot be packed or removed.
    #[error("cannot {doing} segment {segment}")]
    Segment {
        /// What was attempted.
        doing: &'static str,
        /// With which.
        segment: u64,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The journal's folder cannot be read.
    #[error("cannot list the journal's segments")]
    List(#[source] io::Error),
    /// What is removed has to be stated, signed.
    #[error("cannot state what is removed")]
    State(#[source] io::Error),
    /// What later records rest on has to be read.
    #[error("cannot read what is to be removed")]
    Read(#[from] ReadError),
    /// What is removed has to be recorded.
    #[error("cannot record what is removed")]
    Record(#[from] JournalError),
    /// What the segments that are left say has to be looked up.
    #[error("cannot look up what later records name")]
    Index(#[from] StoreError),
    /// Nothing can be signed.
    #[error("cannot use the signing key")]
    Key(#[from] KeyError),
}

impl KeepError {
    fn is_lack_of_room(&self) -> bool {
        let Self::Segment { source, .. } = self else {
            return false;
        };
        matches!(
            source.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        )
    }
}

/// The thread that packs and removes. Stops when dropped.
#[derive(Debug)]
pub struct Keeper {
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// Starts keeping the journal of `state_dir`.
    ///
    /// # Errors
    ///
    /// The key cannot be used, or no thread begun.
    pub fn start(
        state_dir: &Path,
        journal: Arc<Journal>,
        retention: Retention,
        confirmed: Confirmed,
    ) -> Result<Self, KeepError> {
        let work = Work::new(state_dir, journal, retention, confirmed)?;
        let stopping = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&stopping);
        let thread = std::thread::Builder::new()
            .name("weir-keeper".to_owned())
            .spawn(move || {
                let mut was_well = true;
                while !stop.load(Ordering::Acquire) {
                    let kept = work.pass(&stop);
                    if let Err(error) = &kept
                        && was_well
                    {
                        tracing::error!(
                            error = error as &dyn std::error::Error,
                            "full segments of the audit journal stay as they are"
                        );
                    }
                    was_well = kept.is_ok();
                    std::thread::park_timeout(INTERVAL);
                }
            })
            .map_err(KeepError::List)?;
        Ok(Self {
            stopping,
            thread: Some(thread),
        })
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            if thread.join().is_err() {
                tracing::error!("the journal's keeper panicked");
            }
        }
    }
}

struct Work {
    state_dir: PathBuf,
    /// The journal's folder.
    dir: PathBuf,
    key: SigningKey,
    journal: Arc<Journal>,
    retention: Retention,
    confirmed: Confirmed,
    /// The last record that may say something again.
    said_again: AtomicU64,
}

impl Work {
    fn new(
        state_dir: &Path,
        journal: Arc<Journal>,
        retention: Retention,
        confirmed: Confirmed,
    ) -> Result<Self, KeyError> {
        Ok(Self {
            state_dir: state_dir.to_owned(),
            dir: journal.folder().to_owned(),
            key: SigningKey::open(state_dir)?,
            // An agent before may have said something again just before it ended.
            said_again: AtomicU64::new(journal.health().seq),
            journal,
            retention,
            confirmed,
        })
    }

    fn pass(&self, stop: &AtomicBool) -> Result<(), KeepError> {
        let numbers = segment::list(&self.dir).map_err(KeepError::List)?;
        let live = self.journal.health().segment;
        let mut packed = Ok(());
        for number in numbers.iter().filter(|number| **number < live) {
            if stop.load(Ordering::Acquire) {
                return Ok(());
            }
            let done = self.pack(*number);
            let is_full = done.as_ref().is_err_and(KeepError::is_lack_of_room);
            packed = packed.and(done);
            if is_full {
                // Without room for this one there is none for others.
                break;
            }
        }
        // Also after that failed: what is removed makes room, and a segment that cannot be read goes like the others.
        let retired = self.retire(&numbers);
        packed.and(retired)
    }

    /// Packs a sealed segment; the one that is written has no checkpoint.
    fn pack(&self, number: u64) -> Result<(), KeepError> {
        let plain = segment::path(&self.dir, number);
        if !plain.exists() || !chain::seal::path(&self.dir, number).exists() {
            return Ok(());
        }
        packed::pack(&self.dir, number).map_err(segment_error("pack", number))
    }

    /// Removes what was kept long enough, oldest first.
    fn retire(&self, numbers: &[u64]) -> Result<(), KeepError> {
        let public = self.key.public();
        // A statement that another journal left says nothing of this one.
        let journal = self.journal.id();
        let stated = Retired::read(&self.dir, &public).ok().flatten();
        let stated = stated.filter(|retired| retired.journal == journal);
        let through = stated.map_or(0, |retired| retired.segment);
        // Whatever is stated, the segment that is written stays. What an agent before stated and did not get to goes.
        let live = self.journal.health().segment;
        let numbers: Vec<u64> = numbers.iter().copied().filter(|it| *it < live).collect();
        for number in numbers.iter().filter(|number| **number <= through) {
            self.remove(*number)?;
        }
        let ready = (self.confirmed)().min(self.journal.health().indexed_seq);
        let mut bytes: u64 = numbers.iter().map(|number| self.bytes(*number)).sum();
        bytes += self.bytes(live);
        let mut last = None;
        let kept = numbers.iter().copied().filter(|number| *number > through);
        let mut passed = None;
        for number in kept.take(MOST_AT_ONCE) {
            // Before the last one there is none without a good checkpoint but what is broken. That goes with the next that
            // has one.
            let seal = Seal::read(&self.dir, number, &public).ok().flatten();
            let Some(seal) = seal.filter(|seal| seal.journal == journal) else {
                passed.get_or_insert(number);
                continue;
            };
            let from = passed.unwrap_or(number);
            let Some(why) = self.exceeded(&seal, bytes) else {
                break;
            };
            if seal.last_seq > ready || self.held_by_tag(from, &seal) {
                break;
            }
            let going: u64 = (from..=number).map(|number| self.bytes(number)).sum();
            bytes = bytes.saturating_sub(going);
            passed = None;
            last = Some((seal, why));
        }
        let Some((seal, why)) = last else {
            return Ok(());
        };
        // What was said again names sessions anew: without that the index does not know what later records name.
        let said_again = self.said_again.load(Ordering::Acquire);
        let Some(known) = Known::open(&self.state_dir, said_again)? else {
            return Ok(());
        };
        let kept_from_ns = self.first_after(&seal)?;
        let carried = Carried::read(&self.dir, through + 1, &seal, &known);
        drop(known);
        let written = carried?.write(&self.journal, kept_from_ns);
        self.said_again
            .store(self.journal.health().seq, Ordering::Release);
        written?;
        let seq = self.journal.event(&Event::SegmentsRetired {
            from_segment: through + 1,
            until_segment: seal.segment,
            last_seq: seal.last_seq,
            why: why.to_owned(),
            kept_from_ns: Some(kept_from_ns),
        })?;
        tracing::info!(
            seq,
            from = through + 1,
            until = seal.segment,
            why,
            "segments of the audit journal are removed"
        );
        self.journal.sync()?;
        // The statement first: what is gone without it is a fault.
        Retired::through(&seal, clock::now_ns())
            .write(&self.dir, &self.key)
            .map_err(KeepError::State)?;
        for number in through + 1..=seal.segment {
            self.remove(number)?;
        }
        Ok(())
    }

    /// When the first record behind a segment was made, nanoseconds since the epoch.
    fn first_after(&self, seal: &Seal) -> Result<u64, ReadError> {
        let behind = Position {
            segment: seal.segment + 1,
            offset: 0,
            seq: seal.last_seq + 1,
        };
        let mut reader = Reader::new(&self.dir, behind);
        let first = reader.next_raw()?;
        Ok(first.map_or_else(clock::now_ns, |record| record.time_ns))
    }

    /// The limit that a segment exceeds.
    fn exceeded(&self, seal: &Seal, bytes: u64) -> Option<&'static str> {
        let age = Duration::from_nanos(clock::now_ns().saturating_sub(seal.sealed_ns));
        if self.retention.age.is_some_and(|limit| age > limit.0) {
            return Some("age");
        }
        let size = self
            .retention
            .size_mib
            .map(|mib| mib.saturating_mul(1 << 20));
        size.is_some_and(|limit| bytes > limit).then_some("size")
    }

    /// Whether the segments from `from` to the one that `seal` is of hold a decision whose tag keeps it longer; what cannot be
    /// read is kept as long as any tag keeps something.
    fn held_by_tag(&self, from: u64, seal: &Seal) -> bool {
        let age = Duration::from_nanos(clock::now_ns().saturating_sub(seal.sealed_ns));
        let holding: HashSet<&str> = self
            .retention
            .tags
            .iter()
            .filter(|(_, limit)| age <= limit.0)
            .map(|(tag, _)| tag.as_str())
            .collect();
        if holding.is_empty() {
            return false;
        }
        let mut reader = Reader::new(
            &self.dir,
            Position {
                segment: from,
                offset: 0,
                seq: 0,
            },
        );
        while reader.position().seq <= seal.last_seq {
            match reader.next() {
                Ok(Some(record)) => {
                    if let Entry::StatementDecided(decided) = &record.entry
                        && decided
                            .decision
                            .tags
                            .iter()
                            .any(|tag| holding.contains(tag.as_str()))
                    {
                        return true;
                    }
                }
                Ok(None) => return false,
                Err(_) => return true,
            }
        }
        false
    }

    fn bytes(&self, number: u64) -> u64 {
        [
            segment::path(&self.dir, number),
            packed::path(&self.dir, number),
            chain::path(&self.dir, number),
        ]
        .iter()
        .filter_map(|path| std::fs::metadata(path).ok())
        .map(|metadata| metadata.len())
        .sum()
    }

    fn remove(&self, number: u64) -> Result<(), KeepError> {
        for path in [
            segment::path(&self.dir, number),
            packed::path(&self.dir, number),
            chain::path(&self.dir, number),
            chain::seal::path(&self.dir, number),
        ] {
            match std::fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(segment_error("remove", number)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn segment_error(doing: &'static str, segment: u64) -> impl FnOnce(io::Error) -> KeepError {
    move |source| KeepError::Segment {
        doing,
        segment,
        source,
    }
}

#[cfg(test)]
mod tests;
