//! What waits and is refused in the end.

use super::*;

fn not_approved(state: &str) -> Vec<u8> {
    let mut refusal = refusal("not approved");
    refusal.sqlstate = state.into();
    backend::error_response("ERROR", &refusal)
}

#[test]
fn a_refused_query_is_answered_in_our_words_and_the_rest_goes_on() {
    for state in ["42501", "57014"] {
        let mut session = Session::new();
        session.client(&[query("HOLD"), query("SELECT 2")].concat());
        let sent = session.decide(Decision::Refused(state));
        assert_eq!(sent, [frontend::poison_query(), query("SELECT 2")].concat());
        let down = [
            syntax_error(),
            ready(b'I'),
            complete("SELECT 0"),
            ready(b'I'),
        ];
        let told = [
            not_approved(state),
            ready(b'I'),
            complete("SELECT 0"),
            ready(b'I'),
        ];
        assert_eq!(session.server(&down.concat()), told.concat());
        assert_eq!(session.judge.refused, ["HOLD"]);
        assert_eq!(session.texts(), ["SELECT 2"]);
        assert_eq!(session.conversation.in_flight(), 0);
    }
}

#[test]
fn a_refused_bind_skips_to_sync_and_the_next_pipeline_is_asked_about_again() {
    for portal in ["", "p"] {
        let mut session = Session::new();
        let one = [
            bind(portal, "s"),
            message(b'D', &[b"P", portal.as_bytes(), b"\0"]),
            execute(portal),
            bind("", "s"),
            execute(""),
            query("SELECT HOLD, discarded"),
            sync(),
        ]
        .concat();
        let two = [bind(portal, "s"), execute(portal), sync()].concat();
        let up = [
            parse("s", "HOLD"),
            sync(),
            one.clone(),
            two.clone(),
            two.clone(),
        ];
        let sent = session.client(&up.concat());
        assert_eq!(sent, [parse("s", "HOLD"), sync()].concat());
        session.server(&[bare(b'1'), ready(b'I')].concat());

        let sent = session.decide(Decision::Refused("42501"));
        let poisoned = [
            &*frontend::poison_parse(),
            &one[bind(portal, "s").len()..],
            b"",
        ];
        assert_eq!(sent, poisoned.concat());
        assert!(session.conversation.is_held(), "at the next pipeline's");
        assert_eq!(
            session.judge.asked.len(),
            2,
            "what is discarded was not asked about: {:?}",
            session.judge.asked
        );
        let received = session.server(&[syntax_error(), ready(b'I')].concat());
        assert_eq!(received, [not_approved("42501"), ready(b'I')].concat());
        // Only what was not known to be part of the refused request is a request of its own.
        assert_eq!(session.texts(), ["SELECT HOLD, discarded"]);
        assert_eq!(session.endings(), [Ending::Skipped]);

        assert_eq!(session.decide(Decision::Approved), two);
        let sent = session.decide(Decision::Refused("57014"));
        let poisoned = [frontend::poison_parse(), execute(portal), sync()];
        assert_eq!(sent, poisoned.concat());
        let down = [
            bare(b'2'),
            complete("SELECT 0"),
            ready(b'I'),
            syntax_error(),
            ready(b'I'),
        ];
        let told = [
            bare(b'2'),
            complete("SELECT 0"),
            ready(b'I'),
            not_approved("57014"),
            ready(b'I'),
        ];
        assert_eq!(session.server(&down.concat()), told.concat());
        assert_eq!(session.conversation.in_flight(), 0);
    }
}

#[test]
fn until_it_is_let_go_a_bind_changes_no_portal() {
    let prepare = || {
        let mut session = Session::new();
        session.client(
            &[
                query("BEGIN"),
                parse("a", "SELECT a"),
                parse("b", "HOLD b"),
                bind("p", "a"),
                sync(),
            ]
            .concat(),
        );
        let down = [
            complete("BEGIN"),
            ready(b'T'),
            bare(b'1'),
            bare(b'1'),
            bare(b'2'),
            ready(b'T'),
        ];
        session.server(&down.concat());
        let close = message(b'C', &[b"Pp\0"]);
        let sent = session.client(&[close.clone(), bind("p", "b"), execute("p"), sync()].concat());
        assert_eq!(sent, [&close, FLUSH].concat());
        session
    };
    // Let go, it is the portal.
    let mut session = prepare();
    session.decide(Decision::Approved);
    assert_eq!(session.texts(), ["BEGIN", "HOLD b cleared"]);

    // Refused: the server has undone nothing but its transaction's state, and an earlier Close that it answered is done.
    let mut session = prepare();
    session.server(&bare(b'3'));
    session.decide(Decision::Refused("42501"));
    session.server(&[syntax_error(), ready(b'E')].concat());
    session.client(&[execute("p"), sync()].concat());
    assert_eq!(session.texts(), ["BEGIN", "from sql"]);

    // Over a portal that stays: what the server still has is what is recorded.
    for (name, statement) in [("", "a"), ("p", "a")] {
        let mut session = Session::new();
        session.client(
            &[
                query("BEGIN"),
                parse("a", "SELECT a"),
                parse("b", "HOLD b"),
                bind(name, statement),
                sync(),
            ]
            .concat(),
        );
        let down = [
            complete("BEGIN"),
            ready(b'T'),
            bare(b'1'),
            bare(b'1'),
            bare(b'2'),
            ready(b'T'),
        ];
        session.server(&down.concat());
        session.client(&[bind(name, "b"), execute(name), sync()].concat());
        assert!(session.conversation.is_held());
        session.decide(Decision::Refused("42501"));
        session.server(&[syntax_error(), ready(b'E')].concat());
        session.client(&query("ROLLBACK TO x"));
        session.server(&[complete("ROLLBACK"), ready(b'T')].concat());
        session.client(&[execute(name), sync()].concat());
        assert_eq!(session.texts().last(), Some(&"SELECT a"));
    }
}
