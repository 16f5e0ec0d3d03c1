//! What databases hold, kept current: a connection of the agent's own per database reads its catalog, or sessions lend theirs
//! where the agent has no role, and sessions wait until what was read is as new as their statement needs it.
//!
//! What a catalog is and which SQL reads it is weir-sql's to say; who needs one, the guard's. Nothing is read for
//! sessions that need none.

mod borrower;
mod database;
mod lending;
mod link;
mod settings;
mod side;

#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, HashSet},
    fmt,
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use serde::Serialize;
use tokio::sync::mpsc;
use weir_sql::catalog::Catalog;
use weir_wire::postgres::conversation::Rows;

use crate::net::Leg;

pub use borrower::Turn;
pub use link::Link;
pub use settings::{CatalogSettings, CatalogSettingsError, Credentials};
pub(crate) use side::{Session, SideError};

use database::Database;
use lending::Loan;

/// One database's catalog, as it was read at one time.
#[derive(Debug)]
pub struct CatalogSnapshot {
    /// What was read.
    pub catalog: Catalog,
    /// Unique over all databases while the agent runs; never zero. Decisions that were taken by another one are void.
    pub epoch: u64,
    /// When it was read, since the epoch.
    pub read_at: Duration,
}

/// Where a database is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    /// The endpoint's name.
    pub endpoint: String,
    /// The server.
    pub address: SocketAddr,
    /// The database's name.
    pub database: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.database, self.address)
    }
}

/// How the agent's own connections are made: the proxy knows, and is above this.
pub trait Dial: Send + Sync {
    /// Connects to an endpoint's server, with TLS where the endpoint has it.
    fn dial(&self, endpoint: &str, address: SocketAddr) -> Dialling;
}

/// A connection under way.
pub type Dialling =
    Pin<Box<dyn Future<Output = Result<Leg, Box<dyn std::error::Error + Send + Sync>>> + Send>>;

/// All databases that sessions need to know.
pub struct Catalogs {
    by_endpoint: HashMap<String, Arc<Credentials>>,
    databases: Mutex<HashMap<Place, Arc<Database>>>,
    dial: Arc<dyn Dial>,
    /// Every database that a session spoke to.
    places: Mutex<HashSet<Place>>,
    epochs: Arc<AtomicU64>,
    work: mpsc::UnboundedSender<Work>,
}

/// What the thread does that reads.
enum Work {
    /// A database is needed for the first time.
    Keep(Arc<Database>),
    /// A session has asked its server for all of a catalog.
    TakeIn(Loan, Vec<Rows>),
    /// Whoever waits for a database is to look up after a while: the workers that sessions run on have no timers.
    Wake(Arc<Database>, Duration),
}

/// One database for people and scripts to read.
#[derive(Debug, Serialize)]
pub struct Summary {
    /// The endpoint's name.
    pub endpoint: String,
    /// The server.
    pub address: String,
    /// Which.
    pub database: String,
    /// Where the catalog is read: `side`, a role of weir's own, or `sessions`, the clients' connections.
    pub mode: &'static str,
    /// Sessions that need it.
    pub sessions: usize,
    /// The snapshot's number; zero without one.
    pub epoch: u64,
    /// Since it was last found current, seconds.
    pub checked_seconds_ago: Option<u64>,
    /// Relations known.
    pub relations: usize,
    /// Columns of them that the policy has a class for, their own or what they are made of.
    pub governed_columns: usize,
    /// Why there is no catalog.
    pub problem: Option<String>,
}

impl Catalogs {
    /// Starts the thread that reads; `by_endpoint` says how, by the endpoints' names.
    ///
    /// # Errors
    ///
    /// The operating system gives no thread or no epoll instance.
    pub fn start(
        by_endpoint: HashMap<String, Arc<Credentials>>,
        dial: Arc<dyn Dial>,
    ) -> io::Result<Arc<Self>> {
        let (work, mut asked) = mpsc::unbounded_channel::<Work>();
        let catalogs = Arc::new(Self {
            by_endpoint,
            databases: Mutex::default(),
            dial: Arc::clone(&dial),
            places: Mutex::default(),
            epochs: Arc::new(AtomicU64::new(1)),
            work,
        });
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let weak = Arc::downgrade(&catalogs);
        thread::Builder::new()
            .name("weir-catalog".to_owned())
            .spawn(move || {
                runtime.block_on(async move {
                    while let Some(work) = asked.recv().await {
                        match work {
                            Work::Keep(database) if database.credentials().is_none() => {
                                tokio::spawn(lending::keep(database, weak.clone()));
                            }
                            Work::Keep(database) => {
                                let reader = side::Side::new(&database, Arc::clone(&dial));
                                tokio::spawn(database::keep(database, reader, weak.clone()));
                            }
                            Work::TakeIn(loan, answers) => loan.take_in(&answers),
                            Work::Wake(database, after) => {
                                tokio::spawn(async move {
                                    tokio::time::sleep(after).await;
                                    database.wake();
                                });
                            }
                        }
                    }
                });
            })?;
        Ok(catalogs)
    }

    /// A session's hold on the database it speaks to. Costs nothing until the session needs the catalog.
    #[must_use]
    pub fn link(self: &Arc<Self>, place: Place) -> Link {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if places.len() < MAX_PLACES && !places.contains(&place) {
            places.insert(place.clone());
        }
        drop(places);
        Link::new(Arc::clone(self), place)
    }

    /// Every database that a session spoke to since the agent began, sorted.
    #[must_use]
    pub fn places(&self) -> Vec<Place> {
        let places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let mut places: Vec<_> = places.iter().cloned().collect();
        places.sort_by(|a, b| {
            (&a.endpoint, &a.database, &a.address).cmp(&(&b.endpoint, &b.database, &b.address))
        });
        places
    }

    /// A connection of the agent's own to a database, for one purpose.
    pub(crate) async fn open(&self, place: &Place) -> Result<Session, SideError> {
        let credentials = self.by_endpoint.get(&place.endpoint);
        Session::open(&*self.dial, credentials.map(Arc::as_ref), place).await
    }

    /// Every database that was needed lately; `governed` counts the columns that the policy has a class for.
    #[must_use]
    pub fn summaries(&self, governed: &dyn Fn(&Catalog) -> usize) -> Vec<Summary> {
        let mut summaries: Vec<_> = self
            .lock()
            .values()
            .map(|database| database.summary(governed))
            .collect();
        summaries.sort_by(|a, b| {
            (&a.endpoint, &a.database, &a.address).cmp(&(&b.endpoint, &b.database, &b.address))
        });
        summaries
    }

    /// Somebody may have changed what a database holds: nobody goes on before it was looked at again.
    fn changed(&self, place: &Place) {
        if let Some(database) = self.lock().get(place) {
            database.require();
        }
    }

    /// Makes a catalog of what a session was answered.
    fn take_in(&self, loan: Loan, answers: Vec<Rows>) {
        // The thread ends with the process only.
        let _ = self.work.send(Work::TakeIn(loan, answers));
    }

    /// Wakes whoever waits for a database after a while.
    fn wake_later(&self, database: &Arc<Database>, after: Duration) {
        let work = Work::Wake(Arc::clone(database), after);
        // The thread ends with the process only.
        let _ = self.work.send(work);
    }

    /// The database where its sessions lend their connections, if anybody needs it, with one more session.
    fn attach_lender(&self, place: &Place) -> Option<Arc<Database>> {
        let databases = self.lock();
        let database = databases.get(place)?;
        if database.credentials().is_some() {
            return None;
        }
        database.enter();
        Some(Arc::clone(database))
    }

    /// The database, with one more session that needs it.
    fn attach(&self, place: &Place) -> Arc<Database> {
        let mut databases = self.lock();
        if let Some(database) = databases.get(place) {
            database.enter();
            return Arc::clone(database);
        }
        let credentials = self.by_endpoint.get(&place.endpoint).cloned();
        let database = Arc::new(Database::new(
            place.clone(),
            credentials,
            Arc::clone(&self.epochs),
        ));
        database.enter();
        databases.insert(place.clone(), Arc::clone(&database));
        // The thread ends with the process only.
        let _ = self.work.send(Work::Keep(Arc::clone(&database)));
        database
    }

    /// Forgets a database that nobody needs; `false` when somebody came in the meantime.
    fn forget(&self, database: &Database) -> bool {
        let mut databases = self.lock();
        if database.is_needed() {
            return false;
        }
        databases.remove(database.place());
        true
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Place, Arc<Database>>> {
        self.databases
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Catalogs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Catalogs").finish_non_exhaustive()
    }
}

/// Databases that are remembered; names come from clients.
const MAX_PLACES: usize = 1_000;

fn next_epoch(epochs: &AtomicU64) -> u64 {
    epochs.fetch_add(1, Ordering::Relaxed)
}
