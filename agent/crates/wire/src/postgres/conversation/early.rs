//! What clients send ahead of the log-in's end.

use super::{Conversation, ConversationError, hold::Held};
use crate::postgres::{Cutter, Judge, Outbox, Piece};

impl<J: Judge> Conversation<J> {
    /// Whether the client sent something ahead of the log-in's end that waits to be judged.
    #[must_use]
    pub fn holds_early(&self) -> bool {
        self.ready && !self.early.is_empty()
    }

    /// Judges what the client sent ahead of the log-in's end, once that is reached; returns what may go to the server.
    ///
    /// # Errors
    ///
    /// As [`Self::client`].
    pub fn release_early(
        &mut self,
        judge: &mut J,
        out: &mut Outbox,
    ) -> Result<Option<Vec<u8>>, ConversationError> {
        if !self.holds_early() {
            return Ok(None);
        }
        let early = std::mem::take(&mut self.early);
        out.begin();
        let stopped = self.read(&mut Cutter::default(), &early, judge, out)?;
        let bytes = out.finish(&early).to_vec();
        if let Some(stopped) = stopped {
            let mut held = Held::new(stopped.kept(&early));
            // The stream itself may stand in the middle of a later message.
            held.push(&std::mem::take(&mut self.from_client).into_unfinished());
            self.held = Some(Box::new(held));
        }
        Ok(Some(bytes))
    }

    /// It is judged once the session's modes are known.
    pub(super) fn keep_early(&mut self, piece: &Piece<'_>) -> Result<(), ConversationError> {
        let bytes = self.early.len() + piece.total;
        if bytes > MAX_EARLY_BYTES || !piece.last {
            return Err(ConversationError::EarlyData { bytes });
        }
        self.early.extend_from_slice(piece.bytes);
        Ok(())
    }
}

/// A password and a first query fit many times.
const MAX_EARLY_BYTES: usize = 64 * 1024;
