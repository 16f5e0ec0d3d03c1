//! `weir approvals watch`: what waits as it comes, decided by a key.

use std::{
    collections::BTreeSet,
    io::{IsTerminal as _, Write as _, stdout},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context as _;
use ratatui::crossterm::{
    event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers},
    terminal,
};

use super::{ask, read, show};
use crate::{
    audit::record::Verdict,
    control::protocol::{Approvals, Request},
    holds::{Exact, Summary, View},
    terminal::visible_line,
};

pub(super) fn run(json: bool) -> anyhow::Result<ExitCode> {
    if json || !stdout().is_terminal() || !std::io::stdin().is_terminal() {
        return lines(json);
    }
    terminal::enable_raw_mode().context("cannot take over the terminal")?;
    let outcome = Watch::default().run();
    terminal::disable_raw_mode().context("cannot give the terminal back")?;
    outcome.map(|()| ExitCode::SUCCESS)
}

/// One line for each that begins to wait, until interrupted.
fn lines(json: bool) -> anyhow::Result<ExitCode> {
    let mut seen = BTreeSet::new();
    loop {
        let waiting = waiting()?;
        for held in waiting.iter().filter(|held| !seen.contains(&held.id)) {
            let line = if json {
                serde_json::to_string(held)?
            } else {
                summary(held)
            };
            let mut out = stdout().lock();
            writeln!(out, "{line}")?;
            out.flush()?;
        }
        seen = waiting.iter().map(|held| held.id).collect();
        std::thread::sleep(EVERY);
    }
}

#[derive(Default)]
struct Watch {
    /// What is shown and decided about.
    current: Option<u64>,
}

impl Watch {
    fn run(&mut self) -> anyhow::Result<()> {
        say("waiting; a approves, d denies, v shows values, n goes to the next, q quits")?;
        loop {
            let waiting = waiting()?;
            self.follow(&waiting)?;
            if !event::poll(EVERY)? {
                continue;
            }
            let Event::Key(key) = event::read()? else {
                continue;
            };
            if key.kind != KeyEventKind::Press {
                continue;
            }
            if is_quit(&key) {
                return Ok(());
            }
            self.key(key.code, &waiting)?;
        }
    }

    /// Shows the next where the one that was shown waits no more.
    fn follow(&mut self, waiting: &[Summary]) -> anyhow::Result<()> {
        if let Some(id) = self.current {
            if waiting.iter().any(|held| held.id == id) {
                return Ok(());
            }
            say(&format!("{id} waits no more"))?;
            self.current = None;
        }
        match waiting.first() {
            Some(held) => self.show(held.id),
            None => Ok(()),
        }
    }

    fn show(&mut self, id: u64) -> anyhow::Result<()> {
        self.current = Some(id);
        match ask(&Request::Approval { id }) {
            Ok(answer) => say(&format!("\n{}", show::one(&read::<View>(answer)?, None))),
            Err(error) => say(&format!("{error:#}")),
        }
    }

    fn key(&mut self, code: KeyCode, waiting: &[Summary]) -> anyhow::Result<()> {
        let Some(id) = self.current else {
            return Ok(());
        };
        match code {
            KeyCode::Char('a') => decide(id, Verdict::Approved),
            KeyCode::Char('d') => decide(id, Verdict::Denied),
            KeyCode::Char('v') => values(id),
            KeyCode::Char('n') => {
                let next = waiting.iter().find(|held| held.id > id).or(waiting.first());
                next.map_or(Ok(()), |held| self.show(held.id))
            }
            _ => Ok(()),
        }
    }
}

fn decide(id: u64, verdict: Verdict) -> anyhow::Result<()> {
    let what = match verdict {
        Verdict::Approved => "approve",
        Verdict::Denied => "deny",
    };
    let Some(reason) = typed(&format!("{what} {id}, because: "))? else {
        return say("not decided");
    };
    match super::decide(id, verdict, reason) {
        Ok(said) => say(&said),
        Err(error) => say(&format!("{error:#}")),
    }
}

fn values(id: u64) -> anyhow::Result<()> {
    let view = ask(&Request::Approval { id });
    match view.and_then(|view| Ok((view, ask(&Request::ApprovalValues { id })?))) {
        Ok((view, exact)) => say(&show::one(
            &read::<View>(view)?,
            Some(&read::<Exact>(exact)?),
        )),
        Err(error) => say(&format!("{error:#}")),
    }
}

/// One line from the keyboard; `None` when it is given up.
fn typed(prompt: &str) -> anyhow::Result<Option<String>> {
    let mut line = String::new();
    loop {
        let mut out = stdout().lock();
        write!(out, "\r\x1b[K{prompt}{line}")?;
        out.flush()?;
        drop(out);
        let Event::Key(key) = event::read()? else {
            continue;
        };
        if key.kind != KeyEventKind::Press {
            continue;
        }
        match key.code {
            KeyCode::Enter => {
                say("")?;
                return Ok((!line.trim().is_empty()).then_some(line));
            }
            KeyCode::Esc => {
                say("")?;
                return Ok(None);
            }
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => {
                say("")?;
                return Ok(None);
            }
            KeyCode::Backspace => {
                line.pop();
            }
            KeyCode::Char(typed) => line.push(typed),
            _ => {}
        }
    }
}

fn is_quit(key: &KeyEvent) -> bool {
    let interrupt = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
    interrupt || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc)
}

fn waiting() -> anyhow::Result<Vec<Summary>> {
    Ok(read::<Approvals>(ask(&Request::Approvals)?)?.waiting)
}

fn summary(held: &Summary) -> String {
    format!(
        "{} {} on {}: {}",
        held.id,
        visible_line(&held.requester),
        visible_line(&held.database),
        show::line(&held.text)
    )
}

/// In raw mode a line has to be brought back to its beginning.
fn say(text: &str) -> anyhow::Result<()> {
    let mut out = stdout().lock();
    for line in text.lines() {
        write!(out, "{line}\r\n")?;
    }
    out.flush()?;
    Ok(())
}

const EVERY: Duration = Duration::from_millis(250);
