//! The terminal: taken over, given back however the command ends.

use std::{
    io::IsTerminal as _,
    io::{Stdout, stdin, stdout},
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use nix::sys::signal::{SigSet, Signal};
use ratatui::{
    Terminal,
    backend::CrosstermBackend,
    crossterm::event::{self, Event, KeyEventKind},
};

use super::{
    link,
    model::{After, Model, News},
    screen::{Screen, Theme},
};

/// What wakes the screen.
enum Wake {
    Terminal(Event),
    News(News),
    /// A signal asks for the end.
    End,
    /// The terminal cannot be read any more.
    Lost(std::io::Error),
}

impl From<News> for Wake {
    fn from(news: News) -> Self {
        Self::News(news)
    }
}

/// Shows the agent until somebody quits.
///
/// # Errors
///
/// The terminal cannot be taken over, drawn on or read.
pub(super) fn run(interval: Duration) -> anyhow::Result<()> {
    if !stdout().is_terminal() || !stdin().is_terminal() {
        bail!("this is no terminal: use --once, or `weir status --json` for scripts");
    }
    // Before other threads begin, which inherit it: the one that waits for them gets these signals.
    let mut ends = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT] {
        ends.add(signal);
    }
    ends.thread_block().context("cannot wait for signals")?;
    // A panic gives the terminal back too.
    let mut terminal = ratatui::try_init().context("cannot take over the terminal")?;
    let outcome = show(&mut terminal, interval, ends);
    ratatui::restore();
    outcome
}

fn show(
    terminal: &mut Terminal<CrosstermBackend<Stdout>>,
    interval: Duration,
    ends: SigSet,
) -> anyhow::Result<()> {
    let (to, wakes) = channel();
    listen(&to, ends);
    let looks = to.clone();
    thread::spawn(move || link::keep_looking(interval, &looks));
    watch(terminal, interval + PATIENCE, &to, &wakes)
}

fn watch(
    terminal: &mut Terminal<CrosstermBackend<Stdout>>,
    patience: Duration,
    to: &Sender<Wake>,
    wakes: &Receiver<Wake>,
) -> anyhow::Result<()> {
    let mut model = Model::default();
    let mut screen = Screen::new(Theme::of_environment());
    let mut heard = Instant::now();
    loop {
        let silence = heard.elapsed();
        model.silence = (silence >= patience).then_some(silence);
        terminal.draw(|frame| screen.draw(frame, &model))?;
        let wake = match wakes.recv_timeout(patience) {
            Ok(wake) => wake,
            // The agent hangs.
            Err(RecvTimeoutError::Timeout) => continue,
            Err(error) => return Err(error).context("nothing is left that could be shown"),
        };
        match wake {
            Wake::End => return Ok(()),
            Wake::Lost(error) => return Err(error).context("cannot read the terminal"),
            Wake::News(news) => {
                if news.is_a_look() {
                    heard = Instant::now();
                }
                model.hear(news);
            }
            Wake::Terminal(Event::Key(key)) if key.kind == KeyEventKind::Press => {
                match model.key(key) {
                    After::Go => {}
                    After::Quit => return Ok(()),
                    After::Ask(order) => {
                        let to = to.clone();
                        // Whether somebody still listens when it is done is not known here.
                        thread::spawn(move || to.send(link::carry_out(order).into()));
                    }
                }
            }
            // Another size draws anew as well.
            Wake::Terminal(_) => {}
        }
    }
}

/// Keys and signals.
fn listen(to: &Sender<Wake>, ends: SigSet) {
    let keys = to.clone();
    thread::spawn(move || {
        loop {
            let (wake, is_lost) = match event::read() {
                Ok(event) => (Wake::Terminal(event), false),
                Err(error) => (Wake::Lost(error), true),
            };
            if keys.send(wake).is_err() || is_lost {
                return;
            }
        }
    });
    let signals = to.clone();
    thread::spawn(move || {
        // It fails for what is no signal only, and these are.
        if ends.wait().is_ok() {
            let _ = signals.send(Wake::End);
        }
    });
}

/// How much longer than between two looks the agent may take for an answer before that is said.
const PATIENCE: Duration = Duration::from_secs(2);
