//! From the client: what is decided, what goes on, what is replaced.

use super::{Conversation, ConversationError, Copying, Rest, Unclear, hold::Held};
use crate::postgres::{
    Asked, Cutter, Gate, Judge, Outbox, Piece, Place, Point, Refusal, Ruling, Via,
    expect::{Expect, Running},
    frontend::{self, tag},
    judge::{LIMIT_REACHED, Unreadable},
    watch::Watch,
};

/// What comes after a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The next one.
    On,
    /// Nothing: the message itself waits.
    Wait,
}

/// Why a request does not go on.
enum Halt {
    Wait,
    Refused(Box<Refusal>),
}

/// Where reading stopped because a message waits.
pub(super) struct Stopped {
    /// The message, when it came in several inputs.
    message: Vec<u8>,
    /// Where the rest begins in the input: with the message itself when it came in one.
    pub(super) at: usize,
}

impl Stopped {
    /// What waits: the message and what came with it of those behind it.
    pub(super) fn kept(self, input: &[u8]) -> Vec<u8> {
        let mut bytes = self.message;
        bytes.extend_from_slice(input.get(self.at..).unwrap_or_default());
        bytes
    }
}

impl<J: Judge> Conversation<J> {
    /// Takes bytes of the client; what may go to the server is in `out` afterwards (see [`Outbox::finish`]).
    ///
    /// A request among them may have to wait ([`Self::is_held`]): it and all behind it is kept then, and so is whatever this is
    /// called with before [`Self::resume`].
    ///
    /// # Errors
    ///
    /// [`ConversationError`]; what is in `out` by then may still be sent, nothing after it.
    pub fn client(
        &mut self,
        input: &[u8],
        judge: &mut J,
        out: &mut Outbox,
    ) -> Result<(), ConversationError> {
        if self.is_held() {
            self.hold_more(input);
            return Ok(());
        }
        debug_assert!(!self.is_looking(), "the client waits for a look");
        let mut cutter = std::mem::take(&mut self.from_client);
        match self.read(&mut cutter, input, judge, out)? {
            Some(stopped) => self.held = Some(Box::new(Held::new(stopped.kept(input)))),
            None => self.from_client = cutter,
        }
        Ok(())
    }

    /// Judges one message after the other, up to the first that waits.
    pub(super) fn read(
        &mut self,
        cutter: &mut Cutter,
        input: &[u8],
        judge: &mut J,
        out: &mut Outbox,
    ) -> Result<Option<Stopped>, ConversationError> {
        let mut cursor = 0;
        loop {
            let next = cutter.next(input, &mut cursor, frontend::plan);
            let Some(piece) = next.map_err(ConversationError::Client)? else {
                return Ok(None);
            };
            if self.client_piece(&piece, input, judge, out)? == Step::Wait {
                let (message, at) = match piece.place {
                    Place::Input(at) => (Vec::new(), at),
                    Place::Held => (piece.bytes.to_vec(), cursor),
                };
                if self.sent.unflushed && self.may_need_flush() {
                    // The client may be waiting for the answers before it says anything more.
                    out.push(input, &frontend::message(tag::FLUSH, &[]));
                    self.sent.unflushed = false;
                }
                return Ok(Some(Stopped { message, at }));
            }
        }
    }

    fn client_piece(
        &mut self,
        piece: &Piece<'_>,
        input: &[u8],
        judge: &mut J,
        out: &mut Outbox,
    ) -> Result<Step, ConversationError> {
        if self.client_rest.takes(piece, input, out) {
            return Ok(Step::On);
        }
        if !self.ready && !matches!(piece.tag, tag::PASSWORD | tag::TERMINATE) {
            self.keep_early(piece)?;
            return Ok(Step::On);
        }
        if self.copy == Copying::In && !is_of_copy(piece.tag) {
            return Err(ConversationError::AmidCopy);
        }
        let step = match piece.tag {
            tag::QUERY => self.query(piece, input, judge, out),
            tag::PARSE => self.parse(piece, input, judge, out)?,
            tag::BIND => self.bind(piece, input, judge, out)?,
            tag::EXECUTE => self.execute(piece, input, judge, out)?,
            tag::FUNCTION_CALL => self.function_call(piece, input, judge, out)?,
            tag::DESCRIBE | tag::CLOSE => self.named(piece, input, judge, out)?,
            tag::SYNC => self.sync(piece, input, out),
            _ => {
                self.unjudged(piece);
                out.pass(input, piece);
                Step::On
            }
        };
        if step == Step::On {
            self.sent.note(piece.tag, self.copy);
        }
        Ok(step)
    }

    /// A server that reads it amid a copy does not answer it, and where it reads it in a copy that fails depends on its pace. So none
    /// goes to it then: the answers that are owed are known at any time.
    fn sync(&mut self, piece: &Piece<'_>, input: &[u8], out: &mut Outbox) -> Step {
        match self.copy {
            Copying::In => return Step::On,
            Copying::Both => {
                out.pass(input, piece);
                return Step::On;
            }
            Copying::None => {}
        }
        if self.queue.may_copy() {
            self.unclear = Some(Unclear::Copy);
            return Step::Wait;
        }
        self.skip.skipping = false;
        self.skip.poisoned = false;
        self.queue.push(Expect::Sync);
        out.pass(input, piece);
        Step::On
    }

    /// Whether what is ahead of a message that waits may keep its answers to itself. A server that got a `Sync` behind it does not.
    fn may_need_flush(&self) -> bool {
        !matches!(self.unclear, Some(Unclear::Name(_)))
    }

    /// A message that needs no decision.
    fn unjudged(&mut self, piece: &Piece<'_>) {
        match piece.tag {
            tag::COPY_DATA => match self.queue.first() {
                Some(Expect::Execute(running) | Expect::Query(running)) if running.copy_in => {
                    running.bytes += piece.total as u64;
                }
                _ => self.early_copy_bytes += piece.total as u64,
            },
            tag::COPY_DONE | tag::COPY_FAIL
                if !self.skip.skipping && self.copy != Copying::Both =>
            {
                self.copy = Copying::None;
                if !self.queue.is_empty() {
                    self.queue.push(Expect::CopyEnd);
                }
            }
            _ => {}
        }
    }

    fn query(&mut self, piece: &Piece<'_>, input: &[u8], judge: &mut J, out: &mut Outbox) -> Step {
        let ruling = if piece.last {
            match frontend::query_text(piece.body()) {
                Some(text) => judge.statement(text, Via::Simple),
                None => judge.unreadable(Unreadable::NotOneString, piece.total, Via::Simple),
            }
        } else {
            judge.unreadable(Unreadable::TooLong, piece.total, Via::Simple)
        };
        let asked = self.asked(piece, Point::Query);
        match self.admit(ruling, &asked, judge) {
            Ok((statement, ticket)) => {
                let frame = judge.replacement(&statement).map(frontend::query_with);
                let watch = watch(judge, &statement, &ticket, Watch::new);
                let running = Running::new(ticket, judge.may_copy(&statement));
                self.owe(Expect::Query(running), watch, judge);
                match frame {
                    None => out.pass(input, piece),
                    Some(frame) => out.push(input, &frame),
                }
            }
            Err(Halt::Refused(refusal)) => self.poison(refusal, true, input, out),
            Err(Halt::Wait) => return Step::Wait,
        }
        Step::On
    }

    /// Decides what runs as soon as the server has it, and records it.
    fn admit(
        &self,
        ruling: Ruling<J::Statement>,
        asked: &Asked<'_>,
        judge: &mut J,
    ) -> Result<(J::Statement, J::Ticket), Halt> {
        let statement = match sendable(ruling, judge) {
            Ruling::Permit(statement) => statement,
            Ruling::Refuse(statement, mut refusal) => {
                judge.refused(&statement, &mut refusal, asked.via, asked.bytes);
                return Err(Halt::Refused(refusal));
            }
        };
        let statement = match self.ask(judge, &statement, asked) {
            Gate::Open(other) => other.unwrap_or(statement),
            Gate::Refuse(refusal) => return Err(Halt::Refused(refusal)),
            Gate::Wait => return Err(Halt::Wait),
        };
        match judge.request(&statement, asked.via, asked.parameters, asked.bytes) {
            Ok(ticket) => Ok((statement, ticket)),
            Err(refusal) => Err(Halt::Refused(refusal)),
        }
    }

    fn function_call(
        &mut self,
        piece: &Piece<'_>,
        input: &[u8],
        judge: &mut J,
        out: &mut Outbox,
    ) -> Result<Step, ConversationError> {
        let oid = frontend::function_oid(piece.body()).ok_or(ConversationError::Malformed {
            message: "FunctionCall",
        })?;
        let ruling = judge.function(oid);
        let asked = Asked {
            parameters: judge.hash(piece.body()),
            values: piece.body().get(FUNCTION_BYTES..).unwrap_or_default(),
            ..self.asked(piece, Point::FunctionCall)
        };
        match self.admit(ruling, &asked, judge) {
            Ok((statement, ticket)) => {
                let watch = watch(judge, &statement, &ticket, Watch::new);
                self.owe(Expect::Function(Running::new(ticket, false)), watch, judge);
                out.pass(input, piece);
            }
            // A failing simple query ends as a failing call does: with one error and one `ReadyForQuery`.
            Err(Halt::Refused(refusal)) => self.poison(refusal, true, input, out),
            Err(Halt::Wait) => return Ok(Step::Wait),
        }
        Ok(Step::On)
    }

    /// Expects an answer, unless the server is skipping and will give none.
    pub(super) fn owe(
        &mut self,
        item: Expect<J::Statement, J::Ticket>,
        watch: Option<Box<Watch<J::Statement>>>,
        judge: &mut J,
    ) {
        if !self.skip.skipping {
            self.queue.push_watched(item, watch);
            return;
        }
        if let Expect::Execute(running) | Expect::Query(running) | Expect::Function(running) = item
        {
            super::finish(judge, running, crate::postgres::Ending::Skipped);
        }
    }

    /// Sends a frame that cannot parse in place of one that was refused.
    pub(super) fn poison(
        &mut self,
        refusal: Box<Refusal>,
        simple: bool,
        input: &[u8],
        out: &mut Outbox,
    ) {
        // The rest of a message that came in pieces must not follow its replacement.
        self.client_rest = Rest::Drop;
        if self.skip.skipping {
            return;
        }
        let frame = if simple {
            frontend::poison_query()
        } else {
            self.skip.poisoned = true;
            frontend::poison_parse()
        };
        out.push(input, &frame);
        self.queue.push(Expect::Poison { refusal, simple });
    }
}

/// A request's watch, where its answer is looked into or counted.
pub(super) fn watch<J: Judge>(
    judge: &mut J,
    statement: &J::Statement,
    ticket: &J::Ticket,
    make: impl FnOnce(J::Statement) -> Watch<J::Statement>,
) -> Option<Box<Watch<J::Statement>>> {
    let limits = judge.limits(ticket);
    if limits.is_none() && !judge.watches(statement) {
        return None;
    }
    let mut watch = Box::new(make(statement.clone()));
    watch.limits = limits;
    Some(watch)
}

/// Whether a message may come while the server takes copy data.
fn is_of_copy(tag: u8) -> bool {
    matches!(
        tag,
        tag::COPY_DATA | tag::COPY_DONE | tag::COPY_FAIL | tag::FLUSH | tag::SYNC | tag::TERMINATE
    )
}

/// A ruling that can be carried out: a text that grew beyond measure is refused.
pub(super) fn sendable<J: Judge>(ruling: Ruling<J::Statement>, judge: &J) -> Ruling<J::Statement> {
    let Ruling::Permit(statement) = ruling else {
        return ruling;
    };
    let bytes = judge.replacement(&statement).map_or(0, <[u8]>::len);
    if bytes <= frontend::MAX_REPLACEMENT_BYTES {
        return Ruling::Permit(statement);
    }
    let refusal = Refusal {
        sqlstate: LIMIT_REACHED.into(),
        message: "weir: the statement becomes too long when what it may not see is left out".into(),
        detail: None,
        hint: Some("name the columns it needs instead of *, or split it".into()),
    };
    Ruling::Refuse(statement, Box::new(refusal))
}

/// A function's number.
const FUNCTION_BYTES: usize = 4;
