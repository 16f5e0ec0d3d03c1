//! Records sent elsewhere: every one arrives, whatever happens to sinks and agent, and no statement waits for a sink.

use std::collections::BTreeSet;
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

#[test]
fn every_sink_gets_every_record_though_it_is_down_slow_or_the_agent_dies() -> Result<()> {
    let folder = tempfile::tempdir().context("no folder")?;
    let file = folder.path().join("events.jsonl");
    let syslog = format!("127.0.0.1:{}", port::free(&["127.0.0.1"])?);
    let (slow, logs) = slow_collector()?;
    let sinks = [
        ("file", "ocsf", format!("file://{}", file.display())),
        ("collector", "syslog", format!("tcp://{syslog}")),
        ("slow", "otlp", format!("http://{slow}/v1/logs")),
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
    let text = fs::read_to_string(&file).context("no file")?;
    for (sink, text) in [("file", &text), ("collector", &all), ("slow", &bodies)] {
        ensure!(
            !text.contains(SECRET),
            "a literal reached the sink {sink:?}"
        );
        ensure!(text.contains("bob"), "the sink {sink:?} knows nobody");
    }
    wait("the collector's recovery is not reported", || {
        let status = lab.agent().status()?;
        Ok(export(&status, "collector")?["problem"]
            .is_null()
            .then_some(()))
    })
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
        .args(["--command", "select count(*) from orders"])
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
        ensure!(event["metadata"]["version"] == "1.8.0", "{line}");
        if event["class_uid"] != 6005 {
            continue;
        }
        for name in ["actor", "src_endpoint", "database", "metadata"] {
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

/// Takes logs by HTTP: refuses the first request, and is slow about the others.
fn slow_collector() -> Result<(String, Receiver<String>)> {
    let listener = TcpListener::bind("127.0.0.1:0").context("no port")?;
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
