//! Security events of a provider (OpenID Shared Signals: CAEP and RISC in security event tokens, RFC 8417): a session
//! that is revoked there ends here at once.
//!
//! An event is verified like a token, by rules of its own: its type, its audience, its age, and that it is new.

use std::{
    collections::{HashSet, VecDeque},
    fs,
    os::unix::fs::DirBuilderExt as _,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde::Deserialize;
use serde_json::Value;
use weir_policy::Principal;

use super::{
    issuers::{Issuer, IssuerError},
    secret::Secret,
    settings::{EventSettings, IssuerSettings},
    token::{self, OneOrMany, TokenError},
};
use crate::clock;

/// How old an event may be, seconds; its id is remembered as long.
const AGE_S: i64 = 86_400;

/// How far the transmitter's clock may be off.
const SKEW_S: i64 = 60;

/// Ids that are remembered.
const REMEMBERED: usize = 50_000;

/// Where events of one issuer come from, and what has come.
#[derive(Debug)]
pub struct Receiver {
    issuer: Arc<Issuer>,
    /// Whose keys sign events: the issuer itself, or a transmitter beside it.
    transmitter: Arc<Issuer>,
    settings: EventSettings,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    ids: HashSet<String>,
    order: VecDeque<(String, i64)>,
}

/// Whom an event is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum About {
    /// A subject of the issuer.
    Subject(String),
    /// An address, by which the issuer names its subjects in events.
    Address(String),
}

/// Who is meant of an issuer's subjects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whom {
    /// Whose subjects.
    pub issuer: String,
    /// Each of them is meant.
    pub about: Vec<About>,
}

impl Whom {
    /// One person.
    #[must_use]
    pub fn of(principal: &Principal) -> Self {
        Self {
            issuer: principal.issuer.clone(),
            about: vec![About::Subject(principal.subject.clone())],
        }
    }

    /// Whether it is this one.
    #[must_use]
    pub fn is(&self, principal: &Principal) -> bool {
        let is_about = |about: &About| match about {
            About::Subject(subject) => principal.subject == *subject,
            About::Address(address) => std::iter::once(&principal.display)
                .chain(principal.claims.get("email"))
                .any(|name| name.eq_ignore_ascii_case(address)),
        };
        principal.issuer == self.issuer && self.about.iter().any(is_about)
    }
}

/// Why an event is refused.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// The token.
    #[error("the event is not accepted")]
    Token(#[from] TokenError),
    /// No event, or one without what every event has.
    #[error("the event has no valid {claim}")]
    Claim {
        /// What is missing.
        claim: &'static str,
    },
    /// Somebody else's.
    #[error("the event is from another transmitter")]
    Issuer,
    /// For somebody else.
    #[error("the event is not meant for this receiver")]
    Audience,
    /// Too old, or not yet.
    #[error("the event is not of these hours: check the clocks")]
    Age,
    /// It came before.
    #[error("the event has been received before")]
    Replayed,
}

impl EventError {
    /// The protocol's word (RFC 8935, 2.4).
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Token(TokenError::Signature | TokenError::UnknownKey | TokenError::UnfitKey) => {
                "invalid_key"
            }
            Self::Issuer => "invalid_issuer",
            Self::Audience => "invalid_audience",
            _ => "invalid_request",
        }
    }

    /// Whether the same event may be accepted later.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Token(TokenError::Keys(_)))
    }
}

#[derive(Clone, Deserialize)]
struct Claims {
    iss: String,
    aud: Option<OneOrMany>,
    iat: Option<i64>,
    jti: Option<String>,
    events: Option<serde_json::Map<String, Value>>,
    sub_id: Option<Value>,
}

impl Receiver {
    /// The receiver of an issuer's events; `None` where none is configured.
    ///
    /// # Errors
    ///
    /// [`IssuerError`] when the section is incomplete.
    pub fn open(issuer: &Arc<Issuer>, folder: &Path) -> Result<Option<Self>, IssuerError> {
        let Some(settings) = issuer.settings().events.clone() else {
            return Ok(None);
        };
        let name = issuer.settings().issuer.clone();
        let says = |why| IssuerError::Setting {
            issuer: name.clone(),
            why,
        };
        if settings.audience.is_empty() {
            return Err(says("[issuer.events] needs an audience"));
        }
        if issuer.settings().client_id.as_ref() == Some(&settings.audience) {
            return Err(says(
                "the audience of [issuer.events] must not be the client: its ID tokens have that",
            ));
        }
        if settings.poll.is_none() && settings.push.is_none() {
            return Err(says("[issuer.events] needs poll or push"));
        }
        if settings
            .push
            .is_some_and(|address| !address.ip().is_loopback())
        {
            return Err(says(
                "push must be a loopback address: put what speaks TLS in front of it",
            ));
        }
        if settings.poll_seconds == Some(0) {
            return Err(says("poll_seconds must be at least 1"));
        }
        if let Some(poll) = &settings.poll {
            issuer
                .provider()
                .endpoint(poll)
                .map_err(|source| IssuerError::Address {
                    issuer: name.clone(),
                    source,
                })?;
        }
        let apart = settings.issuer.is_some() || settings.jwks_uri.is_some();
        let transmitter = if apart {
            // Apart from the issuer's own keys, which are kept under its name.
            let folder = folder.join("transmitters");
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&folder)
                .map_err(|source| IssuerError::Folder {
                    path: folder.clone(),
                    source,
                })?;
            Arc::new(Issuer::open(
                &IssuerSettings {
                    issuer: settings.issuer.clone().unwrap_or_else(|| name.clone()),
                    audience: settings.audience.clone(),
                    jwks_uri: settings.jwks_uri.clone(),
                    ..IssuerSettings::default()
                },
                &folder,
            )?)
        } else {
            Arc::clone(issuer)
        };
        Ok(Some(Self {
            issuer: Arc::clone(issuer),
            transmitter,
            settings,
            seen: Mutex::default(),
        }))
    }

    /// As configured.
    #[must_use]
    pub fn settings(&self) -> &EventSettings {
        &self.settings
    }

    /// Whose logins the events are about.
    #[must_use]
    pub fn issuer(&self) -> &Arc<Issuer> {
        &self.issuer
    }

    /// How long to wait between two polls.
    #[must_use]
    pub fn pause(&self) -> Duration {
        Duration::from_secs(self.settings.poll_seconds.unwrap_or(5))
    }

    /// The bearer token for polling, read anew so that it can be changed.
    ///
    /// # Errors
    ///
    /// When its file cannot be read.
    pub fn poll_token(&self) -> std::io::Result<Option<Secret>> {
        let path = self.settings.poll_token_file.as_deref();
        path.map(Secret::read).transpose()
    }

    /// Whether a push carries what it must.
    #[must_use]
    pub fn may_push(&self, authorization: &str) -> bool {
        let Some(path) = &self.settings.push_token_file else {
            return true;
        };
        let Ok(token) = Secret::read(path) else {
            return false;
        };
        let wanted = Secret::new(format!("Bearer {}", token.expose()));
        aws_lc_rs::constant_time::verify_slices_are_equal(
            wanted.expose().as_bytes(),
            authorization.as_bytes(),
        )
        .is_ok()
    }

    /// Verifies an event and says whose logins it ends. Each event counts once.
    ///
    /// # Errors
    ///
    /// [`EventError`] for every rule that it breaks.
    pub async fn receive(&self, event: &str) -> Result<Whom, EventError> {
        let now_s = i64::try_from(clock::now().as_secs()).unwrap_or(i64::MAX);
        let unverified = token::peek_any(event)?;
        // Without a type an ID token, or any other of the issuer, could be passed off as an event.
        if unverified.typ().is_none() {
            return Err(EventError::Claim { claim: "typ" });
        }
        token::check_type(&unverified, &["secevent+jwt", "application/secevent+jwt"])?;
        let expected = &self.transmitter.settings().issuer;
        if unverified.issuer != *expected {
            return Err(EventError::Issuer);
        }
        let claims: Claims = self
            .transmitter
            .with_keys(|keys| token::signed(event, &unverified, keys))
            .await?;
        let (id, at_s) = self.check(&claims, now_s)?;
        let about = self.about(&claims)?;
        if !self.lock().is_new(id, at_s, now_s) {
            return Err(EventError::Replayed);
        }
        Ok(Whom {
            issuer: self.issuer.settings().issuer.clone(),
            about,
        })
    }

    fn check<'a>(&self, claims: &'a Claims, now_s: i64) -> Result<(&'a str, i64), EventError> {
        if claims.iss != self.transmitter.settings().issuer {
            return Err(EventError::Issuer);
        }
        if !token::names_audience(claims.aud.as_ref(), &self.settings.audience) {
            return Err(EventError::Audience);
        }
        let at_s = claims.iat.ok_or(EventError::Claim { claim: "iat" })?;
        if at_s > now_s + SKEW_S || at_s < now_s - AGE_S {
            return Err(EventError::Age);
        }
        let id = claims.jti.as_deref().filter(|id| token::is_name(id));
        Ok((id.ok_or(EventError::Claim { claim: "jti" })?, at_s))
    }

    /// Whose logins end. Events of other kinds are good and mean nothing here.
    fn about(&self, claims: &Claims) -> Result<Vec<About>, EventError> {
        let events = claims.events.as_ref().filter(|events| !events.is_empty());
        let events = events.ok_or(EventError::Claim { claim: "events" })?;
        let mut about = Vec::new();
        for (kind, payload) in events {
            if !ENDING.contains(&kind.as_str()) {
                tracing::debug!(kind, "a security event that means nothing here");
                continue;
            }
            let subject = claims.sub_id.as_ref().or_else(|| payload.get("subject"));
            let subject = subject.ok_or(EventError::Claim { claim: "sub_id" })?;
            let found = self.subject(subject);
            about.push(found.ok_or(EventError::Claim { claim: "sub_id" })?);
        }
        Ok(about)
    }

    /// RFC 9493.
    fn subject(&self, subject: &Value) -> Option<About> {
        let text = |name: &str| subject.get(name)?.as_str().map(str::to_owned);
        match subject.get("format")?.as_str()? {
            "iss_sub" if text("iss")? == self.issuer.settings().issuer => {
                text("sub").map(About::Subject)
            }
            "opaque" => text("id").map(About::Subject),
            "email" => text("email").map(About::Address),
            // Of a session, a device and a user, the user is whom weir knows.
            "complex" => self.subject(subject.get("user")?),
            _ => None,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn is_new(&mut self, id: &str, at_s: i64, now_s: i64) -> bool {
        // What is too old is refused by its age, so that its id need not be kept.
        while let Some((oldest, _)) = self
            .order
            .front()
            .filter(|(_, at_s)| self.order.len() >= REMEMBERED || *at_s < now_s - AGE_S - SKEW_S)
        {
            self.ids.remove(oldest);
            self.order.pop_front();
        }
        if !self.ids.insert(id.to_owned()) {
            return false;
        }
        self.order.push_back((id.to_owned(), at_s));
        true
    }
}

/// The events after which a login does not hold.
const ENDING: [&str; 5] = [
    "https://schemas.openid.net/secevent/caep/event-type/session-revoked",
    "https://schemas.openid.net/secevent/risc/event-type/sessions-revoked",
    "https://schemas.openid.net/secevent/risc/event-type/account-disabled",
    "https://schemas.openid.net/secevent/risc/event-type/account-purged",
    "https://schemas.openid.net/secevent/risc/event-type/account-credential-change-required",
];

#[cfg(test)]
mod tests;
