//! `match`, `unless` and `exempt`, compiled: typed matchers and their evaluation.
//!
//! Evaluation has three values. While no statement is known, or when it could not be parsed, what a matcher asks of
//! the text is [`Truth::Maybe`]; whoever decides then resolves it to the safe side.

mod compile;
mod evaluate;
mod show;

use weir_sql::{Confidence, Kind};

pub(crate) use compile::group_names as written_groups;
pub use show::Check;

use crate::{
    groups::GroupBits,
    pattern::{Pattern, QualifiedPattern},
    schema::Action,
};

/// Fields that must all hold.
#[derive(Debug, Default)]
pub(crate) struct Conditions {
    /// Cheap ones first.
    pub(crate) matchers: Vec<Matcher>,
}

/// One field of a rule and what it asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Matcher {
    ActorKind(u8),
    Identified(bool),
    Confidence {
        mask: u8,
        written: Vec<Confidence>,
    },
    Kinds {
        mask: u32,
        written: Vec<Kind>,
    },
    Actions {
        mask: u8,
        written: Vec<Action>,
    },
    HasWhere(bool),
    LimitAbove(u64),
    LimitAtMost(u64),
    Groups(Box<Groups>),
    Named(Attribute, Vec<Pattern>),
    Relations(Vec<QualifiedPattern>),
    Functions(Vec<QualifiedPattern>),
    /// Part of the format, not yet of this version: always in doubt.
    Later(&'static str),
}

/// `actor.groups`, as bits to decide with and as words to show.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Groups {
    pub(crate) any: Option<(GroupBits, Vec<String>)>,
    pub(crate) all: Option<(GroupBits, Vec<String>)>,
    pub(crate) none: Option<(GroupBits, Vec<String>)>,
}

/// A value with a name that globs are held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attribute {
    Subject,
    Issuer,
    Exe,
    Cgroup,
    Database,
    DatabaseUser,
    Endpoint,
    Environment,
    Purpose,
}

/// Whether something holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Truth {
    No,
    Maybe,
    Yes,
}

/// Which way a condition works. A statement that reads two tables is *touched* by a restriction on one of them, but
/// *covered* by a grant only when both are granted; what the provider left out never grants and never exempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stance {
    Grant,
    Restrict,
}

impl Truth {
    pub(crate) fn not(self) -> Self {
        match self {
            Self::No => Self::Yes,
            Self::Maybe => Self::Maybe,
            Self::Yes => Self::No,
        }
    }
}

impl From<bool> for Truth {
    fn from(holds: bool) -> Self {
        if holds { Self::Yes } else { Self::No }
    }
}

impl Stance {
    pub(crate) fn opposite(self) -> Self {
        match self {
            Self::Grant => Self::Restrict,
            Self::Restrict => Self::Grant,
        }
    }
}

impl Matcher {
    /// Roughly what it costs to evaluate.
    fn cost(&self) -> u8 {
        match self {
            Self::ActorKind(_)
            | Self::Identified(_)
            | Self::Confidence { .. }
            | Self::Kinds { .. }
            | Self::Actions { .. }
            | Self::HasWhere(_)
            | Self::LimitAbove(_)
            | Self::LimitAtMost(_)
            | Self::Later(_) => 0,
            Self::Groups(_) => 1,
            Self::Named(..) => 2,
            Self::Relations(_) | Self::Functions(_) => 3,
        }
    }
}
