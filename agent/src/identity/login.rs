//! A person logs in at a provider: the agent runs the flow, the person's process only shows where to go.
//!
//! Tokens come into this process and stay in its memory. A flow that nobody waits for any more ends, and what it was
//! given meanwhile is given back.

mod browser;
mod code;
mod device;

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::{sync::oneshot, task::AbortHandle, time};

use super::{
    issuers::Issuer,
    oidc::{GrantError, Tokens},
    secret::Secret,
    token::{TokenError, Verified},
};
use crate::clock;

pub use code::{CodeAnswer, CodeRequest};

/// How far the provider's clock may be off when a login is to be fresh, seconds.
const SKEW_S: i64 = 60;

/// The longest that a person has for a login.
const LONGEST: Duration = Duration::from_mins(15);

/// The way of a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Flow {
    /// A code that is typed into a page on any device (RFC 8628).
    Device,
    /// A browser on this host (RFC 8252, with PKCE).
    Browser,
}

/// What is asked of a login beyond who it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The way; the device's code where the provider has that.
    pub flow: Option<Flow>,
    /// The person must have proved itself within this many seconds.
    pub max_age_s: Option<u64>,
    /// The provider's word for how the person must prove itself.
    pub acr: Option<String>,
}

/// What a person is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prompt {
    /// Who is asked.
    pub issuer: String,
    /// The way.
    pub flow: Flow,
    /// Where to go.
    pub url: String,
    /// The code to type there; with it, `url_complete` has it already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The address with the code in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url_complete: Option<String>,
    /// For how long.
    pub expires_s: u64,
}

/// Why nobody is logged in.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// The issuer has no client for people.
    #[error("issuer {issuer:?} has no client_id: nobody can log in there")]
    NoClient {
        /// Which.
        issuer: String,
    },
    /// The provider.
    #[error("the login did not succeed")]
    Grant(#[from] GrantError),
    /// The person said no, or was not allowed.
    #[error("the login was refused at the provider")]
    Denied,
    /// Too late.
    #[error("the login was not finished in time")]
    Late,
    /// The provider's answer shows something unprintable.
    #[error("the provider's answer cannot be shown")]
    Prompt,
    /// No port.
    #[error("cannot wait for the browser on loopback")]
    Listen(#[source] std::io::Error),
    /// The browser's answer is no answer to this login.
    #[error("the browser brought an answer that is not the provider's: {why}")]
    Answer {
        /// What is wrong.
        why: &'static str,
    },
    /// The token.
    #[error("the provider's token is not accepted")]
    Token(#[from] TokenError),
    /// Not as fresh as asked.
    #[error(
        "the provider did not ask for a new login (auth_time is missing or older than {max_age_s} s)"
    )]
    NotFresh {
        /// As asked.
        max_age_s: u64,
    },
    /// Not as strong as asked.
    #[error("the provider did not log in by {wanted:?} but by {found:?}")]
    NotStrong {
        /// As asked.
        wanted: String,
        /// By the token's `acr`.
        found: String,
    },
    /// No randomness, or the task ended.
    #[error("the login could not be run")]
    Internal,
}

/// A person who has logged in.
#[derive(Debug)]
pub struct Granted {
    /// Who.
    pub verified: Verified,
    /// Whose word it is.
    pub issuer: Arc<Issuer>,
    /// The token that says who: an agent's issuer may want to see it.
    pub token: Option<Secret>,
    /// For new tokens.
    pub refresh_token: Option<Secret>,
    /// The way it came about.
    pub flow: Flow,
}

impl Granted {
    /// Gives back what is not going to be used.
    pub async fn give_back(self) {
        if let Some(token) = &self.refresh_token {
            self.issuer.give_back(token).await;
        }
    }
}

/// A login that somebody waits for. Dropping it ends it.
#[derive(Debug)]
pub struct Pending {
    result: oneshot::Receiver<Result<Granted, LoginError>>,
    task: AbortHandle,
}

impl Pending {
    /// Waits for the end of it, for so long at most. `None`: not yet.
    pub async fn wait(&mut self, limit: Duration) -> Option<Result<Granted, LoginError>> {
        match time::timeout(limit, &mut self.result).await {
            Ok(Ok(result)) => Some(result),
            Ok(Err(_)) => Some(Err(LoginError::Internal)),
            Err(_) => None,
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        // A result that has been sent and not been taken goes back to the provider.
        if let Ok(Ok(granted)) = self.result.try_recv() {
            tokio::spawn(granted.give_back());
        }
        self.task.abort();
    }
}

/// Begins a login; must be called inside a runtime.
///
/// # Errors
///
/// [`LoginError`] when it cannot begin.
pub async fn begin(issuer: &Arc<Issuer>, wanted: Wanted) -> Result<(Prompt, Pending), LoginError> {
    if issuer.client().is_none() {
        return Err(LoginError::NoClient {
            issuer: issuer.settings().issuer.clone(),
        });
    }
    let flow = if let Some(flow) = wanted.flow {
        flow
    } else {
        let metadata = issuer
            .provider()
            .metadata()
            .await
            .map_err(GrantError::from)?;
        if metadata.device_authorization_endpoint.is_some() {
            Flow::Device
        } else {
            Flow::Browser
        }
    };
    let issuer = Arc::clone(issuer);
    match flow {
        Flow::Device => {
            let (prompt, device) = device::begin(&issuer, &wanted).await?;
            let of = Arc::clone(&issuer);
            let run = async move { device.wait(&of).await.map(|tokens| (tokens, None)) };
            Ok((prompt, spawn(issuer, wanted, flow, run)))
        }
        Flow::Browser => {
            let (prompt, browser) = browser::begin(&issuer, &wanted).await?;
            let of = Arc::clone(&issuer);
            let run = async move {
                let nonce = browser.nonce().to_owned();
                browser.wait(&of).await.map(|tokens| (tokens, Some(nonce)))
            };
            Ok((prompt, spawn(issuer, wanted, flow, run)))
        }
    }
}

fn spawn(
    issuer: Arc<Issuer>,
    wanted: Wanted,
    flow: Flow,
    run: impl Future<Output = Result<(Tokens, Option<String>), LoginError>> + Send + 'static,
) -> Pending {
    let (send, result) = oneshot::channel();
    let task = tokio::spawn(async move {
        let ended = match time::timeout(LONGEST, run).await {
            Ok(Ok((tokens, nonce))) => {
                accept(issuer, &wanted, flow, tokens, nonce.as_deref()).await
            }
            Ok(Err(error)) => Err(error),
            Err(_) => Err(LoginError::Late),
        };
        if let Err(Ok(granted)) = send.send(ended) {
            granted.give_back().await;
        }
    });
    Pending {
        result,
        task: task.abort_handle(),
    }
}

/// Believes the tokens, or gives them back.
async fn accept(
    issuer: Arc<Issuer>,
    wanted: &Wanted,
    flow: Flow,
    mut tokens: Tokens,
    nonce: Option<&str>,
) -> Result<Granted, LoginError> {
    let refresh_token = tokens.refresh_token.take();
    let judged = match issuer.verify_login(&tokens, nonce).await {
        Ok(verified) => {
            let now_s = i64::try_from(clock::now().as_secs()).unwrap_or(i64::MAX);
            check_wanted(wanted, &verified, now_s).map(|()| verified)
        }
        Err(error) => Err(error.into()),
    };
    match judged {
        Ok(verified) => Ok(Granted {
            verified,
            token: issuer.login_token(&tokens).cloned(),
            issuer,
            refresh_token,
            flow,
        }),
        Err(error) => {
            if let Some(token) = &refresh_token {
                issuer.give_back(token).await;
            }
            Err(error)
        }
    }
}

/// What was asked for must be what was done: providers may ignore it.
fn check_wanted(wanted: &Wanted, verified: &Verified, now_s: i64) -> Result<(), LoginError> {
    if let Some(max_age_s) = wanted.max_age_s {
        let limit_s = i64::try_from(max_age_s)
            .unwrap_or(i64::MAX)
            .saturating_add(SKEW_S);
        let is_fresh = verified
            .principal
            .auth_time
            .is_some_and(|at_s| now_s.saturating_sub(at_s) <= limit_s);
        if !is_fresh {
            return Err(LoginError::NotFresh { max_age_s });
        }
    }
    match &wanted.acr {
        Some(acr) if verified.principal.acr.as_ref() != Some(acr) => Err(LoginError::NotStrong {
            wanted: acr.clone(),
            found: verified.principal.acr.clone().unwrap_or_default(),
        }),
        _ => Ok(()),
    }
}

/// What both flows ask for.
fn common_fields<'a>(
    scope: &'a str,
    max_age: Option<&'a str>,
    wanted: &'a Wanted,
) -> Vec<(&'static str, &'a str)> {
    let mut fields = vec![("scope", scope)];
    fields.extend(max_age.map(|seconds| ("max_age", seconds)));
    fields.extend(wanted.acr.as_deref().map(|acr| ("acr_values", acr)));
    fields
}

#[cfg(test)]
mod tests;
