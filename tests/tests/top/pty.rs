//! A program at a terminal of its own, what it shows, and what is typed into it.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{LocalFlags, tcgetattr};
use nix::unistd::Pid;

/// A program that runs at a terminal.
pub(crate) struct AtTerminal {
    child: Child,
    /// What is typed goes in here.
    keys: File,
    seen: Arc<Mutex<Seen>>,
    reader: Option<JoinHandle<()>>,
}

struct Seen {
    screen: vt100::Parser,
    bytes: Vec<u8>,
}

impl AtTerminal {
    /// Starts what `command` says with a terminal of `columns` and `rows` as its own.
    pub(crate) fn start(command: &mut Command, columns: u16, rows: u16) -> Result<Self> {
        let size = Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let pty = openpty(&size, None).context("no terminal is to be had")?;
        command
            .stdin(pty.slave.try_clone()?)
            .stdout(pty.slave.try_clone()?)
            .stderr(pty.slave)
            .env("TERM", "xterm-256color");
        let child = command.spawn().context("cannot start it")?;
        // The command holds the terminal's other end, and reading would never end.
        command.stdin(std::process::Stdio::null());
        command.stdout(std::process::Stdio::null());
        command.stderr(std::process::Stdio::null());
        let keys = File::from(pty.master);
        let mut output = keys.try_clone()?;
        let seen = Arc::new(Mutex::new(Seen {
            screen: vt100::Parser::new(rows, columns, 0),
            bytes: Vec::new(),
        }));
        let into = Arc::clone(&seen);
        let reader = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // The end is an error, as nobody holds the other side.
            while let Ok(count @ 1..) = output.read(&mut buffer) {
                let mut seen = into.lock().unwrap_or_else(PoisonError::into_inner);
                seen.screen.process(&buffer[..count]);
                seen.bytes.extend_from_slice(&buffer[..count]);
            }
        });
        Ok(Self {
            child,
            keys,
            seen,
            reader: Some(reader),
        })
    }

    /// Types.
    pub(crate) fn press(&mut self, keys: &str) -> Result<()> {
        self.keys
            .write_all(keys.as_bytes())
            .context("the terminal takes no keys")
    }

    /// What the terminal shows now.
    pub(crate) fn text(&self) -> String {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.screen.screen().contents()
    }

    /// All that was ever written to the terminal.
    pub(crate) fn written(&self) -> String {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&seen.bytes).into_owned()
    }

    /// Waits until the terminal shows what is wanted.
    pub(crate) fn shows(&self, what: &str, wanted: impl Fn(&str) -> bool) -> Result<String> {
        let until = Instant::now() + PATIENCE;
        loop {
            let text = self.text();
            if wanted(&text) {
                return Ok(text);
            }
            if Instant::now() > until {
                bail!("the terminal does not show {what}:\n{text}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Whether the terminal hands over what is typed line by line and shows it: not so while a program has taken it over.
    pub(crate) fn is_given_back(&self) -> Result<bool> {
        let flags = tcgetattr(self.keys.as_fd())?.local_flags;
        let screen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let screen = screen.screen.screen();
        Ok(flags.contains(LocalFlags::ICANON | LocalFlags::ECHO)
            && !screen.alternate_screen()
            && !screen.hide_cursor())
    }

    /// Sends the program a signal.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.child.id())?;
        kill(Pid::from_raw(pid), signal).context("cannot signal it")
    }

    /// Waits for the program's end, and until all it wrote was read.
    pub(crate) fn end(&mut self) -> Result<ExitStatus> {
        let until = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            if Instant::now() > until {
                bail!("it does not end; it shows:\n{}", self.text());
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        if let Some(reader) = self.reader.take()
            && reader.join().is_err()
        {
            bail!("what it wrote could not be read");
        }
        Ok(status)
    }
}

impl Drop for AtTerminal {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const PATIENCE: Duration = Duration::from_secs(10);
