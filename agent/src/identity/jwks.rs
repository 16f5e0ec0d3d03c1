//! An issuer's public keys, each with the algorithms that fit it.

use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse},
};
use serde::Deserialize;

use super::fetch::ANSWER_BYTES;

/// More keys than any provider publishes.
const MAX_KEYS: usize = 256;

/// Why a document is not a key set.
#[derive(Debug, thiserror::Error)]
pub enum JwksError {
    /// Larger than weir reads.
    #[error("the key set has {bytes} bytes, more than {ANSWER_BYTES}")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// Not a JSON object with a list `keys`.
    #[error("the key set is not the JSON it should be")]
    Json(#[source] serde_json::Error),
    /// Nothing that a token may be signed with.
    #[error("the key set holds no key that weir accepts")]
    Empty,
}

/// Public keys of one issuer.
#[derive(Debug, Clone)]
pub struct KeySet {
    keys: Vec<Key>,
}

/// One key.
#[derive(Debug, Clone)]
pub struct Key {
    id: Option<String>,
    algorithms: Vec<Algorithm>,
    decoding: DecodingKey,
}

/// What was found for a token's header.
#[derive(Debug)]
pub enum Lookup<'a> {
    /// The key.
    Found(&'a DecodingKey),
    /// No such key: the issuer may have rotated.
    Unknown,
    /// The key exists, but is not one for that algorithm.
    Unfit,
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<serde_json::Value>,
}

impl KeySet {
    /// Reads a JWKS document. Keys that are not for signatures, or of a kind weir does not accept, are left out.
    ///
    /// # Errors
    ///
    /// [`JwksError`] when it is too large, no key set, or without an acceptable key.
    pub fn parse(document: &[u8]) -> Result<Self, JwksError> {
        if document.len() > ANSWER_BYTES {
            return Err(JwksError::TooLarge {
                bytes: document.len(),
            });
        }
        let document: Document = serde_json::from_slice(document).map_err(JwksError::Json)?;
        let keys: Vec<Key> = document
            .keys
            .into_iter()
            .take(MAX_KEYS)
            .filter_map(|value| Key::of(&serde_json::from_value(value).ok()?))
            .collect();
        if keys.is_empty() {
            Err(JwksError::Empty)
        } else {
            Ok(Self { keys })
        }
    }

    /// The key for a token's header. A token without `kid` is believed only where one key alone fits.
    #[must_use]
    pub fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Lookup<'_> {
        let mut candidates = self
            .keys
            .iter()
            .filter(|key| id.is_none() || key.id.as_deref() == id)
            .peekable();
        if candidates.peek().is_none() {
            return Lookup::Unknown;
        }
        let mut fitting = candidates.filter(|key| key.algorithms.contains(&algorithm));
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => Lookup::Found(&key.decoding),
            _ => Lookup::Unfit,
        }
    }
}

impl Key {
    fn of(jwk: &Jwk) -> Option<Self> {
        if matches!(&jwk.common.public_key_use, Some(usage) if *usage != PublicKeyUse::Signature) {
            return None;
        }
        let mut algorithms = fitting(&jwk.algorithm).to_vec();
        if let Some(stated) = jwk.common.key_algorithm {
            algorithms.retain(|algorithm| stated.to_string() == format!("{algorithm:?}"));
        }
        if algorithms.is_empty() {
            return None;
        }
        let decoding = DecodingKey::from_jwk(jwk).ok()?;
        Some(Self {
            id: jwk.common.key_id.clone(),
            algorithms,
            decoding,
        })
    }
}

/// The allow-list: by the key's type, never by what a token says. Shared secrets (HS*) fit no key.
fn fitting(key: &AlgorithmParameters) -> &'static [Algorithm] {
    use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
    match key {
        AlgorithmParameters::EllipticCurve(parameters) => match parameters.curve {
            EllipticCurve::P256 => &[ES256],
            EllipticCurve::P384 => &[ES384],
            _ => &[],
        },
        AlgorithmParameters::RSA(_) => &[RS256, RS384, RS512, PS256, PS384, PS512],
        AlgorithmParameters::OctetKeyPair(parameters)
            if parameters.curve == EllipticCurve::Ed25519 =>
        {
            &[EdDSA]
        }
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const P256: &str = r#""kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0""#;

    fn set(keys: &[String]) -> Result<KeySet, JwksError> {
        KeySet::parse(format!(r#"{{"keys":[{}]}}"#, keys.join(",")).as_bytes())
    }

    #[test]
    fn a_key_answers_for_its_own_algorithm_only() {
        let set = set(&[format!(r#"{{{P256},"kid":"a"}}"#)]).expect("a key set");
        assert!(matches!(
            set.find(Some("a"), Algorithm::ES256),
            Lookup::Found(_)
        ));
        assert!(matches!(
            set.find(Some("a"), Algorithm::ES384),
            Lookup::Unfit
        ));
        assert!(matches!(
            set.find(Some("a"), Algorithm::RS256),
            Lookup::Unfit
        ));
        assert!(matches!(
            set.find(Some("a"), Algorithm::HS256),
            Lookup::Unfit
        ));
        assert!(matches!(
            set.find(Some("b"), Algorithm::ES256),
            Lookup::Unknown
        ));
    }

    #[test]
    fn a_token_without_kid_needs_a_single_fitting_key() {
        let one = set(&[format!(r#"{{{P256},"kid":"a"}}"#)]).expect("a key set");
        let two = set(&[
            format!(r#"{{{P256},"kid":"a"}}"#),
            format!(r#"{{{P256},"kid":"b"}}"#),
        ])
        .expect("a key set");
        assert!(matches!(one.find(None, Algorithm::ES256), Lookup::Found(_)));
        assert!(matches!(two.find(None, Algorithm::ES256), Lookup::Unfit));
    }

    #[test]
    fn secrets_encryption_keys_and_contradictions_are_left_out() {
        let secret = r#"{"kty":"oct","k":"c2VjcmV0","kid":"s","alg":"HS256"}"#.to_owned();
        let encryption = format!(r#"{{{P256},"kid":"e","use":"enc"}}"#);
        let contradiction = format!(r#"{{{P256},"kid":"c","alg":"RS256"}}"#);
        for key in [
            secret,
            encryption,
            contradiction,
            r#"{"kty":"new"}"#.to_owned(),
            "7".to_owned(),
        ] {
            assert!(
                matches!(set(std::slice::from_ref(&key)), Err(JwksError::Empty)),
                "{key}"
            );
        }
    }

    #[test]
    fn a_set_of_more_than_256_kib_is_refused() {
        let document = vec![b' '; ANSWER_BYTES + 1];
        assert!(matches!(
            KeySet::parse(&document),
            Err(JwksError::TooLarge { .. })
        ));
    }
}
