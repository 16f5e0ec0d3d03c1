//! What SQL gave a name to and may still be there: prepared statements, cursors, views that only the session sees.
//!
//! Each was decided by the rules, and read by the search path, of its time, and the server holds the text that went out then.
//! Under other rules it is not run again.

use weir_sql::{Kind, RelationName, catalog::Naming};

use super::allowance::{Runs, has_word};
use crate::guard::Verdict;

/// What a statement makes the server forget all of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Forgets {
    Everything,
    Prepared,
    Declared,
}

impl Forgets {
    /// By the whole text, which has to be nothing but that: a single name may be called like a word of it.
    fn of(text: &str) -> Option<Self> {
        let text = text.trim_end().trim_end_matches(';').to_ascii_lowercase();
        let mut words = [""; 3];
        for (at, word) in text.split_ascii_whitespace().enumerate() {
            *words.get_mut(at)? = word;
        }
        match words {
            ["discard", "all", ""] => Some(Self::Everything),
            ["deallocate", "all", ""] | ["deallocate", "prepare", "all"] => Some(Self::Prepared),
            ["close", "all", ""] => Some(Self::Declared),
            _ => None,
        }
    }
}

/// Of each kind, by what the oldest was judged.
#[derive(Debug, Default)]
pub(super) struct Lasting {
    prepared: Option<Since>,
    declared: Option<Since>,
    /// A cursor may outlive its transaction.
    holds: bool,
    views: Option<Since>,
    /// A message gave a name to a statement that needs an approval. SQL could run it by that name, and say nothing of what it
    /// does.
    unapproved: bool,
    /// How many names were given.
    count: u64,
}

#[derive(Debug, Clone)]
struct Since {
    /// For whom, and under which policy.
    rules: (u64, u64),
    search_path: Vec<String>,
}

impl Lasting {
    /// A statement is let through that may give names.
    pub(super) fn made(&mut self, verdict: &Verdict, naming: &Naming) {
        if !verdict.names {
            return;
        }
        let facts = &verdict.statement.decided.facts;
        let since = || Since {
            rules: verdict.rules(),
            search_path: naming.search_path.clone(),
        };
        self.count += 1;
        if has_word(&facts.normalised, "prepare") {
            self.prepared.get_or_insert_with(since);
        }
        if has_word(&facts.normalised, "declare") {
            self.declared.get_or_insert_with(since);
            self.holds |= has_word(&facts.normalised, "hold");
        }
        if facts.kinds.contains(&Kind::Create) && has_word(&facts.normalised, "view") {
            self.views.get_or_insert_with(since);
        }
    }

    /// A message gives a statement a name.
    pub(super) fn parsed(&mut self, verdict: &Verdict, naming: &Naming) {
        self.count += 1;
        self.unapproved |= !verdict.obligations.approvals.is_empty();
        self.prepared.get_or_insert_with(|| Since {
            rules: verdict.rules(),
            search_path: naming.search_path.clone(),
        });
    }

    /// Whether a statement may run another by its name that needs an approval.
    pub(super) fn runs_unapproved(&self, verdict: &Verdict) -> bool {
        self.unapproved && {
            let facts = &verdict.statement.decided.facts;
            Runs::of(facts, verdict.text().is_empty()).prepared
        }
    }

    /// Whether the end of statements matters even where nothing is hidden.
    pub(super) fn is_watching(&self) -> bool {
        self.unapproved
    }

    /// How many names were given so far.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// A statement has run to its end; when it was sent, so many names had been given. Names that were given since are still there.
    pub(super) fn done(&mut self, verdict: &Verdict, count: u64) {
        if self.prepared.is_none() && self.declared.is_none() && self.views.is_none() {
            return;
        }
        // Hardly any other can be what forgets all names.
        let kinds = &verdict.statement.decided.facts.kinds;
        if !kinds
            .iter()
            .any(|kind| matches!(kind, Kind::Set | Kind::Utility))
        {
            return;
        }
        if verdict.names || count != self.count {
            return;
        }
        match Forgets::of(&verdict.statement.decided.facts.normalised) {
            Some(Forgets::Everything) => {
                *self = Self {
                    count,
                    ..Self::default()
                }
            }
            Some(Forgets::Prepared) => {
                self.prepared = None;
                self.unapproved = false;
            }
            Some(Forgets::Declared) => {
                self.declared = None;
                self.holds = false;
            }
            None => {}
        }
    }

    /// No transaction is open any more: cursors are gone, unless one was declared to stay.
    pub(super) fn transaction_over(&mut self) {
        if !self.holds {
            self.declared = None;
        }
    }

    /// Whether what a statement runs by name, or a view that it reads, may have been judged by other rules, or read by
    /// another search path, than it would be now. With `pinned`, names went out with their schemas where that matters.
    pub(super) fn is_outdated(&self, verdict: &Verdict, naming: &Naming, pinned: bool) -> bool {
        let facts = &verdict.statement.decided.facts;
        let changed = |since: &Option<Since>| {
            since.as_ref().is_some_and(|since| {
                since.rules != verdict.rules()
                    || (!pinned && since.search_path != naming.search_path)
            })
        };
        if changed(&self.prepared) || changed(&self.declared) {
            let runs = Runs::of(facts, verdict.text().is_empty());
            if (runs.prepared && changed(&self.prepared))
                || (runs.declared && changed(&self.declared))
            {
                return true;
            }
        }
        let own = |name: &RelationName| match &name.schema {
            Some(schema) => schema.starts_with("pg_temp"),
            None => naming.temporary.contains(&name.name),
        };
        self.views
            .as_ref()
            .is_some_and(|since| since.rules != verdict.rules())
            && facts.relations.iter().any(|used| own(&used.relation))
    }
}

#[cfg(test)]
mod tests {
    use super::Forgets;

    #[test]
    fn only_what_forgets_all_names_is_taken_for_that() {
        for (text, expected) in [
            ("DISCARD ALL", Some(Forgets::Everything)),
            ("deallocate all;", Some(Forgets::Prepared)),
            ("DEALLOCATE\n PREPARE  ALL ; ", Some(Forgets::Prepared)),
            ("close all", Some(Forgets::Declared)),
            ("deallocate x", None),
            ("deallocate \"all\"", None),
            ("deallocate prepare call_all", None),
            ("close small", None),
            ("discard plans", None),
            ("deallocate all; select 1", None),
            ("", None),
        ] {
            assert_eq!(Forgets::of(text), expected, "{text}");
        }
    }
}
