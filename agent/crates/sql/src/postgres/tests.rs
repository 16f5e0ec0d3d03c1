use super::*;
use crate::facts::{RelationUse, Use};

mod columns;
pub(super) mod corpus;
mod properties;

fn facts(text: &str) -> Facts {
    let facts = analyse(text.as_bytes(), SessionModes::default());
    assert_eq!(facts.parse_error, None, "{text}");
    facts
}

fn uses(text: &str) -> Vec<String> {
    facts(text).relations.iter().map(written).collect()
}

fn written(RelationUse { relation, usage }: &RelationUse) -> String {
    let usage = match usage {
        Use::Read => "read",
        Use::Write => "write",
        Use::Define => "define",
    };
    match &relation.schema {
        Some(schema) => format!("{usage} {schema}.{}", relation.name),
        None => format!("{usage} {}", relation.name),
    }
}

mod kinds {
    use super::*;
    use Kind::{
        Alter, Call, CopyIn, CopyOut, Create, Delete, Do, Drop, Explain, Grant, Insert, Merge,
        Select, Set, Transaction, Truncate, Update, Utility,
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
}

mod relations {
    use super::*;

    fn check(text: &str, expected: &[&str]) {
        assert_eq!(uses(text), expected, "{text}");
    }

    #[test]
    fn are_found_wherever_a_query_can_stand() {
        for text in [
            "SELECT * FROM secret",
            "TABLE secret",
            "SELECT (SELECT a FROM secret)",
            "SELECT 1 WHERE EXISTS (SELECT 1 FROM secret)",
            "SELECT 1 WHERE 1 = ANY (SELECT a FROM secret)",
            "SELECT ARRAY(SELECT a FROM secret)",
            "SELECT * FROM (SELECT * FROM secret) x",
            "SELECT * FROM LATERAL (SELECT * FROM secret) x",
            "SELECT * FROM ONLY secret TABLESAMPLE SYSTEM (1)",
            "SELECT * FROM ROWS FROM (unnest((SELECT array_agg(a) FROM secret)))",
            "SELECT 1 ORDER BY (SELECT a FROM secret)",
            "SELECT 1 GROUP BY (SELECT a FROM secret)",
            "SELECT 1 HAVING (SELECT a FROM secret) = 1",
            "SELECT 1 LIMIT (SELECT a FROM secret)",
            "SELECT 1 OFFSET (SELECT a FROM secret)",
            "SELECT count(*) FILTER (WHERE (SELECT true FROM secret))",
            "SELECT sum(1) OVER (PARTITION BY (SELECT a FROM secret))",
            "SELECT sum(1) OVER w WINDOW w AS (ORDER BY (SELECT a FROM secret))",
            "SELECT string_agg('a', 'b' ORDER BY (SELECT a FROM secret))",
            "SELECT DISTINCT ON ((SELECT a FROM secret)) 1",
            "SELECT CASE WHEN true THEN (SELECT a FROM secret) END",
            "SELECT coalesce(NULL, (SELECT a FROM secret))",
            "SELECT ROW((SELECT a FROM secret))",
            "SELECT (ARRAY[1])[(SELECT a FROM secret)]",
            "SELECT ((SELECT secret FROM secret)).a",
            "SELECT x::text COLLATE \"C\" FROM secret x",
            "SELECT xmlelement(name a, (SELECT a FROM secret))",
            "SELECT JSON_OBJECT('a' : (SELECT a FROM secret))",
            "SELECT JSON_ARRAY(SELECT a FROM secret)",
            "SELECT * FROM JSON_TABLE((SELECT a FROM secret), '$' COLUMNS (a int PATH '$'))",
            "SELECT * FROM XMLTABLE('/a' PASSING (SELECT a FROM secret) COLUMNS b int)",
            "SELECT 1 UNION SELECT a FROM secret",
            "(SELECT 1) EXCEPT (SELECT a FROM secret)",
            "VALUES ((SELECT a FROM secret))",
            "WITH x AS (SELECT * FROM secret) SELECT * FROM x",
            "SELECT * FROM a_function((SELECT a FROM secret))",
            "EXPLAIN SELECT * FROM secret",
            "DECLARE c CURSOR FOR SELECT * FROM secret",
            "PREPARE p AS SELECT * FROM secret",
            "EXECUTE p((SELECT a FROM secret))",
            "CALL p((SELECT a FROM secret))",
            "COPY secret TO STDOUT",
            "COPY (SELECT * FROM secret) TO STDOUT",
            "DECLARE c CURSOR FOR SELECT 1 FROM secret FOR UPDATE OF secret",
        ] {
            check(text, &["read secret"]);
        }
    }

    #[test]
    fn a_cte_hides_a_relation_only_where_it_is_in_sight() {
        for (text, expected) in [
            ("WITH t AS (SELECT 1) SELECT * FROM t", &[][..]),
            (
                "WITH t AS (SELECT 1) SELECT * FROM public.t",
                &["read public.t"],
            ),
            ("WITH t AS (SELECT * FROM t) SELECT * FROM t", &["read t"]),
            (
                "WITH RECURSIVE t AS (SELECT 1 UNION ALL SELECT * FROM t) SELECT * FROM t",
                &[],
            ),
            (
                "WITH a AS (SELECT * FROM b), b AS (SELECT 1) SELECT * FROM a, b",
                &["read b"],
            ),
            (
                "WITH RECURSIVE a AS (SELECT * FROM b), b AS (SELECT 1) SELECT * FROM a, b",
                &[],
            ),
            (
                "WITH b AS (SELECT 1), a AS (SELECT * FROM b) SELECT * FROM a",
                &[],
            ),
            (
                "SELECT * FROM (WITH t AS (SELECT 1) SELECT * FROM t) x, t",
                &["read t"],
            ),
            (
                "WITH t AS (SELECT 1) SELECT (SELECT a FROM t) FROM u",
                &["read u"],
            ),
            ("WITH t AS (SELECT 1) SELECT 1 UNION SELECT * FROM t", &[]),
            (
                "(WITH t AS (SELECT 1) SELECT * FROM t) UNION SELECT * FROM t",
                &["read t"],
            ),
            ("WITH t AS (SELECT 1) DELETE FROM t", &["write t"]),
            (
                "WITH t AS (SELECT 1) INSERT INTO t SELECT * FROM t",
                &["write t"],
            ),
            (
                "WITH t AS (SELECT 1) UPDATE u SET a = 1 FROM t",
                &["write u"],
            ),
            (
                "WITH t AS (DELETE FROM t RETURNING 1) SELECT * FROM t",
                &["write t"],
            ),
            (
                "WITH t AS (SELECT 1) SELECT * FROM t; SELECT * FROM t",
                &["read t"],
            ),
            (
                "INSERT INTO u WITH t AS (SELECT 1) SELECT * FROM t",
                &["write u"],
            ),
            ("WITH t AS (SELECT 1) SELECT * FROM t FOR UPDATE OF t", &[]),
        ] {
            check(text, expected);
        }
    }

    #[test]
    fn writes_that_name_columns_read_their_target_too() {
        for (text, expected) in [
            ("INSERT INTO t VALUES (1)", &["write t"][..]),
            ("INSERT INTO t VALUES (1) RETURNING id", &["write t"]),
            (
                "INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING",
                &["write t"],
            ),
            (
                "INSERT INTO t VALUES (1) ON CONFLICT (a) DO UPDATE SET b = t.b + 1",
                &["read t", "write t"],
            ),
            (
                "INSERT INTO t VALUES (1) ON CONFLICT (a) DO UPDATE SET b = 1 RETURNING b",
                &["read t", "write t"],
            ),
            ("UPDATE t SET a = 1", &["write t"]),
            ("UPDATE t SET a = a + 1", &["read t", "write t"]),
            ("UPDATE t SET a = 1 WHERE b = 2", &["read t", "write t"]),
            ("UPDATE t SET a = 1 RETURNING *", &["read t", "write t"]),
            ("DELETE FROM t", &["write t"]),
            (
                "DELETE FROM t USING u WHERE t.a = u.a",
                &["read t", "read u", "write t"],
            ),
            (
                "MERGE INTO t USING s ON t.a = s.a WHEN MATCHED THEN UPDATE SET b = s.b WHEN NOT MATCHED THEN INSERT VALUES (s.a)",
                &["read s", "read t", "write t"],
            ),
            ("COPY t FROM STDIN", &["write t"]),
            ("TRUNCATE t, s.u", &["write t", "write s.u"]),
        ] {
            let mut expected = expected.to_vec();
            let mut found = uses(text);
            expected.sort_unstable();
            found.sort_unstable();
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn definitions_name_what_they_touch() {
        for (text, expected) in [
            ("CREATE TABLE s.t (a int)", &["define s.t"][..]),
            ("CREATE TABLE n AS SELECT * FROM t", &["define n", "read t"]),
            ("SELECT * INTO n FROM t", &["define n", "read t"]),
            ("CREATE VIEW v AS SELECT * FROM t", &["define v", "read t"]),
            ("CREATE INDEX i ON t (a)", &["define t"]),
            (
                "CREATE TRIGGER g AFTER INSERT ON t EXECUTE FUNCTION f()",
                &["define t"],
            ),
            (
                "CREATE RULE r AS ON INSERT TO t DO INSTEAD DELETE FROM u",
                &["define t"],
            ),
            (
                "CREATE TABLE n (a int REFERENCES t)",
                &["define n", "define t"],
            ),
            (
                "CREATE POLICY p ON t USING (EXISTS (SELECT 1 FROM u))",
                &["define t", "read u"],
            ),
            ("ALTER TABLE s.t ADD a int", &["define s.t"]),
            ("ALTER TABLE t RENAME COLUMN a TO b", &["define t"]),
            ("ALTER TABLE t OWNER TO r", &["define t"]),
            ("DROP TABLE a, s.b", &["define a", "define s.b"]),
            ("DROP TRIGGER g ON s.t", &["define s.t"]),
            ("DROP FUNCTION f", &[]),
            ("COMMENT ON COLUMN s.t.a IS 'x'", &["define s.t"]),
            ("GRANT SELECT ON t TO r", &["define t"]),
            ("REFRESH MATERIALIZED VIEW v", &["define v"]),
            ("VACUUM t", &["define t"]),
            ("LOCK t", &["define t"]),
        ] {
            let mut found = uses(text);
            found.sort_unstable();
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn names_are_folded_as_the_server_folds_them() {
        check("SELECT * FROM \"T\", T, \"t\"", &["read T", "read t"]);
    }
}

mod conditions {
    use super::*;

    #[test]
    fn that_choose_rows_count() {
        for condition in [
            "id = 5",
            "id = 5 AND 1 = 1",
            "id = $1",
            "$1",
            "EXISTS (SELECT 1)",
            "id IN (1, 2)",
            "NOT id = 5",
            "NOT (id = 5 OR a = 6)",
            "id = 5 OR a = 6",
            "id IS NULL",
            "id IS NULL OR a IS NOT NULL",
            "CURRENT OF c",
            "(id = 5) IS TRUE",
            "lower(name) = 'x'",
            "id = other",
            "a.id = b.id",
        ] {
            let text = format!("DELETE FROM t WHERE {condition}");
            assert_eq!(facts(&text).has_where, Some(true), "{text}");
        }
    }

    #[test]
    fn that_choose_nothing_count_as_none() {
        for condition in [
            "true",
            "1 = 1",
            "'a' = 'a'",
            "NOT false",
            "NOT NOT true",
            "true IS TRUE",
            "'t'::bool",
            "id = 5 OR true",
            "id = 5 OR 1 = 1",
            "id = 5 OR (a = 6 OR 2 > 1)",
            "NOT (id = 5 AND false)",
            "id = id",
            "t.id = t.id",
            "id IS NOT DISTINCT FROM id",
            "NOT (id IS DISTINCT FROM id)",
            "1 IS NOT DISTINCT FROM 1",
            "id IS NULL OR id IS NOT NULL",
            "NOT (id IS NULL AND id IS NOT NULL)",
            "$1 = $1",
            "id::text = id::text",
            "random() < 2",
            "now() > '2000-01-01'",
            "1 IN (1, 2)",
            "1 BETWEEN 0 AND 2",
            "CASE WHEN true THEN true END",
            "coalesce(NULL, true)",
        ] {
            for verb in ["DELETE FROM t", "UPDATE t SET a = 1"] {
                let text = format!("{verb} WHERE {condition}");
                assert_eq!(facts(&text).has_where, Some(false), "{text}");
            }
        }
    }

    #[test]
    fn of_all_statements_count_together() {
        for (text, expected) in [
            ("SELECT 1", None),
            ("INSERT INTO t VALUES (1)", None),
            ("DELETE FROM t", Some(false)),
            ("DELETE FROM t WHERE id = 1; DELETE FROM t", Some(false)),
            ("DELETE FROM t; DELETE FROM t WHERE id = 1", Some(false)),
            (
                "WITH x AS (DELETE FROM t RETURNING 1) SELECT 1",
                Some(false),
            ),
            ("EXPLAIN ANALYZE UPDATE t SET a = 1", Some(false)),
            ("PREPARE p AS DELETE FROM t WHERE id = $1", Some(true)),
        ] {
            assert_eq!(facts(text).has_where, expected, "{text}");
        }
    }
}

mod details {
    use super::*;

    #[test]
    fn a_limit_is_a_constant_on_every_outer_query() {
        for (text, expected) in [
            ("SELECT 1 LIMIT 5", Some(5)),
            ("SELECT 1 LIMIT 5000000000", Some(5_000_000_000)),
            ("SELECT 1 FETCH FIRST 5 ROWS ONLY", Some(5)),
            ("SELECT 1 ORDER BY 1 FETCH FIRST 5 ROWS WITH TIES", None),
            ("SELECT 1 LIMIT ALL", None),
            ("SELECT 1 LIMIT $1", None),
            ("SELECT 1 LIMIT 2 + 3", None),
            ("SELECT 1 LIMIT -1", None),
            ("SELECT * FROM (SELECT 1 LIMIT 5) x", None),
            ("SELECT 1 LIMIT 5; SELECT 1 LIMIT 3", Some(3)),
            ("SELECT 1 LIMIT 5; SELECT 1", None),
            ("(SELECT 1 LIMIT 1) UNION ALL SELECT 2", None),
            ("DELETE FROM t", None),
        ] {
            assert_eq!(facts(text).limit, expected, "{text}");
        }
    }

    #[test]
    fn functions_are_listed_as_written() {
        assert_eq!(
            facts("SELECT Lower(a), s.f(max(b)), extract(year FROM c) FROM g(1)").functions,
            ["g", "lower", "max", "pg_catalog.extract", "s.f"]
        );
        assert_eq!(facts("CALL s.p()").functions, ["s.p"]);
        assert_eq!(
            facts("COPY t TO '/tmp/x'").functions,
            ["pg_write_server_files"]
        );
        assert_eq!(
            facts("COPY t FROM '/tmp/x'").functions,
            ["pg_read_server_files"]
        );
        assert_eq!(
            facts("COPY t TO PROGRAM 'cat'").functions,
            ["pg_execute_server_program"]
        );
        assert!(facts("COPY t TO STDOUT").functions.is_empty());
    }

    #[test]
    fn confidence_falls_with_what_the_text_does_not_show() {
        for (text, expected) in [
            ("SELECT lower(a) FROM t", Confidence::Exact),
            ("SELECT my_function()", Confidence::Tainted),
            ("SELECT public.lower('x')", Confidence::Tainted),
            ("EXECUTE p", Confidence::Tainted),
            ("FETCH ALL FROM c", Confidence::Tainted),
            ("DO $$ BEGIN END $$", Confidence::Opaque),
            ("CALL p()", Confidence::Opaque),
            (
                "SELECT query_to_xml('SELECT 1', true, true, '')",
                Confidence::Opaque,
            ),
            (
                "SELECT * FROM dblink('x', 'DELETE FROM t') AS t (a int)",
                Confidence::Opaque,
            ),
            ("COPY t FROM PROGRAM 'x'", Confidence::Opaque),
            ("SELECT my_function(); DO 'x'; SELECT 1", Confidence::Opaque),
        ] {
            assert_eq!(facts(text).confidence, expected, "{text}");
        }
    }

    #[test]
    fn what_changes_later_texts_is_said() {
        for text in [
            "SET search_path = x",
            "SET LOCAL standard_conforming_strings = off",
            "RESET ALL",
            "DISCARD ALL",
            "SET ROLE r",
            "SET SESSION AUTHORIZATION r",
            "SELECT set_config('search_path', 'x', false)",
            "SELECT pg_catalog.set_config('search_path', 'x', false)",
            "SELECT 1; SET search_path = x",
        ] {
            assert!(facts(text).changes_session, "{text}");
        }
        for text in [
            "SELECT 1",
            "ALTER ROLE r SET search_path = x",
            "SET TRANSACTION READ ONLY",
            "BEGIN",
        ] {
            assert!(!facts(text).changes_session, "{text}");
        }
    }

    #[test]
    fn no_literal_survives_normalising() {
        for text in [
            "SELECT 'sesame', E'sesame', U&'sesame', $$sesame$$, $x$ sesame $x$, N'sesame', X'5e5a'",
            "SELECT 1 -- sesame",
            "SELECT /* sesame */ 1",
            "CREATE USER u PASSWORD 'sesame'",
            "ALTER ROLE u WITH ENCRYPTED PASSWORD 'sesame'",
            "COPY t FROM '/sesame'",
            "COPY t TO PROGRAM 'sesame'",
            "DO $$ BEGIN PERFORM 'sesame'; END $$",
            "CREATE FUNCTION f() RETURNS text LANGUAGE sql AS 'SELECT ''sesame'''",
            "CREATE SUBSCRIPTION s CONNECTION 'password=sesame' PUBLICATION p",
            "CREATE USER MAPPING FOR u SERVER s OPTIONS (password 'sesame')",
            "SET app.token = sesame",
            "SET app.token TO 'sesame'",
            "SET LOCAL app.token TO a, sesame",
            "ALTER ROLE u SET app.token = sesame",
            "ALTER DATABASE d SET app.token = sesame",
            "ALTER SYSTEM SET app.token = sesame",
            "NOTIFY c, 'sesame'",
            "PREPARE TRANSACTION 'sesame'",
            "COMMENT ON TABLE t IS 'sesame'",
            "SELECT 'a'\n'sesame'",
        ] {
            let facts = facts(text);
            assert!(!facts.normalised.contains("sesame"), "{}", facts.normalised);
            assert!(facts.normalised.contains('$'), "{}", facts.normalised);
        }
        let broken = analyse(b"SELECT 'sesame' FROM FROM", SessionModes::default());
        assert_eq!(broken.normalised, "<unparsed, 25 bytes>");
        assert_eq!(broken.fingerprint, 0);
    }

    #[test]
    fn settings_that_are_names_stay_readable() {
        assert_eq!(
            facts("SET search_path TO public, x").normalised,
            "SET search_path TO public, x"
        );
    }

    #[test]
    fn tags_are_claimed_also_by_a_text_that_does_not_parse() {
        let expected = [("route".to_owned(), "/a".to_owned())];
        assert_eq!(facts("SELECT 1 /*route='%2Fa'*/").claimed, expected);
        let broken = analyse(
            b"SELECT FROM FROM /*route='%2Fa'*/",
            SessionModes::default(),
        );
        assert_eq!(broken.claimed, expected);
    }

    #[test]
    fn an_empty_text_does_nothing() {
        for text in ["", "  ", ";", ";;", "-- x", "/* x */ ; "] {
            let facts = facts(text);
            assert!(facts.kinds.is_empty(), "{text}");
            assert_eq!(facts.statement_count, 0, "{text}");
            assert_eq!(facts.confidence, Confidence::Exact, "{text}");
        }
        assert_eq!(facts("SELECT 1; ; SELECT 2;").statement_count, 2);
    }

    #[test]
    fn facts_recorded_before_a_field_was_added_are_still_read() {
        let mut value = serde_json::to_value(facts("SELECT 1")).expect("facts serialise");
        value
            .as_object_mut()
            .expect("an object")
            .remove("literal_free");
        let read: Facts = serde_json::from_value(value).expect("old facts are read");
        assert!(!read.literal_free);
    }
}

mod hostile {
    use super::*;

    fn refused(text: &[u8], modes: SessionModes) -> String {
        let facts = analyse(text, modes);
        assert_eq!(facts.confidence, Confidence::Unparsed);
        assert_eq!(facts.kinds, [Kind::Unknown]);
        facts.parse_error.expect("a reason")
    }

    #[test]
    fn a_syntax_error_is_in_the_servers_words() {
        assert_eq!(
            refused(b"SELEC 1", SessionModes::default()),
            "syntax error at or near \"SELEC\""
        );
        assert_eq!(
            refused(b"SELECT 'x", SessionModes::default()),
            "unterminated quoted string at or near \"'x\""
        );
    }

    #[test]
    fn bytes_that_are_no_text_are_refused() {
        let modes = SessionModes::default();
        assert_eq!(
            refused(b"SELECT 1\0; DELETE FROM t", modes),
            "the text contains a zero byte"
        );
        assert_eq!(
            refused(b"SELECT '\xff'", modes),
            "the text is not valid UTF-8"
        );
        let long = vec![b' '; MAX_STATEMENT_BYTES + 1];
        assert_eq!(
            refused(&long, modes),
            "the text is longer than 1048576 bytes"
        );
    }

    #[test]
    fn another_encoding_is_read_only_where_it_is_ascii() {
        let modes = SessionModes {
            foreign_encoding: true,
            ..SessionModes::default()
        };
        assert_eq!(analyse(b"SELECT 1", modes).confidence, Confidence::Exact);
        refused("SELECT 'é'".as_bytes(), modes);
    }

    #[test]
    fn a_backslash_is_read_as_the_session_reads_it() {
        let text = br"SELECT '\''; DELETE FROM customers; --'";
        assert_eq!(analyse(text, SessionModes::default()).statement_count, 1);
        let modes = SessionModes {
            backslash_in_strings: true,
            ..SessionModes::default()
        };
        let facts = analyse(text, modes);
        assert_eq!(facts.kinds, [Kind::Select, Kind::Delete]);
        assert_eq!(facts.normalised, "SELECT $1; DELETE FROM customers");
    }

    #[test]
    fn statements_hidden_from_simple_lexers_are_seen() {
        for text in [
            "select 1 as a$b$; DELETE FROM customers; select 2 as c$b$",
            "select $t1$ ' $t1$; DELETE FROM customers; --'",
            "select 1 --\r; DELETE FROM customers",
            "COPY t FROM stdin; DELETE FROM customers",
            "select 1 /* /* */ ; select 2 */; DELETE FROM customers",
            "select E'\\''; DELETE FROM customers; --'",
        ] {
            assert!(facts(text).kinds.contains(&Kind::Delete), "{text}");
        }
    }

    #[test]
    fn deep_but_valid_statements_are_read() {
        for text in [
            format!("SELECT a{} FROM t", "||a".repeat(60)),
            format!("SELECT a{} FROM t", "||a".repeat(2_000)),
            format!(
                "{}SELECT 1 FROM t{}",
                "SELECT * FROM (".repeat(30),
                ") x".repeat(30)
            ),
            format!(
                "{}SELECT 1 FROM t{}",
                "SELECT * FROM (".repeat(500),
                ") x".repeat(500)
            ),
            format!("SELECT 1 FROM t{}", " UNION ALL SELECT 2".repeat(200)),
            format!("SELECT 1 FROM t{}", " UNION ALL SELECT 2".repeat(2_000)),
            format!(
                "SELECT {}1{} FROM t",
                "CASE WHEN a THEN ".repeat(300),
                " END".repeat(300)
            ),
            format!("SELECT {}1{} FROM t", "(".repeat(2_000), ")".repeat(2_000)),
            format!("SELECT 1 FROM t WHERE {}b", "NOT ".repeat(2_000)),
            format!("SELECT 1 FROM t{}", " JOIN t ON a AND b".repeat(1_000)),
        ] {
            let facts = analyse(text.as_bytes(), SessionModes::default());
            assert_eq!(facts.parse_error, None, "{} …", &text[..60]);
            assert_eq!(facts.relations.len(), 1, "{} …", &text[..60]);
        }
    }

    #[test]
    fn any_depth_gives_facts_or_an_error() {
        let n = MAX_STATEMENT_BYTES / 20;
        for text in [
            format!("SELECT a{}", "||a".repeat(n)),
            format!("SELECT {}1", "(".repeat(n)),
            format!("SELECT {}1{}", "(".repeat(n), ")".repeat(n)),
            format!("SELECT {}1", "NOT ".repeat(n)),
            format!("SELECT {}1", "- ".repeat(n)),
            format!("SELECT {}1{}", "CASE WHEN ".repeat(n), " END".repeat(n)),
            format!("SELECT 1{}", " UNION SELECT 1".repeat(n)),
            format!("SELECT 1{}", "::a".repeat(n)),
            format!("SELECT 1{}", " IS NULL".repeat(n)),
            format!("SELECT a{}", "[1]".repeat(n)),
            format!("SELECT a{}", ".b".repeat(n)),
            format!("SELECT {}1{}", "ARRAY[".repeat(n), "]".repeat(n)),
            format!("SELECT 1 FROM a{}", " JOIN b ON c".repeat(n)),
            format!(
                "SELECT 1 FROM {}a{}",
                "a JOIN ".repeat(n),
                " ON b".repeat(n)
            ),
            format!("{}1{}", "SELECT (".repeat(n), ")".repeat(n)),
            format!("{}SELECT 1{}", "EXPLAIN ".repeat(n), ""),
            format!("SELECT a{}", " AT TIME ZONE b".repeat(n)),
            format!("SELECT a{}", " COLLATE b".repeat(n)),
            format!("SELECT 1{}", "; SELECT 1".repeat(n)),
        ] {
            let facts = analyse(text.as_bytes(), SessionModes::default());
            assert!(
                facts.confidence == Confidence::Unparsed || facts.statement_count > 0,
                "{} …",
                &text[..40]
            );
        }
    }
}
