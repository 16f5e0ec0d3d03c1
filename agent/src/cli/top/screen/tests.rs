use std::time::Duration;

use ratatui::{
    Terminal, backend::TestBackend, buffer::Buffer, crossterm::event::KeyCode, style::Color,
};

use super::*;
use crate::cli::top::model::{
    News,
    tests::{picture, press, seen, type_in},
};

fn drawn(model: &Model, width: u16, height: u16, has_colour: bool) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
    let mut screen = Screen::new(Theme::new(has_colour));
    let drawn = terminal.draw(|frame| screen.draw(frame, model));
    drawn.expect("it is drawn").buffer.clone()
}

fn text(model: &Model, width: u16, height: u16) -> String {
    let buffer = drawn(model, width, height, true);
    let cells = buffer.content.chunks(width.into());
    cells
        .map(|line| {
            line.iter()
                .map(ratatui::buffer::Cell::symbol)
                .collect::<String>()
                + "\n"
        })
        .collect()
}

#[test]
fn eighty_columns_show_who_with_what_where_and_how_much() {
    let text = text(&seen(), 80, 24);
    for part in [
        "2 sessions",
        "alice",
        "bob",
        "psql",
        "shop as app",
        "held",
        "q quit",
    ] {
        assert!(text.contains(part), "no {part}:\n{text}");
    }
    let bob = text.lines().find(|line| line.contains("bob")).expect("bob");
    let numbers: Vec<&str> = bob.split_whitespace().rev().take(4).collect();
    assert_eq!(numbers, ["2", "0", "5", "0.0"], "{bob}");
    assert!(!text.contains("pid"), "there is no room for it:\n{text}");
    assert!(text_at(120).contains("pid"));
}

fn text_at(width: u16) -> String {
    text(&seen(), width, 24)
}

#[test]
fn a_small_terminal_is_told_what_is_needed() {
    for (width, height) in [(59, 24), (80, 9), (20, 3), (1, 1)] {
        let text = text(&seen(), width, height);
        assert!(!text.contains("alice"), "{text}");
    }
    assert!(text(&seen(), 59, 9).contains("needs 60 × 10, this is 59 × 9"));
    assert!(text(&seen(), 60, 10).contains("alice"));
}

#[test]
fn the_selected_row_stays_in_view() {
    let names: Vec<(u64, &str, u64)> = (1..=100).map(|number| (number, "somebody", 0)).collect();
    let mut model = Model::default();
    model.hear(picture(&names, &[]));
    press(&mut model, KeyCode::End);
    let text = text(&model, 80, 24);
    assert!(text.contains("\n100 "), "{text}");
}

#[test]
fn what_waits_is_shown_and_steers_no_terminal() {
    let mut model = seen();
    press(&mut model, KeyCode::Tab);
    let shown = text(&model, 120, 24);
    assert!(shown.contains("delete from orders"), "{shown}");
    assert!(shown.contains("\\u{1b}"), "{shown}");
    type_in(&mut model, "ano");
    let shown = text(&model, 80, 24);
    assert!(
        shown.contains("approve 70 of bob") && shown.contains("because: no_"),
        "{shown}"
    );
}

#[test]
fn an_absent_agent_is_said() {
    let mut model = seen();
    model.silence = Some(Duration::from_secs(7));
    assert!(text(&model, 80, 24).contains("no answer of the agent for 7 s"));
    model.hear(News::Gone(
        "cannot reach the agent at /run/weir.sock".to_owned(),
    ));
    let text = text(&model, 80, 24);
    assert!(
        text.contains("does not answer") && text.contains("/run/weir.sock"),
        "{text}"
    );
    assert!(!text.contains("alice"), "{text}");
}

#[test]
fn without_colour_there_is_none() {
    let mut model = seen();
    model.hear(News::Done(Err("refused".to_owned())));
    let colours = |has_colour| {
        let buffer = drawn(&model, 80, 24, has_colour);
        (buffer.content.iter())
            .filter(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset)
            .count()
    };
    assert!(colours(true) > 0);
    assert_eq!(colours(false), 0);
}

#[test]
fn all_keys_are_explained() {
    let mut model = seen();
    type_in(&mut model, "?");
    let text = text(&model, 80, 24);
    for part in ["Up Down", "approve or deny", "quit"] {
        assert!(text.contains(part), "no {part}:\n{text}");
    }
}
