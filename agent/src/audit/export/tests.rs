//! What sinks get, from a real journal over real sockets: all of it, in order, at least once.

use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    sync::mpsc,
    time::Instant,
};

use rustls::pki_types::PrivatePkcs8KeyDer;
use serde_json::Value;
use weir_sql::{Kind, Use};

use super::*;
use crate::audit::{
    fixtures::{allowed, denied, facts, new_session, open, outcome},
    record::{Ending, Via},
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
fn ocsf_events_have_what_the_class_requires() {
    let dir = tempfile::tempdir().expect("a folder");
    let journal = open(dir.path());
    let path = dir.path().join("events.jsonl");
    record(&journal, 4);
    let incident = Event::Incident {
        what: "x".to_owned(),
    };
    journal.event(&incident).expect("recorded");
    let settings = [sink(Form::Ocsf, &format!("file://{}", path.display()))];
    let exports = Exports::start(&settings, dir.path(), &journal).expect("exports");
    caught_up(&exports, &journal);
    let text = std::fs::read_to_string(&path).expect("the file");
    let mut activities = 0;
    for line in text.lines() {
        let event: Value = serde_json::from_str(line).expect("JSON");
        let number = |name: &str| {
            event[name]
                .as_u64()
                .unwrap_or_else(|| panic!("{name} in {line}"))
        };
        assert_eq!(
            number("type_uid"),
            number("class_uid") * 100 + number("activity_id")
        );
        assert!(number("time") > 1_600_000_000_000 && number("severity_id") > 0);
        assert_eq!(event["metadata"]["version"], "1.8.0");
        assert!(event["metadata"]["product"]["name"].is_string());
        if number("class_uid") == 0 {
            continue;
        }
        activities += 1;
        assert_eq!((number("class_uid"), number("category_uid")), (6005, 6));
        assert!(event["actor"]["user"]["name"].is_string() && event["src_endpoint"].is_object());
        assert_eq!(event["database"]["name"], "shop");
        assert_eq!(event["database"]["type_id"], 1);
        assert_eq!(event["unmapped"]["ai_agent"]["name"], "churn-bot");
        if event["query_info"].is_object() {
            assert!(event["query_info"]["query_string"].is_string() && number("status_id") > 0);
            let refused = number("activity_id") == 7;
            assert_eq!(number("action_id"), if refused { 2 } else { 1 }, "{line}");
        }
    }
    // The session, four requests, four outcomes.
    assert_eq!(activities, 9, "{text}");
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

#[test]
fn a_collector_that_refuses_at_first_gets_every_log_record() {
    let dir = tempfile::tempdir().expect("a folder");
    let journal = open(dir.path());
    record(&journal, 200);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let (bodies, got) = mpsc::channel();
    std::thread::spawn(move || {
        for (at, stream) in listener.incoming().enumerate() {
            let Ok(stream) = stream else { return };
            let Some(body) = answer(stream, if at < 2 { 503 } else { 200 }) else {
                continue;
            };
            if at >= 2 && bodies.send(body).is_err() {
                return;
            }
        }
    });
    let settings = [sink(Form::Otlp, &format!("http://{address}/v1/logs"))];
    let exports = Exports::start(&settings, dir.path(), &journal).expect("exports");
    caught_up(&exports, &journal);
    let body: Value = serde_json::from_slice(&got.recv().expect("a body")).expect("JSON");
    let logs = &body["resourceLogs"][0];
    assert_eq!(
        logs["resource"]["attributes"][0]["value"]["stringValue"],
        "weir"
    );
    let records = logs["scopeLogs"][0]["logRecords"]
        .as_array()
        .expect("records");
    let asked = records
        .iter()
        .filter(|record| record["eventName"] == "weir.request")
        .count();
    assert_eq!(asked, 200);
    for record in records {
        assert!(
            record["timeUnixNano"]
                .as_str()
                .is_some_and(|time| time.len() == 19),
            "{record}"
        );
        assert!(record["body"]["stringValue"].is_string() && record["severityNumber"].is_u64());
    }
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

/// Reads a request, answers with `status`, closes; the request's body.
fn answer(stream: std::net::TcpStream, status: u16) -> Option<Vec<u8>> {
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
    let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    reader.into_inner().write_all(answer.as_bytes()).ok()?;
    Some(body)
}

#[test]
fn a_cursor_that_makes_no_sense_stops_the_start() {
    let dir = tempfile::tempdir().expect("a folder");
    let journal = open(dir.path());
    let folder = dir.path().join("export");
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join("sink.json"), "{").expect("written");
    let started = Exports::start(
        &[sink(Form::Ocsf, "file:///dev/null")],
        dir.path(),
        &journal,
    );
    assert!(matches!(started, Err(ExportError::Cursor { .. })));
}
