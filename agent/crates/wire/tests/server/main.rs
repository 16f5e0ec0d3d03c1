//! Conversations in front of a real PostgreSQL 15: what is assumed of the server, it does.

mod cluster;
mod holds;
mod session;

use cluster::Cluster;
use session::{Session, bind, cell, describe, error_field, execute, parse, query, shown, sync};
use weir_wire::postgres::{Ending, cells};

/// More than sockets and buffers hold.
const MANY: &str = "SELECT * FROM generate_series(1, 20000000)";

#[test]
fn a_server_behaves_as_conversations_assume() {
    let cluster = Cluster::start();
    rows_end_at_the_limit(&cluster);
    pipelines_end_at_the_limit(&cluster);
    small_answers_end_without_a_cancellation(&cluster);
    positions_are_the_clients(&cluster);
    words_are_shielded(&cluster);
    constants_are_values_of_their_types(&cluster);
    hidden_columns_are_masked(&cluster);
    holds::requests_wait_in_place(&cluster);
}

fn rows_end_at_the_limit(cluster: &Cluster) {
    let mut session = Session::open(cluster);
    session.rules.rows = Some(1_000);
    let answer = session.query(MANY);
    assert_eq!(shown(&answer), "T D1000 E ZI");
    assert_eq!(error_field(&answer, b'C').as_deref(), Some("54000"));
    assert_eq!(session.cancellations, 1);
    assert!(
        session.bytes_from_server < 100 << 20,
        "the server has stopped: {} bytes",
        session.bytes_from_server
    );
    assert_eq!(session.rules.finished[0].rows, 1_000);
    // The session goes on, and in a transaction the server's own state counts.
    assert_eq!(shown(&session.query("SELECT 1")), "T D1 C ZI");
    session.query("BEGIN");
    assert_eq!(shown(&session.query(MANY)), "T D1000 E ZE");
    assert_eq!(shown(&session.query("SELECT 1")), "E ZE");
    assert_eq!(shown(&session.query("ROLLBACK")), "C ZI");
    let copied = session.query(&format!("COPY ({MANY}) TO STDOUT"));
    assert_eq!(shown(&copied), "H d1000 E ZI");
}

fn pipelines_end_at_the_limit(cluster: &Cluster) {
    let mut session = Session::open(cluster);
    session.rules.rows = Some(1_000);
    let up = [
        parse("", MANY),
        bind("", "", None, 0),
        execute("", 0),
        parse("after", "SELECT 2"),
        sync(),
        parse("", "SELECT 3"),
        bind("", "", None, 0),
        execute("", 0),
        sync(),
    ];
    assert_eq!(shown(&session.ask(&up, 2)), "1 2 D1000 E ZI 1 2 D1 C ZI");
    // What the server skipped was not prepared.
    let after = [bind("", "after", None, 0), execute("", 0), sync()];
    let answer = session.ask(&after, 1);
    assert_eq!(error_field(&answer, b'C').as_deref(), Some("26000"));
    // A portal's executions count together.
    let portal = [
        parse("", MANY),
        bind("p", "", None, 1),
        execute("p", 600),
        execute("p", 300),
        execute("p", 300),
        sync(),
    ];
    assert_eq!(
        shown(&session.ask(&portal, 1)),
        "1 2 D600 s D300 s D100 E ZI"
    );
}

fn small_answers_end_without_a_cancellation(cluster: &Cluster) {
    let mut session = Session::open(cluster);
    session.rules.rows = Some(2);
    let answer = session.query("SELECT generate_series(1, 3); SELECT 4");
    assert_eq!(shown(&answer), "T D2 E ZI");
    let up = [
        parse("", "SELECT generate_series(1, 3)"),
        bind("", "", None, 0),
        execute("", 0),
        parse("", "SELECT 1"),
        bind("", "", None, 0),
        execute("", 0),
        sync(),
    ];
    assert_eq!(shown(&session.ask(&up, 1)), "1 2 D2 E ZI");
    assert_eq!(session.cancellations, 0);
    assert_eq!(session.rules.finished[0].ending, Ending::Completed);
    assert_eq!(shown(&session.query("SELECT 1")), "T D1 C ZI");
}

fn positions_are_the_clients(cluster: &Cluster) {
    let mut session = Session::open(cluster);
    assert_eq!(
        shown(&session.query("SELECT a, b FROM hidden")),
        "T D1 C ZI"
    );
    for (text, word) in [
        ("SELECT a, nope FROM hidden", "nope"),
        ("SELECT 'é', a FROM hidden WHERE nope = 1", "nope"),
        ("SELECT a FROM hidden, pg_class AS x WHERE x.nope", "x.nope"),
        ("SELECT a FROM hidden ORDER BY b nope", "nope"),
        // The replacement has an alias already.
        ("SELECT 'é' FROM hidden AS other", "AS"),
    ] {
        let expected = text[..text.find(word).expect("there")].chars().count() + 1;
        for answer in [
            session.query(text),
            session.ask(&[parse("", text), sync()], 1),
        ] {
            let position = error_field(&answer, b'P');
            assert_eq!(position, Some(expected.to_string()), "{text}");
        }
    }
}

fn words_are_shielded(cluster: &Cluster) {
    let mut session = Session::open(cluster);
    let made = "CREATE TABLE people (id int PRIMARY KEY, ssn text CHECK (ssn::text <> '' AND length(ssn) > 3));
        CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE NOTICE 'secret %', NEW.ssn; RAISE EXCEPTION 'secret %', NEW.ssn
           USING DETAIL = 'secret', HINT = 'secret', CONSTRAINT = 'secret'; END $$;
        CREATE TABLE told (ssn text);
        CREATE TRIGGER t BEFORE INSERT ON told FOR EACH ROW EXECUTE FUNCTION tell();
        SET client_min_messages = log";
    assert!(shown(&session.query(made)).ends_with("ZI"));
    for text in [
        "INSERT INTO people VALUES (1, 'secret'), (1, 'secret')",
        "INSERT INTO people VALUES (NULL, 'secret')",
        "INSERT INTO told VALUES ('secret')",
        "INSERT INTO people VALUES (('x' || 'secret')::int, '')",
    ] {
        let answer = session.query(text);
        assert!(error_field(&answer, b'M').is_some(), "{text}");
        for (tag, body) in &answer {
            let text_of = String::from_utf8_lossy(body);
            assert!(!text_of.contains("secret"), "{text}: {tag} {text_of:?}");
        }
    }
    let answer = session.query("INSERT INTO people VALUES (1, 'long'), (1, 'long')");
    assert_eq!(error_field(&answer, b'n').as_deref(), Some("people_pkey"));
    let answer = session.query("SELECT 'x'::int");
    assert!(error_field(&answer, b'M').is_some_and(|text| text.contains("invalid input syntax")));
}

fn constants_are_values_of_their_types(cluster: &Cluster) {
    let mut session = Session::open(cluster);
    let mut known = 0;
    for type_oid in 16..5_000 {
        let (Some(text), Some(binary)) = (cells::text(type_oid), cells::binary(type_oid)) else {
            continue;
        };
        known += 1;
        let name = cell(&session.query(&format!("SELECT format_type({type_oid}, NULL)")));
        let name = String::from_utf8(name.expect("a name")).expect("UTF-8");
        if name == "unknown" {
            continue;
        }
        // `format_type` without a modifier would be read as one of length one.
        let name = match name.strip_suffix("[]") {
            Some(element) => format!("{}[]", open_ended(element)),
            None => open_ended(&name),
        };
        let read = session.query(&format!("SELECT '{text}'::{name}"));
        let shown_as = cell(&read).expect("a value");
        let up = [
            parse("", &format!("SELECT $1::{name}")),
            bind("", "", Some(&binary), 0),
            execute("", 0),
            sync(),
        ];
        assert_eq!(
            cell(&session.ask(&up, 1)).as_deref(),
            Some(&*shown_as),
            "{name}"
        );
        let up = [
            parse("", &format!("SELECT '{text}'::{name}")),
            bind("", "", None, 1),
            execute("", 0),
            sync(),
        ];
        assert_eq!(
            cell(&session.ask(&up, 1)).as_deref(),
            Some(&*binary),
            "{name}"
        );
    }
    assert!(known > 60, "{known} types are known");
}

fn open_ended(name: &str) -> String {
    match name {
        "character" => "bpchar".to_owned(),
        "bit" => "pg_catalog.bit".to_owned(),
        "\"char\"" => "\"char\"".to_owned(),
        name => name.to_owned(),
    }
}

fn hidden_columns_are_masked(cluster: &Cluster) {
    let mut session = Session::open(cluster);
    session.query("CREATE TABLE s (ssn text, age int, whole numeric, none point)");
    session.query("INSERT INTO s VALUES ('078-05-1120', 7, NULL, '(1,2)')");
    let relation = cell(&session.query("SELECT 's'::regclass::oid")).expect("a number");
    let relation = String::from_utf8(relation).expect("digits");
    session.rules.masked = vec![relation.parse().expect("digits")];
    for (column, text, binary) in [
        ("ssn", Some(&b"***"[..]), Some(&b"***"[..])),
        ("age", Some(b"0"), Some(&[0; 4])),
        ("whole", Some(b"0"), Some(&[0; 8])),
        ("none", None, None),
        ("s", None, None),
    ] {
        let select = format!("SELECT {column} FROM s");
        assert_eq!(cell(&session.query(&select)).as_deref(), text, "{column}");
        session.ask(&[parse("named", &select), describe("named"), sync()], 1);
        // Nothing is described in this round trip.
        let up = [bind("", "named", None, 1), execute("", 0), sync()];
        assert_eq!(cell(&session.ask(&up, 1)).as_deref(), binary, "{column}");
        let close = weir_wire::postgres::frontend::message(b'C', &[b"Snamed\0"]);
        session.ask(&[close, sync()], 1);
    }
    assert_eq!(session.rules.incidents, 10);
    // A cursor of SQL's, read by the protocol.
    session.query("BEGIN");
    session.query("DECLARE cc CURSOR FOR SELECT ssn FROM s");
    let describe = weir_wire::postgres::frontend::message(b'D', &[b"Pcc\0"]);
    let answer = session.ask(&[describe, execute("cc", 0), sync()], 1);
    assert_eq!(cell(&answer).as_deref(), Some(&b"***"[..]));
    let answer = session.ask(&[query("SELECT upper(ssn) FROM s")], 1);
    assert_eq!(
        cell(&answer).as_deref(),
        Some(&b"078-05-1120"[..]),
        "made of something else"
    );
}
