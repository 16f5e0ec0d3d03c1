//! What the thread of a sink does: reads on, sends, notes what was confirmed.

use std::{
    collections::VecDeque,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::watch;

use super::{
    Host, Sink,
    cursor::{Cursor, CursorError, Place},
    integrity::Link,
    messages::Batch,
    sender::{SendError, Sender},
    tape::{Carry, Item, Tape},
};
use crate::{
    audit::journal::{Journal, reader::ReadError},
    clock, telemetry,
};

/// Records read, and sent, together.
const BATCH_RECORDS: usize = 1000;
/// Of what is sent together, roughly. Collectors are advised to take 20 MiB.
const BATCH_BYTES: usize = 4 << 20;
/// How often an idle sink looks for records.
const INTERVAL: Duration = Duration::from_millis(250);
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// Records that are tried one by one at a time to see whether a sink takes any.
const PROBES: usize = 20;
/// Records that are kept in memory at most to try them so.
const MOST_PENDING: usize = 4 * BATCH_RECORDS;
/// However long a sink asks for.
const LONGEST_WISH: Duration = Duration::from_mins(10);

pub(super) struct Work {
    sink: Arc<Sink>,
    folder: PathBuf,
    /// What may be sent: what a power failure takes back has to be unknown to others, its numbers are given out again.
    on_disk: Arc<AtomicU64>,
    host: Host,
    cursor: Cursor,
    sender: Sender,
    stop: watch::Receiver<bool>,
    tape: Tape,
    /// What was read and is not confirmed, and what had begun before it.
    pending: VecDeque<Item>,
    before: Carry,
    pace: Pace,
    /// Whether the sink has taken something since the last that it refused.
    taking: bool,
    /// Pending records behind the first that were tried alone while that one is refused.
    probed: usize,
}

/// How many records go together: fewer once a sink could not take as many.
#[derive(Debug, PartialEq, Eq)]
struct Pace {
    most: usize,
    /// Whether it was time that a sink lacked.
    is_slow: bool,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            most: BATCH_RECORDS,
            is_slow: false,
        }
    }
}

impl Pace {
    /// Of `count` records some are too large, or not fit for the sink: which ones shows in the end.
    fn unfit(&mut self, count: usize) {
        self.most = (count / 2).max(1);
    }

    /// A sink did not take `count` records in the time that there is.
    fn slow(&mut self, count: usize) {
        self.most = (count / 2).max(1);
        self.is_slow = true;
    }

    /// A sink took what it was sent: in small steps where too much costs the whole time limit again.
    fn taken(&mut self) {
        let step = if self.is_slow {
            (self.most / 8).max(1)
        } else {
            self.most
        };
        self.most = (self.most + step).min(BATCH_RECORDS);
        self.is_slow &= self.most < BATCH_RECORDS;
    }
}

enum Sent {
    Taken {
        /// Records of it that the sink will never take.
        refused: u64,
        link: Option<Link>,
    },
    /// There was nothing in it that the sink's form tells of.
    Nothing,
    Stopped,
}

enum Step {
    Sent,
    Idle,
}

#[derive(Debug, thiserror::Error)]
enum WorkError {
    #[error("cannot read the journal")]
    Read(#[from] ReadError),
    #[error(transparent)]
    Send(#[from] SendError),
    #[error(transparent)]
    Cursor(#[from] CursorError),
}

impl Work {
    pub(super) fn new(
        sink: Arc<Sink>,
        journal: &Journal,
        host: Host,
        cursor: Cursor,
        sender: Sender,
        stop: watch::Receiver<bool>,
    ) -> Self {
        let place = cursor.place();
        let (folder, on_disk) = (journal.folder().to_owned(), journal.on_disk());
        let limit = Some(Arc::clone(&on_disk));
        let tape = Tape::new(&folder, place.position, &place.carry, limit);
        Self {
            sink,
            folder,
            on_disk,
            host,
            before: place.carry.clone(),
            cursor,
            sender,
            stop,
            tape,
            pending: VecDeque::new(),
            pace: Pace::default(),
            taking: false,
            probed: 0,
        }
    }

    pub(super) async fn run(mut self) {
        let mut pause = FIRST_PAUSE;
        while !*self.stop.borrow() {
            match self.step().await {
                Ok(Step::Sent) => {
                    *self.sink.problem() = None;
                    pause = FIRST_PAUSE;
                }
                Ok(Step::Idle) => self.wait(INTERVAL).await,
                Err(problem) => {
                    self.tell(&problem);
                    if matches!(problem, WorkError::Read(_)) {
                        self.rewind();
                    }
                    let wish = match &problem {
                        WorkError::Send(error) => error.retry_after(),
                        _ => None,
                    };
                    let wish = wish.unwrap_or_default().min(LONGEST_WISH);
                    self.wait(jittered(pause.max(wish))).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    fn tell(&self, problem: &WorkError) {
        let text = telemetry::chain(problem);
        if self.sink.problem().replace(text.clone()).as_ref() != Some(&text) {
            tracing::warn!(
                export = self.sink.settings.name,
                problem = text,
                "an export waits"
            );
        }
    }

    /// What was read and not confirmed is read again.
    fn rewind(&mut self) {
        let place = self.cursor.place();
        let limit = Some(Arc::clone(&self.on_disk));
        self.tape = Tape::new(&self.folder, place.position, &place.carry, limit);
        self.before = place.carry.clone();
        self.pending.clear();
        self.probed = 0;
    }

    /// Sends one batch and waits until it is confirmed.
    async fn step(&mut self) -> Result<Step, WorkError> {
        if self.pending.is_empty() {
            self.before = self.tape.carry();
            self.pending = self.tape.read(BATCH_RECORDS)?.into();
        }
        let count = self.count();
        if count == 0 && self.tape.position() == self.cursor.place().position {
            return Ok(Step::Idle);
        }
        let mut place = self.cursor.place().clone();
        match self.send(0, count).await {
            Ok(Sent::Taken { refused, link }) => {
                place.refused = place.refused.saturating_add(refused);
                place.link = link.or(place.link);
                self.taking = true;
            }
            Ok(Sent::Nothing) => {}
            Ok(Sent::Stopped) => return Ok(Step::Idle),
            Err(error) if error.is_unfit() && count > 1 => {
                // It is too much, or one record of it cannot be taken: which one shows in the end.
                self.pace.unfit(count);
                return Ok(Step::Sent);
            }
            Err(error) if error.is_unfit() && self.takes_others().await? => {
                self.refused(1, &telemetry::chain(&error));
                place.refused = place.refused.saturating_add(1);
                self.taking = false;
            }
            Err(error) => {
                if error.is_slow() {
                    self.pace.slow(count);
                }
                return Err(error.into());
            }
        }
        self.pending.drain(..count);
        // The one that was taken is tried first when the next is refused too.
        self.probed = self.probed.saturating_sub(count + 1);
        place.position = match self.pending.front() {
            Some(next) => next.at,
            None => self.tape.position(),
        };
        place.carry = self.tape.carry();
        if !self.pending.is_empty() {
            place.carry = place.carry.join(self.before.clone());
        }
        self.confirm(place)?;
        self.pace.taken();
        Ok(Step::Sent)
    }

    /// Sends `count` pending records from the one at `from` on.
    async fn send(&mut self, from: usize, count: usize) -> Result<Sent, SendError> {
        let items = &self.pending.make_contiguous()[from..from + count];
        let batch = Batch::new(
            self.sink.settings.form,
            &self.host,
            &self.sink.settings.name,
            items,
            self.cursor.place().link.as_ref(),
        );
        if batch.messages.is_empty() {
            return Ok(Sent::Nothing);
        }
        let taken = tokio::select! {
            sent = self.sender.send(&batch.messages) => sent?,
            // The next agent sends it again.
            _ = self.stop.wait_for(|stop| *stop) => return Ok(Sent::Stopped),
        };
        // The number is the collector's: it cannot have refused more than it was sent.
        let refused = taken.refused.min(count as u64);
        if refused > 0 {
            self.refused(refused, &taken.why);
        }
        Ok(Sent::Taken {
            refused,
            link: batch.link,
        })
    }

    /// Whether the sink takes anything at all, now that it has refused a record alone: a wrong address refuses everything, and
    /// then nothing may be passed over. Where all that there is was refused, what comes later is tried in its turn.
    async fn takes_others(&mut self) -> Result<bool, ReadError> {
        let mut tried = 0;
        while !self.taking && tried < PROBES {
            if self.probed + 1 >= self.pending.len() && !self.read_more()? {
                // From the first one again, at the next attempt.
                self.probed = 0;
                break;
            }
            self.probed += 1;
            match self.send(self.probed, 1).await {
                Ok(Sent::Taken { .. }) => self.taking = true,
                // It was not sent, and so tells nothing of the sink.
                Ok(Sent::Nothing) => {}
                Err(error) if error.is_unfit() => tried += 1,
                // The sink is not there at the moment, or this agent stops.
                Ok(Sent::Stopped) | Err(_) => break,
            }
        }
        Ok(self.taking)
    }

    /// Adds records to the pending ones; `false` when there are none, or enough are in memory.
    fn read_more(&mut self) -> Result<bool, ReadError> {
        if self.pending.len() >= MOST_PENDING {
            return Ok(false);
        }
        let more = self.tape.read(BATCH_RECORDS)?;
        let is_more = !more.is_empty();
        self.pending.extend(more);
        Ok(is_more)
    }

    /// How many of the pending records go together.
    fn count(&self) -> usize {
        let mut bytes = 0;
        let fits = self.pending.iter().take(self.pace.most).take_while(|item| {
            bytes += item.weight();
            bytes <= BATCH_BYTES
        });
        fits.count().max(usize::from(!self.pending.is_empty()))
    }

    fn confirm(&mut self, place: Place) -> Result<(), CursorError> {
        self.cursor.advance(place)?;
        let place = self.cursor.place();
        self.sink.refused.store(place.refused, Ordering::Release);
        self.sink
            .confirmed
            .store(place.position.seq.saturating_sub(1), Ordering::Release);
        Ok(())
    }

    /// The sink will never take some records: they are in the journal, and the rest goes on.
    fn refused(&self, count: u64, why: &str) {
        tracing::error!(
            export = self.sink.settings.name,
            from_seq = self.pending.front().map(|item| item.seq),
            count,
            why,
            "an export's sink refused records for good"
        );
    }

    async fn wait(&mut self, time: Duration) {
        // Ends early when the agent stops; that the sender is gone is a stop too.
        let _ = tokio::time::timeout(time, self.stop.wait_for(|stop| *stop)).await;
    }
}

/// Up to a quarter more: not every host tries at the same moment.
fn jittered(pause: Duration) -> Duration {
    let part = u32::try_from(clock::now_ns() % 256).unwrap_or_default();
    pause + pause * part / 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_sink_gets_less_at_a_time_and_more_again_in_steps() {
        let mut pace = Pace::default();
        pace.slow(BATCH_RECORDS);
        pace.slow(pace.most);
        assert_eq!(pace.most, BATCH_RECORDS / 4);
        pace.taken();
        assert_eq!(pace.most, BATCH_RECORDS / 4 + BATCH_RECORDS / 32);
        for _ in 0..100 {
            pace.slow(pace.most);
        }
        assert_eq!(pace.most, 1);
        for _ in 0..100 {
            pace.taken();
        }
        assert_eq!(pace, Pace::default());
    }

    #[test]
    fn what_was_too_large_once_does_not_keep_batches_small() {
        let mut pace = Pace::default();
        pace.unfit(BATCH_RECORDS);
        pace.unfit(pace.most);
        pace.taken();
        assert_eq!(pace.most, BATCH_RECORDS / 2);
    }
}
