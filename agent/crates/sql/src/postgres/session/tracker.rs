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
    login: String,
    default: Option<Vec<String>>,
    state: State,
    /// States to go back to: the first is that before the transaction, the others are savepoints.
    saved: Vec<Saved>,
    /// What was there before the first text that changed something since the server was last idle.
    before: Option<Before>,
    /// The transaction can only be rolled back.
    failed: bool,
    /// Something that SQL gave a name changes the path when it is run, whenever that is.
    lurking: bool,
}

/// A savepoint's name, or none for the transaction's begin, and the state then.
type Saved = (Option<String>, State);

/// What a failure goes back to.
#[derive(Debug, Clone)]
struct Before {
    state: State,
    saved: Vec<Saved>,
    /// A transaction ended since: what failed after that takes back only a part.
    ended: bool,
}

/// A `search_path` as written; `None` is the session's default.
type Setting = Option<Vec<String>>;

#[derive(Debug, Clone, PartialEq, Eq)]
struct State {
    /// As written; `None` is the default.
    path: Setting,
    /// Until the transaction ends.
    local: Option<Setting>,
    user: User,
    local_user: Option<User>,
    certain: bool,
    temporary: BTreeSet<String>,
    /// Of them those that go at commit.
    until_commit: BTreeSet<String>,
    /// There may be more of them.
    veiled: bool,
}

/// Whose schema `$user` is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct User {
    authorised: Option<String>,
    role: Option<String>,
    /// It may be anybody.
    unknown: bool,
}

impl Tracker {
    /// A session of the database user `login`; `default` is its `search_path` where it is known.
    #[must_use]
    pub fn new(login: String, default: Option<Vec<String>>) -> Self {
        let certain = default.is_some();
        Self {
            login,
            default,
            state: State {
                path: None,
                local: None,
                user: User::default(),
                local_user: None,
                certain,
                temporary: BTreeSet::new(),
                until_commit: BTreeSet::new(),
                veiled: false,
            },
            saved: Vec::new(),
            before: None,
            failed: false,
            lurking: false,
        }
    }

    /// The session ran texts that nobody followed.
    pub fn begun_late(&mut self) {
        self.state.veiled = true;
        self.state.user.unknown = true;
    }

    /// The session's role is not the one that logged in, and not known.
    pub fn in_unknown_role(&mut self) {
        self.state.user.unknown = true;
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
        if self.before.is_none() {
            self.before = Some(Before {
                state: self.state.clone(),
                saved: self.saved.clone(),
                ended: false,
            });
        }
        for step in steps {
            self.step(step);
        }
    }

    /// Something failed that was sent.
    pub fn failed(&mut self) {
        let Some(before) = &self.before else {
            // What failed has changed nothing; before it a transaction may have ended otherwise than it looked.
            if self.saved.is_empty() {
                self.state.certain = false;
            } else {
                self.failed = true;
            }
            return;
        };
        if before.saved.is_empty() && self.saved.is_empty() {
            // One implicit transaction, all of it taken back.
            self.state.clone_from(&before.state);
            self.state.certain &= !before.ended;
        } else if before.saved.is_empty() {
            // It began a transaction, which is to be rolled back now.
            self.failed = true;
        } else {
            self.saved.clone_from(&before.saved);
            self.state.clone_from(&before.state);
            self.failed = true;
            if before.ended {
                // Whether the commit failed, or what came after it, is not known.
                self.state.certain = false;
                for (_, state) in &mut self.saved {
                    state.certain = false;
                }
            }
        }
    }

    /// The server reports its transaction status: `I`, `T` or `E`.
    pub fn status(&mut self, status: u8) {
        self.before = None;
        match status {
            b'E' => self.failed = true,
            b'I' => {
                if !self.saved.is_empty() {
                    // A failed one was rolled back. Another ended in a way that no text says: only what was before is sure.
                    let sure = self.failed;
                    self.rollback();
                    self.state.certain &= sure;
                }
                self.failed = false;
                self.end_local();
            }
            _ => {}
        }
    }

    /// How names are read now.
    #[must_use]
    pub fn naming(&self) -> Naming {
        let state = &self.state;
        let path = state.local.as_ref().unwrap_or(&state.path);
        let path = path.as_ref().or(self.default.as_ref());
        let user = state.local_user.as_ref().unwrap_or(&state.user);
        let name = user.role.as_ref().or(user.authorised.as_ref());
        let mut certain = state.certain && path.is_some() && !self.lurking;
        let search_path = path.into_iter().flatten().map(|written| {
            if written == "$user" {
                certain &= !user.unknown;
                name.unwrap_or(&self.login).clone()
            } else {
                written.clone()
            }
        });
        Naming {
            search_path: search_path.collect(),
            certain,
            temporary: state.temporary.clone(),
            veiled: state.veiled,
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
            Step::Role { name, local } => {
                let user = User {
                    role: name.clone(),
                    ..self.user()
                };
                self.become_user(user, *local);
            }
            Step::Authorise { name, local } => {
                let user = User {
                    authorised: name.clone(),
                    ..User::default()
                };
                self.become_user(user, *local);
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
                self.state.veiled = false;
            }
            Step::Begin
            | Step::Commit { .. }
            | Step::Rollback { .. }
            | Step::Savepoint(_)
            | Step::Release(_)
            | Step::RollbackTo(_) => self.transaction(step),
            Step::LoseTrack => self.state.certain = false,
            Step::LoseRole => {
                self.state.user.unknown = true;
                self.state.local_user = None;
            }
            Step::Lurk => self.lurking = true,
        }
    }

    fn transaction(&mut self, step: &Step) {
        match step {
            Step::Begin if self.saved.is_empty() => {
                self.saved.push((None, self.state.clone()));
                self.failed = false;
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
            _ => {}
        }
    }

    fn user(&self) -> User {
        let state = &self.state;
        state.local_user.as_ref().unwrap_or(&state.user).clone()
    }

    fn become_user(&mut self, user: User, local: bool) {
        if !local {
            self.state.user = user;
            self.state.local_user = None;
        } else if !self.saved.is_empty() {
            self.state.local_user = Some(user);
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
        if let Some(before) = &mut self.before {
            before.ended = true;
        }
        if chain {
            self.saved.push((None, self.state.clone()));
        }
    }

    /// What lasts until the transaction ends, ends.
    fn end_local(&mut self) {
        self.state.local = None;
        self.state.local_user = None;
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
    fn another_role_has_another_schema() {
        let mut session = tracker();
        assert_eq!(run(&mut session, &["SET ROLE bob"]), "bob,public []");
        assert_eq!(
            run(&mut session, &["SET search_path = \"$user\", x"]),
            "bob,x []"
        );
        assert_eq!(run(&mut session, &["SET ROLE NONE"]), "app,x []");
        let texts = ["SET SESSION AUTHORIZATION eve", "SET ROLE bob"];
        assert_eq!(run(&mut session, &texts), "bob,x []");
        assert_eq!(run(&mut session, &["RESET ROLE"]), "eve,x []");
        session.reported(vec!["$user".to_owned()]);
        assert_eq!(shown(&session), "eve []", "as the server has it");
        assert_eq!(run(&mut session, &["BEGIN; SET LOCAL ROLE bob"]), "bob []");
        assert_eq!(run(&mut session, &["COMMIT"]), "eve []");
        assert_eq!(run(&mut session, &["DO 'x'"]), "eve [] ?");
        let path = ["SET search_path = \"$user\""];
        assert_eq!(run(&mut session, &path), "eve [] ?", "who knows");
        assert_eq!(run(&mut session, &["SET search_path = a"]), "a []");
    }

    #[test]
    fn what_lurks_stays() {
        let mut session = tracker();
        let texts = [
            "PREPARE p AS SELECT set_config('search_path', 'x', false)",
            "SET search_path = a",
        ];
        assert_eq!(run(&mut session, &texts), "a [] ?");
    }

    #[test]
    fn one_failure_takes_back_all_that_was_sent_before_the_server_was_idle() {
        let mut session = tracker();
        run(
            &mut session,
            &["SET search_path = a", "SET search_path = b"],
        );
        session.failed();
        assert_eq!(shown(&session), "app,public []");
        session.status(b'I');
        assert_eq!(shown(&session), "app,public []");
    }

    #[test]
    fn a_commit_that_fails_leaves_doubt() {
        let mut session = tracker();
        for text in ["BEGIN", "SET search_path = a", "COMMIT"] {
            run(&mut session, &[text]);
            if text == "COMMIT" {
                session.failed();
                session.status(b'I');
            } else {
                session.status(b'T');
            }
        }
        assert_eq!(shown(&session), "app,public [] ?");
    }

    #[test]
    fn what_was_committed_in_a_text_that_failed_leaves_doubt() {
        let mut session = tracker();
        run(&mut session, &["SET search_path = a; COMMIT; SELECT 1/0"]);
        session.failed();
        session.status(b'I');
        assert_eq!(shown(&session), "app,public [] ?");
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
