//! Runs of AI agents: what bears their mark, and who may begin one.

use super::*;

#[test]
fn the_mark_of_an_agents_run_sticks() {
    let rig = Rig::new();
    let mut process = rig.process(&["session", "nnp"]);
    process.log_in("bob", "session");
    assert_eq!(rig.who(process.pid()).0.as_deref(), Some("bob"));

    let answer = process.exec("churn-bot");

    let identity = &answer["ok"]["identity"];
    assert_eq!(
        (&identity["method"], &identity["purpose"]),
        (&json!("exec"), &json!("a test"))
    );
    assert_eq!(identity["principal"]["subject"], "bob");
    assert!(identity["actors"][0]["run_id"].is_string());
    let child = process.fork();
    for pid in [process.pid(), child] {
        assert_eq!(
            rig.who(pid),
            (Some("bob".to_owned()), vec!["churn-bot".to_owned()], true)
        );
    }
    for scope in ["session", "tree"] {
        let refused = process.ask(&json!({ "op": "login", "user": "alice", "scope": scope }));
        assert!(message(&refused).contains("agent's run"), "{refused}");
    }
    assert!(message(&process.ask(&json!({ "op": "stop" }))).contains("root"));

    // Ends the run, not the person's login; what was the agent is nobody then.
    assert!(process.ask(&json!({ "op": "logout" })).get("ok").is_some());

    for pid in [process.pid(), child] {
        assert_eq!(rig.absence(pid), Absence::Revoked);
    }
    let logged_out = rig.parts.logged_out.lock().expect("a lock").clone();
    assert_eq!(logged_out, [], "the person's browsers go on");
    assert!(message(&process.exec("churn-bot")).contains("unidentified"));
    assert!(
        message(&process.ask(&json!({ "op": "login", "user": "bob", "scope": "tree" })))
            .contains("agent's run")
    );
}

#[test]
fn a_socket_that_was_opened_before_the_run_began_counts_as_the_agents() {
    let rig = Rig::new();
    let mut process = rig.process(&["session", "nnp"]);
    process.log_in("bob", "session");
    let before = origin_of(&rig, process.pid());
    assert!(
        rig.identities
            .resolve(&before)
            .identity
            .is_some_and(|bound| !bound.is_agent_run())
    );

    assert!(process.exec("churn-bot").get("ok").is_some());

    assert!(
        rig.identities
            .resolve(&before)
            .identity
            .is_some_and(|bound| bound.is_agent_run())
    );
}

#[test]
fn a_cgroup_that_is_gone_may_have_been_an_agents_run() {
    let rig = Rig::new();
    let mut process = rig.process(&["session"]);
    process.log_in("bob", "session");
    let known = origin_of(&rig, process.pid());
    let gone = Origin {
        cgroup_id: u64::MAX,
        ..known.clone()
    };

    assert!(rig.identities.resolve(&known).identity.is_some());
    let resolved = rig.identities.resolve(&gone);

    assert!(resolved.identity.is_none() && !resolved.evidence.gone);
    assert_eq!(resolved.absence, Absence::UnknownCgroup);
}

#[test]
fn agents_need_a_person_a_name_at_the_issuer_and_no_new_privileges() {
    let rig = Rig::new();
    let mut nobody = rig.process(&["nnp"]);
    assert!(message(&nobody.exec("churn-bot")).contains("unidentified"));
    let mut bob = rig.process(&["nnp"]);
    bob.log_in("bob", "tree");
    assert!(message(&bob.exec("alice")).contains("not an agent"));
    assert!(message(&bob.exec("mallory")).contains("no token"));
    assert!(
        message(&bob.ask(&json!({ "op": "login", "user": "churn-bot", "scope": "tree" })))
            .contains("is an agent")
    );
    let mut careless = rig.process(&[]);
    careless.log_in("bob", "tree");
    assert!(message(&careless.exec("churn-bot")).contains("gain privileges"));
    assert_eq!(
        rig.who(bob.pid()),
        (Some("bob".to_owned()), Vec::new(), false)
    );
}

#[test]
fn an_agents_run_outlives_the_tree_it_was_started_from() {
    let rig = Rig::new();
    let mut process = rig.process(&["nnp"]);
    process.log_in("bob", "tree");
    assert!(process.exec("churn-bot").get("ok").is_some());

    wait_until("the login's own cgroup is swept", || {
        rig.has_recorded("left")
    });

    assert_eq!(rig.who(process.pid()).1, ["churn-bot"]);
    assert!(rig.parts.ended.lock().expect("a lock").is_empty());
}

#[test]
fn a_run_that_this_agent_did_not_make_is_nobodys() {
    let rig = Rig::new();
    let mut process = rig.process(&["session"]);
    process.log_in("bob", "session");
    let left_over = rig.cgroup.join("weir/run-0123");
    fs::create_dir_all(&left_over).expect("a cgroup");
    let pid = process.pid();
    wait_until(
        "the process is moved before the sweep takes the cgroup",
        || {
            fs::create_dir_all(&left_over).is_ok()
                && fs::write(left_over.join("cgroup.procs"), pid.to_string()).is_ok()
        },
    );

    assert_eq!(rig.absence(pid), Absence::ForeignRun);
    let refused = process.ask(&json!({ "op": "login", "user": "bob", "scope": "tree" }));
    assert!(message(&refused).contains("agent's run"));
}
