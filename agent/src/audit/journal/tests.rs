//! What the journal promises, on real files.

mod full;

use std::collections::HashSet;

use weir_sql::{ColumnName, ColumnUsage, ColumnUse, Kind, Use};

use super::*;
use crate::audit::{
    fixtures::{allowed, facts, new_session, open, outcome, read_all, settings},
    record::{Ending, Entry},
};

fn statement(journal: &Journal) -> Arc<Statement> {
    journal.statement(
        facts(Kind::Select, &[("orders", Use::Read)]),
        allowed(),
        "digest",
        Vec::new(),
    )
}

#[test]
fn records_come_back_in_order_with_their_dictionary_before_them() {
    let dir = tempfile::tempdir().expect("a folder");
    let journal = open(dir.path());
    let session = journal
        .session(new_session("alice", "/usr/bin/psql"))
        .expect("recorded");
    let statement = statement(&journal);
    let seq = journal
        .requested(&session, &statement, Via::Simple, 3, 80)
        .expect("recorded");
    journal
        .outcome(&outcome(seq, Ending::Completed, 2, 50))
        .expect("recorded");
    journal
        .session_closed(&session, "client left", 1, 80, 90)
        .expect("recorded");
    drop(journal);

    let records = read_all(dir.path());
    let numbers: Vec<_> = records.iter().map(|record| record.seq).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5]);
    assert!(
        matches!(&records[0].entry, Entry::SessionOpened(opened) if **opened == session.opened)
    );
    assert!(
        matches!(&records[1].entry, Entry::StatementDecided(decided) if **decided == statement.decided)
    );
    assert!(
        matches!(&records[2].entry, Entry::Requested(request) if request.statement == statement.id && seq == 3)
    );
    assert!(
        matches!(&records[3].entry, Entry::Outcome(outcome) if outcome.request == 3 && outcome.rows == 2)
    );
    assert!(
        matches!(&records[4].entry, Entry::Event(event) if matches!(**event, Event::SessionClosed { requests: 1, .. }))
    );
}

#[test]
fn every_segment_names_its_sessions_and_statements_before_they_are_used() {
    let dir = tempfile::tempdir().expect("a folder");
    let journal = open(dir.path());
    let session = journal
        .session(new_session("alice", "/usr/bin/psql"))
        .expect("recorded");
    let statement = statement(&journal);
    for _ in 0..40_000 {
        let seq = journal
            .requested(&session, &statement, Via::Execute, 0, 1)
            .expect("recorded");
        journal
            .outcome(&outcome(seq, Ending::Completed, 1, 1))
            .expect("recorded");
    }
    let segments = journal.health().segment;
    drop(journal);

    assert!(segments > 3, "{segments} segments");
    let folder = dir.path().join(FOLDER);
    for number in segment::list(&folder).expect("segments") {
        let mut reader = reader::Reader::new(
            &folder,
            reader::Position {
                segment: number,
                offset: 0,
                seq: 0,
            },
        );
        let mut known = HashSet::new();
        while let Some(record) = reader.next().expect("a record") {
            if reader.position().segment != number {
                break;
            }
            match record.entry {
                Entry::SessionOpened(opened) => drop(known.insert(opened.session)),
                Entry::StatementDecided(decided) => drop(known.insert(decided.id)),
                Entry::Requested(request) => {
                    assert!(
                        known.contains(&request.session) && known.contains(&request.statement),
                        "segment {number}"
                    );
                }
                _ => {}
            }
        }
        assert_eq!(known.len(), 2, "segment {number}");
    }
    let requests = read_all(dir.path())
        .iter()
        .filter(|record| matches!(record.entry, Entry::Requested(_)))
        .count();
    assert_eq!(requests, 40_000);
}

#[test]
fn a_reopened_journal_goes_on_and_repeats_no_number() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut ids = HashSet::new();
    for round in 0..4 {
        let (journal, recovery) = Journal::open(dir.path(), &settings()).expect("a journal");
        assert_eq!(
            (recovery.resumed, recovery.clean, recovery.alarms),
            (round > 0, true, vec![]),
            "round {round}"
        );
        let session = journal
            .session(new_session("bob", "/bin/x"))
            .expect("recorded");
        let statement = statement(&journal);
        journal
            .requested(&session, &statement, Via::Simple, 0, 1)
            .expect("recorded");
        assert!(
            ids.insert(session.id) && ids.insert(statement.id),
            "round {round}"
        );
    }
    let numbers: Vec<_> = read_all(dir.path())
        .iter()
        .map(|record| record.seq)
        .collect();
    assert_eq!(numbers, (1..=12).collect::<Vec<_>>());
}

/// Segments fill faster than the committer makes the next ones, so that writing and making ahead meet.
#[test]
fn segments_that_fill_at_once_lose_nothing() {
    let dir = tempfile::tempdir().expect("a folder");
    let journal = open(dir.path());
    let session = journal
        .session(new_session("alice", "/bin/x"))
        .expect("recorded");
    let text = "x".repeat(120 << 10);
    let events = 400;
    for number in 0..events {
        journal
            .event_of(
                &session,
                &Event::SessionEnded {
                    session: number,
                    administrator: None,
                    evidence: None,
                    reason: text.clone(),
                },
            )
            .expect("recorded");
    }
    drop(journal);
    let numbers: Vec<_> = read_all(dir.path())
        .iter()
        .map(|record| record.seq)
        .collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
    assert!(numbers.len() as u64 > events);
}

#[test]
fn a_second_writer_is_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    let _first = open(dir.path());
    let second = Journal::open(dir.path(), &settings());
    assert!(matches!(second, Err(JournalError::Locked { .. })));
}

#[test]
fn a_record_larger_than_a_segment_is_refused_and_the_journal_goes_on() {
    let dir = tempfile::tempdir().expect("a folder");
    let journal = open(dir.path());
    let huge = Event::Incident {
        what: "x".repeat(2 << 20),
    };
    assert!(matches!(
        journal.event(&huge),
        Err(JournalError::TooLarge { .. })
    ));
    let fits = Event::Incident {
        what: "x".repeat(900 << 10),
    };
    assert_eq!(journal.event(&fits).expect("recorded"), 1);
    assert_eq!(
        journal.event(&fits).expect("recorded in the next segment"),
        2
    );
    drop(journal);
    assert_eq!(read_all(dir.path()).len(), 2);
}

#[test]
fn a_monstrous_text_is_cut_in_its_dictionary_entry() {
    let dir = tempfile::tempdir().expect("a folder");
    let journal = open(dir.path());
    let session = journal
        .session(new_session("", "/bin/x"))
        .expect("recorded");
    let mut facts = facts(Kind::Select, &[]);
    facts.normalised = "ä".repeat(1 << 20);
    let statement = journal.statement(facts, allowed(), "digest", Vec::new());
    journal
        .requested(&session, &statement, Via::Simple, 0, 1)
        .expect("recorded");
    drop(journal);
    let records = read_all(dir.path());
    let Entry::StatementDecided(decided) = &records[1].entry else {
        panic!("a statement, not {:?}", records[1]);
    };
    assert!(
        decided
            .facts
            .normalised
            .ends_with("/* weir: cut, 2097152 bytes in all */")
    );
}

/// Its length does not fit the field that names it, though the segment has room.
#[test]
fn a_record_larger_than_its_length_field_is_refused_and_the_journal_goes_on() {
    let dir = tempfile::tempdir().expect("a folder");
    let settings = Settings {
        segment_mib: 64,
        ..settings()
    };
    let (journal, _) = Journal::open(dir.path(), &settings).expect("a journal");
    let event = |bytes: usize| Event::Incident {
        what: "x".repeat(bytes),
    };
    let refused = journal.event(&event(17 << 20));
    assert!(
        matches!(refused, Err(JournalError::TooLarge { bytes }) if bytes > 17 << 20),
        "{refused:?}"
    );
    let session = journal
        .session(new_session("alice", "/bin/x"))
        .expect("recorded");
    let mut facts = facts(Kind::Select, &[]);
    facts.parse_error = Some("x".repeat(17 << 20));
    let statement = journal.statement(facts, allowed(), "digest", Vec::new());
    assert!(matches!(
        journal.requested(&session, &statement, Via::Simple, 0, 1),
        Err(JournalError::TooLarge { .. })
    ));
    assert_eq!(journal.event(&event(15 << 20)).expect("recorded"), 2);
    journal.sync().expect("chained");
    drop(journal);
    assert_eq!(read_all(dir.path()).len(), 2);
}

#[test]
fn monstrous_lists_of_names_are_cut_in_their_dictionary_entry() {
    let dir = tempfile::tempdir().expect("a folder");
    let settings = Settings {
        segment_mib: 64,
        ..settings()
    };
    let (journal, _) = Journal::open(dir.path(), &settings).expect("a journal");
    let session = journal
        .session(new_session("", "/bin/x"))
        .expect("recorded");
    let names: Vec<_> = (0..100_000)
        .map(|at| format!("{at:06}{}", "x".repeat(57)))
        .collect();
    let used: Vec<_> = names.iter().map(|name| (&**name, Use::Read)).collect();
    let mut facts = facts(Kind::Select, &used);
    facts.normalised = "select * from everything".to_owned();
    for used in &mut facts.relations {
        used.relation.schema = Some("public".to_owned());
    }
    facts.columns = names
        .iter()
        .map(|name| ColumnUse {
            column: ColumnName {
                schema: "x".repeat(63),
                relation: name.clone(),
                column: name.clone(),
            },
            bases: Vec::new(),
            usage: ColumnUsage::Output,
        })
        .collect();
    let statement = journal.statement(facts, allowed(), "digest", Vec::new());
    journal
        .requested(&session, &statement, Via::Simple, 0, 1)
        .expect("recorded");
    drop(journal);
    let records = read_all(dir.path());
    let Entry::StatementDecided(decided) = &records[1].entry else {
        panic!("a statement, not {:?}", records[1]);
    };
    assert_eq!(decided.facts.relations.len(), 10_000);
    assert_eq!(decided.facts.columns.len(), 10_000);
    assert_eq!(
        decided.facts.normalised,
        "select * from everything /* weir: cut, 100000 relations, 100000 columns in all */"
    );
}

#[test]
fn records_after_a_close_are_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    let journal = open(dir.path());
    journal.close();
    let late = journal.event(&Event::Incident {
        what: String::new(),
    });
    assert!(matches!(late, Err(JournalError::Closed)));
}

#[test]
fn a_durable_record_is_chained_and_synced() {
    let dir = tempfile::tempdir().expect("a folder");
    let journal = open(dir.path());
    let seq = journal
        .event(&Event::Incident {
            what: String::new(),
        })
        .expect("recorded");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    runtime.block_on(journal.durable(seq)).expect("durable");
    let health = journal.health();
    assert!(health.synced_seq >= seq && health.chained_seq >= seq && health.last_sync_ns > 0);
}

#[test]
fn a_disk_below_its_reserve_is_refused_with_the_figures() {
    let dir = tempfile::tempdir().expect("a folder");
    let settings = Settings {
        reserve_mib: u64::MAX,
        ..settings()
    };
    let error = Journal::open(dir.path(), &settings).expect_err("no room");
    assert!(matches!(error, JournalError::Reserve { .. }));
    assert!(error.to_string().contains("are reserved"), "{error}");
}

/// Needs root: mounts a small file system in a mount namespace of its own thread.
#[test]
fn a_full_disk_refuses_requests_but_takes_the_outcomes_of_those_in_flight() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().to_owned();
    std::thread::spawn(move || fill_a_small_disk(&path))
        .join()
        .expect("the disk fills up in good order");
}

fn mount_small(dir: &Path) {
    use nix::{mount::MsFlags, sched::CloneFlags};
    nix::sched::unshare(CloneFlags::CLONE_NEWNS).expect("root may have a mount namespace");
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    nix::mount::mount(None::<&str>, "/", None::<&str>, private, None::<&str>).expect("private");
    let size = Some("size=4m");
    nix::mount::mount(Some("tmpfs"), dir, Some("tmpfs"), MsFlags::empty(), size).expect("a disk");
}

fn fill_a_small_disk(dir: &Path) {
    mount_small(dir);
    let journal = open(dir);
    let session = journal
        .session(new_session("alice", "/usr/bin/psql"))
        .expect("recorded");
    let statement = statement(&journal);
    let mut in_flight = std::collections::VecDeque::new();
    let error = loop {
        match journal.requested(&session, &statement, Via::Execute, 0, 1) {
            Ok(seq) => in_flight.push_back(seq),
            Err(error) => break error,
        }
        if in_flight.len() > 100 {
            let seq = in_flight.pop_front().expect("one of them");
            journal
                .outcome(&outcome(seq, Ending::Completed, 1, 1))
                .expect("recorded");
        }
    };
    let text = error.to_string();
    assert!(
        matches!(
            error,
            JournalError::Reserve { .. } | JournalError::Io { .. }
        ),
        "{text}"
    );
    assert_eq!(in_flight.len(), 100);
    for seq in in_flight {
        journal
            .outcome(&outcome(seq, Ending::Completed, 1, 1))
            .expect("room was kept");
    }
    drop(journal);
    let records = read_all(dir);
    let count = |wanted: fn(&Entry) -> bool| {
        records
            .iter()
            .filter(|record| wanted(&record.entry))
            .count()
    };
    let requests = count(|entry| matches!(entry, Entry::Requested(_)));
    assert!(requests > 10_000, "{requests}");
    assert_eq!(requests, count(|entry| matches!(entry, Entry::Outcome(_))));
}

/// Names the state directory to the process that [`acknowledged_records_survive_a_kill`] kills.
const CRASH_DIR: &str = "WEIR_TEST_CRASH_DIR";

#[test]
fn acknowledged_records_survive_a_kill() {
    const KILLS: u32 = 50;
    let dir = tempfile::tempdir().expect("a folder");
    let folder = dir.path().join(FOLDER);
    let mut reader = reader::Reader::new(&folder, reader::Position::START);
    let mut delay = 11;
    let mut acknowledged = 0;
    for round in 0..KILLS {
        delay = delay * 37 % 101;
        let acks = run_and_kill(dir.path(), Duration::from_micros(delay * 200));
        let mut found = std::collections::HashMap::new();
        while let Some(record) = reader.next().expect("a whole journal") {
            if let Entry::Requested(request) = record.entry {
                found.insert(record.seq, request.parameters_hash);
            }
        }
        for (seq, mark) in &acks {
            assert_eq!(found.get(seq), Some(mark), "round {round}, record {seq}");
        }
        acknowledged += acks.len();
        if round % 10 == 9 {
            let key = crate::audit::chain::key::PublicKey::open(dir.path()).expect("the key");
            let verified =
                crate::audit::chain::verify::verify(dir.path(), &key, None).expect("readable");
            assert!(verified.intact, "round {round}: {:?}", verified.fault);
        }
    }
    let (journal, recovery) = Journal::open(dir.path(), &settings()).expect("a journal");
    assert_eq!(recovery.alarms, Vec::<String>::new());
    drop(journal);
    assert!(
        acknowledged > 1000,
        "only {acknowledged} records were acknowledged"
    );
    println!("{acknowledged} records acknowledged over {KILLS} kills");
}

/// Lets another process record until it has acknowledged something and `delay` has passed, then kills it.
fn run_and_kill(state_dir: &Path, delay: Duration) -> Vec<(u64, u64)> {
    use std::io::{BufRead, BufReader, Read};
    let mut child = std::process::Command::new(std::env::current_exe().expect("this program"))
        .args([
            "--exact",
            "--ignored",
            "--nocapture",
            "audit::journal::tests::record_until_killed",
        ])
        .env(CRASH_DIR, state_dir)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("a process");
    let mut output = BufReader::new(child.stdout.take().expect("its output"));
    let mut lines = Vec::new();
    loop {
        assert!(
            output.read_until(b'\n', &mut lines).expect("output") > 0,
            "it ended early"
        );
        if lines.starts_with(b"ack ") || lines.windows(5).any(|window| window == b"\nack ") {
            break;
        }
    }
    std::thread::sleep(delay);
    child.kill().expect("killed");
    child.wait().expect("gone");
    output.read_to_end(&mut lines).expect("output");
    // The last line may be cut: what is not whole was not acknowledged.
    let whole = lines
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |at| at + 1);
    String::from_utf8_lossy(&lines[..whole])
        .lines()
        .filter_map(|line| line.strip_prefix("ack ")?.split_once(' '))
        .map(|(seq, mark)| {
            (
                seq.parse().expect("a number"),
                mark.parse().expect("a number"),
            )
        })
        .collect()
}

#[test]
#[ignore = "the process that `acknowledged_records_survive_a_kill` kills"]
fn record_until_killed() {
    use std::io::Write;
    let Some(dir) = std::env::var_os(CRASH_DIR) else {
        panic!("only to be started by `acknowledged_records_survive_a_kill`");
    };
    let journal = open(Path::new(&dir));
    let session = journal
        .session(new_session("alice", "/usr/bin/psql"))
        .expect("recorded");
    let statement = statement(&journal);
    // Not through the test harness's buffer: an acknowledgement leaves when it is made.
    let mut out = std::fs::OpenOptions::new()
        .append(true)
        .open("/dev/stdout")
        .expect("standard output");
    for mark in 1.. {
        let seq = journal
            .requested(&session, &statement, Via::Execute, mark, 1)
            .expect("recorded");
        out.write_all(format!("ack {seq} {mark}\n").as_bytes())
            .expect("acknowledged");
        journal
            .outcome(&outcome(seq, Ending::Completed, 1, 1))
            .expect("recorded");
    }
}

/// Run with `cargo xtask bench journal`, on a machine that does nothing else.
#[test]
#[ignore = "measures; wants a quiet machine"]
fn two_hundred_thousand_records_a_second_fit() {
    let dir = tempfile::tempdir().expect("a folder");
    let settings = Settings {
        segment_mib: 64,
        ..settings()
    };
    let (journal, _) = Journal::open(dir.path(), &settings).expect("a journal");
    let session = journal
        .session(new_session("alice", "/usr/bin/psql"))
        .expect("recorded");
    let statement = statement(&journal);
    for (name, pairs) in [
        ("warm-up", 50_000),
        ("one segment", 400_000),
        ("many segments", 3_000_000),
    ] {
        let cpu = cpu_time();
        let start = Instant::now();
        for _ in 0..pairs {
            let seq = journal
                .requested(&session, &statement, Via::Execute, 0, 1)
                .expect("recorded");
            journal
                .outcome(&outcome(seq, Ending::Completed, 1, 1))
                .expect("recorded");
        }
        let each = start.elapsed().as_nanos() / (2 * pairs);
        journal.sync().expect("synced");
        let cpu = (cpu_time() - cpu) / (2 * pairs);
        let rate = 1_000_000_000 / each.max(1);
        println!(
            "{name}: {rate} records a second, {each} ns a record in the caller, {cpu} ns of CPU a record in all"
        );
        assert!(rate >= 200_000, "{name}: {rate} records a second");
    }
}

fn cpu_time() -> u128 {
    let time =
        nix::time::clock_gettime(nix::time::ClockId::CLOCK_PROCESS_CPUTIME_ID).expect("a clock");
    Duration::from(time).as_nanos()
}
