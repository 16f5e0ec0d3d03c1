//! Opening a journal: what the last agent left, repaired where that is honest and reported where it is not.

mod empty;
mod scan;

use std::{io, path::Path, sync::Arc};

use aws_lc_rs::rand::{SecureRandom, SystemRandom};

use self::scan::{Scan, scan};
use super::{
    JournalError,
    committer::ChainState,
    layout::{SEGMENT_HEADER_BYTES, SegmentHeader},
    segment::{self, FIRST_RECORD, Segment},
    source::Source,
    trouble::Trouble,
    writer::{self, Extent, Writer},
};
use crate::audit::chain::{
    self, Entry, Hash, SegmentChain, block_hash,
    head::{Head, HeadFile},
    key::{PublicKey, SigningKey},
    merkle,
    retired::Retired,
    seal::{Seal, SealError},
};
use crate::clock;

/// What opening a journal found.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Recovery {
    /// The next record's sequence number.
    pub next_seq: u64,
    /// Whether there was a journal.
    pub resumed: bool,
    /// Whether it had been closed in good order.
    pub clean: bool,
    /// Bytes of a torn end that were cut.
    pub torn_bytes: u64,
    /// What cannot be explained by a crash: missing, changed or reordered records.
    pub alarms: Vec<String>,
}

/// A journal ready to go on.
pub(super) struct Recovered {
    pub(super) report: Recovery,
    pub(super) writer: Writer,
    pub(super) chain: ChainState,
    pub(super) next_id: u64,
}

/// Reads the end of the journal in `dir` and prepares to go on after it.
pub(super) fn recover(
    state_dir: &Path,
    dir: &Path,
    segment_bytes: u64,
    reserve_bytes: u64,
) -> Result<Recovered, JournalError> {
    let key = SigningKey::open(state_dir).map_err(|error| JournalError::Key(Arc::new(error)))?;
    // Made ahead of need by an agent that is gone.
    for name in [
        writer::SPARE,
        writer::EMERGENCY,
        "packed.new",
        "retired.new",
        "seal.new",
    ] {
        let _ = std::fs::remove_file(dir.join(name));
    }
    let mut numbers = segment::list(dir).map_err(JournalError::io("list", dir))?;
    let mut retired = Retired::read(dir, &key.public());
    let mut alarms = Vec::new();
    if let Ok(Some(statement)) = &retired
        && is_of_another(dir, &numbers, statement)
    {
        alarms.push("the statement of what was removed is of another journal".to_owned());
        retired = Ok(None);
    }
    if let Ok(Some(retired)) = &retired {
        // An agent that ended in the midst of it may have left some.
        numbers.retain(|number| *number > retired.segment);
    }
    let emptied = empty::remove(dir, &mut numbers).map_err(JournalError::io("clear", dir))?;
    let opening = Opening {
        dir,
        key,
        segment_bytes,
        reserve_bytes,
        retired,
        emptied,
        alarms,
    };
    if numbers.is_empty() {
        opening.first()
    } else {
        opening.resume(&numbers)
    }
}

struct Opening<'a> {
    dir: &'a Path,
    key: SigningKey,
    segment_bytes: u64,
    reserve_bytes: u64,
    /// Up to where the journal was removed on purpose.
    retired: Result<Option<Retired>, SealError>,
    /// Whether segments were removed that held nothing.
    emptied: bool,
    /// What was found wrong already; no reason to leave a segment.
    alarms: Vec<String>,
}

/// The state of the chain where one segment ends.
struct ChainEnd {
    last_hash: Hash,
    root: Hash,
}

impl Opening<'_> {
    fn first(mut self) -> Result<Recovered, JournalError> {
        if let Ok(Some(retired)) = &self.retired {
            let retired = retired.clone();
            return self.begin_behind_retired(&retired);
        }
        let mut journal = [0; 16];
        SystemRandom::new()
            .fill(&mut journal)
            .map_err(|_| JournalError::io("name", self.dir)(io::Error::other("no randomness")))?;
        let mut alarms = std::mem::take(&mut self.alarms);
        if let Err(error) = &self.retired {
            alarms.push(format!(
                "what was removed of the journal is unknown: {error}"
            ));
        }
        if chain::head::names_records(self.dir) {
            alarms.push(
                "the journal's segments are gone: a signed head is left without them".to_owned(),
            );
        }
        let report = Recovery {
            next_seq: 1,
            resumed: false,
            clean: true,
            torn_bytes: 0,
            alarms,
        };
        let end = ChainEnd {
            last_hash: chain::genesis(&journal),
            root: [0; 32],
        };
        self.begin(journal, 1, 1, &end, Some(start_head(end.last_hash)), report)
    }

    /// Goes on behind what was removed on purpose, when all that came after it is gone: with numbers of their own, new records
    /// are not taken for those that were removed.
    fn begin_behind_retired(mut self, retired: &Retired) -> Result<Recovered, JournalError> {
        let mut alarms = std::mem::take(&mut self.alarms);
        alarms.push(format!(
            "the journal's segments are gone: those up to {} were removed on purpose, none is left behind them",
            retired.segment
        ));
        let journal = retired.journal;
        let head = Head::read(self.dir, &journal, &self.key.public()).unwrap_or_else(|error| {
            alarms.push(error.to_string());
            None
        });
        let next_seq = behind_head(head, retired.last_seq.saturating_add(1), &mut alarms);
        // Chains and checkpoints that are left are evidence, and a segment that has a checkpoint counts as full.
        let left = last_chained(self.dir).map_err(JournalError::io("list", self.dir))?;
        let number = retired.segment.max(left) + 1;
        let end = self.end_before(number, &journal)?;
        let report = Recovery {
            next_seq,
            resumed: true,
            clean: false,
            torn_bytes: 0,
            alarms,
        };
        let next_id = next_seq.saturating_add(GONE_IDS);
        self.begin(journal, number, next_id, &end, head, report)
    }

    fn resume(mut self, numbers: &[u64]) -> Result<Recovered, JournalError> {
        let last = numbers.last().copied().unwrap_or(1);
        let Some(mut scan) = scan(self.dir, last)? else {
            return self.begin_behind(numbers);
        };
        let journal = scan.header.journal;
        let public = self.key.public();
        let mut alarms = Vec::new();
        if let Err(error) = &self.retired {
            alarms.push(format!(
                "what was removed of the journal is unknown: {error}"
            ));
        }
        let missing = (last - self.retired_segment()).saturating_sub(numbers.len() as u64);
        if missing > 0 {
            alarms.push(format!(
                "of the journal's {last} segments {missing} are missing"
            ));
        }
        let head = Head::read(self.dir, &journal, &public).unwrap_or_else(|error| {
            alarms.push(error.to_string());
            None
        });
        if head.is_none() && scan.next_seq > 1 && alarms.is_empty() {
            alarms.push("the chain's signed head is missing".to_owned());
        }
        let head_or_start =
            head.or_else(|| (scan.next_seq == 1).then(|| start_head(chain::genesis(&journal))));
        let clean = head.is_some_and(|head| head.closed && head.last_seq == scan.next_seq - 1)
            && scan.torn_bytes == 0;
        if !clean {
            // Others may have been given out in records that did not reach the disk; approvals that last outlive those.
            scan.next_id = scan.next_id.saturating_add(LOST_IDS);
        }
        if head.is_some_and(|head| head.closed) && scan.torn_bytes > 0 {
            alarms.push(format!(
                "segment {last} has {} bytes after a clean close",
                scan.torn_bytes
            ));
        }
        let mut next_seq = behind_head(head, scan.next_seq, &mut alarms);
        if let Some(beyond) = scan.beyond {
            alarms.push(format!(
                "segment {last} is broken after record {}: records up to {beyond} follow",
                scan.next_seq - 1
            ));
            next_seq = next_seq.max(beyond.saturating_add(1));
        }
        if scan.is_unreadable {
            alarms.push(format!("parts of segment {last} cannot be read"));
        }
        // Of what lies before the records that are gone on with: no reason to leave those.
        let mut before_alarms = Vec::new();
        let unsealed = self.unsealed(numbers, &public, &mut before_alarms);
        let is_sealed = unsealed.is_empty();
        if is_sealed && !self.emptied && before_alarms.is_empty() {
            alarms.push("the segment that was being written is missing".to_owned());
        }
        let full = self.sound(&unsealed, &scan, &mut before_alarms)?;
        // A segment's chain is begun once the one before is sealed: only the first of these can have entries.
        let first = full.first().map_or(last, |scan| scan.header.number);
        let before = self.end_before(first, &journal)?;
        let entries = self.entries(first, &journal, &before, &mut alarms)?;
        let goes_on = alarms.is_empty() && !is_sealed;
        alarms.extend(before_alarms);
        alarms.append(&mut self.alarms);
        let report = Recovery {
            next_seq,
            resumed: true,
            clean,
            torn_bytes: scan.torn_bytes,
            alarms,
        };
        if goes_on {
            self.go_on(&full, &entries, &before, &scan, head_or_start, report)
        } else {
            // What is broken stays as it is, as evidence; recording goes on in a segment of its own.
            let end = self.end_before(last + 1, &journal)?;
            self.begin(journal, last + 1, scan.next_id, &end, head, report)
        }
    }

    /// Goes on behind a segment whose header is damaged: it stays as it is.
    fn begin_behind(mut self, numbers: &[u64]) -> Result<Recovered, JournalError> {
        let last = numbers.last().copied().unwrap_or(1);
        let mut alarms = std::mem::take(&mut self.alarms);
        alarms.push(format!("the header of segment {last} is damaged"));
        let ruin = scan::Ruin::open(self.dir, last)?;
        let (mut journal, mut next_seq, mut next_id) = (None, 1, 1);
        // A number that its records begin before: where the segment before it is known they begin behind that one's.
        let mut begun = (last == 1).then_some(1);
        for number in numbers.iter().rev().skip(1) {
            if let Some(scan) = scan(self.dir, *number)? {
                journal = Some(scan.header.journal);
                next_seq = scan.next_seq.max(scan.beyond.map_or(0, |seq| seq + 1));
                next_id = scan.next_id;
                if number + 1 == last {
                    begun = Some(next_seq.max(ruin.behind(scan.header.first_seq)));
                }
                break;
            }
        }
        if let Ok(Some(retired)) = &self.retired {
            journal = journal.or(Some(retired.journal));
            next_seq = next_seq.max(retired.last_seq.saturating_add(1));
            if retired.segment + 1 == last {
                begun = Some(next_seq);
            }
        }
        // The head tells whether what the damaged header says of the journal is true.
        let journal = journal.unwrap_or(ruin.journal);
        let head = Head::read(self.dir, &journal, &self.key.public()).unwrap_or_else(|error| {
            alarms.push(error.to_string());
            None
        });
        let begun = begun.unwrap_or_else(|| ruin.behind_all(last));
        let traces = ruin.traces(
            next_seq,
            head.map_or(begun, |head| begun.max(head.last_seq)),
        );
        let next_seq = next_seq.max(traces.next_seq);
        let next_id = next_id.max(traces.next_id);
        let next_seq = behind_head(head, next_seq, &mut alarms);
        let end = self.end_before(last + 1, &journal)?;
        let report = Recovery {
            next_seq,
            resumed: true,
            clean: false,
            torn_bytes: 0,
            alarms,
        };
        self.begin(
            journal,
            last + 1,
            next_id.saturating_add(LOST_IDS),
            &end,
            head,
            report,
        )
    }

    /// Segments without a checkpoint: the last, and those that a crash kept from being sealed.
    fn unsealed(&self, numbers: &[u64], public: &PublicKey, alarms: &mut Vec<String>) -> Vec<u64> {
        let mut unsealed = Vec::new();
        for number in numbers.iter().rev() {
            match Seal::read(self.dir, *number, public) {
                Ok(None) => unsealed.push(*number),
                Ok(Some(_)) => break,
                Err(error) => {
                    alarms.push(format!("segment {number}: {error}"));
                    break;
                }
            }
        }
        unsealed.reverse();
        unsealed
    }

    /// Of the full segments without a checkpoint those behind the last broken one. That one stays as it lies, and so does what
    /// is before it: to seal it would cut off, and vouch for the loss of, all that is behind its break.
    fn sound(
        &self,
        unsealed: &[u64],
        last: &Scan,
        alarms: &mut Vec<String>,
    ) -> Result<Vec<Scan>, JournalError> {
        let mut sound = Vec::new();
        let mut next = last.header;
        for number in unsealed.iter().rev().skip(1) {
            let scan = scan(self.dir, *number)?;
            let (entries, _) = self.chained(*number, &next.journal)?;
            let chained = entries.last().map_or(0, |last| last.offset + last.length);
            match scan {
                Some(scan)
                    if scan.torn_bytes == 0
                        && !scan.is_unreadable
                        && scan.end as u64 >= chained
                        && scan.next_seq == next.first_seq
                        && next.number == number + 1 =>
                {
                    next = scan.header;
                    sound.push(scan);
                }
                _ => {
                    // A segment behind it that is chained was begun for its sake: that was told.
                    if self.chained(next.number, &next.journal)?.0.is_empty() {
                        alarms.push(format!(
                            "segment {number} is broken before its end: segment {} begins with record {}",
                            next.number, next.first_seq
                        ));
                    }
                    break;
                }
            }
        }
        sound.reverse();
        Ok(sound)
    }

    /// The chain's entries for a segment, the last one checked against the records.
    fn entries(
        &self,
        number: u64,
        journal: &[u8; 16],
        before: &ChainEnd,
        alarms: &mut Vec<String>,
    ) -> Result<Vec<Entry>, JournalError> {
        let (entries, are_all_signed) = self.chained(number, journal)?;
        if !are_all_signed {
            alarms.push(format!(
                "segment {number}, block {}: the chain's entry is not signed by this journal's key",
                entries.len()
            ));
            return Ok(entries);
        }
        if let Some((last, others)) = entries.split_last() {
            let before_last = others.last().map_or(before.last_hash, |entry| entry.hash);
            if !self.holds(number, last, &before_last)? {
                alarms.push(format!(
                    "segment {number}, block {}: the records are not those that were chained",
                    others.len()
                ));
            }
        }
        Ok(entries)
    }

    /// A segment's entries in the chain up to the first that is not signed, and whether there is none such.
    fn chained(&self, number: u64, journal: &[u8; 16]) -> Result<(Vec<Entry>, bool), JournalError> {
        let path = chain::path(self.dir, number);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(JournalError::io("read", &path)(error)),
        };
        let public = self.key.public();
        let blocks = bytes.chunks_exact(chain::ENTRY_BYTES).zip(0..);
        let entries: Vec<_> = blocks
            .map_while(|(bytes, block)| Entry::decode(bytes, journal, number, block, &public))
            .collect();
        let are_all_signed = entries.len() == bytes.len() / chain::ENTRY_BYTES;
        Ok((entries, are_all_signed))
    }

    /// The last segment that was removed on purpose; zero when none was.
    fn retired_segment(&self) -> u64 {
        match &self.retired {
            Ok(Some(retired)) => retired.segment,
            _ => 0,
        }
    }

    fn holds(&self, number: u64, entry: &Entry, previous: &Hash) -> Result<bool, JournalError> {
        let path = segment::path(self.dir, number);
        let mut file = Source::open(self.dir, number).map_err(JournalError::io("open", &path))?;
        let mut block = vec![0; usize::try_from(entry.length).unwrap_or(usize::MAX)];
        Ok(file.read_exact_at(&mut block, entry.offset).is_ok()
            && block_hash(previous, &block) == entry.hash)
    }

    /// Goes on in the last segment; `full` ones before it are left to the committer to chain and seal.
    fn go_on(
        self,
        full: &[Scan],
        entries: &[Entry],
        before: &ChainEnd,
        last: &Scan,
        head: Option<Head>,
        report: Recovery,
    ) -> Result<Recovered, JournalError> {
        let SegmentHeader {
            journal,
            number: first,
            first_seq,
            ..
        } = full.first().unwrap_or(last).header;
        let mut retired = Vec::new();
        for scan in full {
            retired.push(Extent {
                segment: Arc::new(reopen(self.dir, scan.header.number)?),
                end: scan.end,
                next_seq: scan.next_seq,
            });
        }
        let current = reopen(self.dir, last.header.number)?;
        if last.torn_bytes > 0 {
            current.clear_from(last.end);
            // Before anything is recorded there: after a power failure the torn end would lie behind new records.
            current
                .sync(last.end, current.capacity())
                .map_err(JournalError::io("clear the end of", &current.path))?;
        }
        let chain = if entries.is_empty() {
            SegmentChain::begin(self.dir, journal, first, first_seq, before.last_hash)
        } else {
            SegmentChain::resume(self.dir, journal, first, before.last_hash, entries)
        };
        let chain = chain.map_err(JournalError::io("open the chain in", self.dir))?;
        let next_seq = report.next_seq;
        Ok(Recovered {
            report,
            next_id: last.next_id,
            chain: self.chain_state(journal, chain, first_seq, before.root, head)?,
            writer: Writer {
                dir: self.dir.to_owned(),
                journal,
                segment_bytes: self.segment_bytes,
                reserve_bytes: self.reserve_bytes,
                segment: Arc::new(current),
                offset: last.end,
                next_seq,
                retired,
                spare: Arc::default(),
                in_flight: 0,
                trouble: Trouble::default(),
                committer_asleep: false,
                closed: false,
            },
        })
    }

    /// Begins a segment: the first, or the one after a broken one.
    fn begin(
        self,
        journal: [u8; 16],
        number: u64,
        next_id: u64,
        before: &ChainEnd,
        head: Option<Head>,
        report: Recovery,
    ) -> Result<Recovered, JournalError> {
        let spare = writer::make_spare(
            self.dir,
            writer::SPARE,
            self.segment_bytes,
            self.reserve_bytes,
        )?;
        let next_seq = report.next_seq;
        let segment = writer::activate(spare, self.dir, journal, number, next_seq, next_id)?;
        let chain = SegmentChain::begin(self.dir, journal, number, next_seq, before.last_hash)
            .map_err(JournalError::io("begin the chain in", self.dir))?;
        Ok(Recovered {
            report,
            next_id,
            chain: self.chain_state(journal, chain, next_seq, before.root, head)?,
            writer: Writer {
                dir: self.dir.to_owned(),
                journal,
                segment_bytes: self.segment_bytes,
                reserve_bytes: self.reserve_bytes,
                segment: Arc::new(segment),
                offset: FIRST_RECORD,
                next_seq,
                retired: Vec::new(),
                spare: Arc::default(),
                in_flight: 0,
                trouble: Trouble::default(),
                committer_asleep: false,
                closed: false,
            },
        })
    }

    fn chain_state(
        &self,
        journal: [u8; 16],
        current: SegmentChain,
        first_seq: u64,
        previous_root: Hash,
        head: Option<Head>,
    ) -> Result<ChainState, JournalError> {
        let mut file = HeadFile::open(self.dir, journal)
            .map_err(JournalError::io("open the head in", self.dir))?;
        if let Some(head) = head {
            // A head that says closed would call what is recorded from here on an addition.
            let open = Head {
                closed: false,
                ..head
            };
            file.write(&open, &self.key)
                .map_err(JournalError::io("write the head in", self.dir))?;
        }
        Ok(ChainState {
            dir: self.dir.to_owned(),
            journal,
            key: self.key.clone(),
            head: file,
            current,
            synced_to: 0,
            first_seq,
            previous_root,
        })
    }

    /// Where the chain stood before the segment `number`: as the checkpoint before it says, or, where that is missing or
    /// damaged, the signed entries of the chain.
    fn end_before(&self, number: u64, journal: &[u8; 16]) -> Result<ChainEnd, JournalError> {
        for number in (1..number).rev() {
            if let Ok(Some(retired)) = &self.retired
                && retired.segment == number
            {
                return Ok(ChainEnd {
                    last_hash: retired.last_hash,
                    root: retired.root,
                });
            }
            let seal = Seal::read(self.dir, number, &self.key.public());
            if let Ok(Some(seal)) = &seal {
                return Ok(ChainEnd {
                    last_hash: seal.last_hash,
                    root: seal.root,
                });
            }
            let (entries, _) = self.chained(number, journal)?;
            if let Some(last) = entries.last() {
                let hashes: Vec<_> = entries.iter().map(|entry| entry.hash).collect();
                return Ok(ChainEnd {
                    last_hash: last.hash,
                    // One that was never sealed has none.
                    root: seal.map_or_else(|_| merkle::root(&hashes), |_| [0; 32]),
                });
            }
        }
        Ok(ChainEnd {
            last_hash: chain::genesis(journal),
            root: [0; 32],
        })
    }
}

/// The head of a chain without blocks.
fn start_head(genesis: Hash) -> Head {
    Head {
        segment: 1,
        block: 0,
        last_seq: 0,
        hash: genesis,
        time_ns: clock::now_ns(),
        closed: false,
    }
}

fn reopen(dir: &Path, number: u64) -> Result<Segment, JournalError> {
    let path = segment::path(dir, number);
    Segment::reopen(&path, number).map_err(JournalError::io("map", &path))
}

/// The next record's number: a number that the signed head names is not given out again.
fn behind_head(head: Option<Head>, next_seq: u64, alarms: &mut Vec<String>) -> u64 {
    let Some(head) = head.filter(|head| head.last_seq >= next_seq) else {
        return next_seq;
    };
    alarms.push(format!(
        "records {next_seq} to {} are missing: the signed head names them",
        head.last_seq
    ));
    head.last_seq.saturating_add(1)
}

/// Whether a statement of what was removed is not of the journal that the segments in `dir` are of: then it says nothing of
/// them.
fn is_of_another(dir: &Path, numbers: &[u64], retired: &Retired) -> bool {
    let mut headers = numbers.iter().rev().filter_map(|number| {
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        let mut source = Source::open(dir, *number).ok()?;
        source.read_exact_at(&mut bytes, 0).ok()?;
        SegmentHeader::decode(&bytes).filter(|header| header.number == *number)
    });
    headers
        .next()
        .is_some_and(|header| header.journal != retired.journal)
}

/// The last number of which a chain or a checkpoint is left in `dir`; zero when there is none.
fn last_chained(dir: &Path) -> io::Result<u64> {
    let mut last = 0;
    for entry in std::fs::read_dir(dir)? {
        let name = entry?.file_name();
        let name = name.to_str().and_then(|name| name.split_once('.'));
        if let Some((number, "chain" | "seal")) = name {
            last = last.max(number.parse().unwrap_or(0));
        }
    }
    Ok(last)
}

/// More ids than were ever given out beyond the number of records: of a journal whose segments are gone nothing else tells.
const GONE_IDS: u64 = 1 << 40;

/// More ids than can be given out within a commit interval.
const LOST_IDS: u64 = 1 << 20;

#[cfg(test)]
mod tests;
