//! What database log-ins are made of where the client does not bring it: verifiers of passwords, and passwords that only the
//! agent knows.
//!
//! All of it is fetched on a thread of its own, which has the timers that the workers lack. Secrets are wiped from memory when
//! they are let go, and appear in no log and no record. Above `catalog`, whose way of dialling it shares.

mod passwords;
mod secret;
mod settings;
mod source;
mod verifiers;

use std::{
    collections::HashMap,
    future::Future,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use tokio::runtime::Handle;
use weir_wire::postgres::scram::Verifier;

use crate::{catalog::Dial, telemetry};

pub use passwords::{Freshness, Password, PasswordError};
pub use secret::SecretFileError;
pub(crate) use secret::read_secret;
pub use settings::{
    Accept, CredentialSettings, LoginSettings, LoginSettingsError, Placeholder, VerifierSettings,
};
pub use verifiers::VerifierError;

use passwords::Passwords;
use verifiers::Verifiers;

/// Everything that log-ins need, by the endpoints' names.
pub struct Logins {
    verifiers: HashMap<String, Arc<Verifiers>>,
    passwords: HashMap<String, Arc<Passwords>>,
    fetching: Handle,
    /// Why the last fetch of an endpoint failed; nothing when it did not.
    problems: Mutex<HashMap<String, String>>,
    /// Makes the verifiers of users who are not there; new with each start.
    pretending: [u8; 32],
}

impl Logins {
    /// Starts the thread that fetches.
    ///
    /// # Errors
    ///
    /// The operating system gives no thread, no epoll instance or no randomness.
    pub fn start(
        by_endpoint: HashMap<String, LoginSettings>,
        dial: &Arc<dyn Dial>,
    ) -> io::Result<Arc<Self>> {
        let mut pretending = [0; 32];
        aws_lc_rs::rand::fill(&mut pretending)
            .map_err(|_| io::Error::other("the system gives no randomness"))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let fetching = runtime.handle().clone();
        thread::Builder::new()
            .name("weir-logins".to_owned())
            .spawn(move || runtime.block_on(std::future::pending::<()>()))?;
        let mut logins = Self {
            verifiers: HashMap::new(),
            passwords: HashMap::new(),
            fetching,
            problems: Mutex::default(),
            pretending,
        };
        for (endpoint, settings) in by_endpoint {
            if let Some(settings) = settings.verifiers {
                let verifiers = Verifiers::new(&endpoint, settings, Arc::clone(dial));
                logins.verifiers.insert(endpoint, Arc::new(verifiers));
            } else if !settings.credentials.is_empty() {
                let passwords = Passwords::new(settings.credentials);
                logins.passwords.insert(endpoint, Arc::new(passwords));
            }
        }
        Ok(Arc::new(logins))
    }

    /// The verifier of a database user, as it is now; an error in its place for a user who has none, which nothing fits.
    ///
    /// # Errors
    ///
    /// [`VerifierError`] when nobody can tell.
    pub async fn verifier(
        &self,
        endpoint: &str,
        address: SocketAddr,
        user: &str,
    ) -> Result<Result<Verifier, Verifier>, VerifierError> {
        let verifiers = self.verifiers.get(endpoint).cloned();
        let name = user.to_owned();
        let fetched = self.fetch(endpoint, async move {
            let verifiers = verifiers.ok_or(VerifierError::NotConfigured)?;
            verifiers.of(address, &name).await
        });
        let found = fetched.await.unwrap_or(Err(VerifierError::Timeout))?;
        Ok(found.ok_or_else(|| Verifier::pretended(user.as_bytes(), &self.pretending)))
    }

    /// The password that the agent logs a database user in with.
    ///
    /// # Errors
    ///
    /// [`PasswordError`].
    pub async fn password(
        &self,
        endpoint: &str,
        user: &str,
        freshness: Freshness,
    ) -> Result<Password, PasswordError> {
        let passwords = self.passwords.get(endpoint).cloned();
        let user = user.to_owned();
        let fetched = self.fetch(endpoint, async move {
            let passwords =
                passwords.ok_or_else(|| PasswordError::NoCredential { user: user.clone() })?;
            passwords.of(&user, freshness).await
        });
        fetched.await.unwrap_or(Err(PasswordError::Timeout))
    }

    /// Who may use the agent's password of a database user; `None` when it has none.
    #[must_use]
    pub fn accept(&self, endpoint: &str, user: &str) -> Option<Accept> {
        self.passwords.get(endpoint)?.accept(user)
    }

    /// Why the last log-in of an endpoint could not be helped.
    #[must_use]
    pub fn problem(&self, endpoint: &str) -> Option<String> {
        let problems = self.problems.lock().unwrap_or_else(PoisonError::into_inner);
        problems.get(endpoint).cloned()
    }

    /// Runs a fetch where timers are; `None` when it takes too long.
    async fn fetch<T, E>(
        &self,
        endpoint: &str,
        fetch: impl Future<Output = Result<T, E>> + Send + 'static,
    ) -> Option<Result<T, E>>
    where
        T: Send + 'static,
        E: std::error::Error + Send + 'static,
    {
        let limited = async move { tokio::time::timeout(FETCH_LIMIT, fetch).await.ok() };
        let fetched = self.fetching.spawn(limited).await.ok().flatten();
        let problem = match &fetched {
            Some(Ok(_)) => None,
            Some(Err(error)) => Some(telemetry::chain(error)),
            None => Some("it took too long".to_owned()),
        };
        let mut problems = self.problems.lock().unwrap_or_else(PoisonError::into_inner);
        match problem {
            Some(problem) => {
                tracing::warn!(endpoint, problem, "a log-in cannot be helped");
                problems.insert(endpoint.to_owned(), problem);
            }
            None => {
                problems.remove(endpoint);
            }
        }
        fetched
    }
}

impl std::fmt::Debug for Logins {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Logins").finish_non_exhaustive()
    }
}

/// Clients wait for a minute at most, and two fetches may be needed.
const FETCH_LIMIT: Duration = Duration::from_secs(20);
