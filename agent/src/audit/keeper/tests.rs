//! Packing and removing, on real files: what stays verifies and reads.

mod pruned;

use std::{collections::BTreeMap, sync::atomic::AtomicU64, time::Instant};

use weir_sql::{Kind, Use};

use super::*;
use crate::audit::{
    Settings, Span,
    chain::{key::PublicKey, verify::verify},
    fixtures::{allowed, facts, new_session, open, outcome, read_all, settings},
    index,
    journal::FOLDER,
    record::{Ending, Via},
    store,
};

/// Records until `segments` are full; their decisions carry `tags` in the first segment only.
fn fill(journal: &Journal, segments: u64, tags: &[&str]) {
    let session = journal
        .session(new_session("alice", "/usr/bin/psql"))
        .expect("recorded");
    let mut decision = allowed();
    decision.tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
    let tagged = journal.statement(
        facts(Kind::Select, &[("orders", Use::Read)]),
        decision,
        "d",
        Vec::new(),
    );
    let plain = journal.statement(
        facts(Kind::Select, &[("items", Use::Read)]),
        allowed(),
        "d",
        Vec::new(),
    );
    let first = journal.health().segment;
    while journal.health().segment < first + segments {
        let statement = if journal.health().segment == 1 {
            &tagged
        } else {
            &plain
        };
        for _ in 0..500 {
            let seq = journal
                .requested(&session, statement, Via::Execute, 0, 1)
                .expect("recorded");
            journal
                .outcome(&outcome(seq, Ending::Completed, 1, 1))
                .expect("recorded");
        }
    }
    journal.sync().expect("synced");
}

fn work(state_dir: &Path, journal: &Arc<Journal>, retention: Retention, confirmed: u64) -> Work {
    Work::new(
        state_dir,
        Arc::clone(journal),
        retention,
        Arc::new(move || confirmed),
    )
    .expect("a key")
}

/// Brings the index up to the journal.
fn catch_up(state_dir: &Path, journal: &Journal) -> rusqlite::Connection {
    let mut store = store::open(state_dir).expect("a store");
    journal.set_indexed(index::catch_up(&mut store, state_dir).expect("indexed"));
    store
}

fn pass(work: &Work) {
    work.pass(&AtomicBool::new(false)).expect("kept");
}

fn check(state_dir: &Path) -> crate::audit::chain::verify::Verification {
    let key = PublicKey::open(state_dir).expect("a key");
    verify(state_dir, &key, None).expect("readable")
}

fn by_size() -> Retention {
    Retention {
        size_mib: Some(0),
        ..Retention::default()
    }
}

#[test]
fn packed_segments_read_and_verify_as_before() {
    let dir = tempfile::tempdir().expect("a folder");
    let journal = open(dir.path());
    fill(&journal, 3, &[]);
    let before = read_all(dir.path());
    pass(&work(dir.path(), &journal, Retention::default(), u64::MAX));
    let folder = dir.path().join(FOLDER);
    for number in 1..=3 {
        assert!(packed::path(&folder, number).exists() && !segment::path(&folder, number).exists());
    }
    assert!(segment::path(&folder, 4).exists());
    assert_eq!(read_all(dir.path()), before);
    let found = check(dir.path());
    assert!(found.intact && found.sealed == 3, "{found:?}");
    // A journal with packed segments is gone on with, and indexed.
    drop(journal);
    let (journal, recovery) = Journal::open(dir.path(), &settings()).expect("a journal");
    assert!(recovery.clean, "{recovery:?}");
    fill(&journal, 1, &[]);
    drop(journal);
    let mut store = store::open(dir.path()).expect("a store");
    let seq = index::catch_up(&mut store, dir.path()).expect("indexed");
    assert_eq!(seq, read_all(dir.path()).len() as u64);
    assert!(check(dir.path()).intact);
}

#[test]
fn any_changed_byte_of_a_packed_segment_names_its_block() {
    let dir = tempfile::tempdir().expect("a folder");
    let journal = open(dir.path());
    fill(&journal, 2, &[]);
    pass(&work(dir.path(), &journal, Retention::default(), u64::MAX));
    drop(journal);
    let path = packed::path(&dir.path().join(FOLDER), 2);
    let before = std::fs::read(&path).expect("the file");
    let mut blocks = HashSet::new();
    let step = (before.len() / 60).max(1);
    for at in (0..before.len())
        .step_by(step)
        .chain(before.len() - 40..before.len())
    {
        let mut after = before.clone();
        after[at] ^= 0x20;
        std::fs::write(&path, after).expect("changed");
        let fault = check(dir.path()).fault.expect("a fault");
        assert!(
            fault.segment == 2 && fault.block.is_some(),
            "byte {at}: {fault:?}"
        );
        blocks.extend(fault.block);
    }
    assert!(blocks.len() > 2, "{blocks:?}");
    std::fs::remove_file(&path).expect("removed");
    assert_eq!(check(dir.path()).fault.expect("a fault").segment, 2);
    std::fs::write(&path, before).expect("put back");
    assert!(check(dir.path()).intact);
}

#[test]
fn what_was_kept_long_enough_goes_and_the_rest_verifies() {
    let dir = tempfile::tempdir().expect("a folder");
    let journal = open(dir.path());
    fill(&journal, 3, &[]);
    let work = work(dir.path(), &journal, by_size(), u64::MAX);
    pass(&work);
    assert_eq!(check(dir.path()).segments, 4, "nothing is indexed yet");
    let mut store = store::open(dir.path()).expect("a store");
    let indexed = index::catch_up(&mut store, dir.path()).expect("indexed");
    journal.set_indexed(indexed);
    pass(&work);
    let found = check(dir.path());
    assert!(
        found.intact && found.segments == 1 && found.retired_seq > 30_000,
        "{found:?}"
    );
    // The index goes on, a new one begins behind what was removed, and so does the next agent.
    fill(&journal, 1, &[]);
    let seq = index::catch_up(&mut store, dir.path()).expect("indexed");
    assert!(seq > indexed);
    store::clear(&mut store).expect("cleared");
    assert_eq!(
        index::catch_up(&mut store, dir.path()).expect("indexed"),
        seq
    );
    let breaks: u64 = store
        .query_row("SELECT count(*) FROM breaks", [], |row| row.get(0))
        .expect("a count");
    assert_eq!(breaks, 0);
    drop(work);
    drop(journal);
    let (journal, recovery) = Journal::open(dir.path(), &settings()).expect("a journal");
    assert!(recovery.clean && recovery.alarms.is_empty(), "{recovery:?}");
    drop(journal);
    assert!(check(dir.path()).intact);
    // Without the signed statement the same absence is a fault, and so is one that somebody else made up.
    let statement = chain::retired::path(&dir.path().join(FOLDER));
    let text = std::fs::read_to_string(&statement).expect("the statement");
    std::fs::write(&statement, text.replace("segment 3", "segment 4")).expect("changed");
    assert!(!check(dir.path()).intact);
    std::fs::remove_file(&statement).expect("removed");
    assert!(!check(dir.path()).intact);
}

/// A folder whose segments were lost once may have such a statement.
#[test]
fn a_statement_removes_neither_another_journals_segments_nor_the_one_that_is_written() {
    let dir = tempfile::tempdir().expect("a folder");
    let journal = open(dir.path());
    fill(&journal, 2, &[]);
    let folder = dir.path().join(FOLDER);
    let key = SigningKey::open(dir.path()).expect("a key");
    let seal = Seal::read(&folder, 1, &key.public())
        .expect("readable")
        .expect("sealed");
    let work = work(dir.path(), &journal, Retention::default(), u64::MAX);
    let ours = Retired::through(&seal, 1);
    for (stated, left) in [
        (
            Retired {
                journal: [9; 16],
                segment: 9,
                ..ours.clone()
            },
            vec![1, 2, 3],
        ),
        (Retired { segment: 9, ..ours }, vec![3]),
    ] {
        stated.write(&folder, &key).expect("stated");
        pass(&work);
        assert_eq!(segment::list(&folder).expect("a list"), left);
    }
}

#[test]
fn segments_that_cannot_be_packed_are_removed_in_time_all_the_same() {
    let dir = tempfile::tempdir().expect("a folder");
    let journal = open(dir.path());
    fill(&journal, 3, &[]);
    let folder = dir.path().join(FOLDER);
    // Nothing can be written there.
    let draft = folder.join("packed.new");
    std::fs::create_dir(&draft).expect("a folder");
    catch_up(dir.path(), &journal);
    let work = work(dir.path(), &journal, by_size(), u64::MAX);
    let kept = work.pass(&AtomicBool::new(false));
    assert!(
        matches!(
            kept,
            Err(KeepError::Segment {
                doing: "pack",
                segment: 1,
                ..
            })
        ),
        "{kept:?}"
    );
    assert_eq!(segment::list(&folder).expect("a list"), [4]);
    assert!(check(dir.path()).intact);
}

#[test]
fn a_published_checkpoint_of_a_removed_segment_is_compared_or_said_not_to_be() {
    let dir = tempfile::tempdir().expect("a folder");
    let journal = open(dir.path());
    fill(&journal, 3, &[]);
    catch_up(dir.path(), &journal);
    let key = PublicKey::open(dir.path()).expect("a key");
    let seal = |number| {
        Seal::read(&dir.path().join(FOLDER), number, &key)
            .expect("readable")
            .expect("sealed")
    };
    let (second, third) = (seal(2), seal(3));
    pass(&work(dir.path(), &journal, by_size(), u64::MAX));
    let with = |published: &Seal| verify(dir.path(), &key, Some(published)).expect("readable");
    assert!(with(&third).intact);
    let other = Seal {
        root: [9; 32],
        ..third
    };
    assert!(!with(&other).intact);
    let fault = with(&second).fault.expect("a fault");
    assert!(
        fault.segment == 2 && fault.what.contains("could not be compared"),
        "{fault:?}"
    );
}

/// It has no checkpoint and gets none: it goes with the next segment that has one.
#[test]
fn a_broken_segment_goes_once_the_one_behind_it_does() {
    let dir = tempfile::tempdir().expect("a folder");
    let journal = open(dir.path());
    fill(&journal, 1, &[]);
    drop(journal);
    let path = segment::path(&dir.path().join(FOLDER), 2);
    let mut bytes = std::fs::read(&path).expect("readable");
    bytes[200] ^= 1;
    std::fs::write(&path, bytes).expect("damaged");
    let (journal, recovery) = Journal::open(dir.path(), &settings()).expect("a journal");
    assert!(!recovery.alarms.is_empty());
    fill(&journal, 1, &[]);
    catch_up(dir.path(), &journal);
    assert_eq!(check(dir.path()).fault.expect("a fault").segment, 2);
    pass(&work(dir.path(), &journal, by_size(), u64::MAX));
    assert!(!path.exists());
    let found = check(dir.path());
    assert!(found.intact && found.segments == 1, "{found:?}");
}

#[test]
fn nothing_goes_before_every_export_has_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let journal = open(dir.path());
    fill(&journal, 3, &[]);
    catch_up(dir.path(), &journal);
    let folder = dir.path().join(FOLDER);
    let seal = |number| {
        let key = PublicKey::open(dir.path()).expect("a key");
        Seal::read(&folder, number, &key)
            .expect("readable")
            .expect("sealed")
    };
    pass(&work(dir.path(), &journal, by_size(), seal(1).last_seq - 1));
    assert_eq!(check(dir.path()).segments, 4);
    pass(&work(dir.path(), &journal, by_size(), seal(2).last_seq));
    let found = check(dir.path());
    assert!(found.intact && found.segments == 2, "{found:?}");
}

#[test]
fn a_tag_keeps_its_segment() {
    let dir = tempfile::tempdir().expect("a folder");
    let journal = open(dir.path());
    fill(&journal, 2, &["confidential"]);
    catch_up(dir.path(), &journal);
    let hour = Span(Duration::from_hours(1));
    let tagged = |tag: &str| Retention {
        tags: BTreeMap::from([(tag.to_owned(), hour)]),
        ..by_size()
    };
    pass(&work(
        dir.path(),
        &journal,
        tagged("confidential"),
        u64::MAX,
    ));
    assert_eq!(check(dir.path()).segments, 3);
    pass(&work(dir.path(), &journal, tagged("other"), u64::MAX));
    assert_eq!(check(dir.path()).segments, 1);
}

#[test]
fn the_thread_packs_what_gets_full() {
    let dir = tempfile::tempdir().expect("a folder");
    let journal = open(dir.path());
    let confirmed = Arc::new(AtomicU64::new(u64::MAX));
    let seen = Arc::clone(&confirmed);
    let keeper = Keeper::start(
        dir.path(),
        Arc::clone(&journal),
        Retention::default(),
        Arc::new(move || seen.load(Ordering::Relaxed)),
    )
    .expect("a keeper");
    fill(&journal, 1, &[]);
    let packed = packed::path(&dir.path().join(FOLDER), 1);
    let deadline = Instant::now() + Duration::from_mins(1);
    while !packed.exists() {
        assert!(Instant::now() < deadline, "nothing was packed");
        std::thread::sleep(Duration::from_millis(20));
    }
    drop(keeper);
}

/// Needs root: mounts a small file system in a mount namespace of its own thread.
#[test]
fn a_short_disk_is_allowed_for_a_while_and_then_refuses() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().to_owned();
    std::thread::spawn(move || run_short(&path))
        .join()
        .expect("the disk runs short in good order");
}

fn run_short(dir: &Path) {
    use nix::{mount::MsFlags, sched::CloneFlags};
    nix::sched::unshare(CloneFlags::CLONE_NEWNS).expect("root may have a mount namespace");
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    nix::mount::mount(None::<&str>, "/", None::<&str>, private, None::<&str>).expect("private");
    let size = Some("size=16m");
    nix::mount::mount(Some("tmpfs"), dir, Some("tmpfs"), MsFlags::empty(), size).expect("a disk");
    let patience = Duration::from_secs(3);
    let settings = Settings {
        reserve_mib: 4,
        on_audit_failure: crate::audit::OnAuditFailure::AllowUntil(Span(patience)),
        ..settings()
    };
    // The journal's own thread lives in the namespace of the one that starts it.
    let (journal, _) = Journal::open(dir, &settings).expect("a journal");
    let session = journal
        .session(new_session("alice", "/usr/bin/psql"))
        .expect("recorded");
    let statement = journal.statement(facts(Kind::Select, &[]), allowed(), "d", Vec::new());
    let request = || journal.requested(&session, &statement, Via::Execute, 0, 1);
    let answer = |seq| {
        journal
            .outcome(&outcome(seq, Ending::Completed, 1, 1))
            .expect("outcomes are always recorded");
    };
    let wait = |what: &str, mut until: Box<dyn FnMut() -> bool + '_>| {
        let deadline = Instant::now() + Duration::from_mins(1);
        while !until() {
            assert!(Instant::now() < deadline, "{what}");
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    wait(
        "no emergency segment",
        Box::new(|| dir.join(FOLDER).join("emergency").exists()),
    );
    let ballast = dir.join("ballast");
    std::fs::write(&ballast, vec![1; 11 << 20]).expect("room is taken");
    wait(
        "the trouble is not noticed",
        Box::new(|| {
            answer(request().expect("allowed for a while"));
            journal.health().allowed_until_ns.is_some()
        }),
    );
    wait(
        "never refused",
        Box::new(|| match request() {
            Ok(seq) => {
                answer(seq);
                false
            }
            Err(error) => {
                assert!(matches!(error, JournalError::Low { .. }), "{error}");
                true
            }
        }),
    );
    assert!(journal.health().failure.is_some());
    std::fs::remove_file(&ballast).expect("room is made");
    wait(
        "refused although there is room",
        Box::new(|| request().map(answer).is_ok()),
    );
    drop(journal);
    assert!(check(dir).intact);
}
