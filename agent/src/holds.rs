//! Statements that wait for an approval: who asks for what, who may decide, and what came of it.
//!
//! A session's judge [asks](Holds::ask) and keeps the [`Ticket`]; approvers [`decide`](Holds::decide). What was approved is
//! decided anew before it goes on: rules, catalog, modes, text and values must still be the same. Every step is recorded
//! before it takes effect.

mod approver;
mod deciding;
mod error;
pub mod estimate;
mod grants;
mod held;
mod note;
mod ticket;
mod values;
mod view;

use std::{
    collections::BTreeMap,
    fmt, io,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use aws_lc_rs::constant_time;
use tokio::sync::oneshot;
use weir_policy::{Approval, Identity};

use crate::{
    audit::{
        self, Journal, JournalError,
        record::{Bound, Event, Settled},
    },
    clock,
    latency::{BY_PEOPLE, Counted, Histogram},
};

pub use approver::Approver;
pub use deciding::{Choices, Decided, Decision, check_reason};
pub use error::DecideError;
pub use grants::{Grant, Repeated};
pub use note::{Note, Tell, What};
pub use ticket::{Clearance, Outcome, Reading, Ticket};
pub use view::{Demand, Estimate, Exact, Summary, View};

use grants::Grants;
use held::Held;

/// Everything that waits on this host.
pub struct Holds {
    journal: Arc<Journal>,
    tell: Tell,
    state: Mutex<State>,
    waits: Histogram,
}

#[derive(Debug)]
struct State {
    held: BTreeMap<u64, Held>,
    grants: Grants,
    stopping: bool,
}

/// A statement that is to wait.
#[derive(Clone)]
pub struct Ask {
    /// The session, as recorded.
    pub session: Arc<audit::Session>,
    /// Who asks. Nobody unidentified is let wait.
    pub requester: Identity,
    /// What was decided.
    pub statement: Arc<audit::Statement>,
    /// The exact text.
    pub text: Box<[u8]>,
    /// The `Bind` message behind its names; empty where nothing is bound.
    pub values: Box<[u8]>,
    /// What the rules want.
    pub approvals: Vec<Approval>,
    /// Whether it waits inside a transaction.
    pub in_transaction: bool,
    /// Whether the server gets another text.
    pub rewritten: bool,
    /// The server and the key that a cancellation of the session names.
    pub cancels: Option<(SocketAddr, Box<[u8]>)>,
    /// All that the approval holds for, hashed.
    pub bound: Bound,
    /// What a lasting approval would be for; `None` where the text does not say all that it does.
    pub repeated: Option<Repeated>,
}

/// How a wait ended, for the record.
#[derive(Debug, Clone)]
struct Ended {
    how: Settled,
    /// What ran, if something did.
    ran: Option<Ran>,
}

/// What an approval let run.
#[derive(Debug, Clone)]
struct Ran {
    /// Its record.
    request: u64,
    /// As [`Bound::to`].
    hash: String,
}

/// Why a statement cannot wait.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Too many wait.
    #[error("{MAX_HELD} statements wait for approvals already")]
    Full,
    /// Too many of one requester wait.
    #[error("{MAX_OF_ONE} of your statements wait for approvals already")]
    FullForOne,
    /// The agent ends.
    #[error("the agent is being stopped")]
    Stopping,
    /// It cannot be recorded.
    #[error("the request for approval cannot be recorded")]
    Record(#[from] JournalError),
}

impl Holds {
    /// Opens them; `tell` hears what happens, after it is recorded.
    ///
    /// # Errors
    ///
    /// When the lasting approvals cannot be read.
    pub fn open(state_dir: &Path, journal: Arc<Journal>, tell: Tell) -> io::Result<Arc<Self>> {
        let state = State {
            held: BTreeMap::new(),
            grants: Grants::open(state_dir)?,
            stopping: false,
        };
        Ok(Arc::new(Self {
            journal,
            tell,
            state: Mutex::new(state),
            waits: Histogram::new(BY_PEOPLE),
        }))
    }

    /// Lets a statement wait. It is recorded when this returns.
    ///
    /// # Errors
    ///
    /// [`AskError`]; then it is to be refused.
    pub fn ask(self: &Arc<Self>, ask: Ask) -> Result<Ticket, AskError> {
        let mut state = self.lock();
        if state.stopping {
            return Err(AskError::Stopping);
        }
        if state.held.len() >= MAX_HELD {
            return Err(AskError::Full);
        }
        let of_one = |held: &&Held| approver::same(&held.ask.requester, &ask.requester);
        if state.held.values().filter(of_one).count() >= MAX_OF_ONE {
            return Err(AskError::FullForOne);
        }
        let id = self.journal.new_id();
        let since_ns = clock::now_ns();
        let ttl_s = ask.approvals.iter().map(|it| it.ttl_s).min().unwrap_or(0);
        let expires_ns = since_ns.saturating_add(ttl_s.saturating_mul(NANOS));
        let (waiting, receiver) = oneshot::channel();
        let held = Held {
            ask,
            since_ns,
            expires_ns,
            given: Vec::new(),
            estimate: None,
            waiting: Some(waiting),
        };
        self.journal
            .event_of(&held.ask.session, &held.requested(id))?;
        self.tell(&held, id, What::Requested);
        state.held.insert(id, held);
        drop(state);
        Ok(Ticket::new(Arc::clone(self), id, receiver))
    }

    /// A lasting approval for the same as this, where there is one; `modes` are those that the text was read in.
    #[must_use]
    pub fn granted(self: &Arc<Self>, repeated: &Repeated, reading: Reading) -> Option<Clearance> {
        let state = self.lock();
        let grant = state.grants.find(repeated, clock::now_ns())?;
        Some(Clearance::lasting(
            Arc::clone(self),
            grant.approval,
            reading,
        ))
    }

    /// Whether an approval that lasts is still in force.
    fn stands(&self, approval: u64) -> bool {
        let grants = self.lock().grants.list(clock::now_ns());
        grants.iter().any(|grant| grant.approval == approval)
    }

    /// What waits, the oldest first; `viewer` is for whom it is shown, where not for whoever runs this host: what they ask for,
    /// or may decide about.
    #[must_use]
    pub fn list(&self, viewer: Option<&Identity>) -> Vec<Summary> {
        let state = self.lock();
        let shown = state
            .held
            .iter()
            .filter(|(_, held)| held.is_waiting() && held.is_for(viewer));
        shown.map(|(id, held)| held.summary(*id)).collect()
    }

    /// How many wait.
    #[must_use]
    pub fn count(&self) -> usize {
        let state = self.lock();
        state.held.values().filter(|held| held.is_waiting()).count()
    }

    /// How long statements waited, however that ended.
    #[must_use]
    pub fn waits(&self) -> Counted {
        self.waits.counted()
    }

    /// All about one that waits, if [`Self::list`] shows it.
    #[must_use]
    pub fn show(&self, id: u64, viewer: Option<&Identity>) -> Option<View> {
        let state = self.lock();
        let held = state.waiting(id).ok()?;
        held.is_for(viewer).then(|| held.view(id))
    }

    /// The exact text and values, for who may decide. That they were shown is recorded first.
    ///
    /// # Errors
    ///
    /// [`DecideError`] for everybody else.
    pub fn exact(&self, id: u64, approver: &Approver) -> Result<Exact, DecideError> {
        let state = self.lock();
        let held = state.waiting(id)?;
        held.may_see(approver)?;
        self.journal.event(&Event::ApprovalShown {
            approval: id,
            approver: approver.identity.clone(),
        })?;
        // Nobody has seen them of whom that could be lost.
        self.journal.sync()?;
        Ok(values::exact(&held.ask))
    }

    /// The lasting approvals in force.
    #[must_use]
    pub fn grants(&self) -> Vec<Grant> {
        self.lock().grants.list(clock::now_ns())
    }

    /// What the server expects of a statement that waits.
    pub fn estimated(&self, id: u64, estimate: Estimate) {
        if let Some(held) = self.lock().held.get_mut(&id) {
            held.estimate = Some(estimate);
        }
    }

    /// A client takes back what waits on the session that this key names; whether something did.
    #[must_use]
    pub fn cancel(&self, server: SocketAddr, key: &[u8]) -> bool {
        self.end_where(&Outcome::Cancelled, |held| {
            held.ask.cancels.as_ref().is_some_and(|(address, own)| {
                *address == server && constant_time::verify_slices_are_equal(own, key).is_ok()
            })
        })
    }

    /// A cancellation that names this server and key takes back what waits.
    pub fn cancellable(&self, id: u64, server: SocketAddr, key: &[u8]) {
        if let Some(held) = self.lock().held.get_mut(&id) {
            held.ask.cancels = Some((server, key.into()));
        }
    }

    /// Ends the waits whose time is over; to be called often.
    pub fn expire(&self) {
        let now_ns = clock::now_ns();
        let _ = self.end_where(&Outcome::TimedOut, |held| held.expires_ns <= now_ns);
    }

    /// Other rules are in force: whatever waits is decided anew.
    pub fn recheck(&self) {
        self.end_where(&Outcome::Recheck, |_| true);
    }

    /// The agent ends: nothing waits any more.
    pub fn stop(&self) {
        self.lock().stopping = true;
        self.end_where(&Outcome::Stopped, |_| true);
    }

    fn end_where(&self, outcome: &Outcome, ends: impl Fn(&Held) -> bool) -> bool {
        let mut state = self.lock();
        let ending = state
            .held
            .values_mut()
            .filter(|held| held.is_waiting() && ends(held));
        ending.map(|held| held.end(outcome.clone())).count() > 0
    }

    /// What a [`Clearance`] stands for from now on.
    fn forget(&self, id: u64) {
        drop(self.remove(id));
    }

    /// It waits no longer.
    fn remove(&self, id: u64) -> Option<Held> {
        let held = self.lock().held.remove(&id)?;
        let waited = clock::now_ns().saturating_sub(held.since_ns);
        self.waits.count(Duration::from_nanos(waited));
        Some(held)
    }

    fn end(&self, id: u64, ended: Ended) {
        let held = self.remove(id);
        let Ended { how, ran } = ended;
        let event = Event::ApprovalEnded {
            approval: id,
            how,
            request: ran.as_ref().map(|ran| ran.request),
            ran: ran.map(|ran| ran.hash),
        };
        if let Err(error) = self.journal.event(&event) {
            tracing::error!(%error, approval = id, "cannot record the end of a wait");
        }
        // Who refused has been told already.
        if let Some(held) = held
            && how != Settled::Denied
        {
            self.tell(&held, id, What::Ended { how });
        }
    }

    /// A lasting approval served again.
    fn used(&self, approval: u64, ran: Ran) {
        let event = Event::ApprovalUsed {
            approval,
            request: ran.request,
            ran: Some(ran.hash),
        };
        if let Err(error) = self.journal.event(&event) {
            tracing::error!(%error, approval, "cannot record the use of an approval");
        }
    }

    fn tell(&self, held: &Held, id: u64, what: What) {
        let summary = held.summary(id);
        (self.tell)(Note { summary, what });
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What waits is not for logs.
impl fmt::Debug for Holds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Holds").finish_non_exhaustive()
    }
}

/// Text and values are not for logs.
impl fmt::Debug for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ask")
            .field("session", &self.session.id)
            .field("statement", &self.statement.id)
            .finish_non_exhaustive()
    }
}

impl State {
    fn waiting(&self, id: u64) -> Result<&Held, DecideError> {
        let held = self.held.get(&id).filter(|held| held.is_waiting());
        held.ok_or(DecideError::Gone { id })
    }
}

const NANOS: u64 = 1_000_000_000;
/// Each keeps its statement in memory.
const MAX_HELD: usize = 1_000;
const MAX_OF_ONE: usize = 50;

#[cfg(test)]
mod tests;
