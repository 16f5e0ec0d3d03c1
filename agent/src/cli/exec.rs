//! `weir exec`: runs an AI agent or tool under a delegated identity.

use std::{ffi::OsString, process::ExitCode, time::Duration};

use anyhow::Context;

use super::{login, whoami};
use crate::{
    control::{
        Client,
        protocol::{Binding, Request},
        socket_path,
    },
    identity::RunBudget,
};

/// Run an agent that acts for you, with the rights that you both have.
///
/// You are logged in already. The agent and all it starts are marked: they never count as you alone.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  weir exec --agent churn-bot --purpose 'weekly report' --ttl 30m --budget rows=10000,bytes=50MB -- python3 report.py")]
pub(super) struct Args {
    /// The agent's name at its issuer
    #[arg(long, value_name = "NAME")]
    agent: String,
    /// What it is for, as it will be recorded
    #[arg(long, value_name = "TEXT")]
    purpose: Option<String>,
    /// Says that the agent acts for you, which is the only way so far
    #[arg(long = "for", value_name = "WHOM", value_parser = ["me"])]
    on_behalf: Option<String>,
    /// How long the agent may act: 90s, 30m, 1h, 1d
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = parse_time)]
    ttl: Duration,
    /// What it may use up in all, over all its connections: rows, bytes or both
    #[arg(long, value_name = "BUDGET", value_parser = parse_budget)]
    budget: Option<RunBudget>,
    /// The command to run
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<OsString>,
}

/// Binds this process to the agent and becomes the command.
///
/// # Errors
///
/// When the agent refuses, or the command cannot be started.
pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    // Before the request: the mark would mean little if a set-user-id program could be used to leave it.
    nix::sys::prctl::set_no_new_privs()
        .context("cannot give up gaining privileges (no_new_privs)")?;
    let request = Request::Exec {
        agent: args.agent,
        purpose: args.purpose,
        ttl_seconds: args.ttl.as_secs(),
        budget: args.budget,
    };
    let answer = Client::connect(&socket_path())?.ask(&request)?;
    let binding: Binding =
        serde_json::from_value(answer).context("cannot read the agent's answer")?;
    whoami::announce(&binding);
    login::become_command(&args.command)
}

fn parse_time(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no time: write 90s, 30m, 1h or 1d");
    let unit = text.chars().last().ok_or_else(wrong)?;
    let factor = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let count: u64 = text[..text.len() - unit.len_utf8()]
        .parse()
        .map_err(|_| wrong())?;
    let seconds = count
        .checked_mul(factor)
        .filter(|seconds| *seconds > 0)
        .ok_or_else(wrong)?;
    Ok(Duration::from_secs(seconds))
}

fn parse_budget(text: &str) -> Result<RunBudget, String> {
    let mut budget = RunBudget::default();
    for part in text.split(',') {
        let wrong = || format!("{part:?} is no budget: write rows=10000, bytes=50MB or both");
        let (name, value) = part.split_once('=').ok_or_else(wrong)?;
        let place = match name.trim() {
            "rows" => &mut budget.rows,
            "bytes" => &mut budget.bytes,
            _ => return Err(wrong()),
        };
        let amount = parse_amount(value.trim(), name.trim() == "bytes").ok_or_else(wrong)?;
        if place.replace(amount).is_some() {
            return Err(format!("{name:?} is given twice"));
        }
    }
    Ok(budget)
}

/// A number; of bytes also with kB, MB or GB (powers of ten) or KiB, MiB, GiB (of two).
fn parse_amount(text: &str, of_bytes: bool) -> Option<u64> {
    let digits = text.trim_end_matches(|char: char| char.is_ascii_alphabetic());
    let factor = match text.get(digits.len()..)? {
        "" => 1,
        _ if !of_bytes => return None,
        "B" => 1,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    digits.trim_end().parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_are_rows_and_bytes() {
        let budget = |rows, bytes| Ok(RunBudget { rows, bytes });
        assert_eq!(
            parse_budget("rows=10000,bytes=50MB"),
            budget(Some(10_000), Some(50_000_000))
        );
        assert_eq!(parse_budget("bytes=1 KiB"), budget(None, Some(1_024)));
        assert_eq!(parse_budget("rows=0"), budget(Some(0), None));
        for wrong in [
            "",
            "rows",
            "rows=",
            "rows=1k",
            "rows=-1",
            "bytes=1XB",
            "rows=1,rows=2",
            "statements=1",
            "bytes=99999999999GB",
        ] {
            assert!(parse_budget(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_have_a_unit() {
        assert_eq!(parse_time("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_time("1h"), Ok(Duration::from_hours(1)));
        for wrong in [
            "",
            "1",
            "h",
            "-1h",
            "0s",
            "1hh",
            "1é",
            "99999999999999999999d",
            "18446744073709551615d",
        ] {
            assert!(parse_time(wrong).is_err(), "{wrong}");
        }
    }
}
