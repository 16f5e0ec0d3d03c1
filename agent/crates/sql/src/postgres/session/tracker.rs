//! A session's naming, followed through its statements and transactions.

use std::collections::BTreeSet;

use super::Step;
use crate::catalog::Naming;

/// Follows one session.
///
/// The owner tells it what was sent ([`Tracker::sent`]), what failed ([`Tracker::failed`]) and each transaction status
/// that the server reports ([`Tracker::status`]).
#[derive(Debug, Clone)]
pub struct Tracker {
    user: String,
    default: Option<Vec<String>>,
    state: State,
    /// States to go back to: the first is that before the transaction, the others are savepoints.
    saved: Vec<(Option<String>, State)>,
    /// The state before the latest text that changed something outside a transaction.
    before: Option<State>,
    /// The transaction can only be rolled back.
    failed: bool,
}

/// A `search_path` as written; `None` is the session's default.
type Setting = Option<Vec<String>>;

#[derive(Debug, Clone, PartialEq, Eq)]
struct State {
    /// As written; `None` is the default.
    path: Setting,
    /// Until the transaction ends.
    local: Option<Setting>,
    certain: bool,
    temporary: BTreeSet<String>,
    /// Of them those that go at commit.
    until_commit: BTreeSet<String>,
}

impl Tracker {
    /// A session of the database user `user`; `default` is its `search_path` where it is known.
    #[must_use]
    pub fn new(user: String, default: Option<Vec<String>>) -> Self {
        let certain = default.is_some();
        Self {
            user,
            default,
            state: State {
                path: None,
                local: None,
                certain,
                temporary: BTreeSet::new(),
                until_commit: BTreeSet::new(),
            },
            saved: Vec::new(),
            before: None,
            failed: false,
        }
    }

    /// The server itself says what the path is (version 18 and later).
    pub fn reported(&mut self, path: Vec<String>) {
        self.state.path = Some(path);
        self.state.local = None;
        self.state.certain = true;
    }

    /// A text with these steps went to the server.
    pub fn sent(&mut self, steps: &[Step]) {
        if steps.is_empty() {
            return;
        }
        self.before = Some(self.state.clone());
        for step in steps {
            self.step(step);
        }
    }

    /// The text failed that was sent last of those with steps, or one of them.
    pub fn failed(&mut self) {
        if self.saved.is_empty() {
            match self.before.take() {
                Some(before) => self.state = before,
                // Something before it failed, and a transaction may have ended otherwise than it looked.
                None => self.state.certain = false,
            }
        } else {
            self.failed = true;
        }
    }

    /// The server reports its transaction status: `I`, `T` or `E`.
    pub fn status(&mut self, status: u8) {
        match status {
            b'E' => self.failed = true,
            b'I' => {
                if !self.saved.is_empty() {
                    // It ended in a way that no text says: only what was before is sure.
                    self.rollback();
                    self.state.certain = false;
                }
                self.before = None;
                self.end_local();
            }
            _ => {}
        }
    }

    /// How names are read now.
    #[must_use]
    pub fn naming(&self) -> Naming {
        let path = self.state.local.as_ref().unwrap_or(&self.state.path);
        let path = path.as_ref().or(self.default.as_ref());
        let search_path = path.into_iter().flatten().map(|name| {
            if name == "$user" {
                self.user.clone()
            } else {
                name.clone()
            }
        });
        Naming {
            search_path: search_path.collect(),
            certain: self.state.certain && path.is_some(),
            temporary: self.state.temporary.clone(),
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::SearchPath { path, local: true } => {
                if !self.saved.is_empty() {
                    self.state.local = Some(path.clone());
                }
            }
            Step::SearchPath { path, local: false } => {
                self.state.path.clone_from(path);
                self.state.local = None;
                self.state.certain = path.is_some() || self.default.is_some();
            }
            Step::Make { name, until_commit } => {
                self.state.temporary.insert(name.clone());
                if *until_commit {
                    self.state.until_commit.insert(name.clone());
                }
            }
            Step::Drop(name) => {
                self.state.temporary.remove(name);
                self.state.until_commit.remove(name);
            }
            Step::DropTemporary => {
                self.state.temporary.clear();
                self.state.until_commit.clear();
            }
            Step::Begin => {
                if self.saved.is_empty() {
                    self.saved.push((None, self.state.clone()));
                    self.failed = false;
                }
            }
            Step::Commit { chain } => {
                if self.failed {
                    self.rollback();
                }
                self.end(*chain);
            }
            Step::Rollback { chain } => {
                self.rollback();
                self.end(*chain);
            }
            Step::Savepoint(name) => {
                self.saved.push((Some(name.clone()), self.state.clone()));
            }
            Step::Release(name) => {
                if let Some(at) = self.savepoint(name) {
                    self.saved.truncate(at);
                }
            }
            Step::RollbackTo(name) => {
                if let Some(at) = self.savepoint(name) {
                    self.saved.truncate(at + 1);
                    if let Some((_, state)) = self.saved.last() {
                        self.state = state.clone();
                    }
                    self.failed = false;
                }
            }
            Step::LoseTrack => self.state.certain = false,
        }
    }

    fn savepoint(&self, name: &str) -> Option<usize> {
        self.saved
            .iter()
            .rposition(|(savepoint, _)| savepoint.as_deref() == Some(name))
    }

    fn rollback(&mut self) {
        self.saved.truncate(1);
        if let Some((_, state)) = self.saved.pop() {
            self.state = state;
        }
    }

    fn end(&mut self, chain: bool) {
        self.end_local();
        self.saved.clear();
        self.failed = false;
        if chain {
            self.saved.push((None, self.state.clone()));
        }
    }

    /// What lasts until the transaction ends, ends.
    fn end_local(&mut self) {
        self.state.local = None;
        for name in std::mem::take(&mut self.state.until_commit) {
            self.state.temporary.remove(&name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::SessionModes;
    use crate::postgres::session::steps;

    fn tracker() -> Tracker {
        let default = ["$user", "public"].map(str::to_owned).to_vec();
        Tracker::new("app".to_owned(), Some(default))
    }

    fn run(tracker: &mut Tracker, texts: &[&str]) -> String {
        for text in texts {
            tracker.sent(&steps(text.as_bytes(), SessionModes::default()));
        }
        shown(tracker)
    }

    fn shown(tracker: &Tracker) -> String {
        let naming = tracker.naming();
        let doubt = if naming.certain { "" } else { " ?" };
        let temporary: Vec<_> = naming.temporary.into_iter().collect();
        format!(
            "{} [{}]{doubt}",
            naming.search_path.join(","),
            temporary.join(",")
        )
    }

    #[test]
    fn a_path_lasts_as_the_server_keeps_it() {
        let mut session = tracker();
        assert_eq!(shown(&session), "app,public []");
        assert_eq!(run(&mut session, &["SET search_path = a"]), "a []");
        assert_eq!(
            run(&mut session, &["BEGIN", "SET LOCAL search_path = b"]),
            "b []"
        );
        assert_eq!(run(&mut session, &["COMMIT"]), "a []");
        assert_eq!(
            run(&mut session, &["BEGIN", "SET search_path = b", "ROLLBACK"]),
            "a []"
        );
        assert_eq!(
            run(&mut session, &["BEGIN; SET search_path = b; COMMIT"]),
            "b []"
        );
        assert_eq!(
            run(&mut session, &["SET LOCAL search_path = c"]),
            "b []",
            "no transaction"
        );
        assert_eq!(run(&mut session, &["RESET ALL"]), "app,public []");
    }

    #[test]
    fn savepoints_are_gone_back_to() {
        let mut session = tracker();
        let texts = [
            "BEGIN",
            "SET search_path = a",
            "SAVEPOINT s",
            "SET search_path = b",
            "ROLLBACK TO s",
        ];
        assert_eq!(run(&mut session, &texts), "a []");
        assert_eq!(
            run(&mut session, &["RELEASE s", "ROLLBACK TO s", "COMMIT"]),
            "a []"
        );
    }

    #[test]
    fn a_failed_transaction_leaves_nothing() {
        let mut session = tracker();
        run(&mut session, &["BEGIN", "SET search_path = a"]);
        session.failed();
        session.status(b'E');
        assert_eq!(run(&mut session, &["COMMIT"]), "app,public []");
        session.status(b'I');
        assert_eq!(shown(&session), "app,public []");
    }

    #[test]
    fn a_failed_text_leaves_nothing() {
        let mut session = tracker();
        run(&mut session, &["SET search_path = a; SELECT 1/0"]);
        session.failed();
        assert_eq!(shown(&session), "app,public []");
    }

    #[test]
    fn a_transaction_that_ends_unseen_makes_the_path_uncertain_until_it_is_set() {
        let mut session = tracker();
        run(&mut session, &["BEGIN", "SET search_path = a"]);
        session.status(b'I');
        assert_eq!(shown(&session), "app,public [] ?");
        assert_eq!(run(&mut session, &["SET search_path = b"]), "b []");
        assert_eq!(run(&mut session, &["DO 'x'"]), "b [] ?");
        session.reported(vec!["z".to_owned()]);
        assert_eq!(shown(&session), "z []");
    }

    #[test]
    fn temporary_relations_end_with_commit_drop_and_discard() {
        let mut session = tracker();
        assert_eq!(
            run(&mut session, &["CREATE TEMP TABLE t (a int)"]),
            "app,public [t]"
        );
        let texts = ["BEGIN", "CREATE TEMP TABLE u (a int) ON COMMIT DROP"];
        assert_eq!(run(&mut session, &texts), "app,public [t,u]");
        assert_eq!(run(&mut session, &["COMMIT"]), "app,public [t]");
        assert_eq!(run(&mut session, &["DROP TABLE t"]), "app,public []");
        run(
            &mut session,
            &["CREATE TEMP TABLE t (a int)", "DISCARD ALL"],
        );
        assert_eq!(shown(&session), "app,public []");
    }

    #[test]
    fn without_a_default_only_a_set_path_is_certain() {
        let mut session = Tracker::new("app".to_owned(), None);
        assert_eq!(shown(&session), " [] ?");
        assert_eq!(run(&mut session, &["SET search_path = a"]), "a []");
        assert_eq!(run(&mut session, &["RESET search_path"]), " [] ?");
    }
}
