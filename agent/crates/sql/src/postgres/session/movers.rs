//! Functions made by users that change how a session's names are read, which no text shows.

use std::collections::HashSet;

use super::Step;
use crate::catalog::{Catalog, Function};
use crate::facts::{Facts, Kind};
use crate::postgres::closure;

/// What of a catalog runs such a function.
#[derive(Debug, Default)]
pub(crate) struct Movers {
    /// Calls of these names: of functions, and of relations that are views.
    names: HashSet<String>,
    /// Writing rows, by a trigger, a rule or a default.
    writing: bool,
    /// Almost any statement, by an operator or a cast.
    anything: bool,
    /// Some change the role too.
    roles: bool,
}

impl Movers {
    pub(crate) fn of(catalog: &Catalog) -> Self {
        let mut movers = Self {
            names: direct(catalog)
                .map(|function| function.name.clone())
                .collect(),
            roles: direct(catalog).any(changes_role),
            ..Self::default()
        };
        if movers.names.is_empty() {
            return movers;
        }
        movers.add_callers(catalog);
        let mut oids = HashSet::new();
        for function in catalog.functions.values().flatten() {
            if movers.names.contains(&function.name) {
                movers.writing |= function.is_trigger;
                oids.insert(function.oid);
            }
        }
        movers.writing |= catalog
            .relations
            .values()
            .flat_map(|relation| &relation.writing_runs)
            .any(|oid| oids.contains(oid));
        let cast = catalog.casts.iter().filter_map(|cast| cast.function);
        movers.anything = catalog
            .operators
            .values()
            .flatten()
            .copied()
            .chain(cast)
            .any(|oid| oids.contains(&oid));
        let views: Vec<String> = catalog
            .relations
            .values()
            .filter(|relation| relation.definition.is_some())
            .filter(|view| {
                closure::calls_of_view(catalog, view)
                    .iter()
                    .any(|name| movers.names.contains(name))
            })
            .map(|view| view.name.clone())
            .collect();
        movers.names.extend(views);
        movers
    }

    /// Adds whatever calls one of them, through any number of functions.
    fn add_callers(&mut self, catalog: &Catalog) {
        let calls: Vec<(&Function, HashSet<String>)> = catalog
            .functions
            .values()
            .flatten()
            .filter_map(|function| {
                let called = closure::calls_of_body(catalog, function.body.as_deref()?);
                Some((function, called.into_iter().collect()))
            })
            .collect();
        loop {
            let before = self.names.len();
            for (function, called) in &calls {
                if !called.is_disjoint(&self.names) {
                    self.names.insert(function.name.clone());
                }
            }
            if self.names.len() == before {
                return;
            }
        }
    }
}

/// What the functions do that a text may run, besides what its own words say.
#[must_use]
pub fn steps_of_functions(facts: &Facts, catalog: &Catalog) -> Vec<Step> {
    let movers = &catalog.movers;
    let mut steps = Vec::new();
    if !movers.names.is_empty() && movers.may_run(facts) {
        steps.push(Step::LoseTrack);
        steps.extend(movers.roles.then_some(Step::LoseRole));
    }
    steps
}

impl Movers {
    /// Whether a text may run one of them.
    fn may_run(&self, facts: &Facts) -> bool {
        let last = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
        let writes = || {
            facts.kinds.iter().any(|kind| {
                matches!(
                    kind,
                    Kind::Insert
                        | Kind::Update
                        | Kind::Delete
                        | Kind::Merge
                        | Kind::CopyIn
                        | Kind::Truncate
                )
            })
        };
        self.anything
            || (self.writing && writes())
            || (facts.functions.iter()).any(|name| self.names.contains(&last(name)))
            || (facts.relations.iter()).any(|used| self.names.contains(&used.relation.name))
    }
}

/// Functions that do it themselves.
fn direct(catalog: &Catalog) -> impl Iterator<Item = &Function> {
    catalog.functions.values().flatten().filter(|function| {
        let body = function.body.as_deref().unwrap_or_default();
        match function.language.as_str() {
            "c" => false,
            "internal" => body == "set_config",
            "sql" | "plpgsql" => says_so(body, function.is_trigger),
            _ => true,
        }
    })
}

/// Whether a body names what moves names, or runs texts that could.
fn says_so(body: &str, is_trigger: bool) -> bool {
    let body = body.to_ascii_lowercase();
    let has = |word: &str| memchr::memmem::find(body.as_bytes(), word.as_bytes()).is_some();
    // A trigger gets no text to run from whoever writes.
    let runs_anything = !is_trigger && has("execute");
    runs_anything || has("search_path") || has("set_config") || says_role(&body)
}

/// Whether it may leave its caller in another role: by its words, or because nobody can read them.
fn changes_role(function: &Function) -> bool {
    let readable = matches!(function.language.as_str(), "sql" | "plpgsql");
    let body = function
        .body
        .as_deref()
        .unwrap_or_default()
        .to_ascii_lowercase();
    !readable || says_role(&body) || memchr::memmem::find(body.as_bytes(), b"execute").is_some()
}

fn says_role(body: &str) -> bool {
    let words: Vec<&str> = body.split_ascii_whitespace().collect();
    body.contains("session_authorization")
        || words.windows(2).any(|pair| match pair {
            ["set" | "local" | "session", word] => {
                word.starts_with("role") || word.starts_with("authorization")
            }
            _ => false,
        })
        || body.contains("'role'")
}
