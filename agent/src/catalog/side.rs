//! The agent's own connection to a database, which reads its catalog: read only, every name qualified, one snapshot.

use std::{net::SocketAddr, sync::Arc};

use tokio::task::JoinHandle;
use tokio_postgres::{Client, Config, NoTls, config::SslMode};
use weir_sql::catalog::Catalog;

use super::{
    Credentials, Dial,
    database::{Database, Look, Reader},
};

/// Why a catalog cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum SideError {
    /// Nobody to log in as.
    #[error(
        "endpoint {endpoint:?} has no [endpoint.catalog] section: add one with the user that weir reads catalogs as"
    )]
    NoCredentials { endpoint: String },
    /// No connection.
    #[error("cannot reach {address}")]
    Dial {
        address: SocketAddr,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The server does not want us.
    #[error("cannot log in to {database} as {user}")]
    LogIn {
        database: String,
        user: String,
        #[source]
        source: tokio_postgres::Error,
    },
    /// A query failed.
    #[error("cannot read {what}")]
    Query {
        what: &'static str,
        #[source]
        source: tokio_postgres::Error,
    },
}

/// One database's side connection: made when it is first needed, and again after an error.
pub(super) struct Side {
    endpoint: String,
    address: SocketAddr,
    database: String,
    credentials: Option<Arc<Credentials>>,
    dial: Arc<dyn Dial>,
    session: Option<Session>,
    /// What the database looked like when it was last read.
    fingerprint: Option<String>,
}

struct Session {
    client: Client,
    driver: JoinHandle<()>,
}

impl Side {
    pub(super) fn new(database: &Database, dial: Arc<dyn Dial>) -> Self {
        let place = database.place();
        Self {
            endpoint: place.endpoint.clone(),
            address: place.address,
            database: place.database.clone(),
            credentials: database.credentials().cloned(),
            dial,
            session: None,
            fingerprint: None,
        }
    }

    async fn open(&self) -> Result<Session, SideError> {
        let Some(credentials) = &self.credentials else {
            return Err(SideError::NoCredentials {
                endpoint: self.endpoint.clone(),
            });
        };
        let leg = self
            .dial
            .dial(&self.endpoint, self.address)
            .await
            .map_err(|source| SideError::Dial {
                address: self.address,
                source,
            })?;
        let mut config = Config::new();
        config
            .user(&credentials.user)
            .dbname(&self.database)
            .application_name("weir")
            // The leg is encrypted already, where the endpoint says so.
            .ssl_mode(SslMode::Disable);
        if let Some(password) = &credentials.password {
            config.password(password);
        }
        let (client, connection) =
            config
                .connect_raw(leg, NoTls)
                .await
                .map_err(|source| SideError::LogIn {
                    database: self.database.clone(),
                    user: credentials.user.clone(),
                    source,
                })?;
        let driver = tokio::spawn(async move {
            // Its error reaches whoever waits for an answer.
            let _ = connection.await;
        });
        Ok(Session { client, driver })
    }

    async fn look_on(&mut self, _session: &Session) -> Result<Look, SideError> {
        self.fingerprint = None;
        Ok(Look::Changed(Catalog::default()))
    }
}

impl Reader for Side {
    type Error = SideError;

    async fn look(&mut self) -> Result<Look, SideError> {
        // A connection that was idle may have died with its server: that is no reason to refuse anybody.
        if let Some(session) = self.session.take()
            && !session.client.is_closed()
            && let Ok(found) = self.look_on(&session).await
        {
            self.session = Some(session);
            return Ok(found);
        }
        self.fingerprint = None;
        let session = self.open().await?;
        let found = self.look_on(&session).await?;
        self.session = Some(session);
        Ok(found)
    }

    fn rest(&mut self) {
        self.session = None;
        self.fingerprint = None;
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.driver.abort();
    }
}
