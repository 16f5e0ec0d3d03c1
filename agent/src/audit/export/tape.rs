//! The journal as a row of records that stand for themselves: requests and outcomes with the session and statement they name.

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::audit::{
    journal::reader::{Position, ReadError, Reader, Record},
    record::{Entry, Event, Outcome, Requested, SessionOpened, StatementDecided},
};

/// Requests that are remembered until their outcome comes; what is more gets its outcome without its request's details.
const MOST_OPEN: usize = 100_000;

/// A record that stands for itself.
#[derive(Debug, Clone)]
pub(crate) struct Item {
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
        /// `None` when the request lies too far back.
        asked: Option<Arc<Asked>>,
    },
    Event(Box<Event>),
    /// Records up to this one cannot be read: the journal is broken.
    Missing {
        until_seq: u64,
    },
}

/// A request with what it names.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) seq: u64,
    pub(crate) request: Requested,
    pub(crate) session: Arc<SessionOpened>,
    pub(crate) statement: Arc<StatementDecided>,
}

/// The journal, read on.
pub(crate) struct Tape {
    reader: Reader,
    /// Records before this one were confirmed already; they are read again for what they name.
    from_seq: u64,
    segment: u64,
    sessions: HashMap<u64, Arc<SessionOpened>>,
    statements: HashMap<u64, Arc<StatementDecided>>,
    /// Sessions whose opening was told: each segment repeats those that it mentions.
    told: HashSet<u64>,
    open: HashMap<u64, Arc<Asked>>,
    start: Option<(PathBuf, Position)>,
}

impl Tape {
    /// Reads on from `position`. Each segment names what its records mention, so reading begins at its start.
    pub(crate) fn new(dir: &Path, position: Position) -> Self {
        let begin = Position {
            offset: 0,
            ..position
        };
        Self {
            reader: Reader::new(dir, begin),
            from_seq: position.seq,
            segment: position.segment,
            sessions: HashMap::new(),
            statements: HashMap::new(),
            told: HashSet::new(),
            open: HashMap::new(),
            start: Some((dir.to_owned(), position)),
        }
    }

    /// Where the next record is that was not given out.
    pub(crate) fn position(&self) -> Position {
        match &self.start {
            // Nothing was read yet beyond what was confirmed.
            Some((_, position)) => *position,
            None => self.reader.position(),
        }
    }

    /// The next records, up to `most`; fewer at the end of what has been written.
    pub(crate) fn read(&mut self, most: usize) -> Result<Vec<Item>, ReadError> {
        let mut items = Vec::new();
        while items.len() < most {
            match self.reader.next() {
                Ok(Some(record)) => {
                    self.enter(self.reader.position().segment);
                    let new = record.seq >= self.from_seq;
                    if new {
                        self.start = None;
                    }
                    items.extend(self.item(record, new));
                }
                Ok(None) => break,
                Err(ReadError::Broken { at }) => {
                    if !self.reader.skip_segment()? {
                        // Nothing follows yet; what is there cannot be read.
                        break;
                    }
                    let until_seq = self.reader.position().seq.saturating_sub(1);
                    if until_seq >= self.from_seq {
                        self.start = None;
                        items.push(Item {
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

    fn item(&mut self, record: Record, new: bool) -> Option<Item> {
        let what = match record.entry {
            Entry::SessionOpened(opened) => {
                let opened: Arc<SessionOpened> = Arc::from(opened);
                self.sessions.insert(opened.session, Arc::clone(&opened));
                self.told
                    .insert(opened.session)
                    .then_some(What::Opened(opened))
            }
            Entry::StatementDecided(decided) => {
                self.statements.insert(decided.id, Arc::from(decided));
                None
            }
            Entry::Requested(request) => {
                let asked = Arc::new(Asked {
                    seq: record.seq,
                    request,
                    session: Arc::clone(self.sessions.get(&request.session)?),
                    statement: Arc::clone(self.statements.get(&request.statement)?),
                });
                if self.open.len() < MOST_OPEN {
                    self.open.insert(record.seq, Arc::clone(&asked));
                }
                Some(What::Asked(asked))
            }
            Entry::Outcome(outcome) => Some(What::Answered {
                asked: self.open.remove(&outcome.request),
                outcome,
            }),
            Entry::Event(event) => match &*event {
                // It was given out when it was said first.
                Event::Repeated { .. } => None,
                Event::SessionClosed { session, .. } => {
                    self.told.remove(session);
                    Some(What::Event(event))
                }
                _ => Some(What::Event(event)),
            },
        };
        what.filter(|_| new).map(|what| Item {
            seq: record.seq,
            time_ns: record.time_ns,
            what,
        })
    }
}
