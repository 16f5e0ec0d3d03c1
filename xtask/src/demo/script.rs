//! What the demonstration shows.

use std::process::Command;

use anyhow::Result;
use harness::{Identity, Lab};

use super::act::{Session, Stage};

/// Plays everything and returns how many things did not go as told.
pub(super) fn play(stage: &Stage, lab: &mut Lab) -> Result<u32> {
    let mut surprises = 0;
    for session in SESSIONS {
        surprises += u32::from(!stage.play(lab, session)?);
    }
    surprises += u32::from(!usage(stage, lab)?);
    surprises += u32::from(!verify(stage, lab)?);
    surprises += u32::from(!agent_killed(stage, lab)?);
    Ok(surprises)
}

const SESSIONS: &[Session] = &[
    Session {
        title: "alice, a database administrator, works as ever",
        why: "She signed in once with `weir login`; every process below her session is hers. DDL is for the group dba.",
        identity: Identity::Alice,
        statements: &[
            "SELECT region, count(*) FROM customers GROUP BY region ORDER BY region;",
            "CREATE TABLE scratch (id integer);",
            "DROP TABLE scratch;",
        ],
        expected: &["north", "(4 rows)", "CREATE TABLE", "DROP TABLE"],
        truth: None,
    },
    Session {
        title: "bob, an analyst, may read but not drop a table",
        why: "The DROP never reaches the server. The session goes on: the next statement on the same connection works.",
        identity: Identity::Bob,
        statements: &[
            "SELECT status, count(*) FROM orders GROUP BY status ORDER BY status;",
            "DROP TABLE orders;",
            "SELECT count(*) AS still_there FROM orders;",
        ],
        expected: &["(4 rows)", "ERROR:", "still_there", "1000"],
        truth: Some(("SELECT count(*) FROM orders", "1000")),
    },
    Session {
        title: "bob forgets the WHERE, inside a transaction",
        why: "A DELETE of everything is refused for everyone. The server's own transaction state stays right.",
        identity: Identity::Bob,
        statements: &[
            "BEGIN;",
            "DELETE FROM orders;",
            "ROLLBACK;",
            "SELECT count(*) AS still_there FROM orders;",
        ],
        expected: &["BEGIN", "ERROR:", "ROLLBACK", "1000"],
        truth: Some(("SELECT count(*) FROM orders", "1000")),
    },
    Session {
        title: "churn-bot, an AI agent, runs on bob's behalf",
        why: "Started by `weir exec --agent churn-bot`: its rights are those that both have, and the record names both.",
        identity: Identity::ChurnBot,
        statements: &[
            "SELECT region, revenue FROM revenue ORDER BY region;",
            "DROP TABLE customers;",
            "SELECT 'alive' AS session;",
        ],
        expected: &["north", "ERROR:", "alive"],
        truth: Some(("SELECT count(*) FROM customers", "200")),
    },
    Session {
        title: "a process that nobody vouches for",
        why: "Same machine, same program, the same database password: refused, because no identity stands behind it.",
        identity: Identity::Nobody,
        statements: &["SELECT ssn FROM customers LIMIT 1;"],
        expected: &["FATAL:"],
        truth: None,
    },
];

fn usage(stage: &Stage, lab: &Lab) -> Result<bool> {
    stage.title(
        "What an auditor sees: who used the database, with which program",
        "Counted from the journal, which had each statement before the server did.",
    );
    let (as_told, _) = stage.show(
        "weir report usage",
        &mut lab.weir(&["report", "usage"]),
        &["psql"],
    )?;
    let report = lab
        .agent()
        .json(&["report", "usage", "--format", "json"])?
        .to_string();
    let absent: Vec<String> = ["alice", "bob", "churn-bot", "psql"]
        .into_iter()
        .filter(|name| !report.contains(name))
        .map(|name| format!("the usage report does not name {name}"))
        .collect();
    Ok(absent.is_empty() || stage.judge(&absent)).map(|named| named && as_told)
}

fn verify(stage: &Stage, lab: &Lab) -> Result<bool> {
    stage.title(
        "The record proves that nobody changed it",
        "Every block of the journal is hashed over the one before and signed; any change, gap or reordering is found.",
    );
    let mut command = lab.weir(&["audit", "verify", "--state-dir"]);
    command.arg(lab.agent().state_folder());
    let (as_told, _) = stage.show("weir audit verify", &mut command, &[])?;
    Ok(as_told)
}

fn agent_killed(stage: &Stage, lab: &mut Lab) -> Result<bool> {
    stage.title(
        "The agent is killed: the kernel keeps the door shut",
        "kill -9. Programs and maps stay pinned, so a connection is refused rather than let past unseen.",
    );
    lab.agent_mut().kill()?;
    let mut complaints = Vec::new();
    let mut attempt: Command = lab.command(Identity::Nobody, "psql");
    let output = attempt.args(["-X", "-w", "-c", "SELECT 1"]).output()?;
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    println!(
        "  $ psql -c 'SELECT 1'\n  │ {}",
        words.trim_end().replace('\n', "\n  │ ")
    );
    if output.status.success() {
        complaints.push("a client got through without the agent".to_owned());
    }
    lab.agent_mut().resume()?;
    let mut again = lab.command(Identity::Alice, "psql");
    let output = again
        .args(["-X", "-w", "-A", "-t", "-c", "SELECT 'governed again'"])
        .output()?;
    println!(
        "  started again, alice:\n  │ {}",
        String::from_utf8_lossy(&output.stdout).trim_end()
    );
    if !output.status.success() {
        complaints.push(format!(
            "after a restart alice was refused: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        ));
    }
    Ok(stage.judge(&complaints))
}
