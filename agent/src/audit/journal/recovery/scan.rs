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

pub(super) fn scan(dir: &Path, number: u64) -> Result<Scan, JournalError> {
    let path = segment::path(dir, number);
    let bytes = Source::open(dir, number)
        .and_then(|mut source| source.read_from(0))
        .map_err(JournalError::io("read", &path))?;
    let header = SegmentHeader::decode(&bytes)
        .filter(|header| header.number == number)
        .ok_or_else(|| {
            JournalError::io("read the header of", &path)(io::ErrorKind::InvalidData.into())
        })?;
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
        scan.next_id = scan.next_id.max(ids_in(record.kind, record.payload) + 1);
    }
    let rest = bytes.get(scan.end..).unwrap_or_default();
    scan.torn_bytes = rest.iter().filter(|byte| **byte != 0).count() as u64;
    if scan.torn_bytes > 0 {
        scan.look_beyond(rest);
    }
    Ok(scan)
}

impl Scan {
    /// Looks for records where none ought to be.
    fn look_beyond(&mut self, rest: &[u8]) {
        for at in (0..rest.len()).step_by(8) {
            if let Parsed::Record(record, _) = layout::parse(&rest[at..]) {
                self.beyond = self.beyond.max(Some(record.seq));
                self.next_id = self.next_id.max(ids_in(record.kind, record.payload) + 1);
            }
        }
    }
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
