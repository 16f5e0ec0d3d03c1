//! Requests that wait in place: what goes on ahead of them, what is kept behind them, and what comes of them.

mod gate;
mod random;
mod refused;

use super::*;
use crate::postgres::conversation::{Look, Moment};

const FLUSH: &[u8] = b"H\0\0\0\x04";
const TERMINATE: &[u8] = b"X\0\0\0\x04";

impl Session {
    /// Decides on the next statement that waits and reads on.
    fn decide(&mut self, decision: Decision) -> Vec<u8> {
        self.judge.decisions.push_back(decision);
        self.resume()
    }

    fn held_bytes(&self) -> usize {
        self.conversation.held_bytes()
    }

    fn texts(&self) -> Vec<&str> {
        let requests = &self.judge.requests;
        requests.iter().map(|(text, _)| text.as_str()).collect()
    }
}

/// Every way to give `up` in three pieces, one of which may be empty.
fn in_pieces(up: &[u8], mut check: impl FnMut([&[u8]; 3])) {
    for first in 0..=up.len() {
        for second in [
            first,
            (first + 1).min(up.len()),
            (first + 5).min(up.len()),
            first + (up.len() - first) / 2,
        ] {
            check([&up[..first], &up[first..second], &up[second..]]);
        }
    }
}

#[test]
fn a_query_waits_with_everything_behind_it_at_every_split() {
    let ahead = query("SELECT 1");
    let behind = [query("SELECT HOLD"), query("SELECT 3")].concat();
    let up = [ahead.clone(), behind.clone()].concat();
    in_pieces(&up, |pieces| {
        let mut session = Session::new();
        let mut sent = Vec::new();
        for piece in pieces {
            sent.extend(session.client(piece));
        }
        assert_eq!(sent, ahead);
        assert!(session.conversation.is_held());
        assert_eq!(session.held_bytes(), behind.len());
        assert_eq!(session.texts(), ["SELECT 1"], "it is not recorded");
        assert_eq!(session.conversation.in_flight(), 1);
        let answer = [row(), complete("SELECT 1"), ready(b'I')].concat();
        assert_eq!(session.server(&answer), answer);
        assert_eq!(session.conversation.moment(), Moment::Idle);

        assert_eq!(session.decide(Decision::Approved), behind);
        assert!(!session.conversation.is_held());
        assert_eq!(
            session.texts(),
            ["SELECT 1", "SELECT HOLD cleared", "SELECT 3"]
        );
        let answers = [complete("SELECT 0"), ready(b'I')].concat().repeat(2);
        assert_eq!(session.server(&answers), answers);
        assert_eq!(session.endings(), [Ending::Completed; 3]);
        let next = query("SELECT 4");
        assert_eq!(session.client(&next), next);
    });
}

/// Two rounds of the extended protocol, each with a statement that waits.
fn two_rounds() -> [Vec<u8>; 4] {
    let rest = |portal: &str, name: &str| {
        [
            bind(portal, name),
            message(b'D', &[b"P", portal.as_bytes(), b"\0"]),
            execute(portal),
            sync(),
        ]
        .concat()
    };
    [
        parse("", "HOLD 1"),
        rest("", ""),
        parse("s", "HOLD 2"),
        rest("p", "s"),
    ]
}

#[test]
fn a_bind_waits_in_its_pipeline_and_the_client_gets_what_is_ahead_of_it() {
    let [parse_one, one, parse_two, two] = two_rounds();
    let up = [&*parse_one, &*one, &*parse_two, &*two].concat();
    let answered = [
        bare(b'2'),
        bare(b'n'),
        complete("SELECT 0"),
        ready(b'I'),
        bare(b'1'),
    ]
    .concat();
    in_pieces(&up, |pieces| {
        let mut session = Session::new();
        let mut sent = Vec::new();
        for piece in pieces {
            sent.extend(session.client(piece));
        }
        assert_eq!(sent, [&*parse_one, FLUSH].concat());
        assert_eq!(session.server(&bare(b'1')), bare(b'1'));
        assert_eq!(
            session.conversation.moment(),
            Moment::Open,
            "no Sync has gone"
        );

        let sent = session.decide(Decision::Approved);
        assert_eq!(sent, [&*one, &*parse_two, FLUSH].concat());
        assert!(session.conversation.is_held(), "the second one");
        assert_eq!(session.held_bytes(), two.len());
        assert_eq!(session.server(&answered), answered);

        assert_eq!(session.decide(Decision::Approved), two);
        session.server(&[&answered[..answered.len() - 5]].concat());
        assert_eq!(session.texts(), ["HOLD 1 cleared", "HOLD 2 cleared"]);
        assert_eq!(session.endings(), [Ending::Completed; 2]);
        assert_eq!(session.conversation.in_flight(), 0);
        assert_eq!(session.conversation.moment(), Moment::Idle);
    });
}

#[test]
fn one_after_the_other_may_wait_out_of_one_buffer() {
    let held: Vec<Vec<u8>> = (0..50).map(|n| query(&format!("HOLD {n}"))).collect();
    let mut session = Session::new();
    assert_eq!(session.client(&held.concat()), b"");
    for (n, message) in held.iter().enumerate() {
        let left: usize = held[n..].iter().map(Vec::len).sum();
        assert_eq!(session.held_bytes(), left);
        // Asked for nothing: it is decided again, waits again, and nothing is lost.
        assert_eq!(session.resume(), b"");
        assert_eq!(session.held_bytes(), left);
        assert_eq!(session.decide(Decision::Approved), *message);
        session.server(&[complete("SELECT 0"), ready(b'I')].concat());
    }
    assert!(!session.conversation.is_held());
    assert_eq!(session.held_bytes(), 0);
    assert_eq!(session.endings(), [Ending::Completed; 50]);
}

#[test]
fn what_was_sent_ahead_of_the_log_in_may_wait_too() {
    let early = [parse("", "HOLD"), bind("", ""), execute(""), sync()].concat();
    let late = query("SELECT 2");
    let greeting = [message(b'R', &[&[0; 4]]), ready(b'I')].concat();
    let up = [early.clone(), late.clone()].concat();
    for at in early.len()..=up.len() {
        let mut session = Session {
            conversation: Conversation::new(ChannelBinding::Relayed),
            judge: Recorder::default(),
            out: Outbox::default(),
        };
        // The client may be in the middle of a message when its log-in is over.
        assert_eq!(session.client(&up[..at]), b"");
        assert!(!session.conversation.is_held());
        session.server(&greeting);
        let released = session
            .conversation
            .release_early(&mut session.judge, &mut session.out)
            .expect("well-formed");
        assert_eq!(
            released.as_deref(),
            Some(&*[&*parse("", "HOLD"), FLUSH].concat())
        );
        assert!(session.conversation.is_held());
        assert!(!session.conversation.holds_early());
        session.conversation.hold_more(&up[at..]);
        assert_eq!(session.held_bytes(), up.len() - parse("", "HOLD").len());
        let rest = &up[parse("", "HOLD").len()..];
        assert_eq!(session.decide(Decision::Approved), rest, "split at {at}");
        assert_eq!(session.texts(), ["HOLD cleared", "SELECT 2"]);
    }
}

#[test]
fn a_terminate_is_found_wherever_it_comes_in_pieces_and_nowhere_else() {
    let data = message(b'd', &[TERMINATE]);
    let up = [
        query("HOLD COPY"),
        data.clone(),
        query("X\u{0}\u{0}\u{0}\u{4}"),
        sync(),
        TERMINATE.to_vec(),
    ]
    .concat();
    for at in 0..=up.len() {
        let mut session = Session::new();
        session.client(&up[..at]);
        let whole = at == up.len();
        assert_eq!(session.conversation.held_terminates(), whole, "at {at}");
        for (index, byte) in up[at..].iter().enumerate() {
            session.client(std::slice::from_ref(byte));
            let whole = at + index + 1 == up.len();
            assert_eq!(session.conversation.held_terminates(), whole);
        }
        // Nothing that comes behind it is ever read.
        session.client(&data);
        assert!(session.conversation.held_terminates());
    }
    let mut session = Session::new();
    session.client(&query("HOLD"));
    session.client(b"Q\0\0\0\x01");
    session.client(TERMINATE);
    assert!(
        !session.conversation.held_terminates(),
        "where it begins nobody knows"
    );
    session.judge.decisions.push_back(Decision::Approved);
    let broken = session
        .conversation
        .resume(&mut session.judge, &mut session.out);
    assert!(matches!(broken, Err(ConversationError::Client(_))));
}

#[test]
fn one_terminate_remains_when_what_is_ahead_of_it_is_done() {
    let mut session = Session::new();
    session.client(&[query("HOLD 1"), query("HOLD 2")].concat());
    session.conversation.hold_more(&TERMINATE[..2]);
    session.decide(Decision::Approved);
    session.conversation.hold_more(&TERMINATE[2..]);
    assert!(session.conversation.held_terminates());
    let sent = session.decide(Decision::Refused("57014"));
    assert_eq!(sent, [&*frontend::poison_query(), TERMINATE].concat());
    assert!(!session.conversation.held_terminates());
}

#[test]
fn a_flush_is_added_only_where_the_server_keeps_answers() {
    let held = query("HOLD");
    for (ahead, expected) in [
        (vec![], false),
        (vec![query("SELECT 1")], false),
        (vec![parse("s", "SELECT 1"), sync()], false),
        (vec![parse("s", "SELECT 1"), FLUSH.to_vec()], false),
        (
            vec![
                parse("s", "SELECT 1"),
                FLUSH.to_vec(),
                message(b'd', &[b"x"]),
            ],
            false,
        ),
        (vec![parse("s", "SELECT 1"), query("SELECT 2")], false),
        (vec![message(b'F', &[b"\0\0\0\x01\0\0\0\0\0\0"])], false),
        (vec![parse("s", "SELECT 1")], true),
        (vec![bind("", "s")], true),
        (vec![execute("s")], true),
        (vec![message(b'D', &[b"Ss\0"])], true),
        (vec![message(b'C', &[b"Ss\0"])], true),
        (
            vec![
                parse("s", "SELECT 1"),
                sync(),
                FLUSH.to_vec(),
                bind("", "t"),
            ],
            true,
        ),
    ] {
        let ahead = ahead.concat();
        let mut session = Session::new();
        let sent = session.client(&[&*ahead, &*held].concat());
        let flush = if expected { FLUSH } else { b"" };
        assert_eq!(sent, [&*ahead, flush].concat());
        // Asked once is enough.
        assert_eq!(session.resume(), b"");
        // In pieces it is the same.
        let mut session = Session::new();
        let mut sent = session.client(&ahead);
        sent.extend(session.client(&held));
        assert_eq!(sent, [&*ahead, flush].concat());
    }
}

#[test]
fn copied_data_waits_behind_its_statement() {
    let data = message(b'd', &[b"1\n2\n"]);
    let up = [
        query("COPY HOLD FROM STDIN"),
        data.repeat(3),
        bare(b'c'),
        query("SELECT 1"),
    ]
    .concat();
    in_pieces(&up, |pieces| {
        let mut session = Session::new();
        for piece in pieces {
            assert_eq!(session.client(piece), b"");
        }
        assert_eq!(session.held_bytes(), up.len());
        assert_eq!(session.conversation.moment(), Moment::Idle);
        assert_eq!(session.decide(Decision::Approved), up);
        let down = [
            message(b'G', &[b"\0\0\0"]),
            complete("COPY 6"),
            ready(b'I'),
            complete("SELECT 0"),
            ready(b'I'),
        ];
        session.server(&down.concat());
        assert_eq!(session.judge.endings[0].1.bytes, 3 * data.len() as u64);
        assert_eq!(session.judge.endings[0].1.rows, 6);
        assert_eq!(session.conversation.in_flight(), 0);

        // Refused: the server drops data that nobody asked for.
        session.client(&up);
        let sent = session.decide(Decision::Refused("42501"));
        let rest = &up[query("COPY HOLD FROM STDIN").len()..];
        assert_eq!(sent, [&*frontend::poison_query(), rest].concat());
    });
}

#[test]
fn an_error_ahead_of_what_waits_makes_the_wait_vain() {
    let mut session = Session::new();
    let behind = [
        bind("", "s"),
        execute(""),
        query("HOLD 2"),
        sync(),
        query("HOLD 3"),
    ];
    session.client(&[parse("s", "HOLD bad"), behind.concat()].concat());
    assert!(session.conversation.is_held() && !session.conversation.is_held_in_vain());
    let error = failure("42P01");
    assert_eq!(session.server(&error), error);
    assert!(session.conversation.is_held_in_vain());
    let asked = session.judge.asked.len();
    assert_eq!(session.resume(), behind[..4].concat());
    assert_eq!(session.judge.asked.len(), asked + 1, "only behind the Sync");
    assert!(session.conversation.is_held() && !session.conversation.is_held_in_vain());
    assert_eq!(session.held_bytes(), behind[4].len());
}

#[test]
fn a_look_may_run_while_a_request_waits() {
    let mut session = Session::new();
    let up = [query("HOLD"), query("SELECT 2")].concat();
    session.client(&up);
    assert_eq!(session.conversation.moment(), Moment::Idle);
    session
        .conversation
        .look(Look::new("weir_1", ["BEGIN", "EXPLAIN"]));
    // More of the client is kept, a decision has no effect yet.
    let more = query("SELECT 3");
    session.conversation.hold_more(&more);
    session.judge.decisions.push_back(Decision::Approved);
    assert_eq!(session.resume(), b"");
    assert!(session.conversation.is_held() && session.texts().is_empty());
    assert!(!session.conversation.may_notice());
    let run = |tag: &str| {
        [
            bare(b'1'),
            bare(b'2'),
            complete(tag),
            bare(b'3'),
            bare(b'3'),
        ]
        .concat()
    };
    let down = [
        run("BEGIN"),
        run("EXPLAIN"),
        ready(b'T'),
        bare(b'3'),
        bare(b'3'),
        run("ROLLBACK"),
        ready(b'I'),
    ];
    assert_eq!(session.server(&down.concat()), b"");
    let looked = session.conversation.take_looked().expect("it is over");
    assert!(looked.answers.is_ok());
    assert!(session.conversation.is_held() && session.conversation.may_notice());
    assert_eq!(session.resume(), [up, more].concat());
}

#[test]
fn the_end_of_the_connection_finds_only_what_went_ahead() {
    let mut session = Session::new();
    session.client(&[query("SELECT 1"), query("HOLD")].concat());
    session.conversation.disconnected(&mut session.judge);
    assert_eq!(session.texts(), ["SELECT 1"]);
    assert_eq!(session.endings(), [Ending::Disconnected]);
}

#[test]
fn notices_stand_between_messages_and_never_among_copied_data() {
    let mut conversation: Conversation<Recorder> = Conversation::new(ChannelBinding::Relayed);
    assert!(!conversation.may_notice(), "not logged in");
    assert_eq!(conversation.cancel_key(), None);
    let mut judge = Recorder::default();
    let mut out = Outbox::default();
    let key = b"\0\0\0\x07secret key of any length";
    let greeting = [message(b'K', &[key]), ready(b'I')].concat();
    conversation
        .server(&greeting, &mut judge, &mut out)
        .expect("well-formed");
    assert_eq!(conversation.cancel_key(), Some(&key[..]));
    assert!(conversation.may_notice());

    let mut session = Session::new();
    let may = |session: &Session| session.conversation.may_notice();
    session.client(&query("COPY t TO STDOUT; SELECT 1"));
    assert!(may(&session));
    let data = message(b'd', &[b"1\n"]);
    session.server(&message(b'H', &[b"\0\0\0"]));
    assert!(!may(&session));
    session.server(&data);
    assert!(!may(&session));
    session.server(&bare(b'c'));
    assert!(may(&session), "the copy is over");
    session.server(&complete("COPY 1"));
    session.server(&row()[..7]);
    assert!(!may(&session), "in the middle of a row");
    session.server(&row()[7..]);
    assert!(may(&session));
    session.server(&[complete("SELECT 1"), ready(b'I')].concat());

    session.client(&query("COPY t TO STDOUT"));
    session.server(&[message(b'H', &[b"\0\0\0"]), data].concat());
    session.server(&failure("57014"));
    assert!(may(&session), "it failed");
    session.server(&ready(b'I'));
    session.client(&query("START_REPLICATION"));
    session.server(&message(b'W', &[b"\0\0\0"]));
    assert!(!may(&session));
}
