//! The agent under other kernels than this machine's, in an emulated machine: Debian's of the releases before and now.
//!
//! What runs inside is `guest`: two services, a stranger, and a connection that they pass around. What came of each try
//! is judged here.

use harness::vm::{self, Kernel, Transcript};
use serde_json::{Value, json};

extern crate tests as harness;

#[test]
fn on_linux_6_1_the_agent_governs_and_notices_foreign_writers() {
    let transcript = boot("6.1");
    governs(&transcript);
    // sendfile(2) has a function of its own there.
    assert_eq!(hook(&transcript, "writers")["detail"], "on, 2 programs");
    foreign_writers_are_noticed(&transcript);
}

#[test]
fn on_linux_6_12_the_agent_governs_and_notices_foreign_writers() {
    let transcript = boot("6.12");
    governs(&transcript);
    assert_eq!(hook(&transcript, "writers")["detail"], "on, 1 programs");
    foreign_writers_are_noticed(&transcript);
}

fn boot(series: &str) -> Transcript {
    let kernel = Kernel::of_series(series).expect("a kernel");
    vm::run(&kernel).expect("the machine comes to the end of its checks")
}

/// Every program is in its place, and a connection is redirected and belongs to its process.
fn governs(said: &Transcript) {
    for name in [
        "connect4",
        "connect6",
        "getpeername4",
        "getpeername6",
        "sock_ops",
        "egress",
        "writers",
    ] {
        assert_eq!(hook(said, name)["ok"], true, "{name}: {}", said.in_full());
    }
    let doctor = said.of("doctor");
    assert_eq!(doctor["holds"], true, "{doctor}");
    assert_eq!(said.of("owner connects")["peer"], "127.0.0.1:5432");
    assert_eq!(*said.of("owner asks"), answered("SELECT 1"));
    let session = &said.of("sessions")[0];
    assert_eq!(session["identity"], "svc-billing");
    let connected = said
        .lines()
        .find(|line| line.get("owner connects").is_some())
        .expect("it was said");
    assert_eq!(session["pid"], connected["pid"]);
    let counters = said.of("counters");
    assert_eq!(counters["governed"], counters["passed_agent"], "{counters}");
    assert_eq!(counters["unattributed"], 0, "{counters}");
}

fn foreign_writers_are_noticed(said: &Transcript) {
    // Children of the process and others of the same service go on, however many.
    assert_eq!(*said.of("child asks"), answered("SELECT 2"));
    assert_eq!(*said.of("sibling asks"), answered("SELECT 3"));
    for number in 0..6 {
        let expected = answered(&format!("SELECT {}", 10 + number));
        assert_eq!(*said.of(&format!("child {number} asks")), expected);
    }
    assert_eq!(*said.of("owner asks after children"), answered("SELECT 4"));

    // Another service's process gets neither its own rights there nor the owner's; nor does the owner any more.
    assert_eq!(*said.of("owner asks before"), answered("SELECT 5"));
    assert_eq!(*said.of("owner asks although passed"), answered("SELECT 6"));
    assert_refused(said, "other asks");
    assert_refused(said, "owner asks after other");
    assert_eq!(said.of("sessions after")[0]["identity"], "unidentified");
    // Both may connect themselves.
    assert_eq!(said.of("owner connects anew")["answer"], answered_nothing());
    assert_eq!(*said.of("owner asks anew"), answered("SELECT 9"));
    assert_eq!(said.of("other connects")["answer"], answered_nothing());

    // A connection that was taken, and written to with sendfile(2).
    assert_eq!(*said.of("thief steals"), json!({}));
    assert_refused(said, "thief asks");
    assert_refused(said, "owner asks after thief");

    assert_recorded(said);
    assert_eq!(said.of("counters")["writers_lost"], 0);
}

/// Each foreign writer has a record, and what it asked is recorded as its own.
fn assert_recorded(said: &Transcript) {
    let records = said.of("records");
    let events: Vec<Value> = records["events"]
        .as_array()
        .expect("events")
        .iter()
        .map(|event| {
            let body = event["body"].as_str().expect("a body");
            serde_json::from_str(body).expect("JSON")
        })
        .collect();
    let count = |outcome: &str| {
        events
            .iter()
            .filter(|event| {
                event["outcome"]
                    .as_str()
                    .is_some_and(|found| found.starts_with(outcome))
            })
            .count()
    };
    // One child, one sibling, six children; the first of them brings the hash of the program, which was not known before.
    assert_eq!(count("kept"), 8, "{records}");
    assert_eq!(count("unidentified"), 2, "{records}");
    for event in events
        .iter()
        .filter(|event| event["outcome"] == "unidentified")
    {
        let continued = event["continued_as"]
            .as_u64()
            .expect("another session record");
        assert_ne!(event["session"], continued);
        let activity = records["activity"]
            .as_array()
            .expect("activity")
            .iter()
            .find(|activity| activity["session"] == continued)
            .unwrap_or_else(|| panic!("nothing of session {continued}: {records}"));
        assert_eq!(activity["requests"], 2, "{records}");
        assert_eq!(activity["denied"], 2, "{records}");
    }
}

fn hook<'a>(said: &'a Transcript, name: &str) -> &'a Value {
    said.of("hooks")
        .as_array()
        .and_then(|hooks| hooks.iter().find(|hook| hook["name"] == name))
        .unwrap_or_else(|| panic!("no hook {name}: {}", said.in_full()))
}

fn answered(row: &str) -> Value {
    json!({ "rows": [row] })
}

fn answered_nothing() -> Value {
    json!({ "rows": [] })
}

/// As nobody: by the rule that says so, whether it is asked about the connection or about the statement.
fn assert_refused(said: &Transcript, name: &str) {
    let error = said.of(name)["error"].as_str().unwrap_or_default();
    assert!(
        error.contains(" weir: nobody is logged in"),
        "{name}: {}",
        said.of(name)
    );
}
