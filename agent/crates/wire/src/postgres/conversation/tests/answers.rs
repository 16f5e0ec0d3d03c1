//! Whose answer the server's messages are, whatever order things happen in.

use super::*;

#[test]
fn a_failed_parse_gives_the_name_its_old_statement_back() {
    let mut session = Session::new();
    session.client(&[parse("s", "first"), sync()].concat());
    session.server(&[bare(b'1'), ready(b'I')].concat());
    session.client(&[parse("s", "second"), bind("", "s"), execute(""), sync()].concat());
    session.server(&[failure("42P05"), ready(b'I')].concat());
    session.client(&[bind("", "s"), execute(""), sync()].concat());
    assert_eq!(
        session.judge.requests.last(),
        Some(&("first".into(), Via::Execute))
    );
}

#[test]
fn an_error_ahead_of_its_execute_is_the_executes() {
    for failing in [0, 1] {
        let mut session = Session::new();
        let one = [parse("", "SELECT secret"), bind("", ""), execute("")].concat();
        session.client(&[one.clone(), one, sync()].concat());
        let mut down = [bare(b'1'), bare(b'2')][..failing].concat();
        down.extend([failure("42501"), ready(b'I')].concat());
        session.server(&down);
        assert_eq!(
            session.endings(),
            [Ending::Failed(*b"42501"), Ending::Skipped]
        );
    }
}

#[test]
fn copy_data_from_the_client_is_counted() {
    let data = message(b'd', &[b"1\n2\n"]);
    let asked = message(b'G', &[b"\0\0\0"]);
    for early in [true, false] {
        let mut session = Session::new();
        session.client(&query("COPY t FROM STDIN"));
        if early {
            session.client(&data);
        }
        session.server(&asked);
        session.client(&[data.clone(), bare(b'c')].concat());
        session.server(&[complete("COPY 2"), ready(b'I')].concat());
        let expected = data.len() * if early { 2 } else { 1 };
        assert_eq!(session.judge.endings[0].1.bytes, expected as u64);
    }
}

#[test]
fn the_server_skips_what_comes_after_its_error_was_seen() {
    let mut session = Session::new();
    session.client(&[parse("", "bad"), bare(b'H')].concat());
    session.server(&failure("42P01"));
    session.client(&[bind("", ""), execute(""), query("SELECT 1")].concat());
    assert_eq!(session.conversation.in_flight(), 0);
    assert_eq!(session.endings(), [Ending::Skipped; 2]);
    session.client(&sync());
    session.server(&ready(b'I'));
    session.client(&query("SELECT 2"));
    session.server(&[complete("SELECT 0"), ready(b'I')].concat());
    assert_eq!(session.endings().last(), Some(&Ending::Completed));
}

#[test]
fn portals_may_be_suspended_and_interleaved() {
    let mut session = Session::new();
    session.client(
        &[
            parse("", "SELECT"),
            bind("a", ""),
            bind("b", ""),
            execute("a"),
            execute("b"),
            execute("a"),
            sync(),
        ]
        .concat(),
    );
    let down = [
        bare(b'1'),
        bare(b'2'),
        bare(b'2'),
        row(),
        bare(b's'),
        row(),
        row(),
        bare(b's'),
        row(),
        complete("SELECT 1"),
        ready(b'I'),
    ]
    .concat();
    session.server(&down);
    let rows: Vec<(Ending, u64)> = session
        .judge
        .endings
        .iter()
        .map(|(_, f)| (f.ending, f.rows))
        .collect();
    assert_eq!(
        rows,
        [
            (Ending::Suspended, 1),
            (Ending::Suspended, 2),
            (Ending::Completed, 1)
        ]
    );
}

#[test]
fn an_error_at_sync_is_followed_by_its_ready() {
    let mut session = Session::new();
    session.client(&[parse("", "INSERT"), bind("", ""), execute(""), sync()].concat());
    let down = [
        bare(b'1'),
        bare(b'2'),
        complete("INSERT 0 1"),
        failure("23505"),
        ready(b'I'),
    ]
    .concat();
    assert_eq!(session.server(&down), down);
    assert_eq!(session.conversation.in_flight(), 0);
}

#[test]
fn a_disconnect_ends_what_was_in_flight() {
    let mut session = Session::new();
    session.client(&[query("SELECT 1"), query("SELECT 2")].concat());
    session.server(&failure("57P01"));
    session.conversation.disconnected(&mut session.judge);
    assert_eq!(
        session.endings(),
        [Ending::Failed(*b"57P01"), Ending::Disconnected]
    );
}

#[test]
fn an_answer_out_of_turn_ends_the_conversation() {
    let mut session = Session::new();
    session.client(&[bind("", "s"), sync()].concat());
    session.out.begin();
    let error = session
        .conversation
        .server(&bare(b'1'), &mut session.judge, &mut session.out);
    assert!(matches!(
        error,
        Err(ConversationError::OutOfTurn { tag: b'1' })
    ));
}
