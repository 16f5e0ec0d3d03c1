//! An OpenID provider as a client sees it: what it publishes about itself, and its token, device and revocation endpoints.
//!
//! Written on [`Fetcher`] and not with the `oauth2` crate: that one brings a second implementation of SHA-2, random
//! numbers and time into the tree, and its answers would still have to be bounded and held to the rules of `fetch`.

mod client;

pub(crate) use client::random_text;
pub use client::{Client, ClientError, ClientSettings};

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use reqwest::Url;
use serde::Deserialize;
use tokio::sync::Mutex;

use super::{
    fetch::{self, FetchError, Fetcher, Reply},
    secret::Secret,
};

/// How long the provider's description is fresh when it does not say, and at most.
const DEFAULT_FRESH: Duration = Duration::from_mins(15);
const FRESH: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(30)..=Duration::from_hours(24);

/// The longest error text of a provider that is passed on.
const DESCRIPTION_CHARS: usize = 200;

/// What a provider publishes about itself (OpenID Connect Discovery 1.0, RFC 8414, RFC 8628, RFC 9207).
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Metadata {
    /// Who it says it is.
    pub issuer: String,
    /// Its keys.
    pub jwks_uri: Option<String>,
    /// Where tokens are had.
    pub token_endpoint: Option<String>,
    /// Where a browser is sent.
    pub authorization_endpoint: Option<String>,
    /// Where a device's codes are had.
    pub device_authorization_endpoint: Option<String>,
    /// Where tokens are given back.
    pub revocation_endpoint: Option<String>,
    /// What the token endpoint grants for.
    pub grant_types_supported: Option<Vec<String>>,
    /// How a code is tied to whom it is for.
    pub code_challenge_methods_supported: Option<Vec<String>>,
    /// How clients prove themselves.
    pub token_endpoint_auth_methods_supported: Option<Vec<String>>,
    /// How ID tokens are signed.
    pub id_token_signing_alg_values_supported: Option<Vec<String>>,
    /// What may be asked for.
    pub scopes_supported: Option<Vec<String>>,
    /// Whether its answers to browsers name it (RFC 9207).
    pub authorization_response_iss_parameter_supported: bool,
}

/// A provider, its description remembered while it is fresh.
#[derive(Debug)]
pub struct Provider {
    issuer: String,
    base: Url,
    fetcher: Fetcher,
    known: Mutex<Option<(Arc<Metadata>, Instant)>>,
}

/// What the token endpoint gave.
#[derive(Debug, Deserialize)]
pub struct Tokens {
    /// For use elsewhere.
    pub access_token: Option<Secret>,
    /// Who logged in.
    pub id_token: Option<Secret>,
    /// For new tokens.
    pub refresh_token: Option<Secret>,
    /// How long the access token is good, seconds.
    pub expires_in: Option<u64>,
    /// What was granted, where that differs from what was asked for.
    pub scope: Option<String>,
    /// Of which type the access token is, where one was asked for (RFC 8693).
    pub issued_token_type: Option<String>,
}

/// The codes of a device's login (RFC 8628).
#[derive(Debug, Deserialize)]
pub struct DeviceCode {
    /// For the token endpoint.
    pub device_code: Secret,
    /// For the person.
    pub user_code: String,
    /// Where the person goes.
    pub verification_uri: String,
    /// The same with the code in it.
    pub verification_uri_complete: Option<String>,
    /// How long both are good, seconds.
    pub expires_in: u64,
    /// How often the token endpoint may be asked, seconds.
    pub interval: Option<u64>,
}

/// Why an endpoint gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum GrantError {
    /// Nobody answers, or nonsense: it may be different later.
    #[error("the provider cannot be used now")]
    Unreachable(#[from] FetchError),
    /// The provider has no such endpoint.
    #[error("the provider publishes no {endpoint}")]
    NoEndpoint {
        /// Its name in the discovery document.
        endpoint: &'static str,
    },
    /// The client cannot prove itself.
    #[error("the client's credentials cannot be used")]
    Client(#[from] ClientError),
    /// The provider says no.
    #[error("the provider refuses: {code}{}", with_colon(.description))]
    Refused {
        /// The protocol's word for it, such as `invalid_grant`.
        code: String,
        /// The provider's own words.
        description: String,
    },
}

impl GrantError {
    /// Whether the provider has refused with this word.
    #[must_use]
    pub fn is(&self, word: &str) -> bool {
        matches!(self, Self::Refused { code, .. } if code == word)
    }
}

#[derive(Deserialize)]
struct Problem {
    error: String,
    #[serde(default)]
    error_description: String,
}

impl Provider {
    /// A provider at its issuer's address; asks nobody.
    ///
    /// # Errors
    ///
    /// [`FetchError`] for an address that is not asked.
    pub fn open(issuer: &str) -> Result<Self, FetchError> {
        let base = fetch::address(issuer)?;
        Ok(Self {
            issuer: issuer.to_owned(),
            fetcher: Fetcher::open(&base)?,
            base,
            known: Mutex::new(None),
        })
    }

    /// The HTTP client for its hosts.
    #[must_use]
    pub fn fetcher(&self) -> &Fetcher {
        &self.fetcher
    }

    /// What it publishes: fresh, or the last that was read where it does not answer.
    ///
    /// # Errors
    ///
    /// [`FetchError`] when it does not answer and never did, or answers for another issuer.
    pub async fn metadata(&self) -> Result<Arc<Metadata>, FetchError> {
        let mut known = self.known.lock().await;
        if let Some((metadata, until)) = &*known
            && Instant::now() < *until
        {
            return Ok(Arc::clone(metadata));
        }
        match self.discover().await {
            Ok((metadata, fresh)) => {
                let metadata = Arc::new(metadata);
                *known = Some((Arc::clone(&metadata), Instant::now() + fresh));
                Ok(metadata)
            }
            Err(error) => known
                .as_ref()
                .map(|(metadata, _)| Arc::clone(metadata))
                .ok_or(error),
        }
    }

    /// Asks the token endpoint (RFC 6749) for what `fields` say.
    ///
    /// # Errors
    ///
    /// [`GrantError`] when it is not granted.
    pub async fn token(
        &self,
        client: &Client,
        fields: &[(&str, &str)],
    ) -> Result<Tokens, GrantError> {
        let metadata = self.metadata().await?;
        let reply = self
            .post(
                client,
                &metadata,
                metadata.token_endpoint.as_deref(),
                "token_endpoint",
                fields,
            )
            .await?;
        self.read(&reply)
    }

    /// Begins a login on another device.
    ///
    /// # Errors
    ///
    /// [`GrantError`] when the provider does not do that, or not for this client.
    pub async fn device_code(
        &self,
        client: &Client,
        fields: &[(&str, &str)],
    ) -> Result<DeviceCode, GrantError> {
        let metadata = self.metadata().await?;
        let endpoint = metadata.device_authorization_endpoint.as_deref();
        let name = "device_authorization_endpoint";
        let reply = self.post(client, &metadata, endpoint, name, fields).await?;
        self.read(&reply)
    }

    /// Gives a refresh token back (RFC 7009). A provider without that endpoint keeps it until it ends by itself.
    ///
    /// # Errors
    ///
    /// [`GrantError`] when the provider did not take it.
    pub async fn revoke(&self, client: &Client, token: &Secret) -> Result<(), GrantError> {
        let metadata = self.metadata().await?;
        let fields = [
            ("token", token.expose()),
            ("token_type_hint", "refresh_token"),
        ];
        let endpoint = metadata.revocation_endpoint.as_deref();
        let reply = self
            .post(client, &metadata, endpoint, "revocation_endpoint", &fields)
            .await?;
        if reply.status < 300 {
            Ok(())
        } else {
            Err(self.problem(&reply))
        }
    }

    /// An address that the provider named: one on https may not send weir to plain http.
    ///
    /// # Errors
    ///
    /// [`FetchError::Address`] when it does.
    pub fn endpoint(&self, text: &str) -> Result<Url, FetchError> {
        let url = fetch::address(text)?;
        if url.scheme() == "http" && self.base.scheme() == "https" {
            return Err(FetchError::Address {
                url: text.to_owned(),
            });
        }
        Ok(url)
    }

    /// An answer that cannot be used.
    #[must_use]
    pub fn unreadable(&self, why: &str) -> FetchError {
        FetchError::Answer {
            url: self.issuer.clone(),
            why: why.to_owned(),
        }
    }

    async fn post(
        &self,
        client: &Client,
        metadata: &Metadata,
        endpoint: Option<&str>,
        name: &'static str,
        fields: &[(&str, &str)],
    ) -> Result<Reply, GrantError> {
        let url = endpoint.ok_or(GrantError::NoEndpoint { endpoint: name })?;
        let url = self.endpoint(url)?;
        let audience = metadata.token_endpoint.as_deref().unwrap_or(&self.issuer);
        let proof = client.prove(audience)?;
        let mut all = fields.to_vec();
        all.extend(
            proof
                .fields
                .iter()
                .map(|(name, value)| (*name, value.expose())),
        );
        let authorization = proof.authorization.as_ref().map(Secret::expose);
        Ok(self.fetcher.post_form(&url, &all, authorization).await?)
    }

    fn read<T: serde::de::DeserializeOwned>(&self, reply: &Reply) -> Result<T, GrantError> {
        if reply.status >= 300 {
            return Err(self.problem(reply));
        }
        // The parser's own words could quote a token.
        serde_json::from_slice(&reply.body).map_err(|_| {
            self.unreadable("it is not what that endpoint answers")
                .into()
        })
    }

    fn problem(&self, reply: &Reply) -> GrantError {
        let Ok(problem) = serde_json::from_slice::<Problem>(&reply.body) else {
            return FetchError::Status {
                url: self.issuer.clone(),
                status: reply.status,
            }
            .into();
        };
        GrantError::Refused {
            code: printable(&problem.error),
            description: printable(&problem.error_description),
        }
    }

    async fn discover(&self) -> Result<(Metadata, Duration), FetchError> {
        let text = format!(
            "{}/.well-known/openid-configuration",
            self.issuer.trim_end_matches('/')
        );
        let answer = self.fetcher.get(&fetch::address(&text)?).await?;
        let metadata: Metadata = serde_json::from_slice(&answer.body)
            .map_err(|error| self.unreadable(&error.to_string()))?;
        if metadata.issuer != self.issuer {
            return Err(self.unreadable("it says to be another issuer"));
        }
        let fresh = answer.fresh.unwrap_or(DEFAULT_FRESH);
        Ok((metadata, fresh.clamp(*FRESH.start(), *FRESH.end())))
    }
}

/// What reaches terminals and logs.
fn printable(text: &str) -> String {
    text.chars()
        .filter(|char| !char.is_control())
        .take(DESCRIPTION_CHARS)
        .collect()
}

fn with_colon(description: &str) -> String {
    if description.is_empty() {
        String::new()
    } else {
        format!(" ({description})")
    }
}
