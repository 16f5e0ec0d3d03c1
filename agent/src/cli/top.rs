//! `weir top`: live sessions, what they ask, what is refused, masked and held; and what to do about it.

mod link;
mod model;
mod rates;
mod record;
mod screen;
mod snapshot;
mod terminal;

use std::{io::Write as _, process::ExitCode, time::Duration};

/// Shows live sessions as they work: who asks, with which program, how much, what is refused, masked and held.
///
/// Keys: arrows select, Enter shows all about it, / filters, s sorts, e explains the last decision, x ends the session, Tab goes to
/// what waits for an approval, where a approves and d denies, ? lists all keys, q quits. It is for root; to approve, log in.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "NO_COLOR in the environment takes the colours away.\n\nExit codes: 0 quit, 1 the agent cannot be reached, or this is no terminal.\n\nExamples:\n  weir top\n  weir top --once --interval 5"
)]
pub(super) struct Args {
    /// Seconds between two looks.
    #[arg(long, default_value_t = 1, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=60))]
    interval: u64,
    /// Look twice, print plain text, and end.
    #[arg(long)]
    once: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let interval = Duration::from_secs(args.interval);
    // An agent that is not there from the beginning is an error, not something to wait for.
    let first = link::look()?;
    if args.once {
        std::thread::sleep(interval);
        let text = link::look()?.since(&first).plain();
        std::io::stdout().write_all(text.as_bytes())?;
    } else {
        terminal::run(interval)?;
    }
    Ok(ExitCode::SUCCESS)
}
