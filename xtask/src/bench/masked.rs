//! `cargo xtask bench masked`: what a mask costs a large result.
//!
//! One statement, ten thousand rows of four columns, one of which is masked for one of two readers. Both go through weir,
//! in turns, so that a machine that slows down changes both. Rows a second are compared, not bytes: a mask is shorter or
//! longer than what it hides. The work is the server's: it evaluates the mask where it would have read the column.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use harness::{Governed, Identity, LabOptions, Postgres};

use super::client;
use super::peer::load_tool;
use super::statistics::{median, real};
use crate::compile::{self, Talk};
use crate::elevate;
use crate::progress::step;
use crate::setup::{self, Purpose};

/// Compares a result with one masked column and the same without masks, both through weir.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Rounds of one run each.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Seconds per run.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=600))]
    secs: u32,
    /// Writes the figures to a file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Fails when the masked result is slower than 0.9 of the other.
    #[arg(long)]
    gate: bool,
}

/// Starts everything, measures, prints.
pub(crate) fn run(options: &Args) -> Result<ExitCode> {
    if !elevate::is_prepared() {
        setup::prepare(Purpose::Bench)?;
        compile::load_tools()?;
    }
    compile::weir(Talk::Quiet)?;
    elevate::become_root("loading kernel programs")?;
    let classes = [("public.wide.secret".to_owned(), "pii.secret".to_owned())];
    let site = Governed::start(&BTreeMap::from(classes), LabOptions::default())?;
    site.lab().admin(TABLE)?;

    let (mut clear, mut masked, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    // The first run of each pays for caches that all later ones find filled.
    for reader in [CLEAR, MASKED] {
        rows_per_second(&site, reader, 1)?;
    }
    for round in 0..options.rounds {
        step(&format!("round {} of {}", round + 1, options.rounds));
        let one = rows_per_second(&site, CLEAR, options.secs)?;
        let other = rows_per_second(&site, MASKED, options.secs)?;
        clear.push(one);
        masked.push(other);
        ratios.push(other / one);
    }
    let ratio = median(ratios).context("no rounds")?;
    let figures = serde_json::json!({
        "unmasked_rows_per_second": median(clear),
        "masked_rows_per_second": median(masked),
        "ratio": ratio,
    });
    println!("{figures:#}");
    if let Some(file) = &options.json {
        std::fs::write(file, format!("{figures:#}\n"))
            .with_context(|| format!("writing {}", file.display()))?;
    }
    if options.gate && ratio < GOAL {
        println!("FAILED   the masked result runs at {ratio:.2} of the other (at least {GOAL})");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// In the group that the pack's mask leaves out.
const CLEAR: Identity = Identity::Alice;
const MASKED: Identity = Identity::Bob;
const GOAL: f64 = 0.9;
const ROWS: u64 = 10_000;
const STATEMENT: &str = "SELECT id, name, secret, amount FROM wide";
const TABLE: &str = "CREATE TABLE wide (id int PRIMARY KEY, name text, secret text, amount numeric(12, 2)); \
    INSERT INTO wide SELECT n, 'customer number ' || n, md5(n::text), n * 1.25 FROM generate_series(1, 10000) n; \
    ANALYZE wide";

fn rows_per_second(site: &Governed, reader: Identity, seconds: u32) -> Result<f64> {
    let lab = site.lab();
    let address = format!("{}:{}", Postgres::HOST, lab.postgres().port());
    let output = lab
        .command(reader, load_tool("pgtool")?)
        .args(["drain", &address, Postgres::USER, Postgres::DATABASE])
        .arg(seconds.to_string())
        .arg(STATEMENT)
        .output()
        .context("cannot run the client")?;
    ensure!(
        output.status.success(),
        "the client of {} failed: {}",
        reader.name(),
        String::from_utf8_lossy(&output.stderr)
    );
    let printed = String::from_utf8_lossy(&output.stdout);
    let words: Vec<&str> = client::last_line(&printed).split_whitespace().collect();
    let [times, _bytes, elapsed] = words[..] else {
        anyhow::bail!("the client printed something else: {printed}");
    };
    let times: u64 = times.parse()?;
    Ok(real(times * ROWS) / elapsed.parse::<f64>()?)
}
