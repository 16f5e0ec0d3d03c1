//! What sinks get, from a real journal over real sockets: all of it, in order, at least once.

mod answers;
mod ocsf;
mod schema;
mod spans;

use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    sync::mpsc,
    time::{Duration, Instant},
};

use rustls::pki_types::PrivatePkcs8KeyDer;
use serde_json::{Value, json};
use weir_sql::{Kind, Use};

use super::*;
use crate::{
    audit::{
        Session,
        fixtures::{allowed, denied, facts, new_session, open, outcome, read_all},
        journal::{
            layout::{self, Parsed},
            reader::Position,
        },
        record::{Ending, Entry, Via},
    },
    telemetry,
};

fn sink(form: Form, to: &str) -> ExportSettings {
    ExportSettings {
        name: "sink".to_owned(),
        form,
        to: to.to_owned(),
        token_file: None,
        ca: None,
    }
}

/// A session of an agent of bob that reads and is refused, `times` times.
fn record(journal: &Journal, times: usize) {
    let session = journal
        .session(new_session("churn-bot/bob", "/usr/bin/python3"))
        .expect("recorded");
    let read = journal.statement(
        facts(Kind::Select, &[("orders", Use::Read)]),
        allowed(),
        "p",
        Vec::new(),
    );
    let refused = journal.statement(
        facts(Kind::Drop, &[("orders", Use::Define)]),
        denied(),
        "p",
        Vec::new(),
    );
    for at in 0..times {
        let (statement, ending) = if at % 2 == 0 {
            (&read, Ending::Completed)
        } else {
            (&refused, Ending::Denied)
        };
        let seq = journal
            .requested(&session, statement, Via::Simple, 0, 9)
            .expect("recorded");
        journal
            .outcome(&outcome(seq, ending, 3, 300))
            .expect("recorded");
    }
    journal.sync().expect("synced");
}

fn wait(what: &str, mut until: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while !until() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn caught_up(exports: &Exports, journal: &Journal) {
    wait("the sink does not catch up", || {
        exports.confirmed() == journal.health().seq
    });
}

/// The sequence numbers of requests and outcomes in a file of OCSF events.
fn sequences(text: &str) -> BTreeSet<u64> {
    text.lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
        .filter(|event| event["query_info"].is_object())
        .map(|event| event["metadata"]["sequence"].as_u64().expect("a number"))
        .collect()
}

#[test]
fn a_file_gets_every_record_once_over_restarts_and_segments() {
    let dir = tempfile::tempdir().expect("a folder");
    let journal = open(dir.path());
    let path = dir.path().join("events.jsonl");
    let settings = [sink(Form::Ocsf, &format!("file://{}", path.display()))];
    record(&journal, 1000);
    let exports = Exports::start(&settings, dir.path(), &journal).expect("exports");
    caught_up(&exports, &journal);
    drop(exports);
    record(&journal, 9000);
    assert!(journal.health().segment > 1);
    let exports = Exports::start(&settings, dir.path(), &journal).expect("exports");
    caught_up(&exports, &journal);
    record(&journal, 10);
    caught_up(&exports, &journal);
    assert!(exports.status()[0].problem.is_none() && exports.status()[0].lag == 0);
    let text = std::fs::read_to_string(&path).expect("the file");
    let sequences = sequences(&text);
    assert_eq!(sequences.len(), 2 * 10_010);
    let events = text
        .lines()
        .filter(|line| line.contains("query_info"))
        .count();
    assert_eq!(events, 2 * 10_010, "each once");
}

#[test]
fn a_collector_that_is_down_and_breaks_off_gets_everything_in_frames() {
    let dir = tempfile::tempdir().expect("a folder");
    let journal = open(dir.path());
    record(&journal, 300);
    // A port that nobody listens on.
    let address = TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a port");
    let settings = [sink(Form::Syslog, &format!("tcp://{address}"))];
    let exports = Exports::start(&settings, dir.path(), &journal).expect("exports");
    wait("nothing is wrong", || exports.status()[0].problem.is_some());
    // Recording goes on meanwhile.
    record(&journal, 3000);
    assert_eq!(exports.confirmed(), 0);
    let listener = TcpListener::bind(address).expect("the port is free");
    let (lines, got) = mpsc::channel();
    let collector = std::thread::spawn(move || {
        for (at, stream) in listener.incoming().enumerate() {
            let mut stream = BufReader::new(stream.expect("a connection"));
            let mut count = 0;
            while let Some(message) = frame(&mut stream) {
                if lines.send(message).is_err() {
                    return;
                }
                count += 1;
                // The first connection breaks off in the midst of a batch.
                if at == 0 && count == 100 {
                    break;
                }
            }
        }
    });
    caught_up(&exports, &journal);
    drop(exports);
    let mut seen = BTreeSet::new();
    while let Ok(message) = got.recv_timeout(Duration::from_millis(500)) {
        assert!(
            message.starts_with("<1") && message.contains(">1 20"),
            "{message}"
        );
        let seq = message
            .split("seq=\"")
            .nth(1)
            .and_then(|rest| rest.split('"').next())
            .and_then(|seq| seq.parse::<u64>().ok())
            .unwrap_or_else(|| panic!("no number in {message}"));
        if message.contains(" request [") || message.contains(" outcome [") {
            assert!(
                message.contains("principal=\"bob\" actor=\"churn-bot\""),
                "{message}"
            );
            seen.insert(seq);
        }
    }
    assert_eq!(seen.len(), 2 * 3300);
    drop(got);
    // It waits for another connection.
    drop(std::net::TcpStream::connect(address));
    drop(collector);
}

/// The next message whose octets are counted.
fn frame(stream: &mut impl std::io::BufRead) -> Option<String> {
    let mut length = Vec::new();
    if stream.read_until(b' ', &mut length).ok()? == 0 {
        return None;
    }
    let length = String::from_utf8_lossy(&length);
    let length: usize = length.trim_end().parse().expect("octets are counted");
    let mut message = vec![0; length];
    stream.read_exact(&mut message).ok()?;
    Some(String::from_utf8(message).expect("UTF-8"))
}

#[test]
fn a_collector_by_tls_gets_everything_once_its_certificate_is_trusted() {
    let dir = tempfile::tempdir().expect("a folder");
    let journal = open(dir.path());
    record(&journal, 300);
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("another");
    let key = PrivatePkcs8KeyDer::from(own.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key.into())
        .expect("a server");
    let server = Arc::new(server);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let (lines, got) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let tls = rustls::ServerConnection::new(Arc::clone(&server)).expect("a connection");
            let mut stream = BufReader::new(rustls::StreamOwned::new(tls, stream));
            while let Some(message) = frame(&mut stream) {
                if lines.send(message).is_err() {
                    return;
                }
            }
        }
    });
    let ca = dir.path().join("ca.pem");
    let mut settings = sink(Form::Syslog, &format!("tls://localhost:{port}"));
    settings.ca = Some(ca.clone());

    std::fs::write(&ca, other.cert.pem()).expect("written");
    let exports = Exports::start(&[settings.clone()], dir.path(), &journal).expect("exports");
    wait("nothing is wrong", || exports.status()[0].problem.is_some());
    let problem = exports.status()[0].problem.clone().unwrap_or_default();
    assert!(problem.contains("certificate"), "{problem}");
    assert_eq!(exports.confirmed(), 0);
    drop(exports);

    std::fs::write(&ca, own.cert.pem()).expect("written");
    let exports = Exports::start(&[settings.clone()], dir.path(), &journal).expect("exports");
    caught_up(&exports, &journal);
    drop(exports);
    let next = || got.recv_timeout(Duration::from_secs(10)).ok();
    let asked = std::iter::from_fn(next).filter(|it| it.contains(" request ["));
    assert_eq!(asked.take(300).count(), 300);

    std::fs::write(&ca, "no certificate").expect("written");
    let refused = Exports::start(&[settings], dir.path(), &journal).expect_err("refused");
    assert!(telemetry::chain(&refused).contains("no certificate in it"));
}

/// What an HTTP sink says: a status, headers (each ended), a body.
type Answer = (u16, &'static str, &'static str);

/// An HTTP sink that says of each body what `says` does; bodies come with what was said of them, until nobody listens.
fn http_sink(
    says: impl Fn(&str) -> Answer + Send + 'static,
) -> (String, mpsc::Receiver<(u16, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let (bodies, got) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let Some((status, body)) = answer(stream, &says) else {
                continue;
            };
            if bodies.send((status, body)).is_err() {
                return;
            }
        }
    });
    (address, got)
}

/// Reads a request, answers, closes; what was said, of what.
fn answer(stream: std::net::TcpStream, says: &impl Fn(&str) -> Answer) -> Option<(u16, String)> {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let body = String::from_utf8(body).ok()?;
    let (status, headers, said) = says(&body);
    let length = said.len();
    let answer = format!(
        "HTTP/1.1 {status} X\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{said}"
    );
    reader.into_inner().write_all(answer.as_bytes()).ok()?;
    Some((status, body))
}

/// A power failure may take what is not on disk, and its numbers are given out again.
#[test]
fn what_is_not_on_disk_is_not_sent_yet() {
    let dir = tempfile::tempdir().expect("a folder");
    let journal = open(dir.path());
    record(&journal, 10);
    let limit = Arc::new(AtomicU64::new(4));
    let folder = journal.folder();
    let carry = tape::Carry::default();
    let limited = Some(Arc::clone(&limit));
    let mut tape = tape::Tape::new(folder, Position::START, &carry, limited);
    let read = tape.read(1000).expect("readable");
    assert_eq!(read.last().map(|item| item.seq), Some(4));
    assert_eq!(tape.position().seq, 5);
    limit.store(journal.health().seq, Ordering::Release);
    let read = tape.read(1000).expect("readable");
    assert_eq!(read.last().map(|item| item.seq), Some(journal.health().seq));
}

/// A power failure took the last records of a full segment: those are told, and what was recorded behind it is sent.
#[test]
fn numbers_missing_between_segments_are_told_and_the_next_segment_is_sent() {
    let dir = tempfile::tempdir().expect("a folder");
    let journal = open(dir.path());
    while journal.health().segment < 2 {
        record(&journal, 200);
    }
    record(&journal, 10);
    let (folder, last) = (journal.folder().to_owned(), journal.health().seq);
    drop(journal);
    let read = || {
        let mut tape = tape::Tape::new(&folder, Position::START, &tape::Carry::default(), None);
        tape.read(1 << 20).expect("readable")
    };
    let whole = read();
    let of_first: Vec<_> = whole.iter().filter(|item| item.at.segment == 1).collect();
    let cut = of_first[of_first.len() - 20].at;
    let path = folder.join("000000000001.segment");
    let mut bytes = std::fs::read(&path).expect("the segment");
    bytes[usize::try_from(cut.offset).expect("fits")..].fill(0);
    std::fs::write(&path, bytes).expect("cut");
    let told = read();
    let at = told
        .iter()
        .position(|item| item.seq == cut.seq)
        .expect("told");
    let tape::What::Missing { until_seq } = told[at].what else {
        panic!("{:?} is missing", told[at]);
    };
    assert!(
        (cut.seq + 19..cut.seq + 30).contains(&until_seq),
        "{until_seq}"
    );
    let behind: Vec<_> = told[at + 1..].iter().map(|item| item.seq).collect();
    let expected = whole.iter().map(|item| item.seq);
    let expected: Vec<_> = expected.filter(|seq| *seq > until_seq).collect();
    assert_eq!(behind, expected);
    assert_eq!(behind.last(), Some(&last));
}

/// A newer version may have written kinds of events that this one does not know.
#[test]
fn a_record_that_is_not_understood_is_told_and_hides_no_other() {
    let dir = tempfile::tempdir().expect("a folder");
    let journal = open(dir.path());
    record(&journal, 5);
    let what = "something new".to_owned();
    let seq = journal.event(&Event::Incident { what }).expect("recorded");
    record(&journal, 5);
    let (folder, last) = (journal.folder().to_owned(), journal.health().seq);
    drop(journal);
    let read = || {
        let mut tape = tape::Tape::new(&folder, Position::START, &tape::Carry::default(), None);
        tape.read(1000).expect("readable")
    };
    let at = read()
        .iter()
        .find(|item| item.seq == seq)
        .map(|item| usize::try_from(item.at.offset).expect("fits"))
        .expect("the event");
    let path = folder.join("000000000001.segment");
    let mut bytes = std::fs::read(&path).expect("the segment");
    let Parsed::Record(raw, total) = layout::parse(&bytes[at..]) else {
        panic!("a record lies there");
    };
    let mut payload = raw.payload.to_vec();
    payload.fill(b' ');
    payload[..2].copy_from_slice(b"{}");
    let mut changed = vec![0; total];
    let word = layout::encode(&mut changed, raw.kind, seq, raw.time_ns, &payload);
    changed[..4].copy_from_slice(&word.to_le_bytes());
    bytes[at..at + total].copy_from_slice(&changed);
    std::fs::write(&path, bytes).expect("changed");
    let told = read();
    let missing = told.iter().find(|item| item.seq == seq).expect("told");
    assert!(
        matches!(missing.what, tape::What::Missing { until_seq } if until_seq == seq),
        "{missing:?}"
    );
    assert_eq!(told.last().map(|item| item.seq), Some(last));
    assert!(told.iter().any(|item| item.seq == seq + 3), "{told:?}");
}

/// A power failure may leave an empty file.
#[test]
fn with_a_cursor_that_makes_no_sense_everything_is_sent_again() {
    for text in ["", "{", "{}"] {
        let dir = tempfile::tempdir().expect("a folder");
        let journal = open(dir.path());
        record(&journal, 10);
        let folder = dir.path().join("export");
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(folder.join("sink.json"), text).expect("written");
        let path = dir.path().join("events.jsonl");
        let settings = [sink(Form::Ocsf, &format!("file://{}", path.display()))];
        let exports = Exports::start(&settings, dir.path(), &journal).expect("exports");
        caught_up(&exports, &journal);
        let sent = std::fs::read_to_string(&path).expect("the file");
        assert_eq!(sequences(&sent).len(), 20, "{text:?}");
        let told = read_all(dir.path()).into_iter().any(|record| {
            matches!(record.entry, Entry::Event(event)
                if matches!(&*event, Event::Incident { what } if what.contains("makes no sense")))
        });
        assert!(told, "{text:?}");
    }
}

/// What the sink has confirmed is gone from the journal, and other records have those numbers.
#[test]
fn a_cursor_beyond_the_journals_end_is_set_back_to_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let journal = open(dir.path());
    let path = dir.path().join("events.jsonl");
    let settings = [sink(Form::Ocsf, &format!("file://{}", path.display()))];
    record(&journal, 10);
    let exports = Exports::start(&settings, dir.path(), &journal).expect("exports");
    caught_up(&exports, &journal);
    drop((exports, journal));
    let cursor = dir.path().join("export").join("sink.json");
    let text = std::fs::read_to_string(&cursor).expect("a cursor");
    for (field, beyond) in [("seq", 1_000_000), ("segment", 7)] {
        let mut fields: Value = serde_json::from_str(&text).expect("JSON");
        fields[field] = json!(beyond);
        let journal = open(dir.path());
        // The cursor of `text` has seen these by the second time.
        let end = journal.health().seq;
        if field == "segment" {
            fields["seq"] = json!(end + 1);
        }
        std::fs::write(&cursor, fields.to_string()).expect("written");
        std::fs::write(&path, "").expect("emptied");
        record(&journal, 5);
        let exports = Exports::start(&settings, dir.path(), &journal).expect("exports");
        caught_up(&exports, &journal);
        let sent = std::fs::read_to_string(&path).expect("the file");
        let sequences = sequences(&sent);
        assert_eq!(sequences.len(), 10, "{field}");
        assert!(sequences.iter().all(|seq| *seq > end), "{field}");
    }
}
