//! How a model is drawn.

mod theme;

#[cfg(test)]
mod tests;

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    text::Line,
    widgets::{Block, Paragraph, Row as Cells, Table, TableState, Wrap},
};

use super::{
    model::{About, Mode, Model, Page, Pane, Question},
    rates::Row,
};
use crate::{cli::approvals::show, holds::Summary, terminal::visible};
pub(super) use theme::Theme;

/// Draws models; remembers how far lists are scrolled.
#[derive(Debug)]
pub(super) struct Screen {
    theme: Theme,
    sessions: TableState,
    holds: TableState,
}

impl Screen {
    pub(super) fn new(theme: Theme) -> Self {
        Self {
            theme,
            sessions: TableState::default(),
            holds: TableState::default(),
        }
    }

    /// Draws everything.
    pub(super) fn draw(&mut self, frame: &mut Frame<'_>, model: &Model) {
        let area = frame.area();
        if area.width < LEAST.0 || area.height < LEAST.1 {
            let text = format!(
                "weir top needs {} × {}, this is {} × {}; q quits",
                LEAST.0, LEAST.1, area.width, area.height
            );
            frame.render_widget(Paragraph::new(text).wrap(Wrap { trim: true }), area);
            return;
        }
        let [head, body, foot] = Layout::vertical([
            Constraint::Length(2),
            Constraint::Min(1),
            Constraint::Length(2),
        ])
        .areas(area);
        self.head(frame, head, model);
        match &model.mode {
            Mode::Page(page) => Self::page(frame, body, model, page),
            _ => self.list(frame, body, model),
        }
        self.foot(frame, foot, model);
    }

    fn head(&self, frame: &mut Frame<'_>, area: Rect, model: &Model) {
        let Some(picture) = &model.picture else {
            let lines = if model.absence.is_empty() {
                vec![Line::raw("looking at the agent")]
            } else {
                let style = self.theme.problem();
                vec![
                    Line::styled("the agent does not answer; it is asked again", style),
                    Line::styled(model.absence.as_str(), style),
                ]
            };
            frame.render_widget(Paragraph::new(lines), area);
            return;
        };
        let [counts, mut lags] = picture.rates.summary();
        if let Some(silence) = model.silence {
            lags = format!(
                "no answer of the agent for {} s: this is old",
                silence.as_secs()
            );
        }
        let style = if picture.rates.lag.problems.is_empty() && model.silence.is_none() {
            Theme::PLAIN
        } else {
            self.theme.problem()
        };
        let lines = vec![
            Line::styled(counts, Theme::STRONG),
            Line::styled(lags, style),
        ];
        frame.render_widget(Paragraph::new(lines), area);
    }

    fn list(&mut self, frame: &mut Frame<'_>, area: Rect, model: &Model) {
        let selected = model.selected();
        match model.pane {
            Pane::Sessions => {
                let rows = model.rows();
                if rows.is_empty() {
                    let text = if model.picture.is_none() {
                        ""
                    } else if model.filter.is_empty() {
                        "no session is open"
                    } else {
                        "no open session has this text; Escape shows all"
                    };
                    frame.render_widget(Line::raw(text), area);
                    return;
                }
                self.sessions.select(selected);
                let table = self.sessions(&rows, model, area.width);
                frame.render_stateful_widget(table, area, &mut self.sessions);
            }
            Pane::Holds => {
                let holds = model.picture.as_ref().map(|picture| &picture.holds);
                if let Some(Err(problem)) = holds {
                    let text = Paragraph::new(problem.as_str()).style(self.theme.problem());
                    frame.render_widget(text.wrap(Wrap { trim: true }), area);
                    return;
                }
                let waiting = model.waiting();
                if waiting.is_empty() {
                    let text = if holds.is_some() {
                        "nothing waits that concerns you"
                    } else {
                        ""
                    };
                    frame.render_widget(Line::raw(text), area);
                    return;
                }
                self.holds.select(selected);
                let table = Self::holds(waiting);
                frame.render_stateful_widget(table, area, &mut self.holds);
            }
        }
    }

    /// On a narrow screen the columns go that say least.
    fn sessions<'a>(&self, rows: &[&'a Row], model: &Model, width: u16) -> Table<'a> {
        type Column = (&'static str, Constraint, u16, fn(&Row, usize) -> String);
        const COLUMNS: [Column; 10] = [
            ("session", Constraint::Length(7), 0, |row, _| {
                row.session.to_string()
            }),
            ("identity", Constraint::Fill(3), 0, |row, _| {
                row.identity.clone()
            }),
            ("program", Constraint::Fill(2), 0, |row, _| {
                row.program().to_owned()
            }),
            ("pid", Constraint::Length(7), 100, |row, _| {
                row.pid.to_string()
            }),
            ("database", Constraint::Fill(3), 0, |row, _| {
                row.database.clone()
            }),
            ("stmts/s", Constraint::Length(7), 0, |row, _| {
                format!("{:.1}", row.per_second)
            }),
            ("stmts", Constraint::Length(9), 90, |row, _| {
                row.requests.to_string()
            }),
            ("denied", Constraint::Length(6), 0, |row, _| {
                row.denied.to_string()
            }),
            ("masked", Constraint::Length(6), 0, |row, _| {
                row.masked.to_string()
            }),
            ("held", Constraint::Length(4), 0, |_, held| held.to_string()),
        ];
        let columns = || COLUMNS.iter().filter(move |column| width >= column.2);
        let rows = rows.iter().map(|row| {
            let held = model.held_of(row.session);
            let style = match (row.denied, held) {
                (_, 1..) => self.theme.waits(),
                (1.., _) => self.theme.refused(),
                _ => Theme::PLAIN,
            };
            Cells::new(columns().map(|column| column.3(row, held))).style(style)
        });
        Table::new(rows, columns().map(|column| column.1))
            .header(Cells::new(columns().map(|column| column.0)).style(Theme::TITLE))
            .row_highlight_style(Theme::SELECTED)
    }

    fn holds(waiting: &[Summary]) -> Table<'_> {
        let rows = waiting.iter().map(|held| {
            Cells::new([
                held.id.to_string(),
                visible(&held.requester),
                visible(&held.database),
                visible(&show::wants(held)),
                show::left(held.expires_ns),
                show::line(&held.text),
            ])
        });
        let widths = [
            Constraint::Length(7),
            Constraint::Fill(2),
            Constraint::Fill(1),
            Constraint::Fill(2),
            Constraint::Length(12),
            Constraint::Fill(4),
        ];
        let header = [
            "request",
            "requester",
            "database",
            "wants",
            "left",
            "statement",
        ];
        Table::new(rows, widths)
            .header(Cells::new(header).style(Theme::TITLE))
            .row_highlight_style(Theme::SELECTED)
    }

    fn page(frame: &mut Frame<'_>, area: Rect, model: &Model, page: &Page) {
        let mut text = String::new();
        if let About::Session(session) = page.about {
            text = now(model, session);
        }
        text.push_str(page.body.as_deref().unwrap_or("asking"));
        let title = Line::styled(page.title.as_str(), Theme::TITLE);
        let text = Paragraph::new(text)
            .wrap(Wrap { trim: false })
            .scroll((page.scroll, 0))
            .block(Block::new().title(title));
        frame.render_widget(text, area);
    }

    fn foot(&self, frame: &mut Frame<'_>, area: Rect, model: &Model) {
        let notice = model.notice.as_ref().map_or_else(Line::default, |notice| {
            let style = if notice.is_problem {
                self.theme.problem()
            } else {
                Theme::STRONG
            };
            Line::styled(notice.text.as_str(), style)
        });
        let lines = match &model.mode {
            Mode::Ask(question) => vec![
                Line::styled(question.text.as_str(), Theme::STRONG),
                Line::raw(prompt(question, model)),
            ],
            _ => vec![notice, Line::raw(keys(model))],
        };
        frame.render_widget(Paragraph::new(lines), area);
    }
}

/// What a session does now, over what is known of it.
fn now(model: &Model, session: u64) -> String {
    let rows = model.picture.as_ref().map(|picture| &picture.rates.rows);
    match rows.and_then(|rows| rows.of(session)) {
        Some(row) => format!(
            "{} with {} ({}) from {} to {}, {}\n{:.1} statements/s, {} in all, {} denied, {} masked, {} held\n\n",
            row.identity,
            row.process,
            row.pid,
            row.client,
            row.destination,
            row.database,
            row.per_second,
            row.requests,
            row.denied,
            row.masked,
            model.held_of(session),
        ),
        None if model.picture.is_some() => "it has ended\n\n".to_owned(),
        None => String::new(),
    }
}

fn prompt(question: &Question, model: &Model) -> String {
    let said = (model.notice.as_ref()).map_or("", |notice| notice.text.as_str());
    if question.sure {
        format!(
            "because: {}_   Enter does it, Escape does not   {said}",
            question.reason
        )
    } else {
        "sure? y or n".to_owned()
    }
}

fn keys(model: &Model) -> String {
    match (&model.mode, model.pane) {
        (Mode::Filter, _) => format!(
            "filter: {}_   Enter keeps it, Escape takes it away",
            model.filter
        ),
        (Mode::Page(page), _) => {
            let more = match page.about {
                About::Session(_) => "   e explain   x end",
                About::Held(_) => "   a approve   d deny",
                About::Keys => "",
            };
            format!("Escape back   arrows scroll{more}")
        }
        (_, Pane::Holds) => "q quit  ? keys  a approve  d deny  Tab sessions  Enter all".to_owned(),
        (_, Pane::Sessions) => {
            let filter = if model.filter.is_empty() {
                "/ filter".to_owned()
            } else {
                format!("/ {}", model.filter)
            };
            format!(
                "q quit  ? keys  {filter}  x end  e explain  Tab held  s by {}",
                model.order.name()
            )
        }
    }
}

/// Width and height without which nothing can be read.
const LEAST: (u16, u16) = (60, 10);
