//! What a text does to how later texts' names are read: `search_path`, roles, temporary relations, transactions.
//!
//! [`steps`] reads one text, a [`Tracker`] adds them up for a session. What cannot be followed leaves the naming
//! uncertain, never wrong in silence.

mod movers;
mod reader;
mod tracker;
mod values;

use pg_query::NodeEnum;

use super::{lexer, nesting, parse, readable};
use crate::catalog::Naming;
use crate::facts::SessionModes;
use reader::Reader;

pub(crate) use movers::Movers;
pub use movers::steps_of_functions;
pub(super) use reader::{is_alone, moves_names};
pub use tracker::Tracker;
pub(super) use values::constant_text;
pub use values::identifiers;

/// One thing a text does to the session's naming, in the order of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// `SET search_path`.
    SearchPath {
        /// As written, `$user` not filled in; `None` is the session's default.
        path: Option<Vec<String>>,
        /// Until the transaction ends.
        local: bool,
    },
    /// `SET ROLE`: another `$user`.
    Role {
        /// Its name; `None` is whoever the session is authorised as.
        name: Option<String>,
        /// Until the transaction ends.
        local: bool,
    },
    /// `SET SESSION AUTHORIZATION`: another `$user`, and no role.
    Authorise {
        /// Its name; `None` is whoever logged in.
        name: Option<String>,
        /// Until the transaction ends.
        local: bool,
    },
    /// A temporary relation is made.
    Make {
        /// Its name.
        name: String,
        /// It goes when the transaction commits.
        until_commit: bool,
    },
    /// A relation is dropped that may be a temporary one.
    Drop(String),
    /// All temporary relations go.
    DropTemporary,
    /// A transaction begins.
    Begin,
    /// It is to be committed; with `AND CHAIN` the next begins.
    Commit {
        /// Whether another begins.
        chain: bool,
    },
    /// It is rolled back.
    Rollback {
        /// Whether another begins.
        chain: bool,
    },
    /// A savepoint is set.
    Savepoint(String),
    /// A savepoint is forgotten.
    Release(String),
    /// Back to a savepoint.
    RollbackTo(String),
    /// The search path cannot be followed any more.
    LoseTrack,
    /// Nor the role.
    LoseRole,
    /// Something got a name in SQL that changes how names are read whenever it is run, and nobody sees when that is.
    Lurk,
}

/// What a text does to how names are read, in order; empty for almost every text.
#[must_use]
pub fn steps(text: &[u8], modes: SessionModes) -> Vec<Step> {
    let Ok(text) = readable(text, modes) else {
        return vec![Step::LoseTrack];
    };
    let tokens = lexer::tokens(text, modes.backslash_in_strings);
    let depth = nesting::bound(text, &tokens);
    parse::with_tree(text, modes, depth, |statements| {
        let mut reader = Reader::default();
        for node in statements.iter().filter_map(|raw| raw.stmt.as_deref()) {
            if let Some(node) = &node.node {
                reader.statement(node);
            }
        }
        reader.steps
    })
    // What the grammar refuses does not run.
    .unwrap_or_default()
}

/// What one statement of a text does.
pub(super) fn of_statement(node: &NodeEnum) -> Vec<Step> {
    let mut reader = Reader::default();
    reader.statement(node);
    reader.steps
}

/// How names are read after statements of the same text, without what only the session's history tells.
pub(super) fn after(naming: &Naming, steps: &[Step]) -> Naming {
    let mut naming = naming.clone();
    for step in steps {
        match step {
            Step::SearchPath {
                path: Some(path), ..
            } => {
                naming.search_path.clone_from(path);
                naming.certain = path.iter().all(|name| name != "$user");
            }
            Step::Make { name, .. } => {
                naming.temporary.insert(name.clone());
            }
            Step::Drop(name) => {
                naming.temporary.remove(name);
            }
            Step::DropTemporary => naming.temporary.clear(),
            Step::Begin | Step::Savepoint(_) | Step::Release(_) => {}
            Step::SearchPath { path: None, .. }
            | Step::Role { .. }
            | Step::Authorise { .. }
            | Step::Commit { .. }
            | Step::Rollback { .. }
            | Step::RollbackTo(_)
            | Step::LoseTrack
            | Step::LoseRole
            | Step::Lurk => naming.certain = false,
        }
    }
    naming
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Vec<Step> {
        steps(text.as_bytes(), SessionModes::default())
    }

    fn path(names: &[&str], local: bool) -> Step {
        Step::SearchPath {
            path: Some(names.iter().map(|&name| name.to_owned()).collect()),
            local,
        }
    }

    #[test]
    fn a_search_path_is_read_however_it_is_set() {
        assert_eq!(
            of("SET search_path = app, public"),
            [path(&["app", "public"], false)]
        );
        assert_eq!(
            of("SET LOCAL search_path TO \"App\""),
            [path(&["App"], true)]
        );
        assert_eq!(of("SET SCHEMA 'app'"), [path(&["app"], false)]);
        assert_eq!(
            of("SET search_path = 'app, public'"),
            [path(&["app, public"], false)],
            "one quoted name"
        );
        assert_eq!(
            of("SELECT pg_catalog.set_config('search_path', 'App, \"B b\"', false)"),
            [path(&["app", "B b"], false)]
        );
        assert_eq!(
            of("SELECT set_config('search_path', '', true)"),
            [path(&[], true)]
        );
        let default = Step::SearchPath {
            path: None,
            local: false,
        };
        for text in [
            "RESET search_path",
            "SET search_path TO DEFAULT",
            "RESET ALL",
        ] {
            assert_eq!(of(text), std::slice::from_ref(&default), "{text}");
        }
        let authorise = Step::Authorise {
            name: None,
            local: false,
        };
        assert_eq!(of("DISCARD ALL"), [Step::DropTemporary, authorise, default]);
    }

    #[test]
    fn what_cannot_be_followed_is_said() {
        for text in [
            "DO $$begin end$$",
            "CALL p()",
            "SELECT set_config('search_path', x, false) FROM t",
            "SELECT set_config(n, 'x', false)",
            "SELECT CASE WHEN a THEN set_config('search_path', 'x', false) END FROM t",
            "SELECT 1 WHERE set_config('search_path', 'x', false) = 'x'",
            "SELECT 1 ORDER BY set_config('search_path', 'x', false)",
            "SELECT 1 LIMIT length(set_config('search_path', 'x', false))",
            "SELECT 1 OFFSET length(set_config('search_path', 'x', false))",
            "SELECT 1 GROUP BY set_config('search_path', 'x', false)",
            "SELECT DISTINCT ON (set_config('search_path', 'x', false)) 1",
            "SELECT sum(1) OVER (PARTITION BY set_config('search_path', 'x', false))",
            "SELECT sum(1) OVER w WINDOW w AS (ORDER BY set_config('search_path', 'x', false))",
            "SELECT 1 FROM (SELECT 1 ORDER BY set_config('search_path', 'x', false)) q",
            "SELECT lower(set_config('search_path', 'x', false))",
            "SELECT set_config('search_path', 'x', false) LIMIT 0",
            "SELECT 1 UNION SELECT length(set_config('search_path', 'x', false))",
            "VALUES (set_config('search_path', 'x', false))",
            "INSERT INTO t SELECT set_config('role', 'x', false)",
            "INSERT INTO t VALUES (1) RETURNING set_config('role', 'x', false)",
            "EXPLAIN ANALYZE SELECT set_config('search_path', 'x', false)",
            "EXPLAIN ANALYZE SELECT 1 ORDER BY set_config('search_path', 'x', false)",
            "CREATE TABLE t AS SELECT set_config('search_path', 'x', false)",
            "COPY (SELECT set_config('search_path', 'x', false)) TO STDOUT",
            "EXECUTE p (set_config('search_path', 'x', false))",
        ] {
            assert!(
                of(text).contains(&Step::LoseTrack),
                "{text}: {:?}",
                of(text)
            );
        }
    }

    #[test]
    fn what_runs_later_lurks() {
        for text in [
            "PREPARE p AS SELECT set_config('search_path', 'x', false)",
            "DECLARE c CURSOR WITH HOLD FOR SELECT set_config('search_path', 'x', false)",
            "CREATE VIEW v AS SELECT set_config('search_path', 'x', false)",
        ] {
            assert_eq!(of(text), [Step::Lurk], "{text}");
        }
    }

    #[test]
    fn roles_are_followed() {
        let role = |name: Option<&str>, local| Step::Role {
            name: name.map(str::to_owned),
            local,
        };
        let authorise = |name: Option<&str>| Step::Authorise {
            name: name.map(str::to_owned),
            local: false,
        };
        assert_eq!(of("SET ROLE bob"), [role(Some("bob"), false)]);
        assert_eq!(of("SET LOCAL ROLE bob"), [role(Some("bob"), true)]);
        assert_eq!(of("SET ROLE NONE"), [role(None, false)]);
        assert_eq!(of("RESET ROLE"), [role(None, false)]);
        assert_eq!(
            of("SELECT set_config('role', 'bob', true)"),
            [role(Some("bob"), true)]
        );
        assert_eq!(
            of("SET SESSION AUTHORIZATION bob"),
            [authorise(Some("bob"))]
        );
        assert_eq!(of("SET SESSION AUTHORIZATION DEFAULT"), [authorise(None)]);
        assert_eq!(of("RESET SESSION AUTHORIZATION"), [authorise(None)]);
    }

    #[test]
    fn ordinary_texts_do_nothing() {
        for text in [
            "SELECT 1",
            "SELECT set_config('TimeZone', 'UTC', false)",
            "SET TimeZone = 'UTC'",
            "INSERT INTO t VALUES (1)",
            "CREATE TABLE t (a int)",
            "DROP INDEX i",
            "broken broken",
            "EXPLAIN SELECT set_config('search_path', 'x', false)",
            "EXPLAIN CREATE TEMP TABLE t AS SELECT 1",
        ] {
            assert_eq!(of(text), [], "{text}");
        }
    }

    #[test]
    fn temporary_relations_come_and_go() {
        let make = |name: &str, until_commit| Step::Make {
            name: name.to_owned(),
            until_commit,
        };
        assert_eq!(of("CREATE TEMP TABLE a (x int)"), [make("a", false)]);
        assert_eq!(of("CREATE TABLE pg_temp.a (x int)"), [make("a", false)]);
        assert_eq!(
            of("CREATE TEMP TABLE a ON COMMIT DROP AS SELECT 1"),
            [make("a", true)]
        );
        assert_eq!(of("SELECT 1 INTO TEMP a"), [make("a", false)]);
        assert_eq!(of("CREATE TEMP VIEW v AS SELECT 1"), [make("v", false)]);
        assert_eq!(
            of("DROP TABLE a, app.b, pg_temp.c"),
            [Step::Drop("a".to_owned()), Step::Drop("c".to_owned())]
        );
        assert_eq!(
            of("EXPLAIN ANALYZE CREATE TEMP TABLE a AS SELECT 1"),
            [make("a", false)]
        );
    }

    #[test]
    fn a_setting_is_a_list_of_identifiers() {
        let list = |text| identifiers(text).map(|names| names.join("|"));
        assert_eq!(list("\"$user\", Public").as_deref(), Some("$user|public"));
        assert_eq!(list("").as_deref(), Some(""));
        assert_eq!(list("\"a\"\"b\"").as_deref(), Some("a\"b"));
        assert_eq!(list("a b"), None);
        assert_eq!(list("\"a"), None);
        assert_eq!(list("a,,b"), None);
    }
}
