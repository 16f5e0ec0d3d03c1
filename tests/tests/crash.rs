//! The agent dies under load: the kernel does what the operator chose, and nothing that ran is without its record.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::verdicts::Program;
use tests::{Identity, Lab, LabOptions};

#[test]
fn closed_refuses_while_the_agent_is_down_and_no_record_is_missing() -> Result<()> {
    let mut lab = start("closed")?;
    kill_under_load(&mut lab)?;
    std::thread::sleep(PATIENCE);
    ensure!(
        !connects(&lab, Identity::Bob)?,
        "a connection got through while the agent was down"
    );
    lab.agent_mut().resume()?;
    ensure!(
        connects(&lab, Identity::Bob)?,
        "the new agent serves nobody"
    );
    every_row_has_its_record(&lab, 1)?;
    let refused = measure(&lab, "connections refused without an agent")?;
    ensure!(refused >= 1, "the report knows nothing of the refusal");
    the_report_shows_the_gap(&lab)
}

#[test]
fn open_passes_and_counts_while_the_agent_is_down() -> Result<()> {
    let mut lab = start("open")?;
    kill_under_load(&mut lab)?;
    std::thread::sleep(PATIENCE);
    ensure!(
        connects(&lab, Identity::Nobody)?,
        "a connection was refused although the agent may be passed by"
    );
    lab.agent_mut().resume()?;
    ensure!(
        connects(&lab, Identity::Bob)?,
        "the new agent serves nobody"
    );
    every_row_has_its_record(&lab, 1)?;
    let passed = measure(&lab, "connections passed without an agent")?;
    ensure!(passed >= 1, "the report knows nothing of what passed");
    the_report_shows_the_gap(&lab)
}

#[test]
fn a_chain_of_crashes_leaves_a_chain_that_verifies() -> Result<()> {
    crashes_lose_no_record(3)
}

/// Minutes: `cargo xtask bench crashes`.
#[test]
#[ignore = "takes minutes"]
fn fifty_crashes_at_random_moments_lose_no_record() -> Result<()> {
    crashes_lose_no_record(50)
}

fn crashes_lose_no_record(crashes: u64) -> Result<()> {
    let mut lab = start("closed")?;
    for _ in 0..crashes {
        kill_under_load(&mut lab)?;
        lab.agent_mut().resume()?;
    }
    every_row_has_its_record(&lab, crashes)
}

fn start(on_agent_down: &str) -> Result<Lab> {
    let lab = Lab::start(&LabOptions {
        settings: vec![("capture.on_agent_down".into(), on_agent_down.into())],
        ..LabOptions::default()
    })?;
    lab.admin("create table numbered (session text, number int)")?;
    Ok(lab)
}

/// Longer than the kernel programs take a missing heartbeat for patience.
const PATIENCE: Duration = Duration::from_millis(1500);

/// Starts sessions that insert numbered rows, kills the agent at a random moment of it and waits for them to notice.
fn kill_under_load(lab: &mut Lab) -> Result<()> {
    let mut command = Program::python("load.py")
        .argument("8")
        .governed(lab, Identity::Bob);
    let mut load = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {command:?}"))?;
    let printed = load.stdout.take().context("no pipe")?;
    let mut lines = BufReader::new(printed).lines();
    let first = lines.next().transpose().context("cannot read")?;
    ensure!(
        first.as_deref() == Some("ready"),
        "the load did not begin: {first:?}"
    );
    let moment = Duration::from_micros(RandomState::new().hash_one(()) % 600_000);
    println!("kill -9 after {moment:?} of load");
    std::thread::sleep(moment);
    lab.agent_mut().kill()?;
    let rest: Vec<String> = lines.collect::<Result<_, _>>().context("cannot read")?;
    let status = load.wait().context("cannot tell how the load ended")?;
    ensure!(status.success(), "the load broke: {rest:?}");
    Ok(())
}

/// Whether somebody gets a new session.
fn connects(lab: &Lab, identity: Identity) -> Result<bool> {
    // While no agent runs, nobody can be bound to an identity either: the client alone, in the watched cgroup.
    let identity = if lab.agent().pid().is_none() {
        Identity::Nobody
    } else {
        identity
    };
    let output = lab
        .command(identity, lab.postgres().programs().client("psql"))
        .args(["--no-psqlrc", "--command=select 1"])
        .stdin(Stdio::null())
        .output()
        .context("cannot run psql")?;
    Ok(output.status.success())
}

/// Each row that the server has was inserted by a statement that the journal has.
fn every_row_has_its_record(lab: &Lab, crashes: u64) -> Result<()> {
    let rows = counts(&lab.admin("select session, count(*) from numbered group by 1")?)?;
    ensure!(!rows.is_empty(), "the load inserted nothing");
    let recorded = lab.agent().json(&[
        "audit",
        "query",
        "--format",
        "json",
        "select s.application_name || '|' || sum(a.requests) as line from activity_view a join sessions s using (session) \
         join statements t using (statement) where t.kinds like '%insert%' and a.statements > 0 group by s.application_name",
    ])?;
    let lines: Vec<&str> = recorded
        .as_array()
        .context("the query printed no list")?
        .iter()
        .filter_map(|row| row["line"].as_str())
        .collect();
    let recorded = counts(&lines.join("\n"))?;
    let mut inserted = 0;
    for (session, rows) in &rows {
        let records = recorded.get(session).copied().unwrap_or_default();
        ensure!(
            records >= *rows,
            "{session}: {rows} rows in the table, {records} statements in the journal"
        );
        // What was under way when the agent died: a pipeline of five.
        ensure!(
            records <= rows + 5 * crashes,
            "{session}: {rows} rows in the table, but {records} statements in the journal"
        );
        inserted += rows;
    }
    println!(
        "{inserted} rows of {} sessions have their records",
        rows.len()
    );
    let verified = lab
        .weir(&["audit", "verify", "--state-dir"])
        .arg(lab.agent().state_folder())
        .output()
        .context("cannot run weir audit verify")?;
    ensure!(
        verified.status.success(),
        "the chain is broken: {}{}",
        String::from_utf8_lossy(&verified.stdout),
        String::from_utf8_lossy(&verified.stderr)
    );
    Ok(())
}

/// Lines of `name|count`.
fn counts(text: &str) -> Result<BTreeMap<String, u64>> {
    let mut counts = BTreeMap::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        let (name, count) = line
            .rsplit_once('|')
            .with_context(|| format!("{line:?} is no count"))?;
        counts.insert(name.to_owned(), count.parse().context("no number")?);
    }
    Ok(counts)
}

fn the_report_shows_the_gap(lab: &Lab) -> Result<()> {
    let gaps = measure(lab, "times without an agent")?;
    ensure!(gaps == 1, "{gaps} gaps are reported");
    let usage = lab.agent().json(&["report", "usage", "--format", "json"])?;
    let incomplete = usage["header"]["incomplete"]
        .as_array()
        .context("no header")?;
    ensure!(
        !incomplete.is_empty(),
        "the usage report hides the gap: {usage}"
    );
    Ok(())
}

/// One line of `weir report completeness`.
fn measure(lab: &Lab, name: &str) -> Result<u64> {
    let report = lab
        .agent()
        .json(&["report", "completeness", "--format", "json"])?;
    report["rows"]
        .as_array()
        .context("no rows")?
        .iter()
        .find(|row| row["measure"] == name)
        .and_then(|row| row["count"].as_u64())
        .with_context(|| format!("{name:?} is not reported: {report}"))
}
