//! What the server still owes an answer to, in order.

use std::collections::VecDeque;

use super::{
    Refusal,
    names::Undo,
    watch::{Bound, Prepared, Watch},
};

/// A request in flight.
#[derive(Debug)]
pub struct Running<T> {
    /// Its record.
    pub ticket: T,
    /// Rows so far.
    pub rows: u64,
    /// Bytes so far.
    pub bytes: u64,
    /// Rows and copy data that have passed to the client so far, in messages.
    pub passed: u64,
    /// It may ask the client for copy data, and has not yet.
    pub may_copy: bool,
    /// Whether the server asked for copy data.
    pub copy_in: bool,
    /// The server's error, when it answered with one and more of the answer is to come.
    pub failed: Option<[u8; 5]>,
}

impl<T> Running<T> {
    /// A request that was just let go; `may_copy` says that it may ask the client for copy data.
    pub fn new(ticket: T, may_copy: bool) -> Self {
        Self {
            ticket,
            rows: 0,
            bytes: 0,
            passed: 0,
            may_copy,
            copy_in: false,
            failed: None,
        }
    }
}

/// One answer that is owed.
#[derive(Debug)]
pub enum Expect<S, T> {
    /// The whole of the authentication, up to the first `ReadyForQuery`.
    Startup,
    /// `ParseComplete`.
    Parse(Undo<Prepared<S>>),
    /// `BindComplete`.
    Bind(Undo<Bound<S>>),
    /// `ParameterDescription`, then `RowDescription` or `NoData`.
    DescribeStatement,
    /// `RowDescription` or `NoData`.
    DescribePortal,
    /// Rows, then a completion.
    Execute(Running<T>),
    /// `CloseComplete`, for a statement.
    CloseStatement(Undo<Prepared<S>>),
    /// `CloseComplete`, for a portal.
    ClosePortal(Undo<Bound<S>>),
    /// `ReadyForQuery`.
    Sync,
    /// Everything up to its own `ReadyForQuery`.
    Query(Running<T>),
    /// `FunctionCallResponse`, then `ReadyForQuery`.
    Function(Running<T>),
    /// An error that is weir's doing: the frame in its place cannot parse. In a simple query `ReadyForQuery` follows.
    Poison {
        /// What the client is told.
        refusal: Box<Refusal>,
        /// Whether it stands for a `Query`.
        simple: bool,
    },
    /// No answer: the client's end of a copy.
    CopyEnd,
}

impl<S, T> Expect<S, T> {
    /// Whether the transaction status may be another one once this is answered.
    fn turns(&self) -> bool {
        matches!(
            self,
            Self::Startup | Self::Execute(_) | Self::Sync | Self::Query(_) | Self::Function(_)
        )
    }

    /// What it changes the names of, where the server has to agree.
    fn renames(&self) -> Option<Named> {
        match self {
            Self::Parse(_) | Self::CloseStatement(_) => Some(Named::Statements),
            Self::Bind(_) | Self::ClosePortal(_) => Some(Named::Portals),
            _ => None,
        }
    }

    /// Whether it changes what `name` stands for.
    fn is_about(&self, what: Named, name: &[u8]) -> bool {
        let changed = match (self, what) {
            (Self::Parse(undo) | Self::CloseStatement(undo), Named::Statements) => undo.name(),
            (Self::Bind(undo) | Self::ClosePortal(undo), Named::Portals) => undo.name(),
            _ => return false,
        };
        changed == name
    }

    fn may_copy(&self) -> bool {
        matches!(self, Self::Execute(running) | Self::Query(running) if running.may_copy)
    }

    /// Whether an error on this item makes the server skip to the next `Sync`.
    pub fn is_extended(&self) -> bool {
        matches!(
            self,
            Self::Parse(_)
                | Self::Bind(_)
                | Self::DescribeStatement
                | Self::DescribePortal
                | Self::Execute(_)
                | Self::CloseStatement(_)
                | Self::ClosePortal(_)
                | Self::Poison { simple: false, .. }
        )
    }
}

/// What has names that messages give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    /// `Parse` and `Close`.
    Statements,
    /// `Bind` and `Close`.
    Portals,
}

/// How many changes of names the server has not answered yet.
#[derive(Debug, Clone, Copy, Default)]
struct Changes {
    /// With a `Sync` behind them: should one fail, what comes after the `Sync` runs all the same.
    doubtful: usize,
    /// Should one fail, the server skips what has come behind it.
    fresh: usize,
}

impl Changes {
    fn synced(&mut self) {
        self.doubtful += std::mem::take(&mut self.fresh);
    }

    /// The oldest is answered, or skipped.
    fn answered(&mut self) {
        if self.doubtful > 0 {
            self.doubtful -= 1;
        } else {
            self.fresh -= 1;
        }
    }
}

/// How far the client is with the copy data that the server has asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyBegun {
    /// Its end was not sent yet.
    Going,
    /// Its end was sent ahead.
    Ended,
    /// Something else was, which the server takes for part of the copy.
    Disturbed,
}

/// One that is owed, and what its answer is held against.
#[derive(Debug)]
struct Owed<S, T> {
    item: Expect<S, T>,
    watch: Option<Box<Watch<S>>>,
}

/// What is owed next, and what last.
pub type Ends<'q, S, T> = (&'q Expect<S, T>, &'q Expect<S, T>);

/// What is owed next, and its watch where it has one.
type Head<'q, S, T> = (&'q mut Expect<S, T>, Option<&'q mut Watch<S>>);

/// The queue; gives its memory back when it is empty.
#[derive(Debug)]
pub struct Queue<S, T> {
    items: VecDeque<Owed<S, T>>,
    /// How many of them are watched.
    watched: usize,
    /// How many of them may turn the transaction status.
    turning: usize,
    /// How many of them may yet ask for copy data.
    copying: usize,
    statements: Changes,
    portals: Changes,
}

impl<S, T> Default for Queue<S, T> {
    fn default() -> Self {
        Self {
            items: VecDeque::new(),
            watched: 0,
            turning: 0,
            copying: 0,
            statements: Changes::default(),
            portals: Changes::default(),
        }
    }
}

impl<S, T> Queue<S, T> {
    /// How many answers are owed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Whether any of them is watched.
    #[must_use]
    #[inline]
    pub fn is_watched(&self) -> bool {
        self.watched > 0
    }

    /// Whether the answer of any of them may turn the transaction status.
    #[must_use]
    #[inline]
    pub fn turns(&self) -> bool {
        self.turning > 0
    }

    /// Whether any of them is answered with `ReadyForQuery`.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        let ends = |owed: &Owed<S, T>| {
            matches!(
                owed.item,
                Expect::Sync
                    | Expect::Query(_)
                    | Expect::Function(_)
                    | Expect::Poison { simple: true, .. }
            )
        };
        self.items.iter().any(ends)
    }

    /// Adds one at the end.
    pub fn push(&mut self, item: Expect<S, T>) {
        self.push_watched(item, None);
    }

    /// Adds one whose answer may be watched.
    pub fn push_watched(&mut self, item: Expect<S, T>, watch: Option<Box<Watch<S>>>) {
        self.watched += usize::from(watch.is_some());
        self.turning += usize::from(item.turns());
        self.copying += usize::from(item.may_copy());
        if let Some(what) = item.renames() {
            self.changes(what).fresh += 1;
        } else if matches!(item, Expect::Sync) {
            self.statements.synced();
            self.portals.synced();
        }
        self.items.push_back(Owed { item, watch });
    }

    /// How many requests are among them.
    #[must_use]
    pub fn requests(&self) -> usize {
        let is_request = |owed: &&Owed<S, T>| {
            matches!(
                owed.item,
                Expect::Execute(_) | Expect::Query(_) | Expect::Function(_)
            )
        };
        self.items.iter().filter(is_request).count()
    }

    /// Whether any of them may yet ask the client for copy data.
    #[must_use]
    pub fn may_copy(&self) -> bool {
        self.copying > 0
    }

    /// Whether changes of names are not answered yet of which one may fail without what comes next being skipped.
    #[must_use]
    #[inline]
    pub fn is_doubtful(&self, what: Named) -> bool {
        let changes = match what {
            Named::Statements => self.statements,
            Named::Portals => self.portals,
        };
        changes.doubtful > 0
    }

    /// Whether it is not known yet what a name stands for: the server may refuse what last changed it, and still read what comes
    /// next.
    #[must_use]
    #[inline]
    pub fn doubts(&self, what: Named, name: &[u8]) -> bool {
        self.is_doubtful(what) && self.finds_doubtful(what, name)
    }

    fn finds_doubtful(&self, what: Named, name: &[u8]) -> bool {
        let mut synced = false;
        for owed in self.items.iter().rev() {
            if owed.item.is_about(what, name) {
                return synced;
            }
            synced |= matches!(owed.item, Expect::Sync);
        }
        false
    }

    fn changes(&mut self, what: Named) -> &mut Changes {
        match what {
            Named::Statements => &mut self.statements,
            Named::Portals => &mut self.portals,
        }
    }

    /// The one that is next, passing over those that get no answer.
    pub fn head(&mut self) -> Option<&mut Expect<S, T>> {
        self.head_and_watch().map(|(item, _)| item)
    }

    /// The same, and its watch.
    pub fn head_and_watch(&mut self) -> Option<Head<'_, S, T>> {
        while let Some(Expect::CopyEnd) = self.item_at(0) {
            self.remove(0);
        }
        let owed = self.items.front_mut()?;
        Some((&mut owed.item, owed.watch.as_deref_mut()))
    }

    /// The one that is next and its watch, without passing over anything for good.
    pub fn peek(&mut self) -> Option<Head<'_, S, T>> {
        let owed = self
            .items
            .iter_mut()
            .find(|owed| !matches!(owed.item, Expect::CopyEnd))?;
        Some((&mut owed.item, owed.watch.as_deref_mut()))
    }

    /// The watch of the one that is next, where there is one.
    #[inline]
    pub fn watch(&mut self) -> Option<&mut Watch<S>> {
        if self.watched == 0 {
            return None;
        }
        self.peek()?.1
    }

    /// What is owed next and last, passing over what gets no answer.
    #[must_use]
    pub fn ends(&self) -> Option<Ends<'_, S, T>> {
        let mut answered = self
            .items
            .iter()
            .map(|owed| &owed.item)
            .filter(|item| !matches!(item, Expect::CopyEnd));
        let first = answered.next()?;
        Some((first, answered.next_back().unwrap_or(first)))
    }

    /// The one that was asked for first, whether it gets an answer or not.
    pub fn first(&mut self) -> Option<&mut Expect<S, T>> {
        self.items.front_mut().map(|owed| &mut owed.item)
    }

    /// Takes the next one.
    pub fn pop(&mut self) -> Option<Expect<S, T>> {
        let owed = self.remove(0)?;
        if self.items.is_empty() && self.items.capacity() > KEPT_ITEMS {
            self.items = VecDeque::new();
        }
        Some(owed.item)
    }

    /// The item at the head is asked for copy data, of which so many bytes have been sent ahead. `None` when it is no request.
    pub fn begin_copy_in(&mut self, early_bytes: u64) -> Option<CopyBegun> {
        let (Expect::Execute(running) | Expect::Query(running)) = self.head()? else {
            return None;
        };
        running.copy_in = true;
        running.bytes += early_bytes;
        // A text may have several copies, an `Execute` has one.
        if let Some(Expect::Execute(running)) = self.items.front_mut().map(|owed| &mut owed.item)
            && std::mem::take(&mut running.may_copy)
        {
            self.copying -= 1;
        }
        Some(match self.item_at(1) {
            None => CopyBegun::Going,
            Some(Expect::CopyEnd) => CopyBegun::Ended,
            Some(_) => CopyBegun::Disturbed,
        })
    }

    /// One statement of the text at the head has completed. Where it was a copy, its end is done with: the next has one of its own.
    pub fn end_copy_of_text(&mut self) {
        let Some(Expect::Query(running)) = self.items.front_mut().map(|owed| &mut owed.item) else {
            return;
        };
        if std::mem::take(&mut running.copy_in) && matches!(self.item_at(1), Some(Expect::CopyEnd))
        {
            self.remove(1);
        }
    }

    fn remove(&mut self, index: usize) -> Option<Owed<S, T>> {
        let owed = self.items.remove(index)?;
        self.watched -= usize::from(owed.watch.is_some());
        self.turning -= usize::from(owed.item.turns());
        self.copying -= usize::from(owed.item.may_copy());
        if let Some(what) = owed.item.renames() {
            self.changes(what).answered();
        }
        Some(owed)
    }

    fn item_at(&self, index: usize) -> Option<&Expect<S, T>> {
        self.items.get(index).map(|owed| &owed.item)
    }
}

/// A short pipeline's worth.
const KEPT_ITEMS: usize = 8;
