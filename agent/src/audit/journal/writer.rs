//! What the journal's lock protects: the place of the next record.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use weir_sql::Facts;

use super::{
    JournalError, Session, Statement,
    layout::{self, HOT_PAYLOAD_BYTES, HOT_RECORD_BYTES, RecordKind, SegmentHeader},
    segment::{self, FIRST_RECORD, Segment},
    trouble::Trouble,
};
use crate::{audit::record::Event, clock};

/// Records after which the committer is woken although it is not due by time: a burst must not leave it megabytes to hash.
///
/// Waking it every 256 records cost a busy agent 1.2 µs of each transaction, mostly in `msync`; time alone bounds what a
/// power failure can take.
const COMMIT_RECORDS: u64 = 16_384;

/// Outcomes for which room is kept at a segment's end, so that a full disk refuses requests and not outcomes.
const MAX_RESERVED_OUTCOMES: u64 = 4096;

/// A text longer than this is cut in its dictionary entry.
const MAX_TEXT_BYTES: usize = 256 << 10;

/// Of each kind of names, those of a dictionary entry beyond this many are cut: a `SELECT *` over joins of wide tables is
/// still recorded, in some megabytes at most.
const MAX_NAMES: usize = 10_000;

/// The place of the next record.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) dir: PathBuf,
    pub(super) journal: [u8; 16],
    pub(super) segment_bytes: u64,
    pub(super) reserve_bytes: u64,
    pub(super) segment: Arc<Segment>,
    pub(super) offset: usize,
    pub(super) next_seq: u64,
    /// Full segments that the committer has not taken over yet.
    pub(super) retired: Vec<Extent>,
    /// The segment made ahead of need.
    pub(super) spare: Arc<Spare>,
    /// Requests without an outcome.
    pub(super) in_flight: u64,
    /// When the disk is short.
    pub(super) trouble: Trouble,
    /// Set by the committer before it sleeps without a time limit.
    pub(super) committer_asleep: bool,
    pub(super) closed: bool,
}

/// Where the segment lies that was made ahead of need. Whoever makes one, or gives one its place, holds the lock until that
/// is done: two files made under one name would be the same one, and the second would cut the first to nothing while
/// records are stored into it. Locked after the writer, where both are.
#[derive(Debug, Default)]
pub(super) struct Spare(Mutex<Option<Segment>>);

impl Spare {
    pub(super) fn lock(&self) -> MutexGuard<'_, Option<Segment>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A segment up to where it is written.
#[derive(Debug, Clone)]
pub(super) struct Extent {
    pub(super) segment: Arc<Segment>,
    pub(super) end: usize,
    pub(super) next_seq: u64,
}

/// Records to write together: dictionary entries the segment lacks, and the record that names them.
pub(super) struct Entries<'a> {
    session: Option<&'a Session>,
    statement: Option<&'a Statement>,
    record: Option<(RecordKind, Payload)>,
    /// Nanoseconds since the epoch, where the caller has looked already.
    time_ns: Option<u64>,
}

enum Payload {
    Hot([u8; HOT_PAYLOAD_BYTES]),
    Cold(Vec<u8>),
}

impl<'a> Entries<'a> {
    pub(super) fn session(session: &'a Session) -> Self {
        Self {
            session: Some(session),
            statement: None,
            record: None,
            time_ns: None,
        }
    }

    pub(super) fn requested(
        time_ns: u64,
        session: &'a Session,
        statement: &'a Statement,
        payload: [u8; HOT_PAYLOAD_BYTES],
    ) -> Self {
        Self {
            session: Some(session),
            statement: Some(statement),
            record: Some((RecordKind::Requested, Payload::Hot(payload))),
            time_ns: Some(time_ns),
        }
    }

    pub(super) fn outcome(time_ns: u64, payload: [u8; HOT_PAYLOAD_BYTES]) -> Self {
        Self {
            session: None,
            statement: None,
            record: Some((RecordKind::Outcome, Payload::Hot(payload))),
            time_ns: Some(time_ns),
        }
    }

    pub(super) fn event(event: &Event) -> Self {
        Self {
            session: None,
            statement: None,
            record: Some((RecordKind::Event, Payload::Cold(json(event)))),
            time_ns: None,
        }
    }

    pub(super) fn event_of(session: &'a Session, event: &Event) -> Self {
        Self {
            session: Some(session),
            ..Self::event(event)
        }
    }

    fn kind(&self) -> Option<RecordKind> {
        self.record.as_ref().map(|(kind, _)| *kind)
    }
}

impl Payload {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Hot(bytes) => bytes,
            Self::Cold(bytes) => bytes,
        }
    }
}

impl Writer {
    /// Writes `entries` into one segment and returns the last record's sequence number.
    pub(super) fn write(
        &mut self,
        entries: &Entries<'_>,
        next_id: &AtomicU64,
    ) -> Result<u64, JournalError> {
        if self.closed {
            return Err(JournalError::Closed);
        }
        if !matches!(
            entries.kind(),
            Some(RecordKind::Outcome | RecordKind::Event)
        ) && let Some(error) = self.trouble.refusal()
        {
            return Err(error.clone());
        }
        let number = self.segment.number;
        let session = entries
            .session
            .filter(|session| session.last_segment.load(Ordering::Relaxed) != number)
            .map(|session| dictionary_entry(session.id, &session.opened));
        let statement = entries
            .statement
            .filter(|statement| statement.last_segment.load(Ordering::Relaxed) != number)
            .map(statement_entry);
        let record = entries.record.as_ref().map(|(_, payload)| payload.bytes());
        let payloads = [session.as_deref(), statement.as_deref(), record];
        let mut bytes = 0;
        for payload in payloads.into_iter().flatten().map(<[u8]>::len) {
            // Before anything is stored: a length that does not fit its field would break the segment from there on.
            if payload > layout::MAX_PAYLOAD_BYTES {
                return Err(JournalError::TooLarge { bytes: payload });
            }
            bytes += layout::record_bytes(payload);
        }
        if bytes + self.reserved(entries.kind()) > self.segment.capacity() - self.offset {
            return self.rotate_and_write(entries, bytes, next_id);
        }
        let time_ns = entries.time_ns.unwrap_or_else(clock::now_ns);
        if let (Some(payload), Some(session)) = (session, entries.session) {
            self.append(RecordKind::SessionOpened, time_ns, &payload);
            session.last_segment.store(number, Ordering::Relaxed);
        }
        if let (Some(payload), Some(statement)) = (statement, entries.statement) {
            self.append(RecordKind::StatementDecided, time_ns, &payload);
            statement.last_segment.store(number, Ordering::Relaxed);
        }
        if let Some((kind, payload)) = &entries.record {
            self.append(*kind, time_ns, payload.bytes());
            match kind {
                RecordKind::Requested => self.in_flight += 1,
                RecordKind::Outcome => self.in_flight = self.in_flight.saturating_sub(1),
                _ => {}
            }
        }
        Ok(self.last_seq())
    }

    pub(super) fn last_seq(&self) -> u64 {
        self.next_seq - 1
    }

    pub(super) fn segment_number(&self) -> u64 {
        self.segment.number
    }

    pub(super) fn in_flight(&self) -> u64 {
        self.in_flight
    }

    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    /// Whether the committer should hear of what was just written.
    pub(super) fn wants_commit(&mut self) -> bool {
        std::mem::take(&mut self.committer_asleep) || self.next_seq.is_multiple_of(COMMIT_RECORDS)
    }

    /// Everything the committer has to cover.
    pub(super) fn extents(&mut self) -> Vec<Extent> {
        let mut extents = std::mem::take(&mut self.retired);
        extents.push(Extent {
            segment: Arc::clone(&self.segment),
            end: self.offset,
            next_seq: self.next_seq,
        });
        extents
    }

    fn append(&mut self, kind: RecordKind, time_ns: u64, payload: &[u8]) {
        self.offset += self
            .segment
            .append(self.offset, kind, self.next_seq, time_ns, payload);
        self.next_seq += 1;
    }

    fn reserved(&self, kind: Option<RecordKind>) -> usize {
        if kind == Some(RecordKind::Outcome) {
            return 0;
        }
        let outcomes = (self.in_flight + 1).min(MAX_RESERVED_OUTCOMES);
        usize::try_from(outcomes).unwrap_or(usize::MAX) * HOT_RECORD_BYTES
    }

    fn rotate_and_write(
        &mut self,
        entries: &Entries<'_>,
        bytes: usize,
        next_id: &AtomicU64,
    ) -> Result<u64, JournalError> {
        // In a fresh segment both dictionary entries may come on top.
        let room = usize::try_from(self.segment_bytes).unwrap_or(usize::MAX) - FIRST_RECORD;
        let reserved = self.reserved(entries.kind());
        let whole = bytes + reserved + entries.missing_after_rotation(self.segment.number);
        if whole > room {
            return Err(JournalError::TooLarge { bytes });
        }
        self.rotate(next_id)?;
        self.write(entries, next_id)
    }

    fn rotate(&mut self, next_id: &AtomicU64) -> Result<(), JournalError> {
        let ahead = Arc::clone(&self.spare);
        let mut ahead = ahead.lock();
        let spare = match ahead.take() {
            Some(spare) => spare,
            None => make_spare(&self.dir, SPARE, self.segment_bytes, self.reserve_bytes)
                .or_else(|error| self.trouble.rescue(error))?,
        };
        let number = self.segment.number + 1;
        let fresh = activate(
            spare,
            &self.dir,
            self.journal,
            number,
            self.next_seq,
            next_id.load(Ordering::Relaxed),
        )?;
        drop(ahead);
        let full = std::mem::replace(&mut self.segment, Arc::new(fresh));
        self.retired.push(Extent {
            segment: full,
            end: self.offset,
            next_seq: self.next_seq,
        });
        self.offset = FIRST_RECORD;
        Ok(())
    }
}

impl Entries<'_> {
    /// Bytes of dictionary entries that the segment `number` holds and the next one will lack.
    fn missing_after_rotation(&self, number: u64) -> usize {
        let session = self
            .session
            .filter(|session| session.last_segment.load(Ordering::Relaxed) == number)
            .map_or(0, |session| {
                layout::record_bytes(dictionary_entry(session.id, &session.opened).len())
            });
        let statement = self
            .statement
            .filter(|statement| statement.last_segment.load(Ordering::Relaxed) == number)
            .map_or(0, |statement| {
                layout::record_bytes(statement_entry(statement).len())
            });
        session + statement
    }
}

/// Makes a segment that is not part of the journal yet.
pub(super) fn make_spare(
    dir: &Path,
    name: &str,
    bytes: u64,
    reserve_bytes: u64,
) -> Result<Segment, JournalError> {
    let path = dir.join(name);
    let free = free_bytes(dir).map_err(JournalError::io("ask for free space in", dir))?;
    // The old spare's blocks are free once it is gone.
    let spare = std::fs::metadata(&path).map_or(0, |metadata| metadata.len());
    let left = (free + spare).saturating_sub(bytes);
    if free + spare < bytes || left < reserve_bytes {
        return Err(JournalError::Reserve {
            free_mib: left >> 20,
            reserve_mib: reserve_bytes >> 20,
        });
    }
    Segment::create(&path, bytes).map_err(|source| {
        // A half-made file would take the very space that is lacking.
        let _ = std::fs::remove_file(&path);
        JournalError::io("preallocate", &path)(source)
    })
}

/// The next segment, made ahead of need.
pub(super) const SPARE: &str = "spare";
/// The segment for a time without room.
pub(super) const EMERGENCY: &str = "emergency";

/// Makes `spare` the segment `number`.
pub(super) fn activate(
    mut spare: Segment,
    dir: &Path,
    journal: [u8; 16],
    number: u64,
    first_seq: u64,
    next_id: u64,
) -> Result<Segment, JournalError> {
    let path = segment::path(dir, number);
    let header = SegmentHeader {
        journal,
        number,
        first_seq,
        next_id,
        created_ns: clock::now_ns(),
    };
    spare
        .activate(&header, path.clone())
        .map_err(JournalError::io("begin", &path))?;
    Ok(spare)
}

/// Free space for privileged processes on the file system of `dir`.
pub(super) fn free_bytes(dir: &Path) -> io::Result<u64> {
    let stat = nix::sys::statvfs::statvfs(dir)?;
    Ok(stat.blocks_available().saturating_mul(stat.fragment_size()))
}

/// A dictionary entry: the id, then JSON; the id in front spares readers the JSON of entries they know.
fn dictionary_entry(id: u64, value: &impl serde::Serialize) -> Vec<u8> {
    let mut bytes = id.to_le_bytes().to_vec();
    bytes.extend(json(value));
    bytes
}

/// As [`dictionary_entry`]; a monstrous text and monstrous lists of names are cut, and the text says so.
fn statement_entry(statement: &Statement) -> Vec<u8> {
    let decided = &statement.decided;
    let text = decided.facts.normalised.len();
    let counts = [
        ("relations", decided.facts.relations.len()),
        ("columns", decided.facts.columns.len()),
        ("columns of views", bases(&decided.facts)),
        ("functions", decided.facts.functions.len()),
        ("classes", decided.classes.len()),
        ("masks", decided.decision.obligations.masks.len()),
        ("schemas", decided.schemas.len()),
    ];
    if text <= MAX_TEXT_BYTES && counts.iter().all(|(_, count)| *count <= MAX_NAMES) {
        return dictionary_entry(statement.id, decided);
    }
    let mut decided = decided.clone();
    let facts = &mut decided.facts;
    facts.relations.truncate(MAX_NAMES);
    facts.columns.truncate(MAX_NAMES);
    let mut room = MAX_NAMES;
    for column in &mut facts.columns {
        column.bases.truncate(room);
        room -= column.bases.len();
    }
    facts.functions.truncate(MAX_NAMES);
    decided.classes.truncate(MAX_NAMES);
    decided.decision.obligations.masks.truncate(MAX_NAMES);
    if let Some(beyond) = decided.schemas.keys().nth(MAX_NAMES).cloned() {
        decided.schemas.split_off(&beyond);
    }
    let mut notes = Vec::new();
    if text > MAX_TEXT_BYTES {
        let cut = facts.normalised.floor_char_boundary(MAX_TEXT_BYTES);
        facts.normalised.truncate(cut);
        notes.push(format!("{text} bytes"));
    }
    let many = counts.iter().filter(|(_, count)| *count > MAX_NAMES);
    notes.extend(many.map(|(what, count)| format!("{count} {what}")));
    let note = format!(" /* weir: cut, {} in all */", notes.join(", "));
    facts.normalised.push_str(&note);
    dictionary_entry(statement.id, &decided)
}

/// Columns of tables that the columns of views are made of.
fn bases(facts: &Facts) -> usize {
    facts.columns.iter().map(|used| used.bases.len()).sum()
}

fn json(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("records have string keys only, so they serialise")
}
