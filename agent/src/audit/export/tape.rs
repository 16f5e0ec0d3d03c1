//! The journal as a row of records that stand for themselves: each with what it names, and with what it ends.

mod begun;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicU64},
};

use self::begun::Begun;
use crate::audit::{
    journal::reader::{Position, ReadError, Reader, Record},
    record::{Entry, Event, Outcome, Requested, SessionOpened, StatementDecided},
};

pub(crate) use begun::{Carry, Since};

/// A record that stands for itself.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    /// Where the record lies: who has taken everything before this item goes on from here.
    pub(crate) at: Position,
    pub(crate) seq: u64,
    pub(crate) time_ns: u64,
    pub(crate) what: What,
}

/// What a record says.
#[derive(Debug, Clone)]
pub(crate) enum What {
    Opened(Arc<SessionOpened>),
    Asked(Arc<Asked>),
    Answered {
        outcome: Outcome,
        /// `None` when the request's record is gone.
        asked: Option<Arc<Asked>>,
    },
    /// The agent's start says that what the one before had under way has no outcome and gets none.
    Unanswered(Arc<Asked>),
    /// As above: a session whose end was not recorded.
    Abandoned(u64, Since),
    Event {
        event: Box<Event>,
        /// What this ends: a session's opening, the wait for an approval.
        since: Option<Since>,
    },
    /// Records up to this one cannot be read: the journal is broken, or a newer version said something in the one that there
    /// is.
    Missing {
        until_seq: u64,
    },
}

/// A request with what it names.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) seq: u64,
    pub(crate) time_ns: u64,
    pub(crate) request: Requested,
    pub(crate) session: Arc<SessionOpened>,
    pub(crate) statement: Arc<StatementDecided>,
}

/// What a record is sent with at least, bytes: roughly, for batches that sinks can take.
const ITEM_BYTES: usize = 2048;

impl Item {
    /// How large it will be, roughly, bytes.
    pub(crate) fn weight(&self) -> usize {
        let text = match &self.what {
            What::Asked(asked)
            | What::Unanswered(asked)
            | What::Answered {
                asked: Some(asked), ..
            } => {
                let facts = &asked.statement.facts;
                facts.normalised.len() + 128 * (facts.relations.len() + facts.columns.len())
            }
            What::Event { event, .. } => match &**event {
                Event::ApprovalRequested { text, .. } => text.len(),
                _ => 0,
            },
            _ => 0,
        };
        ITEM_BYTES + text
    }
}

/// The journal, read on.
pub(crate) struct Tape {
    dir: PathBuf,
    reader: Reader,
    /// Records before this one were confirmed already; they are read again for what they name.
    from_seq: u64,
    segment: u64,
    sessions: HashMap<u64, Arc<SessionOpened>>,
    statements: HashMap<u64, Arc<StatementDecided>>,
    begun: Begun,
    start: Option<Position>,
}

impl Tape {
    /// Reads on from `position`, before which `carry` had begun. Each segment names what its records mention, so reading
    /// begins at its start.
    /// Records behind the one that `limit` names are not there yet.
    pub(crate) fn new(
        dir: &Path,
        position: Position,
        carry: &Carry,
        limit: Option<Arc<AtomicU64>>,
    ) -> Self {
        let begin = Position {
            offset: 0,
            ..position
        };
        Self {
            dir: dir.to_owned(),
            reader: Reader::new(dir, begin).up_to(limit),
            from_seq: position.seq,
            segment: position.segment,
            sessions: HashMap::new(),
            statements: HashMap::new(),
            begun: Begun::new(carry),
            start: Some(position),
        }
    }

    /// Where the next record is that was not given out.
    pub(crate) fn position(&self) -> Position {
        // Nothing was read yet beyond what was confirmed, or it is the reader's place.
        self.start.unwrap_or_else(|| self.reader.position())
    }

    /// What had begun and not ended before that place.
    pub(crate) fn carry(&self) -> Carry {
        self.begun.carry()
    }

    /// The next records, up to `most`; fewer at the end of what has been written.
    pub(crate) fn read(&mut self, most: usize) -> Result<Vec<Item>, ReadError> {
        let mut items = Vec::new();
        while items.len() < most {
            let at = self.reader.position();
            match self.reader.next() {
                Ok(Some(record)) => {
                    self.enter(self.reader.position().segment);
                    let new = record.seq >= self.from_seq;
                    if new {
                        self.start = None;
                    }
                    self.take(at, record, new, &mut items)?;
                }
                Ok(None) => break,
                Err(ReadError::Broken { at } | ReadError::Unknown { at }) => {
                    if !self.reader.skip_broken()? {
                        // Nothing follows yet; what is there cannot be read.
                        break;
                    }
                    let until_seq = self.reader.position().seq.saturating_sub(1);
                    if until_seq >= self.from_seq {
                        self.start = None;
                        items.push(Item {
                            at,
                            seq: at.seq,
                            time_ns: crate::clock::now_ns(),
                            what: What::Missing { until_seq },
                        });
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(items)
    }

    /// What a segment before this one named is named again where it is needed.
    fn enter(&mut self, segment: u64) {
        if segment != self.segment {
            self.segment = segment;
            self.sessions.clear();
            self.statements.clear();
        }
    }

    /// Takes a record in; what is to be told of it goes to `items` when it is new.
    fn take(
        &mut self,
        at: Position,
        record: Record,
        new: bool,
        items: &mut Vec<Item>,
    ) -> Result<(), ReadError> {
        let (seq, time_ns) = (record.seq, record.time_ns);
        let mut tell = |what| {
            if new {
                items.push(Item {
                    at,
                    seq,
                    time_ns,
                    what,
                });
            }
        };
        match record.entry {
            Entry::SessionOpened(opened) => {
                let opened: Arc<SessionOpened> = Arc::from(opened);
                let id = opened.session;
                let (known, first) = self.begun.opened(opened, time_ns);
                self.sessions.insert(id, Arc::clone(&known));
                if first {
                    tell(What::Opened(known));
                }
            }
            Entry::StatementDecided(decided) => {
                self.statements.insert(decided.id, Arc::from(decided));
            }
            Entry::Requested(request) => {
                if let Some(asked) = self.asked(seq, time_ns, request) {
                    self.begun.asked(Arc::clone(&asked));
                    tell(What::Asked(asked));
                }
            }
            Entry::Outcome(outcome) => {
                let mut asked = self.begun.answered(outcome.request);
                if asked.is_none() && new {
                    asked = find(&self.dir, outcome.request)?;
                }
                tell(What::Answered { outcome, asked });
            }
            Entry::Event(event) => {
                if let Event::AgentStarted { .. } = &*event {
                    let left = self.begun.ended();
                    for seq in left.carried.into_iter().filter(|_| new) {
                        if let Some(asked) = find(&self.dir, seq)? {
                            tell(What::Unanswered(asked));
                        }
                    }
                    let requests = left.requests.into_iter().map(What::Unanswered);
                    let sessions = left.sessions.into_iter();
                    requests
                        .chain(sessions.map(|(id, since)| What::Abandoned(id, since)))
                        .for_each(&mut tell);
                }
                // Its records from here on rest on that.
                self.renew(&event);
                if let Event::Repeated { .. } = &*event {
                    // It was given out when it was said first.
                    return Ok(());
                }
                let since = self.begun.event(&event, time_ns);
                tell(What::Event { event, since });
            }
        }
        Ok(())
    }

    /// A session goes on with a newer log-in.
    fn renew(&mut self, event: &Event) {
        match event {
            Event::Repeated { said, .. } => self.renew(said),
            Event::SessionRenewed {
                session,
                identity,
                proof,
            } => {
                if let Some(opened) = self.begun.renewed(*session, identity, proof) {
                    self.sessions.insert(*session, opened);
                }
            }
            _ => {}
        }
    }

    fn asked(&self, seq: u64, time_ns: u64, request: Requested) -> Option<Arc<Asked>> {
        Some(Arc::new(Asked {
            seq,
            time_ns,
            request,
            session: Arc::clone(self.sessions.get(&request.session)?),
            statement: Arc::clone(self.statements.get(&request.statement)?),
        }))
    }
}

/// The request with this record's number, from a segment that was read long ago; `None` when it was removed since.
fn find(dir: &Path, seq: u64) -> Result<Option<Arc<Asked>>, ReadError> {
    let Some(from) = crate::audit::journal::reader::start_of(dir, seq)? else {
        return Ok(None);
    };
    let mut tape = Tape::new(dir, from, &Carry::default(), None);
    loop {
        let record = match tape.reader.next() {
            Ok(Some(record)) if record.seq <= seq => record,
            Err(ReadError::Unknown { at }) if at.seq < seq => continue,
            // What cannot be read is told of where it lies.
            Ok(_) | Err(ReadError::Broken { .. } | ReadError::Unknown { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        match record.entry {
            Entry::Requested(request) if record.seq == seq => {
                return Ok(tape.asked(seq, record.time_ns, request));
            }
            Entry::Requested(_) | Entry::Outcome(_) => {}
            _ => tape.take(from, record, false, &mut Vec::new())?,
        }
    }
}
