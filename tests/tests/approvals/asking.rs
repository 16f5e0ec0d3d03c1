//! A client that asks for one approval.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStderr, Stdio};

use anyhow::{Context, Result, bail};
use tests::{Identity, Lab};

/// psql with one statement, as bob.
pub(crate) struct Asking {
    psql: Child,
    said: BufReader<ChildStderr>,
}

impl Asking {
    pub(crate) fn start(lab: &Lab, sql: &str) -> Result<Self> {
        let mut psql = lab
            .command(Identity::Bob, lab.postgres().programs().client("psql"))
            .args(["-XAtq", "-v", "VERBOSITY=verbose", "-c", sql])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot run psql")?;
        let said = BufReader::new(psql.stderr.take().context("no output")?);
        Ok(Self { psql, said })
    }

    /// The number in the notice that it waits.
    pub(crate) fn number(&mut self) -> Result<u64> {
        let mut line = String::new();
        while self.said.read_line(&mut line)? > 0 {
            if let Some((_, behind)) = line.split_once("waits as request ") {
                let number = behind.split(' ').next().unwrap_or_default();
                return number.parse().with_context(|| line.clone());
            }
        }
        bail!("psql ended: {line}")
    }

    /// What else it says until it ends.
    pub(crate) fn rest(mut self) -> Result<String> {
        let mut said = String::new();
        self.said.read_to_string(&mut said)?;
        self.psql.wait()?;
        Ok(said)
    }
}
