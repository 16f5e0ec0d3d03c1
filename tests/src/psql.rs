//! A psql that stays and is spoken to.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::lab::{Identity, Lab};

/// A client that stays.
#[derive(Debug)]
pub struct Psql {
    child: Child,
    input: ChildStdin,
    output: mpsc::Receiver<String>,
}

impl Psql {
    /// Starts it as somebody; it connects at once.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn start(lab: &Lab, identity: Identity) -> Result<Self> {
        let mut child = lab
            .command(identity, "psql")
            .args(["-XAtq"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let input = child.stdin.take().context("no input")?;
        let (send, output) = mpsc::channel();
        let streams: [Box<dyn std::io::Read + Send>; 2] = [
            Box::new(child.stdout.take().context("no output")?),
            Box::new(child.stderr.take().context("no errors")?),
        ];
        for stream in streams {
            let send = send.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    if send.send(line).is_err() {
                        return;
                    }
                }
            });
        }
        Ok(Self {
            child,
            input,
            output,
        })
    }

    /// Gives it statements, and does not wait.
    ///
    /// # Errors
    ///
    /// When it has ended.
    pub fn say(&mut self, sql: &str) -> Result<()> {
        writeln!(self.input, "{sql}").context("psql takes nothing")
    }

    /// Gives it a statement; the next line of what it says.
    ///
    /// # Errors
    ///
    /// When it has ended, or says nothing.
    pub fn ask(&mut self, sql: &str) -> Result<String> {
        self.say(sql)?;
        self.output
            .recv_timeout(Duration::from_secs(20))
            .context("psql does not answer")
    }

    /// Whether the next statement finds the session ended, and why.
    #[must_use]
    pub fn ends_with(&mut self, words: &str) -> bool {
        // The pipe may be closed already.
        let _ = self.say("select 1;");
        self.says(words)
    }

    /// Whether it says this, sooner or later.
    #[must_use]
    pub fn says(&self, words: &str) -> bool {
        while let Ok(line) = self.output.recv_timeout(Duration::from_secs(10)) {
            if line.contains(words) {
                return true;
            }
        }
        false
    }
}

impl Drop for Psql {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
