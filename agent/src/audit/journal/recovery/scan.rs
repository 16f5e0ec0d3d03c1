//! One pass over a segment's records: where they end, what lies behind, which ids they name.

use std::{io, ops::RangeInclusive, path::Path};

use serde::Deserialize;

use super::super::{
    JournalError,
    layout::{self, Parsed, RECORD_HEADER_BYTES, RecordKind, SEGMENT_HEADER_BYTES, SegmentHeader},
    segment,
    source::{self, Source},
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
    /// Whether the disk has lost some of it: nothing may be stored there.
    pub(super) is_unreadable: bool,
}

/// What is left of a segment whose header is damaged.
pub(super) struct Traces {
    /// One more than the highest number of a record that is there.
    pub(super) next_seq: u64,
    /// One more than the highest id in those.
    pub(super) next_id: u64,
}

/// Reads a segment; `None` when its header is damaged.
pub(super) fn scan(dir: &Path, number: u64) -> Result<Option<Scan>, JournalError> {
    let (bytes, is_unreadable) = read(dir, number)?;
    let header = SegmentHeader::decode(&bytes)
        .filter(|header| header.number == number && header.first_seq <= HIGHEST_SEQ);
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
        is_unreadable,
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
        let (beyond, next_id) = anywhere(rest, header.first_seq..=behind(header.first_seq, &bytes));
        scan.beyond = beyond;
        scan.next_id = scan.next_id.max(next_id);
    }
    Ok(Some(scan))
}

/// Looks for what a segment with a damaged header still has.
pub(super) struct Ruin {
    /// The journal's id as the header has it, if that part of it is whole.
    pub(super) journal: [u8; 16],
    bytes: Vec<u8>,
}

impl Ruin {
    pub(super) fn open(dir: &Path, number: u64) -> Result<Self, JournalError> {
        let (bytes, _) = read(dir, number)?;
        Ok(Self {
            journal: SegmentHeader::journal_in(&bytes),
            bytes,
        })
    }

    /// What lies in it of records from the number `first` on, which is one of the segment's or lies before them; `last` is
    /// one that was given out before the segment was full.
    pub(super) fn traces(&self, first: u64, last: u64) -> Traces {
        let rest = self.bytes.get(SEGMENT_HEADER_BYTES..).unwrap_or_default();
        let (last_seq, next_id) = anywhere(rest, first..=behind(first.max(last), &self.bytes));
        Traces {
            next_seq: last_seq.unwrap_or_default() + 1,
            next_id,
        }
    }

    /// A number that no record has of a segment as large as this one that begins with the record `first`.
    pub(super) fn behind(&self, first: u64) -> u64 {
        behind(first, &self.bytes)
    }

    /// A number that no record in a row of `segments` as large as this one can have.
    pub(super) fn behind_all(&self, segments: u64) -> u64 {
        let bytes = (self.bytes.len() as u64).saturating_mul(segments);
        HIGHEST_SEQ.min(bytes / RECORD_HEADER_BYTES as u64)
    }
}

/// A number that no record of a segment with these bytes can have, when the record `seq` lies in it.
fn behind(seq: u64, bytes: &[u8]) -> u64 {
    HIGHEST_SEQ.min(seq.saturating_add(bytes.len() as u64 / RECORD_HEADER_BYTES as u64))
}

/// A number that no record has: the store's numbers are signed, and behind this one there is room to count on.
const HIGHEST_SEQ: u64 = 1 << 62;

/// A segment's bytes, none when it does not unpack; and whether the disk has lost some of them.
fn read(dir: &Path, number: u64) -> Result<(Vec<u8>, bool), JournalError> {
    let path = segment::path(dir, number);
    let failed = |error| JournalError::io("read", &path)(error);
    let mut source = match Source::open(dir, number) {
        Err(error) if is_lost(&error) => return Ok((Vec::new(), source::is_unreadable(&error))),
        opened => opened.map_err(failed)?,
    };
    match source.read_from(0) {
        Err(error) if source::is_unreadable(&error) => {
            let length = source.bytes().map_err(failed)?;
            let around = read_around(length, |into, at| source.read_exact_at(into, at));
            Ok((around.map_err(failed)?, true))
        }
        Err(error) if is_lost(&error) => Ok((Vec::new(), false)),
        read => Ok((read.map_err(failed)?, false)),
    }
}

fn is_lost(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidData || source::is_unreadable(error)
}

/// All of a segment that the disk still gives. What it does not give is no zeros: it is not known to be empty.
fn read_around(
    length: u64,
    mut read: impl FnMut(&mut [u8], u64) -> io::Result<()>,
) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    for (page, at) in bytes.chunks_mut(PAGE_BYTES).zip((0..).step_by(PAGE_BYTES)) {
        match read(page, at) {
            Err(error) if is_lost(&error) => page.fill(0xFF),
            done => done?,
        }
    }
    Ok(bytes)
}

/// What a disk loses at a time, or a part of it.
const PAGE_BYTES: usize = 64 << 10;

/// The highest number of a record that lies anywhere in `bytes`, of those in `numbers`, and one more than the highest id in
/// those.
fn anywhere(bytes: &[u8], numbers: RangeInclusive<u64>) -> (Option<u64>, u64) {
    let mut found = (None, 1);
    let mut at = 0;
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        // Before its checksum, which may have to be made over megabytes, at every eighth byte.
        let is_likely = numbers.contains(&layout::take(rest, 8));
        if is_likely && let Parsed::Record(record, total) = layout::parse(rest) {
            found.0 = found.0.max(Some(record.seq));
            found.1 = found
                .1
                .max(ids_in(record.kind, record.payload).saturating_add(1));
            at += total;
        } else {
            at += 8;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn record(seq: u64, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; layout::record_bytes(payload.len())];
        let word = layout::encode(&mut bytes, RecordKind::Event, seq, 1, payload);
        bytes[..4].copy_from_slice(&word.to_le_bytes());
        bytes
    }

    #[test]
    fn records_are_found_behind_a_break_and_those_with_absurd_numbers_are_none() {
        let mut bytes = vec![0xFF; 64];
        bytes.extend(record(7, b"{\"approval\":5}"));
        bytes.extend(record(8, b"{}"));
        bytes.extend(record(u64::MAX, b"{}"));
        bytes.extend(record(3, b"{\"approval\":9}"));
        let end = behind(5, &bytes);
        assert_eq!(anywhere(&bytes, 5..=end), (Some(8), 6));
        assert_eq!(anywhere(&bytes, 5..=6), (None, 1));
        let ruin = Ruin {
            journal: [0; 16],
            bytes: [vec![0; SEGMENT_HEADER_BYTES], bytes].concat(),
        };
        assert_eq!(ruin.traces(5, 0).next_seq, 9);
    }

    /// Each eighth byte says that a record of megabytes begins there.
    #[test]
    fn bytes_that_look_like_records_everywhere_are_passed_in_one_go() {
        let mut claim = [0; 8];
        claim[..4].copy_from_slice(&((RecordKind::Event as u32) << 24 | 0x3F_FF00).to_le_bytes());
        let bytes = claim.repeat(1 << 20);
        let began = std::time::Instant::now();
        assert_eq!(anywhere(&bytes, 1..=behind(1, &bytes)), (None, 1));
        assert!(began.elapsed() < std::time::Duration::from_secs(10));
    }

    #[test]
    fn what_the_disk_still_has_is_read_around_what_it_has_lost() {
        let length = 2 * PAGE_BYTES as u64 + 100;
        let read = |into: &mut [u8], at: u64| {
            if at == PAGE_BYTES as u64 {
                return Err(nix::errno::Errno::EIO.into());
            }
            into.fill(1);
            Ok(())
        };
        let bytes = read_around(length, read).expect("read");
        let expected = [vec![1; PAGE_BYTES], vec![0xFF; PAGE_BYTES], vec![1; 100]];
        assert!(bytes == expected.concat());
    }

    #[test]
    fn a_header_whose_first_number_is_absurd_is_damaged() {
        let dir = tempfile::tempdir().expect("a folder");
        let header = SegmentHeader {
            journal: [7; 16],
            number: 1,
            first_seq: u64::MAX,
            next_id: 1,
            created_ns: 1,
        };
        let mut bytes = header.encode().to_vec();
        bytes.extend(record(u64::MAX, b"{}"));
        std::fs::write(segment::path(dir.path(), 1), bytes).expect("written");
        assert!(scan(dir.path(), 1).expect("readable").is_none());
    }
}
