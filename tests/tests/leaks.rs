//! Nothing that a masked reader can do tells it anything about masked values: two databases that differ only in those
//! answer each of the tricks in `leaks/` alike, in simple and extended protocol, in text and binary.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::verdicts::{self, Program, count};
use tests::{Governed, Identity, LabOptions, place};

#[test]
fn no_trick_leaks() -> Result<()> {
    holds_on(None)
}

#[test]
fn no_trick_leaks_on_postgresql_18() -> Result<()> {
    holds_on(Some(18))
}

fn holds_on(server_version: Option<u16>) -> Result<()> {
    let options = LabOptions {
        server_version,
        server_settings: vec![
            // Some tricks read what was written out of the stream of changes.
            ("wal_level".into(), "logical".into()),
            ("autovacuum".into(), "off".into()),
        ],
        ..LabOptions::default()
    };
    let site = Governed::start(&masked()?, options)?;
    for database in ["leak_a", "leak_b"] {
        site.create(database, &[])?;
    }
    let program = Program::python("../leaks/leaks.py").patience(Duration::from_mins(30));
    let verdicts = verdicts::run(program.governed(site.lab(), Identity::Bob))?;
    for kind in ["safe", "denied", "leak"] {
        println!("{kind}: {}", count(&verdicts, kind));
    }
    verdicts::all_well(&verdicts)?;
    // What is refused leaks nothing, but a proxy that refuses everything is none.
    ensure!(
        count(&verdicts, "safe") >= count(&verdicts, "denied"),
        "more tricks are denied than answered"
    );
    Ok(())
}

/// The columns that the tricks are after, from the list that makes their values.
fn masked() -> Result<BTreeMap<String, String>> {
    let output = Command::new("python3")
        .arg(place::project().join("tests/leaks/values.py"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null())
        .output()
        .context("cannot run python3")?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).context("values.py printed no list")
}
