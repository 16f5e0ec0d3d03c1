//! Spans: one for each statement, the same however often it is sent, whatever happens between its request and its outcome.

use std::collections::BTreeMap;

use super::*;
use crate::audit::{
    Session, Statement,
    record::{Settled, Via},
};

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn traces(address: &str) -> [ExportSettings; 1] {
    [sink(
        Form::OtlpTraces,
        &format!("http://{address}/v1/traces"),
    )]
}

fn spans(body: &str) -> Vec<Value> {
    let body: Value = serde_json::from_str(body).expect("JSON");
    let spans = &body["resourceSpans"][0]["scopeSpans"][0]["spans"];
    spans.as_array().expect("spans").clone()
}

fn attribute<'a>(span: &'a Value, key: &str) -> Option<&'a Value> {
    let attributes = span["attributes"].as_array()?;
    let found = attributes.iter().find(|one| one["key"] == key)?;
    found["value"].as_object()?.values().next()
}

fn text<'a>(span: &'a Value, key: &str) -> Option<&'a str> {
    attribute(span, key)?.as_str()
}

fn read(journal: &Journal) -> Arc<Statement> {
    let mut facts = facts(Kind::Select, &[("orders", Use::Read)]);
    facts.claimed = vec![("traceparent".to_owned(), PARENT.to_owned())];
    journal.statement(facts, allowed(), "p", Vec::new())
}

fn asked(journal: &Journal, session: &Session, statement: &Statement, via: Via) -> u64 {
    journal
        .requested(session, statement, via, 0, 9)
        .expect("recorded")
}

fn answered(journal: &Journal, seq: u64, ending: Ending) {
    let mut outcome = outcome(seq, ending, 3, 300);
    if ending == Ending::Failed {
        outcome.sqlstate = *b"42P01";
    }
    journal.outcome(&outcome).expect("recorded");
}

fn started(journal: &Journal) {
    let event = Event::AgentStarted {
        version: "0".to_owned(),
        resumed: false,
        policy: "p".to_owned(),
        development_issuer: false,
    };
    journal.event(&event).expect("recorded");
}

/// A statement that ran when somebody had agreed; the number of its request.
fn approved(journal: &Journal, session: &Session, statement: &Statement) -> u64 {
    let waits = Event::ApprovalRequested {
        approval: 77,
        session: session.id,
        requester: None,
        rules: vec!["by-two".to_owned()],
        reason: "money".to_owned(),
        text: "DELETE FROM orders".to_owned(),
        approvers: vec!["dba".to_owned()],
        quorum: 2,
        expires_ns: 9,
        bound: None,
    };
    journal.event(&waits).expect("recorded");
    let approved = asked(journal, session, statement, Via::Simple);
    let ended = Event::ApprovalEnded {
        approval: 77,
        how: Settled::Ran,
        request: Some(approved),
        ran: None,
    };
    journal.event(&ended).expect("recorded");
    answered(journal, approved, Ending::Completed);
    approved
}

#[test]
fn statements_sessions_and_waits_are_spans_that_link_to_each_other() {
    let dir = tempfile::tempdir().expect("a folder");
    let journal = open(dir.path());
    let session = journal
        .session(new_session("churn-bot/bob", "/usr/bin/python3"))
        .expect("recorded");
    let read = read(&journal);
    let drop_table = journal.statement(
        facts(Kind::Drop, &[("orders", Use::Define)]),
        denied(),
        "p",
        Vec::new(),
    );
    let parsed = asked(&journal, &session, &read, Via::Parse);
    answered(&journal, parsed, Ending::Completed);
    let ran = asked(&journal, &session, &read, Via::Execute);
    answered(&journal, ran, Ending::Completed);
    let failed = asked(&journal, &session, &read, Via::Simple);
    answered(&journal, failed, Ending::Failed);
    let refused = asked(&journal, &session, &drop_table, Via::Parse);
    answered(&journal, refused, Ending::Denied);
    let approved = approved(&journal, &session, &read);
    journal
        .session_closed(&session, "client left", 5, 80, 90)
        .expect("recorded");

    let (address, bodies) = http_sink(|_| (200, "", ""));
    let exports = Exports::start(&traces(&address), dir.path(), &journal).expect("exports");
    caught_up(&exports, &journal);
    let all: Vec<_> = bodies
        .try_iter()
        .flat_map(|(_, body)| spans(&body))
        .collect();
    assert_eq!(all.len(), 4 + 1 + 1, "the Parse ran nothing: {all:?}");
    let of = |request: u64| {
        let number = request.to_string();
        let found = all
            .iter()
            .find(|span| span["kind"] == 3 && text(span, "weir.request") == Some(number.as_str()));
        found.unwrap_or_else(|| panic!("no span of {request}"))
    };
    let whole = of(ran);
    assert_eq!(whole["name"], "SELECT orders");
    for (key, value) in [
        ("db.system.name", "postgresql"),
        ("db.namespace", "shop"),
        ("db.query.summary", "SELECT orders"),
        ("db.operation.name", "SELECT"),
        ("db.collection.name", "orders"),
        ("server.address", "127.0.0.1"),
        ("server.port", "5432"),
        ("network.peer.address", "127.0.0.1"),
        ("db.response.returned_rows", "3"),
        ("user.name", "bob"),
        ("weir.effect", "allow"),
        ("weir.ending", "completed"),
    ] {
        assert_eq!(text(whole, key), Some(value), "{key}");
    }
    assert!(text(whole, "db.query.text").is_some());
    assert_eq!(whole["status"], json!({}));
    assert!(attribute(whole, "error.type").is_none());
    assert!(attribute(whole, "db.response.status_code").is_none());
    let time = |name: &str| -> u64 {
        let time = whole[name].as_str().expect("text");
        time.parse().expect("a number")
    };
    assert_eq!(time("endTimeUnixNano") - time("startTimeUnixNano"), 1000);

    let failed = of(failed);
    assert_eq!(failed["status"], json!({ "code": 2 }));
    assert_eq!(text(failed, "error.type"), Some("42P01"));
    assert_eq!(text(failed, "db.response.status_code"), Some("42P01"));
    let refused = of(refused);
    let status = json!({ "code": 2, "message": "refused by weir: no" });
    assert_eq!(refused["status"], status);
    assert_eq!(refused["name"], "DROP orders");

    let named = |name: &str| all.iter().find(|span| span["name"] == name);
    let session_span = named("session").expect("the session");
    assert_eq!(session_span["kind"], 1);
    assert_eq!(text(session_span, "weir.session.requests"), Some("5"));
    assert_eq!(text(session_span, "user.name"), Some("bob"));
    let links = whole["links"].as_array().expect("links");
    assert_eq!(links[0]["spanId"], session_span["spanId"]);
    assert_eq!(links[1]["traceId"], "4bf92f3577b34da6a3ce929d0e0e4736");
    let wait = named("approval").expect("the wait");
    assert_eq!(text(wait, "weir.approval.ending"), Some("ran"));
    assert_eq!(wait["links"][1]["spanId"], of(approved)["spanId"]);
    assert_eq!(wait["status"], json!({}));
    let ids: BTreeSet<_> = all.iter().map(|span| span["spanId"].to_string()).collect();
    assert_eq!(ids.len(), all.len());
}

#[test]
fn what_is_sent_again_is_the_same_span_and_an_outcome_finds_its_request_segments_away() {
    let dir = tempfile::tempdir().expect("a folder");
    let journal = open(dir.path());
    let early = journal
        .session(new_session("bob", "/usr/bin/psql"))
        .expect("recorded");
    let read = read(&journal);
    let long = asked(&journal, &early, &read, Via::Simple);
    record(&journal, 9000);
    assert!(journal.health().segment > 1);
    // Everything up to here is sent once more: the sink takes it and says that it did not.
    let seen = std::sync::atomic::AtomicUsize::new(0);
    let (address, bodies) = http_sink(move |_| {
        let first = seen.fetch_add(1, Ordering::Relaxed) == 0;
        (if first { 503 } else { 200 }, "", "")
    });
    let exports = Exports::start(&traces(&address), dir.path(), &journal).expect("exports");
    caught_up(&exports, &journal);
    drop(exports);
    let mut by_id: BTreeMap<String, Value> = BTreeMap::new();
    let mut again = 0;
    for (_, body) in bodies.try_iter() {
        for span in spans(&body) {
            let id = span["spanId"].as_str().expect("an id").to_owned();
            if let Some(before) = by_id.insert(id, span.clone()) {
                assert_eq!(before, span);
                again += 1;
            }
        }
    }
    assert!(again > 0 && by_id.len() == 9000, "{again} {}", by_id.len());

    // The next exporter reads from the cursor's segment on, where neither the request nor the session's opening is.
    answered(&journal, long, Ending::Completed);
    journal
        .session_closed(&early, "client left", 1, 8, 9)
        .expect("recorded");
    let exports = Exports::start(&traces(&address), dir.path(), &journal).expect("exports");
    caught_up(&exports, &journal);
    drop(exports);
    let all: Vec<_> = bodies
        .try_iter()
        .flat_map(|(_, body)| spans(&body))
        .collect();
    assert_eq!(all.len(), 2, "{all:?}");
    assert_eq!(all[0]["name"], "SELECT orders");
    assert_eq!(text(&all[0], "user.name"), Some("bob"));
    assert_eq!(all[1]["name"], "session");
    assert_eq!(all[1]["spanId"], all[0]["links"][0]["spanId"]);
    let began = |span: &Value| span["startTimeUnixNano"].to_string();
    assert!(began(&all[1]) <= began(&all[0]), "{all:?}");
}

#[test]
fn what_an_agent_had_under_way_ends_with_the_start_of_the_next() {
    let dir = tempfile::tempdir().expect("a folder");
    let journal = open(dir.path());
    started(&journal);
    let session = journal
        .session(new_session("bob", "/usr/bin/psql"))
        .expect("recorded");
    let read = read(&journal);
    let far = asked(&journal, &session, &read, Via::Simple);
    record(&journal, 9000);
    let (address, bodies) = http_sink(|_| (200, "", ""));
    let exports = Exports::start(&traces(&address), dir.path(), &journal).expect("exports");
    caught_up(&exports, &journal);
    drop(exports);
    bodies.try_iter().for_each(drop);
    // Of this one the exporter of the agent before never heard.
    let near = asked(&journal, &session, &read, Via::Simple);
    started(&journal);
    let exports = Exports::start(&traces(&address), dir.path(), &journal).expect("exports");
    caught_up(&exports, &journal);
    let all: Vec<_> = bodies
        .try_iter()
        .flat_map(|(_, body)| spans(&body))
        .collect();
    let requests: BTreeSet<_> = all
        .iter()
        .filter_map(|span| text(span, "weir.request")?.parse::<u64>().ok())
        .collect();
    assert_eq!(requests, BTreeSet::from([far, near]), "{all:?}");
    let (statements, sessions): (Vec<_>, Vec<_>) = all.iter().partition(|span| span["kind"] == 3);
    assert_eq!(statements.len(), 2);
    for span in &statements {
        assert_eq!(text(span, "weir.ending"), Some("unknown"));
    }
    // That of `record` as well.
    assert_eq!(sessions.len(), 2);
    assert!(
        all.iter().all(|span| span["status"]["code"] == 2),
        "{all:?}"
    );
    drop(exports);
    // Nothing of it comes again.
    started(&journal);
    let exports = Exports::start(&traces(&address), dir.path(), &journal).expect("exports");
    caught_up(&exports, &journal);
    assert_eq!(bodies.try_iter().count(), 0);
}
