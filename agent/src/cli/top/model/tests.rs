use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::*;
use crate::cli::top::rates::Rows;

/// A picture of these sessions: number, identity, refused ones; and of what waits: number, session.
pub(in crate::cli::top) fn picture(sessions: &[(u64, &str, u64)], holds: &[(u64, u64)]) -> News {
    let rows = sessions.iter().map(|(session, identity, denied)| Row {
        session: *session,
        identity: (*identity).to_owned(),
        process: "/usr/bin/psql".to_owned(),
        client: format!("127.0.0.1:{session}"),
        database: "shop as app".to_owned(),
        denied: *denied,
        ..Row::default()
    });
    let holds = holds.iter().map(|(id, session)| Summary {
        id: *id,
        session: *session,
        requester: "bob".to_owned(),
        process: "/usr/bin/psql".to_owned(),
        endpoint: "shop".to_owned(),
        database: "shop".to_owned(),
        database_user: "app".to_owned(),
        rules: vec!["deletes-wait".to_owned()],
        reason: String::new(),
        text: "delete from orders\u{1b}[2J".to_owned(),
        since_ns: 0,
        expires_ns: 0,
        demands: Vec::new(),
    });
    News::Looked(Box::new(Picture {
        rates: Rates {
            live: sessions.len() as u64,
            rows: Rows(rows.collect()),
            ..Rates::default()
        },
        holds: Ok(holds.collect()),
        state_dir: "/state".into(),
        policy: "/policy".into(),
    }))
}

/// A model that has seen alice and bob, and what bob waits for.
pub(in crate::cli::top) fn seen() -> Model {
    let mut model = Model::default();
    model.hear(picture(
        &[(1, "alice", 0), (2, "bob", 5)],
        &[(70, 2), (71, 2)],
    ));
    model
}

pub(in crate::cli::top) fn press(model: &mut Model, code: KeyCode) -> After {
    model.key(KeyEvent::new(code, KeyModifiers::NONE))
}

pub(in crate::cli::top) fn type_in(model: &mut Model, text: &str) -> After {
    let mut after = After::Go;
    for letter in text.chars() {
        after = press(model, KeyCode::Char(letter));
    }
    after
}

fn sessions(model: &Model) -> Vec<u64> {
    model.rows().iter().map(|row| row.session).collect()
}

fn notice(model: &Model) -> &str {
    model.notice.as_ref().map_or("", |notice| &notice.text)
}

#[test]
fn keys_sort_filter_and_quit() {
    let mut model = seen();
    assert_eq!(sessions(&model), [1, 2]);
    type_in(&mut model, "ss");
    assert_eq!(sessions(&model), [2, 1], "by denials");
    type_in(&mut model, "/ALIq");
    assert_eq!(sessions(&model), [0_u64; 0], "q is a letter here");
    press(&mut model, KeyCode::Backspace);
    press(&mut model, KeyCode::Enter);
    assert_eq!(sessions(&model), [1], "in whatever case");
    press(&mut model, KeyCode::Esc);
    assert_eq!(sessions(&model).len(), 2);
    assert_eq!(type_in(&mut model, "q"), After::Quit);
    let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    type_in(&mut model, "/");
    assert_eq!(model.key(interrupt), After::Quit, "wherever one is");
}

#[test]
fn the_selection_stays_with_its_session() {
    let mut model = seen();
    press(&mut model, KeyCode::Down);
    assert_eq!(model.selected(), Some(1));
    press(&mut model, KeyCode::Down);
    assert_eq!(model.selected(), Some(1), "there are no more");
    type_in(&mut model, "ss");
    assert_eq!(model.selected(), Some(0), "bob is the first now");
    model.hear(picture(&[(1, "alice", 9), (2, "bob", 5)], &[]));
    assert_eq!(model.selected(), Some(1), "and now the second");
    model.hear(picture(&[(1, "alice", 9)], &[]));
    assert_eq!(model.selected(), Some(0), "bob has left");
    model.hear(picture(&[], &[]));
    assert_eq!(model.selected(), None);
    for key in ['x', 'e'] {
        assert_eq!(press(&mut model, KeyCode::Char(key)), After::Go);
        assert_eq!(notice(&model), "no session is selected");
    }
}

#[test]
fn a_session_is_ended_after_yes_and_a_reason_only() {
    let mut model = seen();
    press(&mut model, KeyCode::Down);
    type_in(&mut model, "xn");
    assert!(matches!(model.mode, Mode::Browse), "n is no");
    type_in(&mut model, "x");
    assert_eq!(
        press(&mut model, KeyCode::Enter),
        After::Go,
        "Enter is no yes"
    );
    type_in(&mut model, "y ");
    assert_eq!(press(&mut model, KeyCode::Enter), After::Go);
    assert!(
        notice(&model).starts_with("say why"),
        "a reason is required"
    );
    // Others move meanwhile: it is still this session.
    model.hear(picture(&[(2, "bob", 5), (3, "carol", 9)], &[]));
    type_in(&mut model, "runs wild");
    let order = Order::End {
        session: 2,
        reason: "runs wild".to_owned(),
    };
    assert_eq!(press(&mut model, KeyCode::Enter), After::Ask(order));
    model.hear(News::Done(Err(
        "ending others' sessions is for root".to_owned()
    )));
    assert!(
        model
            .notice
            .as_ref()
            .is_some_and(|notice| notice.is_problem)
    );
    type_in(&mut model, "xysome");
    press(&mut model, KeyCode::Esc);
    assert_eq!(notice(&model), "nothing was done");
}

#[test]
fn what_waits_is_decided_with_a_reason() {
    let mut model = seen();
    press(&mut model, KeyCode::Tab);
    assert_eq!(
        type_in(&mut model, "x"),
        After::Go,
        "no session is ended from here"
    );
    press(&mut model, KeyCode::Down);
    type_in(&mut model, "a");
    assert_eq!(
        press(&mut model, KeyCode::Enter),
        After::Go,
        "not without a reason"
    );
    type_in(&mut model, "ticket 12");
    let order = |verdict, reason: &str| {
        After::Ask(Order::Decide {
            id: 71,
            verdict,
            reason: reason.to_owned(),
        })
    };
    let approved = order(Verdict::Approved, "ticket 12");
    assert_eq!(press(&mut model, KeyCode::Enter), approved);
    type_in(&mut model, "duse the copy");
    let denied = order(Verdict::Denied, "use the copy");
    assert_eq!(press(&mut model, KeyCode::Enter), denied);
}

#[test]
fn a_page_is_filled_by_what_was_asked_for_last() {
    let mut model = seen();
    let After::Ask(Order::Fill { page: first, with }) = press(&mut model, KeyCode::Enter) else {
        panic!("Enter asks for nothing");
    };
    let wanted = Wanted::Session {
        session: 1,
        client: "127.0.0.1:1".to_owned(),
        state_dir: "/state".into(),
    };
    assert_eq!(with, wanted);
    press(&mut model, KeyCode::Esc);
    let After::Ask(Order::Fill { page: second, .. }) = type_in(&mut model, "e") else {
        panic!("e asks for nothing");
    };
    model.hear(News::Filled {
        page: first,
        body: Ok("late".to_owned()),
    });
    model.hear(News::Filled {
        page: second,
        body: Err("refused".to_owned()),
    });
    let Mode::Page(page) = &model.mode else {
        panic!("no page is shown");
    };
    assert_eq!(page.body.as_deref(), Some("refused"), "refusals are shown");
}

#[test]
fn an_agent_that_goes_away_is_said_and_comes_back() {
    let mut model = seen();
    press(&mut model, KeyCode::Down);
    type_in(&mut model, "xy");
    model.hear(News::Gone("cannot reach the agent".to_owned()));
    assert!(sessions(&model).is_empty() && model.waiting().is_empty());
    assert!(
        matches!(model.mode, Mode::Browse),
        "nothing can be ended now"
    );
    assert_eq!(press(&mut model, KeyCode::Enter), After::Go);
    model.hear(picture(&[(1, "alice", 0), (2, "bob", 5)], &[]));
    assert_eq!(model.selected(), Some(1));
}
