//! What a session leaves in the journal.

use weir_wire::postgres::{Ending, Finished, Refusal, Via};

use super::{SessionJudge, Ticket};
use crate::{
    audit::record::{self, Event},
    clock,
    guard::Verdict,
};

impl SessionJudge {
    /// Records the session's end.
    pub(crate) fn close(&self, reason: &str, client_bytes: u64, server_bytes: u64) {
        let requests = self.live.requests();
        let closed = self.journal.session_closed(
            &self.session,
            reason,
            requests,
            client_bytes,
            server_bytes,
        );
        if let Err(error) = closed {
            tracing::error!(%error, session = self.session.id, "cannot record a session's end");
        }
    }

    pub(super) fn record(
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
            .requested_at(now_ns, &self.session, &verdict.statement, via, parameters, bytes as u64)
            .map_err(|error| {
                tracing::error!(%error, session = self.session.id, "cannot record a request: it is refused");
                Box::new(Refusal {
                    sqlstate: "53100".into(),
                    message: format!("weir: the statement cannot be recorded, so it may not run: {error}"),
                    detail: None,
                    hint: Some("ask the operator of this host: \"weir status\" shows the journal".into()),
                })
            })
    }

    pub(super) fn record_refused(
        &mut self,
        verdict: &Verdict,
        via: Via,
        bytes: usize,
    ) -> Option<u64> {
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
        // The client is told this number: it has to be on disk by then.
        self.strict_seq = seq;
        Some(seq)
    }

    fn outcome(&self, outcome: &record::Outcome, now_ns: u64) {
        if let Err(error) = self.journal.outcome_at(now_ns, outcome) {
            tracing::error!(%error, session = self.session.id, "cannot record an outcome");
        }
    }

    pub(super) fn record_finished(&self, ticket: &Ticket, finished: &Finished) {
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

    /// Records what ought not to be, and says it aloud.
    pub(super) fn record_incident(&self, verdict: &Verdict, what: &str) {
        let session = self.session.id;
        let statement = verdict.statement.id;
        tracing::error!(session, statement, "{what}");
        let what = format!("session {session}, statement {statement}: {what}");
        if let Err(error) = self.journal.event(&Event::Incident { what }) {
            tracing::error!(%error, session, "cannot record an incident");
        }
    }
}
