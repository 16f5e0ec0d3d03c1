//! What auditors get from a host that works, and what happens to statements when records cannot be kept.

#[path = "evidence/collector.rs"]
mod collector;
#[path = "evidence/secrets.rs"]
mod secrets;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::statvfs::statvfs;
use tests::{Identity, Lab, LabOptions};
use toml::{Table, Value};

const REPORTS: [&str; 7] = [
    "usage",
    "access",
    "columns",
    "privileged",
    "approvals",
    "review",
    "completeness",
];

/// A literal that must not be in any report.
const SECRET: &str = "sentinel-4711";

#[test]
fn every_report_comes_in_every_format_and_tells_no_literal() -> Result<()> {
    let mut lab = Lab::start(&LabOptions::default())?;
    let statements = [
        "select count(*) from orders",
        &format!("select title from products where title = '{SECRET}'"),
        "drop table orders",
    ];
    for (identity, name) in [(Identity::Bob, "bob"), (Identity::Nobody, "nobody")] {
        let output = psql(&lab, identity, &statements)?;
        ensure!(!output.stderr.is_empty(), "{name} may drop a table");
    }
    lab.agent_mut().stop()?;
    let page = lab.folder().join("page.html");
    for report in REPORTS {
        for format in ["table", "json", "csv", "html"] {
            let output = weir_report(&lab, &[report, "--format", format])?;
            let text = String::from_utf8(output.stdout).context("no UTF-8")?;
            ensure!(
                output.status.success() && !text.is_empty(),
                "{report} as {format}"
            );
            ensure!(
                !text.contains(SECRET),
                "{report} as {format} tells a literal"
            );
            ensure!(
                text.contains("weir audit verify"),
                "{report} as {format} cannot be verified"
            );
        }
        let output = weir_report(
            &lab,
            &[
                report,
                "--format",
                "html",
                "--output",
                &page.display().to_string(),
            ],
        )?;
        ensure!(
            output.status.success() && output.stdout.is_empty(),
            "{report} is printed too"
        );
        let written = fs::read_to_string(&page).context("no page")?;
        ensure!(written.starts_with("<!DOCTYPE html>") && !written.contains("<script"));
        let mode = fs::metadata(&page).context("no page")?.permissions().mode();
        ensure!(mode & 0o777 == 0o600, "others may read the page");
    }
    let review = json(&lab, &["review", "--format", "json"])?;
    let row = review["rows"]
        .as_array()
        .and_then(|rows| {
            rows.iter()
                .find(|row| row["principal"] == "bob" && row["access"] == "read")
        })
        .with_context(|| format!("bob is not reviewed: {review}"))?;
    ensure!(
        row["groups"] == "analyst" && row["proof"] != "" && row["verified"].is_string(),
        "{row}"
    );
    let complete = json(&lab, &["completeness", "--format", "json"])?;
    let count = |name: &str| {
        let rows = complete["rows"].as_array().into_iter().flatten();
        rows.filter(|row| row["measure"] == name)
            .find_map(|row| row["count"].as_u64())
    };
    let counted = count("connections that the kernel counted");
    let (governed, sessions) = (count("redirected to weir"), count("sessions governed"));
    ensure!(
        counted >= governed && governed >= sessions && sessions >= Some(1),
        "{complete}"
    );
    Ok(())
}

#[test]
fn a_full_disk_refuses_statements_until_there_is_room() -> Result<()> {
    let disk = Disk::small()?;
    let lab = disk.lab(Value::String("deny".into()))?;
    let folder = lab.folder().to_owned();
    let script = folder.join("full.sql");
    let (begun, filled) = (folder.join("begun"), folder.join("filled"));
    let text = format!(
        "\\set VERBOSITY verbose\nselect 'before';\n\\! touch {}; while [ ! -e {} ]; do sleep 0.1; done\nselect 'meanwhile';\n",
        begun.display(),
        filled.display()
    );
    fs::write(&script, text).context("cannot write the script")?;
    let session = lab
        .command(Identity::Bob, lab.postgres().programs().client("psql"))
        .args(["--no-psqlrc", "--quiet", "--tuples-only", "--file"])
        .arg(&script)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot run psql")?;
    wait("the session does not begin", || Ok(begun.exists()))?;
    disk.fill()?;
    wait("the full disk is not noticed", || {
        Ok(lab.agent().status()?["journal"]["failure"].is_string())
    })?;
    fs::write(&filled, "").context("cannot tell the session")?;
    let output = session.wait_with_output().context("psql is lost")?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(
        printed.contains("before") && !printed.contains("meanwhile"),
        "{printed}{errors}"
    );
    ensure!(errors.contains("53100"), "{errors}");
    disk.make_room()?;
    runs_again(&lab)?;
    verifies(&lab, disk.path())
}

#[test]
fn a_full_disk_is_allowed_for_a_while_where_the_operator_says_so() -> Result<()> {
    let disk = Disk::small()?;
    let mut allow = Table::new();
    allow.insert("allow_until".into(), Value::String("20s".into()));
    let lab = disk.lab(Value::Table(allow))?;
    ensure!(runs(&lab)?, "nothing runs");
    wait("no emergency segment is made", || {
        Ok(disk.path().join("journal/emergency").exists())
    })?;
    disk.fill()?;
    wait("the full disk is not noticed", || {
        Ok(lab.agent().status()?["journal"]["allowed_until_ns"].is_u64())
    })?;
    let ran = runs(&lab)?;
    let allowed = lab.agent().status()?["journal"]["allowed_until_ns"].is_u64();
    // On a machine that stood still meanwhile the time may be over.
    ensure!(
        ran || !allowed,
        "refused although it is allowed for a while"
    );
    wait("it is allowed for ever", || Ok(!runs(&lab)?))?;
    disk.make_room()?;
    runs_again(&lab)?;
    verifies(&lab, disk.path())
}

/// A small file system for the agent's state.
struct Disk {
    folder: tempfile::TempDir,
}

impl Disk {
    fn small() -> Result<Self> {
        let folder = tempfile::tempdir().context("no folder")?;
        let options = Some("size=64m,mode=700");
        mount(
            Some("tmpfs"),
            folder.path(),
            Some("tmpfs"),
            MsFlags::empty(),
            options,
        )
        .context("cannot mount a small disk")?;
        Ok(Self { folder })
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn lab(&self, on_audit_failure: Value) -> Result<Lab> {
        let text = |path: &Path| Value::String(path.display().to_string());
        Lab::start(&LabOptions {
            settings: vec![
                ("agent.state_dir".into(), text(self.path())),
                ("audit.segment_mib".into(), Value::Integer(1)),
                ("audit.reserve_mib".into(), Value::Integer(8)),
                ("audit.on_audit_failure".into(), on_audit_failure),
            ],
            ..LabOptions::default()
        })
    }

    /// Leaves less than the reserve.
    fn fill(&self) -> Result<()> {
        let free = statvfs(self.path()).context("no figures")?;
        let free = free.blocks_available() * free.fragment_size();
        let size = usize::try_from(free.saturating_sub(4 << 20)).context("too large")?;
        fs::write(self.path().join("ballast"), vec![1; size]).context("cannot fill the disk")
    }

    fn make_room(&self) -> Result<()> {
        fs::remove_file(self.path().join("ballast")).context("cannot make room")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Whatever the agent still holds open goes with it.
        let _ = umount2(self.folder.path(), MntFlags::MNT_DETACH);
    }
}

fn psql(lab: &Lab, identity: Identity, statements: &[&str]) -> Result<Output> {
    let mut command: Command = lab.command(identity, lab.postgres().programs().client("psql"));
    command.args(["--no-psqlrc", "--quiet", "--tuples-only"]);
    for statement in statements {
        command.args(["--command", statement]);
    }
    command
        .stdin(Stdio::null())
        .output()
        .context("cannot run psql")
}

fn runs(lab: &Lab) -> Result<bool> {
    Ok(psql(lab, Identity::Bob, &["select 1"])?.status.success())
}

fn runs_again(lab: &Lab) -> Result<()> {
    wait("statements are refused although there is room", || {
        runs(lab)
    })
}

fn verifies(lab: &Lab, state: &Path) -> Result<()> {
    let output = lab
        .weir(&["audit", "verify", "--state-dir"])
        .arg(state)
        .output()
        .context("cannot run weir audit verify")?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
    Ok(())
}

fn weir_report(lab: &Lab, arguments: &[&str]) -> Result<Output> {
    let mut command = lab.weir(&["report"]);
    command
        .args(arguments)
        .arg("--state-dir")
        .arg(lab.agent().state_folder());
    command.output().context("cannot run weir report")
}

fn json(lab: &Lab, arguments: &[&str]) -> Result<serde_json::Value> {
    serde_json::from_slice(&weir_report(lab, arguments)?.stdout).context("no JSON")
}

fn wait(what: &str, mut until: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + Duration::from_mins(2);
    while !until()? {
        ensure!(Instant::now() < deadline, "{what}");
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}
