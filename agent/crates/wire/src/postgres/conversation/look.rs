//! A look: what weir itself asks on the client's connection between two of the client's requests.
//!
//! All of it goes out at once: the statements up to a `Sync`, then an end to whatever transaction they leave, whether they
//! succeed or not. Everything has a name of its own, so that the client's unnamed statement stays. The answers are taken out
//! of the stream; what belongs to the client (notices, notifications, settings that changed) passes as at any other time.

use super::{Conversation, ConversationError, Copying, server::words, stop::Fate};
use crate::postgres::{
    Judge, Piece,
    backend::{self, tag},
    cells,
    expect::Expect,
    frontend::{self, message},
};

/// What may be done with the connection just now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Nothing is in flight and no transaction is open: [`Conversation::look`] may be called.
    Idle,
    /// The server will answer everything that is in flight without anything more from the client.
    Owing,
    /// A transaction is open, or the client has not said yet where its request ends.
    Open,
    /// Copy data is under way.
    Copying,
}

/// Statements to be asked, as messages for the server.
pub struct Look {
    begin: Vec<u8>,
    end: Vec<u8>,
    statements: usize,
}

/// What came of a look.
#[derive(Debug)]
pub struct Looked {
    /// The rows of each statement, or why there are none. The session is as it was before in either case.
    pub answers: Result<Vec<Rows>, LookError>,
}

/// One statement's rows.
#[derive(Debug, Default)]
pub struct Rows {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

/// Why a look came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LookError {
    /// The server's own words.
    #[error("the server says {message:?} ({})", String::from_utf8_lossy(sqlstate))]
    Server {
        /// The SQLSTATE.
        sqlstate: [u8; 5],
        /// Its message.
        message: String,
    },
    /// More rows, or a longer one, than anybody should hold.
    #[error("the answer is too long")]
    TooLong,
    /// Not as many answers as questions.
    #[error("the server answered {answered} of {asked} statements")]
    Answers {
        /// Statements that were completed.
        answered: usize,
        /// Statements that were sent.
        asked: usize,
    },
}

impl LookError {
    /// Whether the next one may end better: somebody cancelled it, say, or dropped what it was about to describe. Missing rights
    /// and locks that others hold are there to stay.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Server { sqlstate, .. } if sqlstate != b"42501" && sqlstate != b"55P03")
    }
}

/// A look under way.
pub(super) struct Looking {
    end: Vec<u8>,
    asked: usize,
    /// The statements are over, their transaction is being ended.
    ending: bool,
    /// The end itself failed: it has to be asked for again.
    end_failed: bool,
    /// How often it was asked for.
    ends: u32,
    answers: Vec<Rows>,
    rows: Rows,
    bytes: usize,
    failure: Option<LookError>,
    /// Settings that the look itself changes and changes back, as last reported.
    reported: Vec<Setting>,
    /// To be sent, besides what was sent at its beginning.
    again: Vec<u8>,
}

/// What the client has been told of the settings that a look changes for itself.
#[derive(Debug, Default)]
pub(super) struct Heard(Vec<Setting>);

/// A setting's name and value.
type Setting = (Box<[u8]>, Box<[u8]>);

impl Look {
    /// The first of `statements` begins a transaction, which is rolled back in the end. `name` is for a prepared statement and
    /// a portal; no client may have one of that name.
    #[must_use]
    pub fn new<'s>(name: &str, statements: impl IntoIterator<Item = &'s str>) -> Self {
        let mut begin = Vec::new();
        let mut count = 0;
        for statement in statements {
            run(name, statement, &mut begin);
            count += 1;
        }
        begin.extend(message(frontend::tag::SYNC, &[]));
        // What failed half-way may have left its statement behind.
        let mut end = Vec::new();
        close(name, &mut end);
        run(name, "ROLLBACK", &mut end);
        end.extend(message(frontend::tag::SYNC, &[]));
        Self {
            begin,
            end,
            statements: count,
        }
    }
}

impl Rows {
    /// Every row's cells, as the server sent them; a row that is malformed is `None`.
    pub fn iter(&self) -> impl Iterator<Item = Option<Vec<Option<&[u8]>>>> {
        let mut start = 0;
        self.ends.iter().map(move |&end| {
            let row = self.bytes.get(start..end).unwrap_or_default();
            start = end;
            cells::values(row)
        })
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    fn push(&mut self, row: &[u8]) {
        self.bytes.extend_from_slice(row);
        self.ends.push(self.bytes.len());
    }
}

impl Heard {
    fn value(&self, name: &[u8]) -> Option<&[u8]> {
        let (_, value) = self.0.iter().find(|(known, _)| &**known == name)?;
        Some(value)
    }

    /// The client is being told.
    pub(super) fn note(&mut self, name: &[u8], value: &[u8]) {
        if !CHANGED_BY_LOOKS.contains(&name) || self.value(name) == Some(value) {
            return;
        }
        self.0.retain(|(known, _)| &**known != name);
        self.0.push((name.into(), value.into()));
    }
}

impl<J: Judge> Conversation<J> {
    /// What may be done with the connection just now.
    #[must_use]
    pub fn moment(&self) -> Moment {
        if self.copy != Copying::None {
            return Moment::Copying;
        }
        match self.queue.ends() {
            Some((Expect::Query(running) | Expect::Execute(running), _)) if running.copy_in => {
                Moment::Copying
            }
            Some((_, last)) if is_end(last) => Moment::Owing,
            None if self.is_idle() => Moment::Idle,
            _ => Moment::Open,
        }
    }

    fn is_idle(&self) -> bool {
        self.ready
            && self.transaction == b'I'
            && !self.sent.unfinished
            && !self.skip.skipping
            && !self.skip.poisoned
            && !self.stopping.muted
            && !self.stopping.cancel_wanted
            && self.look.is_none()
            && self.from_client.at_boundary()
            && self.from_server.is_idle()
    }

    /// Begins a look; returns what is to be sent to the server. Nothing of the client may be given to [`Self::client`]
    /// before [`Self::is_looking`] says that it is over. A request may wait meanwhile.
    ///
    /// # Panics
    ///
    /// When the moment is not [`Moment::Idle`].
    pub fn look(&mut self, look: Look) -> Vec<u8> {
        assert_eq!(
            self.moment(),
            Moment::Idle,
            "a look begins between two requests"
        );
        let mut bytes = look.begin;
        bytes.extend_from_slice(&look.end);
        self.look = Some(Box::new(Looking {
            end: look.end,
            asked: look.statements,
            ending: false,
            end_failed: false,
            ends: 1,
            answers: Vec::new(),
            rows: Rows::default(),
            bytes: 0,
            failure: None,
            reported: Vec::new(),
            again: Vec::new(),
        }));
        bytes
    }

    /// Whether a look is under way.
    #[must_use]
    #[inline]
    pub fn is_looking(&self) -> bool {
        self.look.is_some()
    }

    /// What a look under way wants to be sent besides; empty most times.
    pub fn take_look_output(&mut self) -> Vec<u8> {
        let looking = self.look.as_mut();
        looking.map_or_else(Vec::new, |looking| std::mem::take(&mut looking.again))
    }

    /// What came of a look, once, when it is over.
    pub fn take_looked(&mut self) -> Option<Looked> {
        self.looked.take()
    }

    /// A message of the server while a look is under way.
    pub(super) fn looked_at(
        &mut self,
        piece: &Piece<'_>,
        judge: &mut J,
    ) -> Result<Fate, ConversationError> {
        let Some(looking) = &mut self.look else {
            return Ok(Fate::Pass);
        };
        match piece.tag {
            tag::DATA_ROW => looking.row(piece),
            tag::COMMAND_COMPLETE => looking.complete(),
            tag::PARSE_COMPLETE | tag::BIND_COMPLETE | tag::CLOSE_COMPLETE => {}
            tag::NOTICE_RESPONSE if is_of_a_look(piece) => {}
            tag::NOTICE_RESPONSE | tag::NOTIFICATION_RESPONSE => {
                return Ok(self.aside(piece, judge));
            }
            tag::PARAMETER_STATUS => return Ok(self.reported(piece, judge)),
            tag::ERROR_RESPONSE => {
                let (state, fatal) = backend::error_state(piece.body());
                if fatal {
                    return Ok(words(piece, state, None, judge));
                }
                looking.fail(state, piece);
            }
            tag::READY_FOR_QUERY => return self.look_is_ready(piece, judge),
            tag => return Err(ConversationError::OutOfTurn { tag }),
        }
        Ok(Fate::Drop)
    }

    /// A setting is reported: one that looks change is held back until it is known what it has become.
    fn reported(&mut self, piece: &Piece<'_>, judge: &mut J) -> Fate {
        let Some((name, value)) = backend::parameter_status(piece.body()) else {
            return Fate::Pass;
        };
        match &mut self.look {
            Some(looking) if CHANGED_BY_LOOKS.contains(&name) => {
                looking.reported.retain(|(known, _)| &**known != name);
                looking.reported.push((name.into(), value.into()));
                Fate::Drop
            }
            _ => {
                judge.parameter(name, value);
                Fate::Pass
            }
        }
    }

    fn look_is_ready(
        &mut self,
        piece: &Piece<'_>,
        judge: &mut J,
    ) -> Result<Fate, ConversationError> {
        let Some(mut looking) = self.look.take() else {
            return Ok(Fate::Pass);
        };
        let idle = piece.body().first() == Some(&b'I');
        if !looking.ending {
            looking.ending = true;
            let (answered, asked) = (looking.answers.len(), looking.asked);
            if looking.failure.is_none() && answered != asked {
                looking.failure = Some(LookError::Answers { answered, asked });
            }
        } else if !idle || looking.end_failed {
            if looking.ends >= MAX_ENDS {
                return Err(ConversationError::Look);
            }
            looking.ends += 1;
            looking.end_failed = false;
            looking.again.extend_from_slice(&looking.end);
        } else {
            return Ok(self.look_is_over(*looking, judge));
        }
        self.look = Some(looking);
        Ok(Fate::Drop)
    }

    fn look_is_over(&mut self, looking: Looking, judge: &mut J) -> Fate {
        let mut told = Vec::new();
        for (name, value) in looking.reported {
            if self.heard.value(&name) != Some(&*value) {
                self.heard.note(&name, &value);
                judge.parameter(&name, &value);
                let parts: [&[u8]; 4] = [&name, b"\0", &value, b"\0"];
                told.extend(message(tag::PARAMETER_STATUS, &parts));
            }
        }
        self.looked = Some(Looked {
            answers: match looking.failure {
                None => Ok(looking.answers),
                Some(error) => Err(error),
            },
        });
        if told.is_empty() {
            Fate::Drop
        } else {
            Fate::Replace(told)
        }
    }
}

impl Looking {
    fn row(&mut self, piece: &Piece<'_>) {
        self.bytes += piece.total;
        if !piece.last || self.bytes > MAX_LOOK_BYTES {
            self.failure.get_or_insert(LookError::TooLong);
            // What was kept so far is of no use any more.
            self.answers = Vec::new();
            self.rows = Rows::default();
        }
        if self.failure.is_none() && !self.ending {
            self.rows.push(piece.body());
        }
    }

    fn complete(&mut self) {
        if !self.ending {
            let rows = std::mem::take(&mut self.rows);
            self.answers.push(rows);
        }
    }

    fn fail(&mut self, sqlstate: [u8; 5], piece: &Piece<'_>) {
        self.end_failed |= self.ending;
        let message = backend::error_message(piece.body());
        self.failure.get_or_insert_with(|| LookError::Server {
            sqlstate,
            message: String::from_utf8_lossy(message).into_owned(),
        });
    }
}

/// One statement from its `Parse` to its `Close`.
fn run(name: &str, statement: &str, out: &mut Vec<u8>) {
    let name_bytes = name.as_bytes();
    let text = statement.as_bytes();
    out.extend(message(
        frontend::tag::PARSE,
        &[name_bytes, b"\0", text, b"\0\0\0"],
    ));
    out.extend(message(
        frontend::tag::BIND,
        &[name_bytes, b"\0", name_bytes, b"\0\0\0\0\0\0\0"],
    ));
    out.extend(message(
        frontend::tag::EXECUTE,
        &[name_bytes, b"\0\0\0\0\0"],
    ));
    close(name, out);
}

fn close(name: &str, out: &mut Vec<u8>) {
    for kind in [b"P", b"S"] {
        out.extend(message(
            frontend::tag::CLOSE,
            &[kind, name.as_bytes(), b"\0"],
        ));
    }
}

/// Whether the server answers up to here without anything more from the client.
fn is_end<S, T>(item: &Expect<S, T>) -> bool {
    matches!(
        item,
        Expect::Startup
            | Expect::Sync
            | Expect::Query(_)
            | Expect::Function(_)
            | Expect::Poison { simple: true, .. }
    )
}

/// What servers say of the statements of a look: debugging, their own log, and that there was nothing to roll back.
fn is_of_a_look(piece: &Piece<'_>) -> bool {
    let (state, _) = backend::error_state(piece.body());
    let severity = backend::severity(piece.body());
    state == *b"25P01" || severity == b"LOG" || severity.starts_with(b"DEBUG")
}

/// Settings that a look has of its own and that servers report.
const CHANGED_BY_LOOKS: [&[u8]; 2] = [b"client_encoding", b"search_path"];
/// Far beyond the catalog of a database with 100,000 tables.
const MAX_LOOK_BYTES: usize = 512 * 1024 * 1024;
/// A cancellation can hit the end of a look too, but hardly this often.
const MAX_ENDS: u32 = 10;
