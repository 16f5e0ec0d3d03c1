//! What the judge is asked about, and what it is told.

use super::*;

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
    let copied = [
        bare(b'1'),
        bare(b'2'),
        message(b'G', &[b"\0\0\0"]),
        complete("COPY 0"),
    ];
    let copy = [&round[..], &[bare(b'c'), bare(b'H')]].concat();
    assert_eq!(asked(&copy, &copied), (true, true));
    let copy = with(&copy, sync());
    assert_eq!(
        asked(&copy, &with(&copied, ready(b'I'))),
        (false, true),
        "and this one is its end"
    );
}
