//! One run of one workload through one peer.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use harness::Postgres;

use super::client::{self, Client};
use super::peer::{Peer, PeerName, load_tool};
use super::process::{self, Processors};
use super::statistics::{percentile, real};
use super::workload::{FILL_ROW, FILL_ROWS, Load, Workload};

/// What one run showed.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) work: &'static str,
    pub(crate) peer: PeerName,
    pub(crate) round: u32,
    /// Transactions a second, or bytes a second where bytes are what the workload is about.
    pub(crate) rate: f64,
    /// Transactions, or statements of a bulk transfer.
    pub(crate) transactions: u64,
    /// Bytes of a bulk transfer.
    pub(crate) bytes: Option<u64>,
    pub(crate) p50_us: Option<u32>,
    pub(crate) p99_us: Option<u32>,
    /// Processor time of the proxy; none where there is no proxy.
    pub(crate) proxy_time: Option<Duration>,
    /// Cores' worth of work that was neither client, proxy nor server.
    pub(crate) foreign_cores: f64,
}

/// What every run needs.
#[derive(Debug)]
pub(crate) struct Bench<'a> {
    pub(crate) server: &'a Postgres,
    pub(crate) folder: &'a Path,
    pub(crate) seconds: u32,
    pub(crate) processors: Processors,
    /// Whether a run on a busy machine is made once more.
    pub(crate) repeats_disturbed: bool,
}

impl Bench<'_> {
    /// Runs `workload` once; when asked to, once more after one that was disturbed, and keeps the
    /// quieter of the two.
    pub(crate) fn run(&self, workload: &'static Workload, peer: &Peer, round: u32) -> Result<Run> {
        let first = self.run_once(workload, peer, round)?;
        if !self.repeats_disturbed || !first.was_disturbed(workload) {
            return Ok(first);
        }
        let second = self.run_once(workload, peer, round)?;
        let is_second_quieter = second.foreign_cores < first.foreign_cores;
        Ok(if is_second_quieter { second } else { first })
    }

    fn run_once(&self, workload: &'static Workload, peer: &Peer, round: u32) -> Result<Run> {
        let processors = if workload.is_pinned {
            self.processors.last()?
        } else {
            self.processors
        };
        processors.bind_family(self.server.pid())?;
        if let Some(pid) = peer.pid() {
            processors
                .bind(pid)
                .with_context(|| format!("binding {}", peer.name.as_str()))?;
        }
        let load = self.load(workload, peer)?;
        let mut client = processors.while_bound(|| Client::start(load.command, self.folder))?;
        let before = Clocks::read(self.server, peer)?;
        client.go()?;
        let output = client.finish(self.limit())?;
        let used = Clocks::read(self.server, peer)?.since(&before);
        let figures = if workload.is_bulk() {
            Figures::from_bulk(&output)?
        } else {
            Figures::from_pgbench(&output, load.latencies.as_deref())?
        };
        Ok(Run {
            work: workload.name,
            peer: peer.name,
            round,
            rate: figures.rate,
            transactions: figures.transactions,
            bytes: figures.bytes,
            p50_us: figures.p50_us,
            p99_us: figures.p99_us,
            proxy_time: used.proxy,
            foreign_cores: used.foreign_cores(),
        })
    }

    fn load(&self, workload: &Workload, peer: &Peer) -> Result<Prepared> {
        match &workload.load {
            Load::Pgbench(arguments) => {
                let mut command = self.pgbench(peer);
                command
                    .args(*arguments)
                    .args(["-T", &self.seconds.to_string()]);
                self.with_latencies(command, workload)
            }
            Load::Script { arguments, text } => {
                let script = self.folder.join(format!("{}.sql", workload.name));
                fs::write(&script, text).context("writing the workload's script")?;
                let mut command = self.pgbench(peer);
                command
                    .args(*arguments)
                    .args(["-T", &self.seconds.to_string(), "-f"])
                    .arg(script);
                self.with_latencies(command, workload)
            }
            Load::Drain(statement) => {
                let mut command = self.bulk_client(peer, "drain")?;
                command.arg(statement);
                Ok(Prepared {
                    command,
                    latencies: None,
                })
            }
            Load::Fill(statement) => {
                let mut command = self.bulk_client(peer, "fill")?;
                command.args([statement, FILL_ROW, &FILL_ROWS.to_string()]);
                Ok(Prepared {
                    command,
                    latencies: None,
                })
            }
        }
    }

    /// pgbench as this peer's client, its target set.
    pub(crate) fn pgbench(&self, peer: &Peer) -> Command {
        let program = self.server.programs().client("pgbench");
        let mut command = client::command(peer, &program, self.folder);
        peer.set_target(&mut command);
        command.arg("-n");
        command
    }

    fn bulk_client(&self, peer: &Peer, tool: &str) -> Result<Command> {
        let mut command = client::command(peer, &load_tool("pgtool")?, self.folder);
        command.args([
            tool,
            &peer.address.to_string(),
            Postgres::USER,
            Postgres::DATABASE,
        ]);
        command.arg(self.seconds.to_string());
        Ok(command)
    }

    fn limit(&self) -> Duration {
        Duration::from_secs(u64::from(self.seconds) * 4 + 60)
    }

    fn with_latencies(&self, mut command: Command, workload: &Workload) -> Result<Prepared> {
        if workload.reconnects() {
            return Ok(Prepared {
                command,
                latencies: None,
            });
        }
        let folder = self.folder.join("latencies");
        if folder.exists() {
            fs::remove_dir_all(&folder).context("removing the latencies of the last run")?;
        }
        fs::create_dir(&folder).context("making a folder for latencies")?;
        command
            .arg("-l")
            .arg("--log-prefix")
            .arg(folder.join("run"));
        Ok(Prepared {
            command,
            latencies: Some(folder),
        })
    }
}

impl Run {
    /// Whether the machine was too busy with other things for the figures to be trusted.
    pub(crate) fn was_disturbed(&self, workload: &Workload) -> bool {
        // A pinned run needs one processor only.
        self.foreign_cores > if workload.is_pinned { 1.3 } else { 0.8 }
    }

    /// Processor time of the proxy per transaction.
    pub(crate) fn proxy_us_per_transaction(&self) -> Option<f64> {
        let time = self.proxy_time?;
        Some(time.as_secs_f64() * 1e6 / real(self.transactions.max(1)))
    }

    /// Processor time of the proxy per KiB of a bulk transfer.
    pub(crate) fn proxy_ns_per_kib(&self) -> Option<f64> {
        let bytes = self.bytes?;
        Some(self.proxy_time?.as_secs_f64() * 1e9 / (real(bytes.max(1)) / 1024.0))
    }
}

struct Prepared {
    command: Command,
    latencies: Option<PathBuf>,
}

/// Everything that is read before and after a run.
struct Clocks {
    at: Instant,
    machine: Duration,
    server: Duration,
    clients: Duration,
    proxy: Option<Duration>,
}

impl Clocks {
    fn read(server: &Postgres, peer: &Peer) -> Result<Self> {
        Ok(Self {
            at: Instant::now(),
            machine: process::machine_time()?,
            server: process::family_time(server.pid())?,
            clients: process::clients_time()?,
            proxy: peer.pid().map(process::processor_time).transpose()?,
        })
    }

    fn since(&self, before: &Self) -> Used {
        Used {
            elapsed: self.at - before.at,
            machine: self.machine.saturating_sub(before.machine),
            server: self.server.saturating_sub(before.server),
            clients: self.clients.saturating_sub(before.clients),
            proxy: self
                .proxy
                .zip(before.proxy)
                .map(|(now, then)| now.saturating_sub(then)),
        }
    }
}

struct Used {
    elapsed: Duration,
    machine: Duration,
    server: Duration,
    clients: Duration,
    proxy: Option<Duration>,
}

impl Used {
    fn foreign_cores(&self) -> f64 {
        let ours = self.server + self.clients + self.proxy.unwrap_or_default();
        process::cores(self.machine.saturating_sub(ours), self.elapsed)
    }
}

#[derive(Debug, PartialEq)]
struct Figures {
    rate: f64,
    transactions: u64,
    bytes: Option<u64>,
    p50_us: Option<u32>,
    p99_us: Option<u32>,
}

impl Figures {
    /// Reads what pgbench prints, and the logs it left in the folder `latencies`.
    fn from_pgbench(output: &str, latencies: Option<&Path>) -> Result<Self> {
        let value = |label: &str| {
            let rest = output.lines().find_map(|line| line.strip_prefix(label));
            let word = rest.and_then(|rest| rest.split_whitespace().next());
            word.with_context(|| format!("pgbench printed no `{label}`: {output}"))
        };
        let failed: u64 = value("number of failed transactions:")?.parse()?;
        ensure!(failed == 0, "{failed} transactions failed: {output}");
        let mut sorted = latencies
            .map(read_latencies)
            .transpose()?
            .unwrap_or_default();
        sorted.sort_unstable();
        let processed = value("number of transactions actually processed:")?;
        Ok(Self {
            rate: value("tps =")?.parse()?,
            // With `-t` it is `done/wanted`.
            transactions: processed.split('/').next().unwrap_or(processed).parse()?,
            bytes: None,
            p50_us: percentile(&sorted, 50),
            p99_us: percentile(&sorted, 99),
        })
    }

    /// Reads what the bulk clients print.
    fn from_bulk(output: &str) -> Result<Self> {
        let words: Vec<&str> = client::last_line(output).split_whitespace().collect();
        let [times, bytes, seconds] = words[..] else {
            bail!("the bulk client printed something else: {output}");
        };
        let bytes: u64 = bytes.parse()?;
        Ok(Self {
            rate: real(bytes) / seconds.parse::<f64>()?,
            transactions: times.parse()?,
            bytes: Some(bytes),
            p50_us: None,
            p99_us: None,
        })
    }
}

/// The third field of each line, in microseconds.
/// <https://www.postgresql.org/docs/current/pgbench.html>, "Per-Transaction Logging"
fn read_latencies(folder: &Path) -> Result<Vec<u32>> {
    let mut latencies = Vec::new();
    for file in fs::read_dir(folder).context("listing pgbench's logs")? {
        let text = fs::read_to_string(file?.path()).context("reading pgbench's log")?;
        for line in text.lines() {
            let field = line
                .split(' ')
                .nth(2)
                .context("pgbench's log has an unknown form")?;
            latencies.push(field.parse()?);
        }
    }
    Ok(latencies)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_from_what_pgbench_prints() {
        let output = "transaction type: <builtin: select only>\n\
            number of transactions actually processed: 43210\n\
            number of failed transactions: 0 (0.000%)\n\
            tps = 21605.123456 (without initial connection time)\n";
        let figures = Figures::from_pgbench(output, None).expect("it is complete");
        assert_eq!(figures.transactions, 43_210);
        assert!((figures.rate - 21_605.123_456).abs() < 1e-9);
    }

    #[test]
    fn a_failed_transaction_fails_the_run() {
        let output = "number of transactions actually processed: 5/9\n\
            number of failed transactions: 4 (44%)\ntps = 1.0 (x)\n";
        let error = Figures::from_pgbench(output, None).expect_err("four failed");
        assert!(
            error.to_string().contains("4 transactions failed"),
            "{error}"
        );
    }

    #[test]
    fn bulk_figures_are_bytes_a_second() {
        let figures = Figures::from_bulk("weir: alice\n10 2048 0.5\n").expect("it is complete");
        assert_eq!(
            (figures.rate, figures.transactions, figures.bytes),
            (4096.0, 10, Some(2048))
        );
        assert!(Figures::from_bulk("10 2048").is_err());
    }

    #[test]
    fn costs_are_per_transaction_and_per_kib() {
        let run = Run {
            work: "rows10k",
            peer: PeerName::Relay,
            round: 0,
            rate: 1.0,
            transactions: 4,
            bytes: Some(2048),
            p50_us: None,
            p99_us: None,
            proxy_time: Some(Duration::from_micros(100)),
            foreign_cores: 0.0,
        };
        assert_eq!(run.proxy_us_per_transaction(), Some(25.0));
        assert_eq!(run.proxy_ns_per_kib(), Some(50_000.0));
    }
}
