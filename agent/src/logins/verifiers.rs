//! Verifiers of one endpoint's users: asked for at each log-in, so that a changed or withdrawn password counts at once.

use std::{
    collections::HashMap,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::sync::Mutex;
use tokio_postgres::{Client, Config, NoTls, config::SslMode, types::Type};
use weir_wire::postgres::scram::Verifier;

use super::{
    secret::{SecretFileError, read_private},
    settings::VerifierSource,
};
use crate::catalog::Dial;

/// Why nobody can tell a user's verifier.
#[derive(Debug, thiserror::Error)]
pub enum VerifierError {
    /// The endpoint has none.
    #[error("the endpoint has no [endpoint.verifiers]")]
    NotConfigured,
    /// Not in time.
    #[error("the verifiers are not to be had in time")]
    Timeout,
    /// The file.
    #[error("cannot read the verifiers")]
    File(#[from] SecretFileError),
    /// A line that cannot be read might be anybody's.
    #[error("line {line} of {} is not name|verifier|until", path.display())]
    Line {
        /// Which file.
        path: PathBuf,
        /// Which line.
        line: usize,
    },
    /// The server cannot be reached.
    #[error("cannot reach {address} for verifiers")]
    Dial {
        /// Where.
        address: SocketAddr,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The server does not want us.
    #[error("cannot log in as {user} to read verifiers")]
    LogIn {
        /// As whom.
        user: String,
        /// Why.
        #[source]
        source: tokio_postgres::Error,
    },
    /// It does not tell.
    #[error("cannot read the verifier from the server")]
    Query(#[source] tokio_postgres::Error),
}

/// One endpoint's.
pub(super) struct Verifiers {
    endpoint: String,
    source: VerifierSource,
    dial: Arc<dyn Dial>,
    file: Mutex<Option<ReadFile>>,
    servers: Mutex<HashMap<SocketAddr, Connection>>,
}

/// A connection to one server, once there is one.
type Connection = Arc<Mutex<Option<Arc<Client>>>>;

/// What was read of the file, and when it was changed before that.
struct ReadFile {
    changed: Option<SystemTime>,
    users: HashMap<String, Entry>,
}

#[derive(Clone)]
struct Entry {
    verifier: Option<Verifier>,
    until: Option<OffsetDateTime>,
}

impl Verifiers {
    pub(super) fn new(endpoint: &str, source: VerifierSource, dial: Arc<dyn Dial>) -> Self {
        Self {
            endpoint: endpoint.to_owned(),
            source,
            dial,
            file: Mutex::default(),
            servers: Mutex::default(),
        }
    }

    /// A user's; `None` when there is no such user, or none that a password lets in.
    pub(super) async fn of(
        &self,
        address: SocketAddr,
        user: &str,
    ) -> Result<Option<Verifier>, VerifierError> {
        match &self.source {
            VerifierSource::File(path) => self.read_file(path, user).await,
            VerifierSource::Server { query, .. } => self.ask_server(query, address, user).await,
        }
    }

    async fn read_file(&self, path: &Path, user: &str) -> Result<Option<Verifier>, VerifierError> {
        let changed = fs::metadata(path).and_then(|found| found.modified()).ok();
        let mut read = self.file.lock().await;
        let current = read
            .as_ref()
            .is_some_and(|read| read.changed.is_some() && read.changed == changed);
        if !current {
            let text = read_private(path)?;
            let users = parse(&text).map_err(|line| VerifierError::Line {
                path: path.to_owned(),
                line,
            })?;
            *read = Some(ReadFile { changed, users });
        }
        let entry = read.as_ref().and_then(|read| read.users.get(user));
        let now = OffsetDateTime::now_utc();
        Ok(entry
            .filter(|entry| entry.until.is_none_or(|until| until > now))
            .and_then(|entry| entry.verifier.clone()))
    }

    async fn ask_server(
        &self,
        query: &str,
        address: SocketAddr,
        user: &str,
    ) -> Result<Option<Verifier>, VerifierError> {
        let place = Arc::clone(self.servers.lock().await.entry(address).or_default());
        // A connection that was idle may have died with its server: one that is new decides.
        let kept = place.lock().await.clone().filter(|it| !it.is_closed());
        if let Some(client) = kept
            && let Ok(found) = ask(&client, query, user).await
        {
            return Ok(found);
        }
        let client = {
            let mut place = place.lock().await;
            let client = Arc::new(self.open(address).await?);
            *place = Some(Arc::clone(&client));
            client
        };
        ask(&client, query, user)
            .await
            .map_err(VerifierError::Query)
    }

    async fn open(&self, address: SocketAddr) -> Result<Client, VerifierError> {
        let VerifierSource::Server {
            user,
            password,
            database,
            ..
        } = &self.source
        else {
            return Err(VerifierError::NotConfigured);
        };
        let leg = self
            .dial
            .dial(&self.endpoint, address)
            .await
            .map_err(|source| VerifierError::Dial { address, source })?;
        let mut config = Config::new();
        config
            .user(user)
            .dbname(database)
            .application_name("weir")
            // The leg is encrypted already, where the endpoint says so.
            .ssl_mode(SslMode::Disable);
        if let Some(password) = password {
            config.password(password.expose());
        }
        let (client, connection) =
            config
                .connect_raw(leg, NoTls)
                .await
                .map_err(|source| VerifierError::LogIn {
                    user: user.clone(),
                    source,
                })?;
        tokio::spawn(async move {
            // Its error reaches whoever waits for an answer.
            let _ = connection.await;
        });
        Ok(client)
    }
}

async fn ask(
    client: &Client,
    query: &str,
    user: &str,
) -> Result<Option<Verifier>, tokio_postgres::Error> {
    let rows = client.query_typed(query, &[(&user, Type::TEXT)]).await?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    let text: Option<String> = row.try_get(0)?;
    // An MD5 hash, or a role without a password: nobody's proof fits.
    let text = text.map(zeroize::Zeroizing::new);
    Ok(text.and_then(|text| Verifier::parse(&text).ok()))
}

/// Reads the file; the number of the first line that is none is the error.
fn parse(text: &str) -> Result<HashMap<String, Entry>, usize> {
    let mut users = HashMap::new();
    for (index, line) in text.lines().enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, entry) = parse_line(line).ok_or(index + 1)?;
        users.insert(name.to_owned(), entry);
    }
    Ok(users)
}

/// A name may hold anything, a verifier and a time no bar: they are taken from the end.
fn parse_line(line: &str) -> Option<(&str, Entry)> {
    let (rest, last) = line.rsplit_once('|')?;
    let (name, verifier, until) = match rest.rsplit_once('|') {
        Some((name, verifier)) if !last.starts_with(SCRAM) => (name, verifier, last.trim()),
        _ => (rest, last, ""),
    };
    let until = match until {
        "" | "infinity" => None,
        text => Some(OffsetDateTime::parse(text, &Rfc3339).ok()?),
    };
    let verifier = match verifier.trim() {
        "" => None,
        text if text.starts_with(SCRAM) => Some(Verifier::parse(text).ok()?),
        // An MD5 hash: such a user logs in otherwise.
        text if text.starts_with("md5") => None,
        _ => return None,
    };
    Some((name, Entry { verifier, until }))
}

const SCRAM: &str = "SCRAM-SHA-256$";

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "SCRAM-SHA-256$4096:AAAA$BQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQU=:BQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQU=";

    #[test]
    fn lines_are_what_psql_prints() {
        let text = format!(
            "# by psql -At\napp|{LINE}|\nodd|name|{LINE}|2030-01-02T03:04:05Z\nshort|{LINE}\n\
             old|md5d41d8cd98f00b204e9800998ecf8427e|\nnone||infinity\n"
        );
        let users = parse(&text).unwrap_or_else(|line| panic!("line {line}"));
        assert!(users["app"].verifier.is_some() && users["app"].until.is_none());
        assert!(users["odd|name"].until.is_some());
        assert!(users["short"].verifier.is_some());
        assert!(users["old"].verifier.is_none() && users["none"].verifier.is_none());
    }

    #[test]
    fn a_line_that_is_none_is_named() {
        for (text, line) in [
            ("app", 1),
            ("\n\napp|secret|", 3),
            ("app|SCRAM-SHA-256$x|", 1),
        ] {
            assert_eq!(parse(text).err(), Some(line), "{text:?}");
        }
        assert_eq!(parse(&format!("app|{LINE}|tomorrow")).err(), Some(1));
    }
}
