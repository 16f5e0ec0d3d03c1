//! The Broker API: what it is asked, and what is not believed.

use super::{
    certificates::{AGENT, Domain, Node, WEIR},
    *,
};

const PID: u32 = 4_242;

async fn obtain(node: &Node) -> Result<Verified, SpiffeError> {
    node.broker().connect().await?.obtain(PID).await
}

#[tokio::test]
async fn a_token_for_the_process_proves_it_until_it_expires() {
    let authority = Authority::new("one");
    let token = authority.sign(&claims());
    let node = Node::start(answers(token, &[(DOMAIN, authority.keys())]));

    let verified = obtain(&node).await.expect("a proof");

    assert_eq!(verified.principal.issuer, DOMAIN);
    assert_eq!(verified.principal.subject, ID);
    assert!((in_seconds(290)..=in_seconds(300)).contains(&verified.not_after_s));
    assert_eq!(node.api.pids(), [PID]);
    assert_eq!(node.api.asked(), [("weir".to_owned(), ID.to_owned())]);
    let brokers: Vec<_> = node.api.brokers().iter().map(ToString::to_string).collect();
    assert_eq!(brokers, [WEIR]);
}

#[tokio::test]
async fn hostile_tokens_prove_nothing() {
    let authority = Authority::new("one");
    let stranger = Authority::new("one");
    let with = |claim: &str, value| authority.sign_with(claim, value);
    let own = [(DOMAIN, authority.keys())];
    let node = Node::start(Answers::default());
    let token = |token: String| answers(token, &own);
    let cases = [
        (
            "another id",
            token(with("sub", json!("spiffe://shop.example/shipping"))),
        ),
        ("another audience", token(with("aud", json!(["vault"])))),
        ("expired", token(with("exp", json!(in_seconds(-1))))),
        ("another's signature", token(stranger.sign(&claims()))),
        (
            "too long",
            token(with("padding", json!("x".repeat(TOKEN_BYTES)))),
        ),
    ];
    for (name, answers) in cases {
        node.set(answers);
        let error = obtain(&node).await.expect_err(name);
        assert!(
            matches!(
                error,
                SpiffeError::Token(_) | SpiffeError::OtherId { .. } | SpiffeError::TooLong { .. }
            ),
            "{name}: {error:?}"
        );
    }
    let elsewhere = [("spiffe://other.example", authority.keys())];
    node.set(answers(authority.sign(&claims()), &elsewhere));
    assert!(matches!(
        obtain(&node).await,
        Err(SpiffeError::NoKeys(None))
    ));
    node.set(answers(
        authority.sign(&claims()),
        &[(DOMAIN, "no keys".to_owned())],
    ));
    assert!(matches!(obtain(&node).await, Err(SpiffeError::BadKeys(_))));
}

#[tokio::test]
async fn a_new_key_is_taken_over_and_the_old_one_forgotten() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let node = Node::start(old.answers());
    obtain(&node).await.expect("the old key's");

    node.set(new.answers());
    obtain(&node).await.expect("the new key's");
    node.set(answers(old.sign(&claims()), &[(DOMAIN, new.keys())]));

    assert!(matches!(obtain(&node).await, Err(SpiffeError::Token(_))));
}

#[tokio::test]
async fn a_refusal_and_a_stream_that_ends_are_no_proof() {
    let authority = Authority::new("one");
    let good = authority.answers();
    let node = Node::start(Answers {
        fault: Some(Fault::Refuses),
        ..good.clone()
    });
    let error = obtain(&node).await.expect_err("a refusal");
    assert!(
        matches!(&error, SpiffeError::Refused(status) if status.code() == tonic::Code::PermissionDenied),
        "{error:?}"
    );

    node.set(Answers {
        fault: Some(Fault::EndsAtOnce),
        ..good.clone()
    });
    assert!(matches!(
        obtain(&node).await,
        Err(SpiffeError::NoKeys(None))
    ));

    node.set(good);
    obtain(&node).await.expect("it answers again");
}

#[tokio::test]
async fn a_broker_that_does_not_answer_is_not_waited_for() {
    let authority = Authority::new("one");
    let good = authority.answers();
    let node = Node::start(good.clone());
    let round = node.broker().connect().await.expect("a connection");
    node.set(Answers {
        fault: Some(Fault::Hangs),
        ..good
    });

    let (one, other) = tokio::join!(round.obtain(PID), round.obtain(PID + 1));

    assert!(matches!(one, Err(SpiffeError::TooSlow)), "{one:?}");
    assert!(matches!(other, Err(SpiffeError::TooSlow)), "{other:?}");
}

#[tokio::test]
async fn both_sides_must_be_who_they_should_be() {
    let authority = Authority::new("one");
    let good = authority.answers();
    for wrong in [
        ID,
        "spiffe://shop.example/spire/agent",
        "spiffe://shop.example/spire/agents/node-1",
        "spiffe://other.example/spire/agent/node-1",
    ] {
        let node = Node::served_by(wrong, good.clone());
        let error = obtain(&node).await.expect_err(wrong);
        assert!(
            matches!(error, SpiffeError::Connect(_)),
            "{wrong}: {error:?}"
        );
        assert!(node.api.pids().is_empty(), "{wrong}");
    }

    // Of another authority, as the server and as weir.
    let node = Node::start(good.clone());
    node.api.set(Answers {
        own: Some(Domain::new().svid(WEIR)),
        ..good.clone()
    });
    assert!(matches!(obtain(&node).await, Err(SpiffeError::Connect(_))));
    let [certificate, key, _] = Domain::new().svid(WEIR);
    let [_, _, theirs] = node.domain.svid(AGENT);
    node.api.set(Answers {
        own: Some([certificate, key, theirs]),
        ..good.clone()
    });
    obtain(&node).await.expect_err("a stranger's certificate");
    assert!(node.api.pids().is_empty() && node.api.brokers().is_empty());

    // Of another trust domain, and not registered at all.
    node.api.set(Answers {
        own: Some(node.domain.svid("spiffe://other.example/weir")),
        ..good.clone()
    });
    assert!(matches!(
        obtain(&node).await,
        Err(SpiffeError::NoOwn { domain }) if domain == DOMAIN
    ));
    node.api.set(good);
    assert!(matches!(obtain(&node).await, Err(SpiffeError::Own(_))));
}

#[tokio::test]
async fn neither_socket_is_asked_where_others_could_replace_it() {
    let authority = Authority::new("one");
    let node = Node::start(authority.answers());
    let broker = node.broker();
    let folder = node.api.socket().parent().expect("a folder").to_owned();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).expect("mode");

    assert!(matches!(
        broker.connect().await,
        Err(SpiffeError::NotRoots { path }) if path == folder
    ));
    assert!(node.api.brokers().is_empty());
}

#[test]
fn settings_of_a_broker_are_whole_and_of_one_trust_domain() {
    let good = SpiffeSettings {
        socket: "unix:///run/spire/broker.sock".to_owned(),
        workload_socket: Some("unix:///run/spire/agent.sock".to_owned()),
        server_id: Some(AGENT.to_owned()),
        id: ID.to_owned(),
        ..SpiffeSettings::default()
    };
    assert!(Broker::parse(&good).is_ok());
    let with = |change: &dyn Fn(&mut SpiffeSettings)| {
        let mut settings = good.clone();
        change(&mut settings);
        Broker::parse(&settings).expect_err("settings that cannot be used")
    };
    let server = |id: &str| with(&|it| it.server_id = Some(id.to_owned()));

    assert!(matches!(
        with(&|it| it.workload_socket = None),
        SpiffeError::NoWorkloadSocket
    ));
    assert!(matches!(
        with(&|it| it.server_id = None),
        SpiffeError::NoServerId
    ));
    assert!(matches!(
        server("spiffe://other.example/spire/agent/*"),
        SpiffeError::ServerDomain { .. }
    ));
    for wrong in ["spiffe://shop.example/*", "spiffe://shop.example/a*", "*"] {
        assert!(matches!(server(wrong), SpiffeError::Id { .. }), "{wrong}");
    }
    assert!(matches!(
        with(&|it| it.workload_socket = Some("tcp://127.0.0.1:1".to_owned())),
        SpiffeError::Socket { .. }
    ));
}
