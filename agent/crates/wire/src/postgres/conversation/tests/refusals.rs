//! What is refused: the client gets our error, and the server's state stays.

use super::*;

#[test]
fn a_refused_query_becomes_our_error_and_the_servers_state_stays() {
    let mut session = Session::new();
    let sent = session.client(&[query("DROP TABLE t"), query("SELECT 1")].concat());
    assert_eq!(sent, [frontend::poison_query(), query("SELECT 1")].concat());
    let received = session.server(&[syntax_error(), ready(b'E')].concat());
    let ours = backend::error_response("ERROR", &refusal("no drops"));
    assert_eq!(received, [ours, ready(b'E')].concat());
    assert_eq!(session.conversation.transaction(), b'E');
    let answer = [row(), complete("SELECT 1"), ready(b'I')].concat();
    assert_eq!(session.server(&answer), answer);
    assert_eq!(session.judge.refused, ["DROP TABLE t"]);
    assert_eq!(session.endings(), [Ending::Completed]);
}

#[test]
fn a_refused_parse_in_a_pipeline_skips_to_sync_as_the_server_does() {
    let mut session = Session::new();
    session.client(&[parse("keep", "SELECT 0"), sync()].concat());
    session.server(&[bare(b'1'), ready(b'I')].concat());
    let up = [
        parse("", "INSERT"),
        bind("", ""),
        execute(""),
        parse("keep", "DROP"),
        bind("", "keep"),
        execute(""),
        query("SELECT lost"),
        sync(),
        bind("", "keep"),
        execute(""),
        sync(),
    ]
    .concat();
    let sent = session.client(&up);
    assert!(!sent.windows(4).any(|w| w == b"DROP"));
    let down = [
        bare(b'1'),
        bare(b'2'),
        complete("INSERT 0 1"),
        syntax_error(),
        ready(b'I'),
        bare(b'2'),
        complete("SELECT 0"),
        ready(b'I'),
    ]
    .concat();
    let received = session.server(&down);
    assert!(received.windows(8).any(|w| w == b"no drops"));
    assert_eq!(
        session.endings(),
        [Ending::Completed, Ending::Skipped, Ending::Completed]
    );
    assert_eq!(session.judge.endings[0].1.rows, 1);
    // The Execute of what was refused is no request of its own.
    assert_eq!(session.judge.requests[1].0, "SELECT lost");
    assert_eq!(session.judge.requests[2], ("SELECT 0".into(), Via::Execute));
    assert_eq!(session.conversation.in_flight(), 0);
}

#[test]
fn a_refusal_at_execute_poisons_the_execute() {
    let mut session = Session::new();
    session.client(&[parse("", "SELECT 1"), bind("", "")].concat());
    session.judge.expired = true;
    let sent = session.client(&[execute(""), sync()].concat());
    assert_eq!(sent, [frontend::poison_parse(), sync()].concat());
    let received = session.server(&[bare(b'1'), bare(b'2'), syntax_error(), ready(b'I')].concat());
    assert!(received.windows(7).any(|w| w == b"expired"));
    assert_eq!(session.conversation.in_flight(), 0);
}

#[test]
fn an_oversized_query_is_dropped_whole_and_answered() {
    let mut session = Session::new();
    let text = "x".repeat(frontend::MAX_STATEMENT_BYTES * 2);
    let bytes = [query(&text), query("SELECT 1")].concat();
    let mut sent = Vec::new();
    for chunk in bytes.chunks(65_536) {
        sent.extend(session.client(chunk));
    }
    assert_eq!(sent, [frontend::poison_query(), query("SELECT 1")].concat());
}

#[test]
fn names_are_not_forgotten_for_more_names_than_a_session_may_have() {
    let mut session = Session::new();
    session.client(&parse("held", "HOLD 1"));
    for name in 0..65_535 {
        session.client(&parse(&format!("n{name}"), "SELECT"));
    }
    let sent = session.client(&[parse("", "SELECT 1"), parse("held", "HOLD 2")].concat());
    assert!(
        sent.ends_with(&parse("held", "HOLD 2")),
        "a known name has room"
    );
    assert_eq!(
        session.judge.named.len(),
        65_537,
        "one that has none is not named"
    );
    let sent = session.client(&parse("one more", "SELECT 2"));
    assert_eq!(sent, frontend::poison_parse());
    assert_eq!(session.judge.refused, ["SELECT 2"]);
    session.client(&sync());
    let down = [bare(b'1').repeat(65_538), syntax_error(), ready(b'I')].concat();
    let received = session.server(&down);
    assert!(received.windows(5).any(|code| code == b"54000"));
    session.client(&bind("", "held"));
    assert_eq!(session.judge.asked, [(Point::Bind, "HOLD 2".to_owned())]);
}
