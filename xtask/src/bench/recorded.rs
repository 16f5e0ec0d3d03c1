//! `cargo xtask bench recorded`: a full load through weir, and whether each statement of it is in the record.
//!
//! pgbench counts the transactions that it saw end, the audit index counts statements, and one has to be a multiple of the
//! other. Then the chain is verified while the agent goes on writing it.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use harness::{Identity, Lab, LabOptions, place};

use crate::compile::{self, Talk};
use crate::elevate;
use crate::progress::step;
use crate::setup::{self, Purpose};

/// Runs pgbench with eight clients at full speed and compares what it counts with what is recorded.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Seconds per load.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=3600))]
    secs: u32,
}

/// pgbench's arguments, and how many statements a transaction of it has.
const LOADS: &[(&str, u64)] = &[
    ("--select-only --protocol=prepared", 1),
    ("--select-only --protocol=simple", 1),
    ("--protocol=prepared", 7),
];

/// What pgbench asks before it begins: the scale, and how the tables are partitioned.
const BEFORE: u64 = 2;

/// Starts everything, runs the loads, compares.
pub(crate) fn run(options: &Args) -> Result<ExitCode> {
    if !elevate::is_prepared() {
        setup::prepare(Purpose::Bench)?;
    }
    compile::weir(Talk::Quiet)?;
    elevate::become_root("loading kernel programs")?;
    let lab = Lab::start(&LabOptions {
        policy: Some(place::project().join("policies/permit-all")),
        ..LabOptions::default()
    })?;
    step("filling the database");
    pgbench(&lab, "--initialize --quiet --scale=10")?;
    let mut complete = true;
    let mut counted = recorded(&lab)?;
    for (load, statements) in LOADS {
        step(&format!("{} s of pgbench {load}", options.secs));
        let told = pgbench(
            &lab,
            &format!(
                "--no-vacuum --client=8 --jobs=2 --time={} {load}",
                options.secs
            ),
        )?;
        let transactions: u64 = figure(&told, "number of transactions actually processed: ")?;
        let rate: f64 = figure(&told, "tps = ")?;
        let begun = Instant::now();
        let now = recorded(&lab)?;
        let (made, found) = (transactions * statements + BEFORE, now - counted);
        counted = now;
        println!(
            "{load}: {rate:.0} transactions/s, {made} statements, {found} recorded; the index was {:.0} ms behind",
            begun.elapsed().as_secs_f64() * 1e3
        );
        complete &= made == found;
    }
    let begun = Instant::now();
    let verified = lab.weir(&["audit", "verify"]).output()?;
    print!("{}", String::from_utf8_lossy(&verified.stdout));
    println!("verified in {:.1} s", begun.elapsed().as_secs_f64());
    if complete && verified.status.success() {
        return Ok(ExitCode::SUCCESS);
    }
    println!("FAILED   what ran is not what is recorded");
    Ok(ExitCode::FAILURE)
}

/// What pgbench prints.
fn pgbench(lab: &Lab, arguments: &str) -> Result<String> {
    let output = lab
        .command(
            Identity::SvcBilling,
            lab.postgres().programs().client("pgbench"),
        )
        .args(arguments.split_whitespace())
        .output()
        .context("cannot run pgbench")?;
    if !output.status.success() {
        bail!("pgbench: {}", String::from_utf8_lossy(&output.stderr));
    }
    String::from_utf8(output.stdout).context("pgbench prints no UTF-8")
}

/// The number behind a label of pgbench's.
fn figure<T: std::str::FromStr>(told: &str, label: &str) -> Result<T> {
    let line = told.lines().find_map(|line| line.strip_prefix(label));
    let word = line.and_then(|line| line.split_whitespace().next());
    word.and_then(|word| word.parse().ok())
        .with_context(|| format!("pgbench tells no {label:?}: {told}"))
}

/// Statements in the record.
fn recorded(lab: &Lab) -> Result<u64> {
    let rows = lab.agent().json(&[
        "audit",
        "query",
        "--format",
        "json",
        "select coalesce(sum(statements), 0) as n from activity_view",
    ])?;
    let count = rows[0]["n"].as_u64();
    ensure!(count.is_some(), "no count: {rows}");
    Ok(count.unwrap_or_default())
}
