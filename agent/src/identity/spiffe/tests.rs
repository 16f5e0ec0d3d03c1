use std::{fs, os::unix::fs::PermissionsExt, time::SystemTime};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use self::server::{Answers, Api, Fault};
use super::*;

mod broker;
pub(crate) mod certificates;
pub(crate) mod server;

pub(crate) const ID: &str = "spiffe://shop.example/billing";

/// A trust domain's signing key.
pub(crate) struct Authority {
    key: EcdsaKeyPair,
    name: &'static str,
}

impl Authority {
    pub(crate) fn new(name: &'static str) -> Self {
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let key = EcdsaKeyPair::generate(algorithm).expect("a key");
        Self { key, name }
    }

    pub(crate) fn sign(&self, claims: &Value) -> String {
        let header = json!({"alg": "ES256", "kid": self.name, "typ": "JWT"});
        let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&header), part(claims));
        let signature = self
            .key
            .sign(&SystemRandom::new(), signed.as_bytes())
            .expect("a signature");
        format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
    }

    /// A token in which one claim is another than it should be.
    fn sign_with(&self, claim: &str, value: Value) -> String {
        let mut claims = claims();
        claims[claim] = value;
        self.sign(&claims)
    }

    /// What a server answers that has this key, and a token of it.
    pub(crate) fn answers(&self) -> Answers {
        answers(self.sign(&claims()), &[(DOMAIN, self.keys())])
    }

    pub(crate) fn keys(&self) -> String {
        let point = self.key.public_key().as_ref();
        let coordinate = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        json!({"keys": [{
            "kty": "EC", "crv": "P-256", "kid": self.name, "use": "jwt-svid", "alg": "ES256",
            "x": coordinate(&point[1..33]), "y": coordinate(&point[33..]),
        }]})
        .to_string()
    }
}

pub(crate) fn in_seconds(seconds: i64) -> i64 {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .expect("a clock");
    i64::try_from(now.as_secs()).expect("a time") + seconds
}

pub(crate) fn claims() -> Value {
    json!({"sub": ID, "aud": ["weir"], "exp": in_seconds(300), "iat": in_seconds(0)})
}

pub(crate) fn answers(token: String, keys: &[(&str, String)]) -> Answers {
    Answers {
        token,
        keys: keys
            .iter()
            .map(|(domain, keys)| ((*domain).to_owned(), keys.clone()))
            .collect(),
        ..Answers::default()
    }
}

pub(crate) const DOMAIN: &str = "spiffe://shop.example";

fn proof(api: &Api) -> Spiffe {
    let settings = SpiffeSettings {
        socket: format!("unix://{}", api.socket().display()),
        id: ID.to_owned(),
        ..SpiffeSettings::default()
    };
    let mut proof = Spiffe::parse(&settings).expect("settings");
    proof.socket.owner = nix::unistd::getuid().as_raw();
    proof
}

#[tokio::test]
async fn a_token_for_the_id_proves_it_until_it_expires() {
    let authority = Authority::new("one");
    let token = authority.sign(&claims());
    let api = Api::start(answers(token.clone(), &[(DOMAIN, authority.keys())]));

    let verified = proof(&api).obtain().await.expect("a proof");

    assert_eq!(verified.principal.issuer, DOMAIN);
    assert_eq!(verified.principal.subject, ID);
    assert_eq!(verified.principal.kind, PrincipalKind::Workload);
    assert!((in_seconds(290)..=in_seconds(300)).contains(&verified.not_after_s));
    assert_eq!(verified.fingerprint.len(), 64);
    assert!(!verified.development);
    let asked = api.asked();
    assert_eq!(asked, [("weir".to_owned(), ID.to_owned())]);
}

#[tokio::test]
async fn hostile_tokens_prove_nothing() {
    let authority = Authority::new("one");
    let stranger = Authority::new("one");
    let with = |claim: &str, value| authority.sign_with(claim, value);
    let keys = [(DOMAIN, authority.keys())];
    let elsewhere = [("spiffe://other.example", authority.keys())];
    let unsigned = {
        let token = authority.sign(&claims());
        let claims = token.split('.').nth(1).expect("claims").to_owned();
        let header = BASE64_URL_SAFE_NO_PAD.encode(r#"{"alg":"none","kid":"one"}"#);
        format!("{header}.{claims}.")
    };
    let cases = [
        (
            "another id",
            with("sub", json!("spiffe://shop.example/billing/x")),
            &keys,
        ),
        (
            "another trust domain",
            with("sub", json!("spiffe://other.example/billing")),
            &keys,
        ),
        ("another audience", with("aud", json!(["vault"])), &keys),
        ("expired", with("exp", json!(in_seconds(-1))), &keys),
        ("not yet valid", with("nbf", json!(in_seconds(120))), &keys),
        ("without an end", with("exp", Value::Null), &keys),
        ("another's signature", stranger.sign(&claims()), &keys),
        (
            "keys of another domain",
            authority.sign(&claims()),
            &elsewhere,
        ),
        ("without a signature", unsigned, &keys),
        ("no token", String::new(), &keys),
        (
            "too long",
            with("padding", json!("x".repeat(TOKEN_BYTES))),
            &keys,
        ),
    ];
    for (name, token, keys) in cases {
        let api = Api::start(answers(token, keys));
        let outcome = proof(&api).obtain().await;
        let error = outcome.expect_err(name);
        assert!(
            matches!(
                error,
                SpiffeError::Token(_)
                    | SpiffeError::OtherId { .. }
                    | SpiffeError::Fetch(_)
                    | SpiffeError::TooLong { .. }
            ),
            "{name}: {error:?}"
        );
    }
}

#[tokio::test]
async fn a_new_key_is_taken_over_and_the_old_one_forgotten() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let api = Api::start(old.answers());
    let proof = proof(&api);
    proof.obtain().await.expect("the old key's");

    api.set(new.answers());
    proof.obtain().await.expect("the new key's");
    api.set(answers(old.sign(&claims()), &[(DOMAIN, new.keys())]));

    assert!(matches!(proof.obtain().await, Err(SpiffeError::Token(_))));
}

#[tokio::test]
async fn a_refusal_and_a_stream_that_ends_are_no_proof() {
    let authority = Authority::new("one");
    let good = authority.answers();
    let api = Api::start(Answers {
        fault: Some(Fault::Refuses),
        ..good.clone()
    });
    let proof = proof(&api);
    assert!(matches!(proof.obtain().await, Err(SpiffeError::Fetch(_))));

    api.set(Answers {
        fault: Some(Fault::EndsAtOnce),
        ..good.clone()
    });
    assert!(matches!(proof.obtain().await, Err(SpiffeError::Keys(_))));

    api.set(good);
    proof.obtain().await.expect("it answers again");
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_not_waited_for() {
    let api = Api::start(Answers {
        fault: Some(Fault::Hangs),
        ..Answers::default()
    });

    assert!(matches!(
        proof(&api).obtain().await,
        Err(SpiffeError::TooSlow)
    ));
}

#[tokio::test]
async fn a_socket_that_others_could_replace_is_not_asked() {
    let authority = Authority::new("one");
    let api = Api::start(authority.answers());
    let folder = api.socket().parent().expect("a folder").to_owned();
    let set = |mode| fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).expect("mode");

    set(0o777);
    assert!(matches!(
        proof(&api).obtain().await,
        Err(SpiffeError::NotRoots { path }) if path == folder
    ));
    assert!(api.asked().is_empty());
    set(0o1777);
    proof(&api).obtain().await.expect("sticky");
    set(0o755);
    proof(&api).obtain().await.expect("root's");

    let mut strangers = proof(&api);
    strangers.socket.owner = 4_242;
    let is_root = nix::unistd::getuid().is_root();
    assert_eq!(strangers.obtain().await.is_ok(), is_root);
}

#[tokio::test]
async fn what_is_no_socket_is_not_asked() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("agent.sock");
    let mut spiffe = Spiffe::parse(&SpiffeSettings {
        socket: format!("unix:{}", file.display()),
        id: ID.to_owned(),
        ..SpiffeSettings::default()
    })
    .expect("settings");
    spiffe.socket.owner = nix::unistd::getuid().as_raw();

    assert!(matches!(
        spiffe.obtain().await,
        Err(SpiffeError::Look { .. })
    ));
    fs::write(&file, "").expect("a file");
    assert!(matches!(
        spiffe.obtain().await,
        Err(SpiffeError::NotASocket { .. })
    ));
}

#[test]
fn settings_are_checked_before_anybody_is_asked() {
    let parse = |socket: &str, id: &str, audience: &str| {
        Spiffe::parse(&SpiffeSettings {
            socket: socket.to_owned(),
            id: id.to_owned(),
            audience: audience.to_owned(),
            ..SpiffeSettings::default()
        })
    };
    let socket = "unix:///run/spire/agent.sock";

    assert!(parse(socket, ID, "weir").is_ok());
    assert!(parse("unix:/run/spire/agent.sock", ID, "weir").is_ok());
    for wrong in [
        "/run/spire/agent.sock",
        "tcp://127.0.0.1:8081",
        "unix:run/x",
        "unix:///x?y",
    ] {
        assert!(
            matches!(parse(wrong, ID, "weir"), Err(SpiffeError::Socket { .. })),
            "{wrong}"
        );
    }
    for wrong in [
        "",
        "billing",
        "https://shop.example/billing",
        "spiffe://shop.example",
        "spiffe://shop.example/a//b",
        "spiffe://shop.example/*",
    ] {
        assert!(
            matches!(parse(socket, wrong, "weir"), Err(SpiffeError::Id { .. })),
            "{wrong}"
        );
    }
    assert!(matches!(parse(socket, ID, ""), Err(SpiffeError::Audience)));
    let with_brokers = Spiffe::parse(&SpiffeSettings {
        socket: socket.to_owned(),
        id: ID.to_owned(),
        server_id: Some(ID.to_owned()),
        ..SpiffeSettings::default()
    });
    assert!(matches!(with_brokers, Err(SpiffeError::BrokersAlone)));
}
