//! Who has signed a token, and with what.

use super::*;

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
