//! How much of an answer may pass: a request's own limits, and those of what SQL prepared or declared before it.
//!
//! `FETCH` and `EXECUTE` are decided as what they are and say nothing of the query behind a name. So the limits of a query
//! are kept from the moment it gets one: each `EXECUTE` may give what one run of the strictest of them may, and all `FETCH`es
//! together what one run of each declared query may.

use std::sync::Arc;

use weir_policy::Obligations;
use weir_sql::{Confidence, Facts};
use weir_wire::postgres::Limits;

use crate::guard::Verdict;

/// Limits of queries that got names in SQL, over one session.
#[derive(Debug, Default)]
pub(super) struct NamedQueries {
    prepared: Option<Limits>,
    declared: Option<Limits>,
    fetched: (u64, u64),
    /// A cursor may outlive its transaction.
    holds: bool,
    /// The latest one whose answers count against budgets.
    billed: Option<Arc<Verdict>>,
}

/// What runs a query that got its name in SQL.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Runs {
    /// `EXECUTE`.
    pub(super) prepared: bool,
    /// `FETCH`, or an `Execute` of SQL's cursor.
    pub(super) declared: bool,
}

impl Runs {
    /// What a statement may run; `named` says that it has no text of its own.
    pub(super) fn of(facts: &Facts, named: bool) -> Self {
        // What names something that was judged before is never exact; a `FETCH FIRST` of a query is.
        let may = facts.confidence > Confidence::Exact;
        let mentions = |word| named || (may && has_word(&facts.normalised, word));
        Self {
            prepared: mentions("execute"),
            declared: mentions("fetch"),
        }
    }
}

impl NamedQueries {
    /// Whether no named query has limits.
    pub(super) fn is_empty(&self) -> bool {
        self.prepared.is_none() && self.declared.is_none() && self.billed.is_none()
    }

    /// A statement was let through whose answers count against budgets.
    pub(super) fn bill(&mut self, verdict: &Arc<Verdict>) {
        let text = &verdict.statement.decided.facts.normalised;
        if has_word(text, "prepare") || has_word(text, "declare") {
            self.billed = Some(Arc::clone(verdict));
        }
    }

    /// Whose budgets a statement is billed to that runs named queries.
    pub(super) fn billed(&self, runs: Runs) -> Option<&Arc<Verdict>> {
        self.billed.as_ref().filter(|_| runs != Runs::default())
    }

    /// A statement was let through that is subject to these limits.
    pub(super) fn add(&mut self, facts: &Facts, limits: Limits) {
        if has_word(&facts.normalised, "prepare") {
            let before = self.prepared.unwrap_or(Limits::NONE);
            self.prepared = Some(before.and(limits));
        }
        if has_word(&facts.normalised, "declare") {
            self.declared = Some(match self.declared {
                None => limits,
                Some(before) => Limits {
                    rows: before.rows.saturating_add(limits.rows),
                    bytes: before.bytes.saturating_add(limits.bytes),
                },
            });
            self.holds |= has_word(&facts.normalised, "hold");
        }
    }

    /// A message gives a name to a statement that is subject to these.
    pub(super) fn parsed(&mut self, verdict: &Arc<Verdict>) {
        if let Some(limits) = of_obligations(&verdict.obligations) {
            let before = self.prepared.unwrap_or(Limits::NONE);
            self.prepared = Some(before.and(limits));
        }
        if !verdict.obligations.budgets.is_empty() {
            self.billed = Some(Arc::clone(verdict));
        }
    }

    /// What a statement may give that runs named queries.
    pub(super) fn limits(&self, runs: Runs) -> Option<Limits> {
        let prepared = self.prepared.filter(|_| runs.prepared);
        let (rows, bytes) = self.fetched;
        let declared = self.declared.filter(|_| runs.declared);
        let declared = declared.map(|limits| limits.minus(rows, bytes));
        match (prepared, declared) {
            (Some(one), Some(other)) => Some(one.and(other)),
            (one, other) => one.or(other),
        }
    }

    /// A statement that runs named queries has given so much.
    pub(super) fn given(&mut self, runs: Runs, rows: u64, bytes: u64) {
        if runs.declared && self.declared.is_some() {
            self.fetched.0 = self.fetched.0.saturating_add(rows);
            self.fetched.1 = self.fetched.1.saturating_add(bytes);
        }
    }

    /// No transaction is open any more: cursors are gone, unless one was declared to stay.
    pub(super) fn transaction_over(&mut self) {
        if self.declared.is_some() && !self.holds {
            self.declared = None;
            self.fetched = (0, 0);
        }
    }
}

/// The limits that an obligation sets, where it sets any.
pub(super) fn of_obligations(obligations: &Obligations) -> Option<Limits> {
    let limits = Limits {
        rows: obligations.max_rows.unwrap_or(u64::MAX),
        bytes: obligations.max_bytes.unwrap_or(u64::MAX),
    };
    (limits != Limits::NONE).then_some(limits)
}

/// Whether a text has a word, in any case. In doubt it has.
pub(super) fn has_word(text: &str, word: &str) -> bool {
    text.as_bytes()
        .windows(word.len())
        .any(|window| window.eq_ignore_ascii_case(word.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(text: &str) -> Facts {
        Facts {
            confidence: Confidence::Tainted,
            normalised: text.to_owned(),
            ..Facts::default()
        }
    }

    const TEN: Limits = Limits {
        rows: 10,
        bytes: u64::MAX,
    };

    #[test]
    fn fetches_share_what_their_cursors_may_give() {
        let mut named = NamedQueries::default();
        named.add(&facts("DECLARE c CURSOR FOR SELECT $1"), TEN);
        let fetch = Runs::of(&facts("FETCH 5 FROM c"), false);
        named.given(fetch, 8, 80);
        assert_eq!(named.limits(fetch).map(|limits| limits.rows), Some(2));
        // A second cursor gives no more to the first than a second query would.
        named.add(&facts("declare d cursor for select $1"), TEN);
        assert_eq!(named.limits(fetch).map(|limits| limits.rows), Some(12));
        named.transaction_over();
        assert!(named.is_empty());
    }

    #[test]
    fn a_cursor_that_stays_keeps_its_count() {
        let mut named = NamedQueries::default();
        named.add(&facts("DECLARE c CURSOR WITH HOLD FOR SELECT $1"), TEN);
        let fetch = Runs::of(&facts("FETCH ALL c"), false);
        named.given(fetch, 10, 0);
        named.transaction_over();
        assert_eq!(named.limits(fetch).map(|limits| limits.rows), Some(0));
    }

    #[test]
    fn each_execute_is_a_run_of_its_own() {
        let mut named = NamedQueries::default();
        named.add(&facts("PREPARE s AS SELECT $1"), TEN);
        let execute = Runs::of(&facts("EXECUTE s"), false);
        for _ in 0..2 {
            assert_eq!(named.limits(execute), Some(TEN));
            named.given(execute, 10, 0);
        }
        assert_eq!(named.limits(Runs::of(&facts("SHOW all"), false)), None);
        let query = Facts {
            confidence: Confidence::Exact,
            ..facts("SELECT execute FROM t FETCH FIRST 5 ROWS ONLY")
        };
        assert_eq!(named.limits(Runs::of(&query, false)), None);
    }

    #[test]
    fn what_has_no_text_may_run_either() {
        let mut named = NamedQueries::default();
        named.add(&facts("DECLARE c CURSOR FOR SELECT $1"), TEN);
        let nameless = Runs::of(&facts("<execution>"), true);
        assert_eq!(named.limits(nameless), Some(TEN));
    }

    #[test]
    fn obligations_without_limits_set_none() {
        assert_eq!(of_obligations(&Obligations::default()), None);
        let rows = Obligations {
            max_rows: Some(10),
            ..Obligations::default()
        };
        assert_eq!(of_obligations(&rows), Some(TEN));
    }
}
