//! Costs that a noisy machine cannot change: system calls and instructions per transaction.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use harness::service::Ending;
use harness::{Postgres, Service};
use nix::sys::signal::Signal;

use super::client::{self, Client};
use super::peer::{Peer, PeerName, load_tool};
use super::run::Bench;
use super::statistics::real;
use super::workload::{LAT1_PREP_PIN, LAT1_SIMPLE_PIN, S8_PREP};
use crate::progress;

/// A count per transaction of the workload it is listed with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Count {
    pub(crate) work: &'static str,
    pub(crate) peer: PeerName,
    pub(crate) per_transaction: f64,
}

/// Counts the peer's system calls with `strace -c`, at 1 and at 8 clients.
pub(crate) fn syscalls(bench: &Bench<'_>, peer: &Peer) -> Result<Vec<Count>> {
    let Some(pid) = peer.pid() else {
        return Ok(Vec::new());
    };
    bench.processors.bind(pid)?;
    let mut counts = Vec::new();
    for (work, mode, clients) in [
        (LAT1_SIMPLE_PIN, "simple", 1),
        (LAT1_PREP_PIN, "prepared", 1),
        (S8_PREP, "prepared", 8),
    ] {
        let mut command = bench.pgbench(peer);
        command.args(["-S", "-j1", "-M", mode, "-c", &format!("{clients}")]);
        command.args(["-t", &format!("{}", SYSCALL_TRANSACTIONS / clients)]);
        let mut client = Client::start(command, bench.folder)?;
        let calls = count_calls(pid, bench.folder, || {
            client.go()?;
            client.finish(COUNT_LIMIT)
        })?;
        let per_transaction = real(calls) / real(SYSCALL_TRANSACTIONS);
        counts.push(Count {
            work,
            peer: peer.name,
            per_transaction,
        });
    }
    Ok(counts)
}

/// Counts the peer's user-space instructions by single-stepping it while a warm connection runs
/// `statements` statements, less what it executes in that time without any client.
pub(crate) fn instructions(bench: &Bench<'_>, peer: &Peer, statements: u32) -> Result<Vec<Count>> {
    let Some(pid) = peer.pid() else {
        return Ok(Vec::new());
    };
    let mut counted = vec![pid.to_string()];
    if peer.name == PeerName::Weir {
        // Statements are the workers' business. The other threads keep time: what they do in the hundredfold time
        // that stepping takes says nothing about a transaction, and their share is in the CPU time.
        counted.insert(0, "--only=weir-worker".to_owned());
    }
    // Counter and counted take turns: on one processor they need no wake-up across processors.
    let processor = bench.processors.last()?;
    processor.bind(pid)?;
    let count = |command: Command| -> Result<Steps> {
        let mut client = processor.while_bound(|| Client::start(command, bench.folder))?;
        client.go()?;
        Steps::parse(&client.finish(COUNT_LIMIT)?)
    };
    let mut idle = client::command(peer, &load_tool("stepcount")?, bench.folder);
    idle.args(&counted).args(["sleep", "1"]);
    let idle = count(idle)?;
    let mut counts = Vec::new();
    for (work, mode) in [(LAT1_SIMPLE_PIN, "simple"), (LAT1_PREP_PIN, "prepared")] {
        let mut command = client::command(peer, &load_tool("pgtool")?, bench.folder);
        command.args([
            "steps",
            &peer.address.to_string(),
            Postgres::USER,
            Postgres::DATABASE,
        ]);
        command.args([mode, &statements.to_string()]).args(&counted);
        let per_transaction = count(command)?.beyond(&idle) / f64::from(statements);
        if per_transaction < 1.0 {
            // No figure is better than a wrong one: it would pass every goal.
            progress::step(&format!(
                "{work}: no instructions could be attributed to {:?}",
                peer.name
            ));
            continue;
        }
        counts.push(Count {
            work,
            peer: peer.name,
            per_transaction,
        });
    }
    bench.processors.bind(pid)?;
    Ok(counts)
}

fn count_calls(pid: u32, folder: &Path, action: impl FnOnce() -> Result<String>) -> Result<u64> {
    let table = folder.join("strace.table");
    let mut command = Command::new("strace");
    command
        .args(["-c", "-f", "-q", "-p", &pid.to_string(), "-o"])
        .arg(&table);
    let ending = Ending {
        signal: Signal::SIGINT,
        patience: Duration::from_secs(10),
    };
    let strace = Service::start("strace", command, &folder.join("strace.log"), ending)?;
    strace.wait_until(Duration::from_secs(5), || is_traced(pid))?;
    action()?;
    strace.stop()?;
    let text = fs::read_to_string(&table).context("reading what strace counted")?;
    total_calls(&text).with_context(|| format!("strace printed something else: {text}"))
}

fn is_traced(pid: u32) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .flatten();
    let mut threads = threads.map(|thread| fs::read_to_string(thread.path().join("status")));
    threads.all(|status| status.is_ok_and(|text| !text.contains("TracerPid:\t0\n")))
}

/// The sum of the fourth column. There is a line of totals, but its columns shift when there
/// were no errors.
fn total_calls(table: &str) -> Option<u64> {
    let calls = table.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let share: f64 = fields.first()?.parse().ok()?;
        let is_call = share >= 0.0 && fields.last() != Some(&"total");
        is_call
            .then(|| fields.get(3)?.parse::<u64>().ok())
            .flatten()
    });
    let total = calls.sum();
    (total > 0).then_some(total)
}

#[derive(Debug, PartialEq)]
struct Steps {
    instructions: f64,
    seconds: f64,
}

impl Steps {
    fn parse(output: &str) -> Result<Self> {
        let mut words = client::last_line(output).split_whitespace();
        let mut next = || words.next().context("the counter printed something else");
        let instructions: u64 = next()?.parse()?;
        Ok(Self {
            instructions: real(instructions),
            seconds: next()?.parse()?,
        })
    }

    /// What was executed beyond what `idle` shows for as much time.
    fn beyond(&self, idle: &Self) -> f64 {
        self.instructions - idle.instructions / idle.seconds * self.seconds
    }
}

const SYSCALL_TRANSACTIONS: u64 = 4000;

const COUNT_LIMIT: Duration = Duration::from_mins(3);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_summed_without_the_line_of_totals() {
        let table = "% time     seconds  usecs/call     calls    errors syscall\n\
            ------ ----------- ----------- --------- --------- ----------------\n \
            52.62    0.030133           3      8005           sendto\n \
            0.00    0.000000           0        12         4 recvfrom\n\
            ------ ----------- ----------- --------- --------- ----------------\n\
            100.00    0.057265           2      8017         4 total\n";
        assert_eq!(total_calls(table), Some(8017));
        assert_eq!(
            total_calls("strace: attach: ptrace(PTRACE_SEIZE): no\n"),
            None
        );
    }

    #[test]
    fn background_work_is_not_charged_to_transactions() {
        let idle = Steps::parse("counting\n300 2.0\n").expect("two numbers");
        let busy = Steps::parse("weir: alice\n4300 2.0\n").expect("two numbers");
        assert!((busy.beyond(&idle) - 4000.0).abs() < 1e-9);
    }
}
