//! What a conversation asks of its owner: decisions on texts, records of requests.

/// How a request reaches the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// `Query`.
    Simple,
    /// `Parse`; nothing runs yet.
    Parse,
    /// `Execute`.
    Execute,
    /// `FunctionCall`.
    FunctionCall,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The server completed it.
    Completed,
    /// The server answered with this SQLSTATE.
    Failed([u8; 5]),
    /// weir refused it.
    Denied,
    /// The portal stopped at its row limit and may go on.
    Suspended,
    /// The server skipped it after an earlier error.
    Skipped,
    /// The connection ended first.
    Disconnected,
}

/// What came of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finished {
    /// How it ended.
    pub ending: Ending,
    /// Rows sent, or touched where none were sent.
    pub rows: u64,
    /// Bytes of rows and copy data, headers included.
    pub bytes: u64,
}

/// What the client is told in place of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Five characters.
    pub sqlstate: String,
    /// One line.
    pub message: String,
    /// Rule and request.
    pub detail: Option<String>,
    /// What to do.
    pub hint: Option<String>,
}

/// Why a text cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreadable {
    /// It is longer than what is held in memory.
    TooLong,
    /// The message is not exactly one string: the server refuses it too, and keeps the session.
    NotOneString,
}

/// How much of one request's answer may reach the client, from its beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Rows; of a copy, its messages.
    pub rows: u64,
    /// Bytes of rows and copy data, headers included.
    pub bytes: u64,
}

impl Limits {
    /// None.
    pub const NONE: Self = Self {
        rows: u64::MAX,
        bytes: u64::MAX,
    };

    /// Nothing may pass.
    pub const ZERO: Self = Self { rows: 0, bytes: 0 };

    /// What is left after this much; no limit stays none.
    #[must_use]
    pub fn minus(self, rows: u64, bytes: u64) -> Self {
        let left = |limit: u64, used: u64| {
            if limit == u64::MAX {
                limit
            } else {
                limit.saturating_sub(used)
            }
        };
        Self {
            rows: left(self.rows, rows),
            bytes: left(self.bytes, bytes),
        }
    }

    /// The stricter of each.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            rows: self.rows.min(other.rows),
            bytes: self.bytes.min(other.bytes),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::NONE
    }
}

/// Which limit was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Of rows.
    Rows,
    /// Of bytes.
    Bytes,
}

/// How far the server's words about errors and events are kept from the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Shield {
    /// They pass as they are.
    #[default]
    Off,
    /// Something is hidden from this session. What the statement reads was rewritten, so that its errors speak of masked values.
    Reads,
    /// The same, and the statement writes: constraints, triggers and indexes see what is really stored.
    Writes,
}

/// Something that rewriting should have made impossible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Incident {
    /// A result column comes straight from a hidden one; its cells were masked on the way.
    MaskedColumn {
        /// The relation's number.
        relation: u32,
        /// The column's number; zero for a whole row.
        column: i16,
    },
    /// The server completed a request before a limit could stop it: the client was told of the limit, the work is done.
    CompletedBeyondLimit,
}

/// The answer about a text.
#[derive(Debug, Clone)]
pub enum Ruling<S> {
    /// It may go on.
    Permit(S),
    /// It may not.
    Refuse(S, Box<Refusal>),
}

/// With which message a request asks to go to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// `Query`.
    Query,
    /// `Bind`: the server may run functions with the values as soon as it has them, while it plans.
    Bind,
    /// `Execute` of a portal whose `Bind` was asked about before, unless only SQL made it.
    Execute,
    /// `FunctionCall`.
    FunctionCall,
}

/// What the judge is told when a request asks to go to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked<'a> {
    /// The message.
    pub at: Point,
    /// How the request is recorded; a `Bind` belongs to the `Execute`s of its portal.
    pub via: Via,
    /// The keyed hash of the values; zero where there are none. Of a `FunctionCall`, of its whole body.
    pub parameters: u64,
    /// The values: of a `Bind` what follows the names, of a `FunctionCall` what follows the function; empty elsewhere.
    pub values: &'a [u8],
    /// The whole message's length, header included.
    pub bytes: usize,
    /// Whether the request would run in a transaction together with others: in a block, behind an `Execute` without a `Sync` in
    /// between, or behind requests of which it is not known yet what they leave.
    pub in_transaction: bool,
    /// Whether there are such requests: once they are answered, `in_transaction` may be false.
    pub unsettled: bool,
    /// Whether the message is complete in memory. One that is not cannot wait.
    pub whole: bool,
}

/// Whether a request may go to the server now.
#[derive(Debug, Clone)]
pub enum Gate<S> {
    /// It may; with another statement in its place where one is given, which must be sent as the same text.
    Open(Option<S>),
    /// It waits: nothing more of the client is read until [`Conversation::resume`](super::Conversation::resume) asks again.
    Wait,
    /// It may not; that is recorded already.
    Refuse(Box<Refusal>),
}

/// Decides and records for one conversation.
///
/// The conversation calls `request` before it lets the bytes go; when that fails nothing goes.
pub trait Judge {
    /// What was decided about a text.
    type Statement: Clone;
    /// One recorded request.
    type Ticket;

    /// Decides a statement's text.
    fn statement(&mut self, text: &[u8], via: Via) -> Ruling<Self::Statement>;
    /// Decides a message whose text cannot be read; `bytes` is its length.
    fn unreadable(&mut self, why: Unreadable, bytes: usize, via: Via) -> Ruling<Self::Statement>;
    /// Decides a fast-path call.
    fn function(&mut self, oid: u32) -> Ruling<Self::Statement>;
    /// The statement behind a name that only SQL made (`PREPARE`, `DECLARE`): its text was decided then.
    fn made_by_sql(&mut self) -> Self::Statement;
    /// A permitted `Parse` gives a statement a name, which SQL can run it by (`EXECUTE`).
    fn named(&mut self, _statement: &Self::Statement) {}
    /// Whether a request may go to the server now; nothing of it is recorded yet.
    ///
    /// Asked at `Query`, `Bind`, `FunctionCall` and `Execute`, after the text was permitted, unless the server is going to discard
    /// the message. A statement that is given in place of another at `Bind` or `Execute` stays with the portal.
    #[inline]
    fn gate(&mut self, _statement: &Self::Statement, _asked: &Asked<'_>) -> Gate<Self::Statement> {
        Gate::Open(None)
    }
    /// Records a request that is about to go on; `parameters` are the bound values' bytes.
    ///
    /// # Errors
    ///
    /// A refusal when it may not run (any more) or cannot be recorded; the refusal is recorded already where it can be.
    fn request(
        &mut self,
        statement: &Self::Statement,
        via: Via,
        parameters: u64,
        bytes: usize,
    ) -> Result<Self::Ticket, Box<Refusal>>;
    /// Records a request that was refused; may add the record's id to what the client is told.
    fn refused(
        &mut self,
        statement: &Self::Statement,
        refusal: &mut Refusal,
        via: Via,
        bytes: usize,
    );
    /// Records how a request ended.
    fn finished(&mut self, ticket: Self::Ticket, finished: Finished);
    /// A keyed hash of bound values.
    fn hash(&mut self, parameters: &[u8]) -> u64;
    /// The server reports a setting.
    fn parameter(&mut self, name: &[u8], value: &[u8]);
    /// The server is ready with this transaction status, and everything sent so far is answered: reported settings are current.
    fn settled(&mut self, transaction: u8);

    /// The text that goes to the server in place of the client's.
    fn replacement<'a>(&'a self, _statement: &'a Self::Statement) -> Option<&'a [u8]> {
        None
    }
    /// Whether this may ask the client for copy data. A `Sync` behind it waits until that is known: a server that reads it amid a
    /// copy does not answer it.
    fn may_copy(&self, _statement: &Self::Statement) -> bool {
        false
    }
    /// Whether answers to this are looked into at all: for positions, words or columns. What is not watched costs nothing.
    fn watches(&self, _statement: &Self::Statement) -> bool {
        false
    }
    /// What of errors and notices about a statement, or about none, the client may read.
    fn shield(&self, _statement: Option<&Self::Statement>) -> Shield {
        Shield::Off
    }
    /// Where a character of the server's text is in the client's, both counted from one; `None` where it is in neither.
    fn position(&self, _statement: &Self::Statement, position: usize) -> Option<usize> {
        Some(position)
    }
    /// Whether a result column that comes straight from this column of a relation is hidden; column zero is the whole row.
    fn is_masked(&self, _statement: &Self::Statement, _relation: u32, _column: i16) -> bool {
        false
    }
    /// How much of a recorded request's answer may pass, all executions of its portal together; `None` when nobody counts.
    fn limits(&mut self, _ticket: &Self::Ticket) -> Option<Limits> {
        None
    }
    /// So much of a counted answer has passed since its request; returns how much more may, whatever the request's own limits.
    ///
    /// Called ahead of the first row and from time to time.
    fn progress(&mut self, _ticket: &mut Self::Ticket, _rows: u64, _bytes: u64) -> Limits {
        Limits::NONE
    }
    /// What the client is told when a limit is reached.
    fn exceeded(&mut self, _ticket: &Self::Ticket, limit: Limit) -> Refusal {
        let what = match limit {
            Limit::Rows => "rows",
            Limit::Bytes => "bytes",
        };
        Refusal {
            sqlstate: LIMIT_REACHED.into(),
            message: format!("weir: the limit of {what} is reached"),
            detail: None,
            hint: None,
        }
    }
    /// Records what ought not to be.
    fn incident(&mut self, _statement: &Self::Statement, _incident: Incident) {}
}

/// `program_limit_exceeded`.
pub const LIMIT_REACHED: &str = "54000";
