//! The whole matrix, with libpq of the distribution and of PostgreSQL 18, on both server versions.

use anyhow::Result;
use tests::Identity;
use tests::verdicts::{self, Program};

use super::{PASSWORD, arguments, lab};

#[test]
fn every_cell_that_can_work_works_on_the_distributions_server() -> Result<()> {
    matrix(None)
}

#[test]
fn every_cell_that_can_work_works_on_postgresql_18() -> Result<()> {
    matrix(Some(18))
}

fn matrix(version: Option<u16>) -> Result<()> {
    let secrets = tempfile::tempdir()?;
    let lab = lab(version, &secrets)?;
    for (libpq, logins) in [
        ("debian", "scram,trust"),
        ("bundled", "scram,trust,md5,password"),
    ] {
        let mut program = Program::python_with_drivers("trust_matrix.py")?.argument(libpq);
        for argument in arguments() {
            program = program.argument(&argument);
        }
        let mut command = program.governed(&lab, Identity::Alice);
        command.env("PASSWORD", PASSWORD).env("LOGINS", logins);
        verdicts::all_well(&verdicts::run(command)?)?;
    }
    Ok(())
}
