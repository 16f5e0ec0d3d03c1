//! `[endpoint.verifiers]` and `[[endpoint.credential]]`: where verifiers and passwords come from.

use std::{
    num::NonZeroU32,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use reqwest::Url;
use serde::Deserialize;
use weir_wire::postgres::scram::Verifier;

use super::secret::{SecretFileError, read_secret};
use crate::identity::{Secret, fetch};

/// `[endpoint.verifiers]`: a file, or a role that may read them from the server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VerifierSettings {
    /// Lines of `name|verifier|until`, as psql prints three columns of `pg_authid`.
    pub file: Option<PathBuf>,
    /// The role that reads them.
    pub user: Option<String>,
    /// A file with its password; without one the server must ask for none.
    pub password_file: Option<PathBuf>,
    /// The database that it logs in to.
    pub database: Option<String>,
    /// A function `schema.name(text) RETURNS text` that gives one user's verifier; without one `pg_authid` itself is read.
    pub function: Option<String>,
}

/// One `[[endpoint.credential]]`: a password that only the agent knows, from one of three sources.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CredentialSettings {
    /// The database user it belongs to.
    pub user: String,
    /// A file with it.
    pub file: Option<PathBuf>,
    /// A secret of Vault's KV engine, version 2.
    pub vault: Option<VaultSettings>,
    /// A program that prints it, and its arguments.
    pub command: Vec<String>,
    /// How long a program may take, seconds.
    pub timeout_seconds: Option<u64>,
    /// How long it is used before it is fetched again, seconds.
    pub ttl_seconds: Option<u64>,
    /// Who may use it.
    pub accept: AcceptSetting,
    /// The file with the password that the application still has, for `accept = "placeholder"`.
    pub placeholder_file: Option<PathBuf>,
}

/// Who may log in with a password of the agent's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AcceptSetting {
    /// A process with a verified identity, whatever password it has.
    #[default]
    Identity,
    /// Whoever proves that it knows the placeholder.
    Placeholder,
    /// Every process that the rules let connect.
    Anyone,
}

/// Where in Vault.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VaultSettings {
    /// `https://vault.example:8200`; http on loopback only.
    pub address: String,
    /// Where the engine is mounted.
    pub mount: Option<String>,
    /// The secret's path below it.
    pub path: String,
    /// The field that is the password.
    pub field: Option<String>,
    /// A file with the token.
    pub token_file: PathBuf,
    /// Whom to trust; without it those that the system trusts.
    pub ca_file: Option<PathBuf>,
    /// `X-Vault-Namespace`.
    pub namespace: Option<String>,
}

/// Why they cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoginSettingsError {
    /// No source, or two.
    #[error("[endpoint.verifiers] needs either file, or user (and its password_file)")]
    VerifierSource,
    /// It would be put into a statement.
    #[error("[endpoint.verifiers] function must be schema.name, both lower case")]
    Function,
    /// For nobody.
    #[error("[[endpoint.credential]] names no user")]
    NoUser,
    /// Which one counts?
    #[error("two [[endpoint.credential]] are for user {user:?}")]
    SameUser {
        /// Who.
        user: String,
    },
    /// No source, or two.
    #[error("[[endpoint.credential]] of {user:?} needs one of file, vault, command")]
    Source {
        /// Whose.
        user: String,
    },
    /// Found through a path, it could be anybody's.
    #[error("[[endpoint.credential]] of {user:?}: command must begin with an absolute path")]
    Command {
        /// Whose.
        user: String,
    },
    /// A program or a secret that never ends.
    #[error("[[endpoint.credential]] of {user:?}: timeout_seconds must be 1 to 15")]
    Timeout {
        /// Whose.
        user: String,
    },
    /// An address or a path is missing or wrong.
    #[error("[[endpoint.credential]] of {user:?}: vault needs address, path and token_file")]
    Vault {
        /// Whose.
        user: String,
    },
    /// Where it is asked.
    #[error("[[endpoint.credential]] of {user:?}")]
    Address {
        /// Whose.
        user: String,
        /// Why.
        #[source]
        source: fetch::FetchError,
    },
    /// The placeholder.
    #[error(
        "[[endpoint.credential]] of {user:?}: accept = \"placeholder\" goes with placeholder_file, and nothing else does"
    )]
    PlaceholderFile {
        /// Whose.
        user: String,
    },
    /// A file.
    #[error("cannot read the secret")]
    Secret(#[from] SecretFileError),
}

/// What one endpoint's log-ins need.
#[derive(Debug, Clone, Default)]
pub struct LoginSettings {
    /// Where verifiers come from.
    pub verifiers: Option<VerifierSource>,
    /// Passwords by user.
    pub credentials: Vec<Credential>,
}

/// Where verifiers come from.
#[derive(Debug, Clone)]
pub enum VerifierSource {
    /// A file.
    File(PathBuf),
    /// The server.
    Server {
        /// Who asks.
        user: String,
        /// With this password.
        password: Option<Secret>,
        /// In this database.
        database: String,
        /// By this query, whose one parameter is the user's name.
        query: String,
    },
}

/// One user's password, and who may use it.
#[derive(Debug, Clone)]
pub struct Credential {
    pub(super) user: String,
    pub(super) source: PasswordSource,
    pub(super) ttl: Duration,
    pub(super) accept: Accept,
}

/// Where a password comes from.
#[derive(Debug, Clone)]
pub(super) enum PasswordSource {
    File(PathBuf),
    Vault(Vault),
    Command {
        words: Vec<String>,
        timeout: Duration,
    },
}

/// A secret in Vault.
#[derive(Debug, Clone)]
pub(super) struct Vault {
    pub(super) url: Url,
    pub(super) field: String,
    pub(super) token_file: PathBuf,
    pub(super) ca_file: Option<PathBuf>,
    pub(super) namespace: Option<String>,
}

/// Who may use a password of the agent's.
#[derive(Debug, Clone)]
pub enum Accept {
    /// A process with a verified identity.
    Identity,
    /// Whoever proves that it knows the placeholder.
    Placeholder(Arc<Placeholder>),
    /// Everybody.
    Anyone,
}

/// The password that an application still has, as a verifier.
#[derive(Debug)]
pub struct Placeholder(Verifier);

impl Placeholder {
    fn read(path: &Path) -> Result<Self, SecretFileError> {
        let secret = read_secret(path)?;
        let mut salt = [0; 16];
        // Without randomness the salt is a constant one, and the proof no weaker for a password that protects nothing.
        let _ = aws_lc_rs::rand::fill(&mut salt);
        let iterations = NonZeroU32::new(4096).unwrap_or(NonZeroU32::MIN);
        Ok(Self(Verifier::of_password(
            secret.expose(),
            &salt,
            iterations,
        )))
    }

    /// Its verifier.
    #[must_use]
    pub fn verifier(&self) -> Verifier {
        self.0.clone()
    }
}

impl VerifierSettings {
    /// Relative paths count from `folder`.
    pub fn anchor(&mut self, folder: &Path) {
        for path in [&mut self.file, &mut self.password_file]
            .into_iter()
            .flatten()
        {
            *path = folder.join(&*path);
        }
    }

    /// Checks them, and reads the password.
    ///
    /// # Errors
    ///
    /// [`LoginSettingsError`].
    pub fn source(&self) -> Result<VerifierSource, LoginSettingsError> {
        match (&self.file, &self.user) {
            (Some(file), None) if self.password_file.is_none() && self.function.is_none() => {
                Ok(VerifierSource::File(file.clone()))
            }
            (None, Some(user)) if !user.is_empty() => Ok(VerifierSource::Server {
                user: user.clone(),
                password: self.password_file.as_deref().map(read_secret).transpose()?,
                database: self
                    .database
                    .clone()
                    .unwrap_or_else(|| "postgres".to_owned()),
                query: self.query()?,
            }),
            _ => Err(LoginSettingsError::VerifierSource),
        }
    }

    /// Every name in it is qualified: a role's own `search_path` must not decide what is asked.
    fn query(&self) -> Result<String, LoginSettingsError> {
        let Some(function) = &self.function else {
            return Ok(FROM_AUTHID.to_owned());
        };
        let word = |word: &str| {
            !word.is_empty()
                && word
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        };
        match function.split_once('.') {
            Some((schema, name)) if word(schema) && word(name) => {
                Ok(format!("SELECT \"{schema}\".\"{name}\"($1)"))
            }
            _ => Err(LoginSettingsError::Function),
        }
    }
}

impl CredentialSettings {
    /// Relative paths count from `folder`.
    pub fn anchor(&mut self, folder: &Path) {
        let mut paths: Vec<&mut PathBuf> = Vec::new();
        paths.extend(&mut self.file);
        paths.extend(&mut self.placeholder_file);
        if let Some(vault) = &mut self.vault {
            paths.push(&mut vault.token_file);
            paths.extend(&mut vault.ca_file);
        }
        for path in paths {
            *path = folder.join(&*path);
        }
    }

    /// Checks all of one endpoint's.
    ///
    /// # Errors
    ///
    /// [`LoginSettingsError`].
    pub fn all(settings: &[Self]) -> Result<Vec<Credential>, LoginSettingsError> {
        let mut credentials: Vec<Credential> = Vec::new();
        for one in settings {
            if one.user.is_empty() {
                return Err(LoginSettingsError::NoUser);
            }
            let user = one.user.clone();
            if credentials.iter().any(|other| other.user == user) {
                return Err(LoginSettingsError::SameUser { user });
            }
            credentials.push(Credential {
                source: one.source()?,
                ttl: Duration::from_secs(one.ttl_seconds.unwrap_or(TTL_SECONDS)),
                accept: one.accept()?,
                user,
            });
        }
        Ok(credentials)
    }

    fn source(&self) -> Result<PasswordSource, LoginSettingsError> {
        let user = self.user.clone();
        match (&self.file, &self.vault, self.command.as_slice()) {
            (Some(file), None, []) => Ok(PasswordSource::File(file.clone())),
            (None, Some(vault), []) => vault.source(&user).map(PasswordSource::Vault),
            (None, None, [program, ..]) => {
                if !Path::new(program).is_absolute() {
                    return Err(LoginSettingsError::Command { user });
                }
                let seconds = self.timeout_seconds.unwrap_or(COMMAND_SECONDS);
                if !(1..=15).contains(&seconds) {
                    return Err(LoginSettingsError::Timeout { user });
                }
                Ok(PasswordSource::Command {
                    words: self.command.clone(),
                    timeout: Duration::from_secs(seconds),
                })
            }
            _ => Err(LoginSettingsError::Source { user }),
        }
    }

    fn accept(&self) -> Result<Accept, LoginSettingsError> {
        match (self.accept, &self.placeholder_file) {
            (AcceptSetting::Identity, None) => Ok(Accept::Identity),
            (AcceptSetting::Anyone, None) => Ok(Accept::Anyone),
            (AcceptSetting::Placeholder, Some(path)) => {
                Ok(Accept::Placeholder(Arc::new(Placeholder::read(path)?)))
            }
            _ => Err(LoginSettingsError::PlaceholderFile {
                user: self.user.clone(),
            }),
        }
    }
}

impl VaultSettings {
    fn source(&self, user: &str) -> Result<Vault, LoginSettingsError> {
        let incomplete = || LoginSettingsError::Vault {
            user: user.to_owned(),
        };
        if self.path.is_empty() || self.token_file.as_os_str().is_empty() {
            return Err(incomplete());
        }
        let mut url =
            fetch::address(&self.address).map_err(|source| LoginSettingsError::Address {
                user: user.to_owned(),
                source,
            })?;
        let mount = self.mount.as_deref().unwrap_or("secret");
        {
            let mut segments = url.path_segments_mut().map_err(|()| incomplete())?;
            segments.pop_if_empty().push("v1");
            segments.extend(mount.split('/').filter(|part| !part.is_empty()));
            segments.push("data");
            segments.extend(self.path.split('/').filter(|part| !part.is_empty()));
        }
        Ok(Vault {
            url,
            field: self.field.clone().unwrap_or_else(|| "password".to_owned()),
            token_file: self.token_file.clone(),
            ca_file: self.ca_file.clone(),
            namespace: self.namespace.clone(),
        })
    }
}

/// A role that may not log in, or whose password has run out, has no verifier. By the server's own clock.
const FROM_AUTHID: &str = "SELECT a.rolpassword FROM pg_catalog.pg_authid a \
    WHERE a.rolname OPERATOR(pg_catalog.=) $1::pg_catalog.text::pg_catalog.name AND a.rolcanlogin \
    AND (a.rolvaliduntil IS NULL OR a.rolvaliduntil OPERATOR(pg_catalog.>) pg_catalog.now())";

/// A password that was changed is fetched again as soon as the server refuses the old one; this is for one that was withdrawn.
const TTL_SECONDS: u64 = 300;
const COMMAND_SECONDS: u64 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn credential(text: &str) -> Result<Vec<Credential>, LoginSettingsError> {
        let one: CredentialSettings = toml::from_str(text).expect("a table");
        CredentialSettings::all(&[one])
    }

    #[test]
    fn a_credential_has_one_source() {
        assert!(credential("user = \"app\"\nfile = \"/x\"").is_ok());
        assert!(credential("user = \"app\"\ncommand = [\"/bin/get\", \"app\"]").is_ok());
        for wrong in [
            "file = \"/x\"",
            "user = \"app\"",
            "user = \"app\"\nfile = \"/x\"\ncommand = [\"/bin/get\"]",
            "user = \"app\"\ncommand = [\"get\"]",
            "user = \"app\"\ncommand = [\"/bin/get\"]\ntimeout_seconds = 0",
            "user = \"app\"\nfile = \"/x\"\naccept = \"placeholder\"",
            "user = \"app\"\nfile = \"/x\"\nplaceholder_file = \"/y\"",
            "user = \"app\"\n[vault]\naddress = \"http://vault.example\"\npath = \"p\"\ntoken_file = \"/t\"",
            "user = \"app\"\n[vault]\naddress = \"https://vault.example\"\ntoken_file = \"/t\"",
        ] {
            assert!(credential(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn vaults_address_is_built_of_its_parts() {
        let found = credential(
            "user = \"app\"\n[vault]\naddress = \"https://vault.example:8200/\"\nmount = \"kv/team\"\n\
             path = \"db/shop app\"\ntoken_file = \"/t\"",
        )
        .expect("valid");
        let PasswordSource::Vault(vault) = &found[0].source else {
            panic!("vault");
        };
        assert_eq!(
            vault.url.as_str(),
            "https://vault.example:8200/v1/kv/team/data/db/shop%20app"
        );
        assert_eq!(vault.field, "password");
    }

    #[test]
    fn verifiers_come_from_a_file_or_from_the_server() {
        let source = |text: &str| {
            let settings: VerifierSettings = toml::from_str(text).expect("a table");
            settings.source()
        };
        assert!(matches!(
            source("file = \"/x\""),
            Ok(VerifierSource::File(_))
        ));
        assert!(matches!(
            source("user = \"weir_auth\"\nfunction = \"weir.verifier\""),
            Ok(VerifierSource::Server { query, .. }) if query == "SELECT \"weir\".\"verifier\"($1)"
        ));
        for wrong in [
            "",
            "file = \"/x\"\nuser = \"u\"",
            "user = \"u\"\nfunction = \"verifier\"",
            "user = \"u\"\nfunction = \"a.b; drop table c\"",
            "user = \"u\"\nfunction = \"a.b\\\"(1)\"",
        ] {
            assert!(source(wrong).is_err(), "{wrong}");
        }
    }
}
