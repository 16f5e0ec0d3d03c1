//! A login in one session is never another's, and no process without privilege becomes somebody it is not.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tests::verdicts::{self, Program};
use tests::{Identity, Lab, LabOptions, place};

#[test]
fn a_login_counts_in_its_own_session_and_nowhere_else() -> Result<()> {
    recorded_as_it_was("sessions")
}

#[test]
fn nothing_that_a_process_without_privilege_tries_makes_it_somebody_else() -> Result<()> {
    recorded_as_it_was("attempts")
}

#[test]
fn a_connection_is_its_makers_whoever_uses_it() -> Result<()> {
    recorded_as_it_was("connections")
}

#[test]
fn a_process_id_that_is_used_again_brings_nothing_with_it() -> Result<()> {
    recorded_as_it_was("process_ids")
}

#[test]
fn a_container_is_whose_process_started_it() -> Result<()> {
    recorded_as_it_was("containers")
}

#[test]
fn an_agents_run_counts_before_a_workload_before_a_login() -> Result<()> {
    recorded_as_it_was("order")
}

#[test]
fn doors_to_the_host_lead_into_sessions_of_their_own() -> Result<()> {
    as_it_was(&Program::python("host_logins.py"))
}

fn recorded_as_it_was(part: &str) -> Result<()> {
    as_it_was(&Program::python("isolation.py").argument(part))
}

/// Runs a program of `drivers/` and compares each session with what was recorded of it.
fn as_it_was(program: &Program) -> Result<()> {
    let lab = Lab::start(&LabOptions {
        policy: Some(place::project().join("policies/permit-all")),
        // Here a connection that is passed on shows whose it was; that others write on it is another suite's subject,
        // and not every kernel tells.
        settings: vec![("capture.watch_writers".into(), "off".into())],
        ..LabOptions::default()
    })?;
    fs::create_dir_all(lab.cgroup().join("delegated")).context("cannot make a cgroup")?;
    let mut command = program.governed(&lab, Identity::Nobody);
    command
        .env("ISOLATION_CGROUP", lab.cgroup())
        .env("ISOLATION_PSQL", lab.postgres().programs().client("psql"));
    let ran = verdicts::run(command)?;
    let recorded = by_session_name(&lab)?;
    let mut differences = String::new();
    for verdict in &ran {
        if !verdict.ok {
            let _ = writeln!(differences, "{}: failed, saw {}", verdict.case, verdict.got);
        } else if verdict.got.get("principal").is_some() {
            let kept = recorded.get(&verdict.case).unwrap_or(&Value::Null);
            if *kept != verdict.got {
                let _ = writeln!(
                    differences,
                    "{}: recorded {kept}, was {}",
                    verdict.case, verdict.got
                );
            }
        }
    }
    ensure!(!ran.is_empty(), "{program:?} tried nothing");
    ensure!(differences.is_empty(), "\n{differences}");
    Ok(())
}

/// Who each session was, by its name.
fn by_session_name(lab: &Lab) -> Result<BTreeMap<String, Value>> {
    let rows = lab.agent().json(&[
        "audit",
        "query",
        "--format",
        "json",
        "select application_name as name, principal, actor, uid from sessions where requests > 0 or closed is null",
    ])?;
    let mut named = BTreeMap::new();
    for row in rows.as_array().context("the query printed no list")? {
        if let Some(name) = row["name"].as_str() {
            let who = json!({
                "principal": row["principal"],
                "actor": row["actor"],
                "uid": row["uid"],
            });
            named.insert(name.to_owned(), who);
        }
    }
    Ok(named)
}
