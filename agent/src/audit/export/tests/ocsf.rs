//! Events of OCSF: each is what the schema says, and each can be checked for itself and against the one before it.

use std::path::Path;

use weir_policy::{Approval, Classed, Decision, RuleId};

use super::{schema::check, *};

/// The events of a sink that writes a file, once it has all of the journal.
fn exported(dir: &Path, journal: &Arc<Journal>) -> Vec<Value> {
    let path = dir.join("events.jsonl");
    let settings = [sink(Form::Ocsf, &format!("file://{}", path.display()))];
    let exports = Exports::start(&settings, dir, journal).expect("exports");
    caught_up(&exports, journal);
    let text = std::fs::read_to_string(&path).expect("the file");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

fn one(class: &str) -> Classed {
    Classed {
        name: format!("app.customers.{}", class.replace('.', "_")),
        classes: vec![class.to_owned()],
    }
}

/// One request and what came of it.
fn ran(
    journal: &Journal,
    session: &Session,
    kind: Kind,
    decision: Decision,
    classes: Vec<Classed>,
    ending: Ending,
) {
    let facts = facts(kind, &[("customers", Use::Read)]);
    let statement = journal.statement(facts, decision, "digest", classes);
    let seq = journal
        .requested(session, &statement, Via::Simple, 0, 9)
        .expect("recorded");
    journal
        .outcome(&outcome(seq, ending, 3, 300))
        .expect("recorded");
}

/// Of each sort of record something: 2 sessions, 9 requests with outcomes, 3 events.
fn record_all_sorts(journal: &Journal) {
    let open = |who, exe| journal.session(new_session(who, exe)).expect("recorded");
    let bot = open("churn-bot/bob", "/usr/bin/python3");
    let nobody = open("", "");
    let would = Decision {
        would: vec![RuleId("later".to_owned())],
        ..allowed()
    };
    let mut held = allowed();
    held.obligations.approvals.push(Approval {
        rule: RuleId("by-two".to_owned()),
        why: None,
        groups: vec!["dba".to_owned()],
        quorum: 2,
        ttl_s: 60,
        reuse_s: None,
        not_in_transaction: false,
        break_glass: Vec::new(),
    });
    let classes = [
        "pii.email",
        "pci.pan",
        "secret.token",
        "confidential",
        "own",
    ];
    let classes = classes.map(one).to_vec();
    let done = Ending::Completed;
    ran(journal, &bot, Kind::Select, allowed(), classes, done);
    ran(
        journal,
        &bot,
        Kind::Drop,
        denied(),
        Vec::new(),
        Ending::Denied,
    );
    ran(
        journal,
        &bot,
        Kind::Update,
        would,
        Vec::new(),
        Ending::Failed,
    );
    ran(
        journal,
        &nobody,
        Kind::Grant,
        held.clone(),
        Vec::new(),
        done,
    );
    ran(
        journal,
        &nobody,
        Kind::Delete,
        held,
        Vec::new(),
        Ending::Denied,
    );
    for kind in [Kind::Insert, Kind::Create, Kind::Transaction, Kind::Unknown] {
        ran(
            journal,
            &nobody,
            kind,
            allowed(),
            Vec::new(),
            Ending::Skipped,
        );
    }
    let session = new_session("alice", "/usr/bin/psql");
    let renewed = Event::SessionRenewed {
        session: bot.id,
        identity: session.identity.expect("an identity"),
        proof: session.proof.expect("a proof"),
    };
    let gap = Event::Gap {
        from_ns: 1_700_000_000_123_456_789,
        until_ns: 1_700_000_001_000_000_000,
        passed: 0,
        denied: 3,
    };
    for event in [renewed, gap] {
        journal.event(&event).expect("recorded");
    }
    journal
        .session_closed(&bot, "client left", 3, 80, 90)
        .expect("recorded");
}

#[test]
fn events_are_what_the_schema_says() {
    let dir = tempfile::tempdir().expect("a folder");
    let journal = open(dir.path());
    record_all_sorts(&journal);
    let events = exported(dir.path(), &journal);
    assert_eq!(events.len(), 2 + 2 * 9 + 3);
    for event in &events {
        check(event).unwrap_or_else(|error| panic!("{error}: {event}"));
        let text = event.to_string();
        assert!(!text.contains("fingerprint of"), "of a token: {event}");
    }
    let of = |kind: Kind, ending: &str| {
        let word = serde_json::to_value(kind).expect("a word");
        let mut found = events.iter().filter(|event| {
            event["unmapped"]["kinds"][0] == word && event["unmapped"]["ending"] == ending
        });
        found.next().unwrap_or_else(|| panic!("no {kind:?}"))
    };
    let read = of(Kind::Select, "completed");
    assert_eq!(read["ai_agent"]["name"], "churn-bot");
    assert_eq!(read["actor"]["user"]["name"], "bob");
    let categories = read["database"]["data_classifications"].as_array();
    let categories: BTreeSet<_> = categories
        .into_iter()
        .flatten()
        .filter_map(|one| one["category"].as_str())
        .collect();
    let expected = ["Financial", "Personal", "Security", "confidential", "own"];
    assert_eq!(categories, BTreeSet::from(expected));
    let control = |event: &Value| (event["action_id"].clone(), event["disposition_id"].clone());
    assert_eq!(control(read), (json!(1), json!(1)));
    assert_eq!(control(of(Kind::Drop, "denied")), (json!(2), json!(2)));
    assert_eq!(of(Kind::Drop, "denied")["is_alert"], true);
    assert_eq!(control(of(Kind::Update, "failed")), (json!(1), json!(15)));
    assert_eq!(control(of(Kind::Grant, "completed")), (json!(1), json!(8)));
    assert_eq!(
        control(of(Kind::Delete, "denied")),
        (json!(2), json!(2)),
        "nobody agreed"
    );
    let gap = events.iter().find(|event| event["activity_name"] == "gap");
    let gap = gap.expect("the gap");
    assert_eq!(gap["unmapped"]["from_ns"], "1700000000123456789");
}

#[test]
fn what_is_wrong_with_an_event_is_found() {
    let dir = tempfile::tempdir().expect("a folder");
    let journal = open(dir.path());
    record(&journal, 1);
    let events = exported(dir.path(), &journal);
    let event = events.last().expect("an event");
    for (pointer, value) in [
        ("/activity_id", json!(9)),
        ("/action_id", json!(2)),
        ("/severity", json!("High")),
        ("/actor/user/type_id", json!(7)),
        ("/database/type_id", json!("1")),
        ("/metadata/profiles", json!(["record_integrity"])),
        ("/src_endpoint", json!({})),
        ("/unheard_of", json!("x")),
        ("/query_info", json!({ "query_string": "x" })),
        ("/attestation", json!({ "chain_uid": "x" })),
    ] {
        let mut wrong = event.clone();
        match wrong.pointer_mut(pointer) {
            Some(place) => *place = value,
            None => wrong[&pointer[1..]] = value,
        }
        assert!(check(&wrong).is_err(), "{pointer}");
    }
}

#[test]
fn events_are_chained_over_restarts() {
    let dir = tempfile::tempdir().expect("a folder");
    let journal = open(dir.path());
    record(&journal, 600);
    exported(dir.path(), &journal);
    record(&journal, 10);
    let events = exported(dir.path(), &journal);
    let first = &events[0]["attestation"];
    assert!(first.get("prev_event").is_none());
    for pair in events.windows(2) {
        let [before, after] = pair else { continue };
        let link = &after["attestation"]["prev_event"];
        assert_eq!(link["uid"], before["metadata"]["uid"]);
        assert_eq!(link["type_uid"], before["type_uid"]);
        assert_eq!(link["fingerprint"], before["attestation"]["fingerprint"]);
        assert_eq!(after["attestation"]["chain_uid"], first["chain_uid"]);
    }
}
