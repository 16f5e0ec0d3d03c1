//! The agent's own connection to a database, which reads its catalog: read only, every name qualified, one snapshot.

use std::{net::SocketAddr, sync::Arc};

use tokio::task::JoinHandle;
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage, SimpleQueryRow, config::SslMode};
use weir_sql::catalog::{Builder, Catalog, CatalogError, FINGERPRINT, QUERIES};

use super::{
    Credentials, Dial, Place,
    database::{Database, Look, Reader},
};

/// Why a catalog cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SideError {
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
    /// An answer makes no sense.
    #[error("cannot use what the server says of itself")]
    Rows(#[from] CatalogError),
}

/// One database's side connection: made when it is first needed, and again after an error.
pub(super) struct Side {
    place: Place,
    credentials: Option<Arc<Credentials>>,
    dial: Arc<dyn Dial>,
    session: Option<Session>,
    /// What the database looked like when it was last read.
    fingerprint: Option<String>,
}

/// A connection of the agent's own, logged in.
pub(crate) struct Session {
    client: Client,
    driver: JoinHandle<()>,
}

impl Side {
    pub(super) fn new(database: &Database, dial: Arc<dyn Dial>) -> Self {
        Self {
            place: database.place().clone(),
            credentials: database.credentials().cloned(),
            dial,
            session: None,
            fingerprint: None,
        }
    }

    async fn open(&self) -> Result<Session, SideError> {
        Session::open(&*self.dial, self.credentials.as_deref(), &self.place).await
    }

    /// One read-only transaction: what was read and what it is recognised by are of the same moment.
    async fn look_on(&mut self, session: &Session) -> Result<Look, SideError> {
        let begun = session
            .ask("its fingerprint", &format!("{BEGIN}; {FINGERPRINT}"))
            .await?;
        let fingerprint = rows(&begun)
            .next()
            .and_then(|row| row.get(0))
            .map(str::to_owned);
        let same = fingerprint.is_some() && fingerprint == self.fingerprint;
        let look = if same {
            Look::Same
        } else {
            Look::Changed(Box::new(session.read().await?))
        };
        session.ask("it to the end", "ROLLBACK").await?;
        self.fingerprint = fingerprint;
        Ok(look)
    }
}

impl Session {
    /// Connects and logs in.
    pub(crate) async fn open(
        dial: &dyn Dial,
        credentials: Option<&Credentials>,
        place: &Place,
    ) -> Result<Self, SideError> {
        let Some(credentials) = credentials else {
            return Err(SideError::NoCredentials {
                endpoint: place.endpoint.clone(),
            });
        };
        let leg = dial
            .dial(&place.endpoint, place.address)
            .await
            .map_err(|source| SideError::Dial {
                address: place.address,
                source,
            })?;
        let mut config = Config::new();
        config
            .user(&credentials.user)
            .dbname(&place.database)
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
                    database: place.database.clone(),
                    user: credentials.user.clone(),
                    source,
                })?;
        let driver = tokio::spawn(async move {
            // Its error reaches whoever waits for an answer.
            let _ = connection.await;
        });
        Ok(Self { client, driver })
    }

    /// All that the catalog says, as of one moment.
    pub(crate) async fn catalog(&self) -> Result<Catalog, SideError> {
        self.ask("its catalog", BEGIN).await?;
        let catalog = self.read().await;
        self.ask("it to the end", "ROLLBACK").await?;
        catalog
    }

    /// The rows of a query that runs alone: read only, no setting of the role's left in force, ended after `seconds`.
    /// Nothing of it stays, whether it succeeds or fails.
    pub(crate) async fn rows(
        &self,
        what: &'static str,
        query: &str,
        seconds: u32,
    ) -> Result<Vec<SimpleQueryRow>, SideError> {
        let limited = format!("{BEGIN}; SET LOCAL statement_timeout = '{seconds}s'; {query}");
        let answer = self.ask(what, &limited).await;
        self.ask("it to the end", "ROLLBACK").await?;
        let rows = answer?.into_iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        Ok(rows.collect())
    }

    async fn read(&self) -> Result<Catalog, SideError> {
        let mut builder = Builder::new();
        for (name, query) in QUERIES {
            for row in rows(&self.ask(name, query).await?) {
                let cells: Vec<Option<&str>> = (0..row.len()).map(|cell| row.get(cell)).collect();
                builder.row(name, &cells)?;
            }
        }
        Ok(builder.finish())
    }

    async fn ask(
        &self,
        what: &'static str,
        query: &str,
    ) -> Result<Vec<SimpleQueryMessage>, SideError> {
        self.client
            .simple_query(query)
            .await
            .map_err(|source| SideError::Query { what, source })
    }
}

fn rows(answer: &[SimpleQueryMessage]) -> impl Iterator<Item = &SimpleQueryRow> {
    answer.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    })
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

/// Whatever the role's own settings are: names come with their schemas, and a lock that somebody holds is not waited for long.
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY; \
    SET LOCAL search_path = ''; SET LOCAL statement_timeout = '20s'; SET LOCAL lock_timeout = '3s'; \
    SET LOCAL quote_all_identifiers = off";
