//! Statements that wait for an approval: who decides, what runs and when, what drivers see, and what is recorded of it all.

#[path = "approvals/asking.rs"]
mod asking;
#[path = "approvals/hook.rs"]
mod hook;
#[path = "approvals/record.rs"]
mod record;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use asking::Asking;
use hook::Hook;
use record::{Cases, no_secrets, numbers, reported, what_ran_is_what_was_approved};
use tempfile::TempDir;
use tests::verdicts::{self, Program, Verdict};
use tests::{Identity, Lab, LabOptions};

#[test]
fn statements_wait_until_somebody_decides() -> Result<()> {
    let hook = Hook::start()?;
    let (pack, mut lab) = start(&hook)?;
    let rules = pack.path().join("rules.yaml").display().to_string();
    let mut asked = run(&lab, &Program::python("../approvals/decisions.py"))?;
    asked.extend(run(
        &lab,
        &Program::python("../approvals/waits.py").argument(&rules),
    )?);
    asked.extend(run(&lab, &Program::python("../approvals/ways.py"))?);
    let drivers = run(
        &lab,
        &Program::python_with_drivers("../approvals/drivers.py")?,
    )?;
    let stopped = stopped_while_it_waits(&mut lab)?;
    lasts_until_revoked(&lab, numbers(&asked, "lasting")?[0])?;

    let cases = Cases::of(&lab)?;
    cases.say_how_it_ended(&asked, stopped)?;
    what_ran_is_what_was_approved(&lab, &cases)?;
    reported(&lab)?;
    hook.was_told_what_is_recorded(&lab)?;
    let verified = lab.weir(&["audit", "verify"]).output()?;
    ensure!(verified.status.success(), "{verified:?}");
    no_secrets(&lab, &[asked, drivers].concat())
}

/// The agent ends while a statement waits: its client is told so, and lasting approvals outlive it.
fn stopped_while_it_waits(lab: &mut Lab) -> Result<u64> {
    let mut asking = Asking::start(
        lab,
        "update alone set note = 'sentinel-stopped' where id = 2",
    )?;
    let number = asking.number()?;
    lab.agent_mut().stop()?;
    let said = asking.rest()?;
    ensure!(
        said.contains("57P01") && said.contains("the agent is being stopped"),
        "{said}"
    );
    lab.agent_mut().resume()?;
    let found = lab.admin("select note from alone where id = 2")?;
    ensure!(found.trim().is_empty(), "it ran: {found}");
    Ok(number)
}

/// A lasting approval holds for a restarted agent, and not once it was taken back.
fn lasts_until_revoked(lab: &Lab, approval: u64) -> Result<()> {
    let sql = |n: u8| format!("update accounts set note = 'sentinel-lasts-{n}' where id = 9");
    let asking = Asking::start(lab, &sql(1))?;
    let said = asking.rest()?;
    ensure!(said.is_empty(), "it was asked for: {said}");
    let approval = approval.to_string();
    let revoke = |who, reason: &[&str]| {
        let mut command = lab.command(who, lab.agent().program());
        command
            .args(["approvals", "revoke", &approval])
            .args(reason);
        command.output().context("cannot run weir")
    };
    let why = ["--reason", "month end is over"];
    for (who, reason) in [
        (Identity::Bob, &why[..]),
        (Identity::ChurnBot, &why[..]),
        (Identity::Nobody, &why[..]),
        (Identity::Alice, &[][..]),
    ] {
        let output = revoke(who, reason)?;
        ensure!(!output.status.success(), "{who:?} revoked it: {output:?}");
    }
    let output = revoke(Identity::Alice, &why)?;
    ensure!(output.status.success(), "{output:?}");
    let mut asking = Asking::start(lab, &sql(2))?;
    let again = asking.number()?.to_string();
    let output = lab
        .command(Identity::Alice, lab.agent().program())
        .args(["approvals", "deny", &again, "--reason", "it is over"])
        .output()?;
    ensure!(output.status.success(), "{output:?}");
    let said = asking.rest()?;
    ensure!(
        said.contains("42501") && said.contains("it is over"),
        "{said}"
    );
    let found = lab.admin("select note from accounts where id = 9")?;
    ensure!(found.trim() == "sentinel-lasts-1", "{found}");
    Ok(())
}

fn start(hook: &Hook) -> Result<(TempDir, Lab)> {
    let pack = tempfile::Builder::new()
        .permissions(fs::Permissions::from_mode(0o755))
        .tempdir()
        .context("no folder")?;
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("approvals/rules.yaml");
    fs::copy(rules, pack.path().join("rules.yaml")).context("cannot copy the rules")?;
    let lab = Lab::start(&LabOptions {
        policy: Some(pack.path().to_path_buf()),
        server_version: Some(15),
        sections: vec![("webhook".into(), hook.section()?)],
        ..LabOptions::default()
    })?;
    for table in TABLES {
        lab.admin(&format!(
            "create table {table} (id int primary key, note text not null); \
             insert into {table} select i, '' from generate_series(1, 20) i; analyze {table}"
        ))?;
    }
    Ok((pack, lab))
}

const TABLES: [&str; 9] = [
    "accounts",
    "alone",
    "brief",
    "pair",
    "shared",
    "urgent",
    "changing",
    "freed",
    "forbidden",
];

fn run(lab: &Lab, program: &Program) -> Result<Vec<Verdict>> {
    let mut command = program.governed(lab, Identity::Bob);
    command.env("PSQL", lab.postgres().programs().client("psql"));
    let verdicts = verdicts::run(command)?;
    for verdict in verdicts.iter().filter(|it| it.case != "printed") {
        println!("{}: {}", verdict.case, verdict.got);
    }
    verdicts::all_well(&verdicts)?;
    Ok(verdicts)
}
