//! Records sent elsewhere: every one arrives, whatever happens to sinks and agent, and no statement waits for a sink.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tests::{Identity, Lab, LabOptions, port};
use toml::Table;

/// A literal that must not leave with any record.
const SECRET: &str = "sentinel-4711";
/// The client's own trace, as its library writes it behind a statement.
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

#[test]
fn every_sink_gets_every_record_though_it_is_down_slow_or_the_agent_dies() -> Result<()> {
    let folder = tempfile::tempdir().context("no folder")?;
    let file = folder.path().join("events.jsonl");
    let syslog = format!("127.0.0.1:{}", port::free(&["127.0.0.1"])?);
    let (slow, logs) = slow_collector("127.0.0.1:0")?;
    let traces = format!("127.0.0.1:{}", port::free(&["127.0.0.1"])?);
    let sinks = [
        ("file", "ocsf", format!("file://{}", file.display())),
        ("collector", "syslog", format!("tcp://{syslog}")),
        ("slow", "otlp", format!("http://{slow}/v1/logs")),
        (
            "traces",
            "otlp-traces",
            format!("http://{traces}/v1/traces"),
        ),
    ];
    let sinks = sinks.map(|(name, form, to)| {
        let entries = [
            ("name", name.to_owned()),
            ("form", form.to_owned()),
            ("to", to),
        ];
        toml::Value::Table(Table::from_iter(
            entries.map(|(key, value)| (key.to_owned(), toml::Value::String(value))),
        ))
    });
    let mut lab = Lab::start(&LabOptions {
        settings: vec![("export".into(), toml::Value::Array(sinks.to_vec()))],
        ..LabOptions::default()
    })?;
    work(&lab)?;
    let status = wait("the collector's absence is not reported", || {
        let status = lab.agent().status()?;
        let sink = export(&status, "collector")?.clone();
        Ok((sink["problem"].is_string() && sink["lag"].as_u64() > Some(0)).then_some(sink))
    })?;
    ensure!(
        status["confirmed_seq"] == 0,
        "nobody confirmed anything: {status}"
    );

    lab.agent_mut().kill()?;
    lab.agent_mut().resume()?;
    work(&lab)?;
    let expected = wait("the index does not catch up", || {
        let counted = recorded(&lab)?;
        // Both runs' requests and outcomes.
        Ok((counted >= 2 * 2 * 4).then_some(counted))
    })?;
    wait("the file lacks records", || {
        let text = fs::read_to_string(&file).unwrap_or_default();
        Ok((activities(&text)?.len() as u64 >= expected).then_some(()))
    })?;

    let (_, documents) = slow_collector(&traces)?;
    let messages = collector(&syslog)?;
    let mut seen = BTreeSet::new();
    let mut all = String::new();
    wait("the collector lacks records", || {
        for message in messages.try_iter() {
            seen.extend(sequence(&message)?);
            all.push_str(&message);
        }
        Ok((seen.len() as u64 >= expected).then_some(()))
    })?;
    let mut bodies = String::new();
    wait("the slow collector lacks records", || {
        bodies.extend(logs.try_iter());
        let counted =
            bodies.matches("\"weir.request\"").count() + bodies.matches("\"weir.outcome\"").count();
        Ok((counted as u64 >= expected).then_some(()))
    })?;
    let mut spans = Spans::default();
    wait("the collector of traces lacks spans", || {
        documents
            .try_iter()
            .try_for_each(|body| spans.take(&body))?;
        // Two runs of four statements, each run on a session of its own.
        Ok((spans.count(CLIENT) >= 2 * 4 && spans.count(INTERNAL) >= 2).then_some(()))
    })?;
    spans.check()?;
    let text = fs::read_to_string(&file).context("no file")?;
    let all_sinks = [
        ("file", &text),
        ("collector", &all),
        ("slow", &bodies),
        ("traces", &spans.text),
    ];
    for (sink, text) in all_sinks {
        ensure!(
            !text.contains(SECRET),
            "a literal reached the sink {sink:?}"
        );
        ensure!(text.contains("bob"), "the sink {sink:?} knows nobody");
    }
    wait("the sinks' recovery is not reported", || {
        let status = lab.agent().status()?;
        let mut well = true;
        for sink in ["collector", "traces"] {
            let sink = export(&status, sink)?;
            well &= sink["problem"].is_null() && sink["lag"] == 0 && sink["refused"] == 0;
        }
        Ok(well.then_some(()))
    })
}

const INTERNAL: u64 = 1;
const CLIENT: u64 = 3;

/// Spans by their id, whatever is sent twice.
#[derive(Default)]
struct Spans {
    by_id: BTreeMap<String, Value>,
    text: String,
}

impl Spans {
    fn take(&mut self, body: &str) -> Result<()> {
        self.text.push_str(body);
        let body: Value = serde_json::from_str(body).context("no JSON")?;
        let spans = body["resourceSpans"][0]["scopeSpans"][0]["spans"]
            .as_array()
            .with_context(|| format!("no spans: {body}"))?;
        for span in spans {
            let id = span["spanId"].as_str().context("no id")?.to_owned();
            if let Some(before) = self.by_id.insert(id, span.clone()) {
                ensure!(before == *span, "one id, two spans: {before} {span}");
            }
        }
        Ok(())
    }

    fn of(&self, kind: u64) -> impl Iterator<Item = &Value> {
        self.by_id.values().filter(move |span| span["kind"] == kind)
    }

    fn count(&self, kind: u64) -> usize {
        self.of(kind).count()
    }

    /// Each statement is there once, with what came of it, and belongs to a session.
    fn check(&self) -> Result<()> {
        let mut names: Vec<_> = self
            .of(CLIENT)
            .filter_map(|span| span["name"].as_str())
            .collect();
        names.sort_unstable();
        let expected = ["DROP orders", "SELECT", "SELECT orders", "SELECT products"];
        let twice: Vec<_> = expected.iter().flat_map(|name| [*name, *name]).collect();
        ensure!(names == twice, "{names:?}");
        let sessions: BTreeSet<_> = self
            .of(INTERNAL)
            .map(|span| span["spanId"].to_string())
            .collect();
        for span in self.of(CLIENT) {
            ensure!(attribute(span, "user.name") == Some("bob"), "{span}");
            ensure!(
                attribute(span, "db.system.name") == Some("postgresql"),
                "{span}"
            );
            ensure!(
                sessions.contains(&span["links"][0]["spanId"].to_string()),
                "{span}"
            );
            let refused = span["name"] == "DROP orders";
            ensure!((span["status"]["code"] == 2) == refused, "{span}");
            ensure!(
                (attribute(span, "error.type") == Some("42501")) == refused,
                "{span}"
            );
            let linked = span["links"][1]["traceId"] == TRACE;
            ensure!(linked == (span["name"] == "SELECT orders"), "{span}");
        }
        Ok(())
    }
}

fn attribute<'a>(span: &'a Value, key: &str) -> Option<&'a str> {
    let attributes = span["attributes"].as_array()?;
    let found = attributes.iter().find(|one| one["key"] == key)?;
    found["value"].as_object()?.values().next()?.as_str()
}

#[test]
fn a_sink_that_cannot_be_is_refused_at_the_start() -> Result<()> {
    let mut sink = Table::new();
    for (key, value) in [
        ("name", "x"),
        ("form", "otlp"),
        ("to", "http://collector.example/v1/logs"),
    ] {
        sink.insert(key.into(), value.into());
    }
    let started = Lab::start(&LabOptions {
        settings: vec![(
            "export".into(),
            toml::Value::Array(vec![toml::Value::Table(sink)]),
        )],
        ..LabOptions::default()
    });
    let Err(error) = started else {
        bail!("the agent runs");
    };
    let text = format!("{error:#}");
    ensure!(text.contains("in clear over the network"), "{text}");
    Ok(())
}

/// Four statements, one of them refused; each has to get its answer although sinks are down.
fn work(lab: &Lab) -> Result<()> {
    let output = lab
        .command(Identity::Bob, lab.postgres().programs().client("psql"))
        .args(["--no-psqlrc", "--quiet", "--tuples-only"])
        .args([
            "--command",
            &format!(
                "select count(*) from orders /*traceparent='00-{TRACE}-00f067aa0ba902b7-01'*/"
            ),
        ])
        .args([
            "--command",
            &format!("select '{SECRET}' from products limit 1"),
        ])
        .args(["--command", "drop table orders"])
        .args(["--command", "select 'done'"])
        .stdin(Stdio::null())
        .output()
        .context("cannot run psql")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    ensure!(text.contains("done") && text.contains("weir"), "{text}");
    Ok(())
}

/// Requests and outcomes in the journal.
fn recorded(lab: &Lab) -> Result<u64> {
    let query = "select coalesce(sum(requests + outcomes), 0) as records from activity_view";
    let rows = lab
        .agent()
        .json(&["audit", "query", "--format", "json", query])?;
    rows[0]["records"].as_u64().context("no count")
}

/// The numbers of the requests and outcomes in a file of events; each has what its class requires.
fn activities(text: &str) -> Result<BTreeSet<u64>> {
    let mut numbers = BTreeSet::new();
    // The last line may be half-written.
    for line in text
        .split_inclusive('\n')
        .filter(|line| line.ends_with('\n'))
    {
        let event: Value =
            serde_json::from_str(line).with_context(|| format!("no JSON: {line}"))?;
        for name in [
            "class_uid",
            "category_uid",
            "activity_id",
            "type_uid",
            "time",
            "severity_id",
        ] {
            ensure!(event[name].is_u64(), "{name} is missing: {line}");
        }
        ensure!(event["metadata"]["version"] == "1.9.0", "{line}");
        if event["class_uid"] != 6005 {
            continue;
        }
        for name in [
            "actor",
            "src_endpoint",
            "database",
            "metadata",
            "attestation",
        ] {
            ensure!(event[name].is_object(), "{name} is missing: {line}");
        }
        if event["query_info"].is_object() {
            ensure!(event["query_info"]["query_string"].is_string(), "{line}");
            ensure!(event["actor"]["user"]["name"] == "bob", "{line}");
            numbers.extend(event["metadata"]["sequence"].as_u64());
        }
    }
    Ok(numbers)
}

/// The number of a request's or outcome's message.
fn sequence(message: &str) -> Result<Option<u64>> {
    if !(message.contains(" request [") || message.contains(" outcome [")) {
        return Ok(None);
    }
    let number = message
        .split("seq=\"")
        .nth(1)
        .and_then(|rest| rest.split('"').next())
        .and_then(|number| number.parse().ok());
    Ok(Some(
        number.with_context(|| format!("no number: {message}"))?,
    ))
}

fn export<'a>(status: &'a Value, name: &str) -> Result<&'a Value> {
    status["exports"]
        .as_array()
        .and_then(|exports| exports.iter().find(|export| export["name"] == name))
        .with_context(|| format!("no export {name}: {status}"))
}

fn wait<T>(what: &str, mut until: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + Duration::from_mins(2);
    loop {
        if let Some(found) = until()? {
            return Ok(found);
        }
        ensure!(Instant::now() < deadline, "{what}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// Takes syslog messages in frames.
fn collector(address: &str) -> Result<Receiver<String>> {
    let listener = TcpListener::bind(address).context("the collector's port is taken")?;
    let (messages, got) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let messages = messages.clone();
            thread::spawn(move || frames(stream, &messages));
        }
    });
    Ok(got)
}

fn frames(stream: TcpStream, messages: &Sender<String>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut length = Vec::new();
        reader.read_until(b' ', &mut length).ok()?;
        let length: usize = String::from_utf8(length).ok()?.trim_end().parse().ok()?;
        let mut message = vec![0; length];
        reader.read_exact(&mut message).ok()?;
        messages.send(String::from_utf8(message).ok()?).ok()?;
    }
}

/// Takes documents by HTTP: refuses the first request, and is slow about the others.
fn slow_collector(address: &str) -> Result<(String, Receiver<String>)> {
    let listener = TcpListener::bind(address).context("no port")?;
    let address = listener.local_addr().context("no address")?.to_string();
    let (bodies, got) = mpsc::channel();
    thread::spawn(move || {
        for (at, stream) in listener.incoming().flatten().enumerate() {
            let status = if at == 0 { "503 Busy" } else { "200 OK" };
            if let Some(body) = answer(stream, status)
                && at > 0
                && bodies.send(body).is_err()
            {
                return;
            }
        }
    });
    Ok((address, got))
}

fn answer(stream: TcpStream, status: &str) -> Option<String> {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    thread::sleep(Duration::from_millis(300));
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    reader.into_inner().write_all(head.as_bytes()).ok()?;
    String::from_utf8(body).ok()
}
