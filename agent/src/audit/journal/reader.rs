//! Reading a journal, also one that is being written.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{
    layout::{self, Parsed, RawRecord, RecordKind, SEGMENT_HEADER_BYTES, SegmentHeader},
    segment,
    source::{self, Source},
};
use crate::audit::{chain::retired::Retired, record::Entry};

const WINDOW_BYTES: usize = 256 << 10;
/// How often a record is read before it is called broken.
const LOOKS: u32 = 3;

/// A place in a journal: the next record to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The segment.
    pub segment: u64,
    /// Where in the segment; zero for its beginning.
    pub offset: u64,
    /// The sequence number that is expected there.
    pub seq: u64,
}

impl Position {
    /// The beginning of a journal.
    pub const START: Self = Self {
        segment: 1,
        offset: 0,
        seq: 1,
    };
}

/// A record as read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its number.
    pub seq: u64,
    /// When it was made, nanoseconds since the epoch.
    pub time_ns: u64,
    /// What it says.
    pub entry: Entry,
}

/// Why a journal cannot be read on.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The operating system refused.
    #[error("cannot read {}", path.display())]
    Io {
        /// The segment.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Something other than the expected record lies there.
    #[error("journal is broken at record {}: segment {}, byte {}", at.seq, at.segment, at.offset)]
    Broken {
        /// The place.
        at: Position,
    },
    /// The record is as it was written, by a version that says what this one does not know.
    #[error("record {} of the journal says something that this version does not know", at.seq)]
    Unknown {
        /// Its place; the reader is behind it.
        at: Position,
    },
}

/// Reads records in order; at the end of what is written it can be asked again later.
#[derive(Debug)]
pub struct Reader {
    dir: PathBuf,
    position: Position,
    file: Option<Source>,
    window: Vec<u8>,
    /// Where `window` starts in the segment.
    window_offset: u64,
    /// The last record that counts as written; `None` is all that are there.
    limit: Option<Arc<AtomicU64>>,
    /// Whether the reader is behind what it told last that it cannot be read.
    is_behind_break: bool,
}

impl Reader {
    /// Reads the journal in `dir` from `position` on. Nothing is touched yet.
    #[must_use]
    pub fn new(dir: &Path, position: Position) -> Self {
        Self {
            dir: dir.to_owned(),
            position,
            file: None,
            window: Vec::new(),
            window_offset: 0,
            limit: None,
            is_behind_break: false,
        }
    }

    /// Records behind the one that `limit` names at the time are not there yet: for those who pass on what they read, and
    /// so must not read what a power failure may take back.
    #[must_use]
    pub fn up_to(mut self, limit: Option<Arc<AtomicU64>>) -> Self {
        self.limit = limit;
        self
    }

    /// The next record's place.
    #[must_use]
    pub fn position(&self) -> Position {
        self.position
    }

    /// Reads the next record; `None` at the end of what has been written.
    ///
    /// # Errors
    ///
    /// The journal is unreadable or broken here; [`Reader::skip_broken`] goes on behind the break.
    #[expect(
        clippy::should_implement_trait,
        reason = "an end here is not final, so this is no iterator"
    )]
    pub fn next(&mut self) -> Result<Option<Record>, ReadError> {
        let at = self.position;
        let Some(raw) = self.next_raw()? else {
            return Ok(None);
        };
        let (seq, time_ns) = (raw.seq, raw.time_ns);
        let Some(entry) = decode(&raw) else {
            // Its length is known, and what lies behind it is whole.
            self.is_behind_break = true;
            let at = Position { seq, ..at };
            return Err(ReadError::Unknown { at });
        };
        Ok(Some(Record {
            seq,
            time_ns,
            entry,
        }))
    }

    /// As [`Reader::next`], not decoded.
    pub(crate) fn next_raw(&mut self) -> Result<Option<RawRecord<'_>>, ReadError> {
        Ok(self.next_placed()?.map(|(_, raw)| raw))
    }

    /// As [`Reader::next_raw`], with the segment that holds it.
    pub(crate) fn next_placed(&mut self) -> Result<Option<(u64, RawRecord<'_>)>, ReadError> {
        let Some((start, total)) = self.locate()? else {
            return Ok(None);
        };
        self.position.offset += total as u64;
        self.position.seq += 1;
        let segment = self.position.segment;
        let raw = layout::view(&self.window[start..start + total]);
        Ok(raw.map(|raw| (segment, raw)))
    }

    /// Goes on behind what could not be read: at the start of the next segment there is with a whole header, `false` when
    /// there is none yet. Where only numbers are missing between two segments, or a record is not understood, nothing else
    /// is passed over.
    ///
    /// # Errors
    ///
    /// The folder is unreadable, or the segment.
    pub fn skip_broken(&mut self) -> Result<bool, ReadError> {
        if std::mem::take(&mut self.is_behind_break) {
            return Ok(true);
        }
        let numbers = segment::list(&self.dir).map_err(|source| self.io(source))?;
        let before = self.position;
        for next in numbers.into_iter().filter(|it| *it > before.segment) {
            match self.enter(next) {
                Ok(()) if self.is_beyond_limit() => break,
                Ok(()) => return Ok(true),
                // Its header is damaged: what it holds cannot be placed.
                Err(ReadError::Broken { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        self.position = before;
        self.file = None;
        Ok(false)
    }

    fn is_beyond_limit(&self) -> bool {
        let limit = self.limit.as_ref();
        limit.is_some_and(|limit| self.position.seq > limit.load(Ordering::Acquire))
    }

    /// Finds the next record and makes sure it lies in the window whole.
    fn locate(&mut self) -> Result<Option<(usize, usize)>, ReadError> {
        self.is_behind_break = false;
        loop {
            if self.is_beyond_limit() {
                return Ok(None);
            }
            if self.file.is_none() || self.position.offset == 0 {
                if !Source::exists(&self.dir, self.position.segment) {
                    if self.pass_retired(self.position.segment)? {
                        continue;
                    }
                    return self.missing();
                }
                self.open()?;
            }
            if let Some(found) = self.locate_in_segment()? {
                return Ok(Some(found));
            }
            let next = self.position.segment + 1;
            if !Source::exists(&self.dir, next) {
                if self.pass_retired(next)? {
                    continue;
                }
                return Ok(None);
            }
            // The writer may have added records between the look above and its change of segments.
            self.window.clear();
            if let Some(found) = self.locate_in_segment()? {
                return Ok(Some(found));
            }
            let end = self.position;
            self.enter(next)?;
            if self.position.seq != end.seq {
                if self.is_beyond_limit() {
                    self.position = end;
                    self.file = None;
                    return Ok(None);
                }
                // What is missing are the last records of the segment before; this one is whole, as far as is known.
                self.is_behind_break = true;
                return Err(ReadError::Broken { at: end });
            }
        }
    }

    /// Goes to the first segment there is when `missing` was removed because it was kept long enough.
    fn pass_retired(&mut self, missing: u64) -> Result<bool, ReadError> {
        if Retired::last_segment(&self.dir) < missing {
            return Ok(false);
        }
        let numbers = segment::list(&self.dir).map_err(|source| self.io(source))?;
        let Some(first) = numbers.into_iter().find(|number| *number > missing) else {
            return Ok(false);
        };
        self.enter(first)?;
        Ok(true)
    }

    /// A segment that is not there: the end when none follows, a break otherwise.
    fn missing(&self) -> Result<Option<(usize, usize)>, ReadError> {
        let numbers = segment::list(&self.dir).map_err(|source| self.io(source))?;
        if numbers.iter().any(|number| *number > self.position.segment) {
            return Err(ReadError::Broken { at: self.position });
        }
        Ok(None)
    }

    fn locate_in_segment(&mut self) -> Result<Option<(usize, usize)>, ReadError> {
        let mut looks = 0;
        let mut need = WINDOW_BYTES;
        loop {
            let inside = self
                .position
                .offset
                .checked_sub(self.window_offset)
                .and_then(|at| usize::try_from(at).ok())
                .filter(|at| *at <= self.window.len());
            let parsed = inside.map(|at| (at, layout::parse(&self.window[at..])));
            match parsed {
                Some((at, Parsed::Record(raw, total))) if raw.seq == self.position.seq => {
                    return Ok(Some((at, total)));
                }
                Some((_, Parsed::End)) if looks > 0 => return Ok(None),
                // A record that is being written while it is read may look broken once.
                Some(_) if looks >= LOOKS => return Err(ReadError::Broken { at: self.position }),
                Some((_, Parsed::Short(total))) => need = need.max(total),
                _ => {}
            }
            self.fill(need)?;
            looks += 1;
        }
    }

    fn fill(&mut self, bytes: usize) -> Result<(), ReadError> {
        let Some(file) = &mut self.file else {
            return Ok(());
        };
        self.window.resize(bytes, 0);
        self.window_offset = self.position.offset;
        match file.fill_at(&mut self.window, self.window_offset) {
            Ok(filled) => self.window.truncate(filled),
            Err(source) => {
                self.window.clear();
                return Err(self.io(source));
            }
        }
        Ok(())
    }

    fn enter(&mut self, segment: u64) -> Result<(), ReadError> {
        self.position.segment = segment;
        self.position.offset = 0;
        self.open()
    }

    fn open(&mut self) -> Result<(), ReadError> {
        let mut file =
            Source::open(&self.dir, self.position.segment).map_err(|source| self.io(source))?;
        self.window.clear();
        self.window_offset = 0;
        if self.position.offset == 0 {
            let mut bytes = [0; SEGMENT_HEADER_BYTES];
            file.read_exact_at(&mut bytes, 0)
                .map_err(|source| self.io(source))?;
            let header =
                SegmentHeader::decode(&bytes).ok_or(ReadError::Broken { at: self.position })?;
            self.position.offset = SEGMENT_HEADER_BYTES as u64;
            self.position.seq = header.first_seq;
        }
        self.file = Some(file);
        Ok(())
    }

    fn io(&self, source: io::Error) -> ReadError {
        // A packed segment that does not unpack, one without a whole header or one that the disk has lost is damage, not a
        // lack of rights.
        if source::is_unreadable(&source)
            || matches!(
                source.kind(),
                io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
            )
        {
            return ReadError::Broken { at: self.position };
        }
        ReadError::Io {
            path: segment::path(&self.dir, self.position.segment),
            source,
        }
    }
}

/// Reads a record's payload.
pub(crate) fn decode(raw: &RawRecord<'_>) -> Option<Entry> {
    Some(match raw.kind {
        RecordKind::SessionOpened => {
            Entry::SessionOpened(serde_json::from_slice(raw.payload.get(8..)?).ok()?)
        }
        RecordKind::StatementDecided => {
            Entry::StatementDecided(serde_json::from_slice(raw.payload.get(8..)?).ok()?)
        }
        RecordKind::Requested => Entry::Requested(layout::decode_requested(raw.payload)?),
        RecordKind::Outcome => Entry::Outcome(layout::decode_outcome(raw.payload)?),
        RecordKind::Event => Entry::Event(serde_json::from_slice(raw.payload).ok()?),
    })
}

/// The id of the journal in `dir`; `None` when there is none.
///
/// # Errors
///
/// The folder or a segment cannot be read, or no segment's header is whole.
pub fn journal_id(dir: &Path) -> Result<Option<[u8; 16]>, ReadError> {
    let reader = Reader::new(dir, Position::START);
    let numbers = segment::list(dir).map_err(|source| reader.io(source))?;
    let mut broken = None;
    for number in numbers {
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        let read = Source::open(dir, number).and_then(|mut file| file.read_exact_at(&mut bytes, 0));
        match read.map_err(|source| reader.io(source)) {
            Ok(()) | Err(ReadError::Broken { .. }) => {}
            Err(error) => return Err(error),
        }
        if let Some(header) = SegmentHeader::decode(&bytes) {
            return Ok(Some(header.journal));
        }
        // The next one says it too.
        broken = Some(ReadError::Broken {
            at: Position::START,
        });
    }
    broken.map_or(Ok(None), Err)
}

/// Where the segment begins that has the record `seq`; `None` when there is none.
///
/// # Errors
///
/// The folder or a segment cannot be read.
pub fn start_of(dir: &Path, seq: u64) -> Result<Option<Position>, ReadError> {
    let mut reader = Reader::new(dir, Position::START);
    let numbers = segment::list(dir).map_err(|source| reader.io(source))?;
    for number in numbers.into_iter().rev() {
        match reader.enter(number) {
            Ok(()) if reader.position.seq <= seq => return Ok(Some(reader.position)),
            // With a damaged header it cannot be told.
            Ok(()) | Err(ReadError::Broken { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// Where the last `count` segments of the journal in `dir` begin; `None` in an empty journal.
///
/// # Errors
///
/// The folder or the segment cannot be read.
pub fn last_segments(dir: &Path, count: usize) -> Result<Option<Position>, ReadError> {
    let mut reader = Reader::new(dir, Position::START);
    let numbers = segment::list(dir).map_err(|source| reader.io(source))?;
    let Some(number) = numbers.iter().rev().take(count).next_back() else {
        return Ok(None);
    };
    reader.enter(*number)?;
    Ok(Some(reader.position))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{fixtures::open, journal::FOLDER, record::Event};

    #[test]
    fn what_lies_behind_the_limit_is_not_there_yet() {
        let dir = tempfile::tempdir().expect("a folder");
        let journal = open(dir.path());
        let mut last = 0;
        while journal.health().segment < 3 {
            let what = "x".repeat(300 << 10);
            last = journal.event(&Event::Incident { what }).expect("recorded");
        }
        let limit = Arc::new(AtomicU64::new(0));
        let folder = dir.path().join(FOLDER);
        let begin = || Reader::new(&folder, Position::START).up_to(Some(Arc::clone(&limit)));
        let mut reader = begin();
        assert_eq!(reader.next().expect("nothing yet"), None);
        for seq in 1..=last {
            limit.store(seq, Ordering::Release);
            let record = reader.next().expect("readable").expect("a record");
            assert_eq!(record.seq, seq);
            let place = reader.position();
            assert_eq!(reader.next().expect("nothing yet"), None);
            assert_eq!(reader.position(), place, "no segment is begun too early");
        }
        let mut reader = begin();
        limit.store(1, Ordering::Release);
        reader.next().expect("readable").expect("a record");
        let place = reader.position();
        assert!(!reader.skip_broken().expect("readable"));
        assert_eq!(reader.position(), place);
        limit.store(last, Ordering::Release);
        assert!(reader.skip_broken().expect("readable"));
    }

    /// A power failure took the end of a segment, and recording went on behind it.
    #[test]
    fn numbers_missing_between_segments_hide_no_record_that_is_there() {
        let dir = tempfile::tempdir().expect("a folder");
        let journal = open(dir.path());
        while journal.health().segment < 3 {
            let what = "x".repeat(300 << 10);
            journal.event(&Event::Incident { what }).expect("recorded");
        }
        drop(journal);
        let folder = dir.path().join(FOLDER);
        let mut whole = Reader::new(&folder, Position::START);
        let mut places = Vec::new();
        loop {
            let at = whole.position();
            let Some(record) = whole.next().expect("readable") else {
                break;
            };
            places.push((at.offset, whole.position().segment, record.seq));
        }
        let (cut, _, lost) = places
            .iter()
            .copied()
            .rfind(|place| place.1 == 1)
            .expect("a record");
        let path = segment::path(&folder, 1);
        let mut bytes = std::fs::read(&path).expect("readable");
        bytes[usize::try_from(cut).expect("fits")..].fill(0);
        std::fs::write(&path, bytes).expect("cut");

        for limit in [None, Some(lost), Some(lost + 1)] {
            let shared = limit.map(|limit| Arc::new(AtomicU64::new(limit)));
            let mut reader = Reader::new(&folder, Position::START).up_to(shared);
            for seq in 1..lost {
                let record = reader.next().expect("readable").expect("a record");
                assert_eq!(record.seq, seq);
            }
            let end = reader.position();
            assert_eq!((end.segment, end.seq), (1, lost));
            if limit == Some(lost) {
                // The record that shows the gap is not there yet.
                assert_eq!(reader.next().expect("nothing yet"), None);
                assert_eq!(reader.position(), end);
                continue;
            }
            let Err(ReadError::Broken { at }) = reader.next() else {
                panic!("numbers are missing");
            };
            assert_eq!(at, end);
            assert!(reader.skip_broken().expect("readable"));
            assert_eq!(reader.position().seq, lost + 1);
            let next = reader.next().expect("readable").expect("a record");
            assert_eq!(next.seq, lost + 1);
        }
    }

    #[test]
    fn a_segment_that_the_disk_has_lost_is_broken_and_hides_no_other() {
        let dir = tempfile::tempdir().expect("a folder");
        let journal = open(dir.path());
        while journal.health().segment < 3 {
            let what = "x".repeat(300 << 10);
            journal.event(&Event::Incident { what }).expect("recorded");
        }
        drop(journal);
        let folder = dir.path().join(FOLDER);
        let id = journal_id(&folder).expect("readable");
        let path = segment::path(&folder, 1);
        std::fs::remove_file(&path).expect("removed");
        // Nothing is mapped at address zero: to read there is an error of input and output.
        std::os::unix::fs::symlink("/proc/self/mem", &path).expect("put in its place");
        let mut reader = Reader::new(&folder, Position::START);
        for _ in 0..2 {
            let read = reader.next();
            assert!(matches!(read, Err(ReadError::Broken { .. })), "{read:?}");
        }
        assert!(reader.skip_broken().expect("readable"));
        assert_eq!(reader.position().segment, 2);
        assert!(reader.next().expect("readable").is_some());
        assert_eq!(journal_id(&folder).expect("readable"), id);
    }

    #[test]
    fn a_damaged_header_hides_no_other_segment() {
        let dir = tempfile::tempdir().expect("a folder");
        let journal = open(dir.path());
        while journal.health().segment < 4 {
            let what = "x".repeat(300 << 10);
            journal.event(&Event::Incident { what }).expect("recorded");
        }
        drop(journal);
        let folder = dir.path().join(FOLDER);
        let id = journal_id(&folder).expect("readable");
        assert!(id.is_some());
        for number in [1, 2] {
            let path = segment::path(&folder, number);
            let mut bytes = std::fs::read(&path).expect("readable");
            bytes[60] ^= 1;
            std::fs::write(&path, bytes).expect("damaged");
        }
        assert_eq!(journal_id(&folder).expect("readable"), id);
        assert_eq!(start_of(&folder, 1).expect("readable"), None);
        let mut reader = Reader::new(&folder, Position::START);
        assert!(matches!(reader.next(), Err(ReadError::Broken { .. })));
        assert!(reader.skip_broken().expect("readable"));
        assert_eq!(reader.position().segment, 3);
    }
}
