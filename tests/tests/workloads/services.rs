//! Services: which processes an entry means, and what proves it.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tests::{Identity, Lab};
use toml::Table;

use super::provider::Provider;
use super::{errors, lab, sessions, words};

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

fn sha256(file: &Path) -> Result<String> {
    let output = Command::new("sha256sum")
        .arg(file)
        .output()
        .context("cannot run sha256sum")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let digest = text.split_whitespace().next().context("no digest")?;
    Ok(digest.to_owned())
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
