//! Log-ins: whom a tree's and a session's cover, and what outlives what.

use super::*;

#[test]
fn a_tree_login_binds_the_process_its_children_and_sub_cgroups_and_nobody_else() {
    let rig = Rig::new();
    let mut process = rig.process(&[]);
    let other = rig.process(&[]);
    let early = process.fork();

    process.log_in("alice", "tree");
    let child = process.fork();

    assert_eq!(rig.who(process.pid()).0.as_deref(), Some("alice"));
    assert_eq!(rig.who(child).0.as_deref(), Some("alice"));
    assert_eq!(rig.absence(early), Absence::Unbound);
    assert_eq!(rig.absence(other.pid()), Absence::Unbound);
    let evidence = rig
        .identities
        .resolve_process(child)
        .expect("the child")
        .evidence;
    let mount = cgroups::default_cgroup().expect("a mount");
    let below = mount
        .join(evidence.cgroup_path.trim_start_matches('/'))
        .join("below");
    fs::create_dir(&below).expect("a sub-cgroup");
    fs::write(below.join("cgroup.procs"), child.to_string()).expect("a move");
    assert_eq!(rig.who(child).0.as_deref(), Some("alice"));
    let who = process.ask(&json!({ "op": "whoami" }));
    assert_eq!(
        who["ok"]["binding"]["identity"]["principal"]["groups"],
        json!(["dba"])
    );
    assert_eq!(who["ok"]["evidence"]["tgid"], process.pid());

    drop(process);
    wait_until("the empty run is swept", || {
        rig.has_recorded("ended") && !below.exists()
    });
    assert!(rig.identities.bindings().is_empty());
}

#[test]
fn a_session_login_covers_the_session_and_ends_with_all_that_rests_on_it() {
    let rig = Rig::new();
    let mut person = rig.process(&["session", "nnp"]);
    let mut stranger = rig.process(&["session"]);
    person.log_in("bob", "session");
    let child = person.fork();
    assert_eq!(rig.who(child).0.as_deref(), Some("bob"));
    assert_eq!(rig.absence(stranger.pid()), Absence::Unbound);
    let bound = rig
        .identities
        .resolve_process(child)
        .expect("the child")
        .identity
        .expect("bob");
    let generation = rig.identities.generation();
    assert!(person.exec("churn-bot").get("ok").is_some());
    let run = rig
        .identities
        .resolve_process(person.pid())
        .expect("the agent")
        .identity
        .expect("the run");
    assert_ne!(rig.identities.generation(), generation);
    assert!(run.rests_on(&bound) && run.not_after_s() <= bound.not_after_s());

    // The child is still the person, outside of the run: it ends the login.
    let changes = rig.identities.end(&bound, "logout");

    assert_eq!(changes.len(), 2);
    assert_eq!(
        (bound.state(clock::now()), run.state(clock::now())),
        (State::Revoked, State::Revoked)
    );
    assert_eq!(rig.absence(child), Absence::Unbound);
    assert_eq!(rig.absence(person.pid()), Absence::Revoked);
    stranger.log_in("alice", "session");
    stranger.log_in("bob", "session");
    assert!(rig.has_recorded("replaced"));
    assert_eq!(rig.parts.ended.lock().expect("a lock").len(), 1);
}

#[test]
fn a_session_login_without_an_audit_session_says_what_to_do() {
    let rig = Rig::new();
    let mut process = rig.process(&[]);
    let refused = process.ask(&json!({ "op": "login", "user": "bob", "scope": "session" }));
    assert!(message(&refused).contains("no audit session"));
    assert!(
        refused["error"]["hint"]
            .as_str()
            .is_some_and(|hint| hint.contains("--scope tree --")),
        "{refused}"
    );
}

#[test]
fn sessions_that_ended_are_forgotten() {
    let rig = Rig::new();
    let mut process = rig.process(&["session"]);
    process.log_in("bob", "session");
    assert!(rig.identities.sweep_sessions().is_empty());
    drop(process);
    let changes = rig.identities.sweep_sessions();
    assert_eq!(
        changes.iter().map(|change| change.what).collect::<Vec<_>>(),
        ["ended"]
    );
    assert!(rig.identities.bindings().is_empty());
}

#[test]
fn bindings_and_marks_outlive_the_agent() {
    let rig = Rig::new();
    let mut agent = rig.process(&["nnp"]);
    agent.log_in("bob", "tree");
    assert!(agent.exec("churn-bot").get("ok").is_some());
    let mut person = rig.process(&["session"]);
    person.log_in("alice", "session");
    let issuer = rig.identities.bindings()[0]
        .identity
        .principal
        .issuer
        .clone();
    let settings = |issuer: &str| Settings {
        issuers: vec![IssuerSettings {
            issuer: issuer.to_owned(),
            audience: "weir".to_owned(),
            ..IssuerSettings::default()
        }],
        ..Settings::default()
    };
    let next = |issuer: &str| {
        Identities::open(&settings(issuer), rig.folder.path(), &rig.cgroup).expect("a next agent")
    };
    let resolve = |identities: &Identities, pid| {
        identities
            .resolve_process(pid)
            .expect("a process that runs")
    };

    let same = next(&issuer);
    let distrusting = next("http://127.0.0.1:1");

    let run = resolve(&same, agent.pid()).identity.expect("the run");
    assert_eq!(
        (run.identity.principal.subject.as_str(), run.is_agent_run()),
        ("bob", true)
    );
    let session = resolve(&same, person.pid()).identity.expect("the session");
    assert_eq!(session.identity.principal.subject, "alice");
    for pid in [agent.pid(), person.pid()] {
        assert_eq!(resolve(&distrusting, pid).absence, Absence::Revoked);
    }
}
