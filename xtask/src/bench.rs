//! `cargo xtask bench`: what weir costs beside a direct connection, a bare relay and its peers.
//!
//! **Servers.** A private PostgreSQL with `fsync` and autovacuum off, filled by `pgbench -i`, in a
//! temporary folder and on loopback ports below the range that clients' own ports come from.
//! Every peer is started once and keeps running; all of them reach the server over TCP.
//!
//! **Interleaving.** Each round of a workload is: direct, half of the peers in changing order,
//! direct, the other half, direct. A peer's ratio is its rate divided by the median of the direct
//! rates of the same round, so that a machine that slows down for a minute changes both. Figures
//! are medians over the rounds. Ratios that lie more than 0.15 apart print as noisy and never gate.
//! A run while the rest of the machine was busy is made once more (not with `--quick`).
//!
//! **What stays put on a noisy machine:** the proxy's own processor time per transaction, read
//! from its process clock; the `-pin` workloads, where client, proxy and server share one
//! processor; system calls (`strace -c`), instructions (single-stepped on a
//! warm connection) and resident memory per idle connection (1,000 of them in front of a fake
//! server). Rates with 8 or 32 clients wander: compare them with the relay's of the same run.
//! pgbouncer keeps server connections for the next client, so its `conn` is another kind of work.
//!
//! **weir** runs as shipped: programs in the kernel, `policies/baseline`, an identified client,
//! every statement decided and recorded, TLS off. Its clients dial the database's own address from
//! within the watched cgroup. They become somebody before the clocks are read.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;

use anyhow::{Context, Result};
use clap::builder::PossibleValuesParser;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::compile::{self, Talk};
use crate::elevate;
use crate::progress::step;
use crate::setup::{self, Purpose};

use gate::{GOALS, Limit, Verdict};
use peer::{Peer, PeerName};
use process::Processors;
use run::Bench;
use site::Site;
use summary::Measurements;
use workload::{IDLE, INSTRUCTIONS, SYSCALLS, WORKLOADS, Workload};

mod audit;
mod client;
mod counts;
mod detect;
mod gate;
mod idle;
mod masked;
mod peer;
mod process;
mod recorded;
mod run;
mod site;
mod statistics;
mod summary;
mod table;
mod workload;

/// Compares weir with a direct connection, a bare relay, haproxy and pgbouncer.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    other: Option<Other>,
    /// Three rounds of a second each of the most telling workloads: under five minutes.
    #[arg(long)]
    quick: bool,
    /// Rounds per workload [default: 5, quick: 3].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: Option<u32>,
    /// Seconds per run [default: 2, quick: 1].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=600))]
    secs: Option<u32>,
    /// What to compare, in one list [default: all that are installed].
    #[arg(long, value_enum, value_delimiter = ',')]
    peers: Vec<PeerName>,
    /// What to measure, in one list [default: everything].
    #[arg(long, value_delimiter = ',', value_parser = PossibleValuesParser::new(measurable()))]
    workloads: Vec<String>,
    /// Writes the figures to a file, as an array of objects.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Judges weir's figures against its goals and fails when one is missed.
    #[arg(long)]
    gate: bool,
}

/// Benchmarks of single parts.
#[derive(Debug, clap::Subcommand)]
enum Other {
    /// Measures what the detectors find in labelled texts, and how fast
    Detect(detect::Args),
    /// Measures what a mask costs a large result
    Masked(masked::Args),
    /// Measures how many records a second the journal alone takes
    Journal,
    /// Measures how fast reports over ten million records are, and in how much memory
    Reports,
    /// Kills the agent fifty times under load and looks for statements without a record
    Crashes,
    /// Measures whether a full load is recorded, none missing, in a chain that verifies
    Recorded(recorded::Args),
}

/// Runs the benchmark and prints its table; fails when a peer fails or, with `--gate`, a goal is
/// missed.
pub(crate) fn run(options: &Args) -> Result<ExitCode> {
    match &options.other {
        Some(Other::Detect(options)) => return detect::run(options),
        Some(Other::Masked(options)) => return masked::run(options),
        Some(Other::Journal) => return audit::run(&audit::JOURNAL),
        Some(Other::Reports) => return audit::run(&audit::REPORTS),
        Some(Other::Crashes) => return audit::run(&audit::CRASHES),
        Some(Other::Recorded(options)) => return recorded::run(options),
        None => {}
    }
    let plan = Plan::from(options);
    if !elevate::is_prepared() {
        setup::prepare(Purpose::Bench)?;
        compile::load_tools()?;
    }
    if plan.peers.contains(&PeerName::Weir) {
        compile::weir(Talk::Quiet)?;
        elevate::become_root("loading kernel programs")?;
    }
    raise_open_file_limit()?;
    let measured = plan.measure()?;
    let rows = measured.rows();
    println!("{}", table::of_rows(&rows));
    if !measured.idle.is_empty() {
        println!("{}", table::of_idle(&measured));
    }
    if let Some(file) = &options.json {
        let text = serde_json::to_string_pretty(&rows).context("writing the figures as JSON")?;
        fs::write(file, text + "\n").with_context(|| format!("writing {}", file.display()))?;
    }
    if options.gate && !judge(&measured) {
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// What is to be done, all defaults filled in.
#[derive(Debug)]
struct Plan {
    rounds: u32,
    seconds: u32,
    repeats_disturbed: bool,
    peers: Vec<PeerName>,
    workloads: Vec<&'static Workload>,
    counts_syscalls: bool,
    /// Statements whose instructions are counted.
    stepped_statements: Option<u32>,
    idle_connections: Option<u32>,
}

impl From<&Args> for Plan {
    fn from(options: &Args) -> Self {
        let asks_for = |name: &str| {
            options.workloads.is_empty() || options.workloads.iter().any(|asked| asked == name)
        };
        let is_meant = |workload: &&Workload| {
            asks_for(workload.name)
                && (workload.is_quick || !options.quick || !options.workloads.is_empty())
        };
        let all = [
            PeerName::Direct,
            PeerName::Relay,
            PeerName::Haproxy,
            PeerName::Pgbouncer,
            PeerName::Weir,
        ];
        let (rounds, seconds, steps) = if options.quick {
            (3, 1, 50)
        } else {
            (5, 2, 200)
        };
        Self {
            rounds: options.rounds.unwrap_or(rounds),
            seconds: options.secs.unwrap_or(seconds),
            repeats_disturbed: !options.quick,
            peers: if options.peers.is_empty() {
                all.to_vec()
            } else {
                options.peers.clone()
            },
            workloads: WORKLOADS.iter().filter(is_meant).collect(),
            counts_syscalls: asks_for(SYSCALLS),
            stepped_statements: asks_for(INSTRUCTIONS).then_some(steps),
            idle_connections: asks_for(IDLE).then_some(IDLE_CONNECTIONS),
        }
    }
}

impl Plan {
    fn measure(&self) -> Result<Measurements> {
        let site = Site::start(self.peers.contains(&PeerName::Weir))?;
        let peers = self.start_peers(&site)?;
        let bench = Bench {
            server: site.server(),
            folder: site.folder(),
            seconds: self.seconds,
            processors: Processors::all()?,
            repeats_disturbed: self.repeats_disturbed,
        };
        let mut measured = Measurements::default();
        let mut disturbed = 0;
        for workload in &self.workloads {
            if let Some(direct) = peers.iter().find(|peer| peer.name == PeerName::Direct) {
                // The first run pays for caches that all later ones find filled.
                bench
                    .run(workload, direct, 0)
                    .with_context(|| failure(workload.name, direct.name))?;
            }
            for round in 0..self.rounds {
                step(&format!(
                    "{}, round {} of {}",
                    workload.name,
                    round + 1,
                    self.rounds
                ));
                for peer in interleaved(&peers, round) {
                    let run = bench.run(workload, peer, round);
                    let run = run.with_context(|| failure(workload.name, peer.name))?;
                    disturbed += u32::from(run.was_disturbed(workload));
                    measured.runs.push(run);
                }
            }
        }
        if disturbed > 0 {
            let runs = measured.runs.len();
            step(&format!(
                "{disturbed} of {runs} runs on a machine busy with other things"
            ));
        }
        for peer in &peers {
            if self.counts_syscalls {
                step(&format!("{SYSCALLS} of {}", peer.name.as_str()));
                let counts = counts::syscalls(&bench, peer);
                measured
                    .syscalls
                    .extend(counts.with_context(|| failure(SYSCALLS, peer.name))?);
            }
            if let Some(more) = self.stepped_statements {
                step(&format!("{INSTRUCTIONS} of {}", peer.name.as_str()));
                let counts = counts::instructions(&bench, peer, more);
                let counts = counts.with_context(|| failure(INSTRUCTIONS, peer.name))?;
                measured.instructions.extend(counts);
            }
        }
        if let Some(connections) = self.idle_connections {
            for name in &self.peers {
                step(&format!("{IDLE} connections of {}", name.as_str()));
                let idle = idle::measure(*name, connections, bench.folder);
                measured
                    .idle
                    .extend(idle.with_context(|| failure(IDLE, *name))?);
            }
        }
        Ok(measured)
    }

    fn start_peers(&self, site: &Site) -> Result<Vec<Peer>> {
        let port = site.server().port();
        let mut peers = Vec::new();
        for name in &self.peers {
            let peer = match (name.proxy(), name) {
                (Some(proxy), _) => Peer::proxy(proxy, port, site.folder())?,
                (None, PeerName::Weir) => site.lab().map(|lab| Peer::weir(Rc::clone(lab), port)),
                (None, _) => Some(Peer::direct(port)),
            };
            match peer {
                Some(peer) => peers.push(peer),
                None => step(&format!(
                    "{} is not installed and is left out",
                    name.as_str()
                )),
            }
        }
        Ok(peers)
    }
}

/// Direct, half of the others, direct, the other half, direct. Another order in every round, the
/// same in every benchmark.
fn interleaved(peers: &[Peer], round: u32) -> Vec<&Peer> {
    let direct = peers.iter().find(|peer| peer.name == PeerName::Direct);
    let mut others: Vec<&Peer> = peers
        .iter()
        .filter(|peer| peer.name != PeerName::Direct)
        .collect();
    if !others.is_empty() {
        let shift = round as usize % others.len();
        others.rotate_left(shift);
    }
    let (first, second) = others.split_at(others.len() / 2);
    let mut order: Vec<&Peer> = direct.into_iter().collect();
    order.extend(first);
    order.extend(direct);
    order.extend(second);
    order.extend(direct);
    order
}

fn judge(measured: &Measurements) -> bool {
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for goal in GOALS {
        let limit = match goal.limit {
            Limit::AtMost(limit) => format!("at most {limit}"),
            Limit::AtLeast(limit) => format!("at least {limit}"),
        };
        let (word, value) = match goal.judge(measured) {
            Verdict::Passed(value) => (count(&mut passed, "passed "), format!("{value:.2}")),
            Verdict::Failed(value) => (count(&mut failed, "FAILED "), format!("{value:.2}")),
            Verdict::Skipped(why) => (count(&mut skipped, "skipped"), why.to_owned()),
        };
        println!("{word}  {}, {}: {value} ({limit})", goal.work, goal.what);
    }
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    failed == 0
}

fn count(counter: &mut u32, word: &'static str) -> &'static str {
    *counter += 1;
    word
}

/// Thousands of connections need as many descriptors, twice in a proxy; children inherit this.
fn raise_open_file_limit() -> Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).context("raising the limit of open files")
}

fn measurable() -> Vec<&'static str> {
    let names = WORKLOADS.iter().map(|workload| workload.name);
    names.chain([IDLE, SYSCALLS, INSTRUCTIONS]).collect()
}

fn failure(what: &str, peer: PeerName) -> String {
    format!("measuring {what} through {}", peer.as_str())
}

const IDLE_CONNECTIONS: u32 = 1000;
