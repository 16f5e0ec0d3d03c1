//! A program that runs beside the test until the test is over.

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::undo::Undo;

/// A running program that is stopped when this is dropped. Its output goes to a file.
#[derive(Debug)]
pub struct Service {
    name: &'static str,
    pid: u32,
    child: Arc<Mutex<Child>>,
    log: PathBuf,
    ending: Ending,
    undo: Option<Undo>,
}

/// How a program is asked to end, and for how long before it is killed.
#[derive(Clone, Copy, Debug)]
pub struct Ending {
    /// The signal that asks.
    pub signal: Signal,
    /// How long it may take.
    pub patience: Duration,
}

impl Default for Ending {
    fn default() -> Self {
        Self {
            signal: Signal::SIGTERM,
            patience: Duration::from_secs(10),
        }
    }
}

impl Service {
    /// Starts `command` with no input and its output in the file `log`.
    ///
    /// # Errors
    ///
    /// When the file cannot be made or the program cannot be started.
    pub fn start(
        name: &'static str,
        mut command: Command,
        log: &Path,
        ending: Ending,
    ) -> Result<Self> {
        let output = File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("cannot write {}", log.display()))?;
        let errors = output.try_clone().context("cannot share the log file")?;
        // A group of its own: an interrupt typed at the terminal reaches the harness, which then ends things in order.
        let child = command
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {name}: {command:?}"))?;
        let pid = child.id();
        let child = Arc::new(Mutex::new(child));
        let held = Arc::clone(&child);
        let undo = Undo::new(move || end(&held, ending));
        Ok(Self {
            name,
            pid,
            child,
            log: log.to_path_buf(),
            ending,
            undo: Some(undo),
        })
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// What the program has written so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read(&self.log)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// How it ended, or `None` while it runs.
    #[must_use]
    pub fn ended(&self) -> Option<ExitStatus> {
        lock(&self.child).try_wait().ok().flatten()
    }

    /// Waits until `is_ready` says so.
    ///
    /// # Errors
    ///
    /// When the program ends first or `limit` passes; the message carries the end of its output.
    pub fn wait_until(&self, limit: Duration, mut is_ready: impl FnMut() -> bool) -> Result<()> {
        let deadline = Instant::now() + limit;
        loop {
            if is_ready() {
                return Ok(());
            }
            if let Some(status) = self.ended() {
                bail!("{} ended early ({status}):\n{}", self.name, self.log_end());
            }
            if Instant::now() > deadline {
                bail!(
                    "{} was not ready within {limit:?}:\n{}",
                    self.name,
                    self.log_end()
                );
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Sends a signal.
    ///
    /// # Errors
    ///
    /// When the program has ended already.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let mut child = lock(&self.child);
        if let Some(status) = child.try_wait().context("cannot look after the program")? {
            bail!("{} has ended already ({status})", self.name);
        }
        send(&child, signal);
        Ok(())
    }

    /// Ends it as dropping does and says how it ended.
    ///
    /// # Errors
    ///
    /// When the kernel does not say how.
    pub fn stop(mut self) -> Result<ExitStatus> {
        self.end_now()
    }

    /// Kills it without a chance to clean up.
    ///
    /// # Errors
    ///
    /// When the kernel does not say how it ended.
    pub fn kill(mut self) -> Result<ExitStatus> {
        self.ending = Ending {
            signal: Signal::SIGKILL,
            patience: Duration::from_secs(10),
        };
        send(&lock(&self.child), Signal::SIGKILL);
        self.end_now()
    }

    fn end_now(&mut self) -> Result<ExitStatus> {
        drop(self.undo.take());
        let status = lock(&self.child)
            .wait()
            .with_context(|| format!("cannot tell how {} ended", self.name))?;
        Ok(status)
    }

    fn log_end(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }
}

fn end(child: &Mutex<Child>, ending: Ending) {
    let mut child = lock(child);
    if matches!(child.try_wait(), Ok(Some(_))) {
        return;
    }
    send(&child, ending.signal);
    let deadline = Instant::now() + ending.patience;
    while Instant::now() < deadline {
        if matches!(child.try_wait(), Ok(Some(_))) {
            return;
        }
        thread::sleep(Duration::from_millis(5));
    }
    let _ = child.kill();
    let _ = child.wait();
}

/// The child has not been waited for, so its id cannot belong to anyone else.
fn send(child: &Child, signal: Signal) {
    if let Ok(pid) = i32::try_from(child.id()) {
        let _ = kill(Pid::from_raw(pid), signal);
    }
}

fn lock(child: &Mutex<Child>) -> MutexGuard<'_, Child> {
    child.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_service_is_gone() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut command = Command::new("sleep");
        command.arg("60");
        let service = Service::start(
            "sleep",
            command,
            &folder.path().join("log"),
            Ending::default(),
        )
        .expect("started");
        let process = PathBuf::from(format!("/proc/{}", service.pid()));
        assert!(process.exists());
        drop(service);
        assert!(!process.exists());
    }

    #[test]
    fn one_that_ends_early_is_reported_with_its_words() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut command = Command::new("sh");
        command.args(["-c", "echo the reason; exit 3"]);
        let service = Service::start("sh", command, &folder.path().join("log"), Ending::default())
            .expect("started");
        let error = service
            .wait_until(Duration::from_secs(5), || false)
            .expect_err("it ended");
        assert!(error.to_string().contains("the reason"), "{error}");
    }
}
