//! Who asks, with which program, on which database; and what follows from that alone.

use std::{
    borrow::Cow,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use weir_policy::{Budget, Identity, Process, Target};

use super::{Verdict, budgets::Payers, hidden::Hidden};
use crate::policy::Snapshot;

/// What a decision depends on besides the statement: equal for all sessions of the same kind.
#[derive(Debug)]
pub struct Scope {
    pub(super) id: u64,
    pub(super) who: Arc<Who>,
    pub(super) hidden: Hidden,
    pub(super) payers: Payers,
    /// The policy's epoch and what it means, in one word.
    protection: AtomicU64,
}

/// Who asks, with which program, on which database.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Who {
    /// Verified, or nobody.
    pub identity: Option<Identity>,
    /// As observed.
    pub process: Process,
    /// What is spoken to.
    pub target: Target,
    /// What all statements together may use up, whatever the rules say of each: the budgets of an agent's run and of
    /// those it was started from.
    pub budgets: Vec<Budget>,
}

/// What the policy in force means for somebody on a database, before any statement.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Protection {
    /// Something may be hidden: what no rewriting reaches is refused, and messages are sanitised.
    pub hides: bool,
    /// Decisions need to know what the database holds.
    pub needs_catalog: bool,
}

impl Scope {
    pub(super) fn new(id: u64, who: Arc<Who>) -> Self {
        Self {
            id,
            payers: Payers::of(who.identity.as_ref()),
            who,
            hidden: Hidden::default(),
            protection: AtomicU64::new(0),
        }
    }

    /// Who, where somebody vouches for it.
    #[must_use]
    pub fn identity(&self) -> Option<&Identity> {
        self.who.identity.as_ref()
    }

    /// Whether whatever it does counts.
    #[must_use]
    pub fn is_metered(&self) -> bool {
        !self.who.budgets.is_empty()
    }

    /// What a statement counts against.
    pub(super) fn budgets<'a>(&'a self, verdict: &'a Verdict) -> Cow<'a, [Budget]> {
        let of_rules = &verdict.obligations.budgets;
        match (of_rules.is_empty(), self.is_metered()) {
            (_, false) => Cow::Borrowed(of_rules),
            (true, true) => Cow::Borrowed(&self.who.budgets),
            (false, true) => Cow::Owned([of_rules.as_slice(), &self.who.budgets].concat()),
        }
    }

    /// What is known under that epoch already.
    pub(super) fn known_protection(&self, epoch: u64) -> Option<Protection> {
        let word = self.protection.load(Ordering::Relaxed);
        (word >> FLAGS == epoch).then_some(Protection {
            hides: word & HIDES != 0,
            needs_catalog: word & NEEDS_CATALOG != 0,
        })
    }

    /// What the snapshot means for this scope; `now` since the epoch.
    pub(super) fn ask_protection(&self, snapshot: &Snapshot, now: Duration) -> Protection {
        let protection = ask(&self.who, snapshot, now);
        let flags = if protection.hides { HIDES } else { 0 }
            | if protection.needs_catalog {
                NEEDS_CATALOG
            } else {
                0
            };
        self.protection
            .store(snapshot.epoch << FLAGS | flags, Ordering::Relaxed);
        protection
    }
}

fn ask(who: &Who, snapshot: &Snapshot, now: Duration) -> Protection {
    let identity = who.identity.as_ref();
    let (process, target, pack) = (&who.process, &who.target, &snapshot.pack);
    let hides = pack.hides(identity, process, target, now);
    Protection {
        hides,
        needs_catalog: hides || pack.depends_on_catalog(identity, process, target, now),
    }
}

const FLAGS: u32 = 2;
const HIDES: u64 = 1;
const NEEDS_CATALOG: u64 = 2;
