//! Running one command of a suite and counting what it did.

use std::io::{self, BufRead as _, BufReader, PipeReader};
use std::mem;
use std::ops::AddAssign;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use harness::Undo;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// Tests counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

/// How a command's tests are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Count {
    /// The command is one check.
    Once,
    /// It prints the result lines of Rust's test harness.
    Tests,
}

/// Where a job's words go.
#[derive(Debug)]
pub(crate) enum Words {
    /// To this process's own output, as they are said.
    Live,
    /// Here: others are at work at the same time, and nobody could tell whose words are whose.
    Kept(Vec<u8>),
}

/// A command of a suite.
#[derive(Debug)]
pub(crate) struct Job {
    title: String,
    command: Command,
    count: Count,
}

impl Job {
    pub(crate) fn new(title: &str, command: Command, count: Count) -> Self {
        Self {
            title: title.to_owned(),
            command,
            count,
        }
    }

    /// Runs it to its end, passing its words on. What cannot be run or does not end has failed.
    pub(crate) fn run(mut self, words: &mut Words) -> Tally {
        let tally = match self.start(words) {
            Ok((child, output)) => self.watch(child, output, words),
            Err(error) => {
                eprintln!("xtask: cannot run {}: {error}", self.title);
                self.judge(Tally::default(), false)
            }
        };
        if tally.failed > 0 {
            eprintln!("xtask: failed: {}", self.title);
        }
        tally
    }

    /// The running command, and the words of it that are read here.
    fn start(&mut self, words: &Words) -> io::Result<(Child, Option<PipeReader>)> {
        // What is left of it holds no end of the pipe open.
        let mut command = mem::replace(&mut self.command, Command::new(""));
        // A group of its own, so that all of it can be ended at once.
        command.stdin(Stdio::null()).process_group(0);
        let output = match (words, self.count) {
            (Words::Live, Count::Once) => None,
            (Words::Live, Count::Tests) => {
                let (output, end) = io::pipe()?;
                command.stdout(end);
                Some(output)
            }
            (Words::Kept(_), _) => {
                let (output, end) = io::pipe()?;
                command.stdout(end.try_clone()?).stderr(end);
                Some(output)
            }
        };
        Ok((command.spawn()?, output))
    }

    fn watch(&self, mut child: Child, output: Option<PipeReader>, words: &mut Words) -> Tally {
        let group = Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX));
        let end = move || {
            let _ = killpg(group, Signal::SIGTERM);
        };
        let undo = Undo::new(end);
        let is_over = Arc::new(AtomicBool::new(false));
        let watcher = thread::spawn({
            let is_over = Arc::clone(&is_over);
            move || end_when_late(group, &is_over)
        });
        let mut tally = Tally::default();
        let lines = output.map(|output| BufReader::new(output).split(b'\n'));
        for line in lines.into_iter().flatten().map_while(Result::ok) {
            let text = String::from_utf8_lossy(&line);
            tally += parse(&text).unwrap_or_default();
            match words {
                Words::Live => println!("{text}"),
                Words::Kept(kept) => {
                    kept.extend(&line);
                    kept.push(b'\n');
                }
            }
        }
        let has_succeeded = child.wait().is_ok_and(|status| status.success());
        undo.disarm();
        is_over.store(true, Ordering::Relaxed);
        watcher.thread().unpark();
        let _ = watcher.join();
        self.judge(tally, has_succeeded)
    }

    /// A command that failed without naming a test has failed as a whole, and so has one that ran no test.
    fn judge(&self, mut tally: Tally, has_succeeded: bool) -> Tally {
        let counted = tally.passed + tally.failed + tally.skipped;
        match (self.count, has_succeeded) {
            (Count::Once, true) => tally.passed += 1,
            (Count::Tests, true) => tally.failed += u64::from(counted == 0),
            (_, false) => tally.failed = tally.failed.max(1),
        }
        tally
    }
}

/// Longer than any job takes, short enough that the others still run.
const LIMIT: Duration = Duration::from_mins(30);

fn end_when_late(group: Pid, is_over: &AtomicBool) {
    let deadline = Instant::now() + LIMIT;
    while !is_over.load(Ordering::Relaxed) {
        let now = Instant::now();
        if now >= deadline {
            eprintln!("xtask: not over after {LIMIT:?}: ended");
            let _ = killpg(group, Signal::SIGTERM);
            thread::sleep(Duration::from_secs(20));
            if !is_over.load(Ordering::Relaxed) {
                let _ = killpg(group, Signal::SIGKILL);
            }
            return;
        }
        thread::park_timeout(deadline - now);
    }
}

/// `test result: ok. 14 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.75s`
fn parse(line: &str) -> Option<Tally> {
    let counts = line.strip_prefix("test result: ")?.split_once(". ")?.1;
    let mut tally = Tally::default();
    for part in counts.split("; ") {
        let Some((number, word)) = part.split_once(' ') else {
            continue;
        };
        let Ok(number) = number.parse::<u64>() else {
            continue;
        };
        match word {
            "passed" => tally.passed = number,
            "failed" => tally.failed = number,
            "ignored" => tally.skipped = number,
            _ => {}
        }
    }
    Some(tally)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(script: &str, count: Count) -> Tally {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let mut kept = Words::Kept(Vec::new());
        let tally = Job::new("job", command, count).run(&mut kept);
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        assert_eq!(
            Job::new("job", command, count).run(&mut Words::Live),
            tally,
            "it is counted alike whoever listens"
        );
        tally
    }

    #[test]
    fn words_that_are_kept_are_all_there_in_their_order() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo one; echo two >&2; printf three"]);
        let mut kept = Words::Kept(Vec::new());
        let tally = Job::new("job", command, Count::Once).run(&mut kept);
        assert_eq!(tally.passed, 1);
        let Words::Kept(kept) = kept else {
            panic!("they were kept")
        };
        assert_eq!(String::from_utf8_lossy(&kept), "one\ntwo\nthree\n");
    }

    #[test]
    fn result_lines_are_summed() {
        let script = "echo 'test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0s'; \
                      echo 'test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0s'; exit 101";
        assert_eq!(
            job(script, Count::Tests),
            Tally {
                passed: 5,
                failed: 1,
                skipped: 1
            }
        );
    }

    #[test]
    fn a_crash_without_a_result_line_is_a_failure() {
        assert_eq!(
            job("kill -9 $$", Count::Tests),
            Tally {
                failed: 1,
                ..Tally::default()
            }
        );
        let script = "echo 'test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out'; exit 101";
        assert_eq!(
            job(script, Count::Tests),
            Tally {
                passed: 3,
                failed: 1,
                skipped: 0
            }
        );
    }

    #[test]
    fn no_test_at_all_is_a_failure() {
        assert_eq!(
            job("true", Count::Tests),
            Tally {
                failed: 1,
                ..Tally::default()
            }
        );
        assert_eq!(
            job("true", Count::Once),
            Tally {
                passed: 1,
                ..Tally::default()
            }
        );
        assert_eq!(
            job("false", Count::Once),
            Tally {
                failed: 1,
                ..Tally::default()
            }
        );
    }
}
