//! The way through all segments of a journal: that none is missing, and that the chain goes as far as its signed head.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{Fault, Verification, VerifyError};
use crate::audit::{
    chain::{
        Hash,
        head::{self, Head, HeadError},
        key::PublicKey,
        retired::{self, Retired},
        seal::{Seal, SealError},
    },
    journal::source,
};

/// Verification on its way through the segments.
pub(super) struct Walk<'a> {
    pub(super) dir: PathBuf,
    pub(super) step: &'a dyn Fn(u64, u64),
    pub(super) key: &'a PublicKey,
    pub(super) published: Option<&'a Seal>,
    /// Read first: a live chain only grows beyond it.
    pub(super) head: Option<Head>,
    pub(super) journal: [u8; 16],
    /// The chain's hash so far.
    pub(super) previous: Hash,
    pub(super) previous_root: Hash,
    pub(super) next_seq: u64,
    /// The last segment that was removed on purpose; zero when none was.
    pub(super) retired: u64,
    /// The last segment that has its checkpoint.
    pub(super) last_sealed: u64,
    /// The segment that is looked at.
    pub(super) at: u64,
    /// The last record that the chain covers, also behind a fault.
    pub(super) covered: u64,
    /// What there is to go on from when the segment before has a fault.
    pub(super) resumed: Option<Resumed>,
    pub(super) is_head_read: bool,
    pub(super) is_head_damaged: bool,
    /// Whether the published checkpoint was compared.
    pub(super) is_published_met: bool,
    pub(super) done: Verification,
}

impl From<VerifyError> for Stop {
    fn from(error: VerifyError) -> Self {
        Self::Cannot(error)
    }
}

/// How verification goes on behind a fault.
#[derive(Default)]
pub(super) struct Resumed {
    /// What the next segment may be chained to.
    pub(super) anchors: Vec<Hash>,
    /// Whether something signed says what the last block of the one with the fault is.
    pub(super) is_anchored: bool,
    /// Whether something signed says which record is the first behind it.
    pub(super) is_next_known: bool,
}

pub(super) enum Stop {
    Fault(Fault),
    Cannot(VerifyError),
}

impl Walk<'_> {
    pub(super) fn all(&mut self, numbers: &[u64]) -> Result<(), Stop> {
        self.begin_after_retired()?;
        let Some(last) = numbers.last().copied().filter(|last| *last > self.retired) else {
            if head::path(&self.dir).exists() {
                return Err(self.fault(
                    1,
                    None,
                    "all segments are missing: a signed head is left".to_owned(),
                ));
            }
            return self.reaches_published(self.retired);
        };
        let first = self.retired + 1;
        let mut number = first;
        while number <= last {
            (self.step)(number - first, last - first + 1);
            self.at = number;
            let until = numbers.iter().find(|there| **there >= number);
            let until = until.map_or(last, |there| there - 1);
            if until >= number {
                let missing = self.missing(number, until);
                self.note(Err(missing))?;
                self.resume_behind(until);
                number = until + 1;
                continue;
            }
            let sealed = self.one(number, last);
            // What follows was not chained when this segment was looked at, whatever its files say by now.
            let mut is_end = self.done.live && matches!(sealed, Ok(false));
            if sealed.is_err() {
                let is_last_chained = self.head.is_some_and(|head| number >= head.segment);
                is_end = self.done.live && is_last_chained;
                self.note(sealed.map(drop))?;
                self.resume_behind(number);
            }
            if is_end {
                break;
            }
            number += 1;
        }
        if self.resumed.is_none() {
            let reached = self.reaches_head(last);
            self.note(reached)?;
        }
        self.reaches_published(last)
    }

    /// Keeps a fault: what lies behind it is looked at too.
    pub(super) fn note(&mut self, walked: Result<(), Stop>) -> Result<(), VerifyError> {
        match walked {
            Ok(()) => Ok(()),
            Err(Stop::Fault(fault)) => {
                self.done.faults.push(fault);
                Ok(())
            }
            Err(Stop::Cannot(error)) => Err(error),
        }
    }

    /// Checks the segment `number`; whether it has its checkpoint.
    fn one(&mut self, number: u64, last: u64) -> Result<bool, Stop> {
        let mut opened = self.open(number)?;
        if !self.is_head_read {
            self.is_head_read = true;
            let read = self.read_head();
            self.is_head_damaged = read.is_err();
            self.note(read)?;
        }
        let sealed = self.segment(&mut opened, number == last)?;
        self.done.segments += 1;
        Ok(sealed)
    }

    fn missing(&self, from: u64, until: u64) -> Stop {
        let what = if from == until {
            "the segment is missing".to_owned()
        } else {
            format!("the segments {from} to {until} are missing")
        };
        self.fault(from, None, what)
    }

    /// Prepares to go on behind a segment with a fault: the next one is chained to what could be checked of it, or to what its
    /// checkpoint or its own chain says, which are signed.
    fn resume_behind(&mut self, number: u64) {
        let mut resumed = Resumed {
            is_anchored: false,
            is_next_known: false,
            ..self.resumed.take().unwrap_or_default()
        };
        resumed.anchors.push(self.previous);
        if let Ok(Some(seal)) = Seal::read(&self.dir, number, self.key) {
            if self.journal == [0; 16] {
                self.journal = seal.journal;
                self.done.journal = hex::encode(seal.journal);
            }
            if seal.journal == self.journal {
                resumed.anchors.push(seal.last_hash);
                resumed.is_anchored = true;
                resumed.is_next_known = true;
                self.next_seq = self.next_seq.max(seal.last_seq.saturating_add(1));
            }
        }
        if let Some(last) = self.signed_entries(number).last() {
            resumed.anchors.push(last.hash);
            resumed.is_anchored = true;
            let next = last.first_seq.saturating_add(last.records);
            self.next_seq = self.next_seq.max(next);
        }
        self.resumed = Some(resumed);
    }

    /// A journal may begin where a signed statement says that what was before has been removed.
    fn begin_after_retired(&mut self) -> Result<(), Stop> {
        match Retired::read(&self.dir, self.key) {
            Ok(None) => {}
            Ok(Some(retired)) => {
                self.journal = retired.journal;
                self.previous = retired.last_hash;
                self.previous_root = retired.root;
                self.next_seq = retired.last_seq + 1;
                self.retired = retired.segment;
                self.last_sealed = retired.segment;
                self.done.retired_seq = retired.last_seq;
                self.done.covered_seq = retired.last_seq;
                self.covered = retired.last_seq;
                self.done.journal = hex::encode(retired.journal);
            }
            Err(SealError::Read(source)) => {
                return Err(self.cannot(&retired::path(&self.dir), source));
            }
            Err(_) => {
                let what = "the statement of what was removed is not signed by this journal's key";
                return Err(self.fault(1, None, what.to_owned()));
            }
        }
        Ok(())
    }

    fn read_head(&mut self) -> Result<(), Stop> {
        let mut look = 1;
        self.head = loop {
            match Head::read(&self.dir, &self.journal, self.key) {
                Ok(head) => break head,
                Err(HeadError::Read(source)) => {
                    return Err(self.cannot(&head::path(&self.dir), source));
                }
                Err(error @ HeadError::Signature) if !self.again(&mut look) => {
                    return Err(self.fault(1, None, error.to_string()));
                }
                Err(HeadError::Signature) => {}
            }
        };
        self.done.head_ns = self.head.map_or(0, |head| head.time_ns);
        Ok(())
    }

    /// The chain has to go at least as far as the head.
    fn reaches_head(&self, last: u64) -> Result<(), Stop> {
        match self.head {
            Some(head) if head.last_seq > self.covered => Err(Stop::Fault(Fault {
                segment: head.segment,
                block: Some(head.block),
                first_seq: self.covered + 1,
                last_seq: Some(head.last_seq),
                what: "the end was cut off: the signed head names more records".to_owned(),
            })),
            None if self.next_seq > 1 && !self.done.live && !self.is_head_damaged => {
                Err(self.fault(last, None, "the chain's signed head is missing".to_owned()))
            }
            _ => Ok(()),
        }
    }

    fn reaches_published(&self, last: u64) -> Result<(), Stop> {
        match self.published {
            Some(published) if published.journal != self.journal => Err(self.fault(
                published.segment,
                None,
                "the published checkpoint is another journal's".to_owned(),
            )),
            _ if self.is_published_met => Ok(()),
            Some(published) if published.segment <= self.retired => self.was_published(published),
            Some(published) if published.segment > self.last_sealed.max(self.at) => {
                let what =
                    format!("the journal ends in segment {last}, before the published checkpoint");
                Err(self.fault(published.segment, None, what))
            }
            // Its segment has a fault, or no checkpoint yet.
            Some(published) => match Seal::read(&self.dir, published.segment, self.key) {
                Ok(Some(seal)) if seal == *published => Ok(()),
                Ok(Some(_)) => Err(self.fault(published.segment, None, NOT_PUBLISHED.to_owned())),
                Ok(None) => {
                    let what = "the segment has no checkpoint, but one was published".to_owned();
                    Err(self.fault(published.segment, None, what))
                }
                Err(error) => {
                    let what = format!("the published checkpoint could not be compared: {error}");
                    Err(self.fault(published.segment, None, what))
                }
            },
            None => Ok(()),
        }
    }

    /// Of a segment that was removed on purpose only the last is known by more than its number.
    fn was_published(&self, published: &Seal) -> Result<(), Stop> {
        let retired = Retired::read(&self.dir, self.key).ok().flatten();
        let what = match retired {
            Some(retired) if retired.segment == published.segment => {
                let stated = (retired.last_seq, retired.last_hash, retired.root);
                if stated == (published.last_seq, published.last_hash, published.root) {
                    return Ok(());
                }
                NOT_PUBLISHED.to_owned()
            }
            _ => format!(
                "the published checkpoint could not be compared: the segments up to {} were removed",
                self.retired
            ),
        };
        Err(self.fault(published.segment, None, what))
    }

    /// Whether to look at a file again that may be half-written at this moment.
    pub(super) fn again(&self, look: &mut u32) -> bool {
        let again = self.done.live && *look < LOOKS;
        if again {
            *look += 1;
            std::thread::sleep(Duration::from_millis(5));
        }
        again
    }

    pub(super) fn fault(&self, segment: u64, block: Option<u64>, what: String) -> Stop {
        Stop::Fault(Fault {
            segment,
            block,
            first_seq: self.next_seq,
            last_seq: None,
            what,
        })
    }

    pub(super) fn cannot(&self, path: &Path, source: io::Error) -> Stop {
        // A file that vanished or shrank below what was read a moment ago is damage, not a lack of rights.
        if source.kind() == io::ErrorKind::UnexpectedEof {
            return self.fault(self.at, None, format!("{} was cut short", path.display()));
        }
        // What the disk has lost is a fault as well, and the rest is looked at.
        if source::is_unreadable(&source) {
            let what = format!("{} cannot be read from the disk", path.display());
            return self.fault(self.at, None, what);
        }
        Stop::Cannot(VerifyError::Io {
            path: path.to_owned(),
            source,
        })
    }
}

/// What is wrong with a segment whose checkpoint was another one before.
pub(super) const NOT_PUBLISHED: &str = "the segment's checkpoint is not the published one";

/// How often a file that its writer may just be changing is read again.
const LOOKS: u32 = 5;
