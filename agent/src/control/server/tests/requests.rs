//! What may be asked for and by whom, and the socket that it is asked on.

use super::*;

#[test]
fn what_is_others_is_for_root() {
    let rig = Rig::new();
    let mut user = rig.process(&["nobody"]);
    let mut root = rig.process(&[]);
    let (own, others) = (user.pid(), root.pid());
    for request in [
        json!({ "op": "whois", "pid": others }),
        json!({ "op": "whois", "address": "127.0.0.1:5" }),
        json!({ "op": "status" }),
        json!({ "op": "stop" }),
    ] {
        assert!(
            message(&user.ask(&request)).contains("for root"),
            "{request}"
        );
        assert!(
            !root.ask(&request).to_string().contains("for root"),
            "{request}"
        );
    }
    assert!(
        user.ask(&json!({ "op": "whois", "pid": own }))
            .get("ok")
            .is_some()
    );
    assert_eq!(
        root.ask(&json!({ "op": "whois", "pid": own }))["ok"]["evidence"]["uid"],
        65_534
    );
    assert_eq!(user.ask(&json!({ "op": "extra" }))["ok"], "done");
    user.log_in("alice", "tree");
    assert_eq!(rig.who(own).0.as_deref(), Some("alice"));
    let answer = root.ask(&json!({ "op": "whois", "pid": own }));
    let tried = answer["ok"]["tried"].as_array().expect("how it came about");
    let said: Vec<_> = tried.iter().map(|tried| &tried["outcome"]).collect();
    assert_eq!(
        said,
        ["silent", "silent", "matched", "not_asked"],
        "{answer}"
    );
}

#[test]
fn root_ends_sessions_and_the_record_names_the_process_and_the_log_in() {
    let rig = Rig::new();
    let end = json!({ "op": "end_session", "session": 7, "reason": "too long" });
    let mut stranger = rig.process(&["nobody"]);
    assert!(message(&stranger.ask(&end)).contains("root"));
    let mut root = rig.process(&["session"]);
    let several = json!({ "op": "end_session", "session": 7, "reason": "two\nlines" });
    assert!(message(&root.ask(&several)).contains("one line"));
    let other = json!({ "op": "end_session", "session": 8 });
    assert!(message(&root.ask(&other)).contains("no session 8"));
    assert!(rig.parts.orders.lock().expect("a lock").is_empty());

    assert_eq!(root.ask(&end)["ok"]["ended"], 7);
    root.ask(&json!({ "op": "login", "user": "alice", "scope": "session" }));
    root.ask(&end);

    let orders = rig.parts.orders.lock().expect("a lock");
    let who = |order: &EndOrder| {
        let administrator = order.administrator.as_ref();
        administrator.map(|identity| identity.principal.subject.clone())
    };
    assert_eq!(
        orders.iter().map(who).collect::<Vec<_>>(),
        [None, Some("alice".to_owned())]
    );
    for order in &*orders {
        assert_eq!(order.reason, "too long");
        let evidence = order.evidence.as_ref().expect("the process");
        assert_eq!(evidence.tgid, root.pid());
    }
}

#[test]
fn what_is_no_request_gets_an_error_and_the_server_goes_on() {
    let rig = Rig::new();
    let mut process = rig.process(&[]);
    for raw in [
        "",
        "{",
        "[]",
        "null",
        r#"{"op":7}"#,
        r#"{"op":"login"}"#,
        r#"{"op":"reboot"}"#,
        r#"{"op":"whois"}"#,
    ] {
        let answer = process.ask(&json!({ "raw": raw }));
        assert!(answer.get("error").is_some(), "{raw}: {answer}");
    }
    let long = "x".repeat(LINE_BYTES + 10);
    assert!(message(&process.ask(&json!({ "raw": long }))).contains("one line"));
    let both = json!({ "op": "login", "user": "alice", "token": "a.b.c", "scope": "tree" });
    assert!(message(&process.ask(&both)).contains("not both"));
    let forged = process.ask(&json!({ "op": "login", "token": "a.b.c", "scope": "tree" }));
    assert!(message(&forged).contains("token"), "{forged}");
    assert!(process.ask(&json!({ "op": "whoami" })).get("ok").is_some());
}

#[test]
fn the_socket_of_a_killed_agent_is_replaced_and_a_living_ones_is_not() {
    let rig = Rig::new();
    let path = rig.socket();
    assert!(matches!(remove_stale(&path), Err(BindError::Taken { .. })));
    assert_eq!(
        fs::metadata(&path)
            .expect("the socket")
            .permissions()
            .mode()
            & 0o777,
        0o666
    );
    let stale = rig.folder.path().join("stale");
    drop(std::os::unix::net::UnixListener::bind(&stale).expect("a socket"));
    assert!(remove_stale(&stale).is_ok() && !stale.exists());
    fs::write(&stale, "a file").expect("a file");
    assert!(matches!(
        remove_stale(&stale),
        Err(BindError::NoSocket { .. })
    ));
    drop(rig);
    assert!(!path.exists());
}
