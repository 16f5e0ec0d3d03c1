//! What the server still owes an answer to, in order.

use std::collections::VecDeque;

use super::{Refusal, names::Undo};

/// A request in flight.
#[derive(Debug)]
pub struct Running<T> {
    /// Its record.
    pub ticket: T,
    /// Rows so far.
    pub rows: u64,
    /// Bytes so far.
    pub bytes: u64,
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
    Parse(Undo<S>),
    /// `BindComplete`.
    Bind(Undo<Bound<S>>),
    /// `ParameterDescription`, then `RowDescription` or `NoData`.
    DescribeStatement,
    /// `RowDescription` or `NoData`.
    DescribePortal,
    /// Rows, then a completion.
    Execute(Running<T>),
    /// `CloseComplete`, for a statement.
    CloseStatement(Undo<S>),
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

/// A portal: its statement and the hash of its values.
#[derive(Debug, Clone)]
pub struct Bound<S> {
    /// The statement.
    pub statement: S,
    /// Keyed hash of the values.
    pub parameters: u64,
}

impl<S, T> Expect<S, T> {
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

/// The queue; gives its memory back when it is empty.
#[derive(Debug)]
pub struct Queue<S, T> {
    items: VecDeque<Expect<S, T>>,
}

impl<S, T> Default for Queue<S, T> {
    fn default() -> Self {
        Self {
            items: VecDeque::new(),
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

    /// Adds one at the end.
    pub fn push(&mut self, item: Expect<S, T>) {
        self.items.push_back(item);
    }

    /// The one that is next, passing over those that get no answer. `ready` says that the answer is `ReadyForQuery`.
    pub fn head(&mut self, ready: bool) -> Option<&mut Expect<S, T>> {
        while let Some(item) = self.items.front() {
            match item {
                Expect::CopyEnd => {}
                Expect::Sync { optional: true } if !ready => {}
                _ => break,
            }
            self.items.pop_front();
        }
        self.items.front_mut()
    }

    /// The one that was asked for first, whether it gets an answer or not.
    pub fn first(&mut self) -> Option<&mut Expect<S, T>> {
        self.items.front_mut()
    }

    /// Takes the next one.
    pub fn pop(&mut self) -> Option<Expect<S, T>> {
        let item = self.items.pop_front();
        if self.items.is_empty() && self.items.capacity() > KEPT_ITEMS {
            self.items = VecDeque::new();
        }
        item
    }

    /// The item at the head has begun to take copy data: the server swallows each `Sync` that was sent before the copy's
    /// end. Returns whether that end is here already.
    pub fn begin_copy_in(&mut self) -> bool {
        while matches!(self.items.get(1), Some(Expect::Sync { .. })) {
            self.items.remove(1);
        }
        matches!(self.items.get(1), Some(Expect::CopyEnd))
    }

    /// The copy at the head has ended well: what was sent before its end gets no answer.
    pub fn end_copy_in(&mut self) {
        while matches!(self.items.front(), Some(Expect::Sync { optional: true })) {
            self.items.pop_front();
        }
    }
}

/// A short pipeline's worth.
const KEPT_ITEMS: usize = 8;
