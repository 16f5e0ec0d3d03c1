//! AI agents: whose word they act by, for whom, and how much.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Output;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tests::{Identity, Lab, LabOptions};
use toml::Table;

use super::provider::Provider;
use super::{errors, lab, rows, sessions, words};

#[test]
fn an_agent_acts_by_its_issuers_word_or_by_a_record_of_this_host() -> Result<()> {
    let delegating = Delegating::start()?;
    let (lab, provider) = (&delegating.lab, &delegating.provider);
    for (agent, delegation, exchanges) in [
        ("exchanged", "exchange", 1),
        ("asserted", "id-jag", 2),
        ("joined", "local", 2),
    ] {
        let ran = delegating.run(agent, agent)?;
        ensure!(ran.status.success(), "{agent}: {}", errors(&ran));
        let recorded = sessions(lab, agent)?;
        let expected = json!({
            "principal": "bob", "principal_kind": "agent", "actor": "churn-bot", "method": "exec", "strength": "strong",
        });
        ensure!(recorded == [expected], "{agent}: {recorded:?}");
        let exchanged = provider.exchanges()?;
        ensure!(exchanged.len() == exchanges, "{agent}: {exchanged:?}");
        let record = delegations(lab)?
            .pop()
            .context("no record of the delegation")?;
        ensure!(
            record["delegation"] == delegation
                && record["identity"]["principal"]["subject"] == "bob"
                && record["identity"]["actors"][0]["subject"] == "churn-bot"
                && record["identity"]["purpose"] == "a test"
                && words(&record["subject_fingerprint"]).len() == 64
                && words(&record["actor_fingerprint"]).len() == 64,
            "{record}"
        );
    }
    let token = fs::read_to_string(&delegating.bob).context("no token")?;
    ensure!(
        !lab.agent().log().contains(token.trim()),
        "a token was logged"
    );
    // Nobody's word but the chain's own joins the two in a local record.
    let verified = lab
        .weir(&["audit", "verify"])
        .output()
        .context("no verify")?;
    ensure!(verified.status.success(), "{}", errors(&verified));

    // An agent of an agent: the issuer is told of both.
    let weir = lab.agent().program().display().to_string();
    let nested = delegating.as_bob(&[
        "exec",
        "--agent",
        "exchanged",
        "--",
        &weir,
        "exec",
        "--agent",
        "exchanged",
        "--",
        &delegating.psql,
        "-Xqc",
        "select 1",
        "application_name=nested",
    ])?;
    ensure!(nested.status.success(), "{}", errors(&nested));
    let recorded = sessions(lab, "nested")?;
    ensure!(
        recorded[0]["actor"] == "churn-bot > churn-bot",
        "{recorded:?}"
    );
    Ok(())
}

#[test]
fn nothing_is_taken_from_an_issuer_that_it_was_not_asked_for() -> Result<()> {
    let delegating = Delegating::start()?;
    let (lab, provider) = (&delegating.lab, &delegating.provider);
    for (agent, change) in [
        ("exchanged", json!({"claims": {"sub": "alice"}})),
        (
            "exchanged",
            json!({"claims": {"act": {"sub": "another-bot"}}}),
        ),
        ("exchanged", json!({"claims": {"act": null}})),
        (
            "exchanged",
            json!({"claims": {"act": {"sub": "churn-bot", "act": {"sub": "another-bot"}}}}),
        ),
        ("exchanged", json!({"claims": {"aud": "elsewhere"}})),
        ("exchanged", json!({"claims": {"exp": 1}})),
        ("exchanged", json!({"typ": "oauth-id-jag+jwt"})),
        (
            "exchanged",
            json!({"type": "urn:ietf:params:oauth:token-type:refresh_token"}),
        ),
        ("asserted", json!({"claims": {"client_id": "another-bot"}})),
        ("asserted", json!({"claims": {"sub": "alice"}})),
        (
            "asserted",
            json!({"claims": {"act": {"sub": "another-bot"}}}),
        ),
        ("asserted", json!({"typ": "at+jwt"})),
    ] {
        provider.change(&change)?;
        let refused = delegating.run(agent, "hostile")?;
        ensure!(
            !refused.status.success() && sessions(lab, "hostile")?.is_empty(),
            "{agent} {change} was taken: {refused:?}"
        );
    }
    provider.change(&json!({}))?;
    ensure!(
        delegations(lab)?.is_empty(),
        "a refused delegation was recorded"
    );
    // A person of the development issuer, whose token the provider has no reason to believe.
    let foreign = lab
        .command(Identity::Alice, lab.agent().program())
        .args(["exec", "--agent", "exchanged", "--", "true"])
        .output()
        .context("cannot run weir")?;
    ensure!(
        errors(&foreign).contains("does not let the agent act"),
        "{}",
        errors(&foreign)
    );
    let unknown = delegating.run("nobody-knows", "unknown")?;
    ensure!(!unknown.status.success(), "{unknown:?}");
    let honest = delegating.run("exchanged", "honest")?;
    ensure!(honest.status.success(), "{}", errors(&honest));
    Ok(())
}

#[test]
fn a_runs_budget_counts_over_its_connections_and_those_it_starts() -> Result<()> {
    let lab = lab(Vec::new())?;
    let psql = lab
        .postgres()
        .programs()
        .client("psql")
        .display()
        .to_string();
    let weir = lab.agent().program().display().to_string();
    let read = |rows: u32| {
        format!("{psql} -XqAt -v ON_ERROR_STOP=1 -c 'select generate_series(1, {rows})'")
    };
    let run = |budget: &str, script: &str| -> Result<Output> {
        lab.command(Identity::Bob, &weir)
            .args([
                "exec",
                "--agent",
                "churn-bot",
                "--budget",
                budget,
                "--",
                "sh",
                "-c",
                script,
            ])
            .output()
            .context("cannot run the agent")
    };
    let count = |output: &Output| String::from_utf8_lossy(&output.stdout).lines().count();

    let within = run("rows=25", &format!("{0} && {0}", read(10)))?;
    ensure!(
        within.status.success() && count(&within) == 20,
        "{}",
        errors(&within)
    );
    let across = run("rows=25", &format!("{0} && {0} && {0}", read(10)))?;
    ensure!(
        !across.status.success() && count(&across) <= 25,
        "{across:?}"
    );
    ensure!(errors(&across).contains("budget"), "{}", errors(&across));
    let after = run("rows=20", &format!("{} && {}", read(20), read(1)))?;
    ensure!(
        errors(&after).contains("the budget of 20 rows of this run is used up"),
        "{}",
        errors(&after)
    );
    let at_once = run("rows=15", &format!("{0} & {0} & {0} & wait", read(10)))?;
    ensure!(
        count(&at_once) <= 15 + 3 * CHECKED_EVERY,
        "{} rows",
        count(&at_once)
    );
    let bytes = run("bytes=1kB", &read(1_000))?;
    ensure!(
        !bytes.status.success() && count(&bytes) < 200,
        "{} rows",
        count(&bytes)
    );
    // What an agent starts counts as well, and may have a smaller budget of its own.
    let inner =
        |budget: &str, script: &str| format!("{weir} exec --agent churn-bot {budget} -- {script}");
    let nested = run(
        "rows=15",
        &format!("{} && {}", inner("", &read(10)), inner("", &read(10))),
    )?;
    ensure!(
        !nested.status.success() && count(&nested) <= 15,
        "{nested:?}"
    );
    let smaller = run("rows=15", &inner("--budget rows=5", &read(10)))?;
    ensure!(
        !smaller.status.success() && count(&smaller) <= 5,
        "{smaller:?}"
    );
    // Prepared and declared by name in SQL is run as well.
    let named = format!(
        "{psql} -XqAt -v ON_ERROR_STOP=1 -c 'prepare p as select generate_series(1, 10)' -c 'execute p' -c 'execute p' -c 'execute p'"
    );
    let prepared = run("rows=25", &named)?;
    ensure!(
        !prepared.status.success() && count(&prepared) <= 25,
        "{prepared:?}"
    );
    let none = run("rows=lots", "true")?;
    ensure!(none.status.code() == Some(2), "{none:?}");
    Ok(())
}

#[test]
fn both_the_person_and_each_agent_must_be_allowed() -> Result<()> {
    let pack = tempfile::tempdir().context("cannot make a folder")?;
    fs::set_permissions(pack.path(), fs::Permissions::from_mode(0o755)).context("a mode")?;
    fs::write(
        pack.path().join("rules.yaml"),
        "version: 1\n\
         defaults: { effect: allow, on_opaque: allow, on_audit_failure: allow, mode: enforce }\n\
         rules:\n\
         \x20 - id: agents-change-nothing\n\
         \x20   why: agents only read\n\
         \x20   match: { actor.kind: agent, action: [write] }\n\
         \x20   effect: { deny: agents only read }\n",
    )
    .context("cannot write the rules")?;
    let lab = Lab::start(&LabOptions {
        policy: Some(pack.path().to_path_buf()),
        ..LabOptions::default()
    })?;
    let psql = lab
        .postgres()
        .programs()
        .client("psql")
        .display()
        .to_string();
    let weir = lab.agent().program().display().to_string();
    let write = [
        psql.as_str(),
        "-Xqc",
        "update orders set id = id where id = 1",
    ];
    let exec = [weir.as_str(), "exec", "--agent", "churn-bot", "--"];
    for (through, allowed) in [(0, true), (1, false), (2, false)] {
        let mut words: Vec<&str> = exec.repeat(through);
        words.extend(write);
        let output = lab
            .command(Identity::Bob, words[0])
            .args(&words[1..])
            .output()
            .context("cannot run psql")?;
        ensure!(
            output.status.success() == allowed,
            "through {through} agents: {}",
            errors(&output)
        );
    }
    Ok(())
}

/// Rows that may pass before a count is looked at again.
const CHECKED_EVERY: usize = 10;

/// A lab with one agent for each way to act, and a person's token.
struct Delegating {
    lab: Lab,
    provider: Provider,
    bob: PathBuf,
    psql: String,
}

impl Delegating {
    fn start() -> Result<Self> {
        let provider = Provider::start()?;
        let mut sections = vec![provider.section()];
        for (name, delegation) in [
            ("exchanged", "exchange"),
            ("asserted", "id-jag"),
            ("joined", "local"),
        ] {
            let mut entry = Table::new();
            entry.insert("name".into(), name.into());
            entry.insert("delegation".into(), delegation.into());
            entry.insert("client".into(), provider.client("churn-bot").into());
            sections.push(("ai_agent".to_owned(), entry));
        }
        let lab = lab(sections)?;
        Ok(Self {
            bob: provider.token_file("bob.jwt", &json!({"sub": "bob"}))?,
            psql: lab
                .postgres()
                .programs()
                .client("psql")
                .display()
                .to_string(),
            lab,
            provider,
        })
    }

    /// A command of weir, as a person who has logged in with that token.
    fn as_bob(&self, arguments: &[&str]) -> Result<Output> {
        let weir = self.lab.agent().program();
        self.lab
            .command(Identity::Nobody, weir)
            .args(["login", "--scope", "tree", "--token-file"])
            .arg(&self.bob)
            .arg("--")
            .arg(weir)
            .args(arguments)
            .output()
            .context("cannot run weir")
    }

    /// One statement of an agent's; the session has that name.
    fn run(&self, agent: &str, name: &str) -> Result<Output> {
        let name = format!("application_name={name}");
        let exec = ["exec", "--agent", agent, "--purpose", "a test", "--"];
        let psql = [self.psql.as_str(), "-Xqc", "select 1", &name];
        self.as_bob(&[&exec[..], &psql].concat())
    }
}

fn delegations(lab: &Lab) -> Result<Vec<Value>> {
    let events = rows(
        lab,
        "select body from events where event = 'delegation' order by seq",
    )?;
    events
        .iter()
        .map(|row| match &row["body"] {
            Value::String(text) => serde_json::from_str(text).context("an event is not JSON"),
            body => Ok(body.clone()),
        })
        .collect()
}
