//! Texts made to be read differently by a proxy than by the server: weir decides what the server runs.

use std::time::Duration;

use anyhow::Result;
use tests::verdicts::{self, Program};
use tests::{Governed, Identity, LabOptions, governed};

/// The pack of the masks, and one rule more.
const NO_DELETE: &str = "  - id: nothing-is-deleted
    match: { kind: [delete] }
    effect: { deny: \"nothing is deleted here\" }
";

#[test]
fn texts_are_decided_as_the_server_reads_them() -> Result<()> {
    decided_as_the_server_reads_them(None)
}

#[test]
fn texts_are_decided_as_postgresql_18_reads_them() -> Result<()> {
    decided_as_the_server_reads_them(Some(18))
}

fn decided_as_the_server_reads_them(server_version: Option<u16>) -> Result<()> {
    let classes = [("public.vault.secret".to_owned(), "pii.secret".to_owned())];
    let options = LabOptions {
        server_version,
        ..LabOptions::default()
    };
    let site = Governed::start_with(&classes.into(), NO_DELETE, options)?;
    for database in ["desync_a", "desync_b"] {
        site.create(database, &[governed::folder().join("vault.sql")])?;
    }
    let program = Program::python("../desync/desync.py").patience(Duration::from_mins(5));
    let verdicts = verdicts::run(program.governed(site.lab(), Identity::Bob))?;
    if let Some(counts) = verdicts.last() {
        println!("{}", counts.got);
    }
    verdicts::all_well(&verdicts)
}
