//! What the journal's hot records refer to, learnt as they are read.

use std::collections::HashMap;

use super::reader::Record;
use crate::audit::record::{Entry, Event, SessionOpened, StatementDecided};

/// Sessions and statements of the segments that were read.
#[derive(Debug, Default)]
pub(crate) struct Dictionary {
    /// Sessions by id, each with the log-in that it went on with.
    pub(crate) sessions: HashMap<u64, Box<SessionOpened>>,
    /// Statements by id.
    pub(crate) statements: HashMap<u64, Box<StatementDecided>>,
}

impl Dictionary {
    /// Takes in what later records may refer to.
    pub(crate) fn learn(&mut self, record: &Record) {
        match &record.entry {
            Entry::SessionOpened(opened) => {
                // Repeated in each segment as it was when it began.
                self.sessions
                    .entry(opened.session)
                    .or_insert_with(|| opened.clone());
            }
            Entry::StatementDecided(decided) => {
                self.statements.insert(decided.id, decided.clone());
            }
            Entry::Event(event) => self.renew(event),
            _ => {}
        }
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
                if let Some(opened) = self.sessions.get_mut(session) {
                    opened.identity = Some(identity.clone());
                    opened.proof = Some(proof.clone());
                }
            }
            _ => {}
        }
    }
}
