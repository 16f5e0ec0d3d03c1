//! Functions, settings of the session, confidence.

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
