//! In which order suites run, and which at the same time.

use std::io::{self, Write as _};
use std::num::NonZero;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::run::{Tally, Words};
use super::suite::{Company, Suite};
use crate::progress::step;

/// What came of a suite.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) name: String,
    pub(crate) tally: Tally,
    pub(crate) time: Duration,
}

/// Runs suites to their end: first those that want to be alone, then the others, as many at a time as there are lanes.
pub(crate) fn run(suites: Vec<Suite>) -> Vec<Outcome> {
    let (mut alone, mut shared) = (Vec::new(), Vec::new());
    for suite in suites {
        match suite.company {
            Company::Alone => alone.push(suite),
            Company::Shared(place) => shared.push((place, suite)),
        }
    }
    let lanes = lanes().min(shared.len());
    shared.sort_by_key(|(place, _)| *place);
    let shared = shared.into_iter().map(|(_, suite)| suite);
    if lanes < 2 {
        return alone.into_iter().chain(shared).map(run_alone).collect();
    }
    let mut outcomes: Vec<_> = alone.into_iter().map(run_alone).collect();
    let (queue, done) = (Mutex::new(shared), Mutex::new(Vec::new()));
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    thread::scope(|scope| {
        for _ in 0..lanes {
            scope.spawn(|| {
                while let Some(suite) = next() {
                    let outcome = run_beside(suite);
                    let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
                    done.push(outcome);
                }
            });
        }
    });
    outcomes.extend(done.into_inner().unwrap_or_else(PoisonError::into_inner));
    outcomes
}

/// More were never tried, and the tests' own deadlines suppose that a processor is free now and then.
const MOST_LANES: usize = 2;

fn lanes() -> usize {
    thread::available_parallelism()
        .map_or(1, NonZero::get)
        .min(MOST_LANES)
}

fn run_alone(suite: Suite) -> Outcome {
    step(&format!("suite {}: {}", suite.name, suite.about));
    run_suite(suite, &mut Words::Live)
}

/// Says what it had to say once it is over.
fn run_beside(suite: Suite) -> Outcome {
    let (name, about) = (suite.name.clone(), suite.about.clone());
    step(&format!("suite {name} begins, beside another"));
    let mut words = Words::Kept(Vec::new());
    let outcome = run_suite(suite, &mut words);
    if let Words::Kept(words) = words {
        // Held until all is said, so that nothing comes between.
        let mut out = io::stdout().lock();
        step(&format!("suite {name} is over: {about}"));
        let _ = out.write_all(&words).and_then(|()| out.flush());
    }
    outcome
}

fn run_suite(suite: Suite, words: &mut Words) -> Outcome {
    let begun = Instant::now();
    let mut tally = Tally::default();
    for job in suite.jobs {
        tally += job.run(words);
    }
    Outcome {
        name: suite.name,
        tally,
        time: begun.elapsed(),
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::super::run::{Count, Job};
    use super::*;

    fn suite(name: &str, company: Company, script: &str) -> Suite {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Suite {
            name: name.into(),
            about: String::new(),
            needs_agent: false,
            builds: Vec::new(),
            company,
            jobs: vec![Job::new(name, command, Count::Once)],
        }
    }

    #[test]
    fn every_suite_runs_once_and_those_that_want_it_before_the_others() {
        let outcomes = run(vec![
            suite("second", Company::Shared(1), "true"),
            suite("fails", Company::Shared(0), "false"),
            suite("alone", Company::Alone, "true"),
            suite("third", Company::Shared(2), "true"),
        ]);
        assert_eq!(outcomes[0].name, "alone");
        let mut names: Vec<&str> = outcomes.iter().map(|it| it.name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["alone", "fails", "second", "third"]);
        for outcome in &outcomes {
            let failed = u64::from(outcome.name == "fails");
            assert_eq!(outcome.tally.failed, failed, "{}", outcome.name);
            assert_eq!(outcome.tally.passed, 1 - failed, "{}", outcome.name);
        }
    }
}
