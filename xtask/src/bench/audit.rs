//! `cargo xtask bench journal` and `bench reports`: measurements that live beside what they measure, as ignored unit tests.
//!
//! Both assert their goals, so the command fails when one is missed.

use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::compile::cargo;
use crate::elevate;
use crate::setup::{self, Purpose};

/// At least 200,000 records a second.
pub(crate) const JOURNAL: &str = "audit::journal::tests::two_hundred_thousand_records_a_second_fit";
/// Each report in less than two seconds, all in less than 200 MiB.
pub(crate) const REPORTS: &str =
    "audit::reports::tests::ten_million_records_are_answered_in_two_seconds";

/// Runs one measurement.
pub(crate) fn run(name: &str) -> Result<ExitCode> {
    if !elevate::is_prepared() {
        setup::prepare(Purpose::Bench)?;
    }
    elevate::become_root("measuring the peak of memory")?;
    let mut command = cargo();
    command.args([
        "test",
        "--release",
        "--locked",
        "--package",
        "weir",
        "--lib",
    ]);
    command.args(["--", "--ignored", "--nocapture", "--exact", name]);
    let status = command.status().context("cannot run cargo test")?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
