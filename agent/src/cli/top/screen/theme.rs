//! Colours, where they are wanted; all that they say is said without them too.

use ratatui::style::{Color, Modifier, Style};

/// How things are marked.
#[derive(Debug, Clone, Copy)]
pub(in crate::cli::top) struct Theme {
    has_colour: bool,
}

impl Theme {
    pub(super) const PLAIN: Style = Style::new();
    pub(super) const STRONG: Style = Style::new().add_modifier(Modifier::BOLD);
    pub(super) const TITLE: Style = Style::new().add_modifier(Modifier::UNDERLINED);
    pub(super) const SELECTED: Style = Style::new().add_modifier(Modifier::REVERSED);

    /// With colours, or without.
    pub(in crate::cli::top) fn new(has_colour: bool) -> Self {
        Self { has_colour }
    }

    /// As `NO_COLOR` says: set to anything, there are none.
    pub(in crate::cli::top) fn of_environment() -> Self {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self::new(!unwanted)
    }

    pub(super) fn refused(self) -> Style {
        self.in_colour(Self::STRONG, Color::Red)
    }

    pub(super) fn waits(self) -> Style {
        self.in_colour(Self::STRONG, Color::Yellow)
    }

    pub(super) fn problem(self) -> Style {
        self.in_colour(Self::STRONG, Color::Red)
    }

    fn in_colour(self, style: Style, colour: Color) -> Style {
        if self.has_colour {
            style.fg(colour)
        } else {
            style
        }
    }
}
