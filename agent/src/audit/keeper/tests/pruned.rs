//! An index from which retired segments were removed holds what an index of the other segments does.

use rusqlite::Connection;
use weir_policy::Identity;

use super::*;
use crate::{
    audit::{
        Session, Statement,
        record::{Settled, Verdict},
        reports::{self, Period, Question},
    },
    capture::Counters,
    clock,
};

const HOUR_NS: u64 = 3_600_000_000_000;

/// Pseudo-random numbers, the same each time (Knuth's MMIX constants).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % limit
    }
}

/// Clients that come and go over hours, and what is decided meanwhile.
struct Life {
    journal: Arc<Journal>,
    random: Random,
    now_ns: u64,
    sessions: Vec<Arc<Session>>,
    statements: Vec<Arc<Statement>>,
    late: Vec<u64>,
    approvals: Vec<u64>,
    counted: u64,
}

impl Life {
    fn begin(dir: &Path, seed: u64) -> Self {
        let life = Self {
            journal: open(dir),
            random: Random(seed),
            // Sessions and events have the time at which the test runs; requests lie behind it.
            now_ns: (clock::now_ns() / HOUR_NS + 1) * HOUR_NS,
            sessions: Vec::new(),
            statements: Vec::new(),
            late: Vec::new(),
            approvals: Vec::new(),
            counted: 0,
        };
        life.event(&Event::AgentStarted {
            version: "0".to_owned(),
            resumed: false,
            policy: "first".to_owned(),
            development_issuer: true,
        });
        life
    }

    fn event(&self, event: &Event) -> u64 {
        self.journal.event(event).expect("recorded")
    }

    /// Goes on until `segments` more are full, some minutes with each step.
    fn go_on(&mut self, segments: u64) {
        let until = self.journal.health().segment + segments;
        while self.journal.health().segment < until {
            self.now_ns += HOUR_NS / 40;
            match self.random.below(10) {
                0 => self.come(),
                1 => self.leave(),
                2 => self.decide(),
                3 => self.count(),
                _ => self.work(),
            }
        }
        self.journal.sync().expect("synced");
    }

    fn come(&mut self) {
        let who = ["alice", "bob", "bot/bob", ""][self.random.below(4)];
        let exe = ["/bin/a", "/bin/b"][self.random.below(2)];
        let session = self.journal.session(new_session(who, exe));
        self.sessions.push(session.expect("recorded"));
    }

    fn leave(&mut self) {
        if self.sessions.len() < 3 {
            return;
        }
        let at = self.random.below(self.sessions.len());
        let session = self.sessions.swap_remove(at);
        self.journal
            .session_closed(&session, "left", 1, 2, 3)
            .expect("recorded");
    }

    fn someone(&mut self) -> Arc<Session> {
        if self.sessions.is_empty() {
            self.come();
        }
        let at = self.random.below(self.sessions.len());
        Arc::clone(&self.sessions[at])
    }

    /// An approval begins, goes on or ends; a session goes on with a newer log-in.
    fn decide(&mut self) {
        let session = self.someone();
        let Some(identity) = session.opened.identity.clone() else {
            return;
        };
        if self.random.below(3) == 0 {
            let mut proof = session.opened.proof.clone().expect("a proof");
            proof.last_verified_s += i64::try_from(self.random.below(5)).expect("a few");
            let event = Event::SessionRenewed {
                session: session.id,
                identity,
                proof,
            };
            self.journal.event_of(&session, &event).expect("recorded");
            return;
        }
        if self.approvals.len() < 3 {
            self.ask(&session, identity);
            return;
        }
        let approval = self.approvals[self.random.below(3)];
        match self.random.below(3) {
            0 => {
                let end = Event::ApprovalEnded {
                    approval,
                    how: Settled::Ran,
                    request: Some(1),
                    ran: None,
                };
                self.event(&end);
                self.approvals.retain(|one| *one != approval);
            }
            _ => {
                self.event(&Event::ApprovalDecided {
                    approval,
                    approver: identity,
                    verdict: Verdict::Approved,
                    reason: "fine".to_owned(),
                    until_ns: Some(self.now_ns + HOUR_NS),
                    break_glass: false,
                });
            }
        }
    }

    fn ask(&mut self, session: &Session, requester: Identity) {
        let approval = self.journal.new_id();
        let event = Event::ApprovalRequested {
            approval,
            session: session.id,
            requester: Some(requester),
            rules: vec!["orders-by-two".to_owned()],
            reason: "orders are money".to_owned(),
            text: "delete from orders".to_owned(),
            approvers: vec!["dba".to_owned()],
            quorum: 2,
            expires_ns: self.now_ns + HOUR_NS,
            bound: None,
        };
        self.journal.event_of(session, &event).expect("recorded");
        self.approvals.push(approval);
    }

    fn count(&mut self) {
        self.counted += 3;
        let counters = Counters {
            governed: self.counted,
            ..Counters::default()
        };
        self.event(&Event::KernelCounted { counters });
        if self.random.below(20) == 0 {
            self.event(&Event::PolicyLoaded {
                digest: format!("at {}", self.counted),
                path: "p".to_owned(),
                rules: 1,
            });
        }
    }

    /// A request of a statement that is new or was used before; some get their outcome late or never.
    fn work(&mut self) {
        let session = self.someone();
        if self.statements.len() < 4 || self.random.below(3) == 0 {
            self.prepare();
        }
        let at = self.random.below(self.statements.len());
        let statement = Arc::clone(&self.statements[at]);
        let seq = self
            .journal
            .requested_at(self.now_ns, &session, &statement, Via::Execute, 0, 1)
            .expect("recorded");
        match self.random.below(10) {
            0 => {}
            1 => self.late.push(seq),
            _ => self.answer(seq),
        }
        if self.late.len() > 5 {
            let seq = self.late.remove(0);
            self.answer(seq);
        }
    }

    fn answer(&self, seq: u64) {
        let done = outcome(seq, Ending::Completed, 2, 20);
        self.journal
            .outcome_at(self.now_ns, &done)
            .expect("recorded");
    }

    /// Texts are long, so that segments get full soon.
    fn prepare(&mut self) {
        let number = self.random.below(30);
        let relation = ["orders", "items"][number % 2];
        let mut facts = facts(Kind::Select, &[(relation, Use::Read)]);
        facts.normalised = format!("select {number} {}", "x".repeat(12_000));
        let statement = self.journal.statement(facts, allowed(), "d", Vec::new());
        self.statements.push(statement);
        if self.statements.len() > 8 {
            self.statements.remove(0);
        }
    }
}

/// Rows by their content: numbers that the store gives out differ from store to store.
fn rows(store: &Connection, sql: &str) -> Vec<String> {
    let mut query = store.prepare(sql).expect("a question");
    let columns = query.column_count();
    let mut rows: Vec<String> = query
        .query_map([], |row| {
            let values: rusqlite::Result<Vec<_>> = (0..columns)
                .map(|at| row.get_ref(at).map(|value| format!("{value:?}")))
                .collect();
            Ok(values?.join(" "))
        })
        .expect("rows")
        .collect::<rusqlite::Result<_>>()
        .expect("rows");
    rows.sort_unstable();
    rows
}

fn number(store: &Connection, sql: &str) -> u64 {
    store
        .query_row(sql, [], |row| row.get(0))
        .expect("a number")
}

const WHO: &str = "c.issuer, c.subject, c.actor, c.exe, c.endpoint, c.database";
const PROOFS: &str =
    "SELECT context, groups, method, strength, sessions, first_ns, last_ns FROM context_proofs";
const PROOFS_OF_SESSIONS: &str =
    "SELECT context, groups, coalesce(method, ''), coalesce(strength, ''), count(*),
     min(opened_ns), max(opened_ns) FROM session_records GROUP BY 1, 2, 3, 4";

/// Everything that has to be the same, where segments up to `retired` are gone and `hour` is the first that is whole.
fn content(store: &Connection, retired: u64, hour: u64) -> Vec<Vec<String>> {
    [
        format!(
            "SELECT a.session, hex(s.digest), a.hour, a.requests, a.outcomes, a.rows, a.bytes, a.duration_ns, a.first_ns, a.last_ns
             FROM activity a JOIN statement_records s ON s.id = a.statement WHERE a.hour >= {hour}"
        ),
        format!(
            "SELECT u.hour, {WHO}, hex(s.digest), u.statements, u.rows, u.bytes, u.first_ns, u.last_ns
             FROM statement_usage u JOIN contexts c ON c.id = u.context JOIN statement_records s ON s.id = u.statement
             WHERE u.hour >= {hour}"
        ),
        format!(
            "SELECT u.hour, {WHO}, u.relation, u.action, u.kinds, u.statements, u.rows, u.bytes, u.first_ns, u.last_ns
             FROM usage u JOIN contexts c ON c.id = u.context WHERE u.hour >= {hour}"
        ),
        format!(
            "SELECT t.hour, {WHO}, t.requests, t.outcomes, t.rows FROM totals t JOIN contexts c ON c.id = t.context
             WHERE t.hour >= {hour}"
        ),
        format!(
            "SELECT s.id, {WHO}, s.opened_ns, s.closed_ns, s.close_reason, s.requests, s.groups, s.token, s.verified_s, s.segment
             FROM session_records s JOIN contexts c ON c.id = s.context WHERE s.segment > {retired}"
        ),
        "SELECT i.id, hex(s.digest), s.text, r.relation, i.segment FROM statement_ids i JOIN statement_records s ON s.id = i.statement
         JOIN statement_relations r ON r.statement = s.id".to_owned(),
        "SELECT * FROM event_records".to_owned(),
        "SELECT * FROM session_renewals".to_owned(),
        "SELECT o.seq, o.session, hex(s.digest), o.hour FROM open_requests o JOIN statement_records s ON s.id = o.statement".to_owned(),
        "SELECT * FROM breaks".to_owned(),
        "SELECT * FROM segment_hours".to_owned(),
    ]
    .iter()
    .map(|sql| rows(store, sql))
    .collect()
}

fn answers(store: &Connection, dir: &Path, period: Period) -> Vec<reports::Report> {
    [
        Question::Usage { table: None },
        Question::Access {
            table: None,
            class: None,
        },
        Question::Privileged,
        Question::Approvals,
        Question::Completeness,
    ]
    .iter()
    .map(|question| {
        let mut report = reports::ask(store, dir, question, period).expect("an answer");
        report.header.generated = String::new();
        report
    })
    .collect()
}

#[test]
fn a_pruned_index_holds_what_an_index_of_the_rest_does() {
    let (mut straddling, mut partly) = (0, 0);
    for seed in seeds() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut life = Life::begin(dir.path(), seed);
        let mut store = store::open(dir.path()).expect("a store");
        for _ in 0..3 {
            life.go_on(3);
            let indexed = index::catch_up(&mut store, dir.path()).expect("indexed");
            life.journal.set_indexed(indexed);
            let key = PublicKey::open(dir.path()).expect("a key");
            let folder = dir.path().join(FOLDER);
            let last = life.journal.health().segment - 2;
            // All at once, or one by one: then what goes may still be named by what goes next.
            let first = match seed % 2 {
                0 => last,
                _ => chain::retired::Retired::last_segment(&folder) + 1,
            };
            for segment in first..=last {
                let seal = Seal::read(&folder, segment, &key).expect("readable");
                let confirmed = seal.expect("sealed").last_seq;
                pass(&work(dir.path(), &life.journal, by_size(), confirmed));
                let indexed = index::catch_up(&mut store, dir.path()).expect("indexed");
                life.journal.set_indexed(indexed);
                while !index::prune(&mut store, dir.path(), Duration::ZERO).expect("pruned") {}
            }
            assert!(check(dir.path()).intact);

            let retired = chain::retired::Retired::last_segment(&folder);
            assert_eq!(retired, last);
            let partial = number(&store, "SELECT min(first_hour) FROM segment_hours");
            let pruned = content(&store, retired, partial + 1);
            let period = |from: u64, until: u64| {
                let text = |hours| reports::period::rfc3339(hours * HOUR_NS);
                Period::parse(&text(from), Some(&text(until)), 0).expect("a period")
            };
            let told = answers(&store, dir.path(), period(partial + 1, partial + 1001));
            let everything = answers(&store, dir.path(), period(0, partial + 1001));
            assert_eq!(rows(&store, PROOFS), rows(&store, PROOFS_OF_SESSIONS));
            let ran = number(&store, "SELECT sum(requests) FROM totals");
            let begins = number(
                &store,
                "SELECT max(body ->> '$.last_seq') FROM events WHERE event = 'segments_retired'",
            );
            straddling += number(
                &store,
                &format!(
                    "SELECT count(*) FROM events WHERE event = 'approval_requested' AND seq <= {begins}"
                ),
            );

            store::clear(&mut store).expect("cleared");
            index::catch_up(&mut store, dir.path()).expect("indexed");
            assert!(index::prune(&mut store, dir.path(), Duration::MAX).expect("pruned"));
            let rebuilt = content(&store, retired, partial + 1);
            for (pruned, rebuilt) in pruned.iter().zip(&rebuilt) {
                assert_eq!(pruned, rebuilt, "seed {seed}");
            }
            assert!(pruned.iter().filter(|rows| !rows.is_empty()).count() >= 9);
            assert_eq!(
                answers(&store, dir.path(), period(partial + 1, partial + 1001)),
                told
            );
            assert_eq!(rows(&store, PROOFS), rows(&store, PROOFS_OF_SESSIONS));
            // The hour in which the journal begins now: whole before, what is left of it here.
            let left = number(&store, "SELECT sum(requests) FROM totals");
            assert!(left <= ran, "{left} of {ran}");
            partly += u64::from(left < ran);
            // Agent, policy, and what the kernel had counted are known although the segments that said it are gone.
            let header = &everything[0].header;
            assert!(header.development_issuer && !header.policy.is_empty());
            assert!(!header.records_since.is_empty());
            let note = format!("records begin at {}", header.records_since);
            assert!(header.incomplete.iter().any(|it| it.starts_with(&note)));
            assert!(
                told[0]
                    .header
                    .incomplete
                    .iter()
                    .all(|it| !it.starts_with(&note))
            );
        }
    }
    assert!(straddling > 0, "no approval lay on both sides");
    assert!(partly > 0, "no hour lay on both sides");
}

#[test]
fn the_room_of_what_went_is_used_again_or_given_back() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut life = Life::begin(dir.path(), 7);
    let mut store = store::open(dir.path()).expect("a store");
    let journal = Arc::clone(&life.journal);
    let pages = |store: &Connection| number(store, "PRAGMA page_count");
    let mut sizes = Vec::new();
    for round in 0..4 {
        // Statements that never come back: each round has as many as the one before.
        for number in 0..700 {
            let mut facts = facts(Kind::Select, &[("orders", Use::Read)]);
            facts.normalised = format!("round {round}, select {number} {}", "y".repeat(12_000));
            let statement = journal.statement(facts, allowed(), "d", Vec::new());
            let session = life.someone();
            life.now_ns += HOUR_NS / 100;
            let seq = journal
                .requested_at(life.now_ns, &session, &statement, Via::Execute, 0, 1)
                .expect("recorded");
            life.answer(seq);
        }
        journal.sync().expect("synced");
        let indexed = index::catch_up(&mut store, dir.path()).expect("indexed");
        journal.set_indexed(indexed);
        let before = pages(&store);
        pass(&work(dir.path(), &journal, by_size(), u64::MAX));
        let mut steps = 0;
        while !index::prune(&mut store, dir.path(), Duration::ZERO).expect("pruned") {
            steps += 1;
        }
        assert!(steps > 3, "{steps} steps hold the lock for long");
        sizes.push((before, pages(&store)));
    }
    // The first round leaves part of a segment to the next.
    let (largest, last) = (sizes[1].0, sizes[3].0);
    assert!(last <= largest + largest / 10, "{sizes:?}");
    assert!(
        sizes[1..].iter().all(|(before, after)| *after < before / 4),
        "{sizes:?}"
    );
}

#[test]
fn a_store_of_an_earlier_version_is_built_anew() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut life = Life::begin(dir.path(), 3);
    life.go_on(1);
    let mut store = store::open(dir.path()).expect("a store");
    index::catch_up(&mut store, dir.path()).expect("indexed");
    let before = content(&store, 0, 0);
    store
        .execute_batch(
            "PRAGMA user_version = 5; DROP INDEX session_by_use; DROP INDEX statement_by_use;
             ALTER TABLE contexts DROP COLUMN last_hour; DELETE FROM totals;",
        )
        .expect("as an earlier version left it");
    drop(store);
    let mut store = store::open(dir.path()).expect("a store");
    assert_eq!(number(&store, "SELECT count(*) FROM contexts"), 0);
    index::catch_up(&mut store, dir.path()).expect("indexed");
    assert_eq!(content(&store, 0, 0), before);
}

/// A few lives, the same each time; `WEIR_LIVES=from..until` tries others.
fn seeds() -> std::ops::Range<u64> {
    let asked = std::env::var("WEIR_LIVES").unwrap_or_else(|_| "0..4".to_owned());
    let (from, until) = asked.split_once("..").expect("from..until");
    from.parse().expect("a number")..until.parse().expect("a number")
}
