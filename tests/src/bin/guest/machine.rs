//! The machine itself: file systems, modules, loopback, and the way off.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::fd::AsRawFd as _;

use anyhow::{Context, Result};
use nix::mount::{MsFlags, mount};
use nix::sys::reboot::{RebootMode, reboot};
use serde_json::{Value, json};

use crate::checks;

/// Makes the machine usable, runs the checks, and switches it off.
pub(crate) fn run() -> Result<()> {
    let prepared = prepare();
    let mut lines = Lines::open();
    let outcome = prepared.and_then(|()| checks::run(&mut lines));
    match outcome {
        Ok(()) => lines.say(&json!({"end": "done"})),
        Err(error) => lines.say(&json!({"end": "failed", "error": format!("{error:#}")})),
    }
    drop(lines);
    nix::unistd::sync();
    reboot(RebootMode::RB_POWER_OFF).context("cannot switch off")?;
    Ok(())
}

/// The second serial port: one JSON object a line. The first one is the kernel's.
pub(crate) struct Lines {
    port: Option<File>,
}

impl Lines {
    fn open() -> Self {
        let port = File::options().write(true).open("/dev/ttyS1").ok();
        if let Some(port) = &port {
            raw(port);
        }
        Self { port }
    }

    /// Says one thing that happened.
    pub(crate) fn say(&mut self, what: &Value) {
        println!("{what}");
        if let Some(port) = &mut self.port {
            let _ = writeln!(port, "{what}");
            let _ = nix::sys::termios::tcdrain(&*port);
        }
    }
}

/// No translation of line ends, no echo.
fn raw(port: &File) {
    use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};
    if let Ok(mut settings) = tcgetattr(port) {
        cfmakeraw(&mut settings);
        let _ = tcsetattr(port, SetArg::TCSANOW, &settings);
    }
}

fn prepare() -> Result<()> {
    for (kind, place) in FILE_SYSTEMS {
        fs::create_dir_all(place).with_context(|| format!("cannot make {place}"))?;
        mount(
            Some(kind),
            place,
            Some(kind),
            MsFlags::empty(),
            None::<&str>,
        )
        .with_context(|| format!("cannot mount {kind} at {place}"))?;
    }
    let mut modules: Vec<_> = fs::read_dir("/modules")
        .context("there is no /modules")?
        .flatten()
        .map(|entry| entry.path())
        .collect();
    // They are numbered in the order in which they need one another.
    modules.sort();
    for module in modules {
        let file =
            File::open(&module).with_context(|| format!("cannot read {}", module.display()))?;
        nix::kmod::finit_module(&file, c"", nix::kmod::ModuleInitFlags::empty())
            .with_context(|| format!("cannot load {}", module.display()))?;
    }
    raise_loopback()
}

const FILE_SYSTEMS: [(&str, &str); 7] = [
    ("proc", "/proc"),
    ("sysfs", "/sys"),
    ("devtmpfs", "/dev"),
    ("tmpfs", "/tmp"),
    ("tmpfs", "/run"),
    ("cgroup2", "/sys/fs/cgroup"),
    ("bpf", "/sys/fs/bpf"),
];

fn raise_loopback() -> Result<()> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").context("cannot make a socket")?;
    // SAFETY: all zeroes are a valid `ifreq`.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = libc::c_char::try_from(*from).unwrap_or_default();
    }
    request.ifr_ifru.ifru_flags = libc::c_short::try_from(libc::IFF_UP | libc::IFF_RUNNING)
        .context("flags that do not fit")?;
    // SAFETY: the request is complete and outlives the call.
    let raised = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    nix::errno::Errno::result(raised).context("cannot raise loopback")?;
    Ok(())
}
