//! What follows from a request besides its record: limits and budgets of its answer, and what it does to the session.

use std::sync::Arc;

use weir_sql::{Facts, Kind, Use};
use weir_wire::postgres::{Limit, Limits, Refusal, judge::LIMIT_REACHED};

use super::{
    SessionJudge,
    allowance::{self, Runs},
};
use crate::guard::{Left, Verdict};

/// A recorded request.
#[derive(Debug)]
pub(crate) struct Ticket {
    pub(super) seq: u64,
    /// When it was recorded, nanoseconds since the epoch.
    pub(super) at_ns: u64,
    /// Where more than its record follows from how it ends.
    pub(super) followed: Option<Box<Followed>>,
}

/// What is kept of a request until it ends.
#[derive(Debug)]
pub(super) struct Followed {
    pub(super) verdict: Arc<Verdict>,
    /// Whose budgets the answer counts against: those of the query that it runs by name, or its own.
    pub(super) billed: Arc<Verdict>,
    /// What may pass of its answer; `None` when nobody counts.
    pub(super) limits: Option<Limits>,
    /// What it runs that got its name and limits before.
    pub(super) runs: Runs,
    /// How many names had been given by then.
    pub(super) named: u64,
    /// Rows and bytes that were taken off the budgets.
    spent: (u64, u64),
    /// A budget is used up, rather than a limit of its own reached.
    pub(super) over_budget: bool,
}

impl SessionJudge {
    /// What a request is subject to that is about to run, and what follows from it for those after it.
    pub(super) fn follow(
        &mut self,
        verdict: &Arc<Verdict>,
    ) -> Result<Option<Box<Followed>>, Box<Refusal>> {
        self.lasting.made(verdict, &self.names.known().naming);
        let protection = self.protection;
        // Where nothing is hidden, no name is rewritten by the search path.
        let pinned = protection.hides || !protection.needs_catalog;
        let naming = &self.names.known().naming;
        if self.lasting.is_outdated(verdict, naming, pinned)
            && (protection.needs_catalog || !self.guard.permits_everything(&self.scope))
        {
            return Err(Box::new(outdated()));
        }
        if !protection.needs_catalog
            && is_plain(verdict)
            && self.named.is_empty()
            && !verdict.defines
            && !self.scope.is_metered()
            && !self.lasting.is_watching()
        {
            return Ok(None);
        }
        let mut left = self.guard.take(&self.scope, verdict)?;
        let facts = &verdict.statement.decided.facts;
        let runs = if self.named.is_empty() {
            Runs::default()
        } else {
            Runs::of(facts, verdict.text().is_empty())
        };
        let own = allowance::of_obligations(&verdict.obligations);
        if let Some(limits) = own {
            self.named.add(facts, limits);
        }
        let mut billed = Arc::clone(verdict);
        if !verdict.obligations.budgets.is_empty() {
            self.named.bill(verdict);
        } else if let Some(query) = self.named.billed(runs) {
            left = self.guard.take(&self.scope, query)?;
            billed = Arc::clone(query);
        }
        let metered = (left != Left::default()).then_some(Limits::NONE);
        let limits = [own, self.named.limits(runs), metered]
            .into_iter()
            .flatten()
            .reduce(Limits::and);
        if protection.needs_catalog {
            self.names.sent(&self.guard, &verdict.steps);
        }
        if verdict.defines {
            self.catalog.defining();
        }
        if verdict.replacement.is_some() {
            self.live.count_masked();
        }
        Ok(Some(Box::new(Followed {
            verdict: Arc::clone(verdict),
            billed,
            limits,
            runs,
            named: self.lasting.count(),
            spent: (0, 0),
            over_budget: false,
        })))
    }

    /// Takes what has passed since the last time off the budgets.
    pub(super) fn spend(&self, followed: &mut Followed, rows: u64, bytes: u64) {
        let (rows_before, bytes_before) = std::mem::replace(&mut followed.spent, (rows, bytes));
        let rows = rows.saturating_sub(rows_before);
        let bytes = bytes.saturating_sub(bytes_before);
        self.guard.spend(&self.scope, &followed.billed, rows, bytes);
    }
}

/// Whether nothing is to be done with a statement or its answer.
pub(super) fn is_plain(verdict: &Verdict) -> bool {
    !verdict.protect && verdict.replacement.is_none() && verdict.obligations.is_empty()
}

/// Whether a statement certainly writes nothing.
pub(super) fn only_reads(facts: &Facts) -> bool {
    let reading = |kind: &Kind| {
        matches!(
            kind,
            Kind::Select | Kind::CopyOut | Kind::Explain | Kind::Set | Kind::VectorSearch
        )
    };
    !facts.kinds.is_empty()
        && facts.kinds.iter().all(reading)
        && facts.relations.iter().all(|used| used.usage == Use::Read)
}

/// What a name stands for was judged by other rules.
fn outdated() -> Refusal {
    Refusal {
        sqlstate: "42501".into(),
        message: "weir: what this runs by name was prepared, declared or made under other rules, or another search path"
            .into(),
        detail: None,
        hint: Some("run DISCARD ALL, or connect again, and prepare it anew".into()),
    }
}

pub(super) fn limit_reached(followed: &Followed, limit: Limit) -> Refusal {
    let limits = followed.limits.unwrap_or(Limits::NONE);
    let (number, what) = match limit {
        Limit::Rows => (limits.rows, "rows"),
        Limit::Bytes => (limits.bytes, "bytes"),
    };
    if followed.over_budget || number == u64::MAX {
        return budget_used_up();
    }
    let rules = &followed.verdict.statement.decided.decision.rules;
    let rules: Vec<&str> = rules.iter().map(|rule| rule.0.as_str()).collect();
    Refusal {
        sqlstate: LIMIT_REACHED.into(),
        message: format!("weir: the limit of {number} {what} is reached"),
        detail: Some(format!("rule {}", rules.join(", "))),
        hint: Some("ask for less: a LIMIT, a condition, an aggregate".into()),
    }
}

pub(super) fn budget_used_up() -> Refusal {
    Refusal {
        sqlstate: LIMIT_REACHED.into(),
        message: "weir: a budget of rows or bytes is used up".into(),
        detail: None,
        hint: Some(
            "\"weir policy explain\" shows the budgets, and over which time they run".into(),
        ),
    }
}
