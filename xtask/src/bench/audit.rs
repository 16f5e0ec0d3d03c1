//! `cargo xtask bench journal`, `bench reports` and `bench crashes`: measurements that live beside what they measure, as ignored tests.
//!
//! All assert their goals, so the command fails when one is missed.

use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::compile::{self, Talk, cargo};
use crate::elevate;
use crate::setup::{self, Purpose};

/// An ignored test that measures.
#[derive(Debug)]
pub(crate) struct Measurement {
    /// Where cargo finds it.
    target: &'static str,
    name: &'static str,
    needs_agent: bool,
}

/// At least 200,000 records a second.
pub(crate) const JOURNAL: Measurement = Measurement {
    target: "--package weir --lib",
    name: "audit::journal::tests::two_hundred_thousand_records_a_second_fit",
    needs_agent: false,
};
/// Each report in less than two seconds, all in less than 200 MiB.
pub(crate) const REPORTS: Measurement = Measurement {
    target: "--package weir --lib",
    name: "audit::reports::tests::ten_million_records_are_answered_in_two_seconds",
    needs_agent: false,
};
/// The agent dies under load, fifty times: nothing that ran is without its record.
pub(crate) const CRASHES: Measurement = Measurement {
    target: "--workspace --features tests/kernel --test crash",
    name: "fifty_crashes_at_random_moments_lose_no_record",
    needs_agent: true,
};

/// Runs one measurement.
pub(crate) fn run(measurement: &Measurement) -> Result<ExitCode> {
    if !elevate::is_prepared() {
        setup::prepare(Purpose::Bench)?;
    }
    if measurement.needs_agent {
        compile::weir(Talk::Quiet)?;
    }
    elevate::become_root("kernel programs and the peak of memory")?;
    let mut command = cargo();
    command.args(["test", "--release", "--locked"]);
    command.args(measurement.target.split_whitespace());
    command.args(["--", "--ignored", "--nocapture", "--exact"]);
    command.arg(measurement.name);
    let status = command.status().context("cannot run cargo test")?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
