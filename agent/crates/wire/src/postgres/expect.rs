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
    /// Whether the server asked for copy data.
    pub copy_in: bool,
    /// The server's error, when it answered with one and more of the answer is to come.
    pub failed: Option<[u8; 5]>,
}

impl<T> Running<T> {
    /// A request that was just let go.
    pub fn new(ticket: T) -> Self {
        Self {
            ticket,
            rows: 0,
            bytes: 0,
            passed: 0,
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
    /// `ReadyForQuery`. Optional when a copy in progress may swallow it.
    Sync {
        /// Whether no answer may come.
        optional: bool,
    },
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
            Self::Startup
                | Self::Execute(_)
                | Self::Sync { .. }
                | Self::Query(_)
                | Self::Function(_)
        )
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
}

impl<S, T> Default for Queue<S, T> {
    fn default() -> Self {
        Self {
            items: VecDeque::new(),
            watched: 0,
            turning: 0,
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
                Expect::Sync { .. }
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

    /// The one that is next, passing over those that get no answer. `ready` says that the answer is `ReadyForQuery`.
    pub fn head(&mut self, ready: bool) -> Option<&mut Expect<S, T>> {
        self.head_and_watch(ready).map(|(item, _)| item)
    }

    /// The same, and its watch.
    pub fn head_and_watch(&mut self, ready: bool) -> Option<Head<'_, S, T>> {
        while let Some(owed) = self.items.front() {
            match owed.item {
                Expect::CopyEnd => {}
                Expect::Sync { optional: true } if !ready => {}
                _ => break,
            }
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
            .find(|owed| !matches!(owed.item, Expect::CopyEnd | Expect::Sync { optional: true }))?;
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

    /// What is owed next and last, passing over what gets no answer or may get none.
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

    /// The item at the head has begun to take copy data: the server swallows each `Sync` that was sent before the copy's
    /// end. Returns whether that end is here already.
    pub fn begin_copy_in(&mut self) -> bool {
        while self
            .item_at(1)
            .is_some_and(|item| matches!(item, Expect::Sync { .. }))
        {
            self.remove(1);
        }
        matches!(self.item_at(1), Some(Expect::CopyEnd))
    }

    /// The copy at the head has ended well: what was sent before its end gets no answer.
    pub fn end_copy_in(&mut self) {
        while matches!(self.item_at(0), Some(Expect::Sync { optional: true })) {
            self.remove(0);
        }
    }

    fn remove(&mut self, index: usize) -> Option<Owed<S, T>> {
        let owed = self.items.remove(index)?;
        self.watched -= usize::from(owed.watch.is_some());
        self.turning -= usize::from(owed.item.turns());
        Some(owed)
    }

    fn item_at(&self, index: usize) -> Option<&Expect<S, T>> {
        self.items.get(index).map(|owed| &owed.item)
    }
}

/// A short pipeline's worth.
const KEPT_ITEMS: usize = 8;
