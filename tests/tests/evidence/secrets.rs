//! Nothing of a literal, a bound or masked value, a password or a token is in anything that weir writes: journal, packed or
//! not, index with its free pages, log, exports, webhooks, reports, measurements.

use std::collections::BTreeMap;
use std::fmt::Write as _;
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
use tests::{Identity, Lab, LabOptions, OidcProvider};

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

/// A secret, and what to call it.
type Secret = (String, String);

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
    let mut secrets: Vec<Secret> = words.clone().into_iter().collect();
    let mut governed = start(folder.path(), &provider, &collector)?;
    fill(governed.lab(), &words)?;
    let mut printed = Vec::new();
    for (identity, sees) in [(Identity::Bob, "masked"), (Identity::Alice, "clear")] {
        let program = Program::python("../evidence/secrets.py")
            .argument(&json!(words).to_string())
            .argument(sees);
        let said = verdicts::run(program.governed(governed.lab(), identity))?;
        verdicts::all_well(&said).with_context(|| format!("{identity:?}"))?;
        let commands = said.iter().filter(|it| it.case == "printed");
        printed
            .extend(commands.map(|it| ("a command".to_owned(), it.got.to_string().into_bytes())));
    }
    ensure!(
        !printed.is_empty(),
        "what commands print is not looked through"
    );
    secrets.extend(log_in(governed.lab(), &provider)?);
    let token = fs::read_to_string(governed.lab().folder().join("svc-billing.token"))?;
    secrets.push(("a service's token".into(), token.trim().to_owned()));
    for (name, key) in [
        ("measurements", METRICS),
        ("the webhook", HOOK_KEY),
        ("the export", EXPORT),
    ] {
        secrets.push((format!("the key of {name}"), key.to_owned()));
    }
    fill_a_segment(governed.lab())?;

    let mut places = printed;
    places.extend(asked(governed.lab())?);
    governed.lab_mut().agent_mut().stop()?;
    places.extend(written(governed.lab(), folder.path())?);
    places.extend(reported(governed.lab())?);
    let mut told = collector.got();
    ensure!(
        memmem::find(&told, HOOK_PATH.as_bytes()).is_some(),
        "the webhook is not told"
    );
    // What lets weir in goes there, and nowhere else.
    for own in [EXPORT, HOOK_PATH] {
        told = String::from_utf8_lossy(&told).replace(own, "").into_bytes();
    }
    places.push(("what goes elsewhere".into(), told));
    look_through(&places, &secrets)
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
fn log_in(lab: &Lab, provider: &OidcProvider) -> Result<Vec<Secret>> {
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
    Ok((tokens.into_iter().enumerate())
        .map(|(at, token)| (format!("token {at} of the provider"), token))
        .collect())
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

fn packed(state: &Path) -> Result<Vec<Vec<u8>>> {
    let files = files(&state.join("journal"))?;
    let packed = files
        .into_iter()
        .filter(|(name, _)| Path::new(name).extension().is_some_and(|it| it == "zst"));
    packed
        .map(|(name, bytes)| zstd::decode_all(&bytes[..]).with_context(|| name))
        .collect()
}

/// What a running agent answers, once everything has gone elsewhere that is to go.
fn asked(lab: &Lab) -> Result<Vec<(String, Vec<u8>)>> {
    super::wait("exports lag behind", || {
        let status = lab.agent().status()?;
        let sinks = status["exports"].as_array().context("no exports")?;
        Ok(sinks.len() == 3 && sinks.iter().all(|sink| sink["lag"] == 0))
    })?;
    let mut answers = Vec::new();
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
        answers.push((name.to_owned(), output.stdout));
    }
    let metrics = String::from_utf8_lossy(&answers[0].1).into_owned();
    for line in [
        "# TYPE weir_decision_seconds histogram",
        "# TYPE weir_journal_sync_seconds histogram",
        "weir_approval_wait_seconds_count 1",
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
    Ok(answers)
}

/// Every file that the agent keeps or writes; packed segments as they are and unpacked.
fn written(lab: &Lab, folder: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let state = lab.agent().state_folder();
    let mut places = files(&state)?;
    let unpacked = packed(&state)?;
    ensure!(!unpacked.is_empty(), "nothing is packed");
    places.extend(
        unpacked
            .into_iter()
            .map(|it| ("a packed segment".to_owned(), it)),
    );
    let log = lab.agent().log();
    ensure!(log.contains("DEBUG"), "the log is short");
    places.push(("the log".into(), log.into_bytes()));
    for name in ["ocsf.jsonl", "syslog.log"] {
        places.push((name.to_owned(), fs::read(folder.join(name))?));
    }
    for marked in [
        "audit.db",
        "ocsf.jsonl",
        "syslog.log",
        "a packed segment",
        ".segment",
    ] {
        let place = places.iter().find(|(name, bytes)| {
            name.ends_with(marked) && memmem::find(bytes, b"marker_people").is_some()
        });
        ensure!(place.is_some(), "nothing of {marked} is looked through");
    }
    Ok(places)
}

fn files(folder: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else if path.is_file() {
            found.push((path.display().to_string(), fs::read(&path)?));
        }
    }
    Ok(found)
}

/// Everything that auditors can ask for.
fn reported(lab: &Lab) -> Result<Vec<(String, Vec<u8>)>> {
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
    questions
        .into_iter()
        .map(|question| {
            let arguments: Vec<&str> = question
                .iter()
                .map(String::as_str)
                .chain(["--state-dir", &state])
                .collect();
            let output = lab.weir(&arguments).output().context("cannot run weir")?;
            ensure!(
                output.status.success() && !output.stdout.is_empty(),
                "{question:?}: {output:?}"
            );
            Ok((question.join(" "), output.stdout))
        })
        .collect()
}

fn look_through(places: &[(String, Vec<u8>)], secrets: &[Secret]) -> Result<()> {
    let mut found = Vec::new();
    for (what, secret) in secrets {
        for (form, spelt) in spellings(secret) {
            let finder = memmem::Finder::new(&spelt);
            for (place, bytes) in places {
                if let Some(at) = finder.find(bytes) {
                    let around =
                        &bytes[at.saturating_sub(150)..(at + spelt.len() + 40).min(bytes.len())];
                    found.push(format!(
                        "{place} tells {what} {form}: …{}…",
                        String::from_utf8_lossy(around)
                    ));
                }
            }
        }
    }
    ensure!(
        found.is_empty(),
        "{} places:\n{}",
        found.len(),
        found.join("\n")
    );
    Ok(())
}

/// A secret as it is, in hexadecimal, and in base64 wherever it begins there.
fn spellings(secret: &str) -> Vec<(&'static str, Vec<u8>)> {
    let bytes = secret.as_bytes();
    let hexadecimal = bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    });
    let mut spellings = vec![
        ("as it is", bytes.to_vec()),
        (
            "in capital hexadecimal",
            hexadecimal.to_uppercase().into_bytes(),
        ),
        ("in hexadecimal", hexadecimal.into_bytes()),
    ];
    for before in 0..3 {
        let padded = [&b"\0\0"[..before], bytes].concat();
        // What depends on neighbours is cut off on both sides.
        let whole = base64(&padded[..padded.len() - padded.len() % 3]);
        let own = whole
            .get(if before == 0 { 0 } else { 4 }..)
            .unwrap_or_default();
        spellings.push(("in base64", own.as_bytes().to_vec()));
    }
    spellings
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks_exact(3) {
        let word = group
            .iter()
            .fold(0_usize, |word, byte| word << 8 | usize::from(*byte));
        for shift in [18, 12, 6, 0] {
            text.push(char::from(ALPHABET[word >> shift & 63]));
        }
    }
    text
}

#[test]
fn a_secret_is_found_in_each_of_its_spellings() {
    let secret = "qzxliteralw0vkj".to_owned();
    for place in [
        "x qzxliteralw0vkj",
        "717a786c69746572616c7730766b6a",
        "717A786C69746572616C7730766B6A",
        "cXp4bGl0ZXJhbHcwdmtq",
        "AHF6eGxpdGVyYWx3MHZrag==",
        "AABxenhsaXRlcmFsdzB2a2o=",
    ] {
        let places = [("a place".to_owned(), place.as_bytes().to_vec())];
        let secrets = [("a word".to_owned(), secret.clone())];
        assert!(look_through(&places, &secrets).is_err(), "{place}");
    }
    let places = [("a place".to_owned(), b"qzxliteralw1vkj".to_vec())];
    assert!(look_through(&places, &[("a word".to_owned(), secret)]).is_ok());
}
