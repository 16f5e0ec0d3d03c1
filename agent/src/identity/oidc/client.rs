//! How weir proves to a provider which client it is.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;

use crate::{
    clock,
    identity::{
        fetch,
        secret::{self, Secret},
    },
};

/// How long an assertion is good, seconds.
const ASSERTION_S: u64 = 60;

/// What the operator says of the client.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientSettings {
    /// As registered with the provider.
    pub id: String,
    /// A file with the secret; read again at each use, so that it can be changed.
    pub secret_file: Option<PathBuf>,
    /// A file with a private key (PEM, PKCS #8) for `private_key_jwt`.
    pub key_file: Option<PathBuf>,
    /// The id by which the provider knows that key.
    pub key_id: Option<String>,
}

/// Why a client's credentials cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Which of the two?
    #[error("a client has a secret or a key, not both")]
    Both,
    /// The file.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Not a key.
    #[error("{} holds no private key that weir can sign with (PEM, PKCS #8: RSA, P-256, P-384 or Ed25519)", path.display())]
    Key {
        /// Which.
        path: PathBuf,
    },
    /// The library.
    #[error("cannot sign")]
    Sign,
}

/// A client of a provider.
pub struct Client {
    id: String,
    proof: Proof,
}

enum Proof {
    Public,
    Secret(PathBuf),
    Key {
        key: Box<EncodingKey>,
        algorithm: Algorithm,
        id: Option<String>,
    },
}

/// What goes along with a request.
pub(super) struct Proved {
    pub(super) fields: Vec<(&'static str, Secret)>,
    pub(super) authorization: Option<Secret>,
}

impl fmt::Debug for Client {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Client")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Reads the key, where there is one.
    ///
    /// # Errors
    ///
    /// [`ClientError`] when secret or key cannot be used.
    pub fn open(settings: &ClientSettings) -> Result<Self, ClientError> {
        let proof = match (&settings.secret_file, &settings.key_file) {
            (Some(_), Some(_)) => return Err(ClientError::Both),
            (None, None) => Proof::Public,
            (Some(path), None) => {
                read_secret(path)?;
                Proof::Secret(path.clone())
            }
            (None, Some(path)) => {
                let text = secret::read_file(path).map_err(|source| ClientError::Read {
                    path: path.clone(),
                    source,
                })?;
                let text = Secret::new(text);
                let (key, algorithm) = read_key(text.expose().as_bytes())
                    .ok_or_else(|| ClientError::Key { path: path.clone() })?;
                Proof::Key {
                    key: Box::new(key),
                    algorithm,
                    id: settings.key_id.clone(),
                }
            }
        };
        Ok(Self {
            id: settings.id.clone(),
            proof,
        })
    }

    /// As registered with the provider.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// How it proves itself, in the provider's words.
    #[must_use]
    pub fn method(&self) -> &'static str {
        match &self.proof {
            Proof::Public => "none",
            Proof::Secret(_) => "client_secret_basic",
            Proof::Key { .. } => "private_key_jwt",
        }
    }

    /// `audience` is the token endpoint, which every provider accepts.
    pub(super) fn prove(&self, audience: &str) -> Result<Proved, ClientError> {
        match &self.proof {
            Proof::Public => Ok(Proved {
                fields: vec![("client_id", Secret::new(self.id.clone()))],
                authorization: None,
            }),
            Proof::Secret(path) => {
                let secret = read_secret(path)?;
                // RFC 6749, 2.3.1: both are form-encoded before they are joined.
                let encode = |text: &str| {
                    let form = Secret::new(fetch::encode_form(&[("", text)]));
                    Secret::new(form.expose().trim_start_matches('=').to_owned())
                };
                let (id, secret) = (encode(&self.id), encode(secret.expose()));
                let pair = Secret::new(format!("{}:{}", id.expose(), secret.expose()));
                let header = format!("Basic {}", STANDARD.encode(pair.expose()));
                Ok(Proved {
                    fields: Vec::new(),
                    authorization: Some(Secret::new(header)),
                })
            }
            Proof::Key { key, algorithm, id } => {
                let assertion = self.assertion(key, *algorithm, id.clone(), audience)?;
                Ok(Proved {
                    fields: vec![
                        ("client_id", Secret::new(self.id.clone())),
                        (
                            "client_assertion_type",
                            Secret::new(ASSERTION_TYPE.to_owned()),
                        ),
                        ("client_assertion", assertion),
                    ],
                    authorization: None,
                })
            }
        }
    }

    /// RFC 7523.
    fn assertion(
        &self,
        key: &EncodingKey,
        algorithm: Algorithm,
        key_id: Option<String>,
        audience: &str,
    ) -> Result<Secret, ClientError> {
        let now_s = clock::now().as_secs();
        let claims = json!({
            "iss": self.id,
            "sub": self.id,
            "aud": audience,
            "iat": now_s,
            "nbf": now_s,
            "exp": now_s + ASSERTION_S,
            "jti": random_text().map_err(|_| ClientError::Sign)?,
        });
        let header = Header {
            kid: key_id,
            ..Header::new(algorithm)
        };
        jsonwebtoken::encode(&header, &claims, key)
            .map(Secret::new)
            .map_err(|_| ClientError::Sign)
    }
}

/// 256 random bits, as text for addresses.
///
/// # Errors
///
/// When the library has no randomness.
pub(crate) fn random_text() -> Result<String, aws_lc_rs::error::Unspecified> {
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let mut bytes = [0_u8; 32];
    aws_lc_rs::rand::fill(&mut bytes)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

fn read_secret(path: &Path) -> Result<Secret, ClientError> {
    Secret::read(path).map_err(|source| ClientError::Read {
        path: path.to_owned(),
        source,
    })
}

/// The key and the algorithm that fits it, found by signing once.
fn read_key(mut pem: &[u8]) -> Option<(EncodingKey, Algorithm)> {
    use rustls_pemfile::Item;
    let candidates = match rustls_pemfile::read_one(&mut pem).ok()?? {
        Item::Pkcs1Key(key) => vec![(
            EncodingKey::from_rsa_der(key.secret_pkcs1_der()),
            Algorithm::RS256,
        )],
        Item::Pkcs8Key(key) => {
            let der = key.secret_pkcs8_der();
            let mut all = vec![
                (EncodingKey::from_ec_der(der), Algorithm::ES256),
                (EncodingKey::from_ec_der(der), Algorithm::ES384),
                (EncodingKey::from_ed_der(der), Algorithm::EdDSA),
            ];
            all.extend(
                inner_key(der).map(|key| (EncodingKey::from_rsa_der(key), Algorithm::RS256)),
            );
            all
        }
        _ => return None,
    };
    candidates
        .into_iter()
        .find(|(key, algorithm)| jsonwebtoken::crypto::sign(b"weir", key, *algorithm).is_ok())
}

/// The key inside of PKCS #8: `SEQUENCE { INTEGER, SEQUENCE, OCTET STRING … }`.
fn inner_key(der: &[u8]) -> Option<&[u8]> {
    let (0x30, whole, _) = element(der)? else {
        return None;
    };
    let (0x02, _, rest) = element(whole)? else {
        return None;
    };
    let (0x30, _, rest) = element(rest)? else {
        return None;
    };
    let (0x04, key, _) = element(rest)? else {
        return None;
    };
    Some(key)
}

/// Tag, content and what follows.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
        if bytes.len() > 4 {
            return None;
        }
        let length = bytes
            .iter()
            .fold(0, |sum, byte| (sum << 8) | usize::from(*byte));
        (length, rest)
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn settings(folder: &Path, secret: Option<&str>, key: Option<&str>) -> ClientSettings {
        let file = |name: &str, text: &str| {
            let path = folder.join(name);
            fs::write(&path, text).expect("written");
            path
        };
        ClientSettings {
            id: "we ir".to_owned(),
            secret_file: secret.map(|text| file("secret", text)),
            key_file: key.map(|text| file("key", text)),
            key_id: Some("k".to_owned()),
        }
    }

    #[test]
    fn a_secret_is_encoded_before_it_is_joined() {
        let folder = tempfile::tempdir().expect("a folder");
        let client =
            Client::open(&settings(folder.path(), Some("a:b%\n"), None)).expect("a client");
        let proof = client.prove("https://idp.example/token").expect("a proof");
        let header = proof.authorization.expect("a header");
        let pair = STANDARD
            .decode(header.expose().trim_start_matches("Basic "))
            .expect("base64");
        assert_eq!(pair, b"we+ir:a%3Ab%25");
        assert!(!format!("{client:?}").contains("a:b"));
    }

    #[test]
    fn a_key_signs_an_assertion_for_the_token_endpoint() {
        let folder = tempfile::tempdir().expect("a folder");
        let pair = rcgen::KeyPair::generate().expect("a key");
        let client = Client::open(&settings(folder.path(), None, Some(&pair.serialize_pem())))
            .expect("a client");
        let proof = client.prove("https://idp.example/token").expect("a proof");
        let assertion = &proof.fields.last().expect("a field").1;
        let header = jsonwebtoken::decode_header(assertion.expose()).expect("a header");
        let claims: serde_json::Value =
            jsonwebtoken::dangerous::insecure_decode_claims(assertion.expose()).expect("claims");
        assert_eq!(
            (header.alg, header.kid.as_deref()),
            (Algorithm::ES256, Some("k"))
        );
        assert_eq!(claims["aud"], "https://idp.example/token");
        assert_eq!(
            (&claims["iss"], &claims["sub"]),
            (&json!("we ir"), &json!("we ir"))
        );
        assert!(claims["exp"].as_u64() <= claims["iat"].as_u64().map(|at| at + ASSERTION_S));
    }

    #[test]
    fn each_kind_of_key_signs_with_what_fits_it() {
        for (kind, wanted) in [
            (&rcgen::PKCS_ECDSA_P256_SHA256, Algorithm::ES256),
            (&rcgen::PKCS_ECDSA_P384_SHA384, Algorithm::ES384),
            (&rcgen::PKCS_ED25519, Algorithm::EdDSA),
            (&rcgen::PKCS_RSA_SHA256, Algorithm::RS256),
        ] {
            let pair = rcgen::KeyPair::generate_for(kind).expect("a key");
            let (_, found) = read_key(pair.serialize_pem().as_bytes()).expect("a key");
            assert_eq!(found, wanted);
        }
    }

    #[test]
    fn credentials_that_cannot_be_used_stop_the_start() {
        let folder = tempfile::tempdir().expect("a folder");
        let open = |settings: &ClientSettings| Client::open(settings).map(|_| ());
        let both = settings(folder.path(), Some("s"), Some("k"));
        assert!(matches!(open(&both), Err(ClientError::Both)));
        let nonsense = settings(folder.path(), None, Some("no key"));
        assert!(matches!(open(&nonsense), Err(ClientError::Key { .. })));
        let missing = ClientSettings {
            secret_file: Some(folder.path().join("nowhere")),
            ..ClientSettings::default()
        };
        assert!(matches!(open(&missing), Err(ClientError::Read { .. })));
    }
}
