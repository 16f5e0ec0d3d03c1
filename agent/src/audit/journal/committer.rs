//! The background thread: brings records to the disk, extends the chain, seals full segments, makes spare ones.

use std::{
    io,
    path::PathBuf,
    sync::{Arc, PoisonError, atomic::Ordering},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use super::{
    Inner, JournalError,
    writer::{self, Extent},
};
use crate::{
    audit::chain::{
        Hash, SegmentChain,
        head::{Head, HeadFile},
        key::SigningKey,
        merkle,
        seal::Seal,
    },
    clock,
};

/// The longest a record waits for the disk.
const INTERVAL: Duration = Duration::from_millis(50);

/// Without records for this long the thread sleeps until the next one wakes it.
const IDLE: Duration = Duration::from_secs(2);

/// How long a full disk is left alone before a spare segment is tried again.
const SPARE_RETRY: Duration = Duration::from_secs(1);

/// The chain as the thread extends it.
#[derive(Debug)]
pub(super) struct ChainState {
    pub(super) dir: PathBuf,
    pub(super) journal: [u8; 16],
    pub(super) key: SigningKey,
    pub(super) head: HeadFile,
    pub(super) current: SegmentChain,
    /// Where `current` was on disk up to.
    pub(super) synced_to: usize,
    /// The first record of `current`.
    pub(super) first_seq: u64,
    pub(super) previous_root: Hash,
}

pub(super) fn start(inner: &Arc<Inner>, chain: ChainState) -> Result<JoinHandle<()>, JournalError> {
    let shared = Arc::clone(inner);
    let thread = std::thread::Builder::new()
        .name("weir-journal".to_owned())
        .spawn(move || run(&shared, chain))
        .map_err(JournalError::io("start the thread of", &inner.dir))?;
    // Only this function sets it.
    let _ = inner.committer.set(thread.thread().clone());
    Ok(thread)
}

fn run(inner: &Inner, mut chain: ChainState) {
    let mut last_work = Instant::now();
    let mut last_spare = None;
    let mut last_look = None;
    let mut is_full = false;
    loop {
        let stopping = inner.stopping.load(Ordering::Acquire);
        if !stopping {
            keep_spare(inner, &mut last_spare);
            watch_disk(inner, &mut last_look, is_full);
        }
        match commit(inner, &mut chain, stopping) {
            Ok(progress) => {
                if std::mem::take(&mut is_full) {
                    inner.set_short(None);
                }
                if progress == Progress::Moved {
                    last_work = Instant::now();
                }
            }
            Err(error) if is_lack_of_room(&error) => {
                is_full = true;
                run_short(inner, error);
            }
            Err(error) => fail(inner, &error),
        }
        if stopping || inner.failed.load(Ordering::Relaxed) {
            return;
        }
        if last_work.elapsed() < IDLE {
            std::thread::park_timeout(INTERVAL);
        } else if inner.lock().trouble.is_present() {
            // Nobody writes while requests are refused: this thread has to see for itself when there is room.
            std::thread::park_timeout(SPARE_RETRY);
        } else {
            sleep_until_woken(inner);
        }
    }
}

#[derive(PartialEq)]
enum Progress {
    Moved,
    Idle,
}

/// Nothing is lost by it: what is recorded lies in segments that have their room, and is chained once chain and checkpoints
/// have theirs.
fn is_lack_of_room(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// After a sync that failed the kernel may have forgotten what it could not write, and the next sync succeeds without it: never
/// tried again, whatever the reason.
fn unsynced(error: io::Error) -> io::Error {
    io::Error::other(error)
}

/// Requests are refused as for any disk that is short, and those who wait for the disk are told.
fn run_short(inner: &Inner, error: io::Error) {
    let error = JournalError::io("chain records in", &inner.dir)(error);
    inner.lock().trouble.begin(error.clone());
    inner.set_short(Some(error));
    inner.synced.send_modify(|_| {});
}

/// One pass: everything that was recorded when it began is on disk and chained when it ends. After an error the next pass
/// begins with what this one did not finish.
fn commit(inner: &Inner, chain: &mut ChainState, closing: bool) -> io::Result<Progress> {
    let extents = inner.lock().extents();
    let Some((current, full)) = extents.split_last() else {
        return Ok(Progress::Idle);
    };
    let last_seq = current.next_seq - 1;
    let covered = inner.chained_seq.load(Ordering::Relaxed);
    if last_seq == covered && full.is_empty() && !closing {
        return Ok(Progress::Idle);
    }
    let begun = Instant::now();
    for (done, extent) in full.iter().enumerate() {
        if let Err(error) = chain.cover(extent).and_then(|()| chain.seal(extent)) {
            let left = full[done..].iter().cloned();
            inner.lock().retired.splice(0..0, left);
            return Err(error);
        }
    }
    chain.cover(current)?;
    chain.current.sync().map_err(unsynced)?;
    let (block, hash) = chain.current.last();
    let head = Head {
        segment: chain.current.segment,
        block,
        last_seq,
        hash,
        time_ns: clock::now_ns(),
        closed: closing,
    };
    // After the chain is on disk: a power failure must not leave a head that names more than there is.
    chain.head.write(&head, &chain.key)?;
    if closing {
        chain.head.sync()?;
    }
    inner.chained_seq.store(last_seq, Ordering::Release);
    inner.last_sync_ns.store(clock::now_ns(), Ordering::Relaxed);
    inner.syncs.count(begun.elapsed());
    inner.synced.send_replace(last_seq);
    Ok(Progress::Moved)
}

impl ChainState {
    /// Brings a segment's records to the disk, then into the chain.
    fn cover(&mut self, extent: &Extent) -> io::Result<()> {
        let segment = &extent.segment;
        if segment.number != self.current.segment {
            let (_, previous) = self.current.last();
            self.current = SegmentChain::begin(
                &self.dir,
                self.journal,
                segment.number,
                self.first_seq,
                previous,
            )?;
            self.synced_to = 0;
        }
        segment.sync(self.synced_to, extent.end).map_err(unsynced)?;
        self.synced_to = extent.end;
        self.current.extend(&segment.file, extent.end, &self.key)
    }

    /// Cuts a full segment to size and signs its root.
    fn seal(&mut self, extent: &Extent) -> io::Result<()> {
        let segment = &extent.segment;
        self.current.sync().map_err(unsynced)?;
        segment.file.set_len(extent.end as u64)?;
        segment.file.sync_all().map_err(unsynced)?;
        let (_, last_hash) = self.current.last();
        let blocks = self.current.block_hashes();
        let root = merkle::root(&blocks);
        let seal = Seal {
            journal: self.journal,
            segment: segment.number,
            first_seq: self.first_seq,
            last_seq: extent.next_seq - 1,
            bytes: extent.end as u64,
            blocks: blocks.len() as u64,
            last_hash,
            root,
            previous_root: self.previous_root,
            sealed_ns: clock::now_ns(),
        };
        seal.write(&self.dir, &self.key)?;
        self.previous_root = root;
        self.first_seq = extent.next_seq;
        Ok(())
    }
}

/// Makes the next segment ahead of need, so that a full disk shows before the current one ends.
fn keep_spare(inner: &Inner, last_try: &mut Option<Instant>) {
    if last_try.is_some_and(|at: Instant| at.elapsed() < SPARE_RETRY) {
        return;
    }
    let (bytes, spare) = {
        let writer = inner.lock();
        (writer.segment_bytes, Arc::clone(&writer.spare))
    };
    let mut spare = spare.lock();
    if spare.is_some() {
        return;
    }
    match writer::make_spare(&inner.dir, writer::SPARE, bytes, inner.reserve_bytes) {
        Ok(made) => {
            *last_try = None;
            *spare = Some(made);
        }
        Err(error) => {
            if last_try.replace(Instant::now()).is_none() {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "no segment can be made ahead of need"
                );
            }
        }
    }
}

/// Looks whether the disk has its reserve, and keeps an emergency segment where one is asked for.
fn watch_disk(inner: &Inner, last_look: &mut Option<Instant>, is_full: bool) {
    if last_look.is_some_and(|at| at.elapsed() < SPARE_RETRY) {
        return;
    }
    *last_look = Some(Instant::now());
    let Ok(free) = writer::free_bytes(&inner.dir) else {
        return;
    };
    let (wants_emergency, bytes) = {
        let mut writer = inner.lock();
        if free < inner.reserve_bytes {
            writer.trouble.begin(JournalError::Low {
                free_mib: free >> 20,
                reserve_mib: inner.reserve_bytes >> 20,
            });
        } else if !is_full && writer.spare.lock().is_some() {
            writer.trouble.end();
        }
        let wants = writer.trouble.allow_for.is_some() && writer.trouble.emergency.is_none();
        (wants && !writer.trouble.is_present(), writer.segment_bytes)
    };
    if !wants_emergency {
        return;
    }
    match writer::make_spare(&inner.dir, writer::EMERGENCY, bytes, inner.reserve_bytes) {
        Ok(segment) => inner.lock().trouble.emergency = Some(segment),
        Err(error) => tracing::warn!(
            error = &error as &dyn std::error::Error,
            "no emergency segment can be made: with a full disk statements are refused at once"
        ),
    }
}

fn fail(inner: &Inner, error: &io::Error) {
    tracing::error!(
        error = error as &dyn std::error::Error,
        "the audit journal cannot be brought to disk; statements are refused"
    );
    *inner.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
    inner.failed.store(true, Ordering::Relaxed);
    // Those who wait have to look again.
    inner.synced.send_modify(|_| {});
}

fn sleep_until_woken(inner: &Inner) {
    {
        let mut writer = inner.lock();
        if writer.last_seq() != inner.chained_seq.load(Ordering::Relaxed) {
            return;
        }
        writer.committer_asleep = true;
    }
    std::thread::park();
}
