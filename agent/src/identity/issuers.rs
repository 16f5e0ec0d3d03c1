//! The configured issuers: whose keys verify a token, when they are asked for, and how they outlive a restart.

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::{Arc, RwLock},
    time::{Duration, Instant},
};

use reqwest::Url;
use serde::Deserialize;
use tokio::sync::Mutex;

use super::{
    fetch::{self, Answer, FetchError, Fetcher},
    jwks::KeySet,
    kept::write_private,
    settings::IssuerSettings,
    token::{self, Expected, TokenError, TokenUse, Verified},
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
    issuers: Vec<Issuer>,
}

#[derive(Debug)]
struct Issuer {
    settings: IssuerSettings,
    base: Url,
    fetcher: Fetcher,
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
struct Discovery {
    issuer: String,
    jwks_uri: Option<String>,
    token_endpoint: Option<String>,
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
        let mut issuers: Vec<Issuer> = Vec::with_capacity(settings.len());
        for entry in settings {
            if issuers
                .iter()
                .any(|known| known.settings.issuer == entry.issuer)
            {
                return Err(IssuerError::Twice {
                    issuer: entry.issuer.clone(),
                });
            }
            issuers.push(Issuer::open(entry, folder)?);
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
        self.verify_for(TokenUse::Login, token).await
    }

    /// As [`Issuers::verify`], for a use.
    ///
    /// # Errors
    ///
    /// As [`Issuers::verify`].
    pub async fn verify_for(
        &self,
        usage: TokenUse<'_>,
        token: &str,
    ) -> Result<Verified, TokenError> {
        let unverified = token::peek_for(usage, token)?;
        let issuer = self
            .issuers
            .iter()
            .find(|issuer| issuer.settings.issuer == unverified.issuer)
            .ok_or_else(|| TokenError::UnknownIssuer {
                issuer: unverified.issuer.chars().take(200).collect(),
            })?;
        let held = issuer.keys().await.map_err(TokenError::Keys)?;
        match issuer.verify(usage, token, &unverified, &held) {
            Err(TokenError::UnknownKey) => {
                let newer = issuer.refetch(&held).await.map_err(TokenError::Keys)?;
                issuer.verify(usage, token, &unverified, &newer)
            }
            result => result,
        }
    }

    /// Where an issuer gives tokens. `None`: it is not configured.
    ///
    /// # Errors
    ///
    /// [`FetchError`] when it cannot be reached or names no such place.
    pub async fn token_endpoint(&self, issuer: &str) -> Option<Result<Url, FetchError>> {
        Some(self.named(issuer)?.token_endpoint().await)
    }

    /// Posts a form to a place of an issuer. `None`: it is not configured.
    ///
    /// # Errors
    ///
    /// [`FetchError`] when there is no answer; a refusal is an answer.
    pub async fn post_form(
        &self,
        issuer: &str,
        url: &Url,
        form: &[(&str, &str)],
    ) -> Option<Result<Vec<u8>, FetchError>> {
        let answer = self.named(issuer)?.fetcher.post_form(url, form, None).await;
        Some(answer.map(|answer| answer.body))
    }

    fn named(&self, issuer: &str) -> Option<&Issuer> {
        self.issuers
            .iter()
            .find(|known| known.settings.issuer == issuer)
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
    fn open(settings: &IssuerSettings, folder: &Path) -> Result<Self, IssuerError> {
        let issuer = settings.issuer.clone();
        for (field, value) in [
            ("issuer", &settings.issuer),
            ("audience", &settings.audience),
        ] {
            if value.is_empty() {
                return Err(IssuerError::Missing { issuer, field });
            }
        }
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
        let fetcher = Fetcher::open(&base).map_err(at)?;
        let kept = folder.join(format!("{}.json", &token::fingerprint(&issuer)[..32]));
        let held = RwLock::new(read_kept(&kept).map(Arc::new));
        Ok(Self {
            settings: settings.clone(),
            base,
            fetcher,
            kept,
            held,
            asked: Mutex::new(None),
        })
    }

    fn verify(
        &self,
        usage: TokenUse<'_>,
        token: &str,
        unverified: &token::Unverified,
        held: &Held,
    ) -> Result<Verified, TokenError> {
        let expected = Expected {
            issuer: &self.settings.issuer,
            audience: match usage {
                TokenUse::Assertion {
                    audience: Some(audience),
                } => audience,
                _ => &self.settings.audience,
            },
            trust_kind: self.settings.trust_kind || self.settings.development,
            claims: &self.settings.claims,
            now_s: i64::try_from(clock::now().as_secs()).unwrap_or(i64::MAX),
        };
        let verified = token::verify(token, unverified, &held.keys, expected)?;
        Ok(Verified {
            development: self.settings.development,
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
                .discover()
                .await?
                .jwks_uri
                .ok_or_else(|| self.unreadable("it names no jwks_uri"))?,
        };
        self.fetcher.get(&self.endpoint(&uri)?).await
    }

    async fn discover(&self) -> Result<Discovery, FetchError> {
        let text = format!(
            "{}/.well-known/openid-configuration",
            self.settings.issuer.trim_end_matches('/')
        );
        let answer = self.fetcher.get(&fetch::address(&text)?).await?;
        let discovery: Discovery = serde_json::from_slice(&answer.body)
            .map_err(|error| self.unreadable(&error.to_string()))?;
        if discovery.issuer != self.settings.issuer {
            return Err(self.unreadable("it says to be another issuer"));
        }
        Ok(discovery)
    }

    /// An address that the issuer named: an issuer on https may not send weir to plain http.
    fn endpoint(&self, text: &str) -> Result<Url, FetchError> {
        let url = fetch::address(text)?;
        if url.scheme() == "http" && self.base.scheme() == "https" {
            return Err(FetchError::Address {
                url: text.to_owned(),
            });
        }
        Ok(url)
    }

    async fn token_endpoint(&self) -> Result<Url, FetchError> {
        let endpoint = self
            .discover()
            .await?
            .token_endpoint
            .ok_or_else(|| self.unreadable("it names no token_endpoint"))?;
        self.endpoint(&endpoint)
    }

    async fn development_token(&self, user: &str) -> Result<String, FetchError> {
        let answer = self
            .fetcher
            .post(
                &self.token_endpoint().await?,
                &serde_json::json!({ "user": user }),
            )
            .await?;
        let token: TokenAnswer = serde_json::from_slice(&answer.body)
            .map_err(|_| self.unreadable("it is no token answer"))?;
        Ok(token.access_token)
    }

    fn unreadable(&self, why: &str) -> FetchError {
        FetchError::Answer {
            url: self.settings.issuer.clone(),
            why: why.to_owned(),
        }
    }
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
