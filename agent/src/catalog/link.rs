//! A session's hold on its database's catalog: what it may go by, and when it must wait.

use std::{
    sync::Arc,
    task::{Context, Poll, ready},
};

use weir_wire::postgres::conversation::{Looked, Moment};

use super::{
    CatalogSnapshot, Catalogs, Place,
    borrower::{Borrower, Sight, Turn},
    database::Database,
};

/// One session's hold. Dropping it lets go.
#[derive(Debug)]
pub struct Link {
    catalogs: Arc<Catalogs>,
    place: Place,
    attached: Option<Arc<Database>>,
    /// Where sessions lend their connections.
    borrower: Option<Box<Borrower>>,
    /// The check that this session waits for, besides those that everybody waits for.
    awaited: u64,
    seen: u64,
    current: Option<Arc<CatalogSnapshot>>,
    /// It changes what the database holds, and nobody else can see it yet.
    defining: bool,
}

impl Link {
    pub(super) fn new(catalogs: Arc<Catalogs>, place: Place) -> Self {
        Self {
            catalogs,
            place,
            attached: None,
            borrower: None,
            awaited: 0,
            seen: 0,
            current: None,
            defining: false,
        }
    }

    /// Ready when what the client has sent may be judged, or read: the catalog was found current since the session began and
    /// since the last change that weir has seen. `waiting` says that something was sent and read already; only then a
    /// session's own connection is looked on for itself. To be called where the session needs a catalog.
    ///
    /// Never waits for ever: a catalog that cannot be read leaves [`Self::snapshot`] empty.
    #[inline]
    pub fn poll_turn(&mut self, moment: Moment, waiting: bool, cx: &mut Context<'_>) -> Poll<Turn> {
        let database = self.attach();
        let Some(borrower) = &mut self.borrower else {
            ready!(database.poll_checked(self.awaited, cx));
            self.adopt();
            return Poll::Ready(Turn::Go);
        };
        if !waiting {
            return Poll::Ready(self.poll_lend(moment, cx));
        }
        match ready!(borrower.poll_sight(moment, &self.catalogs, cx)) {
            Ok(Sight::Current) => self.adopt(),
            Ok(Sight::Blind) => {
                self.seen = 0;
                self.current = None;
            }
            Err(look) => return Poll::Ready(Turn::Look(Box::new(look))),
        }
        Poll::Ready(Turn::Go)
    }

    /// A session that needs no catalog itself lends its connection where it has told weir of one.
    #[inline]
    pub fn poll_lend(&mut self, moment: Moment, cx: &mut Context<'_>) -> Turn {
        let borrower = self.borrower.as_mut();
        let look = borrower.and_then(|borrower| borrower.poll_lend(moment, cx));
        look.map_or(Turn::Go, |look| Turn::Look(Box::new(look)))
    }

    /// Whether input that was just read may be judged at once. If not, it is to be kept, and [`Self::poll_turn`] called again.
    #[inline]
    pub fn may_go(&mut self, moment: Moment) -> bool {
        let Some(borrower) = &self.borrower else {
            return true;
        };
        let may = borrower.may_go(moment);
        if may {
            self.adopt();
        }
        may
    }

    /// What came of the look that [`Turn::Look`] asked for.
    pub fn looked(&mut self, looked: Looked) {
        if let Some(borrower) = &mut self.borrower {
            borrower.looked(looked, &self.catalogs);
        }
    }

    fn attach(&mut self) -> Arc<Database> {
        if let Some(database) = &self.attached {
            return Arc::clone(database);
        }
        let database = self.catalogs.attach(&self.place);
        if database.credentials().is_none() {
            self.borrower = Some(Box::new(Borrower::new(Arc::clone(&database))));
        } else {
            self.awaited = database.ask();
        }
        self.attached = Some(Arc::clone(&database));
        database
    }

    fn adopt(&mut self) {
        if let Some(database) = &self.attached {
            let version = database.version();
            if version != self.seen {
                self.seen = version;
                self.current = database.snapshot();
            }
        }
    }

    /// What to go by since the last [`Self::poll_turn`]; `None` when it cannot be read, or was not needed.
    #[must_use]
    pub fn snapshot(&self) -> Option<&Arc<CatalogSnapshot>> {
        self.current.as_ref()
    }

    /// A statement names what the catalog does not know: it is looked at again before the next statement, or, in a
    /// transaction of a session that would have to lend its own connection, after it. Whether the statement may go on: a
    /// catalog that is not fresh says nothing about what it does not know.
    pub fn unknown_seen(&mut self) -> bool {
        match (&mut self.borrower, &self.attached) {
            (Some(borrower), _) => {
                borrower.wish();
                !borrower.is_stale()
            }
            (None, Some(database)) => {
                self.awaited = database.ask();
                true
            }
            (None, None) => true,
        }
    }

    /// A statement that makes, changes or removes objects was let through.
    pub fn defining(&mut self) {
        self.defining = true;
    }

    /// Whether the session may know objects that no other session can see yet.
    #[must_use]
    pub fn is_defining(&self) -> bool {
        self.defining
    }

    /// Everything sent so far is answered and no transaction is open: what was defined is there, or gone.
    pub fn settled(&mut self) {
        if !std::mem::take(&mut self.defining) {
            return;
        }
        self.catalogs.changed(&self.place);
        if self.attached.is_none()
            && let Some(database) = self.catalogs.attach_lender(&self.place)
        {
            // Others may be in transactions, and can only wait for somebody who is not.
            self.borrower = Some(Box::new(Borrower::new(Arc::clone(&database))));
            self.attached = Some(database);
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // A look that is not finished is the next one's.
        self.borrower = None;
        if let Some(database) = self.attached.take() {
            database.leave();
        }
        // A transaction that the end of its session takes back may be committed after all: somebody must look.
        if self.defining {
            self.catalogs.changed(&self.place);
        }
    }
}
