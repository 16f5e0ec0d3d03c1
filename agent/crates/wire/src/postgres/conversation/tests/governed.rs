//! Replacement texts, words, columns and limits.

use super::*;

fn rows(count: usize) -> Vec<u8> {
    row().repeat(count)
}

fn limited(rows: u64) -> Session {
    let mut session = Session::new();
    session.judge.limits = Some(Limits {
        rows,
        ..Limits::NONE
    });
    session
}

fn canceled() -> Vec<u8> {
    message(b'E', &[b"SERROR\0VERROR\0C57014\0Mcanceling statement\0\0"])
}

fn limit_error(what: &str) -> Vec<u8> {
    let refusal = Refusal {
        sqlstate: "54000".into(),
        message: format!("weir: the limit of {what} is reached"),
        detail: None,
        hint: None,
    };
    backend::error_response("ERROR", &refusal)
}

/// A description of one text column of this relation.
fn description(relation: u32, column: i16) -> Vec<u8> {
    let parts: [&[u8]; 5] = [
        b"\0\x01ssn\0",
        &relation.to_be_bytes(),
        &column.to_be_bytes(),
        &25_u32.to_be_bytes(),
        b"\xff\xff\xff\xff\xff\xff\0\0",
    ];
    message(b'T', &parts)
}

fn bind_binary(portal: &str, statement: &str) -> Vec<u8> {
    message(
        b'B',
        &[
            portal.as_bytes(),
            b"\0",
            statement.as_bytes(),
            b"\0\0\0\0\0\0\x01\0\x01",
        ],
    )
}

fn cell(value: &[u8]) -> Vec<u8> {
    let length = u32::try_from(value.len()).expect("short").to_be_bytes();
    message(b'D', &[b"\0\x01", &length, value])
}

/// What a session answers, whatever the pieces its server's bytes arrive in.
fn at_every_split(prepare: impl Fn() -> Session, down: &[u8], expected: &[u8]) {
    for at in 0..=down.len() {
        let mut session = prepare();
        let mut received = session.server(&down[..at]);
        received.extend(session.server(&down[at..]));
        assert_eq!(received, expected, "split at {at}");
    }
}

#[test]
fn another_text_goes_in_place_of_the_clients_at_every_split() {
    let up = [
        query("SELECT secret=>masked"),
        query("SELECT 1"),
        parse("s", "SELECT secret=>a longer text, masked"),
        bind("", "s"),
        execute(""),
        sync(),
    ]
    .concat();
    let expected = [
        query("masked"),
        query("SELECT 1"),
        parse("s", "a longer text, masked"),
        bind("", "s"),
        execute(""),
        sync(),
    ]
    .concat();
    for at in 0..=up.len() {
        let mut session = Session::new();
        let mut sent = session.client(&up[..at]);
        sent.extend(session.client(&up[at..]));
        assert_eq!(sent, expected, "split at {at}");
        // What is recorded is the client's.
        assert_eq!(session.judge.requests[0].0, "SELECT secret=>masked");
    }
}

#[test]
fn a_text_that_grows_beyond_measure_is_refused() {
    /// Makes much of little.
    struct Growing(Recorder, Vec<u8>);
    impl Judge for Growing {
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
        fn request(
            &mut self,
            statement: &String,
            via: Via,
            parameters: u64,
            bytes: usize,
        ) -> Result<usize, Box<Refusal>> {
            self.0.request(statement, via, parameters, bytes)
        }
        fn refused(&mut self, statement: &String, refusal: &mut Refusal, via: Via, bytes: usize) {
            self.0.refused(statement, refusal, via, bytes);
        }
        fn finished(&mut self, ticket: usize, finished: Finished) {
            self.0.finished(ticket, finished);
        }
        fn hash(&mut self, parameters: &[u8]) -> u64 {
            self.0.hash(parameters)
        }
        fn parameter(&mut self, name: &[u8], value: &[u8]) {
            self.0.parameter(name, value);
        }
        fn settled(&mut self, _: u8) {}
        fn replacement<'a>(&'a self, _: &'a String) -> Option<&'a [u8]> {
            Some(&self.1)
        }
    }
    let mut judge = Growing(
        Recorder::default(),
        vec![b' '; frontend::MAX_REPLACEMENT_BYTES + 1],
    );
    let mut conversation: Conversation<Growing> = Conversation::new(ChannelBinding::Relayed);
    let mut out = Outbox::default();
    let greeting = [message(b'R', &[&[0; 4]]), ready(b'I')].concat();
    conversation
        .server(&greeting, &mut judge, &mut out)
        .expect("well-formed");
    for (frame, poison) in [
        (query("SELECT 1"), frontend::poison_query()),
        (parse("", "SELECT 1"), frontend::poison_parse()),
    ] {
        out.begin();
        conversation
            .client(&frame, &mut judge, &mut out)
            .expect("well-formed");
        assert_eq!(out.finish(&frame), poison);
    }
    assert!(judge.0.requests.is_empty());
    assert_eq!(judge.0.refused.len(), 2);
}

#[test]
fn positions_and_words_are_those_of_the_statement_they_answer() {
    let error = |position: &str| {
        let body = [
            "SERROR\0VERROR\0C42703\0Mno\0WPL/pgSQL\0P",
            position,
            "\0\0",
        ]
        .concat();
        message(b'E', &[body.as_bytes()])
    };
    let mut session = Session::new();
    session.client(&[query("SELECT secret=>x"), query("SELECT 1")].concat());
    let received = session.server(&[error("107"), ready(b'I'), error("107"), ready(b'I')].concat());
    let mapped = message(b'E', &[b"SERROR\0VERROR\0C42703\0Mno\0P7\0\0"]);
    assert_eq!(
        received,
        [mapped, ready(b'I'), error("107"), ready(b'I')].concat()
    );
    // In the extended protocol the analyser speaks at `Parse`.
    session.client(
        &[
            parse("", "INSERT secret"),
            bind("", ""),
            execute(""),
            sync(),
        ]
        .concat(),
    );
    let received = session.server(&[error("107"), ready(b'I')].concat());
    let text = String::from_utf8_lossy(&received).into_owned();
    assert!(text.contains("withholds") && text.contains("P7"), "{text}");
}

#[test]
fn notices_and_notifications_are_shielded_where_something_is_hidden() {
    let notice = message(b'N', &[b"SLOG\0VLOG\0C00000\0Mplan: secret value\0\0"]);
    let notification = message(b'A', &[b"\0\0\0\x01channel\0value\0"]);
    let asides = [notice, notification].concat();
    let mut session = Session::new();
    session.client(&query("SELECT 1"));
    assert_eq!(session.server(&asides), asides);
    session.server(&[complete("SELECT 0"), ready(b'I')].concat());
    session.client(&query("SELECT secret"));
    let received = session.server(&asides);
    assert!(!received.windows(5).any(|window| window == b"value"));
    assert!(received.windows(7).any(|window| window == b"channel"));
}

#[test]
fn an_error_too_long_to_be_read_is_withheld_whole() {
    let long = "v".repeat(2 << 20);
    let body = ["SERROR\0VERROR\0C22P02\0M", &long, "\0\0"].concat();
    let frame = message(b'E', &[body.as_bytes()]);
    let mut session = Session::new();
    session.client(&query("SELECT secret"));
    let mut received = Vec::new();
    for chunk in [frame.clone(), ready(b'I')].concat().chunks(60_000) {
        received.extend(session.server(chunk));
    }
    let ours = crate::postgres::shield::oversized_error(*b"22P02");
    assert_eq!(received, [ours, ready(b'I')].concat());
    assert_eq!(session.endings(), [Ending::Failed(*b"22P02")]);
    // Where nothing is hidden it passes.
    session.client(&query("SELECT 1"));
    let mut received = Vec::new();
    for chunk in frame.chunks(60_000) {
        received.extend(session.server(chunk));
    }
    assert_eq!(received, frame);
}

#[test]
fn a_hidden_column_in_a_result_is_masked_and_reported() {
    let answer = |value: &[u8]| {
        let parts = [
            description(77, 2),
            cell(value),
            cell(value),
            complete("SELECT 2"),
            description(78, 2),
            cell(b"078-05-1120"),
            complete("SELECT 1"),
            ready(b'I'),
        ];
        parts.concat()
    };
    let prepare = || {
        let mut session = Session::new();
        session.client(&query("SELECT secret"));
        session
    };
    at_every_split(prepare, &answer(b"078-05-1120"), &answer(b"***"));
    let mut session = prepare();
    session.server(&answer(b"078-05-1120"));
    let masked = Incident::MaskedColumn {
        relation: 77,
        column: 2,
    };
    assert_eq!(session.judge.incidents, [masked]);
    assert_eq!(session.judge.endings[0].1.rows, 3);
}

#[test]
fn a_statement_is_masked_by_what_its_description_showed_and_its_bind_says() {
    let mut session = Session::new();
    session.client(
        &[
            parse("s", "SELECT secret"),
            message(b'D', &[b"Ss\0"]),
            sync(),
        ]
        .concat(),
    );
    let down = [
        bare(b'1'),
        message(b't', &[b"\0\0"]),
        description(77, 2),
        ready(b'I'),
    ]
    .concat();
    assert_eq!(session.server(&down), down);
    // No description in this round trip, nor in the next.
    for _ in 0..2 {
        session.client(&[bind_binary("", "s"), execute(""), sync()].concat());
        let received =
            session.server(&[bare(b'2'), cell(b"078"), complete("SELECT 1"), ready(b'I')].concat());
        assert_eq!(
            received,
            [bare(b'2'), cell(b"***"), complete("SELECT 1"), ready(b'I')].concat()
        );
    }
}

#[test]
fn a_description_counts_for_what_was_pipelined_behind_it() {
    let mut session = Session::new();
    let up = [
        parse("", "SELECT secret"),
        bind("", ""),
        message(b'D', &[b"P\0"]),
        execute(""),
        sync(),
    ];
    session.client(&up.concat());
    let down = |value: &[u8]| {
        [
            bare(b'1'),
            bare(b'2'),
            description(77, 2),
            cell(value),
            complete("SELECT 1"),
            ready(b'I'),
        ]
        .concat()
    };
    assert_eq!(session.server(&down(b"078")), down(b"***"));
}

#[test]
fn rows_end_at_the_limit_and_the_servers_cancellation_becomes_our_error() {
    for execute_it in [false, true] {
        let mut session = limited(2);
        session.server(&message(b'K', &[b"\0\0\0\x07abcd"]));
        let mut head = description(78, 1);
        if execute_it {
            session.client(&[parse("", "SELECT"), bind("", ""), execute(""), sync()].concat());
            head = [bare(b'1'), bare(b'2')].concat();
        } else {
            session.client(&query("SELECT"));
        }
        let received = session.server(&[head.clone(), rows(3)].concat());
        assert_eq!(received, [head, rows(2)].concat());
        let cancel = session.conversation.take_cancel().expect("wanted");
        assert_eq!(cancel, b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\x07abcd");
        assert_eq!(session.conversation.take_cancel(), None);
        assert_eq!(session.server(&rows(1_000)), b"");
        let received = session.server(&[rows(3), canceled(), ready(b'I')].concat());
        assert_eq!(received, [limit_error("rows"), ready(b'I')].concat());
        let finished = session.judge.endings[0].1;
        assert_eq!(
            (finished.ending, finished.rows),
            (Ending::Failed(*b"54000"), 2)
        );
        // The session goes on.
        session.client(&query("SELECT"));
        let answer = [rows(2), complete("SELECT 2"), ready(b'I')].concat();
        assert_eq!(session.server(&answer), answer);
    }
}

#[test]
fn a_limit_of_bytes_cuts_no_row() {
    let size = row().len();
    let bytes = u64::try_from(size * 3 + size / 2).expect("small");
    let prepare = || {
        let mut session = limited(u64::MAX);
        session.judge.limits = Some(Limits {
            bytes,
            ..Limits::NONE
        });
        session.client(&query("SELECT"));
        session
    };
    let down = [rows(9), canceled(), ready(b'I')].concat();
    let expected = [rows(3), limit_error("bytes"), ready(b'I')].concat();
    at_every_split(prepare, &down, &expected);
}

#[test]
fn a_limit_of_nothing_lets_no_row_pass() {
    let mut session = limited(0);
    session.client(&query("SELECT"));
    let received = session.server(&[rows(1), complete("SELECT 1"), ready(b'I')].concat());
    assert_eq!(received, [limit_error("rows"), ready(b'I')].concat());
}

#[test]
fn a_query_that_completes_before_it_is_canceled_still_ends_with_our_error() {
    let down = [
        description(78, 1),
        rows(3),
        complete("SELECT 3"),
        description(78, 1),
        rows(1),
        complete("SELECT 1"),
        ready(b'T'),
    ]
    .concat();
    let expected = [
        description(78, 1),
        rows(2),
        limit_error("rows"),
        ready(b'T'),
    ]
    .concat();
    let prepare = || {
        let mut session = limited(2);
        session.client(&query("SELECT; SELECT"));
        session
    };
    at_every_split(prepare, &down, &expected);
    let mut session = prepare();
    session.server(&down);
    assert_eq!(session.endings(), [Ending::Completed]);
    assert_eq!(session.judge.endings[0].1.rows, 2);
    assert_eq!(session.judge.incidents, [Incident::CompletedBeyondLimit]);
    // It is over: a cancellation now would hit something else.
    assert_eq!(session.conversation.take_cancel(), None);
}

#[test]
fn behind_an_error_of_ours_the_client_gets_nothing_until_sync_as_behind_any_error() {
    let up = [
        parse("", "SELECT"),
        bind("", ""),
        execute(""),
        parse("s", "INSERT"),
        bind("", "s"),
        execute(""),
        sync(),
        parse("", "SELECT"),
        bind("", ""),
        execute(""),
        sync(),
    ]
    .concat();
    let down = [
        bare(b'1'),
        bare(b'2'),
        rows(3),
        complete("SELECT 3"),
        bare(b'1'),
        bare(b'2'),
        message(b'S', &[b"a\0b\0"]),
        complete("INSERT 0 1"),
        ready(b'I'),
        bare(b'1'),
        bare(b'2'),
        rows(1),
        complete("SELECT 1"),
        ready(b'I'),
    ]
    .concat();
    let expected = [
        bare(b'1'),
        bare(b'2'),
        rows(2),
        limit_error("rows"),
        message(b'S', &[b"a\0b\0"]),
        ready(b'I'),
        bare(b'1'),
        bare(b'2'),
        rows(1),
        complete("SELECT 1"),
        ready(b'I'),
    ]
    .concat();
    let prepare = || {
        let mut session = limited(2);
        session.client(&up);
        session
    };
    at_every_split(prepare, &down, &expected);
    let mut session = prepare();
    session.server(&down);
    // What the server did is what is recorded.
    assert_eq!(session.endings(), [Ending::Completed; 3]);
    assert_eq!(session.conversation.in_flight(), 0);
    // The statement that was prepared meanwhile is there.
    session.client(&[bind("", "s"), execute(""), sync()].concat());
    assert_eq!(
        session.judge.requests.last(),
        Some(&("INSERT".to_owned(), Via::Execute))
    );
}

#[test]
fn a_failure_behind_an_error_of_ours_is_not_told_twice() {
    let mut session = limited(1);
    let one = [bind("", "s"), execute("")].concat();
    session.client(&[parse("s", "SELECT"), one.clone(), one, sync()].concat());
    let down = [
        bare(b'1'),
        bare(b'2'),
        rows(2),
        complete("SELECT 2"),
        bare(b'2'),
        failure("57014"),
        ready(b'E'),
    ];
    let received = session.server(&down.concat());
    let expected = [
        bare(b'1'),
        bare(b'2'),
        rows(1),
        limit_error("rows"),
        ready(b'E'),
    ];
    assert_eq!(received, expected.concat());
    assert_eq!(
        session.endings(),
        [Ending::Completed, Ending::Failed(*b"57014")]
    );
}

#[test]
fn all_executions_of_a_portal_count_together() {
    let mut session = limited(3);
    session.client(
        &[
            parse("", "SELECT"),
            bind("p", ""),
            execute("p"),
            execute("p"),
            sync(),
        ]
        .concat(),
    );
    let down = [
        bare(b'1'),
        bare(b'2'),
        rows(2),
        bare(b's'),
        rows(2),
        bare(b's'),
        ready(b'T'),
    ];
    let received = session.server(&down.concat());
    let expected = [
        bare(b'1'),
        bare(b'2'),
        rows(2),
        bare(b's'),
        rows(1),
        limit_error("rows"),
        ready(b'T'),
    ];
    assert_eq!(received, expected.concat());
    // Another portal of the same statement begins anew.
    session.client(&[bind("q", ""), execute("q"), sync()].concat());
    let answer = [bare(b'2'), rows(3), complete("SELECT 3"), ready(b'T')].concat();
    assert_eq!(session.server(&answer), answer);
}

#[test]
fn copied_rows_count_as_rows() {
    let data = message(b'd', &[b"1\n"]);
    let mut session = limited(2);
    session.client(&query("COPY t TO STDOUT"));
    let begin = message(b'H', &[b"\0\0\0"]);
    let received =
        session.server(&[begin.clone(), data.repeat(4), canceled(), ready(b'I')].concat());
    assert_eq!(
        received,
        [begin, data.repeat(2), limit_error("rows"), ready(b'I')].concat()
    );
}

#[test]
fn what_requests_share_ends_an_answer_too() {
    let mut session = limited(u64::MAX);
    session.judge.shared = Some(Limits {
        rows: 4,
        ..Limits::NONE
    });
    session.client(&query("SELECT"));
    let received = session.server(&[rows(9), canceled(), ready(b'I')].concat());
    assert_eq!(
        received,
        [rows(4), limit_error("rows"), ready(b'I')].concat()
    );
}
