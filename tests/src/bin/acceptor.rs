//! The smallest agent there can be, for the kernel tests: captures, accepts, and says what it saw.
//!
//! The first line of standard input is its configuration, each further one a command; every line
//! of standard output is a JSON object. It ends with its input, or is killed.

use std::{
    io::{self, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::AsFd,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context, bail};
use serde_json::{Value, json};
use weir::capture::{
    self, Capture, Cidr, EndpointRule, EventSource, ListenerPorts, Origins, Settings,
    UngovernedConnection,
};

fn main() -> anyhow::Result<()> {
    let mut lines = io::stdin().lines();
    let configuration = lines.next().context("no configuration")??;
    let configuration: Value = serde_json::from_str(&configuration)?;
    let settings: Settings = serde_json::from_value(configuration["settings"].clone())?;
    let rules = rules(&configuration["rules"])?;

    let cgroup = settings.cgroup.clone().context("no cgroup")?;
    capture::enter(&cgroup)?;
    let (v4, v6) = capture::listeners(None)?;
    let v6 = v6.context("no IPv6 on this host")?;
    let ports = ListenerPorts {
        v4: v4.local_addr()?.port(),
        v6: Some(v6.local_addr()?.port()),
    };
    let (capture, takeover) = Capture::attach(&settings, &rules, ports)?;
    say(&json!({"ready": {
        "port": ports.v4,
        "resumed": takeover.resumed,
        "last_heartbeat_ns": takeover.last_heartbeat_ns,
        "passed": takeover.passed,
        "denied": takeover.denied,
        "older": takeover.older,
    }}));

    for listener in [v4, v6] {
        let origins = capture.origins();
        thread::spawn(move || accept(&listener, &origins));
    }
    let heart = Heart::default();
    let how = thread::scope(|threads| {
        threads.spawn(|| beat(&capture, &heart));
        let how = serve(&capture, &heart, lines);
        heart.stopped.store(true, Ordering::SeqCst);
        how
    })?;
    match how {
        Ending::Keep => capture.keep()?,
        Ending::Detach => capture.detach()?,
        Ending::Abandon => {}
    }
    Ok(())
}

/// What the heart's thread is told.
#[derive(Default)]
struct Heart {
    paused: AtomicBool,
    stopped: AtomicBool,
}

/// How a run ends.
enum Ending {
    Keep,
    Detach,
    Abandon,
}

fn serve(
    capture: &Capture,
    heart: &Heart,
    lines: impl Iterator<Item = io::Result<String>>,
) -> anyhow::Result<Ending> {
    let mut dialled = Vec::new();
    for line in lines {
        let line = line?;
        let answer = match line.split_once(' ').unwrap_or((&line, "")) {
            ("counters", _) => json!(capture.counters()?),
            ("leftovers", _) => json!(capture.leftovers()?),
            ("check", _) => json!(capture.self_check()),
            ("older", _) => json!(capture.older()?),
            ("unattended", _) => {
                let count = capture.unattended()?;
                json!([count.passed, count.denied])
            }
            ("events", _) => {
                let mut events = capture.events()?;
                json!(std::iter::from_fn(|| events.take()).collect::<Vec<_>>())
            }
            ("wait", milliseconds) => {
                let patience = Duration::from_millis(milliseconds.parse()?);
                json!(wait(capture.events()?, patience)?)
            }
            ("beating", answer) => {
                heart.paused.store(answer == "no", Ordering::SeqCst);
                // Longer than a beat: the thread has seen it.
                thread::sleep(Duration::from_millis(60));
                json!(answer)
            }
            ("rules", text) => {
                capture.replace_rules(&self::rules(&serde_json::from_str(text)?)?)?;
                json!("replaced")
            }
            ("dial", address) => {
                let stream = dial(capture, address.parse()?)?;
                let peer = stream.peer_addr()?.to_string();
                dialled.push(stream);
                json!(peer)
            }
            ("cgroup", id) => json!(capture::cgroup_path(id.parse()?)),
            ("keep", _) => return Ok(Ending::Keep),
            ("detach", _) => return Ok(Ending::Detach),
            _ => bail!("unknown command {line}"),
        };
        say(&json!({ "answer": answer }));
    }
    Ok(Ending::Abandon)
}

fn accept(listener: &TcpListener, origins: &Origins) {
    let mut held = Vec::new();
    while let Ok((mut stream, peer)) = listener.accept() {
        let origin = origins.of(stream.as_fd());
        let origin = origin.map_err(|error| error.to_string());
        let server_side_peer = stream.peer_addr().ok();
        say(
            &json!({"accepted": {"origin": origin.ok(), "peer": peer, "peer_name": server_side_peer}}),
        );
        let _ = stream.write_all(b"weir");
        held.push(stream);
        if held.len() > 512 {
            held.clear();
        }
    }
}

/// Beats unless paused, until stopped.
fn beat(capture: &Capture, heart: &Heart) {
    while !heart.stopped.load(Ordering::SeqCst) {
        if !heart.paused.load(Ordering::SeqCst) && capture.beat().is_err() {
            return;
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// Connects past the capture, as the agent does to a server.
fn dial(capture: &Capture, address: SocketAddr) -> anyhow::Result<TcpStream> {
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None)?;
    capture.marker().mark(socket.as_fd())?;
    socket.connect(&address.into())?;
    Ok(socket.into())
}

/// Waits for an event as the agent does; `None` when there is none in time.
fn wait(events: EventSource, patience: Duration) -> anyhow::Result<Option<UngovernedConnection>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut events = events.stream()?;
        let event = tokio::time::timeout(patience, events.next()).await;
        Ok(event.ok().transpose()?)
    })
}

fn rules(value: &Value) -> anyhow::Result<Vec<EndpointRule>> {
    let cidrs = |value: &Value| -> anyhow::Result<Vec<Cidr>> {
        let texts = value.as_array().context("not a list")?;
        texts
            .iter()
            .map(|text| Ok(text.as_str().context("not a text")?.parse()?))
            .collect()
    };
    let rules = value.as_array().context("no rules")?;
    rules
        .iter()
        .map(|rule| {
            Ok(EndpointRule {
                id: u32::try_from(rule["id"].as_u64().context("no id")?)?,
                ports: serde_json::from_value(rule["ports"].clone())?,
                cidrs: cidrs(&rule["cidrs"])?,
                exclude: cidrs(&rule["exclude"])?,
            })
        })
        .collect()
}

fn say(value: &Value) {
    let mut output = io::stdout().lock();
    // Nobody listening is the end of the test, not of this process: its input ends it.
    let _ = writeln!(output, "{value}").and_then(|()| output.flush());
}
