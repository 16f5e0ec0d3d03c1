//! Whether a write has a condition, and what limits a query.

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
