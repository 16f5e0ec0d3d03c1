//! One segment of a journal: its header, the blocks that its chain covers, its checkpoint, and what comes after.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::{
    Fault,
    walk::{NOT_PUBLISHED, Resumed, Stop, Walk},
};
use crate::audit::{
    chain::{
        self, ENTRY_BYTES, Entry, Hash, block_hash, genesis, merkle,
        seal::{self, Seal, SealError},
    },
    journal::{
        layout::{self, Parsed, SEGMENT_HEADER_BYTES, SegmentHeader},
        segment,
        source::Source,
    },
};

/// A segment, opened.
pub(super) struct Opened {
    number: u64,
    path: PathBuf,
    file: Source,
    bytes: u64,
    first_seq: u64,
}

impl Walk<'_> {
    pub(super) fn open(&mut self, number: u64) -> Result<Opened, Stop> {
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
                // Behind a first segment without a header it is not known yet.
                let is_known = self.journal != [0; 16];
                header.number == number && (first || !is_known || header.journal == self.journal)
            })
            .ok_or_else(|| {
                self.fault(
                    number,
                    Some(0),
                    "the segment's header was changed".to_owned(),
                )
            })?;
        if number == 1 || self.journal == [0; 16] {
            self.journal = header.journal;
            self.done.journal = hex::encode(header.journal);
        }
        if number == 1 {
            self.previous = genesis(&header.journal);
        }
        // Records that are missing were told with the segment that should have them.
        let resumed = self.resumed.as_ref();
        if resumed.is_some_and(|resumed| !resumed.is_next_known) && header.first_seq > self.next_seq
        {
            self.next_seq = header.first_seq;
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

    /// Checks a segment; whether it has its checkpoint.
    pub(super) fn segment(&mut self, opened: &mut Opened, last: bool) -> Result<bool, Stop> {
        let number = opened.number;
        let resumed = self.resumed.take();
        let seal = match Seal::read(&self.dir, number, self.key) {
            Ok(seal) => seal,
            Err(SealError::Read(source)) => {
                return Err(self.cannot(&seal::path(&self.dir, number), source));
            }
            Err(error) => return Err(self.fault(number, None, error.to_string())),
        };
        let entries = self.entries(number)?;
        let mut covered = 0;
        let mut leaves = Vec::with_capacity(entries.len());
        for (block, entry) in entries.iter().enumerate() {
            let first = resumed.as_ref().filter(|_| block == 0);
            if first.is_some_and(|resumed| !self.anchor(opened, entry, resumed)) {
                self.pass_unanchored(number, entry)?;
            } else {
                self.block(opened, block as u64, entry, covered)?;
            }
            covered += entry.length;
            leaves.push(entry.hash);
        }
        match seal {
            Some(seal) => {
                if resumed.is_some() {
                    // The root of one with a fault is not known for certain.
                    self.previous_root = seal.previous_root;
                }
                self.sealed(opened, &seal, covered, &leaves)?;
            }
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

    /// Finds what the first block is chained to, behind a segment with a fault; `false` when nothing is left that could tell.
    fn anchor(&mut self, opened: &mut Opened, entry: &Entry, resumed: &Resumed) -> bool {
        let fits = entry.offset.saturating_add(entry.length) <= opened.bytes;
        let length = usize::try_from(entry.length).ok().filter(|_| fits);
        let mut bytes = vec![0; length.unwrap_or_default()];
        if length.is_none() || opened.file.read_exact_at(&mut bytes, entry.offset).is_err() {
            // That is a fault of its own.
            return true;
        }
        let fitting =
            (resumed.anchors.iter()).find(|anchor| block_hash(anchor, &bytes) == entry.hash);
        if let Some(anchor) = fitting {
            self.previous = *anchor;
        }
        fitting.is_some() || resumed.is_anchored
    }

    /// Goes on behind a first block that cannot be checked, with what its entry says, which is signed.
    fn pass_unanchored(&mut self, number: u64, entry: &Entry) -> Result<(), Stop> {
        let last_seq = entry.first_seq.saturating_add(entry.records);
        let fault = Fault {
            segment: number,
            block: Some(0),
            first_seq: entry.first_seq,
            last_seq: Some(last_seq.saturating_sub(1)),
            what: "the block cannot be checked: the end of the chain before it is missing"
                .to_owned(),
        };
        self.note(Err(Stop::Fault(fault)))?;
        self.next_seq = last_seq;
        self.previous = entry.hash;
        self.covered = last_seq.saturating_sub(1);
        Ok(())
    }

    /// The entries of a segment's chain that are signed.
    pub(super) fn signed_entries(&self, number: u64) -> Vec<Entry> {
        let bytes = std::fs::read(chain::path(&self.dir, number)).unwrap_or_default();
        let entries = bytes.chunks(ENTRY_BYTES).zip(0..);
        entries
            .map_while(|(bytes, block)| {
                Entry::decode(bytes, &self.journal, number, block, self.key)
            })
            .collect()
    }

    /// The signed entries of a segment's chain.
    fn entries(&mut self, number: u64) -> Result<Vec<Entry>, Stop> {
        let path = chain::path(&self.dir, number);
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
        self.covered = self.next_seq - 1;
        if self.done.faults.is_empty() {
            self.done.covered_seq = self.covered;
        }
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
        let published = self.published;
        if let Some(published) =
            published.filter(|it| it.segment == opened.number && it.journal == self.journal)
        {
            self.is_published_met = true;
            if published != seal {
                return Err(self.fault(opened.number, None, NOT_PUBLISHED.to_owned()));
            }
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
}
