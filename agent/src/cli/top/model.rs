//! What `weir top` shows and what keys do to it: neither the terminal nor the agent is in reach here.

mod cursor;
mod keys;
#[cfg(test)]
pub(super) mod tests;

use std::{path::PathBuf, time::Duration};

use super::rates::{Rates, Row};
use crate::{audit::record::Verdict, holds::Summary};
use cursor::Cursor;

/// Everything that is shown.
#[derive(Debug, Default)]
pub(super) struct Model {
    /// What the last two looks said; `None` while the agent does not answer.
    pub(super) picture: Option<Picture>,
    /// Why there is no picture.
    pub(super) absence: String,
    /// For how long nothing has come from the agent, where that is longer than it should be.
    pub(super) silence: Option<Duration>,
    /// Which list is shown.
    pub(super) pane: Pane,
    pub(super) order: SortBy,
    /// What rows must have to be shown; empty is all.
    pub(super) filter: String,
    /// What the keys mean now.
    pub(super) mode: Mode,
    /// What came of the last order.
    pub(super) notice: Option<Notice>,
    sessions: Cursor,
    holds: Cursor,
    /// The number of the page that was asked for last: what comes for others is not shown.
    pages: u64,
}

/// What two looks at the agent said.
#[derive(Debug, Clone)]
pub(super) struct Picture {
    /// The counts.
    pub(super) rates: Rates,
    /// What waits and concerns who looks, or why that is not shown.
    pub(super) holds: Result<Vec<Summary>, String>,
    /// Where the agent's record is.
    pub(super) state_dir: PathBuf,
    /// The policy's folder.
    pub(super) policy: PathBuf,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Pane {
    #[default]
    Sessions,
    Holds,
}

/// What the keys mean.
#[derive(Debug, Default)]
pub(super) enum Mode {
    /// They move in the list.
    #[default]
    Browse,
    /// They go into the filter.
    Filter,
    /// They answer a question.
    Ask(Question),
    /// They scroll a page.
    Page(Page),
}

/// A question before something is done.
#[derive(Debug)]
pub(super) struct Question {
    /// What is to be done.
    pub(super) deed: Deed,
    /// What people read.
    pub(super) text: String,
    /// Whether yes was said, so that the reason is typed now.
    pub(super) sure: bool,
    /// The reason so far.
    pub(super) reason: String,
}

/// What is done after a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deed {
    /// A session is ended.
    End(u64),
    /// It is decided about a statement that waits.
    Decide(u64, Verdict),
}

/// A text that fills the screen.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) title: String,
    pub(super) about: About,
    /// The text; `None` until it has come.
    pub(super) body: Option<String>,
    /// Lines that are scrolled away at the top.
    pub(super) scroll: u16,
    number: u64,
}

/// What a page is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum About {
    /// A session.
    Session(u64),
    /// A statement that waits.
    Held(u64),
    /// The keys.
    Keys,
}

/// What came of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Notice {
    pub(super) text: String,
    pub(super) is_problem: bool,
}

/// What the agent, or its record, is to be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Order {
    /// End a session.
    End { session: u64, reason: String },
    /// Decide about a statement that waits.
    Decide {
        id: u64,
        verdict: Verdict,
        reason: String,
    },
    /// Fill a page.
    Fill { page: u64, with: Wanted },
}

/// What a page is filled with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Who is behind a session, and what it did last.
    Session {
        session: u64,
        client: String,
        state_dir: PathBuf,
    },
    /// Why the last statement of a session was decided as it was.
    Explanation {
        session: u64,
        state_dir: PathBuf,
        policy: PathBuf,
    },
    /// All about a statement that waits.
    Held { id: u64 },
}

/// What comes from the agent.
#[derive(Debug)]
pub(super) enum News {
    /// Another look.
    Looked(Box<Picture>),
    /// It does not answer, and why.
    Gone(String),
    /// What came of an order.
    Done(Result<String, String>),
    /// What fills a page.
    Filled {
        page: u64,
        body: Result<String, String>,
    },
}

/// What a key leads to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum After {
    Go,
    Quit,
    Ask(Order),
}

/// By what sessions are sorted.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum SortBy {
    #[default]
    Rate,
    Requests,
    Denied,
    Masked,
    Session,
}

impl News {
    /// Whether it says how the agent is.
    pub(super) fn is_a_look(&self) -> bool {
        matches!(self, Self::Looked(_) | Self::Gone(_))
    }
}

impl Model {
    /// Takes what the agent says.
    pub(super) fn hear(&mut self, news: News) {
        match news {
            News::Looked(picture) => {
                self.picture = Some(*picture);
                self.settle();
            }
            News::Gone(why) => {
                self.picture = None;
                self.absence = why;
                // Nothing that could be asked for now would be done.
                if matches!(self.mode, Mode::Ask(_)) {
                    self.mode = Mode::Browse;
                }
            }
            News::Done(outcome) => self.notice = Some(Notice::of(outcome)),
            News::Filled { page: number, body } => {
                if let Mode::Page(page) = &mut self.mode
                    && page.number == number
                {
                    page.body = Some(body.unwrap_or_else(|problem| problem));
                }
            }
        }
    }

    /// The sessions that are shown, in order.
    pub(super) fn rows(&self) -> Vec<&Row> {
        let all = (self.picture.iter()).flat_map(|picture| &picture.rates.rows.0);
        let mut rows: Vec<&Row> = all.filter(|row| row.has(&self.filter)).collect();
        rows.sort_by(|a, b| {
            match self.order {
                SortBy::Rate => b.per_second.total_cmp(&a.per_second),
                SortBy::Requests => b.requests.cmp(&a.requests),
                SortBy::Denied => b.denied.cmp(&a.denied),
                SortBy::Masked => b.masked.cmp(&a.masked),
                SortBy::Session => a.session.cmp(&b.session),
            }
            .then(a.session.cmp(&b.session))
        });
        rows
    }

    /// The statements that wait, the oldest first.
    pub(super) fn waiting(&self) -> &[Summary] {
        let holds = (self.picture.as_ref()).and_then(|picture| picture.holds.as_deref().ok());
        holds.unwrap_or_default()
    }

    /// How many statements of a session wait.
    pub(super) fn held_of(&self, session: u64) -> usize {
        let waiting = self.waiting().iter();
        waiting.filter(|held| held.session == session).count()
    }

    /// Where in the shown list the selected row is.
    pub(super) fn selected(&self) -> Option<usize> {
        let ids = self.ids();
        match self.pane {
            Pane::Sessions => self.sessions.place(&ids),
            Pane::Holds => self.holds.place(&ids),
        }
    }

    fn ids(&self) -> Vec<u64> {
        match self.pane {
            Pane::Sessions => self.rows().iter().map(|row| row.session).collect(),
            Pane::Holds => self.waiting().iter().map(|held| held.id).collect(),
        }
    }

    fn cursor(&mut self) -> &mut Cursor {
        match self.pane {
            Pane::Sessions => &mut self.sessions,
            Pane::Holds => &mut self.holds,
        }
    }

    /// Keeps the selection on a row that is there.
    fn settle(&mut self) {
        let ids = self.ids();
        self.cursor().settle(&ids);
    }

    fn row(&self) -> Option<&Row> {
        let session = self.sessions.id()?;
        self.rows().into_iter().find(|row| row.session == session)
    }

    fn held(&self) -> Option<&Summary> {
        let id = self.holds.id()?;
        self.waiting().iter().find(|held| held.id == id)
    }
}

impl Notice {
    fn of(outcome: Result<String, String>) -> Self {
        let is_problem = outcome.is_err();
        Self {
            text: outcome.unwrap_or_else(|problem| problem),
            is_problem,
        }
    }

    fn problem(text: &str) -> Self {
        Self::of(Err(text.to_owned()))
    }
}

impl SortBy {
    fn next(self) -> Self {
        match self {
            Self::Rate => Self::Requests,
            Self::Requests => Self::Denied,
            Self::Denied => Self::Masked,
            Self::Masked => Self::Session,
            Self::Session => Self::Rate,
        }
    }

    /// As people read it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Rate => "statements/s",
            Self::Requests => "statements",
            Self::Denied => "denied",
            Self::Masked => "masked",
            Self::Session => "session",
        }
    }
}
