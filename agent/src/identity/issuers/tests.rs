use std::{
    os::unix::fs::PermissionsExt,
    sync::atomic::{AtomicUsize, Ordering},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;
use crate::identity::development::{self, default_users};

/// A host that gives one answer to everything and counts the questions.
struct Host {
    url: String,
    asked: Arc<AtomicUsize>,
}

async fn host(answer: impl Fn(&str) -> String + Send + 'static) -> Host {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let asked = Arc::new(AtomicUsize::new(0));
    let (count, own) = (Arc::clone(&asked), url.clone());
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            let mut request = [0_u8; 4096];
            let _ = client.read(&mut request).await;
            let _ = client.write_all(answer(&own).as_bytes()).await;
        }
    });
    Host { url, asked }
}

fn page(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

async fn development_issuer() -> String {
    let issuer = development::Issuer::open(([127, 0, 0, 1], 0).into(), default_users())
        .await
        .expect("an issuer");
    let url = issuer.url().to_owned();
    tokio::spawn(issuer.serve());
    url
}

fn settings(issuer: &str) -> IssuerSettings {
    IssuerSettings {
        issuer: issuer.to_owned(),
        audience: "weir".to_owned(),
        development: true,
        ..IssuerSettings::default()
    }
}

fn open(settings: IssuerSettings, folder: &Path) -> Issuers {
    Issuers::open(&[settings], folder).expect("good settings")
}

/// A token with a key id that nobody knows.
fn stray_token(issuer: &str) -> String {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"ES256","kid":"stray"}"#);
    let claims = URL_SAFE_NO_PAD.encode(format!(r#"{{"iss":"{issuer}"}}"#));
    format!("{header}.{claims}.AAAA")
}

const KEYS: &str = r#"{"keys":[{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0","kid":"known"}]}"#;

#[tokio::test]
async fn a_token_of_the_development_issuer_is_verified() {
    let folder = tempfile::tempdir().expect("a folder");
    let issuers = open(settings(&development_issuer().await), folder.path());

    let token = issuers
        .development_token("alice")
        .await
        .expect("an issuer")
        .expect("a token");
    let verified = issuers.verify(&token).await.expect("a good token");

    assert_eq!(verified.principal.subject, "alice");
    assert_eq!(verified.principal.groups, ["dba"]);
    assert!(verified.development);
    assert!(
        issuers
            .development_token("mallory")
            .await
            .expect("an issuer")
            .is_err()
    );
}

#[tokio::test]
async fn keys_outlive_a_restart_without_network_and_are_nobody_elses_to_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let issuer = development::Issuer::open(([127, 0, 0, 1], 0).into(), default_users())
        .await
        .expect("an issuer");
    let url = issuer.url().to_owned();
    let serving = tokio::spawn(issuer.serve());
    let before = open(settings(&url), folder.path());
    let token = before
        .development_token("bob")
        .await
        .expect("an issuer")
        .expect("a token");
    before.verify(&token).await.expect("a good token");
    serving.abort();
    let _ = serving.await;

    let after = open(settings(&url), folder.path());

    assert_eq!(
        after
            .verify(&token)
            .await
            .expect("the kept keys")
            .principal
            .subject,
        "bob"
    );
    let kept: Vec<_> = fs::read_dir(folder.path())
        .expect("a folder")
        .flatten()
        .collect();
    assert_eq!(kept.len(), 1);
    assert_eq!(
        kept[0].metadata().expect("a file").permissions().mode() & 0o777,
        0o600
    );
}

#[tokio::test]
async fn an_unknown_key_is_asked_for_once_in_thirty_seconds() {
    let folder = tempfile::tempdir().expect("a folder");
    let keys = host(|_| page(KEYS)).await;
    let settings = IssuerSettings {
        jwks_uri: Some(format!("{}/jwks", keys.url)),
        ..settings(&keys.url)
    };
    let issuers = open(settings, folder.path());

    for _ in 0..20 {
        let refused = issuers.verify(&stray_token(&keys.url)).await;
        assert!(
            matches!(refused, Err(TokenError::UnknownKey)),
            "{refused:?}"
        );
    }

    assert_eq!(
        keys.asked.load(Ordering::SeqCst),
        1,
        "the first fetch is the one of these thirty seconds"
    );
}

#[tokio::test]
async fn a_rotated_key_is_found_with_one_request_when_the_pause_is_over() {
    let folder = tempfile::tempdir().expect("a folder");
    let keys = host(|_| page(KEYS)).await;
    let settings = IssuerSettings {
        jwks_uri: Some(format!("{}/jwks", keys.url)),
        ..settings(&keys.url)
    };
    let issuers = open(settings, folder.path());
    let _ = issuers.verify(&stray_token(&keys.url)).await;
    *issuers.issuers[0].asked.lock().await = Instant::now().checked_sub(REFETCH_PAUSE);

    let _ = issuers.verify(&stray_token(&keys.url)).await;
    let _ = issuers.verify(&stray_token(&keys.url)).await;

    assert_eq!(keys.asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_token_of_an_unknown_issuer_asks_nobody() {
    let folder = tempfile::tempdir().expect("a folder");
    let keys = host(|_| page(KEYS)).await;
    let issuers = open(settings(&keys.url), folder.path());

    let refused = issuers.verify(&stray_token("http://127.0.0.1:1")).await;

    assert!(matches!(refused, Err(TokenError::UnknownIssuer { .. })));
    assert_eq!(keys.asked.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn redirects_errors_endless_answers_and_impostors_are_refused() {
    let redirect = |own: &str| {
        format!("HTTP/1.1 302 Found\r\nLocation: {own}/elsewhere\r\nContent-Length: 0\r\n\r\n")
    };
    let endless = |_: &str| page(&"x".repeat(fetch::ANSWER_BYTES + 1));
    let impostor = |own: &str| {
        page(&format!(
            r#"{{"issuer":"{own}/other","jwks_uri":"{own}/jwks"}}"#
        ))
    };
    let elsewhere = |own: &str| {
        page(&format!(
            r#"{{"issuer":"{own}","jwks_uri":"http://idp.example/jwks"}}"#
        ))
    };
    let failing = |_: &str| "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n".to_owned();
    for (host, wanted) in [
        (host(redirect).await, "answered 302"),
        (host(endless).await, "more than"),
        (host(impostor).await, "another issuer"),
        (host(elsewhere).await, "no https address"),
        (host(failing).await, "answered 500"),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let issuers = open(settings(&host.url), folder.path());

        let refused = issuers.verify(&stray_token(&host.url)).await;

        let Err(TokenError::Keys(error)) = refused else {
            panic!("{wanted}: {refused:?}")
        };
        assert!(error.to_string().contains(wanted), "{error}");
        assert_eq!(host.asked.load(Ordering::SeqCst), 1, "{wanted}");
    }
}

#[test]
fn settings_that_would_be_unsafe_stop_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let good = settings("http://127.0.0.1:1");
    let open = |list: &[IssuerSettings]| Issuers::open(list, folder.path()).map(|_| ());
    assert!(open(std::slice::from_ref(&good)).is_ok());
    assert!(matches!(
        open(&[good.clone(), good.clone()]),
        Err(IssuerError::Twice { .. })
    ));
    let remote = IssuerSettings {
        issuer: "https://idp.example".to_owned(),
        ..good.clone()
    };
    assert!(matches!(
        open(&[remote]),
        Err(IssuerError::DevelopmentElsewhere { .. })
    ));
    let plain = IssuerSettings {
        issuer: "http://idp.example".to_owned(),
        development: false,
        ..good.clone()
    };
    assert!(matches!(open(&[plain]), Err(IssuerError::Address { .. })));
    let plain_keys = IssuerSettings {
        jwks_uri: Some("http://idp.example/jwks".to_owned()),
        ..good.clone()
    };
    assert!(matches!(
        open(&[plain_keys]),
        Err(IssuerError::Address { .. })
    ));
    let nobody = IssuerSettings {
        audience: String::new(),
        ..good
    };
    assert!(matches!(
        open(&[nobody]),
        Err(IssuerError::Missing {
            field: "audience",
            ..
        })
    ));
}
