//! Requests as they were recorded, with all that their records refer to.

use std::{collections::VecDeque, path::Path, time::Duration};

use weir_policy::{Explanation, Pack, Process, Question};

use super::{
    journal::{
        dictionary::Dictionary,
        reader::{Position, ReadError, Reader, Record, last_segments, start_of},
    },
    record::{Ending, Entry, Requested, SessionOpened, StatementDecided, Via},
};

/// A request as it was recorded.
#[derive(Debug, Clone)]
pub struct Past {
    /// The number of its record.
    pub seq: u64,
    /// When it came, nanoseconds since the epoch.
    pub time_ns: u64,
    /// The session that it came on.
    pub session: SessionOpened,
    /// What was decided about it.
    pub decided: StatementDecided,
    /// How it ended; `None` when it had not, as far as was read.
    pub ending: Option<Ending>,
}

impl Past {
    /// The request with this record's number in the journal at `dir`; `None` when that record is none.
    ///
    /// # Errors
    ///
    /// The journal cannot be read.
    pub fn of_record(dir: &Path, seq: u64) -> Result<Option<Self>, ReadError> {
        // A segment has all that its records refer to.
        let Some(from) = start_of(dir, seq)? else {
            return Ok(None);
        };
        let mut reader = Reader::new(dir, from);
        let mut words = Dictionary::default();
        while let Some(record) = next(&mut reader)? {
            words.learn(&record);
            match record.entry {
                Entry::Requested(request) if record.seq == seq => {
                    return Ok(Self::put_together(&words, &Mark::of(&record, request)));
                }
                _ if record.seq >= seq => break,
                _ => {}
            }
        }
        Ok(None)
    }

    /// The last `count` requests of a session in the journal's last two segments, the latest first. What was only prepared
    /// counts where it was refused: nothing else came of it.
    ///
    /// # Errors
    ///
    /// The journal cannot be read.
    pub fn last_of_session(dir: &Path, session: u64, count: usize) -> Result<Vec<Self>, ReadError> {
        let from = last_segments(dir, SEGMENTS)?.unwrap_or(Position::START);
        let mut reader = Reader::new(dir, from);
        let mut words = Dictionary::default();
        let mut marks: VecDeque<Mark> = VecDeque::new();
        while let Some(record) = next(&mut reader)? {
            words.learn(&record);
            match record.entry {
                Entry::Requested(request) if request.session == session => {
                    let decided = words.statements.get(&request.statement);
                    let permits = decided.is_none_or(|decided| decided.decision.permits());
                    if request.via == Via::Parse && permits {
                        continue;
                    }
                    marks.push_back(Mark::of(&record, request));
                    if marks.len() > count {
                        marks.pop_front();
                    }
                }
                Entry::Outcome(outcome) => {
                    let of = marks.iter_mut().find(|mark| mark.seq == outcome.request);
                    if let Some(mark) = of {
                        mark.ending = Some(outcome.ending);
                    }
                }
                _ => {}
            }
        }
        Ok((marks.iter().rev())
            .filter_map(|mark| Self::put_together(&words, mark))
            .collect())
    }

    /// What a policy says of it, from what was recorded: who asked, with what, for which facts, at which time.
    #[must_use]
    pub fn explain(&self, pack: &Pack) -> Explanation {
        pack.explain(&Question {
            identity: self.session.identity.as_ref(),
            process: &Process::from(&self.session.evidence),
            target: &self.session.target,
            facts: &self.decided.facts,
            now: Duration::from_nanos(self.time_ns),
            stale: false,
        })
    }

    fn put_together(words: &Dictionary, mark: &Mark) -> Option<Self> {
        Some(Self {
            seq: mark.seq,
            time_ns: mark.time_ns,
            session: SessionOpened::clone(words.sessions.get(&mark.session)?),
            decided: StatementDecided::clone(words.statements.get(&mark.statement)?),
            ending: mark.ending,
        })
    }
}

/// A request, as far as its own record says.
struct Mark {
    seq: u64,
    time_ns: u64,
    session: u64,
    statement: u64,
    ending: Option<Ending>,
}

impl Mark {
    fn of(record: &Record, request: Requested) -> Self {
        Self {
            seq: record.seq,
            time_ns: record.time_ns,
            session: request.session,
            statement: request.statement,
            ending: None,
        }
    }
}

/// The last segment alone may have just begun.
const SEGMENTS: usize = 2;

/// The next record that this version knows.
fn next(reader: &mut Reader) -> Result<Option<Record>, ReadError> {
    loop {
        match reader.next() {
            Err(ReadError::Unknown { .. }) => {}
            read => return read,
        }
    }
}

#[cfg(test)]
mod tests {
    use weir_sql::{Kind, Use};

    use super::*;
    use crate::audit::{
        fixtures::{allowed, denied, facts, new_session, open, outcome},
        journal::FOLDER,
    };

    #[test]
    fn the_last_requests_of_a_session_are_its_own_and_the_latest_first() {
        let dir = tempfile::tempdir().expect("a folder");
        let journal = open(dir.path());
        let session = |who| journal.session(new_session(who, "/bin/a"));
        let bob = session("bob").expect("recorded");
        let eve = session("eve").expect("recorded");
        let read = facts(Kind::Select, &[("orders", Use::Read)]);
        let read = journal.statement(read, allowed(), "p1", Vec::new());
        let dropped = facts(Kind::Drop, &[("orders", Use::Define)]);
        let dropped = journal.statement(dropped, denied(), "p1", Vec::new());
        let ask = |session, statement, via| {
            journal
                .requested(session, statement, via, 0, 10)
                .expect("recorded")
        };
        for _ in 0..3 {
            ask(&bob, &read, Via::Simple);
        }
        let completed = ask(&bob, &read, Via::Simple);
        let done = outcome(completed, Ending::Completed, 1, 1);
        journal.outcome(&done).expect("recorded");
        ask(&bob, &read, Via::Parse);
        let refused = ask(&bob, &dropped, Via::Parse);
        let eves = ask(&eve, &read, Via::Simple);
        journal.sync().expect("on disk");
        let folder = dir.path().join(FOLDER);

        let last = Past::last_of_session(&folder, bob.id, 3).expect("read");
        let seqs: Vec<u64> = last.iter().map(|past| past.seq).collect();
        assert_eq!(
            seqs[..2],
            [refused, completed],
            "what was prepared only is no request"
        );
        assert_eq!(last.len(), 3);
        let endings: Vec<_> = last.iter().map(|past| past.ending).collect();
        assert_eq!(endings, [None, Some(Ending::Completed), None]);
        assert!(!last[0].decided.decision.permits());
        assert_eq!(
            Past::last_of_session(&folder, 999, 3).expect("read").len(),
            0
        );

        let of_eve = Past::of_record(&folder, eves).expect("read");
        let of_eve = of_eve.expect("a request");
        assert_eq!((of_eve.seq, of_eve.session.session), (eves, eve.id));
        let no_request = Past::of_record(&folder, 1).expect("read");
        assert!(no_request.is_none(), "the first record opens a session");
    }
}
