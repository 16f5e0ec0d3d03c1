//! The way through all segments of a journal: that none is missing, and that the chain goes as far as its signed head.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{Fault, Verification, VerifyError};
use crate::audit::chain::{
    Hash,
    head::{self, Head, HeadError},
    key::PublicKey,
    retired::{self, Retired},
    seal::{Seal, SealError},
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
    pub(super) done: Verification,
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
            return Ok(());
        };
        let first = self.retired + 1;
        for number in first..=last {
            (self.step)(number - first, last - first + 1);
            if numbers.binary_search(&number).is_err() {
                return Err(self.fault(number, None, "the segment is missing".to_owned()));
            }
            let mut opened = self.open(number)?;
            if number == first {
                self.read_head()?;
            }
            let sealed = self.segment(&mut opened, number == last)?;
            self.done.segments += 1;
            if self.done.live && !sealed {
                // What follows was not chained when this segment was looked at, whatever its files say by now.
                break;
            }
        }
        self.reaches_head(last)
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
            Some(head) if head.last_seq > self.done.covered_seq => Err(Stop::Fault(Fault {
                segment: head.segment,
                block: Some(head.block),
                first_seq: self.done.covered_seq + 1,
                last_seq: Some(head.last_seq),
                what: "the end was cut off: the signed head names more records".to_owned(),
            })),
            None if self.next_seq > 1 && !self.done.live => {
                Err(self.fault(last, None, "the chain's signed head is missing".to_owned()))
            }
            _ => self.reaches_published(last),
        }
    }

    fn reaches_published(&self, last: u64) -> Result<(), Stop> {
        match self.published {
            Some(published) if published.journal != self.journal => Err(self.fault(
                published.segment,
                None,
                "the published checkpoint is another journal's".to_owned(),
            )),
            Some(published) if published.segment > self.last_sealed => {
                let what =
                    format!("the journal ends in segment {last}, before the published checkpoint");
                Err(self.fault(published.segment, None, what))
            }
            _ => Ok(()),
        }
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
            return self.fault(
                self.done.segments + 1,
                None,
                format!("{} was cut short", path.display()),
            );
        }
        Stop::Cannot(VerifyError::Io {
            path: path.to_owned(),
            source,
        })
    }
}

/// How often a file that its writer may just be changing is read again.
const LOOKS: u32 = 5;
