//! Texts that are none, or made to be read wrongly.

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
