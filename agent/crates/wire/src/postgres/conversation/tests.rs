mod answers;
mod copies;
mod governed;
mod hold;
mod look;
mod names;
mod refusals;

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
    /// What messages gave names to.
    named: Vec<String>,
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
    fn named(&mut self, statement: &String) {
        self.named.push(statement.clone());
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
    fn may_copy(&self, statement: &String) -> bool {
        statement.contains("COPY") && !statement.contains("STDOUT")
    }

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

    /// The server has given the answers that what is held waits for: reads on.
    fn go_on(&mut self) -> Vec<u8> {
        assert!(self.conversation.is_held() && !self.conversation.awaits_answers());
        self.resume()
    }

    fn resume(&mut self) -> Vec<u8> {
        self.conversation
            .resume(&mut self.judge, &mut self.out)
            .expect("well-formed")
    }

    /// The server answers everything that it owes, without rows.
    fn answer_all(&mut self) {
        while let Some(item) = self.conversation.queue.head() {
            let answer = match item {
                Expect::Parse(_) => bare(b'1'),
                Expect::Bind(_) => bare(b'2'),
                Expect::CloseStatement(_) | Expect::ClosePortal(_) => bare(b'3'),
                Expect::DescribeStatement | Expect::DescribePortal => bare(b'n'),
                Expect::Execute(_) => complete("SELECT 0"),
                Expect::Query(_) => [complete("SELECT 0"), ready(b'I')].concat(),
                Expect::Function(_) | Expect::Startup | Expect::Sync => ready(b'I'),
                Expect::Poison { simple: true, .. } => [syntax_error(), ready(b'I')].concat(),
                Expect::Poison { simple: false, .. } => syntax_error(),
                Expect::CopyEnd => unreachable!("nobody waits for it"),
            };
            self.server(&answer);
        }
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
fn close(kind: u8, name: &str) -> Vec<u8> {
    message(b'C', &[&[kind], name.as_bytes(), b"\0"])
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
