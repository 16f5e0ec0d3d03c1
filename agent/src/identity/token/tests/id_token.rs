//! Tokens that answer a log-in.

use super::*;

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
