//! A virtual machine with a Debian kernel in which the agent runs: for what this machine's kernel cannot do or refuses.
//!
//! QEMU emulates it in full, so that it needs nothing of the host. The machine is the kernel and one archive with the
//! programs and their libraries; its first process, `guest`, says on a serial port what happens.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::place;
use crate::service::{Ending, Service};

mod archive;
mod kernel;

pub use kernel::Kernel;

/// What the machine said, line by line.
#[derive(Debug)]
pub struct Transcript {
    lines: Vec<Value>,
    console: String,
}

impl Transcript {
    /// The first thing said by that name.
    ///
    /// # Panics
    ///
    /// When nothing was; what was said instead is in the message.
    #[must_use]
    pub fn of(&self, name: &str) -> &Value {
        self.lines
            .iter()
            .find_map(|line| line.get(name))
            .unwrap_or_else(|| panic!("the machine did not say {name:?}:\n{}", self.in_full()))
    }

    /// Everything, for a message.
    #[must_use]
    pub fn in_full(&self) -> String {
        let lines: Vec<String> = self.lines.iter().map(Value::to_string).collect();
        format!("{}\non its console:\n{}", lines.join("\n"), self.console)
    }

    /// Each thing said.
    pub fn lines(&self) -> impl Iterator<Item = &Value> {
        self.lines.iter()
    }
}

/// Boots the kernel, has `guest` try everything, and returns what it said.
///
/// # Errors
///
/// When the machine cannot be made, does not come to its end in time, or says that something could not be tried; the
/// message has the end of its console.
pub fn run(kernel: &Kernel) -> Result<Transcript> {
    let folder = tempfile::tempdir().context("cannot make a folder for the machine")?;
    let initrd = folder.path().join("initrd");
    archive::write(kernel, &initrd)?;
    let said = folder.path().join("said");
    let console = folder.path().join("console");
    let mut command = Command::new(PROGRAM);
    command
        .args(MACHINE)
        .arg("-serial")
        .arg(format!("file:{}", console.display()))
        .arg("-serial")
        .arg(format!("file:{}", said.display()))
        .arg("-kernel")
        .arg(kernel.image())
        .arg("-initrd")
        .arg(&initrd)
        .args(["-append", KERNEL_ARGUMENTS]);
    let log = folder.path().join("log");
    let machine = Service::start(PROGRAM, command, &log, Ending::default())?;
    let deadline = Instant::now() + LIMIT;
    let ended = loop {
        if let Some(status) = machine.ended() {
            break Some(status);
        }
        if Instant::now() > deadline {
            break None;
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    let words = machine.log();
    drop(machine);
    let transcript = Transcript {
        lines: parse(&fs::read(&said).unwrap_or_default()),
        console: end_of(&fs::read(&console).unwrap_or_default()),
    };
    let Some(status) = ended else {
        bail!(
            "the machine with Linux {} was not over within {LIMIT:?}:\n{}",
            kernel.release(),
            transcript.in_full()
        );
    };
    ensure!(
        status.success(),
        "{PROGRAM} ended with {status}: {words}\n{}",
        transcript.in_full()
    );
    let is_done = transcript
        .lines
        .last()
        .is_some_and(|line| line["end"] == "done");
    ensure!(
        is_done,
        "the machine with Linux {} did not come to the end of its checks:\n{}",
        kernel.release(),
        transcript.in_full()
    );
    Ok(transcript)
}

/// Lines that are no JSON are the emulator's or the kernel's.
fn parse(said: &[u8]) -> Vec<Value> {
    said.split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice(line.trim_ascii()).ok())
        .collect()
}

fn end_of(console: &[u8]) -> String {
    let text = String::from_utf8_lossy(console);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(60)..].join("\n")
}

/// The shared libraries that a program is linked to, its loader included.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let output = Command::new("ldd")
        .arg(program)
        .stdin(Stdio::null())
        .output()
        .context("cannot run ldd")?;
    ensure!(
        output.status.success(),
        "ldd cannot read {}: {}",
        program.display(),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    // `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x…)`, `/lib64/ld-linux-x86-64.so.2 (0x…)`
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
        .map(PathBuf::from)
        .collect())
}

/// The programs that go into the machine: where they are here, and there.
fn programs() -> Result<[(PathBuf, &'static str); 2]> {
    let guest = place::programs()?.join("guest");
    ensure!(
        guest.is_file(),
        "{} is missing: run `cargo build --release --workspace --bin guest`",
        guest.display()
    );
    Ok([(place::weir()?, "bin/weir"), (guest, "init")])
}

const PROGRAM: &str = "qemu-system-x86_64";

/// One processor: kernels change their own code while others run it, which the emulator gets wrong now and then.
const MACHINE: &[&str] = &[
    "-accel",
    "tcg,thread=single",
    "-cpu",
    "max",
    "-m",
    "1024",
    "-smp",
    "1",
    "-display",
    "none",
    "-nodefaults",
    "-no-reboot",
];

/// A panic ends the machine, and so the test.
const KERNEL_ARGUMENTS: &str =
    "console=ttyS0 panic=-1 loglevel=4 mitigations=off WEIR_BIN=/bin/weir HOME=/";

/// A boot with everything takes 10 to 40 seconds; a busy machine gets its time.
const LIMIT: Duration = Duration::from_mins(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_json_is_not_taken_for_words() {
        let said = b"{\"kernel\":\"6.1\"}\r\n[    1.0] noise\n{\"end\":\"done\"}\n";
        let lines = parse(said);
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[1]["end"], "done");
    }
}
