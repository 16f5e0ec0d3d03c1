//! `cargo xtask test`: every check and every test. Its last line is `N passed, N failed, N skipped`.

use std::process::ExitCode;
use std::thread;

use anyhow::{Result, anyhow, bail};

use crate::compile;
use crate::progress::{self, step};
use crate::setup::{self, Purpose};

use lanes::Outcome;
use run::Tally;
use suite::Suite;

mod lanes;
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
    let chosen = choose(all, &args.suites)?;
    setup::install(Purpose::Test)?;
    // What is fetched waits for the network, and the compiler does not.
    thread::scope(|scope| {
        let fetched = scope.spawn(setup::fetch);
        let built = build(&chosen);
        let fetched = fetched.join();
        built?;
        fetched.map_err(|_| anyhow!("setup: what the tests need could not be fetched"))?
    })?;
    Ok(report(&lanes::run(chosen)))
}

/// Builds all that the suites need by one call of cargo, so that it works at several things at any time.
fn build(chosen: &[Suite]) -> Result<()> {
    let agent = chosen.iter().any(|suite| suite.needs_agent);
    let tests: Vec<&str> = chosen
        .iter()
        .flat_map(|suite| suite.builds.iter().map(String::as_str))
        .collect();
    if agent || !tests.is_empty() {
        step("building weir and its tests");
        compile::tests(agent, &tests)?;
    }
    Ok(())
}

/// The suites of those names, in the order of the list; all without names.
fn choose(all: Vec<Suite>, names: &[String]) -> Result<Vec<Suite>> {
    for name in names {
        if !all.iter().any(|suite| suite.answers_to(name)) {
            let known: Vec<&str> = all.iter().map(|suite| suite.name.as_str()).collect();
            bail!("there is no suite {name}; there are {}", known.join(", "));
        }
    }
    let is_chosen =
        |suite: &Suite| names.is_empty() || names.iter().any(|name| suite.answers_to(name));
    Ok(all.into_iter().filter(is_chosen).collect())
}

fn report(outcomes: &[Outcome]) -> ExitCode {
    let mut sum = Tally::default();
    println!(
        "\n{:<14} {:>7} {:>7} {:>8} {:>9}",
        "suite", "passed", "failed", "skipped", "seconds"
    );
    for outcome in outcomes {
        let Outcome { name, tally, time } = outcome;
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
            builds: Vec::new(),
            company: suite::Company::Alone,
            jobs: Vec::new(),
        }
    }

    #[test]
    fn an_unknown_suite_is_an_error_and_e2e_means_several() {
        let all = || {
            ["unit", "denials", "hostile", "accounting"]
                .map(named)
                .into()
        };
        assert!(choose(all(), &["nothing".into()]).is_err());
        assert_eq!(choose(all(), &["e2e".into()]).expect("known").len(), 3);
        assert_eq!(choose(all(), &[]).expect("all").len(), 4);
    }
}
