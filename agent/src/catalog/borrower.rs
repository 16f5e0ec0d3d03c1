//! One session of a database that sessions lend their connections for: when it looks, when it waits, when it goes on without.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use weir_wire::postgres::conversation::{Look, Looked, Moment};

use super::{Catalogs, database::Database, lending::Loan};

/// What a session does next.
pub enum Turn {
    /// What the client sent may be judged.
    Go,
    /// This is to be asked on the session's connection first.
    Look(Box<Look>),
}

/// A session's part in it.
#[derive(Debug)]
pub(super) struct Borrower {
    /// Among the database's lenders.
    id: u64,
    database: Arc<Database>,
    /// A check that is wanted at the next opportunity, but that nobody waits for in a transaction.
    wished: u64,
    /// The check that this session goes on without: nobody could make it while it waited.
    gave_up: u64,
    lent: Option<Loan>,
    /// When a look on this connection failed.
    failed: Option<Instant>,
    /// Looks in a row that came to nothing for a reason that may be gone.
    in_vain: u32,
    /// When it began to wait, or was told last that it has waited for long.
    waiting: Option<Instant>,
    /// It has told the database that its connection may be used.
    offers: bool,
}

/// Whether a session knows what its database holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sight {
    /// It goes by the database's snapshot.
    Current,
    /// It goes by nothing.
    Blind,
}

impl Borrower {
    pub(super) fn new(database: Arc<Database>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            wished: 0,
            gave_up: 0,
            lent: None,
            failed: None,
            in_vain: 0,
            waiting: None,
            offers: false,
            database,
        }
    }

    pub(super) fn wish(&mut self) {
        self.wished = self.database.ask();
    }

    /// Whether what it goes by may have been overtaken behind weir's back for longer than it may between requests.
    pub(super) fn is_stale(&self) -> bool {
        !self.database.lending().is_fresh()
    }

    /// Whether input may be judged at once that has just come.
    pub(super) fn may_go(&self, moment: Moment) -> bool {
        self.is_current()
            && (moment != Moment::Idle || (self.wished <= self.database.done() && !self.is_stale()))
    }

    fn is_current(&self) -> bool {
        self.database.done() >= self.database.required() && self.database.snapshot().is_some()
    }

    /// Nothing of the client waits: whoever needs a look may have it from here.
    pub(super) fn poll_lend(&mut self, moment: Moment, cx: &mut Context<'_>) -> Option<Look> {
        if moment != Moment::Idle || self.lent.is_some() || self.failed_lately() {
            return None;
        }
        let lending = self.database.lending();
        let done = self.database.done();
        self.offers = true;
        if !lending.is_demanded(done, self.id, cx) {
            return None;
        }
        if let Some(look) = self.begin() {
            return Some(look);
        }
        // Somebody else looks; should that come to nothing, it is this one's turn.
        self.database.wake_later(cx);
        self.begin()
    }

    /// Something of the client waits.
    pub(super) fn poll_sight(
        &mut self,
        moment: Moment,
        catalogs: &Catalogs,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Sight, Look>> {
        let decided = self.sight(moment, catalogs, cx);
        if decided.is_ready() {
            self.waiting = None;
        }
        decided
    }

    fn sight(
        &mut self,
        moment: Moment,
        catalogs: &Catalogs,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Sight, Look>> {
        if self.may_go(moment) {
            return Poll::Ready(Ok(Sight::Current));
        }
        match moment {
            Moment::Idle => {
                if self.failed_lately() || self.read_in_vain() {
                    return Poll::Ready(Ok(Sight::Blind));
                }
                if self.lent.is_none()
                    && let Some(look) = self.begin()
                {
                    return Poll::Ready(Err(look));
                }
                self.wait(moment, catalogs, cx)
            }
            // The server waits for this.
            Moment::Copying => Poll::Ready(Ok(Sight::Blind)),
            Moment::Owing | Moment::Open => {
                if self.gave_up >= self.database.required().max(1) {
                    return Poll::Ready(Ok(Sight::Blind));
                }
                self.wait(moment, catalogs, cx)
            }
        }
    }

    /// Until somebody has looked; where nobody can, not for long.
    fn wait(
        &mut self,
        moment: Moment,
        catalogs: &Catalogs,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Sight, Look>> {
        // First of all, or what happens in between would go unseen.
        self.database.wake_later(cx);
        let required = self.database.required();
        if self.may_go(moment) {
            return Poll::Ready(Ok(Sight::Current));
        }
        if moment != Moment::Idle {
            if required.max(self.wished) <= self.database.done() {
                self.wish();
            }
            self.database.lending().demand(required.max(self.wished));
        }
        if moment == Moment::Open && self.database.is_alone() {
            return self.give_up(required);
        }
        let now = Instant::now();
        let Some(since) = self.waiting else {
            self.waiting = Some(now);
            catalogs.wake_later(&self.database, PATIENCE);
            return Poll::Pending;
        };
        if now.duration_since(since) < PATIENCE {
            return Poll::Pending;
        }
        if moment == Moment::Open && !self.database.lending().is_under_way() {
            return self.give_up(required);
        }
        // The server's answer, or a look that takes long, is waited for; one that never ends is taken over.
        if moment == Moment::Idle
            && let Some(look) = self.begin()
        {
            return Poll::Ready(Err(look));
        }
        self.waiting = Some(now);
        catalogs.wake_later(&self.database, PATIENCE);
        Poll::Pending
    }

    fn give_up(&mut self, required: u64) -> Poll<Result<Sight, Look>> {
        self.gave_up = required.max(1);
        Poll::Ready(Ok(Sight::Blind))
    }

    fn begin(&mut self) -> Option<Look> {
        let loan = Loan::take(&self.database)?;
        let look = loan.look();
        self.lent = Some(loan);
        Some(look)
    }

    /// The look on this session's connection is over.
    pub(super) fn looked(&mut self, looked: Looked, catalogs: &Catalogs) {
        let Some(loan) = self.lent.take() else {
            return;
        };
        let passing = matches!(&looked.answers, Err(error) if error.is_passing());
        let answered = loan.answered(looked, catalogs);
        self.failed = None;
        match answered {
            Ok(()) => self.in_vain = 0,
            // A cancellation was meant for the client's own statement; and what is dropped meanwhile cannot be described.
            Err(_) if passing && self.in_vain < MAX_IN_VAIN => self.in_vain += 1,
            Err(problem) => {
                self.database.look_failed(problem);
                self.in_vain = 0;
                self.failed = Some(Instant::now());
            }
        }
    }

    /// As if so much time had passed.
    #[cfg(test)]
    pub(super) fn age(&mut self, by: Duration) {
        for at in [&mut self.failed, &mut self.waiting].into_iter().flatten() {
            *at = at.checked_sub(by).expect("the clock began long ago");
        }
    }

    fn failed_lately(&self) -> bool {
        self.failed.is_some_and(|at| at.elapsed() < RETRY)
    }

    /// Whether somebody has just looked and found nothing of use.
    fn read_in_vain(&self) -> bool {
        self.database.done() >= self.database.required().max(self.wished)
            && self.database.snapshot().is_none()
            && !self.is_stale()
    }
}

impl Drop for Borrower {
    fn drop(&mut self) {
        if self.offers {
            self.database.lending().withdraw(self.id);
        }
    }
}

/// In a transaction, others' connections are waited for this long.
const PATIENCE: Duration = Duration::from_secs(5);
/// After a look that failed, the next one is not before.
const RETRY: Duration = Duration::from_secs(1);
/// Looks that are repeated before the statement behind them is refused.
const MAX_IN_VAIN: u32 = 5;
