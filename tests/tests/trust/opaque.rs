//! Mode O beside the matrix: seen by the operator, deniable by rules; and clients that mode P cannot serve.

use std::process::Output;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::lab::Mode;
use tests::{Identity, Lab, LabOptions, place};

fn psql(lab: &Lab, sslmode: &str, sql: &str) -> Result<Output> {
    let mut command = lab.command(Identity::Alice, lab.postgres().programs().client("psql"));
    command
        .args(["-X", "-w", "-A", "-t", "-c", sql])
        .env("PGSSLMODE", sslmode);
    command.output().context("cannot run psql")
}

fn status(lab: &Lab) -> Result<Value> {
    let output = lab.weir(&["status", "--json"]).output()?;
    serde_json::from_slice(&output.stdout).context("status is not JSON")
}

fn with(mode: Mode, policy: &str) -> Result<Lab> {
    Lab::start(&LabOptions {
        tls: true,
        scram: true,
        mode: Some(mode),
        policy: Some(place::project().join("policies").join(policy)),
        ..LabOptions::default()
    })
}

#[test]
fn what_is_not_inspected_is_visible_and_deniable() -> Result<()> {
    let lab = with(Mode::Opaque, "baseline")?;
    let refused = psql(&lab, "require", "select 1")?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(
        !refused.status.success() && said.contains("uninspected") && said.contains("on_opaque"),
        "{said}"
    );
    // In clear everything can be read, so the rules hold.
    let read = psql(&lab, "disable", "select count(*) from customers")?;
    ensure!(
        String::from_utf8_lossy(&read.stdout).trim() == "200",
        "{}",
        String::from_utf8_lossy(&read.stderr)
    );
    drop(lab);

    let lab = with(Mode::Opaque, "permit-all")?;
    let passed = psql(&lab, "verify-full", "select 41 + 1")?;
    ensure!(
        String::from_utf8_lossy(&passed.stdout).trim() == "42",
        "{}",
        String::from_utf8_lossy(&passed.stderr)
    );
    let status = status(&lab)?;
    let endpoint = &status["endpoints"][0];
    ensure!(
        endpoint["mode"] == "opaque" && endpoint["not_inspected"].as_u64() >= Some(1),
        "{endpoint}"
    );
    what_is_not_inspected_is_no_governed_session(&lab)
}

fn what_is_not_inspected_is_no_governed_session(lab: &Lab) -> Result<()> {
    let report = lab
        .agent()
        .json(&["report", "completeness", "--format", "json"])?;
    let measure = |name: &str| {
        let rows = report["rows"].as_array().into_iter().flatten();
        let row = rows.into_iter().find(|row| row["measure"] == name);
        row.and_then(|row| row["count"].as_u64())
    };
    ensure!(
        measure("sessions governed") == Some(0) && measure("sessions relayed unread") == Some(1),
        "{report}"
    );
    let notes = report["header"]["incomplete"].to_string();
    ensure!(
        notes.contains("1 session that was relayed unread"),
        "{notes}"
    );
    let tail = lab
        .weir(&["audit", "tail", "--json", "-n", "1000"])
        .output()?;
    let opened = String::from_utf8_lossy(&tail.stdout)
        .lines()
        .filter(|line| line.contains("\"unread\":true"))
        .count();
    ensure!(opened == 1, "{tail:?}");
    Ok(())
}

/// The client's words are its own; what to do stands in the record, in the status and in doctor's findings.
#[test]
fn a_client_that_insists_on_tls_is_counted() -> Result<()> {
    let lab = with(Mode::Plaintext, "baseline")?;
    let refused = psql(&lab, "require", "select 1")?;
    ensure!(!refused.status.success(), "there is no TLS in this mode");
    let status = status(&lab)?;
    let endpoint = &status["endpoints"][0];
    ensure!(
        endpoint["mode"] == "plaintext" && endpoint["insisted_on_tls"] == 1,
        "{endpoint}"
    );
    let doctor = lab.weir(&["doctor", "--json"]).output()?;
    let findings = String::from_utf8_lossy(&doctor.stdout).into_owned();
    ensure!(
        findings.contains("wanted TLS or nothing") && findings.contains("verifier"),
        "{findings}"
    );
    Ok(())
}
