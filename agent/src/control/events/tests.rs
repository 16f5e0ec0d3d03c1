//! An event of a provider whose keys are served on loopback.

use std::{
    path::PathBuf,
    sync::{Mutex, atomic::AtomicU32, atomic::Ordering},
};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use jsonwebtoken::{Algorithm, EncodingKey, Header, jwk::Jwk};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::{
    audit::record::Event,
    capture::Origin,
    clock,
    control::Parts,
    identity::{
        Bound, Identities, IssuerSettings, Settings, cgroups,
        events::{About, Whom},
        settings::EventSettings,
    },
    sessions::{EndError, EndOrder},
};

/// By http as its keys are: an issuer by https must not have its keys elsewise.
const ISSUER: &str = "http://127.0.0.1:9/realm";
const AUDIENCE: &str = "https://weir.example";
const REVOKED: &str = "https://schemas.openid.net/secevent/caep/event-type/session-revoked";

/// Remembers whose browsers are logged out.
#[derive(Default)]
struct Recorder(Mutex<Vec<Whom>>);

impl Parts for Recorder {
    fn status(&self) -> Value {
        Value::Null
    }

    fn state_dir(&self) -> PathBuf {
        PathBuf::new()
    }

    fn socket_origin(&self, _client: SocketAddr) -> Option<Origin> {
        None
    }

    fn stop(&self) {}

    fn record(&self, _event: Event) {}

    fn end_sessions(&self, _bound: &Bound) {}

    fn log_out(&self, whom: &Whom) {
        self.0.lock().expect("a lock").push(whom.clone());
    }

    fn end_session(&self, order: EndOrder) -> Result<(), EndError> {
        Err(EndError::NoSession {
            session: order.session,
        })
    }
}

/// A key and where its public half is served.
async fn key() -> (EncodingKey, String) {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
    let key = EncodingKey::from_ec_der(pair.to_pkcs8v1().expect("a document").as_ref());
    let mut public = Jwk::from_encoding_key(&key, Algorithm::ES256).expect("a public key");
    public.common.key_id = Some("k".to_owned());
    let body = json!({ "keys": [public] }).to_string();
    let page = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/keys", listener.local_addr().expect("an address"));
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut request = [0_u8; 4096];
            let _ = client.read(&mut request).await;
            let _ = client.write_all(page.as_bytes()).await;
        }
    });
    (key, url)
}

fn event(key: &EncodingKey, subject: &Value) -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let header = Header {
        typ: Some("secevent+jwt".to_owned()),
        kid: Some("k".to_owned()),
        ..Header::new(Algorithm::ES256)
    };
    let claims = json!({
        "iss": ISSUER,
        "aud": AUDIENCE,
        "iat": clock::now().as_secs(),
        "jti": NUMBER.fetch_add(1, Ordering::Relaxed).to_string(),
        "sub_id": subject,
        "events": { REVOKED: {} },
    });
    jsonwebtoken::encode(&header, &claims, key).expect("an event")
}

#[tokio::test]
async fn an_event_logs_browsers_out_of_who_has_no_process_on_this_host() {
    let (key, jwks_uri) = key().await;
    let folder = tempfile::tempdir().expect("a folder");
    let settings = Settings {
        issuers: vec![IssuerSettings {
            issuer: ISSUER.to_owned(),
            client_id: Some("weir".to_owned()),
            events: Some(EventSettings {
                audience: AUDIENCE.to_owned(),
                push: Some(([127, 0, 0, 1], 9443).into()),
                jwks_uri: Some(jwks_uri),
                ..EventSettings::default()
            }),
            ..IssuerSettings::default()
        }],
        ..Settings::default()
    };
    let cgroup = cgroups::default_cgroup().expect("a cgroup v2 mount");
    let identities = Identities::open(&settings, folder.path(), &cgroup).expect("good settings");
    let parts = Arc::new(Recorder::default());
    let desk = Desk {
        identities: Arc::new(identities),
        parts: Arc::clone(&parts) as Arc<dyn Parts>,
        detached: Arc::default(),
    };
    let receiver = Arc::clone(&desk.identities.receivers()[0]);
    assert!(desk.identities.bindings().is_empty());

    let alice = json!({ "format": "iss_sub", "iss": ISSUER, "sub": "alice" });
    let bob = json!({ "format": "email", "email": "bob@example.org" });
    for subject in [&alice, &bob] {
        take(&desk, &receiver, &event(&key, subject))
            .await
            .expect("a good event");
    }

    let whom = |about| Whom {
        issuer: ISSUER.to_owned(),
        about: vec![about],
    };
    assert_eq!(
        *parts.0.lock().expect("a lock"),
        [
            whom(About::Subject("alice".to_owned())),
            whom(About::Address("bob@example.org".to_owned()))
        ]
    );
}
