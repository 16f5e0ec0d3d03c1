//! A denial is an ordinary error: the session, its transaction and what is pipelined behind stay as the server has them.

use anyhow::Result;
use tests::verdicts::{self, Program};
use tests::{Identity, Lab, LabOptions};

/// The rule of `policies/baseline` that the programs run into.
const RULE: &str = "write-needs-where";

#[test]
fn a_denial_leaves_what_a_servers_error_would() -> Result<()> {
    all_well(&Program::python("denials.py").argument(RULE))
}

#[test]
fn a_denial_is_an_ordinary_error_for_psycopg() -> Result<()> {
    all_well(&Program::python_with_drivers("psycopg_denials.py")?.argument(RULE))
}

fn all_well(program: &Program) -> Result<()> {
    let lab = Lab::start(&LabOptions::default())?;
    verdicts::all_well(&verdicts::run(program.governed(&lab, Identity::Bob))?)
}
