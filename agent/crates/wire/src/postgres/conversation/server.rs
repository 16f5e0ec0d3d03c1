//! From the server: what was owed, what came of it, and our words in place of an error that is our doing.

use super::{ChannelBinding, Conversation, ConversationError, Copying, finish};
use crate::postgres::{
    Ending, Judge, Outbox, Piece,
    backend::{self, tag},
    expect::Expect,
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
            let (rows, bytes) = cutter.skip(input, &mut cursor, tag::DATA_ROW);
            if rows > 0 {
                self.row(bytes, rows);
                out.pass_range(input, start, cursor);
            }
            match cutter.next(input, &mut cursor, backend::plan) {
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
        if piece.first {
            match piece.tag {
                tag::DATA_ROW => self.row(piece.total, 1),
                tag::COPY_DATA => self.row(piece.total, 0),
                tag::ERROR_RESPONSE => {
                    if let Some(frame) = self.error(piece, judge) {
                        out.push(input, &frame);
                        return Ok(());
                    }
                }
                tag::AUTHENTICATION if self.channel_binding == ChannelBinding::Stripped => {
                    if let Some(frame) = backend::without_channel_binding(piece.body()) {
                        out.push(input, &frame);
                        return Ok(());
                    }
                }
                _ => self.answer(piece, judge)?,
            }
        }
        out.pass(input, piece);
        Ok(())
    }

    fn row(&mut self, bytes: usize, rows: u64) {
        if let Some(Expect::Execute(running) | Expect::Query(running) | Expect::Function(running)) =
            self.queue.head(false)
        {
            running.rows += rows;
            running.bytes += bytes as u64;
        }
    }

    fn answer(&mut self, piece: &Piece<'_>, judge: &mut J) -> Result<(), ConversationError> {
        match piece.tag {
            tag::READY_FOR_QUERY => self.ready_for_query(piece, judge)?,
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
                let described = matches!(
                    self.queue.head(false),
                    Some(Expect::DescribeStatement | Expect::DescribePortal)
                );
                if described {
                    self.queue.pop();
                }
            }
            tag::FUNCTION_CALL_RESPONSE => self.row(piece.total, 1),
            tag::COPY_IN_RESPONSE => self.begin_copy_in(),
            tag::COPY_BOTH_RESPONSE => self.copy = Copying::Both,
            tag::PARAMETER_STATUS => {
                if let Some((name, value)) = backend::parameter_status(piece.body()) {
                    judge.parameter(name, value);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Takes the head off, which must be what the server has just answered.
    fn take(
        &mut self,
        tag: u8,
        expected: impl Fn(&Expect<J::Statement, J::Ticket>) -> bool,
    ) -> Result<(), ConversationError> {
        if self.queue.head(false).is_some_and(|item| expected(item)) {
            self.queue.pop();
            Ok(())
        } else {
            Err(ConversationError::OutOfTurn { tag })
        }
    }

    /// `CommandComplete` ends an `Execute`; in a simple query more may follow.
    fn complete(&mut self, touched: u64, judge: &mut J) {
        match self.queue.head(false) {
            Some(Expect::Execute(running)) => {
                running.rows += touched;
                self.end_execute(Ending::Completed, judge);
            }
            Some(Expect::Query(running)) => running.rows += touched,
            _ => {}
        }
    }

    fn end_execute(&mut self, ending: Ending, judge: &mut J) {
        if !matches!(self.queue.head(false), Some(Expect::Execute(_))) {
            return;
        }
        if let Some(Expect::Execute(running)) = self.queue.pop() {
            if running.copy_in {
                self.queue.end_copy_in();
            }
            finish(judge, running, ending);
        }
    }

    fn begin_copy_in(&mut self) {
        let early = std::mem::take(&mut self.early_copy_bytes);
        match self.queue.head(false) {
            Some(Expect::Execute(running)) => {
                running.copy_in = true;
                running.bytes += early;
                self.copy = if self.queue.begin_copy_in() {
                    Copying::None
                } else {
                    Copying::In
                };
            }
            Some(Expect::Query(running)) => {
                running.copy_in = true;
                running.bytes += early;
            }
            _ => {}
        }
    }

    fn ready_for_query(
        &mut self,
        piece: &Piece<'_>,
        judge: &mut J,
    ) -> Result<(), ConversationError> {
        self.transaction = piece.body().first().copied().unwrap_or(b'I');
        self.copy = Copying::None;
        self.early_copy_bytes = 0;
        match self.queue.head(true) {
            // A poisoned query is over with its own `ReadyForQuery`; its error came before.
            Some(
                Expect::Startup
                | Expect::Sync { .. }
                | Expect::Query(_)
                | Expect::Function(_)
                | Expect::Poison { simple: true, .. },
            ) => {}
            // After replication ends, more than was asked for may come.
            None => return Ok(()),
            Some(_) => return Err(ConversationError::OutOfTurn { tag: piece.tag }),
        }
        match self.queue.pop() {
            Some(Expect::Startup) => self.ready = true,
            Some(Expect::Query(running) | Expect::Function(running)) => {
                let ending = running.failed.map_or(Ending::Completed, Ending::Failed);
                finish(judge, running, ending);
            }
            _ => {}
        }
        if self.queue.head(false).is_none() {
            judge.settled();
            if self.transaction == b'I' {
                // Portals end with their transaction.
                self.portals.clear();
            }
        }
        Ok(())
    }

    /// Returns the frame that takes the error's place when the error is our doing.
    fn error(&mut self, piece: &Piece<'_>, judge: &mut J) -> Option<Vec<u8>> {
        let (state, _) = backend::error_state(piece.body());
        let head = self.queue.head(false)?;
        let replacement = match head {
            // Only the parser can answer a poison; anything else (a shutdown, a failed connection) is the server's own word.
            Expect::Poison { refusal, .. } if state == *b"42601" => {
                Some(backend::error_response("ERROR", refusal))
            }
            _ => None,
        };
        match head {
            Expect::Query(running) | Expect::Function(running) => running.failed = Some(state),
            item if item.is_extended() => self.skip(state, judge),
            _ => {}
        }
        replacement
    }

    /// An extended item failed: the server discards what follows up to the next `Sync`.
    fn skip(&mut self, state: [u8; 5], judge: &mut J) {
        self.copy = Copying::None;
        // The error is that of the first request: it may come at its Parse or Bind, where rights are checked. A poison
        // has none; what stands behind it did not fail by itself.
        let mut ending = match self.queue.head(false) {
            Some(Expect::Poison { .. }) => Ending::Skipped,
            _ => Ending::Failed(state),
        };
        let mut undone = Vec::new();
        loop {
            match self.queue.head(true) {
                None => {
                    self.skipping = true;
                    break;
                }
                Some(Expect::Sync { .. } | Expect::Startup) => break,
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
