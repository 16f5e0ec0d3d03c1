//! Live sessions: who, where to, since when, how to end one; and counts over all of them.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    task::Waker,
    time::Duration,
};

use serde::Serialize;
use weir_policy::Identity;

use crate::{
    audit::{self, Journal, JournalError, record::Event},
    identity::{Bound, Evidence, State},
};

/// All live sessions.
#[derive(Debug, Default)]
pub struct Sessions {
    live: Mutex<HashMap<u64, Arc<Live>>>,
    counts: Counts,
}

#[derive(Debug, Default)]
struct Counts {
    opened: AtomicU64,
    refused: AtomicU64,
    unattributed: AtomicU64,
    requests: AtomicU64,
    denied: AtomicU64,
    masked: AtomicU64,
}

/// One live session.
#[derive(Debug)]
pub struct Live {
    /// What was recorded of it when it began.
    pub session: Arc<audit::Session>,
    /// What is recorded since another process goes on with it.
    continued: Mutex<Option<Arc<audit::Session>>>,
    /// The binding it rests on.
    pub bound: Option<Arc<Bound>>,
    /// The client's end of its connection.
    pub client: SocketAddr,
    requests: AtomicU64,
    denied: AtomicU64,
    masked: AtomicU64,
    ended: AtomicU8,
    waker: Mutex<Option<Waker>>,
}

/// Why a session is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The agent stops.
    Stopped = 1,
    /// Its log-in has expired, and was not renewed in time: what runs finishes.
    Lapsed = 2,
    /// Its log-in was ended: at once.
    Revoked = 3,
    /// An administrator said so: at once.
    Killed = 4,
}

/// An administrator's order to end a session.
#[derive(Debug, Clone)]
pub struct EndOrder {
    /// The record's id.
    pub session: u64,
    /// Who orders it, as the provider vouches for it; `None` is root without a log-in.
    pub administrator: Option<Identity>,
    /// The process that asks, where the control socket was asked.
    pub evidence: Option<Evidence>,
    /// Why; may be empty.
    pub reason: String,
}

/// Why an administrator's order was not carried out as it should be.
#[derive(Debug, thiserror::Error)]
pub enum EndError {
    /// Nothing was ended.
    #[error("no session {session} is open")]
    NoSession {
        /// The record's id.
        session: u64,
    },
    /// The session ends all the same: rather unrecorded than running on.
    #[error("session {session} was ended, and this could not be recorded")]
    Unrecorded {
        /// The record's id.
        session: u64,
        /// Why.
        #[source]
        source: JournalError,
    },
}

/// One live session, for people and scripts to read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// The record's id.
    pub session: u64,
    /// Who, and through whom.
    pub identity: String,
    /// Whether the provider says so.
    pub identified: bool,
    /// The process.
    pub process: String,
    /// The process id.
    pub pid: u32,
    /// The client's end of its connection; `weir whois` takes it.
    pub client: String,
    /// Where to.
    pub destination: String,
    /// Which database, as which user.
    pub database: String,
    /// Requests so far.
    pub requests: u64,
    /// Refused ones among them.
    pub denied: u64,
    /// Those whose answer showed less than the data: masked, filtered.
    pub masked: u64,
}

/// Counts since the agent's start.
#[derive(Debug, Serialize)]
pub struct Totals {
    /// Sessions that are open now.
    pub live: usize,
    /// Sessions that were opened.
    pub opened: u64,
    /// Connections that were refused before a session began.
    pub refused: u64,
    /// Connections to the listener that no governed `connect` stands behind.
    pub unattributed: u64,
    /// Requests of all sessions.
    pub requests: u64,
    /// Refused ones among them.
    pub denied: u64,
    /// Those whose answer showed less than the data: masked, filtered.
    pub masked: u64,
}

impl Sessions {
    /// Registers a session; dropping the registration takes it off again.
    pub fn register(
        self: &Arc<Self>,
        session: Arc<audit::Session>,
        bound: Option<Arc<Bound>>,
        client: SocketAddr,
    ) -> Registration {
        let live = Arc::new(Live {
            session,
            continued: Mutex::default(),
            bound,
            client,
            requests: AtomicU64::new(0),
            denied: AtomicU64::new(0),
            masked: AtomicU64::new(0),
            ended: AtomicU8::new(0),
            waker: Mutex::default(),
        });
        self.counts.opened.fetch_add(1, Ordering::Relaxed);
        self.lock().insert(live.session.id, Arc::clone(&live));
        Registration {
            sessions: Arc::clone(self),
            live,
        }
    }

    /// A connection was refused before a session began.
    pub fn count_refused(&self) {
        self.counts.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Somebody dialled the listener.
    pub fn count_unattributed(&self) {
        self.counts.unattributed.fetch_add(1, Ordering::Relaxed);
    }

    /// Ends the sessions whose log-in has been over for longer than `grace` at `now`, since the epoch; returns how many.
    pub fn end_lapsed(&self, now: Duration, grace: Duration) -> usize {
        let over = |bound: &Arc<Bound>| {
            let expires = Duration::from_secs(u64::try_from(bound.expires_s()).unwrap_or(0));
            bound.state(now) == State::Expired && now >= expires.saturating_add(grace)
        };
        let lapsed = |live: &Live| live.bound.as_ref().is_some_and(over);
        self.end_where(End::Lapsed, |live| live.ends().is_none() && lapsed(live))
    }

    /// Ends the sessions that a test holds for; returns how many.
    pub fn end_where(&self, why: End, ends: impl Fn(&Live) -> bool) -> usize {
        let ending: Vec<Arc<Live>> = self
            .lock()
            .values()
            .filter(|live| ends(live))
            .cloned()
            .collect();
        for live in &ending {
            live.end(why);
        }
        ending.len()
    }

    /// Ends one session at once because an administrator says so, and records who that was.
    ///
    /// # Errors
    ///
    /// [`EndError`] when there is no such session, or the journal could not take the record.
    pub fn end_by_order(&self, order: EndOrder, journal: &Journal) -> Result<(), EndError> {
        let session = order.session;
        let live = self.lock().get(&session).cloned();
        let live = live.ok_or(EndError::NoSession { session })?;
        let event = Event::SessionEnded {
            session,
            administrator: order.administrator,
            evidence: order.evidence.map(Box::new),
            reason: order.reason,
        };
        let recorded = journal.event_of(&live.session, &event);
        live.end(End::Killed);
        recorded
            .map(drop)
            .map_err(|source| EndError::Unrecorded { session, source })
    }

    /// The session whose client has this address.
    #[must_use]
    pub fn of_client(&self, client: SocketAddr) -> Option<Arc<Live>> {
        self.lock()
            .values()
            .find(|live| live.client == client)
            .cloned()
    }

    /// Whether the client's socket of some session has this cookie.
    #[must_use]
    pub fn has_socket(&self, cookie: u64) -> bool {
        self.lock()
            .values()
            .any(|live| live.session.opened.origin.socket_cookie == cookie)
    }

    /// What is open now, by id.
    #[must_use]
    pub fn list(&self) -> Vec<Summary> {
        let mut list: Vec<Summary> = self.lock().values().map(|live| live.summary()).collect();
        list.sort_by_key(|summary| summary.session);
        list
    }

    /// Counts since the start.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let live = self.lock();
        let open = |of: fn(&Live) -> &AtomicU64| -> u64 {
            live.values()
                .map(|live| of(live).load(Ordering::Relaxed))
                .sum()
        };
        let counts = &self.counts;
        Totals {
            live: live.len(),
            opened: counts.opened.load(Ordering::Relaxed),
            refused: counts.refused.load(Ordering::Relaxed),
            unattributed: counts.unattributed.load(Ordering::Relaxed),
            requests: counts.requests.load(Ordering::Relaxed) + open(|live| &live.requests),
            denied: counts.denied.load(Ordering::Relaxed) + open(|live| &live.denied),
            masked: counts.masked.load(Ordering::Relaxed) + open(|live| &live.masked),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Arc<Live>>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Live {
    /// Asks the session to end. The most urgent reason stays.
    pub fn end(&self, why: End) {
        self.ended.fetch_max(why as u8, Ordering::AcqRel);
        let waker = self
            .waker
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Why the session is to end, if it is.
    #[must_use]
    #[inline]
    pub fn ends(&self) -> Option<End> {
        match self.ended.load(Ordering::Acquire) {
            0 => None,
            1 => Some(End::Stopped),
            2 => Some(End::Lapsed),
            3 => Some(End::Revoked),
            _ => Some(End::Killed),
        }
    }

    /// The task to wake when the session is to end.
    pub fn on_end(&self, waker: &Waker) {
        *self.waker.lock().unwrap_or_else(PoisonError::into_inner) = Some(waker.clone());
    }

    /// Another process goes on with the session, as recorded there.
    pub fn continue_as(&self, session: Arc<audit::Session>) {
        *self
            .continued
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(session);
    }

    /// Counts a request.
    pub fn count_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a request that was refused.
    pub fn count_denied(&self) {
        self.denied.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a request whose answer shows less than the data.
    pub fn count_masked(&self) {
        self.masked.fetch_add(1, Ordering::Relaxed);
    }

    /// Requests so far.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    fn summary(&self) -> Summary {
        let continued = self
            .continued
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let opened = &continued.as_ref().unwrap_or(&self.session).opened;
        Summary {
            session: self.session.id,
            identity: shown_identity(opened.identity.as_ref()),
            identified: opened.identity.is_some(),
            process: opened.evidence.exe_path.clone(),
            pid: opened.origin.tgid,
            client: self.client.to_string(),
            destination: opened.origin.destination.to_string(),
            database: if opened.target.database_user.is_empty() {
                "not inspected".to_owned()
            } else {
                format!(
                    "{} as {}",
                    opened.target.database, opened.target.database_user
                )
            },
            requests: self.requests(),
            denied: self.denied.load(Ordering::Relaxed),
            masked: self.masked.load(Ordering::Relaxed),
        }
    }
}

/// Who, and through whom, for people to read.
#[must_use]
pub fn shown_identity(identity: Option<&Identity>) -> String {
    identity.map_or_else(|| "unidentified".to_owned(), ToString::to_string)
}

/// A session's place in the list.
#[derive(Debug)]
pub struct Registration {
    sessions: Arc<Sessions>,
    live: Arc<Live>,
}

impl std::ops::Deref for Registration {
    type Target = Live;

    fn deref(&self) -> &Live {
        &self.live
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let counts = &self.sessions.counts;
        let mut live = self.sessions.lock();
        counts.requests.fetch_add(
            self.live.requests.load(Ordering::Relaxed),
            Ordering::Relaxed,
        );
        counts
            .denied
            .fetch_add(self.live.denied.load(Ordering::Relaxed), Ordering::Relaxed);
        counts
            .masked
            .fetch_add(self.live.masked.load(Ordering::Relaxed), Ordering::Relaxed);
        live.remove(&self.live.session.id);
        // A burst of connections must not keep its memory for good.
        if live.capacity() > 1_024 && live.len() < live.capacity() / 8 {
            live.shrink_to_fit();
        }
    }
}
