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

/// The answer about a text.
#[derive(Debug, Clone)]
pub enum Ruling<S> {
    /// It may go on.
    Permit(S),
    /// It may not.
    Refuse(S, Box<Refusal>),
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
    /// The server is ready, and everything sent so far is answered: reported settings are current.
    fn settled(&mut self);
}
