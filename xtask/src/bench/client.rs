//! A client that is ready to start but waits until the clocks have been read.
//!
//! A client of weir first becomes somebody, which costs the agent processor time that must not
//! be counted as part of the load. So every client, of any peer, waits at a gate.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use harness::Service;
use harness::service::Ending;
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use super::peer::Peer;

/// A client, waiting or at work. It is ended when this is dropped.
#[derive(Debug)]
pub(crate) struct Client {
    service: Service,
    gate: File,
}

/// The command that waits at the gate in `folder` and then becomes `program`.
pub(crate) fn command(peer: &Peer, program: &Path, folder: &Path) -> Command {
    let mut command = peer.client("sh".as_ref());
    command
        .args(["-c", WAIT_THEN_RUN])
        .arg(folder.join(GATE))
        .arg(program);
    command
}

/// The result of a client that says it last: `weir login` speaks before it.
pub(crate) fn last_line(output: &str) -> &str {
    output.lines().next_back().unwrap_or_default()
}

impl Client {
    /// Starts what [`command`] made, for the same `folder`, and returns when it waits.
    pub(crate) fn start(command: Command, folder: &Path) -> Result<Self> {
        let (gate, log) = (folder.join(GATE), folder.join("client.log"));
        for old in [&gate, &log] {
            if old.exists() {
                fs::remove_file(old).context("removing what the last client left")?;
            }
        }
        mkfifo(&gate, Mode::S_IRUSR | Mode::S_IWUSR).context("making the clients' gate")?;
        let service = Service::start("the client", command, &log, ENDING)?;
        let mut opened = None;
        service.wait_until(START_LIMIT, || {
            // Succeeds only once the other end reads.
            opened = File::options()
                .write(true)
                .custom_flags(libc::O_NONBLOCK)
                .open(&gate)
                .ok();
            opened.is_some()
        })?;
        let gate = opened.context("opening the clients' gate")?;
        Ok(Self { service, gate })
    }

    /// Lets the client go.
    pub(crate) fn go(&mut self) -> Result<()> {
        self.gate.write_all(b"\n").context("letting the client go")
    }

    /// Waits until it has printed the line `word`.
    pub(crate) fn wait_for(&self, word: &str, limit: Duration) -> Result<()> {
        let has_printed = || self.service.log().lines().any(|line| line == word);
        self.service.wait_until(limit, has_printed)
    }

    /// Waits for its successful end and returns what it printed.
    pub(crate) fn finish(self, limit: Duration) -> Result<String> {
        let deadline = Instant::now() + limit;
        loop {
            match self.service.ended() {
                Some(status) if status.success() => return Ok(self.service.log()),
                Some(status) => bail!(
                    "the client failed ({status}): {}",
                    self.service.log().trim()
                ),
                None if Instant::now() > deadline => bail!("the client does not end"),
                None => thread::sleep(LOOK_INTERVAL),
            }
        }
    }
}

const GATE: &str = "gate";

const WAIT_THEN_RUN: &str = "read -r _ < \"$0\" && exec \"$@\"";

/// Becoming somebody included.
const START_LIMIT: Duration = Duration::from_secs(20);

/// Seldom enough that looking costs a pinned run nothing.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// Nobody waits for what a client has to say when the benchmark ends early.
const ENDING: Ending = Ending {
    signal: Signal::SIGTERM,
    patience: Duration::from_secs(2),
};
