//! A database without a role of weir's own: its sessions lend their connections, one at a time, and all go by what was read.
//!
//! A look happens between two requests of the session that lends (see `weir_wire`'s `Look`), and only when a statement
//! waits for it: nothing is asked of a database where nobody needs it, so that idle sessions stay idle.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Waker},
    time::{Duration, Instant},
};

use tokio::time::sleep;
use weir_sql::catalog::{Builder, Catalog, CatalogError, FINGERPRINT, QUERIES};
use weir_wire::postgres::conversation::{Look, Looked, Rows};

use super::{
    Catalogs,
    database::{Database, Look as Found},
};
use crate::telemetry;

/// Who lends, and what was seen last.
#[derive(Debug, Default)]
pub(super) struct Lending {
    state: Mutex<State>,
    /// The check that somebody waits for who cannot look on a connection of its own just now.
    demanded: AtomicU64,
    looks: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    under_way: Option<UnderWay>,
    fingerprint: Option<String>,
    checked: Option<Checked>,
    /// Sessions between two requests, by their links' numbers.
    lenders: HashMap<u64, Waker>,
}

#[derive(Debug)]
struct UnderWay {
    look: u64,
    since: Instant,
}

/// The last look: when it began, and how long it took.
#[derive(Debug, Clone, Copy)]
struct Checked {
    at: Instant,
    took: Duration,
}

/// The right, and the duty, to look at a database on a session's own connection. Dropped without an answer, it is the next
/// one's.
#[derive(Debug)]
pub(crate) struct Loan {
    database: Arc<Database>,
    look: u64,
    /// The check that it makes.
    number: u64,
    /// What the database looked like when it was last read; without it, all is read.
    known: Option<String>,
    begun: Instant,
}

/// Why what a session's server answered cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum AnswerError {
    /// Not the rows that were asked for.
    #[error("the server answers {query} with something else")]
    Rows { query: &'static str },
    /// An answer makes no sense.
    #[error("cannot use what the server says of itself")]
    Catalog(#[from] CatalogError),
}

impl Lending {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nothing that happened behind weir's back can have been missed for long.
    pub(super) fn is_fresh(&self) -> bool {
        let checked = self.lock().checked;
        checked.is_some_and(|checked| {
            let fresh_for = (checked.took * LOOKS_MAY_TAKE_ONE_IN).clamp(FRESH, AT_MOST_FRESH);
            checked.at.elapsed() < fresh_for
        })
    }

    /// Whether somebody looks.
    pub(super) fn is_under_way(&self) -> bool {
        let state = self.lock();
        let under_way = state.under_way.as_ref();
        under_way.is_some_and(|under_way| under_way.since.elapsed() < OVERDUE)
    }

    /// Somebody waits for this check and cannot make it: who can is asked to.
    pub(super) fn demand(&self, number: u64) {
        if self.demanded.fetch_max(number, Ordering::AcqRel) >= number {
            return;
        }
        let lenders = std::mem::take(&mut self.lock().lenders);
        lenders.into_values().for_each(Waker::wake);
    }

    /// Whether a check later than `done` is demanded; if not, the caller is woken when one is.
    pub(super) fn is_demanded(&self, done: u64, lender: u64, cx: &mut Context<'_>) -> bool {
        let demanded = || self.demanded.load(Ordering::Acquire) > done;
        if demanded() {
            return true;
        }
        let mut state = self.lock();
        match state.lenders.get_mut(&lender) {
            Some(waker) => waker.clone_from(cx.waker()),
            None => {
                state.lenders.insert(lender, cx.waker().clone());
            }
        }
        // Under the lock: a demand is either seen here or wakes.
        demanded()
    }

    /// As if so much time had passed.
    #[cfg(test)]
    pub(super) fn age(&self, by: Duration) {
        let mut state = self.lock();
        let before = |at: Instant| at.checked_sub(by).expect("the clock began long ago");
        if let Some(under_way) = &mut state.under_way {
            under_way.since = before(under_way.since);
        }
        if let Some(checked) = &mut state.checked {
            checked.at = before(checked.at);
        }
    }

    /// Whoever looks, looks no more.
    #[cfg(test)]
    pub(super) fn abandon(&self) {
        self.lock().under_way = None;
    }

    /// The session ends, or does something else.
    pub(super) fn withdraw(&self, lender: u64) {
        self.lock().lenders.remove(&lender);
    }
}

impl Loan {
    /// The right to look, unless somebody else has it.
    pub(super) fn take(database: &Arc<Database>) -> Option<Self> {
        let lending = database.lending();
        let mut state = lending.lock();
        let taken = state.under_way.as_ref();
        // A connection may have died without a word; what it answers late is not taken any more.
        if taken.is_some_and(|under_way| under_way.since.elapsed() < OVERDUE) {
            return None;
        }
        let look = lending.looks.fetch_add(1, Ordering::Relaxed) + 1;
        let begun = Instant::now();
        state.under_way = Some(UnderWay { look, since: begun });
        let known = database.snapshot().and_then(|_| state.fingerprint.clone());
        Some(Self {
            database: Arc::clone(database),
            look,
            number: database.asked(),
            known,
            begun,
        })
    }

    /// What is to be asked.
    pub(super) fn look(&self) -> Look {
        let all = QUERIES.iter().map(|(_, query)| *query);
        let rest = all.take(if self.known.is_some() { 0 } else { usize::MAX });
        let statements = [BEGIN, SETTINGS, FINGERPRINT].into_iter().chain(rest);
        Look::new(&name(self.look), statements)
    }

    /// Takes the answers. A session that only had to see whether anything has changed may have to look again, for what.
    pub(super) fn answered(self, looked: Looked, catalogs: &Catalogs) -> Result<(), String> {
        let answers = match looked.answers {
            Ok(answers) => answers,
            Err(error) => return Err(telemetry::chain(&error)),
        };
        if self.known.is_none() {
            // Taking in a large catalog takes time that a worker's other sessions do not have.
            catalogs.take_in(self, answers);
            return Ok(());
        }
        match fingerprint(&answers) {
            Ok(found) if Some(&found) == self.known.as_ref() => {
                self.settle(Some(found), Ok(Found::Same));
            }
            Ok(_) => self.database.lending().lock().fingerprint = None,
            Err(error) => self.settle(None, Err(telemetry::chain(&error))),
        }
        Ok(())
    }

    /// Makes a catalog of the answers and gives it to everybody.
    pub(super) fn take_in(self, answers: &[Rows]) {
        let read = fingerprint(answers).and_then(|found| Ok((found, catalog(answers)?)));
        match read {
            Ok((found, catalog)) => {
                self.settle(Some(found), Ok(Found::Changed(Box::new(catalog))));
            }
            Err(error) => self.settle(None, Err(telemetry::chain(&error))),
        }
    }

    pub(super) fn settle(self, fingerprint: Option<String>, found: Result<Found, String>) {
        let mut state = self.database.lending().lock();
        if !self.is_mine(&state) {
            return;
        }
        state.under_way = None;
        state.fingerprint = fingerprint;
        state.checked = Some(Checked {
            at: self.begun,
            took: self.begun.elapsed(),
        });
        drop(state);
        self.database.publish(self.number, found);
    }

    fn is_mine(&self, state: &State) -> bool {
        let under_way = state.under_way.as_ref();
        under_way.is_some_and(|under_way| under_way.look == self.look)
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        let mut state = self.database.lending().lock();
        if !self.is_mine(&state) {
            return;
        }
        state.under_way = None;
        let lenders = std::mem::take(&mut state.lenders);
        drop(state);
        self.database.wake();
        lenders.into_values().for_each(Waker::wake);
    }
}

/// Forgets a database without sessions after a while.
pub(super) async fn keep(database: Arc<Database>, catalogs: Weak<Catalogs>) {
    let mut idle = false;
    loop {
        sleep(KEPT).await;
        let needed = database.is_needed();
        if !needed && std::mem::replace(&mut idle, true) {
            let catalogs = catalogs.upgrade();
            if catalogs.is_none_or(|catalogs| catalogs.forget(&database)) {
                return;
            }
        }
        idle = !needed;
    }
}

fn fingerprint(answers: &[Rows]) -> Result<String, AnswerError> {
    let wrong = || AnswerError::Rows {
        query: "its fingerprint",
    };
    let row = answers
        .get(FINGERPRINT_AT)
        .and_then(|rows| rows.iter().next());
    let cell = row.flatten().and_then(|row| row.first().copied().flatten());
    let text = cell.and_then(|cell| std::str::from_utf8(cell).ok());
    text.map(str::to_owned).ok_or_else(wrong)
}

fn catalog(answers: &[Rows]) -> Result<Catalog, AnswerError> {
    let mut builder = Builder::new();
    for (index, (query, _)) in QUERIES.iter().enumerate() {
        let wrong = || AnswerError::Rows { query };
        let rows = answers.get(FINGERPRINT_AT + 1 + index).ok_or_else(wrong)?;
        for row in rows.iter() {
            let row = row.ok_or_else(wrong)?;
            let cells: Option<Vec<Option<&str>>> = row
                .into_iter()
                .map(|cell| cell.map(std::str::from_utf8).transpose().ok())
                .collect();
            builder.row(query, &cells.ok_or_else(wrong)?)?;
        }
    }
    Ok(builder.finish())
}

/// For the prepared statement and the portal of one look: random, as no client may have one of that name.
fn name(look: u64) -> String {
    use std::hash::{BuildHasher, RandomState};
    format!("weir_{:016x}_{look}", RandomState::new().hash_one(look))
}

/// Whatever the session's own settings are.
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY, NOT DEFERRABLE";
/// Names come with their schemas, answers in UTF-8; a lock that somebody holds is not waited for long, and no limit of the
/// session's own ends it. All of it lasts for the transaction.
const SETTINGS: &str = "SELECT pg_catalog.set_config('search_path', '', true), \
    pg_catalog.set_config('client_encoding', 'UTF8', true), \
    pg_catalog.set_config('statement_timeout', '20s', true), \
    pg_catalog.set_config('lock_timeout', '3s', true), \
    pg_catalog.set_config('idle_in_transaction_session_timeout', '0', true), \
    pg_catalog.set_config('quote_all_identifiers', 'off', true), \
    pg_catalog.set_config('client_min_messages', 'warning', true), \
    CASE WHEN pg_catalog.current_setting('transaction_timeout', true) IS NOT NULL \
    THEN pg_catalog.set_config('transaction_timeout', '0', true) END";
/// Among the answers.
const FINGERPRINT_AT: usize = 2;

/// A change made behind weir's back stays unseen for as long at most, between requests.
const FRESH: Duration = Duration::from_secs(1);
/// A database whose looks take long is looked at less often, so that they do not take up its sessions' time.
const LOOKS_MAY_TAKE_ONE_IN: u32 = 5;
const AT_MOST_FRESH: Duration = Duration::from_secs(5);
/// A look ends itself well before.
const OVERDUE: Duration = Duration::from_mins(1);
/// A database whose last session has ended stays known for about as long.
const KEPT: Duration = Duration::from_mins(1);
