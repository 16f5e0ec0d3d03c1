//! From the server: what was owed, what came of it, and our words in place of an error that is our doing.

use std::sync::Arc;

use super::{
    ChannelBinding, Conversation, ConversationError, Copying, Rest, Sent, finish, stop::Fate,
};
use crate::postgres::{
    Ending, Incident, Judge, Outbox, Piece, Shield,
    backend::{self, tag},
    cells::{self, RowPlan},
    expect::{CopyBegun, Expect},
    shield,
};

impl<J: Judge> Conversation<J> {
    /// Takes bytes of the server; what goes to the client is in `out` afterwards (see [`Outbox::finish`]).
    ///
    /// # Errors
    ///
    /// [`ConversationError`]; what is in `out` by then may still be sent, nothing after it.
    pub fn server(
        &mut self,
        input: &[u8],
        judge: &mut J,
        out: &mut Outbox,
    ) -> Result<(), ConversationError> {
        let mut cutter = std::mem::take(&mut self.from_server);
        let mut cursor = 0;
        let result = loop {
            // Rows are nearly all of the bytes: a run of them is counted and passed on at once.
            let start = cursor;
            let unseen = self.unseen(judge);
            let (rows, bytes) = cutter.skip(input, &mut cursor, tag::DATA_ROW, unseen);
            if rows > 0 {
                self.row(bytes, rows, rows);
                out.pass_range(input, start, cursor);
            }
            let whole_rows = self.edits_rows();
            let looking = self.is_looking();
            let plan = |tag, total| match tag {
                tag::DATA_ROW if looking => backend::plan_looked_row(total),
                tag::DATA_ROW if whole_rows => backend::plan_edited_row(total),
                _ => backend::plan(tag, total),
            };
            match cutter.next(input, &mut cursor, plan) {
                Ok(Some(piece)) => {
                    if let Err(error) = self.server_piece(&piece, input, judge, out) {
                        break Err(error);
                    }
                }
                Ok(None) => break Ok(()),
                Err(error) => break Err(ConversationError::Server(error)),
            }
        };
        self.from_server = cutter;
        result
    }

    fn server_piece(
        &mut self,
        piece: &Piece<'_>,
        input: &[u8],
        judge: &mut J,
        out: &mut Outbox,
    ) -> Result<(), ConversationError> {
        if self.server_rest.takes(piece, input, out) {
            return Ok(());
        }
        match self.fate(piece, judge)? {
            Fate::Pass => out.pass(input, piece),
            Fate::Precede(frame) => {
                out.push(input, &frame);
                out.pass(input, piece);
            }
            Fate::Replace(frame) => {
                out.push(input, &frame);
                self.server_rest = Rest::Drop;
            }
            Fate::Drop => self.server_rest = Rest::Drop,
        }
        Ok(())
    }

    fn fate(&mut self, piece: &Piece<'_>, judge: &mut J) -> Result<Fate, ConversationError> {
        if self.is_looking() {
            return self.looked_at(piece, judge);
        }
        match piece.tag {
            tag::DATA_ROW | tag::COPY_DATA => self.data(piece, judge),
            tag::ERROR_RESPONSE => Ok(self.error(piece, judge)),
            tag::NOTICE_RESPONSE | tag::NOTIFICATION_RESPONSE => Ok(self.aside(piece, judge)),
            tag::READY_FOR_QUERY => self.ready_for_query(piece, judge),
            tag::AUTHENTICATION if self.channel_binding == ChannelBinding::Stripped => {
                let frame = backend::without_channel_binding(piece.body());
                Ok(frame.map_or(Fate::Pass, Fate::Replace))
            }
            tag::PARAMETER_STATUS => {
                if let Some((name, value)) = backend::parameter_status(piece.body()) {
                    self.heard.note(name, value);
                    judge.parameter(name, value);
                }
                Ok(Fate::Pass)
            }
            _ => {
                let stopped = self.is_stopped();
                let muted = self.stopping.muted;
                let fate = match piece.tag {
                    tag::COMMAND_COMPLETE | tag::EMPTY_QUERY_RESPONSE | tag::PORTAL_SUSPENDED
                        if stopped =>
                    {
                        self.completed_beyond_limit(judge)
                    }
                    _ if stopped => Fate::Drop,
                    _ => Fate::Pass,
                };
                self.answer(piece, judge)?;
                Ok(if muted { Fate::Drop } else { fate })
            }
        }
    }

    fn edits_rows(&mut self) -> bool {
        self.queue.watch().is_some_and(|watch| watch.edits_rows())
    }

    /// Counts what has passed.
    pub(super) fn row(&mut self, bytes: usize, messages: u64, rows: u64) {
        if let Some(Expect::Execute(running) | Expect::Query(running) | Expect::Function(running)) =
            self.queue.head()
        {
            running.rows = running.rows.saturating_add(rows);
            running.passed += messages;
            running.bytes += bytes as u64;
        }
    }

    fn answer(&mut self, piece: &Piece<'_>, judge: &mut J) -> Result<(), ConversationError> {
        match piece.tag {
            tag::COMMAND_COMPLETE => self.complete(backend::rows_touched(piece.body()), judge),
            tag::EMPTY_QUERY_RESPONSE => self.complete(0, judge),
            tag::PORTAL_SUSPENDED => self.end_execute(Ending::Suspended, judge),
            tag::PARSE_COMPLETE => {
                self.take(piece.tag, |item| matches!(item, Expect::Parse(_)))?;
            }
            tag::BIND_COMPLETE => {
                self.take(piece.tag, |item| matches!(item, Expect::Bind(_)))?;
            }
            tag::CLOSE_COMPLETE => self.take(piece.tag, |item| {
                matches!(item, Expect::CloseStatement(_) | Expect::ClosePortal(_))
            })?,
            // In a simple query each result has one, and none of them is owed separately.
            tag::ROW_DESCRIPTION | tag::NO_DATA => {
                if piece.tag == tag::ROW_DESCRIPTION {
                    self.check_columns(piece, judge)?;
                }
                let described = matches!(
                    self.queue.head(),
                    Some(Expect::DescribeStatement | Expect::DescribePortal)
                );
                if described {
                    self.queue.pop();
                }
            }
            tag::FUNCTION_CALL_RESPONSE => self.row(piece.total, 1, 1),
            tag::BACKEND_KEY_DATA => self.key_data = Some(piece.body().into()),
            tag::COPY_IN_RESPONSE => self.begin_copy_in()?,
            tag::COPY_BOTH_RESPONSE => self.copy = Copying::Both,
            tag::COPY_OUT_RESPONSE => self.copy_out = true,
            tag::COPY_DONE => self.copy_out = false,
            _ => {}
        }
        Ok(())
    }

    /// A result is described: none of its columns may come straight from a hidden one.
    fn check_columns(&mut self, piece: &Piece<'_>, judge: &mut J) -> Result<(), ConversationError> {
        let Some((item, Some(watch))) = self.queue.head_and_watch() else {
            return Ok(());
        };
        let malformed = ConversationError::MalformedAnswer {
            message: "RowDescription",
        };
        if !piece.last {
            return Err(malformed);
        }
        let fields = cells::fields(piece.body()).ok_or(malformed)?;
        let plan = RowPlan::new(&fields, |field| {
            judge.is_masked(&watch.statement, field.relation, field.column)
        });
        for field in plan.masked(&fields) {
            let incident = Incident::MaskedColumn {
                relation: field.relation,
                column: field.column,
            };
            judge.incident(&watch.statement, incident);
        }
        if matches!(item, Expect::Query(_)) {
            // Each of its results has a description of its own.
            watch.plan = Arc::new(plan.into());
        } else {
            let _ = watch.plan.set(plan);
        }
        Ok(())
    }

    /// A notice or a notification: nothing that was asked for.
    pub(super) fn aside(&mut self, piece: &Piece<'_>, judge: &mut J) -> Fate {
        let statement = self.queue.watch().map(|watch| &watch.statement);
        let shield = judge.shield(statement);
        if !piece.last {
            return if shield == Shield::Off {
                Fate::Pass
            } else {
                Fate::Drop
            };
        }
        let frame = match piece.tag {
            tag::NOTIFICATION_RESPONSE if shield == Shield::Off => None,
            tag::NOTIFICATION_RESPONSE => shield::notification(piece.body()),
            _ => shield::notice(piece.body(), shield, |position| match statement {
                Some(statement) => judge.position(statement, position),
                None => Some(position),
            }),
        };
        frame.map_or(Fate::Pass, Fate::Replace)
    }

    /// Takes the head off, which must be what the server has just answered.
    fn take(
        &mut self,
        tag: u8,
        expected: impl Fn(&Expect<J::Statement, J::Ticket>) -> bool,
    ) -> Result<(), ConversationError> {
        if self.queue.head().is_some_and(|item| expected(item)) {
            self.queue.pop();
            Ok(())
        } else {
            Err(ConversationError::OutOfTurn { tag })
        }
    }

    /// `CommandComplete` ends an `Execute`; in a simple query more may follow.
    fn complete(&mut self, touched: u64, judge: &mut J) {
        match self.queue.head() {
            Some(Expect::Execute(running)) => {
                running.rows = running.rows.saturating_add(touched);
                self.end_execute(Ending::Completed, judge);
            }
            Some(Expect::Query(running)) => {
                running.rows = running.rows.saturating_add(touched);
                self.queue.end_copy_of_text();
            }
            _ => {}
        }
    }

    fn end_execute(&mut self, ending: Ending, judge: &mut J) {
        if !matches!(self.queue.head(), Some(Expect::Execute(_))) {
            return;
        }
        if let Some((Expect::Execute(running), Some(watch))) = self.queue.head_and_watch()
            && let Some(tally) = &watch.tally
        {
            tally.add(running.passed, running.bytes);
        }
        if let Some(Expect::Execute(running)) = self.queue.pop() {
            finish(judge, running, ending);
        }
    }

    /// The server asks for copy data.
    ///
    /// It takes everything for part of the copy from here to the copy's end. Where something else was sent ahead, nobody can tell
    /// how much of it the server will have taken so once the copy fails: which answers are still owed is not known then.
    fn begin_copy_in(&mut self) -> Result<(), ConversationError> {
        let early = std::mem::take(&mut self.early_copy_bytes);
        self.copy = match self.queue.begin_copy_in(early) {
            Some(CopyBegun::Going) => Copying::In,
            Some(CopyBegun::Ended) | None => Copying::None,
            Some(CopyBegun::Disturbed) => return Err(ConversationError::AmidCopy),
        };
        Ok(())
    }

    fn ready_for_query(
        &mut self,
        piece: &Piece<'_>,
        judge: &mut J,
    ) -> Result<Fate, ConversationError> {
        self.transaction = piece.body().first().copied().unwrap_or(b'I');
        self.copy = Copying::None;
        self.copy_out = false;
        self.early_copy_bytes = 0;
        match self.queue.head() {
            // A poisoned query is over with its own `ReadyForQuery`; its error came before.
            Some(
                Expect::Startup
                | Expect::Sync
                | Expect::Query(_)
                | Expect::Function(_)
                | Expect::Poison { simple: true, .. },
            ) => {}
            // After replication ends, more than was asked for may come.
            None => return Ok(Fate::Pass),
            Some(_) => return Err(ConversationError::OutOfTurn { tag: piece.tag }),
        }
        let mut fate = Fate::Pass;
        if matches!(self.queue.head(), Some(Expect::Query(_))) {
            // An answer that ended without a completion of its own.
            fate = self.tell_of_limit(judge).map_or(fate, Fate::Precede);
        }
        match self.queue.pop() {
            Some(Expect::Startup) => self.ready = true,
            Some(Expect::Sync) => self.stopping.muted = false,
            Some(Expect::Query(running) | Expect::Function(running)) => {
                let ending = running.failed.map_or(Ending::Completed, Ending::Failed);
                finish(judge, running, ending);
            }
            _ => {}
        }
        if self.stopping.muted {
            // Of a `Query` that a client which skips to `Sync` knows to be discarded.
            fate = Fate::Drop;
        }
        if self.queue.head().is_none() {
            // Whatever the client had sent since would be owed an answer.
            self.sent = Sent::default();
            judge.settled(self.transaction);
            if self.transaction == b'I' {
                // Portals end with their transaction.
                self.portals.clear();
            }
        }
        Ok(fate)
    }

    fn error(&mut self, piece: &Piece<'_>, judge: &mut J) -> Fate {
        let (mut state, fatal) = backend::error_state(piece.body());
        self.copy_out = false;
        let stopped = self.is_stopped();
        let Some((head, watch)) = self.queue.head_and_watch() else {
            return words(piece, state, None, judge);
        };
        let mut fate = match head {
            // Only the parser can answer a poison; anything else (a shutdown, a failed connection) is the server's own word.
            Expect::Poison { refusal, .. } if state == *b"42601" => {
                Fate::Replace(backend::error_response("ERROR", refusal))
            }
            _ if watch.as_ref().is_some_and(|watch| watch.told) && !fatal => Fate::Drop,
            _ if stopped && state == *b"57014" => {
                state = *b"54000";
                // Nothing is left to cancel.
                self.stopping.cancel_wanted = false;
                let told = self.tell_of_limit(judge);
                told.map_or(Fate::Pass, Fate::Replace)
            }
            _ => words(piece, state, watch.map(|watch| &watch.statement), judge),
        };
        if self.stopping.muted && !fatal {
            fate = Fate::Drop;
        }
        match self.queue.head() {
            Some(Expect::Query(running) | Expect::Function(running)) => {
                running.failed = Some(state);
                self.copy = Copying::None;
            }
            Some(item) if item.is_extended() => self.skip(state, judge),
            _ => {}
        }
        fate
    }

    /// An extended item failed: the server discards what follows up to the next `Sync`.
    fn skip(&mut self, state: [u8; 5], judge: &mut J) {
        self.copy = Copying::None;
        // The error is that of the first request: it may come at its Parse or Bind, where rights are checked. A poison
        // has none; what stands behind it did not fail by itself.
        let mut ending = match self.queue.head() {
            Some(Expect::Poison { .. }) => Ending::Skipped,
            _ => Ending::Failed(state),
        };
        let mut undone = Vec::new();
        loop {
            match self.queue.head() {
                None => {
                    self.skip.skipping = true;
                    break;
                }
                Some(Expect::Sync | Expect::Startup) => break,
                Some(_) => {}
            }
            match self.queue.pop() {
                Some(
                    Expect::Execute(running) | Expect::Query(running) | Expect::Function(running),
                ) => {
                    finish(judge, running, ending);
                    ending = Ending::Skipped;
                }
                Some(item) => undone.push(item),
                None => break,
            }
        }
        for item in undone.into_iter().rev() {
            match item {
                Expect::Parse(undo) | Expect::CloseStatement(undo) => self.statements.undo(undo),
                Expect::Bind(undo) | Expect::ClosePortal(undo) => self.portals.undo(undo),
                _ => {}
            }
        }
    }
}

/// The server's own error, as far as the client may read it.
pub(super) fn words<J: Judge>(
    piece: &Piece<'_>,
    state: [u8; 5],
    statement: Option<&J::Statement>,
    judge: &J,
) -> Fate {
    let shield = judge.shield(statement);
    if !piece.last {
        return match shield {
            Shield::Off => Fate::Pass,
            _ => Fate::Replace(shield::oversized_error(state)),
        };
    }
    let frame = shield::error(piece.body(), shield, |position| match statement {
        Some(statement) => judge.position(statement, position),
        None => Some(position),
    });
    frame.map_or(Fate::Pass, Fate::Replace)
}
