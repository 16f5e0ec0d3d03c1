//! Requests that wait in place: what goes on ahead of them, what is kept behind them, and what comes of them.

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

    fn resume(&mut self) -> Vec<u8> {
        self.conversation
            .resume(&mut self.judge, &mut self.out)
            .expect("well-formed")
    }

    fn held_bytes(&self) -> usize {
        self.conversation.held_bytes()
    }

    fn texts(&self) -> Vec<&str> {
        let requests = &self.judge.requests;
        requests.iter().map(|(text, _)| text.as_str()).collect()
    }
}

fn not_approved(state: &str) -> Vec<u8> {
    let mut refusal = refusal("not approved");
    refusal.sqlstate = state.into();
    backend::error_response("ERROR", &refusal)
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
fn the_values_are_asked_about_before_the_server_has_them() {
    /// Keeps what it is asked.
    struct Curious(Recorder, Vec<(Point, u64, Vec<u8>, usize, bool)>);
    impl Judge for Curious {
        type Statement = String;
        type Ticket = usize;
        fn statement(&mut self, text: &[u8], via: Via) -> Ruling<String> {
            self.0.statement(text, via)
        }
        fn unreadable(&mut self, why: Unreadable, bytes: usize, via: Via) -> Ruling<String> {
            self.0.unreadable(why, bytes, via)
        }
        fn function(&mut self, oid: u32) -> Ruling<String> {
            self.0.function(oid)
        }
        fn made_by_sql(&mut self) -> String {
            self.0.made_by_sql()
        }
        fn gate(&mut self, _: &String, asked: &Asked<'_>) -> Gate<String> {
            let values = asked.values.to_vec();
            self.1.push((
                asked.at,
                asked.parameters,
                values,
                asked.bytes,
                asked.via == Via::Execute,
            ));
            Gate::Open(None)
        }
        fn request(
            &mut self,
            statement: &String,
            via: Via,
            parameters: u64,
            bytes: usize,
        ) -> Result<usize, Box<Refusal>> {
            self.0.request(statement, via, parameters, bytes)
        }
        fn refused(&mut self, _: &String, _: &mut Refusal, _: Via, _: usize) {}
        fn finished(&mut self, _: usize, _: Finished) {}
        fn hash(&mut self, parameters: &[u8]) -> u64 {
            self.0.hash(parameters)
        }
        fn parameter(&mut self, _: &[u8], _: &[u8]) {}
        fn settled(&mut self, _: u8) {}
    }
    let mut judge = Curious(Recorder::default(), Vec::new());
    let mut conversation = Conversation::new(ChannelBinding::Relayed);
    let mut out = Outbox::default();
    conversation
        .server(&ready(b'I'), &mut judge, &mut out)
        .expect("well-formed");
    let values = b"\0\0\0\x01\0\0\0\x02ab\0\0";
    let bound = message(b'B', &[b"p\0s\0", values]);
    let call = message(b'F', &[b"\0\0\0\x01", b"\0\0\0\0\0\0"]);
    let up = [
        query("SELECT"),
        parse("s", "SELECT $1"),
        bound.clone(),
        execute("p"),
        call.clone(),
    ];
    conversation
        .client(&up.concat(), &mut judge, &mut out)
        .expect("well-formed");
    let hash = values.len() as u64;
    let none = Vec::new;
    assert_eq!(
        judge.1,
        [
            (Point::Query, 0, none(), up[0].len(), false),
            (Point::Bind, hash, values.to_vec(), bound.len(), true),
            (Point::Execute, hash, none(), up[3].len(), true),
            (Point::FunctionCall, 10, vec![0; 6], call.len(), false),
        ]
    );
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
            3,
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
        session.client(&[bind(name, "b"), execute(name), sync()].concat());
        assert!(session.conversation.is_held());
        session.decide(Decision::Refused("42501"));
        let down = [
            complete("BEGIN"),
            ready(b'T'),
            bare(b'1'),
            bare(b'1'),
            bare(b'2'),
            ready(b'T'),
            syntax_error(),
            ready(b'E'),
        ];
        session.server(&down.concat());
        session.client(&query("ROLLBACK TO x"));
        session.server(&[complete("ROLLBACK"), ready(b'T')].concat());
        session.client(&[execute(name), sync()].concat());
        assert_eq!(session.texts().last(), Some(&"SELECT a"));
    }
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
                bind("", "s"),
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
fn what_was_cleared_at_bind_is_not_asked_for_at_each_execute() {
    let mut session = Session::new();
    session.client(&[parse("s", "HOLD"), bind("p", "s"), execute("p"), bare(b'H')].concat());
    session.decide(Decision::Approved);
    session.server(&[bare(b'1'), bare(b'2'), row(), bare(b's')].concat());
    let again = [execute("p"), sync()].concat();
    assert_eq!(session.client(&again), again);
    session.server(&[row(), complete("SELECT 1"), ready(b'I')].concat());
    assert_eq!(session.texts(), ["HOLD cleared", "HOLD cleared"]);
    assert_eq!(session.endings(), [Ending::Suspended, Ending::Completed]);
    let at: Vec<Point> = session.judge.asked.iter().map(|(at, _)| *at).collect();
    assert_eq!(
        at,
        [Point::Bind, Point::Bind, Point::Execute, Point::Execute]
    );
    // The statement itself is not cleared: other values are another question.
    session.client(&[bind("p", "s"), execute("p"), sync()].concat());
    assert!(session.conversation.is_held());
}

#[test]
fn an_execute_may_wait_and_its_portal_stays_cleared() {
    // As if the rule came after the Bind.
    let mut session = Session::new();
    session.client(&[parse("s", "HOLD"), bind("p", "s")].concat());
    session.decide(Decision::Approved);
    let bound = session.conversation.portals.get_mut(b"p").expect("bound");
    bound.statement = "HOLD".into();
    let sent = session.client(&[execute("p"), execute("p"), sync()].concat());
    assert_eq!(sent, FLUSH, "it waits at Execute");
    assert_eq!(
        session.decide(Decision::Approved),
        [execute("p"), execute("p"), sync()].concat()
    );
    assert_eq!(session.texts(), ["HOLD cleared", "HOLD cleared"]);
    let down = [
        bare(b'1'),
        bare(b'2'),
        row(),
        bare(b's'),
        complete("SELECT 0"),
        ready(b'I'),
    ];
    session.server(&down.concat());
    assert_eq!(session.conversation.in_flight(), 0);
    // Refused, the server is made to skip as at any other refusal.
    session.client(&[parse("t", "SELECT"), bind("q", "t")].concat());
    let bound = session.conversation.portals.get_mut(b"q").expect("bound");
    bound.statement = "HOLD".into();
    session.client(&[execute("q"), sync()].concat());
    let sent = session.decide(Decision::Refused("42501"));
    assert_eq!(sent, [frontend::poison_parse(), sync()].concat());
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
fn a_message_that_is_not_whole_is_refused_rather_than_held() {
    let values = vec![b'v'; 200 * 1024];
    let long = message(b'B', &[b"\0s\0", &values]);
    let up = [parse("s", "HOLD"), long, execute(""), sync()].concat();
    let mut session = Session::new();
    let mut sent = Vec::new();
    for chunk in up.chunks(50_000) {
        sent.extend(session.client(chunk));
    }
    let expected = [
        parse("s", "HOLD"),
        frontend::poison_parse(),
        execute(""),
        sync(),
    ];
    assert_eq!(sent, expected.concat());
    let told = session.server(&[bare(b'1'), syntax_error(), ready(b'I')].concat());
    let told = String::from_utf8_lossy(&told);
    assert!(told.contains("its message of 204808 bytes is too long for that"));
    assert!(told.contains("C54000"));
    assert_eq!(session.judge.refused, ["HOLD"], "and that is recorded");
    assert!(session.texts().is_empty());
}

#[test]
fn what_the_server_discards_is_not_asked_about() {
    let mut session = Session::new();
    session.client(&[parse("s", "bad"), bare(b'H')].concat());
    session.server(&failure("42P01"));
    let skipped = [
        query("HOLD"),
        bind("", "s"),
        execute(""),
        message(b'F', &[b"\0\0\0\x01\0\0\0\0\0\0"]),
    ]
    .concat();
    assert_eq!(session.client(&skipped), skipped);
    assert!(session.judge.asked.is_empty());
    assert_eq!(session.client(&[sync(), query("HOLD")].concat()), sync());
    assert!(session.conversation.is_held());
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
fn transactions_are_told_from_what_is_not_settled() {
    let asked = |ahead: &[Vec<u8>], down: &[Vec<u8>]| {
        let mut session = Session::new();
        session.client(&ahead.concat());
        session.server(&down.concat());
        session.client(&query("HOLD"));
        *session.judge.transactions.last().expect("asked")
    };
    let round = [parse("", "SELECT"), bind("", ""), execute("")];
    let answers = [bare(b'1'), bare(b'2'), complete("SELECT 0")];
    let with = |messages: &[Vec<u8>], last: Vec<u8>| [messages, &[last]].concat();
    // In a transaction, and whether that is certain.
    assert_eq!(asked(&[], &[]), (false, true));
    assert_eq!(asked(&[parse("", "SELECT")], &[]), (false, true));
    assert_eq!(asked(&round[..2], &[]), (false, true));
    assert_eq!(asked(&[query("BEGIN")], &[]), (true, false));
    let begun = [complete("BEGIN"), ready(b'T')];
    assert_eq!(asked(&[query("BEGIN")], &begun), (true, true));
    let over = [complete("SELECT 0"), ready(b'I')];
    assert_eq!(asked(&[query("SELECT")], &over), (false, true));
    let failed = [failure("42601"), ready(b'E')];
    assert_eq!(asked(&[query("SELEC")], &failed), (true, true));
    // What ran since the last Sync is part of it.
    assert_eq!(asked(&round, &[]), (true, false));
    assert_eq!(asked(&with(&round, bare(b'H')), &answers), (true, true));
    assert_eq!(asked(&with(&round, sync()), &answers), (true, false));
    let ended = with(&answers, ready(b'I'));
    assert_eq!(asked(&with(&round, sync()), &ended), (false, true));
    assert_eq!(asked(&[sync()], &[]), (true, false));
    // A copy swallows the Sync ahead of its end.
    let copied = [
        bare(b'1'),
        bare(b'2'),
        message(b'G', &[b"\0\0\0"]),
        complete("COPY 0"),
    ];
    let copy = [with(&round, sync()), vec![bare(b'c'), bare(b'H')]].concat();
    assert_eq!(asked(&copy, &copied), (true, true));
    let copy = with(&copy, sync());
    assert_eq!(
        asked(&copy, &with(&copied, ready(b'I'))),
        (false, true),
        "and this one is its end"
    );
}

#[test]
fn a_copys_swallowed_sync_is_no_end() {
    for late in [false, true] {
        let mut session = Session::new();
        let begin = [parse("", "COPY"), bind("", ""), execute("")].concat();
        let copying = [bare(b'1'), bare(b'2'), message(b'G', &[b"\0\0\0"])].concat();
        session.client(&begin);
        if late {
            session.server(&copying);
            session.client(&sync());
        } else {
            session.client(&sync());
            session.server(&copying);
        }
        session.client(&[bare(b'c'), bare(b'H')].concat());
        session.server(&complete("COPY 0"));
        assert_eq!(
            session.conversation.moment(),
            Moment::Open,
            "the copy's own transaction"
        );
        session.client(&sync());
        session.server(&ready(b'I'));
        assert_eq!(session.conversation.moment(), Moment::Idle);
    }
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

/// A small generator of numbers; what it gives depends on the seed alone.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).expect("small")
    }

    fn one_of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len())]
    }

    /// A message of any kind that clients send; none asks for a flush.
    fn message(&mut self) -> Vec<u8> {
        let texts = [
            "SELECT 1",
            "HOLD 2",
            "DROP 3",
            "SELECT secret=>4",
            "HOLD secret=>5",
        ];
        let names = ["", "a", "b"];
        match self.below(10) {
            0 | 1 => query(self.one_of(&texts)),
            2 => parse(self.one_of(&names), self.one_of(&texts)),
            3 | 4 => bind(self.one_of(&names), self.one_of(&names)),
            5 => execute(self.one_of(&names)),
            6 => message(
                [b'D', b'C'][self.below(2)],
                &[
                    self.one_of(&["S", "P"]).as_bytes(),
                    self.one_of(&names).as_bytes(),
                    b"\0",
                ],
            ),
            7 => message(b'd', &[&vec![b'x'; self.below(40)]]),
            8 => message(b'F', &[b"\0\0\0", &[u8::from(self.below(2) == 0)], &[0; 6]]),
            _ => sync(),
        }
    }
}

fn without_flushes(bytes: &[u8]) -> Vec<u8> {
    let mut cutter = crate::postgres::Cutter::default();
    let (mut cursor, mut kept) = (0, Vec::new());
    while let Some(piece) = cutter
        .next(bytes, &mut cursor, frontend::plan)
        .expect("well-formed")
    {
        if piece.tag != b'H' {
            kept.extend_from_slice(piece.bytes);
        }
    }
    kept
}

#[test]
fn waiting_changes_no_byte_and_no_record() {
    let mut waits = 0;
    for seed in 1..=1_500 {
        let mut numbers = Numbers(seed * 0x9e37_79b9);
        let up: Vec<u8> = (0..30).flat_map(|_| numbers.message()).collect();

        let mut patient = Session::new();
        let mut sent = Vec::new();
        let mut rest = &*up;
        while !rest.is_empty() || patient.conversation.is_held() {
            if patient.conversation.is_held() && (rest.is_empty() || numbers.below(3) == 0) {
                waits += 1;
                if numbers.below(4) > 0 {
                    patient.judge.decisions.push_back(Decision::Approved);
                }
                sent.extend(patient.resume());
                continue;
            }
            let (now, later) = rest.split_at(1 + numbers.below(rest.len().min(60)));
            sent.extend(patient.client(now));
            rest = later;
        }

        let mut hasty = Session::new();
        hasty.judge.decisions = std::iter::repeat_n(Decision::Approved, 100).collect();
        let at_once = hasty.client(&up);
        assert_eq!(without_flushes(&sent), at_once, "seed {seed}");
        assert_eq!(patient.judge.requests, hasty.judge.requests);
        assert_eq!(patient.judge.refused, hasty.judge.refused);
        assert_eq!(
            patient.conversation.in_flight(),
            hasty.conversation.in_flight()
        );
        assert_eq!(patient.conversation.moment(), hasty.conversation.moment());
    }
    assert!(waits > 3_000, "{waits} waits");
}
