//! `weir approvals`: decides about statements that wait.

pub(super) mod show;
mod watch;

use std::{process::ExitCode, time::Duration};

use anyhow::Context as _;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{
    audit::record::Verdict,
    cli::output::print,
    control::{
        Client,
        protocol::{Approvals, Request},
        socket_path,
    },
    holds::{Decided, Exact, Grant, View},
};

/// Lists, shows and decides statements that wait for an approval. You decide as who you are logged in as: see `weir whoami`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 done, 1 not done (the message says why).\n\nExamples:\n  weir approvals list\n  weir approvals show 4711 --values\n  weir approvals approve 4711 --reason \"ticket 12, checked with Ann\"\n  weir approvals watch"
)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// What waits and concerns you, and approvals that last
    #[command(after_help = "Example:\n  weir approvals list --json | jq '.waiting[].id'")]
    List {
        #[command(flatten)]
        form: Form,
    },
    /// All about one that waits: what it does, who asks, with which process, what the server expects
    #[command(after_help = "Example:\n  weir approvals show 4711 --values")]
    Show {
        /// The request's number
        id: u64,
        /// The exact text and values too, for those who may decide; that they were shown is recorded
        #[arg(long)]
        values: bool,
        #[command(flatten)]
        form: Form,
    },
    /// Lets one run
    #[command(
        after_help = "Examples:\n  weir approvals approve 4711 --reason \"ticket 12\"\n  weir approvals approve 4711 --reason \"migration tonight\" --for 2h"
    )]
    Approve {
        /// The request's number
        id: u64,
        /// Why, in one line; it is recorded
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// The same statement of the same requester needs no other approval for so long, whatever its values; written 15m, 2h
        #[arg(long = "for", value_name = "TIME", value_parser = duration)]
        lasting: Option<Duration>,
        /// In an emergency: at once and whoever asks, if the rule names your group for that; it is alarmed
        #[arg(long, conflicts_with = "lasting")]
        break_glass: bool,
        #[command(flatten)]
        form: Form,
    },
    /// Refuses one
    #[command(after_help = "Example:\n  weir approvals deny 4711 --reason \"use the copy\"")]
    Deny {
        /// The request's number
        id: u64,
        /// Why, in one line; the client reads it
        #[arg(long, value_name = "TEXT")]
        reason: String,
        #[command(flatten)]
        form: Form,
    },
    /// Takes back an approval that lasts
    #[command(after_help = "Example:\n  weir approvals revoke 4711 --reason \"migration is done\"")]
    Revoke {
        /// The number of the request that it was given for
        id: u64,
        /// Why, in one line; it is recorded
        #[arg(long, value_name = "TEXT")]
        reason: String,
        #[command(flatten)]
        form: Form,
    },
    /// Shows what waits as it comes, and decides by a key: a approves, d denies, v shows values, n goes to the next, q quits
    #[command(
        after_help = "Without a terminal, or with --json, it prints one line for each that begins to wait.\n\nExample:\n  weir approvals watch"
    )]
    Watch {
        #[command(flatten)]
        form: Form,
    },
}

#[derive(Debug, Clone, Copy, clap::Args)]
struct Form {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::List { form } => {
            let answer = ask(&Request::Approvals)?;
            form.print(&answer, |approvals: &Approvals| show::list(approvals))
        }
        Command::Show { id, values, form } => {
            let mut answer = ask(&Request::Approval { id })?;
            let exact = values
                .then(|| ask(&Request::ApprovalValues { id }))
                .transpose()?;
            if form.json {
                answer["exact"] = exact.unwrap_or_default();
                print(&format!("{answer:#}\n"))?;
                return Ok(ExitCode::SUCCESS);
            }
            let exact: Option<Exact> = exact.map(read).transpose()?;
            print(&show::one(&read::<View>(answer)?, exact.as_ref()))?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Approve {
            id,
            reason,
            lasting,
            break_glass,
            form,
        } => {
            let answer = ask(&Request::Decide {
                id,
                verdict: Verdict::Approved,
                reason,
                lasting_s: lasting.map(|lasting| lasting.as_secs()),
                break_glass,
            })?;
            form.print(&answer, |decided: &Decided| show::approved(decided))
        }
        Command::Deny { id, reason, form } => {
            let answer = ask(&Request::Decide {
                id,
                verdict: Verdict::Denied,
                reason,
                lasting_s: None,
                break_glass: false,
            })?;
            form.print(&answer, |decided: &Decided| {
                format!("{} is denied\n", decided.id)
            })
        }
        Command::Revoke { id, reason, form } => {
            let answer = ask(&Request::RevokeApproval { id, reason })?;
            form.print(&answer, |grant: &Grant| {
                format!("{} holds no longer\n", grant.approval)
            })
        }
        Command::Watch { form } => watch::run(form.json),
    }
}

impl Form {
    fn print<T: DeserializeOwned>(
        self,
        answer: &Value,
        show: impl FnOnce(&T) -> String,
    ) -> anyhow::Result<ExitCode> {
        if self.json {
            print(&format!("{answer:#}\n"))?;
        } else {
            print(&show(&read(answer.clone())?))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Decides about one that waits, once; what came of it, for people to read.
///
/// # Errors
///
/// When the agent refuses.
pub(super) fn decide(id: u64, verdict: Verdict, reason: String) -> anyhow::Result<String> {
    let answer = ask(&Request::Decide {
        id,
        verdict,
        reason,
        lasting_s: None,
        break_glass: false,
    })?;
    Ok(match verdict {
        Verdict::Approved => show::approved(&read::<Decided>(answer)?)
            .trim_end()
            .to_owned(),
        Verdict::Denied => format!("{id} is denied"),
    })
}

pub(super) fn ask(request: &Request) -> anyhow::Result<Value> {
    Ok(Client::connect(&socket_path())?.ask(request)?)
}

pub(super) fn read<T: DeserializeOwned>(answer: Value) -> anyhow::Result<T> {
    serde_json::from_value(answer).context("cannot read the agent's answer")
}

fn duration(text: &str) -> Result<Duration, String> {
    weir_policy::schema::parse_duration(text)
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| "write 90s, 15m, 2h or 1d".to_owned())
}
