//! Checks a journal against its chain: finds any change, gap, reordering or truncation.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Serialize;

use super::{
    ENTRY_BYTES, Entry, Hash, block_hash, genesis,
    head::{Head, HeadError},
    key::PublicKey,
    merkle,
    retired::Retired,
    seal::{Seal, SealError},
};
use crate::audit::journal::{
    self, FOLDER,
    layout::{self, Parsed, SEGMENT_HEADER_BYTES, SegmentHeader},
    segment,
    source::Source,
};

/// How often a file that its writer may just be changing is read again.
const LOOKS: u32 = 5;

/// What verification found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// Whether everything that is covered is as it was recorded.
    pub intact: bool,
    /// The first fault, when there is one; what lies behind it was not looked at.
    pub fault: Option<Fault>,
    /// The journal's id, hexadecimal; empty in an empty journal.
    pub journal: String,
    /// The last record of those that were removed because they were kept long enough; zero when none were.
    pub retired_seq: u64,
    /// Segments checked.
    pub segments: u64,
    /// Those of them that are full and have a signed checkpoint.
    pub sealed: u64,
    /// Blocks checked.
    pub blocks: u64,
    /// The last record that the chain covers.
    pub covered_seq: u64,
    /// Whole records after it: not yet hashed, so a change to them does not show.
    pub uncovered: u64,
    /// Bytes of a record that a crash cut short, behind all of these.
    pub torn_bytes: u64,
    /// The chain's hash at its end, hexadecimal: compare it with what was published before.
    pub head: String,
    /// When the head was signed, nanoseconds since the epoch; zero without one.
    pub head_ns: u64,
    /// Whether an agent is writing this journal now.
    pub live: bool,
}

/// The first place where the journal is not what was recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The segment.
    pub segment: u64,
    /// The block in it; `None` when it concerns the segment as a whole.
    pub block: Option<u64>,
    /// The first record concerned.
    pub first_seq: u64,
    /// The last record concerned; `None` when unknown.
    pub last_seq: Option<u64>,
    /// What is wrong.
    pub what: String,
}

/// Why a journal cannot be verified at all.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The operating system refused.
    #[error("cannot read {}", path.display())]
    Io {
        /// What.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Verifies the journal in `state_dir` with `key`. `published` is a checkpoint that was copied elsewhere before.
///
/// # Errors
///
/// [`VerifyError`] when it cannot be read; what is wrong with its content is in [`Verification::fault`].
pub fn verify(
    state_dir: &Path,
    key: &PublicKey,
    published: Option<&Seal>,
) -> Result<Verification, VerifyError> {
    verify_by_step(state_dir, key, published, &|_, _| {})
}

/// As [`verify`]; tells how many segments are done, of how many, before each.
///
/// # Errors
///
/// As [`verify`].
pub fn verify_by_step(
    state_dir: &Path,
    key: &PublicKey,
    published: Option<&Seal>,
    step: &dyn Fn(u64, u64),
) -> Result<Verification, VerifyError> {
    let dir = state_dir.join(FOLDER);
    let numbers = segment::list(&dir).map_err(|source| VerifyError::Io {
        path: dir.clone(),
        source,
    })?;
    let mut walk = Walk {
        key,
        published,
        step,
        head: None,
        journal: [0; 16],
        previous: [0; 32],
        previous_root: [0; 32],
        next_seq: 1,
        retired: 0,
        last_sealed: 0,
        done: Verification {
            intact: false,
            fault: None,
            journal: String::new(),
            retired_seq: 0,
            segments: 0,
            sealed: 0,
            blocks: 0,
            covered_seq: 0,
            uncovered: 0,
            torn_bytes: 0,
            head: String::new(),
            head_ns: 0,
            live: journal::is_live(&dir),
        },
        dir,
    };
    match walk.all(&numbers) {
        Ok(()) => {}
        Err(Stop::Fault(fault)) => walk.done.fault = Some(fault),
        Err(Stop::Cannot(error)) => return Err(error),
    }
    walk.done.intact = walk.done.fault.is_none();
    walk.done.head = hex::encode(walk.previous);
    Ok(walk.done)
}

/// Verification on its way through the segments.
struct Walk<'a> {
    dir: PathBuf,
    step: &'a dyn Fn(u64, u64),
    key: &'a PublicKey,
    published: Option<&'a Seal>,
    /// Read first: a live chain only grows beyond it.
    head: Option<Head>,
    journal: [u8; 16],
    /// The chain's hash so far.
    previous: Hash,
    previous_root: Hash,
    next_seq: u64,
    /// The last segment that was removed on purpose; zero when none was.
    retired: u64,
    /// The last segment that has its checkpoint.
    last_sealed: u64,
    done: Verification,
}

enum Stop {
    Fault(Fault),
    Cannot(VerifyError),
}

/// A segment, opened.
struct Opened {
    number: u64,
    path: PathBuf,
    file: Source,
    bytes: u64,
    first_seq: u64,
}

impl Walk<'_> {
    fn all(&mut self, numbers: &[u64]) -> Result<(), Stop> {
        self.begin_after_retired()?;
        let Some(last) = numbers.last().copied().filter(|last| *last > self.retired) else {
            if super::head::path(&self.dir).exists() {
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
                return Err(self.cannot(&super::retired::path(&self.dir), source));
            }
            Err(_) => {
                let what = "the statement of what was removed is not signed by this journal's key";
                return Err(self.fault(1, None, what.to_owned()));
            }
        }
        Ok(())
    }

    fn open(&mut self, number: u64) -> Result<Opened, Stop> {
        let path = segment::path(&self.dir, number);
        let mut look = 1;
        let mut file = loop {
            match Source::open(&self.dir, number) {
                Ok(file) => break file,
                // A segment that is packed at this moment is at one of two places.
                Err(error) if error.kind() == io::ErrorKind::NotFound && self.again(&mut look) => {}
                Err(source) => return Err(self.cannot_block(number, 0, &path, source)),
            }
        };
        let bytes = file.bytes().map_err(|source| self.cannot(&path, source))?;
        let mut header = [0; SEGMENT_HEADER_BYTES];
        let header = file
            .read_exact_at(&mut header, 0)
            .ok()
            .and_then(|()| SegmentHeader::decode(&header))
            .filter(|header| {
                let first = number == 1 && self.retired == 0;
                header.number == number && (first || header.journal == self.journal)
            })
            .ok_or_else(|| {
                self.fault(
                    number,
                    Some(0),
                    "the segment's header was changed".to_owned(),
                )
            })?;
        if number == 1 {
            self.journal = header.journal;
            self.done.journal = hex::encode(header.journal);
            self.previous = genesis(&header.journal);
        }
        if header.first_seq != self.next_seq {
            let what = format!(
                "the segment begins with record {}, not {}",
                header.first_seq, self.next_seq
            );
            return Err(self.fault(number, Some(0), what));
        }
        Ok(Opened {
            number,
            path,
            file,
            bytes,
            first_seq: header.first_seq,
        })
    }

    fn read_head(&mut self) -> Result<(), Stop> {
        let mut look = 1;
        self.head = loop {
            match Head::read(&self.dir, &self.journal, self.key) {
                Ok(head) => break head,
                Err(HeadError::Read(source)) => {
                    return Err(self.cannot(&super::head::path(&self.dir), source));
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

    /// Checks a segment; whether it has its checkpoint.
    fn segment(&mut self, opened: &mut Opened, last: bool) -> Result<bool, Stop> {
        let number = opened.number;
        let seal = match Seal::read(&self.dir, number, self.key) {
            Ok(seal) => seal,
            Err(SealError::Read(source)) => {
                return Err(self.cannot(&super::seal::path(&self.dir, number), source));
            }
            Err(error) => return Err(self.fault(number, None, error.to_string())),
        };
        let entries = self.entries(number)?;
        let mut covered = 0;
        let mut leaves = Vec::with_capacity(entries.len());
        for (block, entry) in entries.iter().enumerate() {
            self.block(opened, block as u64, entry, covered)?;
            covered += entry.length;
            leaves.push(entry.hash);
        }
        match seal {
            Some(seal) => self.sealed(opened, &seal, covered, &leaves)?,
            // The head goes on to a segment after the one before is sealed.
            None if self.head.is_some_and(|head| head.segment > number) => {
                let what = "the segment's checkpoint is missing".to_owned();
                return Err(self.fault(number, None, what));
            }
            None => {
                self.rest(opened, covered, last)?;
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The signed entries of a segment's chain.
    fn entries(&mut self, number: u64) -> Result<Vec<Entry>, Stop> {
        let path = super::path(&self.dir, number);
        let mut look = 1;
        loop {
            let bytes = match std::fs::read(&path) {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
                Err(source) => return Err(self.cannot(&path, source)),
            };
            let entries: Vec<_> = bytes
                .chunks(ENTRY_BYTES)
                .zip(0..)
                .map_while(|(bytes, block)| {
                    Entry::decode(bytes, &self.journal, number, block, self.key)
                })
                .collect();
            if entries.len() == bytes.len().div_ceil(ENTRY_BYTES) {
                return Ok(entries);
            }
            if !self.again(&mut look) {
                let block = entries.len() as u64;
                let first = entries
                    .last()
                    .map_or(self.next_seq, |entry| entry.first_seq + entry.records);
                return Err(Stop::Fault(Fault {
                    segment: number,
                    block: Some(block),
                    first_seq: first,
                    last_seq: None,
                    what: "the chain's entry is not signed by this journal's key".to_owned(),
                }));
            }
        }
    }

    fn block(
        &mut self,
        opened: &mut Opened,
        block: u64,
        entry: &Entry,
        covered: u64,
    ) -> Result<(), Stop> {
        let number = opened.number;
        let fault = |walk: &Self, what: &str| {
            Stop::Fault(Fault {
                segment: number,
                block: Some(block),
                first_seq: walk.next_seq,
                last_seq: Some(entry.first_seq + entry.records.saturating_sub(1)),
                what: what.to_owned(),
            })
        };
        if entry.offset != covered || entry.first_seq != self.next_seq {
            return Err(fault(
                self,
                "a block before this one is missing from the chain, or blocks changed places",
            ));
        }
        if entry.offset + entry.length > opened.bytes {
            return Err(fault(self, "the segment was cut short"));
        }
        let mut bytes = vec![0; usize::try_from(entry.length).unwrap_or(usize::MAX)];
        opened
            .file
            .read_exact_at(&mut bytes, entry.offset)
            .map_err(|source| match source.kind() {
                io::ErrorKind::InvalidData => fault(self, "the packed records do not unpack"),
                _ => self.cannot(&opened.path, source),
            })?;
        if block_hash(&self.previous, &bytes) != entry.hash {
            return Err(fault(self, "the records are not those that were recorded"));
        }
        let start = if block == 0 { SEGMENT_HEADER_BYTES } else { 0 };
        let (mut at, mut count) = (start, 0);
        while at < bytes.len() {
            match layout::parse(&bytes[at..]) {
                Parsed::Record(record, total) if record.seq == self.next_seq + count => {
                    at += total;
                    count += 1;
                }
                _ => {
                    return Err(fault(
                        self,
                        "the block holds something that is not the next record",
                    ));
                }
            }
            self.meets_head(number, block, self.next_seq + count - 1, &bytes[..at])?;
        }
        if count != entry.records {
            return Err(fault(
                self,
                "the block does not hold as many records as its entry says",
            ));
        }
        self.next_seq += count;
        self.previous = entry.hash;
        self.done.blocks += 1;
        self.done.covered_seq = self.next_seq - 1;
        Ok(())
    }

    /// Where the head was signed, the chain's hash has to be the head's.
    fn meets_head(&self, number: u64, block: u64, seq: u64, bytes: &[u8]) -> Result<(), Stop> {
        let Some(head) = self.head.filter(|head| head.last_seq == seq) else {
            return Ok(());
        };
        if (head.segment, head.block) == (number, block)
            && block_hash(&self.previous, bytes) == head.hash
        {
            return Ok(());
        }
        Err(self.fault(
            number,
            Some(block),
            "the chain is not the one that the signed head names".to_owned(),
        ))
    }

    fn sealed(
        &mut self,
        opened: &Opened,
        seal: &Seal,
        covered: u64,
        leaves: &[Hash],
    ) -> Result<(), Stop> {
        let expected = Seal {
            journal: self.journal,
            segment: opened.number,
            first_seq: opened.first_seq,
            last_seq: self.next_seq - 1,
            bytes: covered,
            blocks: leaves.len() as u64,
            last_hash: self.previous,
            root: merkle::root(leaves),
            previous_root: self.previous_root,
            sealed_ns: seal.sealed_ns,
        };
        if *seal != expected {
            return Err(self.fault(
                opened.number,
                None,
                "the segment is not the one that its checkpoint names".to_owned(),
            ));
        }
        if opened.bytes != covered {
            return Err(self.fault(
                opened.number,
                None,
                "something was appended to the full segment".to_owned(),
            ));
        }
        if self
            .published
            .is_some_and(|published| published.segment == opened.number && published != seal)
        {
            return Err(self.fault(
                opened.number,
                None,
                "the segment's checkpoint is not the published one".to_owned(),
            ));
        }
        self.previous_root = seal.root;
        self.last_sealed = opened.number;
        self.done.sealed += 1;
        Ok(())
    }

    /// What the chain does not cover yet: whole records, then nothing but zeros.
    fn rest(&mut self, opened: &mut Opened, covered: u64, last: bool) -> Result<(), Stop> {
        let from = covered.max(SEGMENT_HEADER_BYTES as u64);
        // A live segment may be cut to size at this moment: what is read is what there is.
        let bytes = opened
            .file
            .read_from(from)
            .map_err(|source| self.cannot(&opened.path, source))?;
        let mut at = 0;
        while let Parsed::Record(record, total) = layout::parse(&bytes[at..])
            && record.seq == self.next_seq
        {
            at += total;
            self.next_seq += 1;
            self.done.uncovered += 1;
        }
        if self.done.live {
            return Ok(());
        }
        let closed = self.head.is_some_and(|head| head.closed);
        let torn = bytes[at..].iter().filter(|byte| **byte != 0).count() as u64;
        if closed && (torn > 0 || self.done.uncovered > 0) {
            return Err(self.fault(
                opened.number,
                None,
                "something follows the last record of a journal that was closed".to_owned(),
            ));
        }
        let follows = torn > 0
            && (at..bytes.len())
                .step_by(8)
                .any(|at| matches!(layout::parse(&bytes[at..]), Parsed::Record(..)));
        if follows || (torn > 0 && !last) {
            return Err(self.fault(
                opened.number,
                None,
                "the journal is broken: records follow something that is none".to_owned(),
            ));
        }
        self.done.torn_bytes += torn;
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
    fn again(&self, look: &mut u32) -> bool {
        let again = self.done.live && *look < LOOKS;
        if again {
            *look += 1;
            std::thread::sleep(Duration::from_millis(5));
        }
        again
    }

    fn fault(&self, segment: u64, block: Option<u64>, what: String) -> Stop {
        Stop::Fault(Fault {
            segment,
            block,
            first_seq: self.next_seq,
            last_seq: None,
            what,
        })
    }

    /// As [`Self::cannot`], for a segment: one that does not unpack is damage.
    fn cannot_block(&self, number: u64, block: u64, path: &Path, source: io::Error) -> Stop {
        if source.kind() == io::ErrorKind::InvalidData {
            return self.fault(
                number,
                Some(block),
                "the packed segment was changed".to_owned(),
            );
        }
        self.cannot(path, source)
    }

    fn cannot(&self, path: &Path, source: io::Error) -> Stop {
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

#[cfg(test)]
mod tests;
