//! Clients that weir is at issuers: they authenticate by an assertion signed with a private key, and ask for tokens.

mod key;

use reqwest::Url;
use serde::Deserialize;
use serde_json::json;

use self::key::SigningKey;
use super::{
    fetch::FetchError,
    issuers::Issuers,
    settings::ClientSettings,
    token::{TOKEN_BYTES, fingerprint},
};
use crate::clock;

pub use key::KeyError;

/// Why a token could not be had.
#[derive(Debug, thiserror::Error)]
pub enum OauthError {
    /// A field is missing.
    #[error("{field} is missing")]
    Missing {
        /// Which field.
        field: &'static str,
    },
    /// The private key.
    #[error("cannot use the key {}", path.display())]
    Key {
        /// Where.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        source: KeyError,
    },
    /// No such `[[issuer]]`.
    #[error("no [[issuer]] {issuer:?} is configured")]
    UnknownIssuer {
        /// As configured.
        issuer: String,
    },
    /// It could not be asked.
    #[error("the issuer cannot be asked")]
    Fetch(#[from] FetchError),
    /// It said no.
    #[error("the issuer refuses: {code}{}", description.as_ref().map_or_else(String::new, |text| format!(" ({text})")))]
    Refused {
        /// The error code of OAuth.
        code: String,
        /// The issuer's words.
        description: Option<String>,
    },
    /// It answered, and that was no token.
    #[error("the issuer's answer holds no token")]
    NoToken,
}

/// A client of one issuer.
#[derive(Debug, Clone)]
pub struct OauthClient {
    settings: ClientSettings,
}

/// What a token endpoint gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    /// The token.
    pub token: String,
    /// Of which type, where that was asked (RFC 8693).
    pub issued_type: Option<String>,
}

#[derive(Deserialize)]
struct Answer {
    access_token: Option<String>,
    issued_token_type: Option<String>,
    error: Option<String>,
    error_description: Option<String>,
}

impl OauthClient {
    /// Checks the settings; the key must be there and readable.
    ///
    /// # Errors
    ///
    /// [`OauthError`] for what is missing or no key.
    pub fn parse(settings: &ClientSettings) -> Result<Self, OauthError> {
        for (field, value) in [
            ("issuer", settings.issuer.as_str()),
            ("client_id", &settings.client_id),
        ] {
            if value.is_empty() {
                return Err(OauthError::Missing { field });
            }
        }
        if settings.key_file.as_os_str().is_empty() {
            return Err(OauthError::Missing { field: "key_file" });
        }
        let client = Self {
            settings: settings.clone(),
        };
        client.key()?;
        Ok(client)
    }

    /// Where it is registered.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.settings.issuer
    }

    /// Its id there.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.settings.client_id
    }

    /// A token for the client itself (`client_credentials`).
    ///
    /// # Errors
    ///
    /// [`OauthError`] when the issuer gives none.
    pub async fn token(&self, issuers: &Issuers) -> Result<String, OauthError> {
        let mut form = vec![("grant_type", "client_credentials")];
        form.extend(self.settings.scope.as_deref().map(|it| ("scope", it)));
        form.extend(self.settings.resource.as_deref().map(|it| ("resource", it)));
        Ok(self.ask(issuers, &form).await?.token)
    }

    /// Asks the token endpoint, with the client's own authentication added to the form.
    ///
    /// # Errors
    ///
    /// [`OauthError`] when the issuer gives nothing.
    pub async fn ask(
        &self,
        issuers: &Issuers,
        form: &[(&str, &str)],
    ) -> Result<Granted, OauthError> {
        let issuer = self.issuer();
        let unknown = || OauthError::UnknownIssuer {
            issuer: issuer.to_owned(),
        };
        let endpoint = issuers.token_endpoint(issuer).await.ok_or_else(unknown)??;
        let assertion = self.assertion(&endpoint)?;
        let mut form = form.to_vec();
        form.push(("client_id", self.id()));
        form.push(("client_assertion_type", ASSERTION_TYPE));
        form.push(("client_assertion", &assertion));
        let answer = issuers
            .post_form(issuer, &endpoint, &form)
            .await
            .ok_or_else(unknown)??;
        read(&answer)
    }

    /// Signed now, for this endpoint, for a minute, for once.
    fn assertion(&self, endpoint: &Url) -> Result<String, OauthError> {
        let now_s = clock::now().as_secs();
        let mut random = [0_u8; 16];
        let unusable = |source| self.unusable(source);
        aws_lc_rs::rand::fill(&mut random).map_err(|_| unusable(KeyError::Sign))?;
        let claims = json!({
            "iss": self.id(),
            "sub": self.id(),
            "aud": endpoint.as_str(),
            "jti": hex::encode(random),
            "iat": now_s,
            "exp": now_s + ASSERTION_S,
        });
        self.key()?
            .sign(self.settings.key_id.as_deref(), &claims)
            .map_err(unusable)
    }

    /// Read again each time: keys are rotated, and weir holds one no longer than it needs it.
    fn key(&self) -> Result<SigningKey, OauthError> {
        SigningKey::read(&self.settings.key_file).map_err(|source| self.unusable(source))
    }

    fn unusable(&self, source: KeyError) -> OauthError {
        OauthError::Key {
            path: self.settings.key_file.clone(),
            source,
        }
    }
}

fn read(body: &[u8]) -> Result<Granted, OauthError> {
    let answer: Answer = serde_json::from_slice(body).map_err(|_| OauthError::NoToken)?;
    if let Some(code) = answer.error {
        return Err(OauthError::Refused {
            code: clean(&code),
            description: answer.error_description.as_deref().map(clean),
        });
    }
    match answer.access_token {
        Some(token) if token.len() <= TOKEN_BYTES => Ok(Granted {
            token,
            issued_type: answer.issued_token_type,
        }),
        _ => Err(OauthError::NoToken),
    }
}

/// An issuer's words reach logs and terminals.
fn clean(text: &str) -> String {
    text.chars()
        .filter(|char| !char.is_control())
        .take(200)
        .collect()
}

/// RFC 7523.
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const ASSERTION_S: u64 = 60;

impl Granted {
    /// SHA-256 of the token, hex.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        fingerprint(&self.token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_token_or_a_refusal() {
        let granted = read(br#"{"access_token":"a.b.c","issued_token_type":"t"}"#);
        assert_eq!(granted.expect("a token").issued_type.as_deref(), Some("t"));
        let refused = read(br#"{"error":"invalid_client","error_description":"no\u001b[1m"}"#)
            .expect_err("a refusal");
        assert_eq!(
            refused.to_string(),
            "the issuer refuses: invalid_client (no[1m)"
        );
        for body in [&b"{}"[..], b"[]", b"<html>"] {
            assert!(matches!(read(body), Err(OauthError::NoToken)));
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let missing = OauthClient::parse(&ClientSettings {
            issuer: "https://i".to_owned(),
            ..ClientSettings::default()
        });
        assert!(matches!(
            missing,
            Err(OauthError::Missing { field: "client_id" })
        ));
    }
}
