//! What an agent finds after the one before it, and what it makes of it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::audit::{
    chain::{
        key::{PublicKey, SigningKey},
        retired::Retired,
        seal::Seal,
        verify::verify,
    },
    fixtures::{new_session, open, settings},
    journal::{FOLDER, Journal, Recovery},
    record::Event,
};

/// What is on the disk at this moment: as a crash would leave it.
fn crashed(state_dir: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().expect("a folder");
    copy_all(state_dir, copy.path());
    copy
}

fn copy_all(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            fs::create_dir_all(&to).expect("a folder");
            copy_all(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), &to).expect("copied");
        }
    }
}

fn file(state_dir: &Path, name: &str) -> PathBuf {
    state_dir.join(FOLDER).join(name)
}

fn reopen(state_dir: &Path) -> (std::sync::Arc<Journal>, Recovery) {
    Journal::open(state_dir, &settings()).expect("a journal")
}

fn shown(approval: u64) -> Event {
    let identity = new_session("alice", "/bin/x").identity;
    Event::ApprovalShown {
        approval,
        approver: identity.expect("an identity"),
    }
}

#[test]
fn ids_of_approvals_are_not_given_out_again() {
    let dir = tempfile::tempdir().expect("a folder");
    let journal = open(dir.path());
    let approval = journal.new_id();
    journal.event(&shown(approval)).expect("recorded");
    drop(journal);
    let (journal, recovery) = reopen(dir.path());
    assert!(recovery.clean);
    let next = journal.new_id();
    assert_eq!(next, approval + 1);
    let said = Event::Repeated {
        seq: 1,
        time_ns: 1,
        said: Box::new(shown(next)),
    };
    journal.event(&said).expect("recorded");
    drop(journal);
    let (journal, _) = reopen(dir.path());
    assert_eq!(journal.new_id(), next + 1);
}

#[test]
fn ids_that_a_crash_may_have_lost_are_passed_over() {
    let dir = tempfile::tempdir().expect("a folder");
    let journal = open(dir.path());
    journal.event(&shown(journal.new_id())).expect("recorded");
    journal.sync().expect("synced");
    let left = crashed(dir.path());
    // Given out and not on the disk.
    let lost = journal.new_id();
    let (journal, recovery) = reopen(left.path());
    assert!(!recovery.clean);
    assert!(journal.new_id() > lost + 1000);
}

/// Only the last segment's records were on the disk, or all of a segment that was full and sealed.
#[test]
fn a_segment_that_a_power_failure_left_empty_is_removed() {
    for sealed in [false, true] {
        let dir = tempfile::tempdir().expect("a folder");
        let journal = open(dir.path());
        journal.event(&incident(1)).expect("recorded");
        journal.sync().expect("synced");
        let left = crashed(dir.path());
        let mut next_seq = 2;
        if sealed {
            fill(&journal, 2);
            for name in ["segment", "chain", "seal"] {
                let name = format!("000000000001.{name}");
                fs::copy(file(dir.path(), &name), file(left.path(), &name)).expect("copied");
            }
            next_seq = seal(left.path(), 1).expect("sealed").last_seq + 1;
        }
        fs::write(file(left.path(), "000000000002.segment"), vec![0; 1 << 20]).expect("made");
        let (journal, recovery) = reopen(left.path());
        assert_eq!(recovery.alarms, Vec::<String>::new(), "sealed: {sealed}");
        assert_eq!(recovery.next_seq, next_seq, "sealed: {sealed}");
        assert_eq!(journal.health().segment, 1 + u64::from(sealed));
        journal.event(&incident(9)).expect("recorded");
        drop(journal);
        assert_eq!(fault(left.path()), None, "sealed: {sealed}");
        assert!(reopen(left.path()).1.clean);
    }
}

#[test]
fn a_journal_of_which_nothing_reached_the_disk_is_begun_anew() {
    let dir = tempfile::tempdir().expect("a folder");
    let _journal = open(dir.path());
    for head in [None, Some(Vec::new()), Some(vec![0; 144])] {
        let left = crashed(dir.path());
        fs::write(file(left.path(), "000000000001.segment"), vec![0; 1 << 20]).expect("emptied");
        if let Some(head) = head {
            fs::write(file(left.path(), "head"), head).expect("emptied");
        }
        let (journal, recovery) = reopen(left.path());
        assert_eq!((recovery.resumed, recovery.alarms), (false, vec![]));
        journal.event(&incident(1)).expect("recorded");
        drop(journal);
        assert_eq!(fault(left.path()), None);
    }
}

#[test]
fn a_damaged_header_is_an_alarm_and_recording_goes_on_behind_it() {
    for segments in [1, 2] {
        let dir = tempfile::tempdir().expect("a folder");
        let journal = open(dir.path());
        fill(&journal, segments);
        let approval = journal.new_id();
        let seq = journal.event(&shown(approval)).expect("recorded");
        drop(journal);
        let path = file(dir.path(), &format!("{segments:012}.segment"));
        damage(&path, 60);
        let damaged = fs::read(&path).expect("readable");
        let (journal, recovery) = reopen(dir.path());
        assert_eq!(
            recovery.alarms,
            [format!("the header of segment {segments} is damaged")]
        );
        assert_eq!(recovery.next_seq, seq + 1);
        assert_eq!(journal.health().segment, segments + 1);
        assert!(journal.new_id() > approval);
        drop(journal);
        assert_eq!(fs::read(&path).expect("readable"), damaged);
        assert_eq!(reopen(dir.path()).1.alarms, Vec::<String>::new());
        let fault = fault(dir.path()).expect("a fault");
        assert_eq!(fault.0, segments, "{fault:?}");
    }
}

#[test]
fn a_damaged_checkpoint_is_an_alarm_and_recording_goes_on() {
    let dir = tempfile::tempdir().expect("a folder");
    let journal = open(dir.path());
    fill(&journal, 3);
    drop(journal);
    let path = file(dir.path(), "000000000002.seal");
    let whole = fs::read(&path).expect("readable");
    fs::write(&path, &whole[..40]).expect("damaged");
    for _ in 0..2 {
        let (journal, recovery) = reopen(dir.path());
        assert_eq!(
            recovery.alarms,
            ["segment 2: the checkpoint is malformed".to_owned()]
        );
        assert_eq!(journal.health().segment, 3);
    }
    let (journal, _) = reopen(dir.path());
    fill(&journal, 5);
    drop(journal);
    assert_eq!(fault(dir.path()).expect("a fault").0, 2);
    assert_eq!(reopen(dir.path()).1.alarms, Vec::<String>::new());
    // What came behind it fits to what was before.
    fs::write(&path, whole).expect("put back");
    assert_eq!(fault(dir.path()), None);
}

/// Once told, it is left alone: also by the starts that find nothing new.
#[test]
fn a_broken_segment_stays_as_it_lies_over_later_starts() {
    let dir = tempfile::tempdir().expect("a folder");
    let journal = open(dir.path());
    fill(&journal, 2);
    for _ in 0..3 {
        journal.event(&incident(1000)).expect("recorded");
    }
    drop(journal);
    let path = file(dir.path(), "000000000002.segment");
    // In the second of its records.
    damage(&path, 1500);
    let broken = fs::read(&path).expect("readable");
    for start in 0..4 {
        let (journal, recovery) = reopen(dir.path());
        assert_eq!(recovery.alarms.is_empty(), start > 0, "start {start}");
        // The segments behind it are sealed as ever.
        fill(&journal, 3 + start);
        drop(journal);
        assert_eq!(fs::read(&path).expect("readable"), broken, "start {start}");
        assert_eq!(seal(dir.path(), 2), None);
        assert_eq!(seal(dir.path(), 2 + start).is_some(), start > 0);
        assert_eq!(faults(dir.path()), [2], "start {start}");
    }
    // It hides nothing that is changed behind it.
    damage(&file(dir.path(), "000000000004.segment"), 1500);
    assert_eq!(faults(dir.path()), [2, 4]);
}

/// A power failure took records of a full segment that was not synced, and none of the one behind it.
#[test]
fn a_full_segment_that_lost_its_end_is_told_once_and_left_alone() {
    let dir = tempfile::tempdir().expect("a folder");
    let journal = open(dir.path());
    journal.event(&incident(1)).expect("recorded");
    journal.sync().expect("synced");
    let early = crashed(dir.path());
    fill(&journal, 3);
    let left = crashed(dir.path());
    fs::copy(file(early.path(), "head"), file(left.path(), "head")).expect("the head of that time");
    let path = file(left.path(), "000000000002.segment");
    let mut bytes = fs::read(&path).expect("readable");
    let half = bytes.len() / 2;
    bytes[half..].fill(0);
    fs::write(&path, &bytes).expect("cut");
    for name in [
        "000000000002.seal",
        "000000000002.chain",
        "000000000003.chain",
    ] {
        fs::remove_file(file(left.path(), name)).expect("removed");
    }
    for start in 0..3 {
        let (journal, recovery) = reopen(left.path());
        assert_eq!(
            recovery.alarms.len(),
            usize::from(start == 0),
            "start {start}"
        );
        fill(&journal, 4 + start);
        drop(journal);
        assert_eq!(fs::read(&path).expect("readable"), bytes, "start {start}");
    }
    assert_eq!(fault(left.path()).expect("a fault").0, 2);
}

/// States that the segments up to one were removed on purpose.
fn retire(state_dir: &Path, through: &Retired) {
    let key = SigningKey::open(state_dir).expect("the key");
    let folder = state_dir.join(FOLDER);
    through.write(&folder, &key).expect("stated");
}

#[test]
fn with_nothing_left_behind_what_was_removed_numbers_go_on_behind_it() {
    for head_left in [true, false] {
        let dir = tempfile::tempdir().expect("a folder");
        let journal = open(dir.path());
        fill(&journal, 4);
        let id = journal.new_id();
        let last = journal.health().seq;
        let name = journal.id();
        drop(journal);
        let through = Retired::through(&seal(dir.path(), 3).expect("sealed"), 1);
        retire(dir.path(), &through);
        for number in 1..=4 {
            for ending in ["segment", "chain", "seal"] {
                let _ = fs::remove_file(file(dir.path(), &format!("{number:012}.{ending}")));
            }
        }
        let mut next_seq = last + 1;
        if !head_left {
            fs::remove_file(file(dir.path(), "head")).expect("removed");
            next_seq = through.last_seq + 1;
        }
        let (journal, recovery) = reopen(dir.path());
        assert!(recovery.alarms[0].contains("none is left"), "{recovery:?}");
        assert_eq!(recovery.next_seq, next_seq);
        assert_eq!((journal.id(), journal.health().segment), (name, 4));
        assert!(journal.new_id() > id);
        fill(&journal, 5);
        let end = journal.health().seq;
        drop(journal);
        let (_, recovery) = reopen(dir.path());
        assert_eq!(recovery.alarms, Vec::<String>::new());
        assert_eq!(recovery.next_seq, end + 1);
        // What came behind the removed segments is missing, unless nothing says that it was there.
        assert_eq!(fault(dir.path()).is_some(), head_left);
    }
}

#[test]
fn a_checkpoint_that_is_left_is_not_taken_for_a_new_segments() {
    let dir = tempfile::tempdir().expect("a folder");
    let journal = open(dir.path());
    fill(&journal, 4);
    drop(journal);
    let through = Retired::through(&seal(dir.path(), 1).expect("sealed"), 1);
    retire(dir.path(), &through);
    for number in 1..=4 {
        fs::remove_file(file(dir.path(), &format!("{number:012}.segment"))).expect("removed");
    }
    let (journal, recovery) = reopen(dir.path());
    assert!(recovery.alarms[0].contains("none is left"), "{recovery:?}");
    assert_eq!(journal.health().segment, 5);
}

#[test]
fn what_another_journal_removed_hides_no_segment_of_this_one() {
    let dir = tempfile::tempdir().expect("a folder");
    let journal = open(dir.path());
    fill(&journal, 3);
    let last = journal.health().seq;
    drop(journal);
    let seal = seal(dir.path(), 2).expect("sealed");
    let foreign = Retired {
        journal: [9; 16],
        segment: 7,
        ..Retired::through(&seal, 1)
    };
    retire(dir.path(), &foreign);
    let (journal, recovery) = reopen(dir.path());
    assert_eq!(
        recovery.alarms,
        ["the statement of what was removed is of another journal".to_owned()]
    );
    assert_eq!(recovery.next_seq, last + 1);
    assert_eq!(journal.health().segment, 3);
}

/// Records until a segment is begun.
fn fill(journal: &Journal, segment: u64) {
    while journal.health().segment < segment {
        journal.event(&incident(100 << 10)).expect("recorded");
    }
    journal.sync().expect("synced");
}

fn incident(bytes: usize) -> Event {
    Event::Incident {
        what: "x".repeat(bytes),
    }
}

fn seal(state_dir: &Path, segment: u64) -> Option<Seal> {
    let key = PublicKey::open(state_dir).expect("the key");
    Seal::read(&state_dir.join(FOLDER), segment, &key).expect("readable")
}

/// Where verification finds a fault, and which.
fn fault(state_dir: &Path) -> Option<(u64, String)> {
    let key = PublicKey::open(state_dir).expect("the key");
    let found = verify(state_dir, &key, None).expect("readable");
    found.fault.map(|fault| (fault.segment, fault.what))
}

/// The segments in which verification finds faults.
fn faults(state_dir: &Path) -> Vec<u64> {
    let key = PublicKey::open(state_dir).expect("the key");
    let found = verify(state_dir, &key, None).expect("readable");
    found.faults.iter().map(|fault| fault.segment).collect()
}

fn damage(path: &Path, at: usize) {
    let mut bytes = fs::read(path).expect("readable");
    bytes[at] ^= 1;
    fs::write(path, bytes).expect("damaged");
}
