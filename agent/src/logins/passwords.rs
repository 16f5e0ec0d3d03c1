//! Passwords of one endpoint's users: fetched from their sources, kept for a while.

use std::{
    collections::HashMap,
    io,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::Mutex;

use super::{
    Accept,
    secret::SecretFileError,
    settings::{Credential, PasswordSource},
    source,
};
use crate::identity::Secret;

/// Why a password is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// There is none.
    #[error("there is no [[endpoint.credential]] for database user {user:?}")]
    NoCredential {
        /// Whose.
        user: String,
    },
    /// Not in time.
    #[error("the password is not to be had in time")]
    Timeout,
    /// The file.
    #[error("cannot read the password")]
    File(#[from] SecretFileError),
    /// The program is not to be trusted.
    #[error("{} may be changed by others than root", path.display())]
    Writable {
        /// Which.
        path: PathBuf,
    },
    /// The program cannot be run.
    #[error("cannot run {}", path.display())]
    Run {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It takes too long and was ended.
    #[error("{} took more than {} seconds", path.display(), limit.as_secs())]
    Slow {
        /// Which.
        path: PathBuf,
        /// As configured.
        limit: Duration,
    },
    /// It says that it has failed, or nothing that is a password.
    #[error("{} {what}", path.display())]
    Program {
        /// Which.
        path: PathBuf,
        /// What happened.
        what: String,
    },
    /// Vault is not to be asked.
    #[error("cannot ask Vault")]
    Vault(#[source] reqwest::Error),
    /// Vault refuses, or has something else.
    #[error("Vault {what}")]
    VaultAnswer {
        /// What happened.
        what: String,
    },
}

/// Whether a password may be one that was fetched before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// It may.
    Kept,
    /// The server has just refused that one.
    Fresh,
}

/// A password.
#[derive(Debug, Clone)]
pub struct Password {
    /// Itself.
    pub secret: Secret,
    /// Whether it was fetched just now.
    pub fresh: bool,
}

/// One endpoint's.
pub(super) struct Passwords {
    users: HashMap<String, (Credential, Kept)>,
}

/// Held while it is fetched, so that many log-ins at once ask once.
type Kept = Arc<Mutex<Option<(Secret, Instant)>>>;

impl Passwords {
    pub(super) fn new(credentials: Vec<Credential>) -> Self {
        let users = credentials
            .into_iter()
            .map(|credential| (credential.user.clone(), (credential, Kept::default())));
        Self {
            users: users.collect(),
        }
    }

    pub(super) fn accept(&self, user: &str) -> Option<Accept> {
        self.users
            .get(user)
            .map(|(credential, _)| credential.accept.clone())
    }

    pub(super) async fn of(
        &self,
        user: &str,
        freshness: Freshness,
    ) -> Result<Password, PasswordError> {
        let asked = Instant::now();
        let Some((credential, kept)) = self.users.get(user) else {
            return Err(PasswordError::NoCredential {
                user: user.to_owned(),
            });
        };
        let mut kept = kept.lock().await;
        if let Some((secret, fetched)) = &*kept {
            // One that came while this waited is as fresh as can be.
            let usable = match freshness {
                Freshness::Kept => fetched.elapsed() < credential.ttl,
                Freshness::Fresh => *fetched > asked,
            };
            if usable {
                return Ok(Password {
                    secret: secret.clone(),
                    fresh: *fetched > asked,
                });
            }
        }
        *kept = None;
        let secret = match &credential.source {
            PasswordSource::File(path) => super::secret::read_secret(path)?,
            PasswordSource::Vault(vault) => source::from_vault(vault).await?,
            PasswordSource::Command { words, timeout } => {
                source::from_program(words, *timeout).await?
            }
        };
        *kept = Some((secret.clone(), Instant::now()));
        Ok(Password {
            secret,
            fresh: true,
        })
    }
}
