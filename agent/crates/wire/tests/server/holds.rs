//! Requests that wait in front of a real server.

use weir_wire::postgres::conversation::{Look, Moment};

use crate::{
    cluster::Cluster,
    session::{ASK, Message, Session, bind, cell, error_field, execute, parse, query, shown, sync},
};

pub(crate) fn requests_wait_in_place(cluster: &Cluster) {
    answers_ahead_come_while_it_waits(cluster);
    looks_run_while_it_waits(cluster);
    functions_run_at_bind(cluster);
    a_refusal_undoes_what_its_pipeline_did(cluster);
    a_refused_bind_leaves_the_portal_that_was(cluster);
    data_waits_behind_its_copy(cluster);
    an_error_ahead_ends_the_wait(cluster);
}

fn round(name: &str, text: &str) -> Vec<Vec<u8>> {
    vec![parse(name, text), bind("", name, None, 0), execute("", 0)]
}

/// What was told of the refusal.
fn not_approved(answer: &[Message]) -> bool {
    error_field(answer, b'M').as_deref() == Some("not approved")
        && error_field(answer, b'C').as_deref() == Some("42501")
}

fn answers_ahead_come_while_it_waits(cluster: &Cluster) {
    let mut session = Session::open(cluster);
    let pipeline = [
        round("", "SELECT 1"),
        round("h", &format!("SELECT {ASK} generate_series(1, 3)")),
        vec![sync()],
        round("", "SELECT 4"),
        vec![sync()],
    ];
    session.send(&pipeline.concat());
    // Nobody has sent a Sync: it is the added Flush that makes the server answer.
    assert_eq!(shown(&session.hear(5)), "1 2 D1 C 1");
    assert_eq!(session.conversation.moment(), Moment::Open);
    assert_eq!(shown(&session.decide(true, 2)), "2 D3 C ZI 1 2 D1 C ZI");
    // In pieces, and the same portal over and over.
    session.query("BEGIN");
    session.send(&[bind("p", "h", None, 0), execute("p", 1), sync()]);
    assert_eq!(shown(&session.decide(true, 1)), "2 D1 s ZT");
    assert_eq!(
        shown(&session.ask(&[execute("p", 1), sync()], 1)),
        "D1 s ZT"
    );
    assert_eq!(
        shown(&session.ask(&[execute("p", 0), sync()], 1)),
        "D1 C ZT"
    );
}

fn looks_run_while_it_waits(cluster: &Cluster) {
    let mut session = Session::open(cluster);
    session.send(&[query(&format!("SELECT 3 {ASK}")), query("SELECT 4")]);
    assert_eq!(session.conversation.moment(), Moment::Idle);
    let looked = session.look(Look::new("weir_1", ["BEGIN", "EXPLAIN SELECT 3"]));
    assert_eq!(looked.answers.expect("rows")[1].len(), 1);
    assert_eq!(shown(&session.decide(true, 2)), "T D1 C ZI T D1 C ZI");
}

/// Why a Bind waits and not only its Execute.
fn functions_run_at_bind(cluster: &Cluster) {
    let mut session = Session::open(cluster);
    session.query(
        "CREATE FUNCTION runs(int) RETURNS int IMMUTABLE LANGUAGE plpgsql
         AS $$ BEGIN RAISE EXCEPTION 'it ran'; END $$",
    );
    let up = [parse("", "SELECT runs(1)"), bind("", "", None, 0), sync()];
    assert_eq!(shown(&session.ask(&up, 1)), "1 E ZI");
    let up = [
        parse("", &format!("SELECT {ASK} runs(1)")),
        bind("", "", None, 0),
        sync(),
    ];
    session.send(&up);
    assert_eq!(shown(&session.hear(1)), "1");
    assert!(not_approved(&session.decide(false, 1)));
}

fn a_refusal_undoes_what_its_pipeline_did(cluster: &Cluster) {
    let mut session = Session::open(cluster);
    session.query("CREATE TABLE orders (id int)");
    let pipeline = [
        round("", "INSERT INTO orders VALUES (1)"),
        round("", &format!("INSERT INTO orders VALUES (2) {ASK}")),
        round("", "INSERT INTO orders VALUES (3)"),
        vec![sync()],
        round("", "INSERT INTO orders VALUES (4)"),
        vec![sync()],
    ];
    session.send(&pipeline.concat());
    assert_eq!(shown(&session.hear(4)), "1 2 C 1");
    let answer = session.decide(false, 2);
    assert_eq!(shown(&answer), "E ZI 1 2 C ZI");
    assert!(not_approved(&answer));
    let rows = cell(&session.query("SELECT string_agg(id::text, ',') FROM orders"));
    assert_eq!(rows.as_deref(), Some(&b"4"[..]));

    session.query("BEGIN");
    session.send(&[query(&format!("DELETE FROM orders {ASK}"))]);
    assert_eq!(shown(&session.decide(false, 1)), "E ZE");
    assert_eq!(shown(&session.query("COMMIT")), "C ZI");
}

fn a_refused_bind_leaves_the_portal_that_was(cluster: &Cluster) {
    for portal in ["p", ""] {
        let mut session = Session::open(cluster);
        session.query("BEGIN");
        let up = [
            parse("s", "SELECT generate_series(1, 3)"),
            parse("h", &format!("SELECT 9 {ASK}")),
            bind(portal, "s", None, 0),
            execute(portal, 1),
            parse("a", "SAVEPOINT a"),
            bind("x", "a", None, 0),
            execute("x", 0),
            parse("b", "ROLLBACK TO a"),
            sync(),
        ];
        assert_eq!(shown(&session.ask(&up, 1)), "1 1 2 D1 s 1 2 C 1 ZT");
        session.send(&[bind(portal, "h", None, 0), execute(portal, 0), sync()]);
        assert_eq!(shown(&session.decide(false, 1)), "E ZE");
        let back = [bind("y", "b", None, 0), execute("y", 0), sync()];
        assert_eq!(shown(&session.ask(&back, 1)), "2 C ZT");
        let answer = session.ask(&[execute(portal, 1), sync()], 1);
        assert_eq!(shown(&answer), "D1 s ZT", "portal {portal:?}");
        assert_eq!(cell(&answer).as_deref(), Some(&b"2"[..]));
    }
}

fn data_waits_behind_its_copy(cluster: &Cluster) {
    let mut session = Session::open(cluster);
    session.query("CREATE TABLE copied (line text)");
    let copy = [
        query(&format!("COPY copied FROM STDIN {ASK}")),
        weir_wire::postgres::frontend::message(b'd', &[b"one\ntwo\n"]),
        weir_wire::postgres::frontend::message(b'c', &[]),
        query("SELECT count(*) FROM copied"),
    ];
    session.send(&copy);
    assert_eq!(shown(&session.decide(true, 2)), "G C ZI T D1 C ZI");
    session.send(&copy);
    let answer = session.decide(false, 2);
    assert_eq!(shown(&answer), "E ZI T D1 C ZI");
    assert_eq!(cell(&answer).as_deref(), Some(&b"2"[..]));
}

fn an_error_ahead_ends_the_wait(cluster: &Cluster) {
    let mut session = Session::open(cluster);
    let up = [round("", &format!("SELECT nope {ASK}")), vec![sync()]];
    session.send(&up.concat());
    let answer = session.hear(1);
    assert_eq!(error_field(&answer, b'C').as_deref(), Some("42703"));
    assert!(session.conversation.is_held_in_vain());
    // Not even asked.
    assert_eq!(shown(&session.decide(true, 1)), "ZI");
    assert_eq!(shown(&session.query("SELECT 1")), "T D1 C ZI");
}
