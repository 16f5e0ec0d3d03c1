//! One session's conversation after its startup packet: both directions, what is in flight, what may go on.
//!
//! The server's own state is the truth: a denied frame is replaced by one that cannot parse, so that the server
//! itself aborts, skips and reports its state, and only the error's text becomes ours.

mod client;
mod early;
mod extended;
mod hold;
mod look;
mod server;
mod stop;

pub use look::{Look, LookError, Looked, Moment, Rows};

use super::{
    Cutter, Ending, Finished, FrameError, Judge, Outbox, Piece, Refusal, backend,
    expect::{Expect, Named, Queue, Running},
    frontend::tag,
    names::Names,
    watch::{Bound, Prepared},
};
use hold::Held;
use look::{Heard, Looking};

/// Why a conversation cannot go on; both sides are to be closed.
#[derive(Debug, thiserror::Error)]
pub enum ConversationError {
    /// The client's stream cannot be read.
    #[error("cannot read the client's messages")]
    Client(#[source] FrameError),
    /// The server's stream cannot be read.
    #[error("cannot read the server's messages")]
    Server(#[source] FrameError),
    /// A message of the client is not what its tag says.
    #[error("the client's {message} message is malformed")]
    Malformed {
        /// Which.
        message: &'static str,
    },
    /// A message of the server that must be looked into is not what its tag says.
    #[error("the server's {message} message is malformed")]
    MalformedAnswer {
        /// Which.
        message: &'static str,
    },
    /// The client sends more before it is logged in than any log-in needs.
    #[error("the client sent {bytes} bytes before it was logged in")]
    EarlyData {
        /// How many.
        bytes: usize,
    },
    /// A message waits for a decision while its predecessor is still being discarded.
    #[error("the server answered out of turn with {:?}", char::from(*tag))]
    OutOfTurn {
        /// The message's tag.
        tag: u8,
    },
    /// Something else came amid copy data: servers end the session for it, or take it for part of the copy.
    #[error("a message came amid copy data that does not belong there")]
    AmidCopy,
    /// The server does not end the transaction in which weir looked at its catalog.
    #[error("the server does not end a transaction of weir's")]
    Look,
}

impl ConversationError {
    /// What the client is told before the connection closes.
    #[must_use]
    pub fn refusal(&self) -> Refusal {
        let source = match self {
            Self::Client(error) | Self::Server(error) => format!(": {error}"),
            _ => String::new(),
        };
        Refusal {
            sqlstate: "08P01".into(),
            message: format!("weir: {self}{source}"),
            detail: None,
            hint: Some(
                "the connection is closed; nothing of this message reached the server".into(),
            ),
        }
    }
}

/// Whether mechanisms that bind a log-in to the TLS channel are offered to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChannelBinding {
    /// As the server offers them.
    Relayed,
    /// Taken out: the client's leg has no TLS while the server's has.
    Stripped,
}

/// The state of one session. Pure: no I/O, no clock.
pub struct Conversation<J: Judge> {
    from_client: Cutter,
    from_server: Cutter,
    queue: Queue<J::Statement, J::Ticket>,
    statements: Names<Prepared<J::Statement>>,
    portals: Names<Bound<J::Statement>>,
    channel_binding: ChannelBinding,
    ready: bool,
    skip: Skip,
    copy: Copying,
    /// Copy data is coming from the server.
    copy_out: bool,
    /// Copy data that was sent before the server asked for it.
    early_copy_bytes: u64,
    /// What becomes of the rest of a client's message that is given in pieces.
    client_rest: Rest,
    /// What becomes of the rest of a server's message that is given in pieces.
    server_rest: Rest,
    stopping: Stopping,
    /// The body of the server's `BackendKeyData`. A secret.
    key_data: Option<Box<[u8]>>,
    /// Client bytes that came before the log-in was complete.
    early: Vec<u8>,
    /// What the client sent from a request on that waits.
    held: Option<Box<Held>>,
    /// The answers that what is held waits for, where it waits for some rather than for a decision.
    unclear: Option<Unclear>,
    transaction: u8,
    sent: Sent,
    look: Option<Box<Looking>>,
    looked: Option<Looked>,
    heard: Heard,
}

/// What only the server's answers tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unclear {
    /// What the name of a statement or portal stands for.
    Name(Named),
    /// Whether it is going to ask for copy data.
    Copy,
}

/// Copy data under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Copying {
    None,
    /// From the client, whose end of it was not sent yet.
    In,
    /// Replication in both directions: nothing is owed an answer.
    Both,
}

/// What went to the server that it was not asked to end or to answer yet.
#[derive(Debug, Clone, Copy, Default)]
struct Sent {
    /// Something of the extended protocol that no `Sync` has followed.
    unfinished: bool,
    /// An `Execute` is among it.
    executed: bool,
    /// Something of it may have an answer that the server keeps until it is asked to flush.
    unflushed: bool,
}

impl Sent {
    #[inline]
    fn note(&mut self, tag: u8, copy: Copying) {
        match tag {
            tag::EXECUTE => *self = Self::ALL,
            tag::PARSE | tag::BIND | tag::DESCRIBE | tag::CLOSE => {
                self.unfinished = true;
                self.unflushed = true;
            }
            tag::FLUSH => self.unflushed = false,
            // It was swallowed: the copy is still going on.
            tag::SYNC if copy == Copying::In => {}
            tag::QUERY | tag::FUNCTION_CALL | tag::SYNC => *self = Self::default(),
            _ => {}
        }
    }

    const ALL: Self = Self {
        unfinished: true,
        executed: true,
        unflushed: true,
    };
}

/// How far the server is from reading the client's messages of the extended protocol.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Skip {
    /// It discards everything up to the next `Sync`.
    skipping: bool,
    /// It is going to: a refused message went ahead, and no `Sync` after it yet.
    poisoned: bool,
}

/// An answer that a limit ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Stopping {
    /// The server is still at it.
    cancel_wanted: bool,
    /// The server completed it. The client, which was told of the limit, skips to `Sync` as after any error, and gets nothing
    /// of what the server goes on to answer until then.
    muted: bool,
}

/// What becomes of the rest of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rest {
    Pass,
    Drop,
}

impl Rest {
    /// Whether a piece belongs to a message that was dealt with when it began; it goes where that went.
    fn takes(&mut self, piece: &Piece<'_>, input: &[u8], out: &mut Outbox) -> bool {
        if piece.first {
            *self = Self::Pass;
        } else if *self == Self::Pass {
            out.pass(input, piece);
        }
        !piece.first
    }
}

impl<J: Judge> Conversation<J> {
    /// A conversation whose startup packet was forwarded.
    #[must_use]
    pub fn new(channel_binding: ChannelBinding) -> Self {
        let mut queue = Queue::default();
        queue.push(Expect::Startup);
        Self {
            from_client: Cutter::default(),
            from_server: Cutter::default(),
            queue,
            statements: Names::default(),
            portals: Names::default(),
            channel_binding,
            ready: false,
            skip: Skip::default(),
            early_copy_bytes: 0,
            copy: Copying::None,
            copy_out: false,
            client_rest: Rest::Pass,
            server_rest: Rest::Pass,
            stopping: Stopping::default(),
            key_data: None,
            early: Vec::new(),
            transaction: b'I',
            held: None,
            unclear: None,
            sent: Sent::default(),
            look: None,
            looked: None,
            heard: Heard::default(),
        }
    }

    /// How many answers the server owes: the caller stops reading the client above its limit.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.queue.len()
    }

    /// Whether the log-in is complete.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ready
    }

    /// Whether a message of ours may be put into the stream to the client now.
    #[must_use]
    pub fn may_insert(&self) -> bool {
        self.from_server.at_boundary()
    }

    /// Whether a notice of ours may be put into the stream to the client now. Some drivers expect none among copied data.
    #[must_use]
    pub fn may_notice(&self) -> bool {
        self.ready
            && self.may_insert()
            && !self.copy_out
            && self.copy != Copying::Both
            && !self.is_looking()
    }

    /// What a cancel request for this session has to carry: the body of the server's `BackendKeyData`, a secret. `None` when
    /// the server gave none.
    #[must_use]
    pub fn cancel_key(&self) -> Option<&[u8]> {
        self.key_data.as_deref()
    }

    /// The server's transaction status, as last reported: `I`, `T` or `E`.
    #[must_use]
    pub fn transaction(&self) -> u8 {
        self.transaction
    }

    /// A cancel request for the server, once, when a limit has been reached: to be sent on a connection of its own.
    ///
    /// Until the server has closed that connection nothing more of the client may go to it: the cancellation could hit the
    /// next request. Nothing comes when the server gave no key; then its answer is only swallowed.
    pub fn take_cancel(&mut self) -> Option<Vec<u8>> {
        if !std::mem::take(&mut self.stopping.cancel_wanted) {
            return None;
        }
        self.key_data.as_deref().map(backend::cancel_request)
    }

    /// A cancel request for the server when it is at work, and how the connection may be ended at once.
    ///
    /// As with [`Self::take_cancel`], nothing of the client may go to the server any more.
    #[must_use]
    pub fn cancel_all(&self) -> Option<Vec<u8>> {
        if self.queue.is_empty() {
            return None;
        }
        self.key_data.as_deref().map(backend::cancel_request)
    }

    /// Bytes still to come of the message to the client that is under way.
    #[must_use]
    #[inline]
    pub fn rest_of_message(&self) -> usize {
        match self.server_rest {
            // What the server says to weir itself goes nowhere.
            Rest::Pass if self.look.is_none() => self.from_server.remaining(),
            Rest::Pass | Rest::Drop => 0,
        }
    }

    /// How many requests the server has not answered in full.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.queue.requests()
    }

    /// Whether the request under way goes on for as long as the client sends data.
    pub fn awaits_client(&mut self) -> bool {
        self.copy == Copying::Both
            || matches!(
                self.queue.first(),
                Some(Expect::Execute(running) | Expect::Query(running)) if running.copy_in
            )
    }

    /// The connection ended: everything in flight gets its outcome.
    pub fn disconnected(&mut self, judge: &mut J) {
        while let Some(item) = self.queue.pop() {
            if let Expect::Execute(running) | Expect::Query(running) | Expect::Function(running) =
                item
            {
                // With an error already answered, the request itself was over.
                let ending = running.failed.map_or(Ending::Disconnected, Ending::Failed);
                finish(judge, running, ending);
            }
        }
    }
}

fn finish<J: Judge>(judge: &mut J, running: Running<J::Ticket>, ending: Ending) {
    let finished = Finished {
        ending,
        rows: running.rows,
        bytes: running.bytes,
    };
    judge.finished(running.ticket, finished);
}

#[cfg(test)]
mod tests;
