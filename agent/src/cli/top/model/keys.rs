//! What keys do.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::{About, After, Deed, Mode, Model, Notice, Order, Page, Pane, Question, Wanted};
use crate::{audit::record::Verdict, cli::approvals::show, terminal::visible};

/// What the page of keys says.
pub(in crate::cli::top) const KEYS: &str = "\
Up Down j k  select a row; PgUp PgDn Home End go further
Enter        all about it: a session's identity, process and last statements; what a held statement does
Tab h        the other list: sessions, or statements that wait for an approval
/            show only sessions with a text in identity, program, database or number; Escape takes it away
s            sort sessions by the next column
e            explain how the session's last refused statement was decided, or else its last one
x            end the session: asks first, and for a reason that is recorded (root)
a d          approve or deny the statement that waits: asks for a reason that is recorded (whom the rule names)
q Ctrl-C     quit

Records: what is not on disk yet, not in the index that reports read, and not confirmed by the slowest export.";

impl Model {
    /// Takes a key.
    pub(in crate::cli::top) fn key(&mut self, key: KeyEvent) -> After {
        if key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL) {
            return After::Quit;
        }
        match self.mode {
            Mode::Browse => self.browse(key.code),
            Mode::Filter => self.filter(key.code),
            Mode::Ask(_) => self.answer(key.code),
            Mode::Page(_) => self.read(key.code),
        }
    }

    fn browse(&mut self, key: KeyCode) -> After {
        self.notice = None;
        match key {
            KeyCode::Char('q') => return After::Quit,
            KeyCode::Esc => {
                self.filter.clear();
                self.settle();
            }
            KeyCode::Up | KeyCode::Char('k') => self.step(-1),
            KeyCode::Down | KeyCode::Char('j') => self.step(1),
            KeyCode::PageUp => self.step(-isize::from(PAGE)),
            KeyCode::PageDown => self.step(isize::from(PAGE)),
            KeyCode::Home => self.step(isize::MIN),
            KeyCode::End => self.step(isize::MAX),
            KeyCode::Tab | KeyCode::BackTab | KeyCode::Char('h') => {
                self.pane = match self.pane {
                    Pane::Sessions => Pane::Holds,
                    Pane::Holds => Pane::Sessions,
                };
                self.settle();
            }
            KeyCode::Char('?') => {
                self.open("keys", About::Keys);
                self.fill_with(KEYS);
            }
            _ => {
                return match self.pane {
                    Pane::Sessions => self.on_session(key),
                    Pane::Holds => self.on_held(key),
                };
            }
        }
        After::Go
    }

    fn on_session(&mut self, key: KeyCode) -> After {
        match key {
            KeyCode::Char('/') => self.mode = Mode::Filter,
            KeyCode::Char('s') => {
                self.order = self.order.next();
                self.settle();
            }
            KeyCode::Enter | KeyCode::Char('e' | 'x') => {
                let Some(row) = self.row() else {
                    self.notice = Some(Notice::problem("no session is selected"));
                    return After::Go;
                };
                let session = row.session;
                return match key {
                    KeyCode::Enter => self.about_session(session),
                    KeyCode::Char('e') => self.explain(session),
                    _ => self.ask_to_end(session),
                };
            }
            _ => {}
        }
        After::Go
    }

    fn on_held(&mut self, key: KeyCode) -> After {
        if let KeyCode::Enter | KeyCode::Char('a' | 'd') = key {
            let Some(id) = self.held().map(|held| held.id) else {
                self.notice = Some(Notice::problem("no statement is selected"));
                return After::Go;
            };
            return match key {
                KeyCode::Enter => self.about_held(id),
                KeyCode::Char('a') => self.ask_to_decide(id, Verdict::Approved),
                _ => self.ask_to_decide(id, Verdict::Denied),
            };
        }
        After::Go
    }

    fn filter(&mut self, key: KeyCode) -> After {
        match key {
            KeyCode::Esc => {
                self.filter.clear();
                self.mode = Mode::Browse;
            }
            KeyCode::Enter => self.mode = Mode::Browse,
            KeyCode::Backspace => {
                self.filter.pop();
            }
            KeyCode::Char(letter) => self.filter.push(letter),
            _ => {}
        }
        self.settle();
        After::Go
    }

    /// A question: y or n first, then the reason.
    fn answer(&mut self, key: KeyCode) -> After {
        let Mode::Ask(question) = &mut self.mode else {
            return After::Go;
        };
        match (question.sure, key) {
            (_, KeyCode::Esc) | (false, KeyCode::Char('n' | 'N')) => {
                self.mode = Mode::Browse;
                self.notice = Some(Notice::of(Ok("nothing was done".to_owned())));
            }
            (false, KeyCode::Char('y' | 'Y')) => question.sure = true,
            (true, KeyCode::Backspace) => {
                question.reason.pop();
            }
            (true, KeyCode::Char(letter)) => question.reason.push(letter),
            (true, KeyCode::Enter) => {
                let reason = question.reason.trim().to_owned();
                if reason.is_empty() {
                    self.notice = Some(Notice::problem("say why: it is recorded"));
                    return After::Go;
                }
                let deed = question.deed;
                self.mode = Mode::Browse;
                self.notice = None;
                return After::Ask(match deed {
                    Deed::End(session) => Order::End { session, reason },
                    Deed::Decide(id, verdict) => Order::Decide {
                        id,
                        verdict,
                        reason,
                    },
                });
            }
            _ => {}
        }
        After::Go
    }

    fn read(&mut self, key: KeyCode) -> After {
        let Mode::Page(page) = &mut self.mode else {
            return After::Go;
        };
        match (page.about, key) {
            (_, KeyCode::Esc | KeyCode::Enter | KeyCode::Char('q')) => {
                self.mode = Mode::Browse;
                self.settle();
            }
            (_, KeyCode::Up | KeyCode::Char('k')) => page.scroll_by(-1),
            (_, KeyCode::Down | KeyCode::Char('j')) => page.scroll_by(1),
            (_, KeyCode::PageUp) => page.scroll_by(-PAGE),
            (_, KeyCode::PageDown) => page.scroll_by(PAGE),
            (_, KeyCode::Home) => page.scroll = 0,
            (About::Session(session), KeyCode::Char('e')) => return self.explain(session),
            (About::Session(session), KeyCode::Char('x')) => return self.ask_to_end(session),
            (About::Held(id), KeyCode::Char('a')) => {
                return self.ask_to_decide(id, Verdict::Approved);
            }
            (About::Held(id), KeyCode::Char('d')) => {
                return self.ask_to_decide(id, Verdict::Denied);
            }
            _ => {}
        }
        After::Go
    }

    fn step(&mut self, by: isize) {
        let ids = self.ids();
        self.cursor().step(&ids, by);
    }

    fn about_session(&mut self, session: u64) -> After {
        let wanted = self.picture.as_ref().and_then(|picture| {
            Some(Wanted::Session {
                session,
                client: picture.rates.rows.of(session)?.client.clone(),
                state_dir: picture.state_dir.clone(),
            })
        });
        let title = format!("session {session}");
        self.fill(&title, About::Session(session), wanted)
    }

    fn explain(&mut self, session: u64) -> After {
        let wanted = self.picture.as_ref().map(|picture| Wanted::Explanation {
            session,
            state_dir: picture.state_dir.clone(),
            policy: picture.policy.clone(),
        });
        let title = format!("why, in session {session}");
        self.fill(&title, About::Session(session), wanted)
    }

    fn about_held(&mut self, id: u64) -> After {
        let title = format!("request {id}");
        self.fill(&title, About::Held(id), Some(Wanted::Held { id }))
    }

    fn fill(&mut self, title: &str, about: About, wanted: Option<Wanted>) -> After {
        let Some(with) = wanted else {
            self.notice = Some(Notice::problem("the agent does not answer"));
            return After::Go;
        };
        let page = self.open(title, about);
        After::Ask(Order::Fill { page, with })
    }

    fn open(&mut self, title: &str, about: About) -> u64 {
        self.pages += 1;
        self.mode = Mode::Page(Page {
            title: title.to_owned(),
            about,
            body: None,
            scroll: 0,
            number: self.pages,
        });
        self.pages
    }

    fn fill_with(&mut self, text: &str) {
        if let Mode::Page(page) = &mut self.mode {
            page.body = Some(text.to_owned());
        }
    }

    fn ask_to_end(&mut self, session: u64) -> After {
        let rows = self.picture.as_ref().map(|picture| &picture.rates.rows);
        match rows.and_then(|rows| rows.of(session)) {
            Some(row) => {
                let text = format!(
                    "end session {session} of {} ({}, {})",
                    row.identity,
                    row.program(),
                    row.database
                );
                self.ask(Deed::End(session), text);
            }
            None => self.notice = Some(Notice::problem(&format!("no session {session} is open"))),
        }
        After::Go
    }

    fn ask_to_decide(&mut self, id: u64, verdict: Verdict) -> After {
        match self.waiting().iter().find(|held| held.id == id) {
            Some(held) => {
                let what = match verdict {
                    Verdict::Approved => "approve",
                    Verdict::Denied => "deny",
                };
                let text = format!(
                    "{what} {id} of {}: {}",
                    visible(&held.requester),
                    show::line(&held.text)
                );
                self.ask(Deed::Decide(id, verdict), text);
            }
            None => self.notice = Some(Notice::problem(&format!("{id} waits no more"))),
        }
        After::Go
    }

    fn ask(&mut self, deed: Deed, text: String) {
        self.notice = None;
        // A reason has to be typed anyway before anything is decided; to end a session, y is asked for first.
        let sure = matches!(deed, Deed::Decide(..));
        self.mode = Mode::Ask(Question {
            deed,
            text,
            sure,
            reason: String::new(),
        });
    }
}

impl Page {
    fn scroll_by(&mut self, by: i16) {
        // How lines are broken depends on the screen: it is twice as wide as is reckoned with here, at least.
        let body = self.body.as_deref().unwrap_or_default();
        let lines = body.lines().count() + body.len() / NARROW;
        let last = u16::try_from(lines.saturating_sub(1)).unwrap_or(u16::MAX);
        self.scroll = self.scroll.saturating_add_signed(by).min(last);
    }
}

const PAGE: i16 = 10;
const NARROW: usize = 30;
