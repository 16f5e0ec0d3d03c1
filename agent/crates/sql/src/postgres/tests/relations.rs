//! Which relations a text names, and what it does with them.

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
