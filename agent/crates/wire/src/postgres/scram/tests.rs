use std::num::NonZeroU32;

use super::*;
use crate::postgres::sasl::Mechanism;

const SALT: &[u8] = b"0123456789abcdef";
const SERVER_NONCE: &str = "server+nonce/";

fn few() -> NonZeroU32 {
    NonZeroU32::new(64).expect("not zero")
}

fn verifier() -> Verifier {
    Verifier::of_password("pencil", SALT, few())
}

/// Logs in with a password against a verifier.
fn log_in(
    verifier: Result<Verifier, Verifier>,
    password: &str,
    binding: Binding,
    server_binding: Option<&[u8]>,
) -> Result<Proven, ScramError> {
    let mechanism = binding.mechanism();
    let (client, first) = ClientExchange::begin(binding, "client-nonce");
    let (server, challenge) = ServerExchange::begin(
        verifier,
        mechanism,
        server_binding,
        first.as_bytes(),
        SERVER_NONCE,
    )?;
    let challenge = client.challenged(challenge.as_bytes())?;
    let keys = Keys::derive(password, &challenge.salt, challenge.iterations);
    let (outcome, answer) = challenge.answer(&keys);
    let proven = server.finish(answer.as_bytes())?;
    outcome.check(proven.farewell.as_bytes())?;
    Ok(proven)
}

/// The example of RFC 7677, section 3.
#[test]
fn the_standards_example_holds() {
    let first = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
    let salt = base64::Engine::decode(
        &base64::engine::general_purpose::STANDARD,
        "W22ZaJ0SNY7soEsUEjb6gQ==",
    )
    .expect("base64");
    let iterations = NonZeroU32::new(4096).expect("not zero");
    let (exchange, challenge) = ServerExchange::begin(
        Ok(Verifier::of_password("pencil", &salt, iterations)),
        Mechanism::Plain,
        None,
        first,
        "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
    )
    .expect("begun");
    assert_eq!(
        challenge,
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    );
    let proven = exchange
        .finish(
            b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        )
        .expect("proved");
    assert_eq!(
        proven.farewell,
        "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
    );
}

#[test]
fn a_client_of_one_channel_is_logged_in_over_another() {
    let proven = log_in(
        Ok(verifier()),
        "pencil",
        Binding::Bound(vec![1; 32]),
        Some(&[1; 32]),
    )
    .expect("proved");
    // The keys that came out of the proof are those of the password.
    let (client, first) = ClientExchange::begin(Binding::Bound(vec![2; 48]), "agent-nonce");
    let (server, challenge) = ServerExchange::begin(
        Ok(verifier()),
        Mechanism::Plus,
        Some(&[2; 48]),
        first.as_bytes(),
        SERVER_NONCE,
    )
    .expect("begun");
    let challenge = client.challenged(challenge.as_bytes()).expect("read");
    assert!(verifier().makes(&challenge.salt, challenge.iterations.get()));
    let (outcome, answer) = challenge.answer(&proven.keys);
    let farewell = server.finish(answer.as_bytes()).expect("proved").farewell;
    outcome
        .check(farewell.as_bytes())
        .expect("the server's own");
}

#[test]
fn a_wrong_password_and_an_unknown_user_look_alike() {
    let binding = || Binding::Bound(vec![1; 32]);
    let wrong = log_in(Ok(verifier()), "pencil2", binding(), Some(&[1; 32]));
    assert_eq!(wrong.expect_err("refused"), ScramError::Proof);
    let nobody = Verifier::pretended(b"nobody", &[7; 32]);
    assert_eq!(nobody, Verifier::pretended(b"nobody", &[7; 32]));
    assert_ne!(nobody, Verifier::pretended(b"somebody", &[7; 32]));
    let unknown = log_in(Err(nobody), "pencil", binding(), Some(&[1; 32]));
    assert_eq!(unknown.expect_err("refused"), ScramError::Proof);
    // Even the right proof is none for somebody who is not there.
    let doomed = log_in(Err(verifier()), "pencil", binding(), Some(&[1; 32]));
    assert_eq!(doomed.expect_err("refused"), ScramError::Proof);
}

#[test]
fn channel_binding_is_held_to_what_was_offered() {
    let tried = |binding, server: Option<&[u8]>| {
        log_in(Ok(verifier()), "pencil", binding, server).map(|_| ())
    };
    assert_eq!(tried(Binding::None, None), Ok(()));
    assert_eq!(tried(Binding::None, Some(&[1; 32])), Ok(()));
    assert_eq!(tried(Binding::Unoffered, None), Ok(()));
    assert_eq!(
        tried(Binding::Unoffered, Some(&[1; 32])),
        Err(ScramError::Downgrade)
    );
    assert_eq!(
        tried(Binding::Bound(vec![2; 32]), Some(&[1; 32])),
        Err(ScramError::Binding)
    );
    assert!(matches!(
        tried(Binding::Bound(vec![1; 32]), None),
        Err(ScramError::Malformed { .. })
    ));
}

#[test]
fn a_server_that_does_not_know_the_verifier_is_an_impostor() {
    let (client, first) = ClientExchange::begin(Binding::None, "client-nonce");
    assert!(first.starts_with("n,,"));
    let challenge = format!("r=client-nonceX,s={},i=64", keys::base64(SALT));
    let challenge = client.challenged(challenge.as_bytes()).expect("read");
    let keys = Keys::derive("pencil", &challenge.salt, challenge.iterations);
    let (outcome, _) = challenge.answer(&keys);
    let made_up = format!("v={}", keys::base64(&[9; 32]));
    assert_eq!(outcome.check(made_up.as_bytes()), Err(ScramError::Impostor));
    assert_eq!(outcome.check(b"e=other-error"), Err(ScramError::Refused));
}

#[test]
fn work_and_nonces_are_bounded() {
    let challenged = |text: &str| {
        ClientExchange::begin(Binding::None, "abc")
            .0
            .challenged(text.as_bytes())
            .map(|_| ())
    };
    assert_eq!(challenged("r=abcd,s=AAAA,i=4096"), Ok(()));
    for (text, iterations) in [
        ("r=abcd,s=AAAA,i=0", 0),
        ("r=abcd,s=AAAA,i=1000001", 1_000_001),
        ("r=abcd,s=AAAA,i=99999999999", 99_999_999_999),
    ] {
        assert_eq!(
            challenged(text),
            Err(ScramError::Iterations { iterations }),
            "{text}"
        );
    }
    assert_eq!(challenged("r=abc,s=AAAA,i=4096"), Err(ScramError::Nonce));
    assert_eq!(challenged("r=xbcd,s=AAAA,i=4096"), Err(ScramError::Nonce));
}

#[test]
fn verifiers_are_read_exactly() {
    let key = keys::base64(&[5; 32]);
    let good = format!("SCRAM-SHA-256$4096:AAAA${key}:{key}");
    assert!(Verifier::parse(&good).is_ok());
    assert_eq!(
        format!("{:?}", Verifier::parse(&good).expect("good")),
        "Verifier { .. }"
    );
    for end in 0..good.len() {
        assert!(Verifier::parse(&good[..end]).is_err(), "{end} bytes");
    }
    for bad in [
        format!("SCRAM-SHA-256$0:AAAA${key}:{key}"),
        format!("SCRAM-SHA-256$-1:AAAA${key}:{key}"),
        format!("SCRAM-SHA-256$4096:${key}:{key}"),
        format!("SCRAM-SHA-256$4096:AAAA${key}:{key} "),
        "md5d41d8cd98f00b204e9800998ecf8427e".to_owned(),
        String::new(),
    ] {
        assert!(Verifier::parse(&bad).is_err(), "{bad}");
    }
}

/// No prefix of a message is taken for a whole one, and none makes anything panic.
#[test]
fn every_prefix_of_every_message_is_refused_or_waits_for_its_end() {
    let first = b"p=tls-server-end-point,,n=,r=abc";
    for end in 0..first.len() - 2 {
        let begun = ServerExchange::begin(
            Ok(verifier()),
            Mechanism::Plus,
            Some(&[1; 32]),
            &first[..end],
            SERVER_NONCE,
        );
        assert!(begun.is_err(), "{end} bytes");
    }
    let answer = {
        let (client, first) = ClientExchange::begin(Binding::None, "abc");
        let (_, challenge) = ServerExchange::begin(
            Ok(verifier()),
            Mechanism::Plain,
            None,
            first.as_bytes(),
            SERVER_NONCE,
        )
        .expect("begun");
        let challenge = client.challenged(challenge.as_bytes()).expect("read");
        let keys = Keys::derive("pencil", &challenge.salt, challenge.iterations);
        challenge.answer(&keys).1
    };
    for end in 0..answer.len() {
        let (exchange, _) = ServerExchange::begin(
            Ok(verifier()),
            Mechanism::Plain,
            None,
            b"n,,n=,r=abc",
            SERVER_NONCE,
        )
        .expect("begun");
        assert!(exchange.finish(&answer.as_bytes()[..end]).is_err(), "{end}");
    }
}

#[test]
fn what_the_standard_has_and_postgresql_does_not_is_refused() {
    let begin = |text: &[u8]| {
        ServerExchange::begin(Ok(verifier()), Mechanism::Plain, None, text, SERVER_NONCE)
            .map(|_| ())
    };
    assert_eq!(begin(b"n,,n=u,r=abc"), Ok(()));
    assert_eq!(begin(b"n,,n=u,r=abc,x=1"), Ok(()));
    for refused in [
        &b"n,a=other,n=u,r=abc"[..],
        b"n,,m=1,n=u,r=abc",
        b"n,,n=u,r=abc,m=1",
        b"p=tls-exporter,,n=u,r=abc",
        b"n,,n=u,r=",
        b"n,,n=u,r=a\x7fb",
        b"n,,n=u",
        b"n,,n=\xff,r=abc",
        b"n,,n=u\0,r=abc",
        b"z,,n=u,r=abc",
        b"",
    ] {
        assert!(begin(refused).is_err(), "{refused:?}");
    }
}

/// PostgreSQL normalises passwords with SASLprep, and takes those it does not apply to as they are.
#[test]
fn passwords_are_normalised_as_the_server_does_it() {
    let of = |password: &str| Verifier::of_password(password, SALT, few());
    assert_eq!(of("I\u{ad}X"), of("IX"), "a soft hyphen is nothing");
    assert_eq!(of("\u{2168}"), of("IX"), "a compatibility character");
    assert_eq!(of("a\u{a0}b"), of("a b"), "a space of another kind");
    assert_ne!(of("a\u{7}b"), of("ab"), "a prohibited character stays");
}
