//! What is tried inside the machine. Nothing is judged here: each outcome is said, and the tests know what it must be.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tests::{Agent, AgentOptions, DevIdp};

use crate::machine::Lines;
use crate::puppet::Puppet;
use crate::server;

const PORT: u16 = 5432;
const FOLDER: &str = "/run/weir-vm";
const CGROUP: &str = "/sys/fs/cgroup/weir-vm";

pub(crate) fn run(lines: &mut Lines) -> Result<()> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").context("no kernel")?;
    lines.say(&json!({"kernel": release.trim()}));
    fs::create_dir_all(FOLDER).context("cannot make the folder")?;
    for name in ["billing", "other", "nobody"] {
        fs::create_dir_all(format!("{CGROUP}/{name}")).context("cannot make a cgroup")?;
    }
    server::start(PORT)?;
    let folder = Path::new(FOLDER);
    let issuer = DevIdp::start(folder)?;
    for (name, client) in [("billing", "svc-billing"), ("other", "alice")] {
        issuer.token_file(client, &folder.join(name))?;
    }
    let agent = Agent::start(AgentOptions {
        folder: folder.to_path_buf(),
        cgroup: CGROUP.into(),
        pin_name: "weir-vm".to_owned(),
        config: toml::from_str(&CONFIGURATION.replace("@issuer@", issuer.url()))
            .context("the configuration")?,
        log: None,
    })?;
    lines.say(&json!({"hooks": agent.status()?["hooks"]}));
    doctor(lines)?;

    children(lines, &agent)?;
    passing(lines, &agent)?;
    stealing(lines)?;
    lines.say(&json!({"records": records(&agent, 6)?}));
    lines.say(&json!({"counters": agent.status()?["kernel"]}));
    Ok(())
}

fn doctor(lines: &mut Lines) -> Result<()> {
    let output = Command::new(tests::place::weir()?)
        .args(["doctor", "--json"])
        .output()
        .context("cannot run weir doctor")?;
    let said: Value = serde_json::from_slice(&output.stdout).context("weir doctor said no JSON")?;
    lines.say(&json!({"doctor": said}));
    Ok(())
}

/// A child inherits its parent's connection; so does another process of the same service.
fn children(lines: &mut Lines, agent: &Agent) -> Result<()> {
    let mut owner = Puppet::start(&cgroup("billing"))?;
    let connected = owner.ask(&json!({"do": "connect", "port": PORT}))?;
    lines.say(&json!({"owner connects": connected, "pid": owner.pid()}));
    lines.say(&json!({"owner asks": owner.ask(&query("SELECT 1"))?}));
    lines.say(&json!({"sessions": agent.status()?["sessions"]}));
    lines.say(&json!({"child asks": owner.ask(&json!({"do": "child", "sql": "SELECT 2"}))?}));
    let mut sibling = Puppet::start(&cgroup("billing"))?;
    hand_over(&mut owner, &mut sibling, "/tmp/sibling")?;
    lines.say(&json!({"sibling asks": sibling.ask(&query("SELECT 3"))?}));
    for number in 0..6 {
        let sql = format!("SELECT {}", 10 + number);
        let said = owner.ask(&json!({"do": "child", "sql": sql}))?;
        lines.say(&json!({format!("child {number} asks"): said}));
    }
    lines.say(&json!({"owner asks after children": owner.ask(&query("SELECT 4"))?}));
    Ok(())
}

/// A connection is passed to another service over a unix socket.
fn passing(lines: &mut Lines, agent: &Agent) -> Result<()> {
    let mut owner = Puppet::start(&cgroup("billing"))?;
    owner.ask(&json!({"do": "connect", "port": PORT}))?;
    lines.say(&json!({"owner asks before": owner.ask(&query("SELECT 5"))?}));
    let mut other = Puppet::start(&cgroup("other"))?;
    hand_over(&mut owner, &mut other, "/tmp/other")?;
    lines.say(&json!({"owner asks although passed": owner.ask(&query("SELECT 6"))?}));
    lines.say(&json!({"other asks": other.ask(&query("SELECT 7"))?}));
    lines.say(&json!({"sessions after": agent.status()?["sessions"]}));
    lines.say(&json!({"owner asks after other": owner.ask(&query("SELECT 8"))?}));
    lines.say(&json!({"owner connects anew": owner.ask(&json!({"do": "connect", "port": PORT}))?}));
    lines.say(&json!({"owner asks anew": owner.ask(&query("SELECT 9"))?}));
    lines.say(&json!({"other connects": other.ask(&json!({"do": "connect", "port": PORT}))?}));
    Ok(())
}

/// A connection is taken without its owner's help, and written to from a file.
fn stealing(lines: &mut Lines) -> Result<()> {
    let mut owner = Puppet::start(&cgroup("billing"))?;
    let connected = owner.ask(&json!({"do": "connect", "port": PORT}))?;
    let mut thief = Puppet::start(&cgroup("nobody"))?;
    let order = json!({"do": "steal", "pid": owner.pid(), "descriptor": connected["descriptor"]});
    lines.say(&json!({"thief steals": thief.ask(&order)?}));
    let order = json!({"do": "sendfile", "sql": "SELECT 20"});
    lines.say(&json!({"thief asks": thief.ask(&order)?}));
    lines.say(&json!({"owner asks after thief": owner.ask(&query("SELECT 21"))?}));
    Ok(())
}

fn hand_over(from: &mut Puppet, to: &mut Puppet, path: &str) -> Result<()> {
    to.ask(&json!({"do": "listen", "path": path}))?;
    from.ask(&json!({"do": "pass", "path": path}))?;
    let received = to.ask(&json!({"do": "receive"}))?;
    if received.get("failed").is_some() {
        bail!("the connection was not received: {received}");
    }
    Ok(())
}

/// What was recorded of foreign writers, and of requests; the index follows the journal.
fn records(agent: &Agent, at_least: usize) -> Result<Value> {
    let sql = "SELECT event, body FROM events WHERE event = 'sender_changed'";
    let state = format!("{FOLDER}/state");
    let ask = |sql: &str| {
        agent.json(&[
            "audit",
            "query",
            "--format",
            "json",
            "--state-dir",
            &state,
            sql,
        ])
    };
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        let events = ask(sql)?;
        if events.as_array().map_or(0, Vec::len) >= at_least {
            let activity = ask("SELECT * FROM activity_view")?;
            return Ok(json!({"events": events, "activity": activity}));
        }
        if Instant::now() > deadline {
            bail!("only {events} was recorded");
        }
        thread::sleep(Duration::from_millis(200));
    }
}

fn query(sql: &str) -> Value {
    json!({"do": "query", "sql": sql})
}

fn cgroup(name: &str) -> String {
    format!("{CGROUP}/{name}")
}

/// Two services and everybody else; who is nobody may not connect.
const CONFIGURATION: &str = r#"
[policy]
dir = "/policy"
mode = "enforce"

[[endpoint]]
name = "shop"
engine = "postgres"
environment = "production"
cidrs = ["127.0.0.1/32"]
ports = [5432]

[[issuer]]
issuer = "@issuer@"
audience = "weir"
development = true

[[workload]]
name = "svc-billing"
cgroup = "/weir-vm/billing"
token_file = "/run/weir-vm/billing"

[[workload]]
name = "svc-other"
cgroup = "/weir-vm/other"
token_file = "/run/weir-vm/other"
"#;
