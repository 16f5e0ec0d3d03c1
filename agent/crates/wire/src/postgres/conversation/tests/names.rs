//! Names whose last change the server may yet refuse: what is judged is what runs.

use super::*;

fn texts(session: &Session) -> Vec<&str> {
    let requests = &session.judge.requests;
    requests.iter().map(|(text, _)| text.as_str()).collect()
}

/// A session with the statement `s`.
fn with_statement() -> Session {
    let mut session = Session::new();
    session.client(&[parse("s", "SELECT first"), sync()].concat());
    session.server(&[bare(b'1'), ready(b'I')].concat());
    session
}

#[test]
fn a_name_that_may_still_stand_for_something_else_waits_for_the_answer() {
    let run = [bind("", "s"), execute(""), sync()].concat();
    // Another text for the name, refused because the name is taken: what ran is what it stood for.
    let again = [parse("s", "SELECT second"), sync()].concat();
    let mut session = with_statement();
    assert_eq!(
        session.client(&[again.clone(), run.clone()].concat()),
        again
    );
    assert!(session.conversation.awaits_answers() && !session.conversation.awaits_decision());
    session.server(&failure("42P05"));
    assert!(
        !session.conversation.awaits_answers(),
        "that is enough to know"
    );
    session.server(&ready(b'I'));
    assert_eq!(session.go_on(), run);
    assert_eq!(texts(&session), ["SELECT first"]);
    // It was closed first.
    let again = [close(b'S', "s"), parse("s", "SELECT second"), sync()].concat();
    let mut session = with_statement();
    assert_eq!(
        session.client(&[again.clone(), run.clone()].concat()),
        again
    );
    session.server(&[bare(b'3'), bare(b'1'), ready(b'I')].concat());
    assert_eq!(session.go_on(), run);
    assert_eq!(texts(&session), ["SELECT second"]);
    // Whether it was closed is not known either.
    let closed = [bind("", "nope"), close(b'S', "s"), sync()].concat();
    let mut session = with_statement();
    assert_eq!(
        session.client(&[closed.clone(), run.clone()].concat()),
        closed
    );
    session.server(&[failure("26000"), ready(b'I')].concat());
    assert_eq!(session.go_on(), run);
    assert_eq!(texts(&session), ["SELECT first"]);
}

#[test]
fn a_portal_that_may_still_stand_for_something_else_waits_for_the_answer() {
    let mut session = with_statement();
    let bound = [query("BEGIN"), bind("p", "s"), sync()].concat();
    let run = [execute("p"), sync()].concat();
    assert_eq!(
        session.client(&[bound.clone(), run.clone()].concat()),
        bound
    );
    session.server(&[complete("BEGIN"), ready(b'T')].concat());
    assert!(session.conversation.awaits_answers());
    session.server(&[bare(b'2'), ready(b'T')].concat());
    assert_eq!(session.go_on(), run);
    assert_eq!(texts(&session), ["BEGIN", "SELECT first"]);
}

#[test]
fn what_comes_with_its_own_parse_waits_for_nothing() {
    let mut session = Session::new();
    let round = [parse("", "SELECT"), bind("", ""), execute(""), sync()].concat();
    let named = [parse("s", "SELECT"), bind("", "s"), execute(""), sync()].concat();
    let others = [bind("", "t"), execute(""), sync()].concat();
    let up = [round.repeat(20), named, others].concat();
    assert_eq!(session.client(&up), up);
    assert!(!session.conversation.is_held());
    session.answer_all();
    assert_eq!(session.endings(), [Ending::Completed; 22]);
}

#[test]
fn a_long_bind_waits_in_pieces() {
    let mut session = with_statement();
    let again = [close(b'S', "s"), parse("s", "SELECT second"), sync()].concat();
    let long = message(
        b'B',
        &[
            b"\0s\0",
            &[0; 4],
            b"\0\x01\0\x01\x11\x70",
            &vec![b'x'; 70_000],
            b"\0\0",
        ],
    );
    let run = [long, execute(""), sync()].concat();
    let up = [again.clone(), run.clone()].concat();
    let mut sent = Vec::new();
    for piece in up.chunks(9_000) {
        sent.extend(session.client(piece));
    }
    assert_eq!(sent, again);
    session.server(&[bare(b'3'), bare(b'1'), ready(b'I')].concat());
    assert_eq!(session.go_on(), run);
    assert_eq!(texts(&session), ["SELECT second"]);
}
