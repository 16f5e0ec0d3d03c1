//! The terminal's picture of the rates, and what keys do to it.

use ratatui::{
    Frame,
    crossterm::event::KeyCode,
    layout::{Constraint, Layout},
    style::{Modifier, Style},
    text::Line,
    widgets::{Paragraph, Row as Cells, Table},
};

use super::snapshot::{Rates, Row};

/// What is shown, and in which order.
#[derive(Debug, Default)]
pub(super) struct View {
    order: Order,
    filter: String,
    /// Keys go into the filter.
    typing: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Order {
    #[default]
    Rate,
    Requests,
    Denied,
    Masked,
    Session,
}

/// What a key leads to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum After {
    Go,
    Quit,
}

impl View {
    /// Takes a key.
    pub(super) fn key(&mut self, key: KeyCode) -> After {
        match key {
            KeyCode::Esc => {
                self.typing = false;
                self.filter.clear();
            }
            KeyCode::Enter => self.typing = false,
            KeyCode::Backspace if self.typing => {
                self.filter.pop();
            }
            KeyCode::Char(letter) if self.typing => self.filter.push(letter),
            KeyCode::Char('q') => return After::Quit,
            KeyCode::Char('s') => self.order = self.order.next(),
            KeyCode::Char('/') => self.typing = true,
            _ => {}
        }
        After::Go
    }

    /// Draws everything.
    pub(super) fn draw(&self, frame: &mut Frame<'_>, rates: &Rates) {
        let [head, body, foot] = Layout::vertical([
            Constraint::Length(2),
            Constraint::Min(1),
            Constraint::Length(1),
        ])
        .areas(frame.area());
        frame.render_widget(Paragraph::new(rates.summary.as_str()), head);
        frame.render_widget(self.table(rates), body);
        frame.render_widget(Line::raw(self.keys()), foot);
    }

    fn table<'a>(&self, rates: &'a Rates) -> Table<'a> {
        let header = [
            "session", "identity", "process", "pid", "database", "req/s", "requests", "denied",
            "masked",
        ];
        let widths = [
            Constraint::Length(8),
            Constraint::Min(16),
            Constraint::Min(16),
            Constraint::Length(8),
            Constraint::Min(14),
            Constraint::Length(9),
            Constraint::Length(10),
            Constraint::Length(8),
            Constraint::Length(8),
        ];
        let rows = self.shown(rates).into_iter().map(|row| {
            let cells = [
                row.session.to_string(),
                row.identity.clone(),
                row.process.clone(),
                row.pid.to_string(),
                row.database.clone(),
                format!("{:.1}", row.per_second),
                row.requests.to_string(),
                row.denied.to_string(),
                row.masked.to_string(),
            ];
            let style = if row.denied > 0 {
                Style::new().add_modifier(Modifier::BOLD)
            } else {
                Style::new()
            };
            Cells::new(cells).style(style)
        });
        Table::new(rows, widths)
            .header(Cells::new(header).style(Style::new().add_modifier(Modifier::REVERSED)))
    }

    fn shown<'a>(&self, rates: &'a Rates) -> Vec<&'a Row> {
        let mut rows: Vec<&Row> = rates.rows.iter().filter(|row| self.wants(row)).collect();
        rows.sort_by(|a, b| {
            match self.order {
                Order::Rate => b.per_second.total_cmp(&a.per_second),
                Order::Requests => b.requests.cmp(&a.requests),
                Order::Denied => b.denied.cmp(&a.denied),
                Order::Masked => b.masked.cmp(&a.masked),
                Order::Session => a.session.cmp(&b.session),
            }
            .then(a.session.cmp(&b.session))
        });
        rows
    }

    fn wants(&self, row: &Row) -> bool {
        [&row.identity, &row.process, &row.database]
            .iter()
            .any(|text| text.contains(&self.filter))
    }

    fn keys(&self) -> String {
        if self.typing {
            return format!(
                "filter: {}_   Enter keeps it, Escape takes it away",
                self.filter
            );
        }
        let filter = if self.filter.is_empty() {
            String::new()
        } else {
            format!("   filter: {}", self.filter)
        };
        format!(
            "q quit   s sort by {}   / filter{filter}",
            self.order.next().name()
        )
    }
}

impl Order {
    fn next(self) -> Self {
        match self {
            Self::Rate => Self::Requests,
            Self::Requests => Self::Denied,
            Self::Denied => Self::Masked,
            Self::Masked => Self::Session,
            Self::Session => Self::Rate,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Rate => "requests/s",
            Self::Requests => "requests",
            Self::Denied => "denied",
            Self::Masked => "masked",
            Self::Session => "session",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates() -> Rates {
        let row = |session, identity: &str, denied| Row {
            session,
            identity: identity.to_owned(),
            denied,
            ..Row::default()
        };
        Rates {
            rows: vec![row(1, "alice", 0), row(2, "bob", 5)],
            ..Rates::default()
        }
    }

    fn sessions(view: &View) -> Vec<u64> {
        view.shown(&rates()).iter().map(|row| row.session).collect()
    }

    #[test]
    fn keys_sort_filter_and_quit() {
        let mut view = View::default();
        assert_eq!(sessions(&view), [1, 2]);
        view.key(KeyCode::Char('s'));
        view.key(KeyCode::Char('s'));
        assert_eq!(sessions(&view), [2, 1], "by denials");
        for key in ['/', 'a', 'l', 'i'] {
            view.key(KeyCode::Char(key));
        }
        assert_eq!(sessions(&view), [1]);
        view.key(KeyCode::Esc);
        assert_eq!(sessions(&view).len(), 2);
        assert_eq!(view.key(KeyCode::Char('q')), After::Quit);
    }
}
