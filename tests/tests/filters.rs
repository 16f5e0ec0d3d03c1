//! Who may see only the rows of one region sees, and changes, no others: statements answer as on a copy without them.

use std::time::Duration;

use anyhow::{Result, ensure};
use tests::verdicts::{self, Program};
use tests::{Governed, Identity, LabOptions, governed};

#[test]
fn statements_answer_as_if_there_were_no_other_rows() -> Result<()> {
    holds_on(None)
}

#[test]
fn statements_answer_as_if_there_were_no_other_rows_on_postgresql_18() -> Result<()> {
    holds_on(Some(18))
}

fn holds_on(server_version: Option<u16>) -> Result<()> {
    let options = LabOptions {
        server_version,
        ..LabOptions::default()
    };
    let site = Governed::start_by(FILTER, options)?;
    site.create("real", &[governed::folder().join("schema.sql")])?;
    let server = site.lab().postgres();
    server.admin("postgres", "CREATE DATABASE twin TEMPLATE real")?;
    // What refers to the others stays, as it does behind the filter.
    server.admin(
        "twin",
        "SET session_replication_role = replica; DELETE FROM public.customers WHERE region_id <> 2",
    )?;
    let changes = Program::python("../filters/changes.py");
    verdicts::all_well(&verdicts::run(changes.governed(site.lab(), Identity::Bob))?)?;

    let reads = Program::python("../filters/filters.py").patience(Duration::from_mins(20));
    let verdicts = verdicts::run(reads.governed(site.lab(), Identity::Bob))?;
    let count = |kind: &str| verdicts::count(&verdicts, kind);
    let (equal, denied) = (count("equal"), count("denied"));
    println!(
        "{equal} equal, {denied} denied, {} different",
        count("differs")
    );
    for verdict in verdicts.iter().filter(|v| v.got["verdict"] == "denied") {
        println!("denied: {}: {}", verdict.case, verdict.got["why"]["M"]);
    }
    verdicts::all_well(&verdicts)?;
    ensure!(equal >= 500, "only {equal} statements ran");
    ensure!(
        denied * 100 <= (equal + denied) * 3,
        "{denied} of {} statements were denied",
        equal + denied
    );
    Ok(())
}

/// The claim that the development issuer puts into the lab's tokens decides.
const FILTER: &str = "  - id: people-see-their-region
    why: customers belong to the region that looks after them
    match: { actor.kind: [human], relation: [\"public.customers\"] }
    unless: { actor.groups: { any: [dba] } }
    effect: { filter: \"region_id = CASE {{actor.region}} WHEN 'north' THEN 1 WHEN 'south' THEN 2 END\" }
";
