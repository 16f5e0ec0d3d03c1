//! Nothing of a literal, a bound or masked value, a password or a token is in anything that weir writes: journal, packed or
//! not, index with its free pages, log, exports, webhooks, reports, measurements.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use memchr::memmem;
use serde_json::json;
use tests::governed::Governed;
use tests::oidc::Session;
use tests::verdicts::{self, Program};
use tests::{Identity, Lab, LabOptions, OidcProvider, Places};

use super::collector::Collector;

/// What the words are for; each is sent in a way of its own.
const WORDS: [&str; 40] = [
    "literal",
    "escaped",
    "unicode",
    "dollar",
    "number",
    "interval",
    "filter",
    "copied",
    "inserted",
    "written",
    "updated",
    "merged",
    "refused",
    "cast",
    "syntax",
    "unterminated",
    "setting",
    "multi",
    "prepared",
    "executed",
    "explained",
    "notified",
    "comment",
    "role",
    "default",
    "view",
    "body",
    "raised",
    "program",
    "label",
    "xml",
    "declared",
    "bound",
    "bound_filter",
    "bound_written",
    "bound_cast",
    "parsed",
    "streamed",
    "held",
    "option",
];
/// Those that are kept in the database or let somebody into it.
const KEPT: [&str; 4] = ["masked", "password", "wrong_password", "scram"];

#[test]
fn nothing_secret_is_in_anything_that_weir_writes() -> Result<()> {
    let folder = tempfile::tempdir().context("no folder")?;
    let provider = OidcProvider::start(folder.path())?;
    provider.account(
        "carol",
        &json!({ "preferred_username": "carol", "groups": ["analyst"] }),
    )?;
    let collector = Collector::start()?;
    let words = words();
    let mut secrets: Vec<String> = words.values().cloned().collect();
    let mut governed = start(folder.path(), &provider, &collector)?;
    fill(governed.lab(), &words)?;
    let mut places = Places::default();
    for (identity, sees) in [(Identity::Bob, "masked"), (Identity::Alice, "clear")] {
        let program = Program::python("../evidence/secrets.py")
            .argument(&json!(words).to_string())
            .argument(sees);
        let said = verdicts::run(program.governed(governed.lab(), identity))?;
        verdicts::all_well(&said).with_context(|| format!("{identity:?}"))?;
        for command in said.iter().filter(|it| it.case == "printed") {
            places.add("a command", command.got.to_string());
        }
    }
    ensure!(
        places.some_holds("a command", ""),
        "what commands print is not looked through"
    );
    secrets.extend(log_in(governed.lab(), &provider)?);
    let token = fs::read_to_string(governed.lab().folder().join("svc-billing.token"))?;
    secrets.push(token.trim().to_owned());
    secrets.extend([METRICS, HOOK_KEY, EXPORT].map(str::to_owned));
    fill_a_segment(governed.lab())?;

    ask(governed.lab(), &mut places)?;
    governed.lab_mut().agent_mut().stop()?;
    read(governed.lab(), folder.path(), &mut places)?;
    report(governed.lab(), &mut places)?;
    let mut told = collector.got();
    ensure!(
        memmem::find(&told, HOOK_PATH.as_bytes()).is_some(),
        "the webhook is not told"
    );
    // What lets weir in goes there, and nowhere else.
    for own in [EXPORT, HOOK_PATH] {
        told = String::from_utf8_lossy(&told).replace(own, "").into_bytes();
    }
    places.add("what goes elsewhere", told);
    places.hold_none_of(secrets.iter().map(String::as_str))
}

const METRICS: &str = "qzxmeasurer8213";
const EXPORT: &str = "qzxexporter8213";
const HOOK_PATH: &str = "/qzxhook8213";
/// The base64 of a key.
const HOOK_KEY: &str = "cXp4LXNpZ25lci1vZi10aGUtd2ViaG9vay04MjEz";

/// A word for each purpose, unlike anything else. What is a number has to be one.
fn words() -> BTreeMap<String, String> {
    let named = WORDS.iter().chain(&KEPT).enumerate();
    named
        .map(|(at, name)| {
            let word = match *name {
                "number" => "8213746509182736".to_owned(),
                name => format!("qzx{}w{at}vkj", name.replace('_', "")),
            };
            ((*name).to_owned(), word)
        })
        .collect()
}

fn start(folder: &Path, provider: &OidcProvider, collector: &Collector) -> Result<Governed> {
    let private = |name: &str, text: &str| -> Result<String> {
        let file = folder.join(name);
        fs::write(&file, format!("{text}\n"))?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600))?;
        Ok(file.display().to_string())
    };
    let metrics = private("metrics.token", METRICS)?;
    let hook = private("webhook.key", &format!("whsec_{HOOK_KEY}"))?;
    let export = private("export.token", EXPORT)?;
    let settings: toml::Table = toml::from_str(&format!(
        "export = [\n\
         {{ name = \"ocsf\", form = \"ocsf\", to = \"file://{ocsf}\" }},\n\
         {{ name = \"syslog\", form = \"syslog\", to = \"file://{syslog}\" }},\n\
         {{ name = \"otlp\", form = \"otlp\", to = {otlp:?}, token_file = {export:?} }} ]\n\
         admin = {{ socket = \"web.sock\", metrics_token_file = {metrics:?} }}\n\
         webhook = [{{ name = \"ops\", url = {url:?}, form = \"json\", secret_file = {hook:?} }}]\n",
        ocsf = folder.join("ocsf.jsonl").display(),
        syslog = folder.join("syslog.log").display(),
        otlp = collector.url("/v1/logs"),
        url = collector.url(HOOK_PATH),
    ))?;
    let mut settings: Vec<(String, toml::Value)> = settings.into_iter().collect();
    settings.push(("audit.segment_mib".into(), 1.into()));
    let issuer: toml::Table = toml::from_str(&format!(
        "issuer = {:?}\nclient_id = \"weir\"\nscopes = [\"openid\", \"profile\", \"groups\", \"offline_access\"]\n\
         accounts = {{ root = \"carol\" }}\nprobe_seconds = 1",
        provider.issuer()
    ))?;
    let classes = BTreeMap::from([("public.marker_people.ssn".to_owned(), "pii.ssn".to_owned())]);
    let access = |user: &str, method: &str| format!("host all {user} all {method}");
    Governed::start_with(
        &classes,
        WAITS,
        LabOptions {
            settings,
            sections: vec![("issuer".into(), issuer)],
            server_access: vec![
                access("marker_clear", "password"),
                access("marker_scram", "scram-sha-256"),
            ],
            log: Some("debug,weir=trace".to_owned()),
            ..LabOptions::default()
        },
    )
}

const WAITS: &str = "  - id: deletes-wait
    why: somebody else has to look
    match: { kind: [delete], relation: [\"public.marker_waits\"] }
    effect: { approve: { groups: [dba], quorum: 1, ttl: 60s } }
";

fn fill(lab: &Lab, words: &BTreeMap<String, String>) -> Result<()> {
    lab.admin(&format!(
        "create table marker_people (id int primary key, code text unique not null, ssn text);
         insert into marker_people values (1, 'a', '{}');
         create table marker_waits (note text); insert into marker_waits values ('{}');
         create role marker_clear login password '{}'; create role marker_scram login password '{}'; create role marker_role;
         grant select on marker_people to marker_clear, marker_scram",
        words["masked"], words["held"], words["password"], words["scram"]
    ))
    .map(drop)
}

/// A person logs in at a real provider; all tokens that were given for it.
fn log_in(lab: &Lab, provider: &OidcProvider) -> Result<Vec<String>> {
    let mut session = Session::begin(lab, 0)?;
    let begun = session.ask(&json!({ "op": "login_begin" }))?;
    let url = begun["ok"]["prompt"]["url_complete"].as_str();
    provider.visit(url.with_context(|| format!("no prompt: {begun}"))?, "carol")?;
    let bound = session.wait_for_login()?;
    ensure!(
        bound["ok"]["bound"].is_object(),
        "nobody is logged in: {bound}"
    );
    let psql = lab
        .postgres()
        .programs()
        .client("psql")
        .display()
        .to_string();
    let ran = session.run(&[&psql, "--no-psqlrc", "-c", "select id from marker_people"])?;
    ensure!(ran.status == 0, "{ran:?}");
    let tokens = provider.issued()?;
    ensure!(tokens.len() >= 3, "{} tokens", tokens.len());
    Ok(tokens)
}

/// Works until a segment is full and packed.
fn fill_a_segment(lab: &Lab) -> Result<()> {
    let file = lab.folder().join("much.sql");
    fs::write(&file, "select id from marker_people;\n".repeat(9_000))?;
    let psql = lab.postgres().programs().client("psql");
    let output = lab
        .command(Identity::Bob, psql)
        .args(["--no-psqlrc", "--quiet", "--output", "/dev/null", "--file"])
        .arg(&file)
        .output()?;
    ensure!(output.status.success(), "{output:?}");
    super::wait("no segment is packed", || {
        Ok(!packed(&lab.agent().state_folder())?.is_empty())
    })
}

/// The packed segments, unpacked.
fn packed(state: &Path) -> Result<Vec<Vec<u8>>> {
    let mut journal = Places::default();
    journal.add_folder(&state.join("journal"))?;
    let packed = journal.named(".zst");
    packed
        .map(|bytes| zstd::decode_all(bytes).context("a packed segment cannot be unpacked"))
        .collect()
}

/// What a running agent answers, once everything has gone elsewhere that is to go.
fn ask(lab: &Lab, places: &mut Places) -> Result<()> {
    super::wait("exports lag behind", || {
        let status = lab.agent().status()?;
        let sinks = status["exports"].as_array().context("no exports")?;
        Ok(sinks.len() == 3 && sinks.iter().all(|sink| sink["lag"] == 0))
    })?;
    let socket = lab.folder().join("web.sock");
    let mut measured = Command::new("curl");
    measured
        .args(["--silent", "--fail", "--unix-socket"])
        .arg(&socket);
    measured.arg("http://localhost/metrics");
    let commands = [
        ("metrics", measured),
        ("status", lab.weir(&["status", "--json"])),
        ("status", lab.weir(&["status"])),
        ("sessions", lab.weir(&["sessions", "list", "--json"])),
        ("approvals", lab.weir(&["approvals", "list", "--json"])),
    ];
    for (name, mut command) in commands {
        let output = command
            .output()
            .with_context(|| format!("cannot run {command:?}"))?;
        ensure!(output.status.success(), "{name}: {output:?}");
        places.add(name, output.stdout);
    }
    let metrics = places.named("metrics").next().unwrap_or_default();
    let metrics = String::from_utf8_lossy(metrics);
    for line in [
        "# TYPE weir_decision_seconds histogram",
        "# TYPE weir_journal_sync_seconds histogram",
        "weir_approval_wait_seconds_count 1",
        "weir_export_refused_total{sink=",
    ] {
        ensure!(metrics.contains(line), "no {line:?} in {metrics}");
    }
    let count = |name: &str| {
        let line = metrics.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.trim().parse::<u64>().ok())
    };
    let (timed, requests) = (
        count("weir_decision_seconds_count "),
        count("weir_requests_total "),
    );
    ensure!(
        timed > requests.map(|all| all / 16) && timed < requests.map(|all| all / 4),
        "{timed:?} of {requests:?} requests are timed"
    );
    let latency = lab.agent().status()?["latency"].clone();
    ensure!(
        latency["decision"]["p99_us"].as_u64() >= latency["decision"]["p50_us"].as_u64()
            && latency["decision"]["p50_us"].as_u64() > Some(0)
            && latency["approval_wait"]["timed"] == 1,
        "{latency}"
    );
    Ok(())
}

/// Every file that the agent keeps or writes; packed segments as they are and unpacked.
fn read(lab: &Lab, folder: &Path, places: &mut Places) -> Result<()> {
    let agent = lab.agent();
    places.append(Places::written_by(agent)?);
    for bytes in packed(&agent.state_folder())? {
        places.add("a packed segment", bytes);
    }
    for name in ["ocsf.jsonl", "syslog.log"] {
        places.add(name, fs::read(folder.join(name))?);
    }
    for marked in [
        "audit.db",
        "ocsf.jsonl",
        "syslog.log",
        "a packed segment",
        ".segment",
    ] {
        ensure!(
            places.some_holds(marked, "marker_people"),
            "nothing of {marked} is looked through"
        );
    }
    ensure!(places.some_holds("the log", "DEBUG"), "the log is short");
    Ok(())
}

/// Everything that auditors can ask for.
fn report(lab: &Lab, places: &mut Places) -> Result<()> {
    let state = lab.agent().state_folder().display().to_string();
    let mut questions: Vec<Vec<String>> = Vec::new();
    for report in super::REPORTS {
        for format in ["table", "json", "csv", "html"] {
            questions.push(
                ["report", report, "--format", format]
                    .map(str::to_owned)
                    .into(),
            );
        }
    }
    questions.push(
        ["report", "access", "--class", "pii", "--format", "json"]
            .map(str::to_owned)
            .into(),
    );
    questions.push(
        ["audit", "tail", "--json", "-n", "10000000"]
            .map(str::to_owned)
            .into(),
    );
    for view in [
        "usage_view",
        "sessions",
        "statements",
        "relations",
        "columns",
        "classes",
        "activity_view",
        "events",
        "bindings",
        "evidence",
        "proofs",
        "approvals",
    ] {
        let sql = format!("select * from {view}");
        questions.push(
            ["audit", "query", "--format", "json", &sql]
                .map(str::to_owned)
                .into(),
        );
    }
    for question in questions {
        let mut command = lab.weir(&question.iter().map(String::as_str).collect::<Vec<_>>());
        let output = command.args(["--state-dir", &state]).output();
        let output = output.context("cannot run weir")?;
        ensure!(
            output.status.success() && !output.stdout.is_empty(),
            "{question:?}: {output:?}"
        );
        places.add(question.join(" "), output.stdout);
    }
    Ok(())
}
