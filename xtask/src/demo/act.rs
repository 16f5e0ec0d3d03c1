//! One thing shown: what is run, why, what it printed, and whether that is what should have happened.

use std::io::{IsTerminal as _, Write as _};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result};
use harness::{Identity, Lab};

/// Where it is shown: standard output, with colours on a terminal.
#[derive(Debug)]
pub(super) struct Stage {
    has_colours: bool,
}

/// A session of psql: the statements run one after the other on one connection.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) title: &'static str,
    pub(super) why: &'static str,
    pub(super) identity: Identity,
    pub(super) statements: &'static [&'static str],
    /// What the output must contain, in this order.
    pub(super) expected: &'static [&'static str],
    /// What must be true in the database afterwards: a query, asked behind weir's back, and its answer.
    pub(super) truth: Option<(&'static str, &'static str)>,
}

impl Stage {
    pub(super) fn new() -> Self {
        Self {
            has_colours: std::io::stdout().is_terminal(),
        }
    }

    /// Says what is running.
    pub(super) fn introduce(&self, lab: &Lab) {
        let port = lab.postgres().port();
        self.say(&format!(
            "\nPostgreSQL {} listens on 127.0.0.1:{port}. The clients below are the distribution's own psql: no wrapper, no\n\
             changed connection string, no weir library. Kernel programs redirect their sockets to the agent, which\n\
             knows the process behind each, the verified identity behind the process, and decides every statement\n\
             before the server sees it (policies/baseline).",
            lab.postgres().programs().version(),
        ));
    }

    /// Plays one session; returns whether it went as it should.
    pub(super) fn play(&self, lab: &Lab, session: &Session) -> Result<bool> {
        self.title(session.title, session.why);
        self.say(&format!("  {} $ psql", session.identity.name()));
        let output = psql(lab, session)?;
        self.quote(&output);
        let mut complaints = missing_from(&output, session.expected);
        if let Some((query, answer)) = session.truth {
            let found = lab.admin(query)?;
            if found != answer {
                complaints.push(format!("`{query}` should be {answer}, is {found}"));
            }
        }
        Ok(self.judge(&complaints))
    }

    /// Runs a command and shows what it printed; returns whether it went as it should, and its output.
    pub(super) fn show(
        &self,
        shown: &str,
        command: &mut Command,
        expected: &[&str],
    ) -> Result<(bool, Output)> {
        self.say(&format!("  $ {shown}"));
        let output = command
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("cannot run {shown}"))?;
        let text = [&output.stdout[..], &output.stderr[..]]
            .map(String::from_utf8_lossy)
            .concat();
        self.quote(&text);
        let mut complaints = missing_from(&text, expected);
        if !output.status.success() {
            complaints.push(format!("`{shown}` ended with {}", output.status));
        }
        Ok((self.judge(&complaints), output))
    }

    /// A heading and the reason for what follows.
    pub(super) fn title(&self, title: &str, why: &str) {
        let (bold, plain) = if self.has_colours {
            ("\x1b[1m", "\x1b[0m")
        } else {
            ("", "")
        };
        self.say(&format!("\n{bold}── {title}{plain}\n   {why}"));
    }

    /// Says whether it went as told.
    pub(super) fn judge(&self, complaints: &[String]) -> bool {
        let (green, red, plain) = if self.has_colours {
            ("\x1b[32m", "\x1b[31m", "\x1b[0m")
        } else {
            ("", "", "")
        };
        if complaints.is_empty() {
            self.say(&format!("  {green}as it should be{plain}"));
        }
        for complaint in complaints {
            self.say(&format!("  {red}NOT AS IT SHOULD BE: {complaint}{plain}"));
        }
        complaints.is_empty()
    }

    fn quote(&self, text: &str) {
        for line in text.trim_end().lines() {
            self.say(&format!("  │ {line}"));
        }
    }

    /// A reader who went away is no reason to stop before the clean-up.
    #[expect(
        clippy::unused_self,
        reason = "everything that is said goes through the stage"
    )]
    fn say(&self, text: &str) {
        let _ = writeln!(std::io::stdout(), "{text}");
    }
}

/// Runs the statements through psql as a person would type them; errors stand where they happened.
fn psql(lab: &Lab, session: &Session) -> Result<String> {
    let mut command = lab.command(session.identity, "sh");
    command.args(["-c", "exec psql -X --echo-queries --pset=footer=on 2>&1"]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot run psql")?;
    let mut input = child.stdin.take().context("psql has no input")?;
    // A psql that was refused does not read: its words say so.
    let _ = input.write_all((session.statements.join("\n") + "\n").as_bytes());
    drop(input);
    let output = child.wait_with_output().context("cannot read from psql")?;
    // What was said before psql took over comes first.
    Ok([&output.stderr[..], &output.stdout[..]]
        .map(String::from_utf8_lossy)
        .concat())
}

/// Which of `expected` do not follow one another in `text`.
fn missing_from(text: &str, expected: &[&str]) -> Vec<String> {
    let mut rest = text;
    let mut complaints = Vec::new();
    for part in expected {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => complaints.push(format!("the output has no {part:?} at this place")),
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expectations_hold_in_order() {
        assert!(missing_from("one two three", &["one", "three"]).is_empty());
        assert_eq!(missing_from("one two three", &["three", "one"]).len(), 1);
    }
}
