//! A browser's part, by curl.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// Where the page is.
pub(crate) struct Site {
    pub(crate) origin: String,
    pub(crate) socket: PathBuf,
    pub(crate) authority: PathBuf,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Site {
    pub(crate) fn get(&self, path: &str) -> Result<Answer> {
        self.ask(&[], path)
    }

    /// By TLS, whose certificate has to be right.
    pub(crate) fn ask(&self, arguments: &[&str], path: &str) -> Result<Answer> {
        let mut command = Command::new("curl");
        command
            .arg("--cacert")
            .arg(&self.authority)
            .args(arguments)
            .arg(format!("{}{path}", self.origin));
        if path.ends_with("/events") {
            // A stream has no end: its head is enough, and the first picture.
            command.args(["--max-time", "1"]);
        }
        run(command)
    }

    /// By this host's socket: `command` is curl, run as somebody.
    pub(crate) fn local(&self, mut command: Command, path: &str) -> Result<Answer> {
        command
            .arg("--unix-socket")
            .arg(&self.socket)
            .arg(format!("http://localhost{path}"));
        run(command)
    }

    /// Follows a stream of events.
    pub(crate) fn follow(&self, jar: &str, path: &str) -> Result<Events> {
        let mut child = Command::new("curl")
            .args(["-sSN", "-H", jar, "--cacert"])
            .arg(&self.authority)
            .arg(format!("{}{path}", self.origin))
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot run curl")?;
        let output = child.stdout.take().context("no output")?;
        let (send, events) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let event = line.strip_prefix("data: ").map(serde_json::from_str);
                if let Some(Ok(event)) = event
                    && send.send(event).is_err()
                {
                    return;
                }
            }
        });
        Ok(Events { child, events })
    }
}

fn run(mut command: Command) -> Result<Answer> {
    let output = command
        .args(["-sS", "-i"])
        .output()
        .context("cannot run curl")?;
    let text = String::from_utf8(output.stdout).context("no UTF-8")?;
    let errors = String::from_utf8_lossy(&output.stderr);
    let (head, body) = text
        .split_once("\r\n\r\n")
        .with_context(|| format!("no answer: {text} {errors}"))?;
    let mut lines = head.lines();
    let status = lines
        .next()
        .and_then(|line| line.split(' ').nth(1))
        .and_then(|status| status.parse().ok())
        .with_context(|| format!("no status: {head}"))?;
    let head = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    Ok(Answer {
        status,
        head,
        body: body.to_owned(),
    })
}

impl Answer {
    pub(crate) fn headers<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.head
            .iter()
            .filter(move |(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.head
            .iter()
            .find(|(known, _)| known == name)
            .map_or("", |(_, value)| value.as_str())
    }

    pub(crate) fn cookie(&self, name: &str) -> Result<String> {
        let begin = format!("{name}=");
        self.headers("set-cookie")
            .find_map(|line| line.strip_prefix(&begin)?.split(';').next())
            .map(str::to_owned)
            .with_context(|| format!("no cookie {name}: {self:?}"))
    }

    pub(crate) fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.body).with_context(|| format!("no JSON: {self:?}"))
    }

    /// Whether browsers are told all that keeps them from harm.
    pub(crate) fn is_enveloped(&self) -> Result<()> {
        let policy = self.header("content-security-policy");
        for part in [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "frame-ancestors 'none'",
            "form-action 'self'",
            "base-uri 'none'",
        ] {
            ensure!(policy.contains(part), "{part} is not in {policy:?}");
        }
        ensure!(!policy.contains("unsafe"), "{policy}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "same-origin"),
            ("cache-control", "no-store"),
            ("strict-transport-security", "max-age=31536000"),
        ] {
            ensure!(self.header(name) == value, "{name}: {self:?}");
        }
        let inline = self.header("content-type").starts_with("text/html")
            && self.header("content-disposition").is_empty()
            && ["<style", "style=", "onclick=", "javascript:"]
                .iter()
                .any(|word| self.body.contains(word));
        ensure!(!inline, "something is inline: {}", self.body);
        Ok(())
    }
}

/// A stream of events.
pub(crate) struct Events {
    child: Child,
    events: mpsc::Receiver<Value>,
}

impl Events {
    /// Waits for one that `is` so.
    pub(crate) fn wait(&self, limit: Duration, is: impl Fn(&Value) -> bool) -> Result<()> {
        let until = Instant::now() + limit;
        let mut last = Value::Null;
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            let Ok(event) = self.events.recv_timeout(left) else {
                break;
            };
            if is(&event) {
                return Ok(());
            }
            last = event;
        }
        bail!("it does not come; the last was {last}")
    }

    /// Waits for the end.
    pub(crate) fn ends_within(&self, limit: Duration) -> Result<()> {
        let until = Instant::now() + limit;
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            match self.events.recv_timeout(left) {
                Ok(_) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => return Ok(()),
                Err(mpsc::RecvTimeoutError::Timeout) => break,
            }
        }
        bail!("the stream goes on")
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
