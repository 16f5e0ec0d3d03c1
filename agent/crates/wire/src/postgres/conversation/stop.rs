//! Limits: an answer ends in the middle, the server is asked to cancel, and the client is told why.
//!
//! Nothing is cut inside a row. The server's own error then takes the usual way, only in our words. A server that completes
//! before the cancellation reaches it has done the work all the same: the client is told of the limit in place of the
//! completion, and gets nothing of what the server answers before the next `Sync`; a transaction stays as the server has it,
//! a statement that was prepared in between stays prepared, and what a later statement of the same simple query does, is done.

use super::{Conversation, ConversationError};
use crate::postgres::{
    Incident, Judge, Limit, Limits, Piece, Refusal,
    backend::{self, tag},
    expect::{Expect, Running},
    watch::Watch,
};

/// What becomes of a message of the server.
pub(super) enum Fate {
    Pass,
    Drop,
    Replace(Vec<u8>),
    /// Goes ahead of it.
    Precede(Vec<u8>),
}

impl<J: Judge> Conversation<J> {
    /// How many rows may be passed on unseen.
    #[inline]
    pub(super) fn unseen(&mut self, judge: &mut J) -> Limits {
        if !self.queue.is_watched() && !self.stopping.muted && !self.is_looking() {
            return Limits::NONE;
        }
        self.unseen_of_watched(judge)
    }

    fn unseen_of_watched(&mut self, judge: &mut J) -> Limits {
        if self.stopping.muted || self.is_looking() {
            return Limits::ZERO;
        }
        match self.queue.peek() {
            Some((Expect::Execute(running) | Expect::Query(running), Some(watch))) => {
                if watch.stopped.is_some() || watch.edits_rows() {
                    return Limits::ZERO;
                }
                report(judge, running, watch);
                watch.left(running.passed, running.bytes)
            }
            _ => Limits::NONE,
        }
    }

    /// A row or copy data, or its beginning.
    pub(super) fn data(
        &mut self,
        piece: &Piece<'_>,
        judge: &mut J,
    ) -> Result<Fate, ConversationError> {
        if self.stopping.muted {
            return Ok(Fate::Drop);
        }
        let mut fate = Fate::Pass;
        if let Some((Expect::Execute(running) | Expect::Query(running), Some(watch))) =
            self.queue.head_and_watch()
        {
            if watch.stopped.is_some() {
                return Ok(Fate::Drop);
            }
            report(judge, running, watch);
            let left = watch.left(running.passed, running.bytes);
            watch.stopped = match left {
                Limits { rows: 0, .. } => Some(Limit::Rows),
                Limits { bytes, .. } if bytes < piece.total as u64 => Some(Limit::Bytes),
                _ => None,
            };
            if watch.stopped.is_some() {
                self.stopping.cancel_wanted = true;
                return Ok(Fate::Drop);
            }
            if piece.tag == tag::DATA_ROW && watch.edits_rows() {
                let plan = watch.plan.get();
                let row = plan.and_then(|plan| plan.apply(piece.body(), &watch.formats));
                fate = Fate::Replace(
                    row.ok_or(ConversationError::MalformedAnswer { message: "DataRow" })?,
                );
            }
        }
        self.row(piece.total, 1, u64::from(piece.tag == tag::DATA_ROW));
        Ok(fate)
    }

    /// Whether the answer under way was ended by a limit.
    #[inline]
    pub(super) fn is_stopped(&mut self) -> bool {
        self.queue
            .watch()
            .is_some_and(|watch| watch.stopped.is_some())
    }

    /// What the client is told in place of the completion of an answer that was ended by a limit; nothing the second time.
    pub(super) fn tell_of_limit(&mut self, judge: &mut J) -> Option<Vec<u8>> {
        let (Expect::Execute(running) | Expect::Query(running), Some(watch)) = self.queue.peek()?
        else {
            return None;
        };
        let limit = watch.stopped.filter(|_| !watch.told)?;
        watch.told = true;
        let refusal: Refusal = judge.exceeded(&running.ticket, limit);
        Some(backend::error_response("ERROR", &refusal))
    }

    /// The server has completed what a limit ended.
    pub(super) fn completed_beyond_limit(&mut self, judge: &mut J) -> Fate {
        // It may be done already: the cancellation would hit something else.
        self.stopping.cancel_wanted = false;
        if let Some((item, Some(watch))) = self.queue.peek() {
            if !watch.told {
                judge.incident(&watch.statement, Incident::CompletedBeyondLimit);
            }
            self.stopping.muted |= matches!(item, Expect::Execute(_));
        }
        self.tell_of_limit(judge).map_or(Fate::Drop, Fate::Replace)
    }
}

fn report<J: Judge>(
    judge: &mut J,
    running: &mut Running<J::Ticket>,
    watch: &mut Watch<J::Statement>,
) {
    if watch.report_is_due(running.bytes) {
        let left = judge.progress(&mut running.ticket, running.passed, running.bytes);
        watch.allowance = Some(left);
        watch.reported = (running.passed, running.bytes);
    }
}
