//! What is taken from a token: who it is, its groups, its kind.

use super::*;

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
