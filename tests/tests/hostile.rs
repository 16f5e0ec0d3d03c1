//! Input that no driver sends: denied or closed with a reason, in bounded memory, and nobody else is harmed.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::verdicts::{self, Program};
use tests::{Identity, Lab, LabOptions};

/// What the agent may hold at any moment beyond what it held before, while 64 MiB messages, a gigabyte that never
/// comes and clients that do not read go through it.
const MEMORY_KIB: u64 = 96 * 1024;

#[test]
fn hostile_input_harms_nobody() -> Result<()> {
    let lab = Lab::start(&LabOptions::default())?;
    let agent = lab.agent().pid().context("the agent does not run")?;
    let before = resident_kib(agent)?;
    let done = AtomicBool::new(false);
    let (verdicts, most) = thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut most = 0;
            while !done.load(Ordering::Relaxed) {
                most = most.max(resident_kib(agent).unwrap_or_default());
                thread::sleep(Duration::from_millis(20));
            }
            most
        });
        let verdicts = verdicts::run(Program::python("hostile.py").governed(&lab, Identity::Bob));
        done.store(true, Ordering::Relaxed);
        (verdicts, watch.join().unwrap_or_default())
    });
    for verdict in verdicts.as_ref().map(Vec::as_slice).unwrap_or_default() {
        println!("{}: {}", verdict.case, verdict.got);
    }
    println!("the agent held {before} KiB before and {most} KiB at most");
    verdicts::all_well(&verdicts?)?;
    ensure!(
        lab.agent().pid() == Some(agent) && lab.agent().status()?["ready"] == true,
        "the agent is not itself any more: {}",
        lab.agent().log()
    );
    ensure!(most < before + MEMORY_KIB, "{before} KiB became {most} KiB");
    Ok(())
}

/// The resident memory of a process.
fn resident_kib(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))
        .with_context(|| format!("process {pid} is gone"))?;
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.trim().trim_end_matches(" kB").parse().ok())
        .with_context(|| format!("process {pid} has no VmRSS"))
}
