use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{EncodingKey, Header, jwk::Jwk};
use serde_json::{Value, json};

use super::*;

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
fn no_signature_and_shared_secrets_are_refused() {
    let signer = Signer::new();
    for algorithm in ["none", "None", "", "HS256", "HS512", "ES256K", "RSA-OAEP"] {
        let token = forge(
            &json!({ "alg": algorithm, "kid": "k" }),
            &claims(json!({})),
            b"",
        );
        assert!(
            matches!(signer.verify(&token), Err(TokenError::Algorithm)),
            "{algorithm}"
        );
    }
}

#[test]
fn a_public_key_used_as_a_shared_secret_is_refused() {
    let signer = Signer::new();
    let header = Header {
        kid: Some("k".to_owned()),
        ..Header::new(Algorithm::HS256)
    };
    let token = jsonwebtoken::encode(
        &header,
        &claims(json!({})),
        &EncodingKey::from_secret(b"public"),
    )
    .expect("a token");
    assert!(matches!(signer.verify(&token), Err(TokenError::Algorithm)));
}

#[test]
fn an_algorithm_that_does_not_fit_the_key_is_refused() {
    let signer = Signer::new();
    for algorithm in ["RS256", "PS256", "ES384", "EdDSA"] {
        let token = forge(
            &json!({ "alg": algorithm, "kid": "k" }),
            &claims(json!({})),
            &[1; 64],
        );
        assert!(
            matches!(signer.verify(&token), Err(TokenError::UnfitKey)),
            "{algorithm}"
        );
    }
}

#[test]
fn a_changed_token_and_another_issuers_key_are_refused() {
    let signer = Signer::new();
    let token = signer.sign(&header(), &claims(json!({})));
    let mut parts: Vec<&str> = token.split('.').collect();
    let changed = URL_SAFE_NO_PAD.encode(claims(json!({ "sub": "root" })).to_string());
    parts[1] = &changed;
    assert!(matches!(
        signer.verify(&parts.join(".")),
        Err(TokenError::Signature)
    ));
    assert!(matches!(
        signer.verify(&Signer::new().sign(&header(), &claims(json!({})))),
        Err(TokenError::Signature)
    ));
    let empty = forge(
        &json!({ "alg": "ES256", "kid": "k" }),
        &claims(json!({})),
        b"",
    );
    assert!(matches!(signer.verify(&empty), Err(TokenError::Signature)));
    let zero = forge(
        &json!({ "alg": "ES256", "kid": "k" }),
        &claims(json!({})),
        &[0; 64],
    );
    assert!(matches!(signer.verify(&zero), Err(TokenError::Signature)));
}

#[test]
fn a_key_that_the_token_brings_along_is_not_used() {
    let (signer, stranger) = (Signer::new(), Signer::new());
    let mut header = header();
    header.jwk =
        Some(Jwk::from_encoding_key(&stranger.key, Algorithm::ES256).expect("a public key"));
    header.jku = Some("https://evil.example/jwks".to_owned());
    let token = stranger.sign(&header, &claims(json!({})));
    assert!(matches!(signer.verify(&token), Err(TokenError::Signature)));
}

#[test]
fn an_unknown_key_is_told_apart_so_that_keys_are_fetched_again() {
    let signer = Signer::new();
    let refused = signer.try_header(|header| header.kid = Some("other".to_owned()));
    assert!(matches!(refused, Err(TokenError::UnknownKey)));
    assert!(signer.try_header(|header| header.kid = None).is_ok());
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
fn the_subject_is_the_key_and_the_address_is_for_display() {
    let signer = Signer::new();
    let verified = signer
        .try_claims(json!({ "email": "root@example.org" }))
        .expect("a good token");
    assert_eq!(
        (
            verified.principal.subject.as_str(),
            verified.principal.display.as_str()
        ),
        ("u-1", "root@example.org")
    );
    for subject in [
        json!(null),
        json!(""),
        json!("a\u{1b}[2J"),
        json!("x".repeat(513)),
    ] {
        assert!(
            matches!(
                signer.try_claims(json!({ "sub": subject })),
                Err(TokenError::Subject)
            ),
            "{subject}"
        );
    }
    let unprintable = signer
        .try_claims(json!({ "name": "a\nb" }))
        .expect("a good token");
    assert_eq!(unprintable.principal.display, "u-1");
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
fn more_than_a_thousand_groups_are_refused() {
    let signer = Signer::new();
    let groups = |count: usize| {
        (0..count)
            .map(|number| format!("g{number}"))
            .collect::<Vec<_>>()
    };
    assert!(
        signer
            .try_claims(json!({ "groups": groups(1_000) }))
            .is_ok()
    );
    assert!(matches!(
        signer.try_claims(json!({ "groups": groups(1_001) })),
        Err(TokenError::Groups)
    ));
    assert!(matches!(
        signer.try_claims(json!({ "groups": ["a\u{7}"] })),
        Err(TokenError::Groups)
    ));
    assert!(matches!(
        signer.try_claims(json!({ "groups": "dba" })),
        Err(TokenError::Malformed)
    ));
}

#[test]
fn a_list_of_groups_that_may_be_cut_is_incomplete() {
    let signer = Signer::new();
    let groups = |count: usize| {
        (0..count)
            .map(|number| format!("g{number}"))
            .collect::<Vec<_>>()
    };
    for (claims, complete) in [
        (json!({}), true),
        (json!({ "groups": groups(99) }), true),
        (json!({ "groups": groups(100) }), false),
        (json!({ "groups": groups(101) }), true),
        (json!({ "hasgroups": true }), false),
        (json!({ "hasgroups": "true" }), false),
        (json!({ "hasgroups": false }), true),
        (
            json!({ "groups": ["dba"], "_claim_names": { "groups": "src1" } }),
            false,
        ),
    ] {
        let verified = signer.try_claims(claims.clone()).expect("a good token");
        assert_eq!(verified.principal.groups_complete, complete, "{claims}");
    }
}

#[test]
fn the_kind_is_believed_only_where_the_issuer_is_trusted_for_it() {
    let signer = Signer::new();
    let token = signer.sign(&header(), &claims(json!({ "weir_kind": "agent" })));
    let unverified = peek(&token).expect("a readable token");
    let untrusted = Expected {
        trust_kind: false,
        ..expected()
    };

    let believed = verify(&token, &unverified, &signer.keys, expected()).expect("a good token");
    let ignored = verify(&token, &unverified, &signer.keys, untrusted).expect("a good token");

    assert_eq!(believed.principal.kind, PrincipalKind::Agent);
    assert_eq!(ignored.principal.kind, PrincipalKind::Human);
    assert!(matches!(
        signer.try_claims(json!({ "weir_kind": "root" })),
        Err(TokenError::Kind)
    ));
}

#[test]
fn only_the_claims_that_are_asked_for_are_kept() {
    let signer = Signer::new();
    let token = signer.sign(
        &header(),
        &claims(json!({ "region": "eu", "email": "ann@x.io", "level": 3, "jti": "1" })),
    );
    let unverified = peek(&token).expect("a readable token");
    let names = ["region", "email", "level", "country"].map(str::to_owned);
    let asked = Expected {
        claims: &names,
        ..expected()
    };

    let kept = verify(&token, &unverified, &signer.keys, asked).expect("a good token");
    let none = verify(&token, &unverified, &signer.keys, expected()).expect("a good token");

    let kept: Vec<_> = kept.principal.claims.into_iter().collect();
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(kept, [pair("email", "ann@x.io"), pair("region", "eu")]);
    assert!(none.principal.claims.is_empty());
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

fn id_slot<'a>(nonce: Option<&'a str>, access_token: Option<&'a str>) -> Expected<'a> {
    Expected {
        slot: Slot::Id {
            client: "weir",
            nonce,
            access_token,
        },
        ..expected()
    }
}

#[test]
fn an_id_token_must_be_this_clients_answer() {
    let signer = Signer::new();
    let judge = |changes: Value, expected: Expected<'_>| {
        let token = signer.sign(&header(), &claims(changes));
        verify(&token, &peek(&token)?, &signer.keys, expected)
    };
    assert!(judge(json!({}), id_slot(None, None)).is_ok());
    assert!(judge(json!({ "azp": "weir" }), id_slot(None, None)).is_ok());
    assert!(judge(json!({ "nonce": "n" }), id_slot(Some("n"), None)).is_ok());
    for (changes, nonce) in [
        (json!({ "azp": "other" }), None),
        (json!({ "aud": ["weir", "other"] }), None),
        (json!({ "aud": ["weir", "other"], "azp": "other" }), None),
    ] {
        let refused = judge(changes.clone(), id_slot(nonce, None));
        assert!(matches!(refused, Err(TokenError::Party)), "{changes}");
    }
    assert!(
        judge(
            json!({ "aud": ["weir", "other"], "azp": "weir" }),
            id_slot(None, None)
        )
        .is_ok()
    );
    for changes in [json!({}), json!({ "nonce": "m" }), json!({ "nonce": "" })] {
        let refused = judge(changes.clone(), id_slot(Some("n"), None));
        assert!(matches!(refused, Err(TokenError::Nonce)), "{changes}");
    }
}

#[test]
fn an_id_token_must_belong_to_its_access_token() {
    let signer = Signer::new();
    let judge = |changes: Value| {
        let token = signer.sign(&header(), &claims(changes));
        verify(
            &token,
            &peek(&token)?,
            &signer.keys,
            id_slot(None, Some("access")),
        )
    };
    let right = access_hash("access", Algorithm::ES256);
    assert!(judge(json!({})).is_ok());
    assert!(judge(json!({ "at_hash": right })).is_ok());
    for wrong in [access_hash("other", Algorithm::ES256), String::new()] {
        assert!(matches!(
            judge(json!({ "at_hash": wrong })),
            Err(TokenError::AccessHash)
        ));
    }
}

#[test]
fn an_access_token_is_no_id_token() {
    let signer = Signer::new();
    let typed = Header {
        typ: Some("at+jwt".to_owned()),
        ..header()
    };
    let token = signer.sign(&typed, &claims(json!({})));
    let unverified = peek(&token).expect("a readable token");
    let refused = verify(&token, &unverified, &signer.keys, id_slot(None, None));
    assert!(matches!(refused, Err(TokenError::Type { .. })));
    let access = Expected {
        slot: Slot::Access { client: "weir" },
        ..expected()
    };
    assert!(verify(&token, &unverified, &signer.keys, access).is_ok());
    let other = signer.sign(&typed, &claims(json!({ "client_id": "other" })));
    let refused = verify(
        &other,
        &peek(&other).expect("readable"),
        &signer.keys,
        access,
    );
    assert!(matches!(refused, Err(TokenError::Party)));
}

#[test]
fn groups_and_the_account_are_read_from_the_configured_claims() {
    let signer = Signer::new();
    let token = signer.sign(
        &header(),
        &claims(json!({
            "roles": ["dba"], "groups": ["other"], "upn": "alice@shop.example", "email": "a@shop.example",
            "email_verified": false, "preferred_username": "al",
        })),
    );
    let unverified = peek(&token).expect("a readable token");
    let read = |groups_claim, account_claim| {
        let expected = Expected {
            groups_claim,
            account_claim,
            ..expected()
        };
        verify(&token, &unverified, &signer.keys, expected).expect("a good token")
    };
    let verified = read("roles", "upn");
    assert_eq!(verified.principal.groups, ["dba"]);
    assert_eq!(verified.account.as_deref(), Some("alice@shop.example"));
    assert_eq!(
        read("none", "preferred_username").account.as_deref(),
        Some("al")
    );
    assert!(read("none", "sub").principal.groups.is_empty());
    // An address that nobody has verified is nobody's.
    assert_eq!(read("groups", "email").account, None);
    assert_eq!(read("groups", "missing").account, None);
}
