//! What is said again before the segments that said it are removed: what was in force then, and what later records name.
//!
//! An auditor who reads only what is left has to find which agent and policy were in force where it begins, what the
//! kernel had counted until there, what sessions that go on rest on, and the whole of every approval that is still used.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::Path,
};

use super::{
    KeepError,
    known::{Known, Mentions},
};

use crate::audit::{
    Journal, JournalError, Session,
    chain::seal::Seal,
    journal::reader::{Position, ReadError, Reader},
    record::{Entry, Event, SessionOpened},
};

/// Events of removed segments that are to be said again.
#[derive(Debug, Default)]
pub(super) struct Carried {
    /// By kind: the last agent's start, policy and count of the kernel.
    standing: BTreeMap<&'static str, Said>,
    /// What open sessions went on with, by session.
    renewed: BTreeMap<u64, (SessionOpened, Said)>,
    approvals: BTreeMap<u64, Approval>,
    /// How sessions ended that segments name which are left, by session.
    closed: BTreeMap<u64, (SessionOpened, Said)>,
    /// How the other ones ended.
    over: HashMap<u64, Said>,
    /// Sessions as the segment that is read states them.
    sessions: HashMap<u64, Box<SessionOpened>>,
}

/// An event, and where it was said first.
#[derive(Debug)]
struct Said {
    seq: u64,
    time_ns: u64,
    event: Event,
}

/// All that was said of one approval.
#[derive(Debug, Default)]
struct Approval {
    said: BTreeMap<u64, Said>,
    session: Option<SessionOpened>,
    /// Until when something may come of it, nanoseconds since the epoch.
    until_ns: u64,
}

impl Carried {
    /// Reads the segments from `first` to the one that `last` seals. What cannot be read there is lost already: it is
    /// passed over. The index knows the segments behind them.
    ///
    /// # Errors
    ///
    /// The operating system refuses, or the index.
    pub(super) fn read(
        dir: &Path,
        first: u64,
        last: &Seal,
        known: &Known,
    ) -> Result<Self, KeepError> {
        let mut carried = Self::default();
        for segment in first..=last.segment {
            let at = Position {
                segment,
                offset: 0,
                seq: 0,
            };
            carried.sessions.clear();
            carried.read_segment(&mut Reader::new(dir, at), last, known)?;
        }
        carried.sessions.clear();
        carried.forget_what_is_over(last, known)?;
        Ok(carried)
    }

    fn read_segment(
        &mut self,
        reader: &mut Reader,
        last: &Seal,
        known: &Known,
    ) -> Result<(), KeepError> {
        let segment = reader.position().segment;
        loop {
            match reader.next() {
                Ok(Some(record))
                    if record.seq <= last.last_seq && reader.position().segment == segment =>
                {
                    match record.entry {
                        Entry::SessionOpened(opened) => {
                            self.sessions.insert(opened.session, opened);
                        }
                        Entry::Event(event) => {
                            if let Some((session, said)) =
                                self.learn(record.seq, record.time_ns, *event)
                            {
                                let mentions = known.session(session)?;
                                self.close(session, said, mentions, last.segment);
                            }
                        }
                        _ => {}
                    }
                }
                Err(error @ ReadError::Io { .. }) => return Err(error.into()),
                Err(ReadError::Unknown { .. }) if reader.position().segment == segment => {}
                _ => return Ok(()),
            }
        }
    }

    /// Takes in what an event says; gives back the end of a session.
    fn learn(&mut self, seq: u64, time_ns: u64, event: Event) -> Option<(u64, Said)> {
        match event {
            Event::Repeated { seq, time_ns, said } => return self.learn(seq, time_ns, *said),
            Event::AgentStarted { .. } => self.stand("agent", seq, time_ns, event),
            Event::PolicyLoaded { .. } => self.stand("policy", seq, time_ns, event),
            Event::KernelCounted { .. } => self.stand("kernel", seq, time_ns, event),
            Event::SessionRenewed { session, .. } => {
                let newer = (self.renewed.get(&session)).is_none_or(|(_, said)| said.seq < seq);
                if let Some(opened) = self.sessions.get(&session)
                    && newer
                {
                    let said = Said {
                        seq,
                        time_ns,
                        event,
                    };
                    let opened = SessionOpened::clone(opened);
                    self.renewed.insert(session, (opened, said));
                }
            }
            Event::SessionClosed { session, .. } => {
                let said = Said {
                    seq,
                    time_ns,
                    event,
                };
                return Some((session, said));
            }
            _ => self.learn_of_approval(seq, time_ns, event),
        }
        None
    }

    /// A session ended. Where a segment behind `last` names it, that is said there too, or has to be.
    fn close(&mut self, session: u64, said: Said, mentions: Mentions, last: u64) {
        if mentions.closed.is_some_and(|segment| segment > last) {
            return;
        }
        match self.sessions.get(&session) {
            Some(opened) if mentions.opened > last => {
                let opened = SessionOpened::clone(opened);
                self.closed.insert(session, (opened, said));
            }
            _ => {
                self.over.insert(session, said);
            }
        }
    }

    /// What a session went on with matters no more once all that it did is removed. Its end may be in a segment that was
    /// removed before, and said again since: what is said again is not in the order in which it happened.
    fn forget_what_is_over(&mut self, last: &Seal, known: &Known) -> Result<(), KeepError> {
        let mut over = HashSet::new();
        for session in self.renewed.keys() {
            let closed = known.session(*session)?.closed_seq;
            if closed.is_some_and(|seq| seq <= last.last_seq) {
                over.insert(*session);
            }
        }
        self.renewed.retain(|session, _| !over.contains(session));
        if self.approvals.is_empty() {
            return Ok(());
        }
        // Of an approval a part may be in segments that are left: all of it holds for as long as any of it says.
        let until = known.approvals()?;
        for (id, approval) in &mut self.approvals {
            let known = until.get(id).copied().unwrap_or(0);
            approval.until_ns = approval.until_ns.max(known);
        }
        Ok(())
    }

    fn stand(&mut self, what: &'static str, seq: u64, time_ns: u64, event: Event) {
        if (self.standing.get(what)).is_none_or(|said| said.seq < seq) {
            let said = Said {
                seq,
                time_ns,
                event,
            };
            self.standing.insert(what, said);
        }
    }

    fn learn_of_approval(&mut self, seq: u64, time_ns: u64, event: Event) {
        let (Event::ApprovalRequested { approval, .. }
        | Event::ApprovalDecided { approval, .. }
        | Event::ApprovalEnded { approval, .. }
        | Event::ApprovalRevoked { approval, .. }) = &event
        else {
            return;
        };
        let known = self.approvals.entry(*approval).or_default();
        match &event {
            Event::ApprovalRequested {
                session,
                expires_ns,
                ..
            } => {
                known.session = self
                    .sessions
                    .get(session)
                    .map(|it| SessionOpened::clone(it));
                // What was approved in time may be sent a little later.
                known.until_ns = known.until_ns.max(expires_ns.saturating_add(HOUR_NS));
            }
            Event::ApprovalDecided { until_ns, .. } => {
                known.until_ns = known.until_ns.max(until_ns.unwrap_or(0));
            }
            _ => {}
        }
        let said = Said {
            seq,
            time_ns,
            event,
        };
        known.said.insert(seq, said);
    }

    /// Says it again; of approvals those of which something may have come after `kept_from_ns`.
    ///
    /// # Errors
    ///
    /// It cannot be recorded; then nothing may be removed.
    pub(super) fn write(
        mut self,
        journal: &Journal,
        kept_from_ns: u64,
    ) -> Result<(), JournalError> {
        for said in self.standing.into_values() {
            journal.event(&said.again())?;
        }
        for (opened, said) in self.closed.into_values().chain(self.renewed.into_values()) {
            journal.event_of(&Session::repeated(opened), &said.again())?;
        }
        let approvals = self.approvals.into_values();
        for approval in approvals.filter(|approval| approval.until_ns >= kept_from_ns) {
            let session = approval.session.map(Session::repeated);
            // Who reads that it was opened has to read that it was closed.
            if let Some(session) = &session
                && let Some(closed) = self.over.remove(&session.id)
            {
                journal.event_of(session, &closed.again())?;
            }
            for said in approval.said.into_values() {
                match &session {
                    Some(session) => journal.event_of(session, &said.again())?,
                    None => journal.event(&said.again())?,
                };
            }
        }
        Ok(())
    }
}

impl Said {
    fn again(self) -> Event {
        Event::Repeated {
            seq: self.seq,
            time_ns: self.time_ns,
            said: Box::new(self.event),
        }
    }
}

/// Nanoseconds.
pub(super) const HOUR_NS: u64 = 3_600_000_000_000;
