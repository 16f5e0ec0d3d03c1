//! A session's hold on its database's catalog: what it may go by, and when it must wait.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use super::{CatalogSnapshot, Catalogs, Place, database::Database};

/// One session's hold. Dropping it lets go.
#[derive(Debug)]
pub struct Link {
    catalogs: Arc<Catalogs>,
    place: Place,
    attached: Option<Arc<Database>>,
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
            awaited: 0,
            seen: 0,
            current: None,
            defining: false,
        }
    }

    /// Ready when statements may be decided: at once for a session that does not need the catalog (`needed` is false),
    /// else once it was found current since the session began and since the last change that weir has seen.
    ///
    /// Never waits for ever: a catalog that cannot be read leaves [`Self::snapshot`] empty.
    #[inline]
    pub fn poll_current(&mut self, needed: bool, cx: &mut Context<'_>) -> Poll<()> {
        if !needed {
            return Poll::Ready(());
        }
        self.poll_needed(cx)
    }

    fn poll_needed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.attached.is_none() {
            let database = self.catalogs.attach(&self.place);
            self.awaited = database.ask();
            self.attached = Some(database);
        }
        let Some(database) = &self.attached else {
            return Poll::Ready(());
        };
        if database.poll_checked(self.awaited, cx).is_pending() {
            return Poll::Pending;
        }
        let version = database.version();
        if version != self.seen {
            self.seen = version;
            self.current = database.snapshot();
        }
        Poll::Ready(())
    }

    /// What to go by since the last [`Self::poll_current`]; `None` when it cannot be read, or was not needed.
    #[must_use]
    pub fn snapshot(&self) -> Option<&Arc<CatalogSnapshot>> {
        self.current.as_ref()
    }

    /// Why there is no snapshot, for the client to read.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        self.attached
            .as_ref()
            .and_then(|database| database.problem())
    }

    /// A statement names what the catalog does not know: it is looked at again before the next statement.
    pub fn unknown_seen(&mut self) {
        if let Some(database) = &self.attached {
            self.awaited = database.ask();
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
        if std::mem::take(&mut self.defining) {
            self.catalogs.changed(&self.place);
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if let Some(database) = &self.attached {
            database.leave();
        }
        // A transaction that the end of its session takes back may be committed after all: somebody must look.
        self.settled();
    }
}
