//! `cargo xtask test`: every check and every test. Its last line is `N passed, N failed, N skipped`.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::compile::{self, Talk};
use crate::progress::{self, step};
use crate::setup::{self, Purpose};

use run::Tally;
use suite::Suite;

mod run;
mod suite;

/// Runs every check and every test, real servers and kernel included.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  cargo xtask test --suite unit --suite kernel")]
pub(crate) struct Args {
    /// Only this suite; may be given again
    #[arg(long = "suite", value_name = "NAME")]
    suites: Vec<String>,
    /// Lists the suites
    #[arg(long)]
    list: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    progress::start();
    let all = suite::all()?;
    if args.list {
        for suite in &all {
            println!("{:<14} {}", suite.name, suite.about);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let chosen = choose(&all, &args.suites)?;
    setup::prepare(Purpose::Test)?;
    if chosen.iter().any(|suite| suite.needs_agent) {
        step("building weir");
        compile::weir(Talk::Progress)?;
    }
    let mut results = Vec::new();
    for suite in chosen {
        step(&format!("suite {}: {}", suite.name, suite.about));
        let begun = Instant::now();
        let tally = run_suite(suite);
        results.push((suite.name.clone(), tally, begun.elapsed()));
    }
    Ok(report(&results))
}

/// The suites of those names, in the order of the list; all without names.
fn choose<'a>(all: &'a [Suite], names: &[String]) -> Result<Vec<&'a Suite>> {
    for name in names {
        if !all.iter().any(|suite| suite.answers_to(name)) {
            let known: Vec<&str> = all.iter().map(|suite| suite.name.as_str()).collect();
            bail!("there is no suite {name}; there are {}", known.join(", "));
        }
    }
    let is_chosen =
        |suite: &&Suite| names.is_empty() || names.iter().any(|name| suite.answers_to(name));
    Ok(all.iter().filter(is_chosen).collect())
}

fn run_suite(suite: &Suite) -> Tally {
    let mut sum = Tally::default();
    for job in &suite.jobs {
        let tally = job.run();
        if tally.failed > 0 {
            eprintln!("xtask: failed: {}", job.title());
        }
        sum += tally;
    }
    sum
}

fn report(results: &[(String, Tally, Duration)]) -> ExitCode {
    let mut sum = Tally::default();
    println!(
        "\n{:<14} {:>7} {:>7} {:>8} {:>9}",
        "suite", "passed", "failed", "skipped", "seconds"
    );
    for (name, tally, time) in results {
        println!(
            "{name:<14} {:>7} {:>7} {:>8} {:>9.0}",
            tally.passed,
            tally.failed,
            tally.skipped,
            time.as_secs_f64()
        );
        sum += *tally;
    }
    println!("in {:.0} s", progress::start().elapsed().as_secs_f64());
    println!(
        "{} passed, {} failed, {} skipped",
        sum.passed, sum.failed, sum.skipped
    );
    if sum.failed == 0 && sum.passed > 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Suite {
        Suite {
            name: name.into(),
            about: String::new(),
            needs_agent: false,
            jobs: Vec::new(),
        }
    }

    #[test]
    fn an_unknown_suite_is_an_error_and_e2e_means_several() {
        let all = [
            named("unit"),
            named("denials"),
            named("hostile"),
            named("accounting"),
        ];
        assert!(choose(&all, &["nothing".into()]).is_err());
        assert_eq!(choose(&all, &["e2e".into()]).expect("known").len(), 3);
        assert_eq!(choose(&all, &[]).expect("all").len(), 4);
    }
}
