//! The bytes of segments and records.
//!
//! Integers are little-endian, records start at multiples of eight. A record is
//! `kind << 24 | payload length` (4) · CRC-32 (4) · sequence number (8) · nanoseconds since the epoch (8) · payload · zeros to eight.
//! The first word is stored last: while it is zero there is no record.

use super::super::record::{Ending, Outcome, Requested, Via};

/// Bytes of a segment before its first record.
pub(crate) const SEGMENT_HEADER_BYTES: usize = 80;
/// Bytes of a record before its payload.
pub(crate) const RECORD_HEADER_BYTES: usize = 24;
/// Bytes of a hot record's payload, and so 64 of the whole.
pub(crate) const HOT_PAYLOAD_BYTES: usize = 40;
/// Bytes of a whole hot record: one cache line.
pub(crate) const HOT_RECORD_BYTES: usize = RECORD_HEADER_BYTES + HOT_PAYLOAD_BYTES;
/// The length field has 24 bits.
pub(crate) const MAX_PAYLOAD_BYTES: usize = (1 << 24) - 1;

const MAGIC: [u8; 8] = *b"WEIRSEG1";

/// What a record's payload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum RecordKind {
    SessionOpened = 1,
    StatementDecided = 2,
    Requested = 3,
    Outcome = 4,
    Event = 5,
}

impl RecordKind {
    fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::SessionOpened,
            2 => Self::StatementDecided,
            3 => Self::Requested,
            4 => Self::Outcome,
            5 => Self::Event,
            _ => return None,
        })
    }
}

/// A segment's first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    /// Random, made with the journal: segments of another journal do not fit in.
    pub(crate) journal: [u8; 16],
    /// Counts from one.
    pub(crate) number: u64,
    /// The first record's sequence number.
    pub(crate) first_seq: u64,
    /// Session and statement ids below this may be in use.
    pub(crate) next_id: u64,
    /// When it was begun, nanoseconds since the epoch.
    pub(crate) created_ns: u64,
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[16..32].copy_from_slice(&self.journal);
        put(&mut bytes, 32, self.number);
        put(&mut bytes, 40, self.first_seq);
        put(&mut bytes, 48, self.next_id);
        put(&mut bytes, 56, self.created_ns);
        let crc = crc32fast::hash(&bytes[16..]);
        bytes[8..12].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// What stands for the journal's id in a header that may be damaged.
    pub(crate) fn journal_in(bytes: &[u8]) -> [u8; 16] {
        let id = bytes.get(16..).and_then(|rest| rest.first_chunk());
        id.copied().unwrap_or_default()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; SEGMENT_HEADER_BYTES] = bytes.first_chunk()?;
        let header = Self {
            journal: *bytes[16..].first_chunk()?,
            number: take(bytes, 32),
            first_seq: take(bytes, 40),
            next_id: take(bytes, 48),
            created_ns: take(bytes, 56),
        };
        (header.encode() == *bytes).then_some(header)
    }
}

/// One record where it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RawRecord<'a> {
    pub(crate) kind: RecordKind,
    pub(crate) seq: u64,
    pub(crate) time_ns: u64,
    pub(crate) payload: &'a [u8],
}

/// What lies at the start of some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parsed<'a> {
    /// A record and its length with header and padding.
    Record(RawRecord<'a>, usize),
    /// No record has been stored here.
    End,
    /// The record is longer than the bytes given; this many are needed.
    Short(usize),
    /// Not a record, or its checksum does not fit.
    Broken,
}

/// Bytes that a record with this payload takes.
pub(crate) fn record_bytes(payload: usize) -> usize {
    RECORD_HEADER_BYTES + payload.next_multiple_of(8)
}

/// The whole length of the record at the start of `bytes`, by its first word alone.
pub(crate) fn length_at(bytes: &[u8]) -> Option<usize> {
    let [a, b, c, kind] = *bytes.first_chunk()?;
    RecordKind::from_byte(kind)?;
    Some(record_bytes(u32::from_le_bytes([a, b, c, 0]) as usize))
}

/// Writes everything of a record but its first word into `into`, which is zeroed; returns that word. The caller has made sure
/// that the payload's length fits its field.
pub(crate) fn encode(
    into: &mut [u8],
    kind: RecordKind,
    seq: u64,
    time_ns: u64,
    payload: &[u8],
) -> u32 {
    debug_assert!(
        payload.len() <= MAX_PAYLOAD_BYTES,
        "a payload's length has 24 bits"
    );
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let word = u32::from(kind as u8) << 24 | (length & 0x00FF_FFFF);
    put(into, 8, seq);
    put(into, 16, time_ns);
    into[RECORD_HEADER_BYTES..RECORD_HEADER_BYTES + payload.len()].copy_from_slice(payload);
    let crc = checksum(word, &into[8..RECORD_HEADER_BYTES + payload.len()]);
    into[4..8].copy_from_slice(&crc.to_le_bytes());
    word
}

/// Reads the record at the start of `bytes`.
pub(crate) fn parse(bytes: &[u8]) -> Parsed<'_> {
    let Some(word) = bytes.first_chunk().map(|word| u32::from_le_bytes(*word)) else {
        return Parsed::End;
    };
    if word == 0 {
        return Parsed::End;
    }
    let [a, b, c, kind] = word.to_le_bytes();
    let Some(kind) = RecordKind::from_byte(kind) else {
        return Parsed::Broken;
    };
    let length = u32::from_le_bytes([a, b, c, 0]) as usize;
    let total = record_bytes(length);
    let Some(record) = bytes.get(..total) else {
        return Parsed::Short(total);
    };
    let (content, padding) = record.split_at(RECORD_HEADER_BYTES + length);
    if content[4..8] != checksum(word, &content[8..]).to_le_bytes()
        || padding.iter().any(|byte| *byte != 0)
    {
        return Parsed::Broken;
    }
    Parsed::Record(raw(kind, content), total)
}

/// Reads a record that [`parse`] has found good.
pub(crate) fn view(record: &[u8]) -> Option<RawRecord<'_>> {
    let [a, b, c, kind] = *record.first_chunk()?;
    let length = u32::from_le_bytes([a, b, c, 0]) as usize;
    let content = record.get(..RECORD_HEADER_BYTES + length)?;
    Some(raw(RecordKind::from_byte(kind)?, content))
}

fn raw(kind: RecordKind, content: &[u8]) -> RawRecord<'_> {
    RawRecord {
        kind,
        seq: take(content, 8),
        time_ns: take(content, 16),
        payload: &content[RECORD_HEADER_BYTES..],
    }
}

pub(crate) fn encode_requested(requested: &Requested) -> [u8; HOT_PAYLOAD_BYTES] {
    let mut payload = [0; HOT_PAYLOAD_BYTES];
    put(&mut payload, 0, requested.session);
    put(&mut payload, 8, requested.statement);
    put(&mut payload, 16, requested.parameters_hash);
    put(&mut payload, 24, requested.request_bytes);
    payload[32] = requested.via as u8;
    payload
}

pub(crate) fn decode_requested(payload: &[u8]) -> Option<Requested> {
    let payload: &[u8; HOT_PAYLOAD_BYTES] = payload.try_into().ok()?;
    Some(Requested {
        session: take(payload, 0),
        statement: take(payload, 8),
        parameters_hash: take(payload, 16),
        request_bytes: take(payload, 24),
        via: match payload[32] {
            0 => Via::Simple,
            1 => Via::Parse,
            2 => Via::Execute,
            3 => Via::FunctionCall,
            4 => Via::Replication,
            _ => return None,
        },
    })
}

pub(crate) fn encode_outcome(outcome: &Outcome) -> [u8; HOT_PAYLOAD_BYTES] {
    let mut payload = [0; HOT_PAYLOAD_BYTES];
    put(&mut payload, 0, outcome.request);
    put(&mut payload, 8, outcome.rows);
    put(&mut payload, 16, outcome.bytes);
    put(&mut payload, 24, outcome.duration_ns);
    payload[32..37].copy_from_slice(&outcome.sqlstate);
    payload[37] = outcome.ending as u8;
    payload
}

pub(crate) fn decode_outcome(payload: &[u8]) -> Option<Outcome> {
    let payload: &[u8; HOT_PAYLOAD_BYTES] = payload.try_into().ok()?;
    Some(Outcome {
        request: take(payload, 0),
        rows: take(payload, 8),
        bytes: take(payload, 16),
        duration_ns: take(payload, 24),
        sqlstate: *payload[32..].first_chunk()?,
        ending: match payload[37] {
            0 => Ending::Completed,
            1 => Ending::Failed,
            2 => Ending::Denied,
            3 => Ending::Suspended,
            4 => Ending::Skipped,
            5 => Ending::Disconnected,
            _ => return None,
        },
    })
}

/// The checksum starts from the first word, so that kind and length are covered too.
fn checksum(word: u32, rest: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(word);
    hasher.update(rest);
    hasher.finalize()
}

fn put(bytes: &mut [u8], at: usize, value: u64) {
    bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

/// Callers pass slices whose length they have checked.
pub(crate) fn take(bytes: &[u8], at: usize) -> u64 {
    bytes
        .get(at..at + 8)
        .and_then(|slice| slice.try_into().ok())
        .map_or(0, u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome() -> Outcome {
        Outcome {
            request: 7,
            ending: Ending::Failed,
            rows: 3,
            bytes: u64::MAX,
            duration_ns: 12,
            sqlstate: *b"42P01",
        }
    }

    fn record(kind: RecordKind, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; record_bytes(payload.len())];
        let word = encode(&mut bytes, kind, 41, 99, payload);
        bytes[..4].copy_from_slice(&word.to_le_bytes());
        bytes
    }

    #[test]
    fn hot_records_come_back_as_written_and_fill_one_cache_line() {
        let requested = Requested {
            session: 1,
            statement: u64::MAX,
            via: Via::Execute,
            parameters_hash: 5,
            request_bytes: 80,
        };
        assert_eq!(
            decode_requested(&encode_requested(&requested)),
            Some(requested)
        );
        assert_eq!(decode_outcome(&encode_outcome(&outcome())), Some(outcome()));
        assert_eq!(HOT_RECORD_BYTES, 64);
    }

    #[test]
    fn any_changed_bit_breaks_a_record() {
        let whole = record(RecordKind::Event, b"{\"a\":1}");
        assert!(
            matches!(parse(&whole), Parsed::Record(raw, 32) if raw.payload == b"{\"a\":1}" && raw.seq == 41)
        );
        for bit in 0..whole.len() * 8 {
            let mut changed = whole.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(!matches!(parse(&changed), Parsed::Record(..)), "bit {bit}");
        }
    }

    #[test]
    fn a_header_with_a_changed_byte_is_refused() {
        let header = SegmentHeader {
            journal: [7; 16],
            number: 1,
            first_seq: 2,
            next_id: 3,
            created_ns: 4,
        };
        let bytes = header.encode();
        assert_eq!(SegmentHeader::decode(&bytes), Some(header));
        for at in 0..bytes.len() {
            let mut changed = bytes;
            changed[at] ^= 0x10;
            assert_eq!(SegmentHeader::decode(&changed), None, "byte {at}");
        }
    }

    #[test]
    fn a_cut_record_says_how_much_is_missing() {
        let whole = record(RecordKind::Outcome, &encode_outcome(&outcome()));
        assert_eq!(parse(&whole[..40]), Parsed::Short(64));
        assert_eq!(parse(&[0; 64]), Parsed::End);
    }
}
