mod governed;
mod hold;
mod look;

use std::collections::VecDeque;

use super::*;
use crate::postgres::{
    Asked, Gate, Incident, Limits, Outbox, Point, Ruling, Shield, Via, backend, frontend,
    frontend::message, judge::Unreadable,
};

/// Refuses what drops, records everything.
#[derive(Default)]
struct Recorder {
    next: usize,
    requests: Vec<(String, Via)>,
    refused: Vec<String>,
    endings: Vec<(usize, Finished)>,
    parameters: Vec<String>,
    expired: bool,
    limits: Option<Limits>,
    /// What requests share; counted down by `progress`.
    shared: Option<Limits>,
    incidents: Vec<Incident>,
    /// What was asked about at the gate.
    asked: Vec<(Point, String)>,
    /// Whether each was said to be in a transaction, and whether that was settled.
    transactions: Vec<(bool, bool)>,
    /// What becomes of the next statements that wait.
    decisions: VecDeque<Decision>,
}

/// On a statement that waits.
#[derive(Clone, Copy)]
enum Decision {
    Approved,
    Refused(&'static str),
}

impl Judge for Recorder {
    type Statement = String;
    type Ticket = usize;

    fn statement(&mut self, text: &[u8], _: Via) -> Ruling<String> {
        let text = String::from_utf8_lossy(text).into_owned();
        if text.contains("DROP") {
            Ruling::Refuse(text, Box::new(refusal("no drops")))
        } else {
            Ruling::Permit(text)
        }
    }
    fn unreadable(&mut self, why: Unreadable, _: usize, _: Via) -> Ruling<String> {
        Ruling::Refuse(format!("{why:?}"), Box::new(refusal("unreadable")))
    }
    fn function(&mut self, oid: u32) -> Ruling<String> {
        if oid == 1 {
            Ruling::Permit("function".into())
        } else {
            Ruling::Refuse("function".into(), Box::new(refusal("no functions")))
        }
    }
    fn made_by_sql(&mut self) -> String {
        "from sql".into()
    }
    fn request(
        &mut self,
        statement: &String,
        via: Via,
        _: u64,
        _: usize,
    ) -> Result<usize, Box<Refusal>> {
        if self.expired {
            return Err(Box::new(refusal("expired")));
        }
        self.requests.push((statement.clone(), via));
        self.next += 1;
        Ok(self.next)
    }
    fn refused(&mut self, statement: &String, _: &mut Refusal, _: Via, _: usize) {
        self.refused.push(statement.clone());
    }
    fn finished(&mut self, ticket: usize, finished: Finished) {
        self.endings.push((ticket, finished));
    }
    fn hash(&mut self, parameters: &[u8]) -> u64 {
        parameters.len() as u64
    }
    fn parameter(&mut self, name: &[u8], _: &[u8]) {
        self.parameters
            .push(String::from_utf8_lossy(name).into_owned());
    }
    fn settled(&mut self, _: u8) {}

    /// Statements that speak of `secret` are rewritten to `masked`; what they are called makes them watched.
    fn replacement<'a>(&'a self, statement: &'a String) -> Option<&'a [u8]> {
        let (_, hidden) = statement.split_once("secret=>")?;
        Some(hidden.as_bytes())
    }
    fn watches(&self, statement: &String) -> bool {
        statement.contains("secret") || self.limits.is_some()
    }
    fn shield(&self, statement: Option<&String>) -> Shield {
        match statement {
            Some(text) if text.contains("secret") && text.contains("INSERT") => Shield::Writes,
            Some(text) if text.contains("secret") => Shield::Reads,
            _ => Shield::Off,
        }
    }
    fn position(&self, _: &String, position: usize) -> Option<usize> {
        position.checked_sub(100)
    }
    fn is_masked(&self, _: &String, relation: u32, _: i16) -> bool {
        relation == 77
    }
    fn limits(&mut self, _: &usize) -> Option<Limits> {
        self.limits
    }
    fn progress(&mut self, _: &mut usize, rows: u64, bytes: u64) -> Limits {
        self.shared
            .map_or(Limits::NONE, |shared| shared.minus(rows, bytes))
    }
    fn incident(&mut self, _: &String, incident: Incident) {
        self.incidents.push(incident);
    }
    /// What speaks of `HOLD` waits until it is cleared.
    fn gate(&mut self, statement: &String, asked: &Asked<'_>) -> Gate<String> {
        self.asked.push((asked.at, statement.clone()));
        self.transactions
            .push((asked.in_transaction, !asked.unsettled));
        if !statement.contains("HOLD") || statement.contains("cleared") {
            return Gate::Open(None);
        }
        match self.decisions.pop_front() {
            None => Gate::Wait,
            Some(Decision::Approved) => Gate::Open(Some(format!("{statement} cleared"))),
            Some(Decision::Refused(state)) => {
                self.refused.push(statement.clone());
                let mut refusal = refusal("not approved");
                refusal.sqlstate = state.into();
                Gate::Refuse(Box::new(refusal))
            }
        }
    }
}

fn refusal(message: &str) -> Refusal {
    Refusal {
        sqlstate: "42501".into(),
        message: message.into(),
        detail: None,
        hint: None,
    }
}

/// A logged-in session.
struct Session {
    conversation: Conversation<Recorder>,
    judge: Recorder,
    out: Outbox,
}

impl Session {
    fn new() -> Self {
        let mut session = Self {
            conversation: Conversation::new(ChannelBinding::Relayed),
            judge: Recorder::default(),
            out: Outbox::default(),
        };
        let greeting = [
            message(b'R', &[&[0; 4]]),
            message(b'S', &[b"a\0b\0"]),
            ready(b'I'),
        ]
        .concat();
        assert_eq!(session.server(&greeting), greeting);
        session
    }

    fn client(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.out.begin();
        self.conversation
            .client(bytes, &mut self.judge, &mut self.out)
            .expect("well-formed");
        self.out.finish(bytes).to_vec()
    }

    fn server(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.out.begin();
        self.conversation
            .server(bytes, &mut self.judge, &mut self.out)
            .expect("well-formed");
        self.out.finish(bytes).to_vec()
    }

    fn endings(&self) -> Vec<Ending> {
        self.judge
            .endings
            .iter()
            .map(|(_, finished)| finished.ending)
            .collect()
    }
}

fn ready(status: u8) -> Vec<u8> {
    message(b'Z', &[&[status]])
}
fn query(text: &str) -> Vec<u8> {
    message(b'Q', &[text.as_bytes(), b"\0"])
}
fn parse(name: &str, text: &str) -> Vec<u8> {
    message(b'P', &[name.as_bytes(), b"\0", text.as_bytes(), b"\0\0\0"])
}
fn bind(portal: &str, statement: &str) -> Vec<u8> {
    message(
        b'B',
        &[
            portal.as_bytes(),
            b"\0",
            statement.as_bytes(),
            b"\0\0\0\0\0\0\0",
        ],
    )
}
fn execute(portal: &str) -> Vec<u8> {
    message(b'E', &[portal.as_bytes(), b"\0\0\0\0\0"])
}
fn sync() -> Vec<u8> {
    message(b'S', &[])
}
fn bare(tag: u8) -> Vec<u8> {
    message(tag, &[])
}
fn complete(tag: &str) -> Vec<u8> {
    message(b'C', &[tag.as_bytes(), b"\0"])
}
fn row() -> Vec<u8> {
    message(b'D', &[b"\0\x01\0\0\0\x01x"])
}
fn syntax_error() -> Vec<u8> {
    message(b'E', &[b"SERROR\0VERROR\0C42601\0Msyntax error\0\0"])
}
fn failure(state: &str) -> Vec<u8> {
    message(
        b'E',
        &[b"SERROR\0VERROR\0C", state.as_bytes(), b"\0Mno\0\0"],
    )
}

#[test]
fn what_no_rule_concerns_is_relayed_byte_for_byte_at_every_split() {
    let up = [
        query("SELECT 1"),
        parse("s", "SELECT 2"),
        bind("", "s"),
        execute(""),
        sync(),
        message(b'd', &[b"abc"]),
    ]
    .concat();
    let down = [
        message(b'T', &[b"\0\0"]),
        row(),
        row(),
        complete("SELECT 2"),
        ready(b'I'),
        bare(b'1'),
        bare(b'2'),
        row(),
        message(b'N', &[b"\0"]),
        complete("SELECT 1"),
        ready(b'I'),
    ]
    .concat();
    for at in 0..=up.len() {
        for back in [
            0,
            1,
            4,
            5,
            6,
            down.len() / 2,
            down.len() - 1,
            down.len(),
            at.min(down.len()),
        ] {
            let mut session = Session::new();
            let mut sent = session.client(&up[..at]);
            sent.extend(session.client(&up[at..]));
            assert_eq!(sent, up, "client split at {at}");
            let mut received = session.server(&down[..back]);
            received.extend(session.server(&down[back..]));
            assert_eq!(received, down, "server split at {back}");
            let rows: Vec<u64> = session.judge.endings.iter().map(|(_, f)| f.rows).collect();
            assert_eq!(rows, [2, 1]);
            assert_eq!(session.endings(), [Ending::Completed; 2]);
            assert_eq!(session.conversation.in_flight(), 0);
        }
    }
}

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
fn a_sync_sent_before_a_copy_began_is_swallowed() {
    let mut session = Session::new();
    session.client(
        &[
            parse("", "COPY t FROM STDIN"),
            bind("", ""),
            execute(""),
            sync(),
        ]
        .concat(),
    );
    session.server(&[bare(b'1'), bare(b'2'), message(b'G', &[b"\0\0\0"])].concat());
    session.client(&[message(b'd', &[b"1\n"]), bare(b'c'), sync()].concat());
    session.server(&[complete("COPY 1"), ready(b'I')].concat());
    assert_eq!(session.conversation.in_flight(), 0);
    assert_eq!(session.judge.endings[0].1.rows, 1);
    // The same with everything sent ahead.
    session.client(
        &[
            bind("", ""),
            execute(""),
            message(b'd', &[b"1\n"]),
            bare(b'c'),
            sync(),
        ]
        .concat(),
    );
    session.server(
        &[
            bare(b'2'),
            message(b'G', &[b"\0\0\0"]),
            complete("COPY 1"),
            ready(b'I'),
        ]
        .concat(),
    );
    assert_eq!(session.conversation.in_flight(), 0);
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
fn what_is_sent_ahead_of_the_login_waits_for_it() {
    let mut judge = Recorder::default();
    let mut out = Outbox::default();
    let mut conversation: Conversation<Recorder> = Conversation::new(ChannelBinding::Relayed);
    let early = query("DROP TABLE t");
    out.begin();
    conversation
        .client(&early, &mut judge, &mut out)
        .expect("held");
    assert_eq!(out.finish(&early), b"");
    let greeting = [message(b'R', &[&[0; 4]]), ready(b'I')].concat();
    out.begin();
    conversation
        .server(&greeting, &mut judge, &mut out)
        .expect("well-formed");
    let released = conversation
        .release_early(&mut judge, &mut out)
        .expect("well-formed");
    assert_eq!(released, Some(frontend::poison_query()));
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

#[test]
fn random_bytes_never_panic() {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    let tags = b"QPBEDCSHdcfFpX123ZTtnsIGWARKE";
    for round in 0..4_000 {
        let mut session = Session::new();
        // Every other one is watched and counted.
        session.judge.limits = (round % 2 == 0).then_some(Limits {
            rows: 1,
            bytes: 100,
        });
        for _ in 0..20 {
            let tag = tags[usize::try_from(next() % tags.len() as u64).expect("small")];
            let mut body = next().to_le_bytes().to_vec();
            body.truncate(usize::try_from(next() % 9).expect("small"));
            let mut bytes = message(tag, &[&body]);
            if next() % 16 == 0 {
                let at = usize::try_from(next() % bytes.len() as u64).expect("small");
                bytes[at] ^= u8::try_from(next() % 256).expect("a byte");
            }
            session.out.begin();
            let broken = if next() % 2 == 0 {
                session
                    .conversation
                    .client(&bytes, &mut session.judge, &mut session.out)
                    .is_err()
            } else {
                session
                    .conversation
                    .server(&bytes, &mut session.judge, &mut session.out)
                    .is_err()
            };
            if broken {
                break;
            }
        }
        session.conversation.disconnected(&mut session.judge);
    }
}
