//! One session's judge: asks the guard, writes the journal.

use std::{sync::Arc, time::Duration};

use weir_sql::{Kind, SessionModes, catalog::Naming};
use weir_wire::postgres::{Ending, Finished, Judge, Refusal, Ruling, Via, judge::Unreadable};

use crate::{
    audit::{Journal, record},
    catalog::Link,
    clock,
    guard::{Guard, KnownNaming, Scope, SessionView, Verdict},
    identity::{Bound, State},
    sessions::Registration,
};

/// Decides and records for one session.
#[derive(Debug)]
pub(crate) struct SessionJudge {
    guard: Arc<Guard>,
    journal: Arc<Journal>,
    scope: Arc<Scope>,
    bound: Option<Arc<Bound>>,
    live: Registration,
    modes: SessionModes,
    naming: Arc<KnownNaming>,
    catalog: Link,
    /// A statement in flight may have changed the modes.
    modes_uncertain: bool,
    /// A walsender's commands are not SQL.
    replication: bool,
    strict_seq: u64,
    /// For what only SQL named, once it was needed.
    made_by_sql: Option<Arc<Verdict>>,
}

/// What a judge is made of.
pub(crate) struct Parts {
    pub(crate) guard: Arc<Guard>,
    pub(crate) journal: Arc<Journal>,
    pub(crate) scope: Arc<Scope>,
    pub(crate) bound: Option<Arc<Bound>>,
    pub(crate) live: Registration,
    pub(crate) catalog: Link,
    /// Whether the startup packet sets how strings are read.
    pub(crate) modes_uncertain: bool,
    pub(crate) replication: bool,
}

/// A recorded request.
#[derive(Debug)]
pub(crate) struct Ticket {
    seq: u64,
    /// When it was recorded, nanoseconds since the epoch.
    at_ns: u64,
}

impl SessionJudge {
    pub(crate) fn new(parts: Parts) -> Self {
        Self {
            naming: parts.guard.naming(Naming::default()),
            catalog: parts.catalog,
            guard: parts.guard,
            journal: parts.journal,
            scope: parts.scope,
            bound: parts.bound,
            live: parts.live,
            modes: SessionModes::default(),
            modes_uncertain: parts.modes_uncertain,
            replication: parts.replication,
            strict_seq: 0,
            made_by_sql: None,
        }
    }

    /// Where this session is recorded.
    pub(crate) fn journal(&self) -> &Arc<Journal> {
        &self.journal
    }

    /// The session's place in the list.
    pub(crate) fn live(&self) -> &Registration {
        &self.live
    }

    /// The record that must be on disk before what was permitted may leave; zero when none.
    pub(crate) fn take_strict_seq(&mut self) -> u64 {
        std::mem::take(&mut self.strict_seq)
    }

    /// Records the session's end.
    pub(crate) fn close(&self, reason: &str, client_bytes: u64, server_bytes: u64) {
        let requests = self.live.requests();
        let closed = self.journal.session_closed(
            &self.live.session,
            reason,
            requests,
            client_bytes,
            server_bytes,
        );
        if let Err(error) = closed {
            tracing::error!(%error, session = self.live.session.id, "cannot record a session's end");
        }
    }

    fn view(&self, modes: SessionModes) -> SessionView<'_> {
        SessionView {
            modes,
            naming: &self.naming,
            catalog: self.catalog.snapshot(),
            defining: self.catalog.is_defining(),
        }
    }

    fn decide(&self, text: &[u8]) -> Arc<Verdict> {
        let verdict = self.guard.decide(&self.scope, &self.view(self.modes), text);
        if !self.modes_uncertain || verdict.refusal.is_some() || !text.contains(&b'\\') {
            return verdict;
        }
        // How the server will read a backslash is not known yet: both readings must be permitted.
        let other = SessionModes {
            backslash_in_strings: !self.modes.backslash_in_strings,
            ..self.modes
        };
        let second = self.guard.decide(&self.scope, &self.view(other), text);
        if second.refusal.is_some() {
            second
        } else {
            verdict
        }
    }

    /// Refuses when the identity no longer holds.
    fn check_binding(&self, now_ns: u64) -> Result<(), Box<Refusal>> {
        let state = self.bound.as_ref().map_or(State::Live, |bound| {
            bound.state(Duration::from_nanos(now_ns))
        });
        let message = match state {
            State::Live => return Ok(()),
            State::Expired => "weir: the log-in behind this connection has expired",
            State::Revoked => "weir: the log-in behind this connection was ended",
        };
        Err(Box::new(Refusal {
            sqlstate: "28000".into(),
            message: message.into(),
            detail: None,
            hint: Some("run \"weir login\" and connect again".into()),
        }))
    }

    fn record(
        &mut self,
        verdict: &Verdict,
        via: Via,
        parameters: u64,
        bytes: usize,
        now_ns: u64,
    ) -> Result<u64, Box<Refusal>> {
        self.live.count_request();
        let via = match via {
            _ if self.replication => record::Via::Replication,
            Via::Simple => record::Via::Simple,
            Via::Parse => record::Via::Parse,
            Via::Execute => record::Via::Execute,
            Via::FunctionCall => record::Via::FunctionCall,
        };
        self.journal
            .requested_at(now_ns, &self.live.session, &verdict.statement, via, parameters, bytes as u64)
            .map_err(|error| {
                tracing::error!(%error, session = self.live.session.id, "cannot record a request: it is refused");
                Box::new(Refusal {
                    sqlstate: "53100".into(),
                    message: format!("weir: the statement cannot be recorded, so it may not run: {error}"),
                    detail: None,
                    hint: Some("ask the operator of this host: \"weir status\" shows the journal".into()),
                })
            })
    }

    fn record_refused(&mut self, verdict: &Verdict, via: Via, bytes: usize) -> Option<u64> {
        self.live.count_denied();
        let now_ns = clock::now_ns();
        let seq = self.record(verdict, via, 0, bytes, now_ns).ok()?;
        let outcome = record::Outcome {
            request: seq,
            ending: record::Ending::Denied,
            rows: 0,
            bytes: 0,
            duration_ns: 0,
            sqlstate: *b"42501",
        };
        self.outcome(&outcome, now_ns);
        Some(seq)
    }

    fn outcome(&self, outcome: &record::Outcome, now_ns: u64) {
        if let Err(error) = self.journal.outcome_at(now_ns, outcome) {
            tracing::error!(%error, session = self.live.session.id, "cannot record an outcome");
        }
    }
}

impl Judge for SessionJudge {
    type Statement = Arc<Verdict>;
    type Ticket = Ticket;

    fn statement(&mut self, text: &[u8], _: Via) -> Ruling<Arc<Verdict>> {
        let verdict = if self.replication {
            self.guard
                .decide_opaque(&self.scope, Kind::Replication, "replication command")
        } else {
            self.decide(text)
        };
        rule(verdict)
    }

    fn unreadable(&mut self, why: Unreadable, bytes: usize, _: Via) -> Ruling<Arc<Verdict>> {
        let description = match why {
            Unreadable::TooLong => format!("statement of {bytes} bytes is too long to be analysed"),
            Unreadable::NotOneString => "message is not exactly one text".to_owned(),
        };
        let verdict = self
            .guard
            .decide_opaque(&self.scope, Kind::Unknown, &description);
        rule(verdict)
    }

    fn function(&mut self, oid: u32) -> Ruling<Arc<Verdict>> {
        let description = format!("fast-path call of function {oid}");
        let verdict = self
            .guard
            .decide_opaque(&self.scope, Kind::FunctionCall, &description);
        rule(verdict)
    }

    fn made_by_sql(&mut self) -> Arc<Verdict> {
        if let Some(verdict) = self
            .made_by_sql
            .as_ref()
            .filter(|verdict| self.guard.is_current(verdict, self.catalog.snapshot()))
        {
            return Arc::clone(verdict);
        }
        let verdict = self.guard.made_by_sql(&self.scope);
        self.made_by_sql = Some(Arc::clone(&verdict));
        verdict
    }

    fn request(
        &mut self,
        verdict: &Arc<Verdict>,
        via: Via,
        parameters: u64,
        bytes: usize,
    ) -> Result<Ticket, Box<Refusal>> {
        let now_ns = clock::now_ns();
        if let Err(refusal) = self.check_binding(now_ns) {
            self.record_refused(verdict, via, bytes);
            return Err(refusal);
        }
        let decided_again;
        let verdict = if self.guard.is_current(verdict, self.catalog.snapshot()) {
            verdict
        } else if verdict.text().is_empty() {
            let mut refusal = Box::new(prepare_again());
            self.refused(verdict, &mut refusal, via, bytes);
            return Err(refusal);
        } else {
            decided_again = self.decide(verdict.text());
            &decided_again
        };
        if let Some(refusal) = &verdict.refusal {
            let mut refusal = Box::new(refusal.clone());
            self.refused(verdict, &mut refusal, via, bytes);
            return Err(refusal);
        }
        let seq = self.record(verdict, via, parameters, bytes, now_ns)?;
        if verdict.strict {
            self.strict_seq = seq;
        }
        self.modes_uncertain |= verdict.changes_session;
        Ok(Ticket { seq, at_ns: now_ns })
    }

    fn refused(&mut self, verdict: &Arc<Verdict>, refusal: &mut Refusal, via: Via, bytes: usize) {
        if let Some(seq) = self.record_refused(verdict, via, bytes) {
            let detail = refusal.detail.take().unwrap_or_default();
            refusal.detail = Some(format!("{detail}; request {seq}"));
        }
    }

    fn finished(&mut self, ticket: Ticket, finished: Finished) {
        let (ending, sqlstate) = match finished.ending {
            Ending::Completed => (record::Ending::Completed, *b"00000"),
            Ending::Failed(state) => (record::Ending::Failed, state),
            Ending::Denied => (record::Ending::Denied, *b"42501"),
            Ending::Suspended => (record::Ending::Suspended, *b"00000"),
            Ending::Skipped => (record::Ending::Skipped, *b"00000"),
            Ending::Disconnected => (record::Ending::Disconnected, *b"00000"),
        };
        let now_ns = clock::now_ns();
        let outcome = record::Outcome {
            request: ticket.seq,
            ending,
            rows: finished.rows,
            bytes: finished.bytes,
            duration_ns: now_ns.saturating_sub(ticket.at_ns),
            sqlstate,
        };
        self.outcome(&outcome, now_ns);
    }

    fn hash(&mut self, parameters: &[u8]) -> u64 {
        self.guard.hash_values(parameters)
    }

    fn parameter(&mut self, name: &[u8], value: &[u8]) {
        match name {
            b"standard_conforming_strings" => self.modes.backslash_in_strings = value == b"off",
            b"client_encoding" => self.modes.foreign_encoding = !is_safe_encoding(value),
            _ => {}
        }
    }

    fn settled(&mut self) {
        self.modes_uncertain = false;
    }
}

/// What could not be read when it was prepared cannot be decided again.
fn prepare_again() -> Refusal {
    Refusal {
        sqlstate: "42501".into(),
        message: "weir: the rules have changed since this was prepared".into(),
        detail: None,
        hint: Some("prepare it again".into()),
    }
}

fn rule(verdict: Arc<Verdict>) -> Ruling<Arc<Verdict>> {
    match &verdict.refusal {
        None => Ruling::Permit(verdict),
        Some(refusal) => {
            let refusal = Box::new(refusal.clone());
            Ruling::Refuse(verdict, refusal)
        }
    }
}

/// Encodings in which no byte of a longer character can be taken for an ASCII character: UTF-8 and those of one byte.
/// Their texts still have to be valid UTF-8 to be analysed.
fn is_safe_encoding(name: &[u8]) -> bool {
    const UNSAFE: [&[u8]; 8] = [
        b"SJIS",
        b"BIG5",
        b"GBK",
        b"UHC",
        b"GB18030",
        b"JOHAB",
        b"SHIFT_JIS_2004",
        b"MULE_INTERNAL",
    ];
    !UNSAFE
        .iter()
        .any(|encoding| name.eq_ignore_ascii_case(encoding))
}
