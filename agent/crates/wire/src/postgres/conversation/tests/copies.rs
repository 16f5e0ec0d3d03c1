//! A `Sync` and a copy from the client: none goes to a server that may not answer it.

use super::*;
use crate::postgres::conversation::Moment;

fn copy() -> Vec<u8> {
    [parse("", "COPY t FROM STDIN"), bind("", ""), execute("")].concat()
}

fn asks_for_data() -> Vec<u8> {
    message(b'G', &[b"\0\0\0"])
}

fn began() -> Vec<u8> {
    [bare(b'1'), bare(b'2'), asks_for_data()].concat()
}

fn data() -> Vec<u8> {
    [message(b'd', &[b"1\n"]), bare(b'c')].concat()
}

/// One whose copy has begun; a `Sync` was sent ahead of that, or has come since.
fn copying(ahead: bool) -> Session {
    let mut session = Session::new();
    if ahead {
        let sent = session.client(&[copy(), sync()].concat());
        assert_eq!(sent, [copy(), bare(b'H')].concat(), "a Flush in its place");
        session.server(&began());
        assert_eq!(session.go_on(), b"");
    } else {
        session.client(&copy());
        session.server(&began());
        assert_eq!(session.client(&sync()), b"");
    }
    session
}

fn has_settled(session: &mut Session) {
    assert_eq!(session.conversation.in_flight(), 0);
    assert_eq!(session.conversation.moment(), Moment::Idle);
    let up = [parse("", "SELECT"), bind("", ""), execute(""), sync()].concat();
    assert_eq!(session.client(&up), up);
    session.answer_all();
    assert_eq!(session.endings().last(), Some(&Ending::Completed));
}

#[test]
fn a_sync_ahead_of_the_data_is_no_end() {
    for ahead in [true, false] {
        let mut session = copying(ahead);
        let end = [data(), sync()].concat();
        assert_eq!(session.client(&data()), data());
        session.server(&complete("COPY 1"));
        assert_eq!(
            session.conversation.moment(),
            Moment::Open,
            "the copy's own transaction"
        );
        assert_eq!(session.client(&sync()), sync());
        session.server(&ready(b'I'));
        assert_eq!(session.judge.endings[0].1.rows, 1);
        has_settled(&mut session);
        // With everything at once.
        session.client(&[copy(), end].concat());
        session.server(&began());
        assert_eq!(session.go_on(), sync());
        session.server(&[complete("COPY 1"), ready(b'I')].concat());
        has_settled(&mut session);
    }
}

#[test]
fn a_copy_that_fails_leaves_no_answer_unaccounted() {
    for ahead in [true, false] {
        // At once, before any data was read.
        let mut session = copying(ahead);
        session.server(&failure("42809"));
        assert_eq!(session.endings(), [Ending::Failed(*b"42809")]);
        // What follows is skipped up to the Sync, and is no request that runs.
        session.client(&[data(), parse("", "SELECT HOLD"), bind("", ""), execute("")].concat());
        assert!(
            session
                .judge
                .asked
                .iter()
                .all(|(_, text)| !text.contains("HOLD"))
        );
        assert_eq!(session.client(&sync()), sync());
        session.server(&ready(b'I'));
        has_settled(&mut session);
        // Behind its data.
        let mut session = copying(ahead);
        session.client(&[data(), sync()].concat());
        session.server(&[failure("22P02"), ready(b'I')].concat());
        has_settled(&mut session);
    }
}

#[test]
fn a_statement_that_copies_nothing_lets_its_sync_go() {
    let mut session = Session::new();
    session.client(&[copy(), sync()].concat());
    assert!(session.conversation.awaits_answers());
    session.server(&failure("42P01"));
    assert_eq!(session.go_on(), sync());
    session.server(&ready(b'I'));
    has_settled(&mut session);
    session.client(&[copy(), sync()].concat());
    session.server(&[bare(b'1'), bare(b'2'), complete("COPY 5")].concat());
    assert_eq!(session.go_on(), sync());
    session.server(&ready(b'I'));
    has_settled(&mut session);
}

#[test]
fn a_sync_amid_a_texts_copy_is_swallowed() {
    let mut session = Session::new();
    session.client(&query("COPY t FROM STDIN; COPY u FROM STDIN"));
    for _ in 0..2 {
        session.server(&asks_for_data());
        assert_eq!(session.client(&sync()), b"");
        assert_eq!(session.client(&data()), data());
        session.server(&complete("COPY 1"));
    }
    session.server(&ready(b'I'));
    assert_eq!(session.judge.endings[0].1.rows, 2);
    has_settled(&mut session);
    // Before it is known whether there is one.
    session.client(&[query("COPY t FROM STDIN"), sync()].concat());
    session.server(&[failure("42P01"), ready(b'I')].concat());
    assert_eq!(session.go_on(), sync());
    session.server(&ready(b'I'));
    has_settled(&mut session);
}

#[test]
fn whatever_else_comes_amid_a_copy_ends_the_session() {
    for (text, begun) in [
        (copy(), began()),
        (query("COPY t FROM STDIN"), asks_for_data()),
    ] {
        for other in [
            query("SELECT 1"),
            parse("", "SELECT"),
            execute(""),
            close(b'P', ""),
        ] {
            let mut session = Session::new();
            session.client(&text);
            session.server(&begun);
            let broken = session
                .conversation
                .client(&other, &mut session.judge, &mut session.out);
            assert!(matches!(broken, Err(ConversationError::AmidCopy)));
            let mut session = Session::new();
            session.client(&[text.clone(), other].concat());
            let broken = session
                .conversation
                .server(&begun, &mut session.judge, &mut session.out);
            assert!(matches!(broken, Err(ConversationError::AmidCopy)));
        }
    }
}
