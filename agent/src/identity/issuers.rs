//! The configured issuers: whose keys verify a token, when they are asked for, and how they outlive a restart.

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::{Arc, RwLock},
    time::{Duration, Instant},
};

use serde::Deserialize;
use tokio::sync::Mutex;

use super::{
    fetch::{self, Answer, FetchError},
    jwks::KeySet,
    kept::write_private,
    oidc::{Client, ClientError, ClientSettings, GrantError, Provider, Tokens},
    secret::Secret,
    settings::{IssuerSettings, LONGEST_PROBE_S, LoginToken},
    token::{self, Expected, Slot, TokenError, Unverified, Verified},
};
use crate::clock;

/// Between two requests for an issuer's keys, whoever asks for whatever key.
const REFETCH_PAUSE: Duration = Duration::from_secs(30);

/// The same while weir has no keys of it at all: nothing works until it answers.
const FIRST_FETCH_PAUSE: Duration = Duration::from_secs(1);

/// How long keys are fresh when the issuer does not say.
const DEFAULT_FRESH: Duration = Duration::from_mins(15);

/// Keys are asked for again at least this often.
const LONGEST_FRESH: Duration = Duration::from_hours(24);

/// Keys that were kept longer than this without an answer are not believed any more.
const LONGEST_STALE: Duration = Duration::from_hours(24);

/// Why the issuers cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum IssuerError {
    /// A field is missing.
    #[error("issuer {issuer:?} needs a value for {field}")]
    Missing {
        /// As configured.
        issuer: String,
        /// Which field.
        field: &'static str,
    },
    /// Two entries for one issuer.
    #[error("issuer {issuer:?} is configured twice")]
    Twice {
        /// As configured.
        issuer: String,
    },
    /// A development issuer that others could reach.
    #[error("issuer {issuer:?} is for development and must be http on loopback")]
    DevelopmentElsewhere {
        /// As configured.
        issuer: String,
    },
    /// An address that weir does not ask.
    #[error("issuer {issuer:?} cannot be asked")]
    Address {
        /// As configured.
        issuer: String,
        /// Why.
        #[source]
        source: FetchError,
    },
    /// The client's credentials.
    #[error("issuer {issuer:?}: the client cannot be used")]
    Client {
        /// As configured.
        issuer: String,
        /// Why.
        #[source]
        source: ClientError,
    },
    /// A value that makes no sense.
    #[error("issuer {issuer:?}: {why}")]
    Setting {
        /// As configured.
        issuer: String,
        /// What is wrong with which.
        why: &'static str,
    },
    /// The folder for keys cannot be made.
    #[error("cannot make the folder {path} for issuers' keys")]
    Folder {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// All configured issuers.
#[derive(Debug)]
pub struct Issuers {
    issuers: Vec<Arc<Issuer>>,
}

/// One configured issuer.
#[derive(Debug)]
pub struct Issuer {
    settings: IssuerSettings,
    provider: Provider,
    client: Option<Client>,
    kept: PathBuf,
    held: RwLock<Option<Arc<Held>>>,
    asked: Mutex<Option<Instant>>,
}

#[derive(Debug)]
struct Held {
    keys: KeySet,
    fresh_until: Instant,
    good_until: Instant,
}

#[derive(Deserialize)]
struct TokenAnswer {
    access_token: String,
}

impl Issuers {
    /// Checks the settings and reads the keys that were kept in `folder`; asks nobody.
    ///
    /// # Errors
    ///
    /// [`IssuerError`] when an entry is incomplete, twofold or not to be asked, or the folder cannot be made.
    pub fn open(settings: &[IssuerSettings], folder: &Path) -> Result<Self, IssuerError> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|source| IssuerError::Folder {
                path: folder.to_owned(),
                source,
            })?;
        let mut issuers: Vec<Arc<Issuer>> = Vec::with_capacity(settings.len());
        for entry in settings {
            if issuers
                .iter()
                .any(|known| known.settings.issuer == entry.issuer)
            {
                return Err(IssuerError::Twice {
                    issuer: entry.issuer.clone(),
                });
            }
            issuers.push(Arc::new(Issuer::open(entry, folder)?));
        }
        Ok(Self { issuers })
    }

    /// Whether a development issuer is trusted: every report says so.
    #[must_use]
    pub fn development(&self) -> bool {
        self.issuers
            .iter()
            .any(|issuer| issuer.settings.development)
    }

    /// Whether an issuer is configured.
    #[must_use]
    pub fn knows(&self, issuer: &str) -> bool {
        self.issuers
            .iter()
            .any(|known| known.settings.issuer == issuer)
    }

    /// Verifies a token, asking its issuer for keys where weir has none that fit.
    ///
    /// # Errors
    ///
    /// [`TokenError`] for every rule that it breaks.
    pub async fn verify(&self, token: &str) -> Result<Verified, TokenError> {
        self.verify_for(Slot::Handed, token).await
    }

    /// As [`Issuers::verify`], for a use.
    ///
    /// # Errors
    ///
    /// As [`Issuers::verify`].
    pub async fn verify_for(&self, slot: Slot<'_>, token: &str) -> Result<Verified, TokenError> {
        let unverified = token::peek_any(token)?;
        let issuer = self
            .issuers
            .iter()
            .find(|issuer| issuer.settings.issuer == unverified.issuer)
            .ok_or_else(|| TokenError::UnknownIssuer {
                issuer: unverified.issuer.chars().take(200).collect(),
            })?;
        issuer
            .with_keys(|keys| issuer.verify(token, &unverified, keys, slot))
            .await
    }

    /// The one of that name.
    #[must_use]
    pub fn named(&self, issuer: &str) -> Option<&Arc<Issuer>> {
        self.issuers
            .iter()
            .find(|known| known.settings.issuer == issuer)
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> &[Arc<Issuer>] {
        &self.issuers
    }

    /// Has the development issuer sign a token for one of its users. `None`: no such issuer is configured.
    ///
    /// # Errors
    ///
    /// [`FetchError`] when it cannot be reached or knows no such user.
    pub async fn development_token(&self, user: &str) -> Option<Result<String, FetchError>> {
        let issuer = self
            .issuers
            .iter()
            .find(|issuer| issuer.settings.development)?;
        Some(issuer.development_token(user).await)
    }
}

impl Issuer {
    /// Checks an entry and reads the keys that were kept in `folder`; asks nobody.
    pub(super) fn open(settings: &IssuerSettings, folder: &Path) -> Result<Self, IssuerError> {
        let issuer = settings.issuer.clone();
        let mut settings = settings.clone();
        if settings.audience.is_empty() {
            settings.audience = settings.client_id.clone().unwrap_or_default();
        }
        for (field, value) in [
            ("issuer", &settings.issuer),
            ("audience", &settings.audience),
        ] {
            if value.is_empty() {
                return Err(IssuerError::Missing { issuer, field });
            }
        }
        check_settings(&settings)?;
        let at = |source| IssuerError::Address {
            issuer: settings.issuer.clone(),
            source,
        };
        let base = fetch::address(&settings.issuer).map_err(at)?;
        if let Some(uri) = &settings.jwks_uri {
            fetch::address(uri).map_err(at)?;
        }
        if settings.development && !(base.scheme() == "http" && fetch::is_loopback(&base)) {
            return Err(IssuerError::DevelopmentElsewhere { issuer });
        }
        let provider = Provider::open(&settings.issuer).map_err(at)?;
        let client = open_client(&settings)?;
        let kept = folder.join(format!("{}.json", &token::fingerprint(&issuer)[..32]));
        let held = RwLock::new(read_kept(&kept).map(Arc::new));
        Ok(Self {
            settings,
            provider,
            client,
            kept,
            held,
            asked: Mutex::new(None),
        })
    }

    /// As configured.
    #[must_use]
    pub fn settings(&self) -> &IssuerSettings {
        &self.settings
    }

    /// The provider behind it.
    #[must_use]
    pub fn provider(&self) -> &Provider {
        &self.provider
    }

    /// weir's client there, where people can log in.
    #[must_use]
    pub fn client(&self) -> Option<&Client> {
        self.client.as_ref()
    }

    /// Which of the tokens says who logged in.
    #[must_use]
    pub fn login_token<'t>(&self, tokens: &'t Tokens) -> Option<&'t Secret> {
        match self.settings.login_token {
            LoginToken::Id => tokens.id_token.as_ref(),
            LoginToken::Access => tokens.access_token.as_ref(),
        }
    }

    /// Verifies what the token endpoint gave for a login. `nonce` is what a browser's answer must repeat.
    ///
    /// # Errors
    ///
    /// [`TokenError`] for every rule that the token breaks, or when there is none of the kind that is configured.
    pub async fn verify_login(
        &self,
        tokens: &Tokens,
        nonce: Option<&str>,
    ) -> Result<Verified, TokenError> {
        let client = self.client.as_ref().map(Client::id).unwrap_or_default();
        let access_token = tokens.access_token.as_ref().map(Secret::expose);
        let (token, slot) = match self.settings.login_token {
            LoginToken::Id => (
                tokens.id_token.as_ref().map(Secret::expose),
                Slot::Id {
                    client,
                    nonce,
                    access_token,
                },
            ),
            LoginToken::Access => (access_token, Slot::Access { client }),
        };
        let token = token.ok_or(TokenError::Absent)?;
        let unverified = token::peek(token)?;
        self.with_keys(|keys| self.verify(token, &unverified, keys, slot))
            .await
    }

    /// New tokens for a refresh token (RFC 6749, 6).
    ///
    /// # Errors
    ///
    /// [`GrantError`] when they are not granted.
    pub async fn refresh(&self, token: &Secret) -> Result<Tokens, GrantError> {
        let Some(client) = &self.client else {
            return Err(GrantError::NoEndpoint { endpoint: "client" });
        };
        let fields = [
            ("grant_type", "refresh_token"),
            ("refresh_token", token.expose()),
        ];
        self.provider.token(client, &fields).await
    }

    /// Gives a refresh token back; a failure is logged, the token then ends by itself.
    pub async fn give_back(&self, token: &Secret) {
        let Some(client) = &self.client else {
            return;
        };
        match self.provider.revoke(client, token).await {
            Ok(()) => tracing::debug!(
                issuer = self.settings.issuer,
                "a refresh token was given back"
            ),
            Err(error) => tracing::warn!(
                issuer = self.settings.issuer,
                error = crate::telemetry::chain(&error),
                "a refresh token could not be given back"
            ),
        }
    }

    /// Judges by the issuer's keys, and once more by newer ones when the key is unknown.
    pub(super) async fn with_keys<T>(
        &self,
        judge: impl Fn(&KeySet) -> Result<T, TokenError>,
    ) -> Result<T, TokenError> {
        let held = self.keys().await.map_err(TokenError::Keys)?;
        match judge(&held.keys) {
            Err(TokenError::UnknownKey) => {
                let newer = self.refetch(&held).await.map_err(TokenError::Keys)?;
                judge(&newer.keys)
            }
            result => result,
        }
    }

    fn verify(
        &self,
        token: &str,
        unverified: &Unverified,
        keys: &KeySet,
        slot: Slot<'_>,
    ) -> Result<Verified, TokenError> {
        let settings = &self.settings;
        let expected = Expected {
            issuer: &settings.issuer,
            audience: match slot {
                Slot::Id { client, .. } => client,
                Slot::Assertion {
                    audience: Some(audience),
                } => audience,
                Slot::Handed | Slot::Access { .. } | Slot::Assertion { .. } => &settings.audience,
            },
            trust_kind: settings.trust_kind || settings.development,
            claims: &settings.claims,
            groups_claim: settings.groups_claim.as_deref().unwrap_or("groups"),
            account_claim: settings
                .account_claim
                .as_deref()
                .unwrap_or("preferred_username"),
            slot,
            now_s: i64::try_from(clock::now().as_secs()).unwrap_or(i64::MAX),
        };
        let verified = token::verify(token, unverified, keys, expected)?;
        Ok(Verified {
            development: settings.development,
            ..verified
        })
    }

    fn held(&self) -> Option<Arc<Held>> {
        let held = self.held.read().ok()?.clone()?;
        (Instant::now() < held.good_until).then_some(held)
    }

    /// Fresh keys, or the last good ones where the issuer does not answer.
    async fn keys(&self) -> Result<Arc<Held>, FetchError> {
        match self.held() {
            Some(held) if Instant::now() < held.fresh_until => Ok(held),
            Some(held) => Ok(self.refetch(&held).await.unwrap_or(held)),
            None => self.ask(None).await,
        }
    }

    /// Keys newer than `held`, or `held` again when the issuer was asked a moment ago.
    async fn refetch(&self, held: &Arc<Held>) -> Result<Arc<Held>, FetchError> {
        self.ask(Some(held)).await
    }

    /// One request at a time; those who waited for it share what it brought.
    async fn ask(&self, known: Option<&Arc<Held>>) -> Result<Arc<Held>, FetchError> {
        let mut asked = self.asked.lock().await;
        if let Some(held) = self.held()
            && known.is_none_or(|known| !Arc::ptr_eq(known, &held))
        {
            return Ok(held);
        }
        let pause = if known.is_some() {
            REFETCH_PAUSE
        } else {
            FIRST_FETCH_PAUSE
        };
        if asked.is_some_and(|last| last.elapsed() < pause) {
            return known
                .cloned()
                .ok_or_else(|| self.unreadable("it did not answer a moment ago"));
        }
        *asked = Some(Instant::now());
        let answer = self.fetch().await?;
        let keys =
            KeySet::parse(&answer.body).map_err(|error| self.unreadable(&error.to_string()))?;
        if let Err(error) = write_private(&self.kept, &answer.body) {
            tracing::warn!(path = %self.kept.display(), %error, "cannot keep an issuer's keys for the next start");
        }
        let now = Instant::now();
        let fresh = answer
            .fresh
            .unwrap_or(DEFAULT_FRESH)
            .clamp(REFETCH_PAUSE, LONGEST_FRESH);
        let held = Arc::new(Held {
            keys,
            fresh_until: now + fresh,
            good_until: now + fresh + LONGEST_STALE,
        });
        if let Ok(mut place) = self.held.write() {
            *place = Some(Arc::clone(&held));
        }
        Ok(held)
    }

    async fn fetch(&self) -> Result<Answer, FetchError> {
        let uri = match &self.settings.jwks_uri {
            Some(uri) => uri.clone(),
            None => self
                .provider
                .metadata()
                .await?
                .jwks_uri
                .clone()
                .ok_or_else(|| self.unreadable("it names no jwks_uri"))?,
        };
        let url = self.provider.endpoint(&uri)?;
        self.provider.fetcher().get(&url).await
    }

    async fn development_token(&self, user: &str) -> Result<String, FetchError> {
        let metadata = self.provider.metadata().await?;
        let endpoint = metadata
            .token_endpoint
            .as_deref()
            .ok_or_else(|| self.unreadable("it names no token_endpoint"))?;
        let url = self.provider.endpoint(endpoint)?;
        let request = serde_json::json!({ "user": user });
        let answer = self.provider.fetcher().post(&url, &request).await?;
        let token: TokenAnswer = serde_json::from_slice(&answer.body)
            .map_err(|_| self.unreadable("it is no token answer"))?;
        Ok(token.access_token)
    }

    fn unreadable(&self, why: &str) -> FetchError {
        self.provider.unreadable(why)
    }
}

fn check_settings(settings: &IssuerSettings) -> Result<(), IssuerError> {
    let says = |why| {
        Err(IssuerError::Setting {
            issuer: settings.issuer.clone(),
            why,
        })
    };
    if !matches!(settings.probe_seconds, None | Some(1..=LONGEST_PROBE_S)) {
        return says("probe_seconds must be from 1 to 300");
    }
    if settings.client_id.is_none()
        && (settings.client_secret_file.is_some() || settings.client_key_file.is_some())
    {
        return says("a client's secret or key needs its client_id");
    }
    if settings.client_id.as_deref() == Some("") {
        return says("client_id is empty");
    }
    if settings.development && settings.client_id.is_some() {
        return says("a development issuer has no clients: leave client_id out");
    }
    if settings.login_token == LoginToken::Id
        && !settings.scopes.is_empty()
        && !settings.scopes.iter().any(|scope| scope == "openid")
    {
        return says("scopes must contain \"openid\": without it there is no ID token");
    }
    if settings
        .account_domains
        .iter()
        .any(|domain| domain.is_empty() || domain.contains('@'))
    {
        return says("account_domains are domains, such as \"shop.example\"");
    }
    Ok(())
}

fn open_client(settings: &IssuerSettings) -> Result<Option<Client>, IssuerError> {
    let Some(id) = settings.client_id.clone() else {
        return Ok(None);
    };
    let client = Client::open(&ClientSettings {
        id,
        secret_file: settings.client_secret_file.clone(),
        key_file: settings.client_key_file.clone(),
        key_id: settings.client_key_id.clone(),
    });
    client.map(Some).map_err(|source| IssuerError::Client {
        issuer: settings.issuer.clone(),
        source,
    })
}

/// Keys kept by an earlier agent: not fresh, so the issuer is asked at first use, but good when it does not answer.
fn read_kept(path: &Path) -> Option<Held> {
    let age = fs::metadata(path)
        .ok()?
        .modified()
        .ok()?
        .elapsed()
        .unwrap_or_default();
    let left = LONGEST_STALE.checked_sub(age)?;
    let keys = KeySet::parse(&fs::read(path).ok()?).ok()?;
    let now = Instant::now();
    Some(Held {
        keys,
        fresh_until: now,
        good_until: now + left,
    })
}

#[cfg(test)]
mod tests;
