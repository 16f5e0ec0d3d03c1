//! What kind of statement a text is.

use super::*;
use Kind::{
    Alter, Call, CopyIn, CopyOut, Create, Delete, Do, Drop, Explain, Grant, Insert, Merge, Select,
    Set, Transaction, Truncate, Update, Utility,
};

fn check(text: &str, expected: &[Kind]) {
    assert_eq!(facts(text).kinds, expected, "{text}");
}

#[test]
fn of_queries_and_writes() {
    for (text, expected) in [
        ("SELECT 1", &[Select][..]),
        ("TABLE t", &[Select]),
        ("VALUES (1), (2)", &[Select]),
        ("SELECT 1 UNION ALL SELECT 2", &[Select]),
        ("INSERT INTO t VALUES (1)", &[Insert]),
        ("INSERT INTO t DEFAULT VALUES", &[Insert]),
        ("INSERT INTO t VALUES ((SELECT 1))", &[Select, Insert]),
        ("INSERT INTO t SELECT 1", &[Select, Insert]),
        ("UPDATE t SET a = 1", &[Update]),
        ("UPDATE t SET a = (SELECT 1)", &[Select, Update]),
        ("DELETE FROM t", &[Delete]),
        (
            "MERGE INTO t USING s ON a = b WHEN MATCHED THEN DELETE",
            &[Merge],
        ),
        (
            "WITH x AS (DELETE FROM t RETURNING a) SELECT * FROM x",
            &[Select, Delete],
        ),
        (
            "WITH a AS (INSERT INTO t VALUES (1) RETURNING 1), b AS (UPDATE t SET c = 1 RETURNING 1) SELECT 1",
            &[Select, Insert, Update],
        ),
        ("SELECT 1; DELETE FROM t; SELECT 2", &[Select, Delete]),
        ("SELECT 1 INTO t", &[Select, Create]),
        ("SELECT * FROM t FOR UPDATE OF t", &[Select]),
    ] {
        check(text, expected);
    }
}

#[test]
fn of_statements_around_statements() {
    for (text, expected) in [
        ("EXPLAIN SELECT 1", &[Select, Explain][..]),
        ("EXPLAIN (ANALYZE) DELETE FROM t", &[Delete, Explain]),
        (
            "EXPLAIN CREATE TABLE n AS SELECT 1",
            &[Select, Create, Explain],
        ),
        ("PREPARE p AS DELETE FROM t", &[Delete, Utility]),
        ("EXECUTE p(1)", &[Utility]),
        ("DECLARE c CURSOR FOR SELECT 1", &[Select]),
        ("CREATE TABLE n AS SELECT 1", &[Select, Create]),
        ("CREATE TABLE n AS EXECUTE p", &[Create, Utility]),
        ("CREATE MATERIALIZED VIEW n AS SELECT 1", &[Select, Create]),
        ("CREATE VIEW n AS SELECT 1", &[Select, Create]),
        ("COPY t TO STDOUT", &[CopyOut]),
        ("COPY t FROM STDIN", &[CopyIn]),
        ("COPY (SELECT 1) TO STDOUT", &[Select, CopyOut]),
        (
            "COPY (DELETE FROM t RETURNING a) TO STDOUT",
            &[Delete, CopyOut],
        ),
        (
            "CREATE RULE r AS ON INSERT TO t DO INSTEAD DELETE FROM u",
            &[Create],
        ),
        (
            "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC DELETE FROM t; END",
            &[Create],
        ),
        ("CREATE SCHEMA s CREATE TABLE t (a int)", &[Create]),
    ] {
        check(text, expected);
    }
}

#[test]
fn of_everything_else() {
    for (text, expected) in [
        ("CREATE TABLE t (a int)", Create),
        ("CREATE INDEX ON t (a)", Create),
        ("CREATE ROLE r PASSWORD 'x'", Grant),
        ("CREATE EXTENSION pgcrypto", Create),
        ("CREATE DATABASE d", Create),
        (
            "CREATE TRIGGER g AFTER INSERT ON t EXECUTE FUNCTION f()",
            Create,
        ),
        ("CREATE POLICY p ON t USING (a = 1)", Create),
        (
            "CREATE SUBSCRIPTION s CONNECTION 'host=x' PUBLICATION p",
            Create,
        ),
        ("IMPORT FOREIGN SCHEMA a FROM SERVER s INTO b", Create),
        ("ALTER TABLE t ADD COLUMN a int", Alter),
        ("ALTER TABLE t RENAME TO u", Alter),
        ("ALTER TABLE t SET SCHEMA s", Alter),
        ("ALTER TABLE t OWNER TO r", Alter),
        ("ALTER SYSTEM SET work_mem = '1MB'", Alter),
        ("ALTER ROLE r SET search_path = x", Alter),
        ("ALTER DATABASE d SET work_mem = '1MB'", Alter),
        ("COMMENT ON TABLE t IS 'x'", Alter),
        ("REINDEX TABLE t", Alter),
        ("CLUSTER t USING i", Alter),
        ("REFRESH MATERIALIZED VIEW v", Alter),
        ("REASSIGN OWNED BY a TO b", Alter),
        ("DROP TABLE t", Drop),
        ("DROP OWNED BY r", Drop),
        ("DROP DATABASE d", Drop),
        ("DROP ROLE r", Drop),
        ("TRUNCATE t", Truncate),
        ("GRANT SELECT ON t TO r", Grant),
        ("REVOKE r FROM u", Grant),
        (
            "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO r",
            Grant,
        ),
        ("SECURITY LABEL ON TABLE t IS 'x'", Grant),
        ("CALL p()", Call),
        ("DO $$ BEGIN END $$", Do),
        ("SET work_mem = '1MB'", Set),
        ("SET LOCAL work_mem = '1MB'", Set),
        ("SET ROLE r", Set),
        ("SET SESSION AUTHORIZATION r", Set),
        ("SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE", Set),
        ("RESET ALL", Set),
        ("DISCARD ALL", Set),
        ("SET TRANSACTION READ ONLY", Transaction),
        ("SET CONSTRAINTS ALL DEFERRED", Transaction),
        ("BEGIN", Transaction),
        ("COMMIT", Transaction),
        ("SAVEPOINT s", Transaction),
        ("ROLLBACK TO s", Transaction),
        ("PREPARE TRANSACTION 'x'", Transaction),
        ("SHOW work_mem", Utility),
        ("LISTEN c", Utility),
        ("NOTIFY c, 'x'", Utility),
        ("VACUUM t", Utility),
        ("ANALYZE t", Utility),
        ("LOCK TABLE t", Utility),
        ("FETCH ALL FROM c", Utility),
        ("CLOSE c", Utility),
        ("DEALLOCATE p", Utility),
        ("CHECKPOINT", Utility),
        ("LOAD 'x'", Utility),
    ] {
        check(text, &[expected]);
    }
}

#[test]
fn set_config_is_a_set() {
    check(
        "SELECT set_config('search_path', 'x', false)",
        &[Select, Set],
    );
}
