//! An agent without a role of its own reads the catalog on its clients' connections, between their requests: masks hold from
//! the first statement on, and nothing of it shows in any session.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::verdicts::{self, Program};
use tests::{CatalogReader, Governed, Identity, Lab, LabOptions};

#[test]
fn masks_hold_without_a_role_of_weirs_own() -> Result<()> {
    holds_on(None)
}

#[test]
fn masks_hold_without_a_role_of_weirs_own_on_postgresql_18() -> Result<()> {
    holds_on(Some(18))
}

fn holds_on(server_version: Option<u16>) -> Result<()> {
    let site = without_role(server_version)?;
    let lab = site.lab();
    ensure!(
        read_by(lab)?.is_empty(),
        "nobody has needed a catalog, and none was read"
    );
    let output = lab
        .command(Identity::Alice, "psql")
        .args(["-XAtc", "SELECT ssn FROM customers WHERE id = 1"])
        .output()
        .context("cannot run psql")?;
    ensure!(output.status.success() && !output.stdout.is_empty());
    ensure!(
        read_by(lab)?.is_empty(),
        "nothing is hidden from alice, and nothing is asked on her connection"
    );

    let program = Program::python("borrowed.py").patience(Duration::from_mins(15));
    let verdicts = verdicts::run(program.governed(lab, Identity::Bob))?;
    for verdict in &verdicts {
        println!("{}: {}", verdict.case, verdict.got);
    }
    verdicts::all_well(&verdicts)?;
    let modes = read_by(lab)?;
    ensure!(
        modes.values().all(|mode| mode == "sessions") && modes.contains_key("shop"),
        "status says {modes:?}"
    );
    Ok(())
}

/// A role of weir's own wins: nothing is asked on any client's connection then.
#[test]
fn a_role_of_weirs_own_wins() -> Result<()> {
    let site = Governed::start(&classes(), LabOptions::default())?;
    let lab = site.lab();
    let output = lab
        .command(Identity::Bob, "psql")
        .args(["-XAtc", "SELECT ssn FROM customers WHERE id = 1"])
        .output()
        .context("cannot run psql")?;
    ensure!(output.status.success());
    let modes = read_by(lab)?;
    ensure!(
        modes.get("shop").is_some_and(|mode| mode == "side"),
        "status says {modes:?}"
    );
    Ok(())
}

fn without_role(server_version: Option<u16>) -> Result<Governed> {
    let options = LabOptions {
        server_version,
        catalog: CatalogReader::Clients,
        server_settings: vec![
            ("wal_level".into(), "logical".into()),
            ("max_connections".into(), "60".into()),
        ],
        ..LabOptions::default()
    };
    Governed::start(&classes(), options)
}

fn classes() -> BTreeMap<String, String> {
    [("public.customers.ssn".to_owned(), "pii.ssn".to_owned())].into()
}

/// Where each database's catalog is read, as `weir status` has it.
fn read_by(lab: &Lab) -> Result<BTreeMap<String, String>> {
    let status = lab.agent().status()?;
    let catalogs = status["catalogs"].as_array().context("no catalogs")?;
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    Ok(catalogs
        .iter()
        .map(|catalog| (text(&catalog["database"]), text(&catalog["mode"])))
        .collect())
}
