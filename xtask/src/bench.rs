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
//! A run while the rest of the machine was busy is made once more.
//!
//! **What stays put on a noisy machine:** the proxy's own processor time per transaction, read
//! from its process clock; the `-pin` workloads, where client, proxy and server share one
//! processor; system calls (`strace -c`), instructions (single-stepped, the difference of a long
//! and a short run) and resident memory per idle connection (1,000 of them in front of a fake
//! server). Rates with 8 or 32 clients wander: compare them with the relay's of the same run.
//! pgbouncer keeps server connections for the next client, so its `conn` is another kind of work.
//!
//! **weir** runs as shipped: programs in the kernel, `policies/baseline`, an identified client,
//! every statement decided and recorded, TLS off. Its clients dial the database's own address from
//! within the watched cgroup. They become somebody before the clocks are read.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::rc::Rc;

use anyhow::{Context, Result, ensure};
use clap::Args;
use clap::builder::PossibleValuesParser;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tests::lab::LabOptions;
use tests::{Lab, Postgres, PostgresOptions, place};

use gate::{GOALS, Limit, Verdict};
use peer::{Peer, PeerName};
use process::Processors;
use run::Bench;
use summary::Measurements;
use workload::{FILL_TABLE, IDLE, INSTRUCTIONS, SYSCALLS, WORKLOADS, Workload};

mod client;
mod counts;
mod gate;
mod idle;
mod peer;
mod process;
mod run;
mod statistics;
mod summary;
mod table;
mod workload;

/// Compares weir with a direct connection, a bare relay, haproxy and pgbouncer.
#[derive(Debug, Args)]
pub(crate) struct Options {
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

/// Runs the benchmark and prints its table; fails when a peer fails or, with `--gate`, a goal is
/// missed.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let plan = Plan::from(options);
    raise_open_file_limit()?;
    build(&plan.peers)?;
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
    peers: Vec<PeerName>,
    workloads: Vec<&'static Workload>,
    counts_syscalls: bool,
    /// Transactions in the difference between the two runs.
    instruction_transactions: Option<u64>,
    idle_connections: Option<u32>,
}

impl From<&Options> for Plan {
    fn from(options: &Options) -> Self {
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
            (3, 1, 40)
        } else {
            (5, 2, 100)
        };
        Self {
            rounds: options.rounds.unwrap_or(rounds),
            seconds: options.secs.unwrap_or(seconds),
            peers: if options.peers.is_empty() {
                all.to_vec()
            } else {
                options.peers.clone()
            },
            workloads: WORKLOADS.iter().filter(is_meant).collect(),
            counts_syscalls: asks_for(SYSCALLS),
            instruction_transactions: asks_for(INSTRUCTIONS).then_some(steps),
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
            folder: site.folder.path(),
            seconds: self.seconds,
            processors: Processors::all()?,
        };
        let mut measured = Measurements::default();
        for workload in &self.workloads {
            if let Some(direct) = peers.iter().find(|peer| peer.name == PeerName::Direct) {
                // The first run pays for caches that all later ones find filled.
                bench.run(workload, direct, 0).with_context(|| failure(workload.name, direct.name))?;
            }
            for round in 0..self.rounds {
                progress(&format!(
                    "{}, round {} of {}",
                    workload.name,
                    round + 1,
                    self.rounds
                ));
                for peer in interleaved(&peers, round) {
                    let run = bench.run(workload, peer, round);
                    let run = run.with_context(|| failure(workload.name, peer.name))?;
                    if run.was_disturbed(workload) {
                        progress(&format!("{} ran on a busy machine", peer.name.as_str()));
                    }
                    measured.runs.push(run);
                }
            }
        }
        for peer in &peers {
            if self.counts_syscalls {
                progress(&format!("{SYSCALLS} of {}", peer.name.as_str()));
                let counts = counts::syscalls(&bench, peer);
                measured
                    .syscalls
                    .extend(counts.with_context(|| failure(SYSCALLS, peer.name))?);
            }
            if let Some(more) = self.instruction_transactions {
                progress(&format!("{INSTRUCTIONS} of {}", peer.name.as_str()));
                let counts = counts::instructions(&bench, peer, more);
                let counts = counts.with_context(|| failure(INSTRUCTIONS, peer.name))?;
                measured.instructions.extend(counts);
            }
        }
        if let Some(connections) = self.idle_connections {
            for name in &self.peers {
                progress(&format!("{IDLE} connections of {}", name.as_str()));
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
            let peer = match (name.proxy(), &site.place) {
                (Some(proxy), _) => Peer::proxy(proxy, port, site.folder.path())?,
                (None, Place::Lab(lab)) if *name == PeerName::Weir => {
                    Some(Peer::weir(Rc::clone(lab), port))
                }
                (None, _) => Some(Peer::direct(port)),
            };
            match peer {
                Some(peer) => peers.push(peer),
                None => progress(&format!(
                    "{} is not installed and is left out",
                    name.as_str()
                )),
            }
        }
        Ok(peers)
    }
}

/// The server that every peer leads to.
struct Site {
    place: Place,
    folder: tempfile::TempDir,
}

enum Place {
    /// The lab's: weir's clients are bound to one of its people.
    Lab(Rc<Lab>),
    Alone(Postgres),
}

impl Site {
    fn start(with_weir: bool) -> Result<Self> {
        progress("starting the server");
        let folder = tempfile::Builder::new().prefix("weir-bench-").tempdir()?;
        // PostgreSQL and pgbouncer run as another user.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        let settings = SERVER_SETTINGS.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let place = if with_weir {
            let options = LabOptions {
                server_settings: settings.to_vec(),
                ..LabOptions::default()
            };
            Place::Lab(Rc::new(Lab::start(&options)?))
        } else {
            let options = PostgresOptions {
                settings: settings.to_vec(),
                ..PostgresOptions::default()
            };
            Place::Alone(Postgres::start(folder.path(), &options)?)
        };
        let site = Self { place, folder };
        site.fill()?;
        Ok(site)
    }

    fn server(&self) -> &Postgres {
        match &self.place {
            Place::Lab(lab) => lab.postgres(),
            Place::Alone(server) => server,
        }
    }

    fn fill(&self) -> Result<()> {
        progress("filling the database");
        let server = self.server();
        let output = Command::new(server.programs().client("pgbench"))
            .args(["-i", "-q", "-s", SCALE, "-U", Postgres::USER, "-h"])
            .arg(server.socket_folder())
            .args(["-p", &server.port().to_string(), Postgres::DATABASE])
            .stdin(Stdio::null())
            .output()
            .context("running pgbench")?;
        let words = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "filling the database: {}",
            words.trim()
        );
        server.admin(Postgres::DATABASE, FILL_TABLE)?;
        server.admin(Postgres::DATABASE, "CHECKPOINT")?;
        Ok(())
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

/// Builds the load tools and, where it is compared, the agent: all as they are shipped.
fn build(peers: &[PeerName]) -> Result<()> {
    let mut packages = vec!["loadtools"];
    if peers.contains(&PeerName::Weir) {
        packages.push("weir");
    }
    for package in packages {
        progress(&format!("building {package}"));
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let status = Command::new(cargo)
            .args(["build", "--quiet", "--release", "--package", package])
            .current_dir(place::project())
            .status()
            .context("running cargo")?;
        ensure!(status.success(), "cannot build {package}");
    }
    Ok(())
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

fn progress(text: &str) {
    eprintln!("bench: {text}");
}

const SCALE: &str = "10";

const IDLE_CONNECTIONS: u32 = 1000;

/// `fsync` is off in every server of the harness.
const SERVER_SETTINGS: [(&str, &str); 3] = [
    ("autovacuum", "off"),
    ("shared_buffers", "256MB"),
    ("max_wal_size", "4GB"),
];
