//! `match`, `unless` and `exempt`, compiled: typed matchers and their evaluation.
//!
//! Evaluation has three values. While no statement is known, or when it could not be parsed, what a matcher asks of
//! the text is [`Truth::Maybe`]; whoever decides then resolves it to the safe side.

mod compile;
mod data;
mod evaluate;
mod gate;
mod login;
pub(crate) mod show;
mod when;
mod window;

use std::time::Duration;

use weir_sql::{ColumnName, Confidence, Kind};

pub(crate) use compile::{Known, class_names as written_classes, group_names as written_groups};
pub(crate) use data::{ClassSet, Joins};
pub(crate) use gate::Gate;
pub(crate) use login::Means;
pub use login::StepUp;
pub use show::Check;
pub(crate) use when::When;
pub(crate) use window::Window;

use crate::{
    bits::Bits,
    pattern::{ColumnPattern, Pattern, QualifiedPattern},
    principal::{Delegation, Method, Strength},
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
    Classes(Box<ClassSet>),
    Columns {
        patterns: Vec<ColumnPattern>,
        /// What the columns must be used for.
        usages: u8,
    },
    Joins(Box<Joins>),
    Time(Box<Window>),
    Uids(Vec<u32>),
    Strengths(Vec<Strength>),
    Methods(Vec<Method>),
    Delegations(Vec<Delegation>),
    /// By which means the subject logged in.
    Means(Box<Means>),
    /// How long ago it did at most.
    MaxAuthAge(Duration),
    Stale(bool),
    /// SHA-256 of the program's file, hex.
    Hashes(Vec<String>),
    /// Tags that the statement claims.
    Claimed(Vec<(String, Vec<Pattern>)>),
    /// Claims that the identity provider vouches for.
    Claims(Vec<(String, Vec<Pattern>)>),
    /// Asked last, when all others agree.
    When(Box<When>),
}

/// What the fields about relations, columns and classes are asked of.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Focus<'a> {
    /// All that the statement touches.
    Statement,
    /// Some column of what it reads, whichever: always in doubt.
    Some,
    /// This column of what it reads.
    Column(&'a ColumnView<'a>),
}

/// One column that a statement can reach.
#[derive(Debug)]
pub(crate) struct ColumnView<'a> {
    pub(crate) column: &'a ColumnName,
    /// What its values are made of.
    pub(crate) bases: &'a [ColumnName],
    /// The classes of all of them.
    pub(crate) classes: &'a Bits,
}

/// `actor.groups`, as bits to decide with and as words to show.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Groups {
    pub(crate) any: Option<(Bits, Vec<String>)>,
    pub(crate) all: Option<(Bits, Vec<String>)>,
    pub(crate) none: Option<(Bits, Vec<String>)>,
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
    Acr,
    Unit,
    Container,
    /// Issuer and subject, `issuer#subject`: no two of them are alike.
    Id,
    Client,
    Run,
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
            | Self::Uids(_)
            | Self::Strengths(_)
            | Self::Methods(_)
            | Self::Delegations(_)
            | Self::MaxAuthAge(_)
            | Self::Stale(_) => 0,
            Self::Groups(_) => 1,
            Self::Named(..)
            | Self::Means(_)
            | Self::Hashes(_)
            | Self::Time(_)
            | Self::Claimed(_)
            | Self::Claims(_) => 2,
            Self::Relations(_) | Self::Functions(_) => 3,
            Self::Classes(_) | Self::Columns { .. } => 4,
            Self::Joins(_) => 5,
            Self::When(_) => 9,
        }
    }

    /// The classes that it names.
    pub(crate) fn class_names(&self) -> Vec<&String> {
        match self {
            Self::Classes(set) => [&set.any, &set.all, &set.none]
                .into_iter()
                .flatten()
                .flat_map(|(_, names)| names)
                .collect(),
            Self::Joins(joins) => joins
                .all
                .iter()
                .chain(&joins.any)
                .map(|(_, name)| name)
                .collect(),
            _ => Vec::new(),
        }
    }

    /// Whether it says which columns a mask or filter is about.
    pub(crate) fn selects(&self) -> bool {
        matches!(
            self,
            Self::Relations(_) | Self::Classes(_) | Self::Columns { .. }
        )
    }
}
