use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{EncodingKey, Header, jwk::Jwk};
use serde_json::{Value, json};

use super::*;

mod id_token;
mod signature;
mod subject;

const ISSUER: &str = "https://idp.example/realm";
const NOW_S: i64 = 1_800_000_000;

/// An issuer with one key, `k`.
struct Signer {
    key: EncodingKey,
    keys: KeySet,
}

impl Signer {
    fn new() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
        let key = EncodingKey::from_ec_der(pair.to_pkcs8v1().expect("a document").as_ref());
        let mut public = Jwk::from_encoding_key(&key, Algorithm::ES256).expect("a public key");
        public.common.key_id = Some("k".to_owned());
        let keys =
            KeySet::parse(json!({ "keys": [public] }).to_string().as_bytes()).expect("a key set");
        Self { key, keys }
    }

    fn sign(&self, header: &Header, claims: &Value) -> String {
        jsonwebtoken::encode(header, claims, &self.key).expect("a token")
    }

    fn verify(&self, token: &str) -> Result<Verified, TokenError> {
        verify(token, &peek(token)?, &self.keys, expected())
    }

    /// Signs the good claims with `changes` put over them (null removes) and verifies.
    fn try_claims(&self, changes: Value) -> Result<Verified, TokenError> {
        self.verify(&self.sign(&header(), &claims(changes)))
    }

    fn try_header(&self, change: impl FnOnce(&mut Header)) -> Result<Verified, TokenError> {
        let mut header = header();
        change(&mut header);
        self.verify(&self.sign(&header, &claims(json!({}))))
    }
}

fn expected() -> Expected<'static> {
    Expected {
        issuer: ISSUER,
        audience: "weir",
        trust_kind: true,
        claims: &[],
        groups_claim: "groups",
        account_claim: "preferred_username",
        slot: Slot::Handed,
        now_s: NOW_S,
    }
}

fn header() -> Header {
    Header {
        kid: Some("k".to_owned()),
        ..Header::new(Algorithm::ES256)
    }
}

fn claims(changes: Value) -> Value {
    let mut claims =
        json!({ "iss": ISSUER, "sub": "u-1", "aud": "weir", "exp": NOW_S + 300, "iat": NOW_S });
    let Value::Object(changes) = changes else {
        panic!("changes are an object")
    };
    for (name, value) in changes {
        if value.is_null() {
            claims.as_object_mut().expect("an object").remove(&name);
        } else {
            claims[name] = value;
        }
    }
    claims
}

/// A token that no library would sign.
fn forge(header: &Value, claims: &Value, signature: &[u8]) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!(
        "{}.{}.{}",
        part(header),
        part(claims),
        URL_SAFE_NO_PAD.encode(signature)
    )
}

#[test]
fn a_good_token_names_its_principal() {
    let signer = Signer::new();
    let token = signer.sign(
        &header(),
        &claims(json!({
            "groups": ["dba"], "preferred_username": "alice", "email": "a@example.org", "auth_time": NOW_S - 5, "acr": "2",
            "weir_kind": "workload", "amr": ["pwd", "mfa", 7, "pwd"],
        })),
    );

    let verified = signer.verify(&token).expect("a good token");

    let principal = &verified.principal;
    assert_eq!(
        (principal.issuer.as_str(), principal.subject.as_str()),
        (ISSUER, "u-1")
    );
    assert_eq!(
        (principal.display.as_str(), principal.kind),
        ("alice", PrincipalKind::Workload)
    );
    assert_eq!(
        (principal.auth_time, principal.acr.as_deref()),
        (Some(NOW_S - 5), Some("2"))
    );
    assert_eq!(principal.amr, ["mfa", "pwd"]);
    assert!(principal.groups == ["dba"] && principal.groups_complete);
    assert_eq!(verified.fingerprint, fingerprint(&token));
    assert!(!format!("{verified:?}").contains(&token));
}

#[test]
fn the_issuer_must_be_exact() {
    let signer = Signer::new();
    for issuer in [
        "https://idp.example/realm/",
        "https://IDP.example/realm",
        "https://idp.example",
        "",
    ] {
        let refused = signer.try_claims(json!({ "iss": issuer }));
        assert!(matches!(refused, Err(TokenError::Issuer)), "{issuer}");
    }
    assert!(matches!(
        signer.try_claims(json!({ "iss": null })),
        Err(TokenError::Malformed)
    ));
}

#[test]
fn the_audience_must_be_among_the_tokens() {
    let signer = Signer::new();
    for audience in [
        json!("weird"),
        json!([]),
        json!(["other", "WEIR"]),
        json!(""),
    ] {
        let refused = signer.try_claims(json!({ "aud": audience }));
        assert!(
            matches!(refused, Err(TokenError::Audience { .. })),
            "{audience}"
        );
    }
    assert!(matches!(
        signer.try_claims(json!({ "aud": null })),
        Err(TokenError::Audience { .. })
    ));
    assert!(matches!(
        signer.try_claims(json!({ "aud": 7 })),
        Err(TokenError::Malformed)
    ));
    assert!(
        signer
            .try_claims(json!({ "aud": ["other", "weir"] }))
            .is_ok()
    );
}

#[test]
fn the_type_must_be_one_for_logging_in() {
    let signer = Signer::new();
    for good in [
        None,
        Some("JWT"),
        Some("at+jwt"),
        Some("application/at+jwt"),
    ] {
        assert!(
            signer
                .try_header(|header| header.typ = good.map(str::to_owned))
                .is_ok(),
            "{good:?}"
        );
    }
    for bad in [
        "logout+jwt",
        "secevent+jwt",
        "dpop+jwt",
        "oauth-id-jag+jwt",
        "client-authentication+jwt",
        "",
    ] {
        let refused = signer.try_header(|header| header.typ = Some(bad.to_owned()));
        assert!(matches!(refused, Err(TokenError::Type { .. })), "{bad}");
    }
}

#[test]
fn critical_extensions_are_refused() {
    let signer = Signer::new();
    let refused = signer.try_header(|header| header.crit = Some(vec!["exp".to_owned()]));
    assert!(matches!(refused, Err(TokenError::Header { what: "crit" })));
    let token = forge(
        &json!({ "alg": "ES256", "kid": "k", "b64": false }),
        &claims(json!({})),
        &[1; 64],
    );
    assert!(matches!(
        signer.verify(&token),
        Err(TokenError::Header { what: "b64" })
    ));
}

#[test]
fn an_expiry_is_required_and_kept_within_a_minute() {
    let signer = Signer::new();
    assert!(matches!(
        signer.try_claims(json!({ "exp": null })),
        Err(TokenError::NoExpiry)
    ));
    for exp in [json!("1800000300"), json!(true), json!([1])] {
        assert!(
            matches!(
                signer.try_claims(json!({ "exp": exp })),
                Err(TokenError::Malformed)
            ),
            "{exp}"
        );
    }
    for exp in [json!(-1), json!(1e300), json!(1e11)] {
        assert!(
            matches!(
                signer.try_claims(json!({ "exp": exp })),
                Err(TokenError::NoExpiry)
            ),
            "{exp}"
        );
    }
    assert!(signer.try_claims(json!({ "exp": NOW_S - 59 })).is_ok());
    assert!(matches!(
        signer.try_claims(json!({ "exp": NOW_S - 60 })),
        Err(TokenError::Expired { seconds: 60 })
    ));
    let verified = signer
        .try_claims(json!({ "exp": NOW_S + 10 }))
        .expect("a good token");
    assert_eq!(verified.not_after_s, NOW_S + 70);
}

#[test]
fn tokens_from_the_future_are_refused() {
    let signer = Signer::new();
    for claim in ["nbf", "iat"] {
        assert!(
            signer.try_claims(json!({ claim: NOW_S + 60 })).is_ok(),
            "{claim}"
        );
        assert!(
            matches!(
                signer.try_claims(json!({ claim: NOW_S + 61 })),
                Err(TokenError::NotYet)
            ),
            "{claim}"
        );
        assert!(
            matches!(
                signer.try_claims(json!({ claim: 1e300 })),
                Err(TokenError::NotYet)
            ),
            "{claim}"
        );
    }
}

#[test]
fn a_claim_that_appears_twice_is_refused() {
    let signer = Signer::new();
    let twice = r#"{"iss":"https://idp.example/realm","sub":"u-1","sub":"root","aud":"weir","exp":1800000300}"#;
    let message = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(r#"{"alg":"ES256","kid":"k"}"#),
        URL_SAFE_NO_PAD.encode(twice)
    );
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &signer.key, Algorithm::ES256)
        .expect("a signature");
    assert!(matches!(
        signer.verify(&format!("{message}.{signature}")),
        Err(TokenError::Malformed)
    ));
}

#[test]
fn a_token_of_more_than_16_kib_is_not_even_parsed() {
    let signer = Signer::new();
    let refused = signer.try_claims(json!({ "padding": "x".repeat(TOKEN_BYTES) }));
    assert!(matches!(refused, Err(TokenError::TooLong { .. })));
    assert!(matches!(
        peek(&"a".repeat(TOKEN_BYTES + 1)),
        Err(TokenError::TooLong { .. })
    ));
    assert!(matches!(
        peek(&".".repeat(TOKEN_BYTES)),
        Err(TokenError::Malformed)
    ));
}

#[test]
fn what_is_no_token_is_refused_without_a_panic() {
    let signer = Signer::new();
    let good = signer.sign(&header(), &claims(json!({})));
    for at in 0..good.len() {
        assert!(signer.verify(&good[..at]).is_err(), "cut at {at}");
    }
    for text in [
        "",
        ".",
        "..",
        "...",
        "a.b.c",
        "e30.e30.",
        "\u{fffd}.\u{fffd}.\u{fffd}",
        "{}.{}.{}",
    ] {
        assert!(signer.verify(text).is_err(), "{text}");
    }
}
