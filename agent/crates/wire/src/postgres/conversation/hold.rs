//! Holding: a request that waits in place, and everything of the client behind it.
//!
//! What stands ahead of it goes on, the server's answers are relayed as ever. The request itself is not recorded and takes no part
//! in what is in flight: with [`Conversation::resume`] it is read as if it had only just come, so that whatever has changed
//! meanwhile (rules, catalog, modes, the server's state) counts.

use super::{Conversation, ConversationError, Copying, Unclear, client::Stopped};
use crate::postgres::{
    Asked, Cutter, Gate, HEADER_BYTES, Judge, MAX_LENGTH, Outbox, Piece, Point, Refusal, Via,
    frontend::tag, judge::LIMIT_REACHED,
};

/// What the client sent from the message on that waits.
pub(super) struct Held {
    bytes: Vec<u8>,
    /// Where in `bytes` the message begins that waits.
    start: usize,
    /// Where in `bytes` the first message begins that was not looked at; beyond their end when it has not come yet.
    unseen: usize,
    /// A `Terminate` is among them: the server would read nothing behind it.
    terminates: bool,
}

impl Held {
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        let mut held = Self {
            bytes,
            start: 0,
            unseen: 0,
            terminates: false,
        };
        held.look_for_end();
        held
    }

    pub(super) fn push(&mut self, input: &[u8]) {
        self.bytes.extend_from_slice(input);
        self.look_for_end();
    }

    fn kept(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    /// So many bytes more are done with. What is dropped is moved over no more often than it is long.
    fn advance(&mut self, bytes: usize) {
        self.start += bytes;
        if self.start > self.bytes.len() / 2 {
            self.bytes.drain(..self.start);
            self.bytes.shrink_to(2 * self.bytes.len());
            // Behind a good-bye nothing is looked for.
            self.unseen = self.unseen.saturating_sub(self.start);
            self.start = 0;
        }
    }

    /// Goes from header to header; each is looked at once.
    fn look_for_end(&mut self) {
        while !self.terminates
            && let Some([found, length @ ..]) = self
                .bytes
                .get(self.unseen..)
                .and_then(<[u8]>::first_chunk::<HEADER_BYTES>)
        {
            let length = u32::from_be_bytes(*length) as usize;
            if !(4..=MAX_LENGTH).contains(&length) {
                // Nobody knows what follows. Once it is read, it ends the conversation.
                return;
            }
            let end = self.unseen + 1 + length;
            if *found == tag::TERMINATE {
                self.terminates = end <= self.bytes.len();
                return;
            }
            self.unseen = end;
        }
    }
}

impl<J: Judge> Conversation<J> {
    /// Whether a request waits: nothing of the client is read until [`Self::resume`].
    #[must_use]
    #[inline]
    pub fn is_held(&self) -> bool {
        self.held.is_some()
    }

    /// Whether what waits does so for answers that the server is going to give: they say how it is to be read. Once it does not
    /// any more, [`Self::resume`] is due.
    #[must_use]
    pub fn awaits_answers(&self) -> bool {
        self.unclear.is_some_and(|unclear| match unclear {
            Unclear::Name(what) => self.queue.is_doubtful(what),
            Unclear::Copy => self.copy == Copying::None && self.queue.may_copy(),
        })
    }

    /// Whether what waits does so for a decision, rather than for answers.
    #[must_use]
    pub fn awaits_decision(&self) -> bool {
        self.is_held() && self.unclear.is_none()
    }

    /// How many bytes of the client are kept: the request that waits and everything behind it. The caller stops reading the
    /// client above its limit.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.held.as_ref().map_or(0, |held| held.kept().len())
    }

    /// How long the message is that waits, header included; zero when none does.
    #[must_use]
    pub fn held_message_bytes(&self) -> usize {
        let header = self
            .held
            .as_ref()
            .and_then(|held| held.kept().first_chunk());
        header.map_or(0, |[_, length @ ..]: &[u8; HEADER_BYTES]| {
            1 + u32::from_be_bytes(*length) as usize
        })
    }

    /// Keeps more of what the client sends while a request waits.
    ///
    /// # Panics
    ///
    /// When none waits: the bytes would be lost.
    pub fn hold_more(&mut self, input: &[u8]) {
        let held = self.held.as_mut().expect("a request waits");
        held.push(input);
    }

    /// Whether the client has said good-bye behind the request that waits: a whole `Terminate` is among the kept messages.
    #[must_use]
    pub fn held_terminates(&self) -> bool {
        self.held.as_ref().is_some_and(|held| held.terminates)
    }

    /// Whether the request that waits will come to nothing whatever is decided: the server has answered with an error to
    /// something ahead of it, and discards everything up to the next `Sync`. [`Self::resume`] then lets it go without asking.
    #[must_use]
    pub fn is_held_in_vain(&self) -> bool {
        self.is_held() && self.skip.skipping
    }

    /// Reads on from the request that waits, which is decided anew; returns what may go to the server. It may wait again, or
    /// another one behind it may ([`Self::is_held`]).
    ///
    /// Without a request that waits there is nothing to read. During a look nothing is read either: to be called again when it
    /// is over.
    ///
    /// # Errors
    ///
    /// As [`Self::client`].
    pub fn resume(
        &mut self,
        judge: &mut J,
        out: &mut Outbox,
    ) -> Result<Vec<u8>, ConversationError> {
        if self.is_looking() {
            return Ok(Vec::new());
        }
        let Some(mut held) = self.held.take() else {
            return Ok(Vec::new());
        };
        self.unclear = None;
        let mut cutter = Cutter::default();
        out.begin();
        let stopped = self.read(&mut cutter, held.kept(), judge, out)?;
        let bytes = out.finish(held.kept()).to_vec();
        match stopped {
            Some(Stopped { at, .. }) => {
                held.advance(at);
                self.held = Some(held);
            }
            None => self.from_client = cutter,
        }
        Ok(bytes)
    }

    /// What the judge is told of a message that asks to go on.
    #[inline]
    pub(super) fn asked<'a>(&self, piece: &Piece<'_>, at: Point) -> Asked<'a> {
        let unsettled = self.queue.turns();
        Asked {
            at,
            via: match at {
                Point::Query => Via::Simple,
                Point::Bind | Point::Execute => Via::Execute,
                Point::FunctionCall => Via::FunctionCall,
            },
            parameters: 0,
            values: &[],
            bytes: piece.total,
            in_transaction: unsettled || self.sent.executed || self.transaction != b'I',
            unsettled,
            whole: piece.last,
        }
    }

    /// Asks whether a message may go on, unless the server will discard it.
    #[inline]
    pub(super) fn ask(
        &self,
        judge: &mut J,
        statement: &J::Statement,
        asked: &Asked<'_>,
    ) -> Gate<J::Statement> {
        if self.skip.skipping || self.skip.poisoned {
            return Gate::Open(None);
        }
        match judge.gate(statement, asked) {
            Gate::Wait if !asked.whole => {
                let mut refusal = too_long_to_wait(asked.bytes);
                judge.refused(statement, &mut refusal, asked.via, asked.bytes);
                Gate::Refuse(Box::new(refusal))
            }
            gate => gate,
        }
    }
}

#[cold]
fn too_long_to_wait(bytes: usize) -> Refusal {
    Refusal {
        sqlstate: LIMIT_REACHED.into(),
        message: format!(
            "weir: the statement has to wait for an approval, and its message of {bytes} bytes is too long for that"
        ),
        detail: None,
        hint: Some("send its values in several shorter statements".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_done_with_is_not_kept() {
        const MESSAGE: &[u8] = b"Q\0\0\0\x09HOLD\0";
        let mut held = Held::new(MESSAGE.repeat(1_000));
        for left in (0..1_000).rev() {
            held.advance(MESSAGE.len());
            assert_eq!(held.kept(), MESSAGE.repeat(left));
            assert!(held.bytes.capacity() <= 5 * MESSAGE.len() * left.max(1));
        }
        held.push(b"X\0\0\0\x04");
        assert!(held.terminates, "headers are still found");
    }

    #[test]
    fn what_follows_a_good_bye_can_be_done_with_too() {
        const BYE: &[u8] = b"X\0\0\0\x04";
        const MESSAGE: &[u8] = b"Q\0\0\0\x09HOLD\0";
        let mut held = Held::new([BYE, MESSAGE, MESSAGE].concat());
        held.advance(BYE.len() + MESSAGE.len());
        assert_eq!(held.kept(), MESSAGE);
        held.push(MESSAGE);
        held.advance(MESSAGE.len());
        assert!(held.terminates && held.kept() == MESSAGE);
    }
}
