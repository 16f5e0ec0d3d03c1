//! Services and AI agents: which processes an entry means, what proves it, and what an agent may do for whom.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tests::{Identity, Lab, LabOptions, place};
use toml::Table;

use provider::Provider;

#[path = "workloads/provider.rs"]
mod provider;

#[test]
fn entries_mean_what_root_has_put_there_and_nothing_that_looks_like_it() -> Result<()> {
    let tools = tempfile::tempdir().context("cannot make a folder")?;
    fs::set_permissions(tools.path(), fs::Permissions::from_mode(0o755)).context("a mode")?;
    let hashed = tools.path().join("hashed-copy");
    let loose = tools.path().join("loose-copy");
    for copy in [&hashed, &loose] {
        fs::copy("/bin/sleep", copy).context("cannot copy a program")?;
    }
    let lab = lab(vec![
        workload(
            "late",
            &[
                ("cgroup", "/*/late".into()),
                ("exe_sha256", sha256(&hashed)?.into()),
            ],
        ),
        workload("one", &[("cgroup", "/*/double".into())]),
        workload("two", &[("cgroup", "/*/doub*".into()), ("uid", 0.into())]),
        workload("unit", &[("systemd_unit", "billing@*.service".into())]),
        workload("deep", &[("cgroup", "/*/users/*/billing".into())]),
        workload(
            "weak",
            &[
                ("exe", loose.display().to_string().into()),
                ("weak", true.into()),
            ],
        ),
    ])?;

    // The program's hash is worked out beside the connection that first needs it: that one is refused.
    let late = Place::below(&lab, "late")?;
    let first = late.whois(&lab, &hashed)?;
    ensure!(
        first["binding"].is_null() && words(&first["absence"]).contains("being found out"),
        "the first look: {first}"
    );
    until("the hash is known", || {
        let who = late.whois(&lab, &hashed)?;
        Ok((name_of(&who) == "svc-billing").then_some(()))
    })?;

    let sleep = Path::new("/bin/sleep");
    // Two entries, one process: nobody, and no connection whatever the rules allow.
    let double = Place::below(&lab, "double")?;
    let refused = double.psql(&lab, "double")?;
    ensure!(
        !refused.status.success() && errors(&refused).contains("several workload entries"),
        "{refused:?}"
    );
    let doctor = lab.weir(&["doctor"]).output().context("no doctor")?;
    for said in [
        words(&lab.agent().status()?["identity_problems"]),
        String::from_utf8_lossy(&doctor.stdout).into_owned(),
    ] {
        ensure!(said.contains("workloads one and two mean"), "{said}");
    }

    let unit = Place::below(&lab, "system.slice/billing@1.service/worker")?;
    ensure!(name_of(&unit.whois(&lab, sleep)?) == "svc-billing");
    let program = Place::below(&lab, "elsewhere")?;
    let weak = program.whois(&lab, &loose)?;
    ensure!(weak["binding"]["identity"]["strength"] == "weak", "{weak}");
    ensure!(name_of(&program.whois(&lab, sleep)?) == "unidentified");

    // What a user builds below a cgroup of its own is not what root would have built there.
    let deep = Place::below(&lab, "users/mallory/billing")?;
    ensure!(name_of(&deep.whois(&lab, sleep)?) == "svc-billing");
    let own = lab.cgroup().join("users/mallory");
    for file in [own.clone(), own.join("cgroup.procs")] {
        chown(&file, Some(65_534), Some(65_534)).context("cannot give a cgroup away")?;
    }
    ensure!(name_of(&deep.whois(&lab, sleep)?) == "unidentified");
    let units = Place::below(&lab, "users/mallory/system.slice/billing@1.service")?;
    ensure!(name_of(&units.whois(&lab, sleep)?) == "unidentified");
    Ok(())
}

#[test]
fn a_client_proves_itself_by_a_signed_assertion_with_each_kind_of_key() -> Result<()> {
    let provider = Provider::start()?;
    let mut sections = vec![provider.section()];
    for client in ["billing-es", "billing-rs", "billing-ed"] {
        let mut entry = Table::new();
        entry.insert("name".into(), client.into());
        entry.insert("cgroup".into(), format!("/*/{client}").into());
        entry.insert("client_credentials".into(), provider.client(client).into());
        entry.insert("subject".into(), client.into());
        sections.push(("workload".to_owned(), entry));
    }
    let lab = lab(sections)?;
    for client in ["billing-es", "billing-rs", "billing-ed"] {
        let place = Place::below(&lab, client)?;
        until("the issuer has given a token", || {
            let who = place.whois(&lab, Path::new("/bin/sleep"))?;
            Ok((name_of(&who) == client).then_some(()))
        })
        .with_context(|| words(&lab.agent().status().unwrap_or_default()["identity_problems"]))?;
        let ran = place.psql(&lab, client)?;
        ensure!(ran.status.success(), "{}", errors(&ran));
        ensure!(
            sessions(&lab, client)?
                == [
                    json!({"principal": client, "principal_kind": "workload", "actor": "", "method": "workload", "strength": "strong"})
                ]
        );
    }
    Ok(())
}

#[test]
fn a_pods_token_counts_for_that_pod_alone() -> Result<()> {
    const RIGHT: &str = "8f1c2b6e-0d4a-4c55-9a53-0d8a0f6f7a11";
    const SWAPPED: &str = "8f1c2b6e-0d4a-4c55-9a53-0d8a0f6f7a12";
    const WITHOUT: &str = "8f1c2b6e-0d4a-4c55-9a53-0d8a0f6f7a13";
    let provider = Provider::start()?;
    let pods = tempfile::tempdir().context("cannot make a folder")?;
    let service = |name: &str| {
        let mut entry = Table::new();
        entry.insert("name".into(), name.into());
        let mut pod = toml::toml! { namespace = "shop" };
        pod.insert("service_account".into(), name.into());
        entry.insert("k8s".into(), pod.into());
        let mut kubernetes = Table::new();
        let template = format!("{}/{{pod_uid}}/volumes/*/token", pods.path().display());
        kubernetes.insert("token_file".into(), template.into());
        entry.insert("kubernetes".into(), kubernetes.into());
        ("workload".to_owned(), entry)
    };
    let lab = lab(vec![provider.section(), service("billing"), service("web")])?;
    let put = |folder: &str, uid: &str| -> Result<()> {
        let volume = pods.path().join(folder).join("volumes/weir");
        fs::create_dir_all(&volume).context("cannot make a volume")?;
        let claims = json!({
            "sub": "system:serviceaccount:shop:billing",
            "kubernetes.io": {
                "namespace": "shop",
                "pod": {"name": "billing-1", "uid": uid},
                "serviceaccount": {"name": "billing", "uid": "x"},
            },
        });
        fs::write(volume.join("token"), provider.sign(&claims, "JWT")?).context("no token")
    };
    put(RIGHT, RIGHT)?;
    put(SWAPPED, RIGHT)?;
    let container = "c".repeat(64);
    let place = |uid: &str| Place::below(&lab, &format!("kubepods/burstable/pod{uid}/{container}"));

    let right = place(RIGHT)?;
    let ran = until("the pod's token is read", || {
        let ran = right.psql(&lab, "right")?;
        let is_looked_at = errors(&ran).contains("being found out");
        Ok((!is_looked_at).then_some(ran))
    })?;
    ensure!(ran.status.success(), "{}", errors(&ran));
    ensure!(
        sessions(&lab, "right")?
            .last()
            .is_some_and(|session| session["principal"] == "system:serviceaccount:shop:billing"),
        "{:?}",
        sessions(&lab, "right")?
    );
    for uid in [SWAPPED, WITHOUT] {
        let other = place(uid)?;
        let who = until("the pod is looked at", || {
            let who = other.whois(&lab, Path::new("/bin/sleep"))?;
            let is_looked_at = words(&who["absence"]).contains("being found out");
            Ok((!is_looked_at).then_some(who))
        })?;
        ensure!(name_of(&who) == "unidentified", "{uid}: {who}");
    }
    let problems = words(&lab.agent().status()?["identity_problems"]);
    ensure!(
        problems.contains(&format!(
            "the token is for pod {RIGHT}, and lies with pod {SWAPPED}"
        )),
        "{problems}"
    );
    // The same name below a cgroup that is not root's.
    let own = lab.cgroup().join("mallory");
    let fake = Place::below(&lab, &format!("mallory/kubepods/pod{RIGHT}/{container}"))?;
    chown(own.join("cgroup.procs"), Some(65_534), None).context("cannot give a cgroup away")?;
    ensure!(name_of(&fake.whois(&lab, Path::new("/bin/sleep"))?) == "unidentified");
    Ok(())
}

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

/// A cgroup that commands run in.
struct Place {
    folder: PathBuf,
}

impl Place {
    fn below(lab: &Lab, name: &str) -> Result<Self> {
        let folder = lab.cgroup().join(name);
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {name}"))?;
        Ok(Self { folder })
    }

    fn command(&self, lab: &Lab, program: &Path) -> Command {
        let mut command = lab.command(Identity::Nobody, "sh");
        command
            .args(["-c", "echo $$ > \"$0\" && exec \"$@\""])
            .arg(self.folder.join("cgroup.procs"))
            .arg(program);
        command
    }

    /// Runs one statement; the session has that name.
    fn psql(&self, lab: &Lab, name: &str) -> Result<Output> {
        self.command(lab, &lab.postgres().programs().client("psql"))
            .args(["-Xqc", "select 1"])
            .arg(format!("application_name={name}"))
            .output()
            .context("cannot run psql")
    }

    /// Who a process is that runs `program`, which has to be a kind of `sleep`.
    fn whois(&self, lab: &Lab, program: &Path) -> Result<Value> {
        let mut child = self
            .command(lab, program)
            .arg("600")
            .spawn()
            .context("cannot run the program")?;
        let pid = child.id().to_string();
        let found = until("the program runs", || {
            let exe = fs::read_link(format!("/proc/{pid}/exe")).context("no process")?;
            Ok((exe == program.canonicalize()?).then_some(()))
        })
        .and_then(|()| {
            // It says by its exit code whether anybody was found.
            let output = lab.weir(&["whois", &pid, "--json"]).output()?;
            serde_json::from_slice(&output.stdout)
                .with_context(|| format!("whois: {}", errors(&output)))
        });
        let _ = child.kill();
        let _ = child.wait();
        found
    }
}

fn lab(sections: Vec<(String, Table)>) -> Result<Lab> {
    Lab::start(&LabOptions {
        policy: Some(place::project().join("policies/permit-all")),
        sections,
        ..LabOptions::default()
    })
}

/// An entry that is proved by the lab's own service's token.
fn workload(name: &str, selectors: &[(&str, toml::Value)]) -> (String, Table) {
    let mut entry = toml::toml! { token_file = "svc-billing.token" };
    entry.insert("name".into(), name.into());
    for (selector, value) in selectors {
        entry.insert((*selector).to_owned(), value.clone());
    }
    ("workload".to_owned(), entry)
}

fn name_of(who: &Value) -> &str {
    who["binding"]["identity"]["principal"]["subject"]
        .as_str()
        .unwrap_or("unidentified")
}

fn sessions(lab: &Lab, name: &str) -> Result<Vec<Value>> {
    let sql = format!(
        "select principal, principal_kind, actor, method, strength from sessions where application_name = '{name}'"
    );
    rows(lab, &sql)
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

fn rows(lab: &Lab, sql: &str) -> Result<Vec<Value>> {
    let rows = lab
        .agent()
        .json(&["audit", "query", "--format", "json", sql])?;
    rows.as_array()
        .cloned()
        .context("the query printed no list")
}

fn sha256(file: &Path) -> Result<String> {
    let output = Command::new("sha256sum")
        .arg(file)
        .output()
        .context("cannot run sha256sum")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let digest = text.split_whitespace().next().context("no digest")?;
    Ok(digest.to_owned())
}

fn words(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Looks again and again, for a minute.
fn until<T>(what: &str, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if Instant::now() > deadline {
            bail!("it did not come to be that {what}");
        }
        thread::sleep(Duration::from_millis(50));
    }
}
