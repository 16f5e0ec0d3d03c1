//! One pass over a segment's records: where they end, what lies behind, which ids they name.

use std::{io, path::Path};

use serde::Deserialize;

use super::super::{
    JournalError,
    layout::{self, Parsed, RecordKind, SEGMENT_HEADER_BYTES, SegmentHeader},
    segment,
    source::Source,
};

/// What one pass over a segment's records finds.
pub(super) struct Scan {
    pub(super) header: SegmentHeader,
    /// Where the records end.
    pub(super) end: usize,
    pub(super) next_seq: u64,
    pub(super) next_id: u64,
    /// Non-zero bytes after the end.
    pub(super) torn_bytes: u64,
    /// The highest sequence number of a record that lies beyond the end.
    pub(super) beyond: Option<u64>,
}

/// What is left of a segment whose header is damaged.
pub(super) struct Traces {
    /// The journal's id as the header has it, if that part of it is whole.
    pub(super) journal: [u8; 16],
    /// One more than the highest number of a record that is there.
    pub(super) next_seq: u64,
    /// One more than the highest id in those.
    pub(super) next_id: u64,
}

/// Reads a segment; `None` when its header is damaged.
pub(super) fn scan(dir: &Path, number: u64) -> Result<Option<Scan>, JournalError> {
    let bytes = read(dir, number)?;
    let header = SegmentHeader::decode(&bytes).filter(|header| header.number == number);
    let Some(header) = header else {
        return Ok(None);
    };
    let mut scan = Scan {
        header,
        end: SEGMENT_HEADER_BYTES,
        next_seq: header.first_seq,
        next_id: header.next_id,
        torn_bytes: 0,
        beyond: None,
    };
    while let Some(rest) = bytes.get(scan.end..)
        && let Parsed::Record(record, total) = layout::parse(rest)
        && record.seq == scan.next_seq
    {
        scan.end += total;
        scan.next_seq += 1;
        scan.next_id = scan
            .next_id
            .max(ids_in(record.kind, record.payload).saturating_add(1));
    }
    let rest = bytes.get(scan.end..).unwrap_or_default();
    scan.torn_bytes = rest.iter().filter(|byte| **byte != 0).count() as u64;
    if scan.torn_bytes > 0 {
        let (beyond, next_id) = anywhere(rest);
        scan.beyond = beyond;
        scan.next_id = scan.next_id.max(next_id);
    }
    Ok(Some(scan))
}

/// Looks for what a segment with a damaged header still has.
pub(super) fn traces(dir: &Path, number: u64) -> Result<Traces, JournalError> {
    let bytes = read(dir, number)?;
    let (last_seq, next_id) = anywhere(bytes.get(SEGMENT_HEADER_BYTES..).unwrap_or_default());
    Ok(Traces {
        journal: SegmentHeader::journal_in(&bytes),
        next_seq: last_seq.unwrap_or_default() + 1,
        next_id,
    })
}

/// A segment's bytes; none when it does not unpack.
fn read(dir: &Path, number: u64) -> Result<Vec<u8>, JournalError> {
    match Source::open(dir, number).and_then(|mut source| source.read_from(0)) {
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(Vec::new()),
        read => read.map_err(JournalError::io("read", &segment::path(dir, number))),
    }
}

/// The highest number of a record that lies anywhere in `bytes`, and one more than the highest id in those.
fn anywhere(bytes: &[u8]) -> (Option<u64>, u64) {
    let mut found = (None, 1);
    for at in (0..bytes.len()).step_by(8) {
        if let Parsed::Record(record, _) = layout::parse(&bytes[at..]) {
            found.0 = found.0.max(Some(record.seq));
            found.1 = found
                .1
                .max(ids_in(record.kind, record.payload).saturating_add(1));
        }
    }
    found
}

/// The highest id of a session, statement or approval that a record names; zero when it names none.
fn ids_in(kind: RecordKind, payload: &[u8]) -> u64 {
    match kind {
        RecordKind::SessionOpened | RecordKind::StatementDecided => layout::take(payload, 0),
        RecordKind::Requested => layout::take(payload, 0).max(layout::take(payload, 8)),
        RecordKind::Outcome => 0,
        RecordKind::Event => {
            let naming: Option<Naming> = serde_json::from_slice(payload).ok();
            naming.map_or(0, |naming| naming.highest())
        }
    }
}

/// Of an event, what names an id that no other record has: approvals are in events only.
#[derive(Deserialize)]
struct Naming {
    approval: Option<u64>,
    /// What was said again.
    said: Option<Box<Naming>>,
}

impl Naming {
    fn highest(&self) -> u64 {
        let said = self.said.as_ref().map_or(0, |said| said.highest());
        self.approval.unwrap_or_default().max(said)
    }
}
