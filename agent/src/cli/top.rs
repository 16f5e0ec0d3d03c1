//! `weir top`: live sessions, what they ask, what is refused and masked.

mod screen;
mod snapshot;

use std::{
    io::{IsTerminal, Write as _},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, bail};
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};

use crate::control::{Client, protocol::Request, socket_path};
use screen::View;
use snapshot::Snapshot;

/// Shows live sessions: who asks, with which program, how much, what is refused and what is masked.
///
/// Keys: q quits, s sorts by the next column, / filters by a text, Escape takes the filter away.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 quit, 1 the agent cannot be reached.\n\nExamples:\n  weir top\n  weir top --once --interval 5"
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
    let first = look()?;
    if args.once {
        std::thread::sleep(interval);
        let text = look()?.since(&first).plain();
        std::io::stdout().write_all(text.as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    }
    if !std::io::stdout().is_terminal() {
        bail!("standard output is no terminal: use --once, or `weir status --json` for scripts");
    }
    let mut terminal = ratatui::try_init().context("cannot take over the terminal")?;
    let outcome = watch(&mut terminal, first, interval);
    ratatui::restore();
    outcome.map(|()| ExitCode::SUCCESS)
}

fn watch(
    terminal: &mut ratatui::DefaultTerminal,
    mut last: Snapshot,
    interval: Duration,
) -> anyhow::Result<()> {
    let mut view = View::default();
    let mut rates = last.since(&last);
    loop {
        terminal.draw(|frame| view.draw(frame, &rates))?;
        if event::poll(interval.saturating_sub(last.age()))? {
            if let Event::Key(key) = event::read()?
                && key.kind == KeyEventKind::Press
            {
                let interrupted =
                    key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
                if interrupted || view.key(key.code) == screen::After::Quit {
                    return Ok(());
                }
            }
        } else {
            let now = look()?;
            rates = now.since(&last);
            last = now;
        }
    }
}

fn look() -> anyhow::Result<Snapshot> {
    let status = Client::connect(&socket_path())?.ask(&Request::Status)?;
    Ok(Snapshot::read(&status))
}
