//! Counts the user-space instructions a running process executes while a command runs.
//!
//! The threads of the process are single-stepped with ptrace. That is slow (a few microseconds per
//! instruction) and exact: the count does not depend on what else the machine does. It needs
//! neither hardware counters, which virtual machines often hide, nor an emulator, which would
//! have to know every system call of the process — kernel programs are loaded with calls that
//! valgrind does not know.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context, bail};
use clap::Parser;
use nix::errno::Errno;
use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// Prints `counting` once it does, and in the end `<instructions> <seconds>`: what process PID
/// executed while the command ran.
#[derive(Parser)]
struct Arguments {
    /// Counts only the threads whose name begins so, and leaves the others alone: for a process of
    /// which some threads have to keep time.
    #[arg(long, value_name = "PREFIX", default_value = "")]
    only: String,
    /// The process to count.
    pid: i32,
    /// The command to run meanwhile; its standard output is discarded.
    #[arg(required = true, trailing_var_arg = true)]
    command: Vec<String>,
}

fn main() -> anyhow::Result<()> {
    let Arguments { only, pid, command } = Arguments::parse();
    let threads = threads_of(pid, &only).with_context(|| format!("listing threads of {pid}"))?;
    if threads.is_empty() {
        bail!("process {pid} has no thread whose name begins with {only:?}");
    }
    let mut stepper = Stepper::seize(threads)?;
    println!("counting");
    let start = Instant::now();
    let outcome = run(&command).and_then(|child| stepper.step_until_exit_of(&child));
    let elapsed = start.elapsed();
    // A thread that is left in single-step mode would be killed by its next trap.
    stepper.release()?;
    match outcome? {
        0 => println!("{} {:.6}", stepper.instructions, elapsed.as_secs_f64()),
        code => bail!("{command:?} ended with status {code}"),
    }
    Ok(())
}

fn run(command: &[String]) -> anyhow::Result<Child> {
    let [program, arguments @ ..] = command else {
        bail!("no command given");
    };
    Command::new(program)
        .args(arguments)
        .stdout(Stdio::null())
        .spawn()
        .with_context(|| format!("starting {program}"))
}

struct Stepper {
    threads: BTreeSet<Pid>,
    instructions: u64,
}

impl Stepper {
    fn seize(threads: Vec<Pid>) -> anyhow::Result<Self> {
        let mut stepper = Self {
            threads: BTreeSet::new(),
            instructions: 0,
        };
        for thread in threads {
            ptrace::seize(thread, ptrace::Options::PTRACE_O_TRACECLONE)
                .with_context(|| format!("tracing thread {thread}"))?;
            stepper.threads.insert(thread);
            ptrace::interrupt(thread).with_context(|| format!("stopping thread {thread}"))?;
        }
        Ok(stepper)
    }

    /// Steps every thread until `child` has ended; returns its exit status.
    fn step_until_exit_of(&mut self, child: &Child) -> anyhow::Result<i32> {
        let child = Pid::from_raw(child.id().cast_signed());
        loop {
            let signal = match waitpid(None, Some(WaitPidFlag::__WALL))? {
                WaitStatus::Exited(pid, code) if pid == child => return Ok(code),
                WaitStatus::Signaled(pid, signal, _) if pid == child => {
                    bail!("the command was ended by {signal}")
                }
                WaitStatus::Exited(thread, _) | WaitStatus::Signaled(thread, _, _) => {
                    self.threads.remove(&thread);
                    if self.threads.is_empty() {
                        bail!("the counted process has ended");
                    }
                    continue;
                }
                WaitStatus::Stopped(thread, Signal::SIGTRAP) => {
                    self.instructions += 1;
                    (thread, None)
                }
                WaitStatus::Stopped(thread, signal) => (thread, Some(signal)),
                WaitStatus::PtraceEvent(thread, ..) => {
                    self.threads.insert(thread);
                    (thread, None)
                }
                _ => continue,
            };
            step(signal.0, signal.1)?;
        }
    }

    /// Stops every thread once more and lets it go on untraced.
    fn release(&mut self) -> anyhow::Result<()> {
        for thread in std::mem::take(&mut self.threads) {
            match ptrace::interrupt(thread) {
                Ok(()) => {}
                Err(Errno::ESRCH) => continue,
                Err(errno) => return Err(errno).context("stopping a thread"),
            }
            let mut stop = waitpid(thread, Some(WaitPidFlag::__WALL))?;
            if matches!(stop, WaitStatus::PtraceEvent(..)) && trap_is_pending(thread)? {
                // The last step ended just before the interruption: let its trap arrive here.
                ptrace::cont(thread, None)?;
                stop = waitpid(thread, Some(WaitPidFlag::__WALL))?;
            }
            let signal = match stop {
                WaitStatus::Exited(..) | WaitStatus::Signaled(..) => continue,
                WaitStatus::Stopped(_, signal) if signal != Signal::SIGTRAP => Some(signal),
                _ => None,
            };
            ptrace::detach(thread, signal).context("letting a thread go on")?;
        }
        Ok(())
    }
}

fn step(thread: Pid, signal: Option<Signal>) -> anyhow::Result<()> {
    match ptrace::step(thread, signal) {
        // The thread was killed between its stop and this call; its end is reported next.
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(errno) => Err(errno).with_context(|| format!("stepping thread {thread}")),
    }
}

fn trap_is_pending(thread: Pid) -> anyhow::Result<bool> {
    let status = fs::read_to_string(format!("/proc/{thread}/status"))?;
    let pending = status.lines().find_map(|line| line.strip_prefix("SigPnd:"));
    let pending = pending.context("looking for pending signals of a thread")?;
    let set = u64::from_str_radix(pending.trim(), 16).context("reading pending signals")?;
    Ok(set & (1 << (Signal::SIGTRAP as u32 - 1)) != 0)
}

fn threads_of(pid: i32, prefix: &str) -> io::Result<Vec<Pid>> {
    let mut threads = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
        let entry = entry?;
        let name = fs::read_to_string(entry.path().join("comm"))?;
        if let Ok(id) = entry.file_name().to_string_lossy().parse()
            && name.starts_with(prefix)
        {
            threads.push(Pid::from_raw(id));
        }
    }
    Ok(threads)
}
