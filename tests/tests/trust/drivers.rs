//! Other drivers, and a client by hand.

use std::path::Path;

use anyhow::{Result, ensure};
use tests::verdicts::{self, Program};
use tests::{Identity, Lab, place};

use super::{PASSWORD, arguments, lab};

#[test]
fn drivers_of_other_languages_log_in_and_cancel() -> Result<()> {
    let secrets = tempfile::tempdir()?;
    let lab = lab(None, &secrets)?;
    run(&lab, Program::python_with_drivers("trust_asyncpg.py")?)?;
    run(&lab, Program::node("trust_node.mjs"))?;
    java(&lab)?;
    by_hand(&lab)
}

fn run(lab: &Lab, mut program: Program) -> Result<()> {
    for argument in arguments() {
        program = program.argument(&argument);
    }
    let mut command = program.governed(lab, Identity::Alice);
    command.env("PASSWORD", PASSWORD);
    verdicts::all_well(&verdicts::run(command)?)
}

fn java(lab: &Lab) -> Result<()> {
    let jar = Path::new("/usr/share/java/postgresql.jar");
    ensure!(
        jar.is_file(),
        "the JDBC driver is missing: run `cargo xtask setup --for test`"
    );
    let mut command = lab.command(Identity::Alice, "timeout");
    command
        .args(["--kill-after=5", "240", "java", "-cp"])
        .arg(jar)
        .arg(verdicts::drivers().join("Trust.java"))
        .args(arguments())
        .env("PASSWORD", PASSWORD)
        .env("WEIR_TEST_PROJECT", place::project());
    verdicts::all_well(&verdicts::run(command)?)
}

fn by_hand(lab: &Lab) -> Result<()> {
    let verifier = "127.0.0.12";
    let program = Program::python("trust_raw.py");
    let mut command = program.governed(lab, Identity::Alice);
    command.env("PASSWORD", PASSWORD).env("PGHOST", verifier);
    verdicts::all_well(&verdicts::run(command)?)
}
