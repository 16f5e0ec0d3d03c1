//! When the log-in behind open connections expires, is renewed or is ended: what runs finishes or stops, what follows is refused
//! or goes on, nothing is committed that should not be, and the records say so without ever holding a token.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tests::verdicts::{self, Program};
use tests::{Identity, Lab, LabOptions};

#[test]
fn an_expired_log_in_lets_what_runs_finish_and_waits_for_a_new_one() -> Result<()> {
    let lab = lab(3_600)?;
    let tokens = all_well(&lab, "waiting")?;
    let renewed = rows(
        &lab,
        "select count(*) as n from events where event = 'session_renewed'",
    )?;
    ensure!(
        renewed[0]["n"].as_u64() >= Some(4),
        "renewals are not recorded: {renewed:?}"
    );
    let several = rows(
        &lab,
        "select session, count(distinct token) as n from bindings group by 1 having n > 1",
    )?;
    ensure!(!several.is_empty(), "no session rests on two tokens");
    nothing_holds(&lab, &tokens)
}

#[test]
fn an_expired_log_in_that_is_not_renewed_ends_its_connections() -> Result<()> {
    let lab = lab(1)?;
    let tokens = all_well(&lab, "lapsing")?;
    ended_with(&lab, "log-in expired")?;
    nothing_holds(&lab, &tokens)
}

#[test]
fn a_log_in_that_is_ended_stops_everything_at_once() -> Result<()> {
    let lab = lab(60)?;
    let tokens = all_well(&lab, "ending")?;
    ended_with(&lab, "log-in ended")?;
    ended_with(&lab, "ended by an administrator")?;
    let orders = rows(
        &lab,
        "select body ->> '$.administrator.principal.subject' as who, body ->> '$.reason' as why, \
         body ->> '$.evidence.exe_path' as exe, s.principal, s.close_reason \
         from events join sessions s on s.session = body ->> '$.session' where event = 'session_ended' order by seq",
    )?;
    ensure!(
        orders.len() == 2
            && orders[0]["why"] == "idle in a transaction"
            && orders[1]["why"] == "runs too long",
        "orders to end sessions: {orders:?}"
    );
    for order in &orders {
        ensure!(
            order["who"] == "bob"
                && order["principal"] == "bob"
                && order["close_reason"] == "ended by an administrator"
                && order["exe"]
                    .as_str()
                    .is_some_and(|exe| exe.ends_with("/weir")),
            "{order}"
        );
    }
    let proof = rows(
        &lab,
        "select b.token, b.binding, b.method, b.strength, b.delegation, b.issued, b.not_after, b.last_verified, b.stale, b.actor, \
         e.exe, e.audit_session, e.parents from bindings b join evidence e using (session) where b.principal = 'bob'",
    )?;
    ensure!(!proof.is_empty(), "no session of bob's is recorded");
    for row in &proof {
        for column in [
            "token",
            "binding",
            "method",
            "strength",
            "issued",
            "not_after",
            "last_verified",
            "exe",
            "parents",
        ] {
            ensure!(
                row[column].as_str().is_some_and(|text| !text.is_empty()),
                "no {column}: {row}"
            );
        }
        ensure!(row["stale"] == 0, "{row}");
        if row["actor"] == "" {
            ensure!(
                row["audit_session"].is_number() && row["method"] == "token",
                "{row}"
            );
        } else {
            ensure!(
                row["delegation"] == "local" && row["method"] == "exec",
                "{row}"
            );
        }
    }
    // The programs that this one starts keep their tokens to themselves.
    let named = |row: &Value| {
        let token = row["token"].as_str().unwrap_or_default();
        tokens.fingerprints.iter().any(|known| known == token)
    };
    ensure!(
        proof.iter().filter(|row| named(row)).count() > 3,
        "records name other tokens: {proof:?}"
    );
    nothing_holds(&lab, &tokens)
}

fn lab(grace_seconds: i64) -> Result<Lab> {
    let lab = Lab::start(&LabOptions {
        settings: vec![("agent.login_grace_seconds".to_owned(), grace_seconds.into())],
        ..LabOptions::default()
    })?;
    lab.admin("create table ledger (id int, note text)")?;
    Ok(lab)
}

/// The log-ins that the program made.
struct Tokens {
    signatures: Vec<String>,
    fingerprints: Vec<String>,
}

fn all_well(lab: &Lab, part: &str) -> Result<Tokens> {
    let program = Program::python_with_drivers("revocation.py")?
        .argument(part)
        .argument(lab.issuer().url())
        .patience(std::time::Duration::from_mins(20));
    let mut command = program.governed(lab, Identity::Nobody);
    command.env("PSQL", lab.postgres().programs().client("psql"));
    let mut verdicts = verdicts::run(command)?;
    let tokens = verdicts.pop().context("no verdicts")?;
    ensure!(
        tokens.case == "tokens",
        "the program did not say its tokens"
    );
    for verdict in verdicts
        .iter()
        .filter(|verdict| verdict.ok && !verdict.got.is_null())
    {
        println!("{}: {}", verdict.case, verdict.got);
    }
    verdicts::all_well(&verdicts)?;
    let texts = |name: &str| -> Result<Vec<String>> {
        serde_json::from_value(tokens.got[name].clone()).context("no list of texts")
    };
    Ok(Tokens {
        signatures: texts("signatures")?,
        fingerprints: texts("fingerprints")?,
    })
}

fn rows(lab: &Lab, sql: &str) -> Result<Vec<Value>> {
    let rows = lab
        .agent()
        .json(&["audit", "query", "--format", "json", sql])?;
    Ok(rows
        .as_array()
        .context("the query printed no list")?
        .clone())
}

fn ended_with(lab: &Lab, reason: &str) -> Result<()> {
    let sql = format!("select session from sessions where close_reason = '{reason}'");
    ensure!(
        !rows(lab, &sql)?.is_empty(),
        "no session is recorded to have ended with \"{reason}\""
    );
    Ok(())
}

/// Tokens are nowhere: not in the journal, the store, the bindings that are kept, or the log.
fn nothing_holds(lab: &Lab, tokens: &Tokens) -> Result<()> {
    ensure!(!tokens.signatures.is_empty(), "no log-in was made");
    // What is looked for would be found.
    let record = lab.agent().json(&[
        "audit",
        "query",
        "--format",
        "json",
        "select token from bindings where token is not null limit 1",
    ])?;
    let known = record[0]["token"]
        .as_str()
        .context("no fingerprint is recorded")?;
    let mut seen = 0;
    let mut known_in_journal = false;
    for file in files(&lab.agent().state_folder())? {
        let bytes = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        seen += 1;
        known_in_journal |= holds(&bytes, known.as_bytes());
        for signature in &tokens.signatures {
            if holds(&bytes, signature.as_bytes()) {
                bail!("{} holds a token", file.display());
            }
        }
    }
    ensure!(
        seen > 2 && known_in_journal,
        "only {seen} files were looked through"
    );
    let log = lab.agent().log();
    for signature in &tokens.signatures {
        ensure!(!log.contains(signature.as_str()), "the log holds a token");
    }
    Ok(())
}

fn holds(bytes: &[u8], text: &[u8]) -> bool {
    memchr::memmem::find(bytes, text).is_some()
}

fn files(folder: &Path) -> Result<Vec<std::path::PathBuf>> {
    let mut all = Vec::new();
    for entry in
        fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?
    {
        let path = entry?.path();
        if path.is_dir() {
            all.extend(files(&path)?);
        } else if path.is_file() {
            all.push(path);
        }
    }
    Ok(all)
}
