//! The waiting end: what a session's judge holds for as long as its statement waits.

use std::{
    future::Future as _,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use tokio::sync::oneshot;
use weir_sql::SessionModes;

use super::{Ended, Holds, Ran};
use crate::audit::record::Settled;

/// How a wait came to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Who had to agree has agreed; what lasts holds for the next of its kind too.
    Approved {
        /// Who, for people to read.
        by: String,
    },
    /// Somebody refused it.
    Denied {
        /// Who, for people to read.
        by: String,
        /// Why.
        reason: String,
    },
    /// Nobody decided in time.
    TimedOut,
    /// The client took it back.
    Cancelled,
    /// Rules have changed: it is to be decided anew.
    Recheck,
    /// The agent ends.
    Stopped,
}

/// A statement's place among those that wait. Dropped, the wait ends as if the client had gone.
#[derive(Debug)]
pub struct Ticket {
    holds: Arc<Holds>,
    id: u64,
    receiver: oneshot::Receiver<Outcome>,
    outcome: Option<Outcome>,
    settled: bool,
}

impl Ticket {
    pub(super) fn new(holds: Arc<Holds>, id: u64, receiver: oneshot::Receiver<Outcome>) -> Self {
        Self {
            holds,
            id,
            receiver,
            outcome: None,
            settled: false,
        }
    }

    /// The approval's number.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Ready when the wait is over; [`Self::outcome`] says how.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.outcome.is_none() {
            let received = ready!(Pin::new(&mut self.receiver).poll(cx));
            // The other end is only dropped with everything else.
            self.outcome = Some(received.unwrap_or(Outcome::Stopped));
        }
        Poll::Ready(())
    }

    /// How the wait ended, once it has.
    #[must_use]
    pub fn outcome(&self) -> Option<&Outcome> {
        self.outcome.as_ref()
    }

    /// Says what came of it, in the record, where nothing ran.
    pub fn settle(mut self, how: Settled) {
        self.end(how);
    }

    /// The statement goes on: what it was approved as is kept until it has run, or is never going to.
    #[must_use]
    pub fn into_clearance(mut self, reading: Reading) -> Clearance {
        self.settled = true;
        self.holds.forget(self.id);
        Clearance {
            holds: Arc::clone(&self.holds),
            approval: self.id,
            lasting: false,
            reading,
            used: AtomicBool::new(false),
        }
    }

    fn end(&mut self, how: Settled) {
        if !std::mem::replace(&mut self.settled, true) {
            self.holds.end(self.id, Ended { how, ran: None });
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let how = match self.outcome {
            None | Some(Outcome::Approved { .. }) => Settled::Disconnected,
            Some(Outcome::Denied { .. }) => Settled::Denied,
            Some(Outcome::TimedOut) => Settled::TimedOut,
            Some(Outcome::Cancelled) => Settled::Cancelled,
            Some(Outcome::Recheck) => Settled::Changed,
            Some(Outcome::Stopped) => Settled::AgentStopped,
        };
        self.end(how);
    }
}

/// How a text was read when it was let through.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reading {
    /// Its strings.
    pub modes: SessionModes,
    /// Its names: how often the session had changed what they mean.
    pub turn: u64,
}

/// An approval that a statement carries to the server.
#[derive(Debug)]
pub struct Clearance {
    holds: Arc<Holds>,
    approval: u64,
    /// It was given before, for some time.
    lasting: bool,
    /// A portal may run when the session reads otherwise.
    reading: Reading,
    used: AtomicBool,
}

impl Clearance {
    pub(super) fn lasting(holds: Arc<Holds>, approval: u64, reading: Reading) -> Self {
        Self {
            holds,
            approval,
            lasting: true,
            reading,
            used: AtomicBool::new(false),
        }
    }

    /// The approval's number.
    #[must_use]
    pub fn approval(&self) -> u64 {
        self.approval
    }

    /// How the text was read when it was let through.
    #[must_use]
    pub fn reading(&self) -> Reading {
        self.reading
    }

    /// Whether what carries it has begun to run.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.used.load(Ordering::Acquire)
    }

    /// Whether what carries it may begin: one that lasts may have been taken back, or be over, since.
    #[must_use]
    pub fn stands(&self) -> bool {
        !self.lasting || self.holds.stands(self.approval)
    }

    /// The statement runs as this request; said in the record once. `hash` is of what runs, as [`Bound::to`] is of what was
    /// asked for.
    ///
    /// [`Bound::to`]: crate::audit::record::Bound::to
    pub fn used(&self, request: u64, hash: String) {
        if self.used.swap(true, Ordering::AcqRel) {
            return;
        }
        let ran = Ran { request, hash };
        if self.lasting {
            self.holds.used(self.approval, ran);
        } else {
            let how = Settled::Ran;
            self.holds.end(
                self.approval,
                Ended {
                    how,
                    ran: Some(ran),
                },
            );
        }
    }
}

impl Drop for Clearance {
    fn drop(&mut self) {
        if !*self.used.get_mut() && !self.lasting {
            self.holds.end(
                self.approval,
                Ended {
                    how: Settled::NotRun,
                    ran: None,
                },
            );
        }
    }
}
