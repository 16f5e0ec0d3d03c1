//! Every way of tampering that verification promises to find.

use std::{fs, path::PathBuf};

use weir_sql::{Kind, Use};

use super::*;
use crate::audit::{
    chain::{BLOCK_RECORDS, ENTRY_BYTES},
    fixtures::{allowed, facts, new_session, open, outcome},
    journal::layout,
    record::{Ending, Via},
};

/// A closed journal with two full segments and one begun.
struct Case {
    dir: tempfile::TempDir,
    key: PublicKey,
}

impl Case {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let journal = open(dir.path());
        let session = journal
            .session(new_session("alice", "/usr/bin/psql"))
            .expect("recorded");
        let statement = journal.statement(
            facts(Kind::Select, &[("orders", Use::Read)]),
            allowed(),
            "digest",
            Vec::new(),
        );
        while journal.health().segment < 3 {
            for _ in 0..1000 {
                let seq = journal
                    .requested(&session, &statement, Via::Execute, 0, 1)
                    .expect("recorded");
                journal
                    .outcome(&outcome(seq, Ending::Completed, 1, 1))
                    .expect("recorded");
            }
        }
        drop(journal);
        let key = PublicKey::open(dir.path()).expect("the key");
        Self { dir, key }
    }

    fn verify(&self) -> Verification {
        verify(self.dir.path(), &self.key, None).expect("readable")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(FOLDER).join(name)
    }

    /// Changes a file, verifies, puts it back.
    fn changed(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) -> Verification {
        let path = self.file(name);
        let before = fs::read(&path).expect("the file");
        let mut after = before.clone();
        change(&mut after);
        fs::write(&path, after).expect("changed");
        let found = self.verify();
        fs::write(&path, before).expect("put back");
        found
    }

    fn without(&self, name: &str) -> Verification {
        let path = self.file(name);
        let before = fs::read(&path).expect("the file");
        fs::remove_file(&path).expect("removed");
        let found = self.verify();
        fs::write(&path, before).expect("put back");
        found
    }
}

#[test]
fn an_untouched_journal_is_intact_and_wholly_covered() {
    let found = Case::new().verify();
    assert!(found.intact, "{:?}", found.fault);
    assert_eq!(
        (
            found.segments,
            found.sealed,
            found.uncovered,
            found.torn_bytes
        ),
        (3, 2, 0, 0)
    );
    assert!(found.covered_seq > 30_000);
    // Full blocks, and at most one open one per segment.
    let full = found.covered_seq / u64::from(BLOCK_RECORDS);
    assert!(
        (full..=full + 3).contains(&found.blocks),
        "{}",
        found.blocks
    );
}

#[test]
fn any_flipped_byte_is_found() {
    let case = Case::new();
    let names = [
        "000000000001.segment",
        "000000000003.segment",
        "000000000001.chain",
        "000000000003.chain",
        "000000000002.seal",
        "head",
    ];
    for name in names {
        let length = fs::metadata(case.file(name)).expect("the file").len();
        let length = usize::try_from(length).expect("fits");
        // A spread with an odd step, so that every kind of field is met.
        let step = (length / 40) | 1;
        for at in (0..length).step_by(step) {
            let found = case.changed(name, |bytes| bytes[at] ^= 0x04);
            assert!(!found.intact, "{name}, byte {at}");
        }
    }
    assert!(case.verify().intact);
}

#[test]
fn a_changed_record_names_its_block_and_records() {
    let case = Case::new();
    let found = case.changed("000000000002.segment", |bytes| bytes[500_000] ^= 1);
    let fault = found.fault.expect("a fault");
    assert_eq!(fault.segment, 2);
    let (block, last) = (
        fault.block.expect("a block"),
        fault.last_seq.expect("a record"),
    );
    assert!(
        block > 0 && last - fault.first_seq == u64::from(BLOCK_RECORDS) - 1,
        "{fault:?}"
    );
    assert_eq!(found.covered_seq, fault.first_seq - 1);
}

#[test]
fn a_fault_hides_none_behind_it() {
    let case = Case::new();
    for number in [1, 2] {
        let path = case.file(&format!("{number:012}.segment"));
        let mut bytes = fs::read(&path).expect("the file");
        bytes[500_000] ^= 1;
        fs::write(&path, bytes).expect("changed");
    }
    let found = case.verify();
    let places: Vec<_> = found.faults.iter().map(|fault| fault.segment).collect();
    assert_eq!(places, [1, 2], "{:?}", found.faults);
    assert!(found.faults.iter().all(|fault| fault.block > Some(0)));
    assert_eq!(found.fault.as_ref(), found.faults.first());
    assert_eq!(found.covered_seq, found.faults[0].first_seq - 1);
    // The rest is whole, up to the signed head.
    assert_eq!(found.segments, 1);
}

#[test]
fn behind_a_missing_segment_all_but_the_block_that_was_chained_to_it_is_checked() {
    let case = Case::new();
    for ending in ["segment", "chain", "seal"] {
        fs::remove_file(case.file(&format!("000000000001.{ending}"))).expect("removed");
    }
    let places = |found: Verification| -> Vec<_> {
        let faults = found.faults.into_iter();
        faults.map(|fault| (fault.segment, fault.block)).collect()
    };
    assert_eq!(places(case.verify()), [(1, None), (2, Some(0))]);
    let found = case.changed("000000000002.segment", |bytes| bytes[500_000] ^= 1);
    let places = places(found);
    assert_eq!(places.len(), 3, "{places:?}");
    assert!(places[2].0 == 2 && places[2].1 > Some(0), "{places:?}");
}

#[test]
fn what_the_disk_has_lost_is_a_fault_among_others() {
    let case = Case::new();
    let path = case.file("000000000002.chain");
    fs::remove_file(&path).expect("removed");
    // Nothing is mapped at address zero: to read there is an error of input and output.
    std::os::unix::fs::symlink("/proc/self/mem", &path).expect("put in its place");
    let found = case.verify();
    let places: Vec<_> = found.faults.iter().map(|fault| fault.segment).collect();
    assert_eq!(places, [2], "{:?}", found.faults);
}

#[test]
fn dropped_and_swapped_blocks_are_found() {
    let case = Case::new();
    let dropped = case.changed("000000000001.chain", |bytes| {
        drop(bytes.drain(ENTRY_BYTES..2 * ENTRY_BYTES));
    });
    assert_eq!(dropped.fault.expect("a fault").block, Some(1));
    let swapped = case.changed("000000000003.chain", |bytes| {
        let (first, second) = bytes[..2 * ENTRY_BYTES].split_at_mut(ENTRY_BYTES);
        first.swap_with_slice(second);
    });
    assert_eq!(
        swapped.fault.map(|fault| (fault.segment, fault.block)),
        Some((3, Some(0)))
    );
    // The records of two blocks of one length change places.
    let block = BLOCK_RECORDS as usize * 64;
    let records = case.changed("000000000002.segment", |bytes| {
        let (first, second) = bytes[100_000 / 8 * 8..].split_at_mut(block);
        first.swap_with_slice(&mut second[..block]);
    });
    assert!(!records.intact);
}

#[test]
fn a_cut_end_is_found_also_when_journal_and_chain_are_cut_alike() {
    let case = Case::new();
    let chain_only = case.changed("000000000003.chain", |bytes| {
        bytes.truncate(bytes.len() - ENTRY_BYTES);
    });
    assert!(!chain_only.intact);
    let path = case.file("000000000003.segment");
    let before = fs::read(&path).expect("the file");
    let entries = fs::read(case.file("000000000003.chain")).expect("the file");
    let kept = layout::take(&entries[entries.len() - ENTRY_BYTES..], 0);
    let mut cut = before.clone();
    cut[usize::try_from(kept).expect("fits")..].fill(0);
    fs::write(&path, cut).expect("changed");
    let alike = case.changed("000000000003.chain", |bytes| {
        bytes.truncate(bytes.len() - ENTRY_BYTES);
    });
    let fault = alike.fault.expect("a fault");
    assert!(fault.what.contains("cut off"), "{fault:?}");
    fs::write(&path, before).expect("put back");
    assert!(case.verify().intact);
}

#[test]
fn a_missing_file_of_the_journal_is_found() {
    let case = Case::new();
    let names = [
        "000000000001.segment",
        "000000000002.segment",
        "000000000003.segment",
        "000000000002.chain",
        "000000000001.seal",
        "head",
    ];
    for name in names {
        let found = case.without(name);
        assert!(!found.intact, "{name}");
    }
    assert_eq!(
        case.without("000000000002.segment")
            .fault
            .expect("a fault")
            .segment,
        2
    );
}

#[test]
fn another_key_or_a_rewritten_chain_does_not_pass() {
    let case = Case::new();
    let other = tempfile::tempdir().expect("a folder");
    let stranger = super::super::key::SigningKey::open(other.path())
        .expect("a key")
        .public();
    assert!(
        !verify(case.dir.path(), &stranger, None)
            .expect("readable")
            .intact
    );
}

#[test]
fn a_published_checkpoint_has_to_be_in_the_journal() {
    let case = Case::new();
    let seal = Seal::read(&case.dir.path().join(FOLDER), 2, &case.key)
        .expect("readable")
        .expect("sealed");
    let with =
        |published: &Seal| verify(case.dir.path(), &case.key, Some(published)).expect("readable");
    assert!(with(&seal).intact);
    assert!(
        !with(&Seal {
            root: [9; 32],
            ..seal.clone()
        })
        .intact
    );
    assert!(
        !with(&Seal {
            segment: 9,
            ..seal.clone()
        })
        .intact
    );
    assert!(
        !with(&Seal {
            journal: [1; 16],
            ..seal
        })
        .intact
    );
}

#[test]
fn a_journal_that_is_being_written_verifies() {
    let dir = tempfile::tempdir().expect("a folder");
    let journal = open(dir.path());
    let key = PublicKey::open(dir.path()).expect("the key");
    let session = journal
        .session(new_session("alice", "/usr/bin/psql"))
        .expect("recorded");
    let statement = journal.statement(facts(Kind::Select, &[]), allowed(), "digest", Vec::new());
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for _ in 0..60_000 {
                let seq = journal
                    .requested(&session, &statement, Via::Execute, 0, 1)
                    .expect("recorded");
                journal
                    .outcome(&outcome(seq, Ending::Completed, 1, 1))
                    .expect("recorded");
            }
        });
        let mut looks = 0;
        while !writer.is_finished() || looks == 0 {
            let found = verify(dir.path(), &key, None).expect("readable");
            assert!(found.intact && found.live, "{:?}", found.fault);
            looks += 1;
        }
    });
}
