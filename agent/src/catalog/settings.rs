//! How the agent logs in to read catalogs: a role of its own, which needs to read no table.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;

/// The `[endpoint.catalog]` section.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CatalogSettings {
    /// The role.
    pub user: String,
    /// A file with its password; without one the server must ask for none.
    pub password_file: Option<PathBuf>,
    /// How often a database is looked at while sessions are on it, for changes made behind weir's back; seconds.
    pub poll_seconds: Option<u64>,
}

/// Why they cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CatalogSettingsError {
    /// Whom to log in as.
    #[error("[endpoint.catalog] names no user")]
    NoUser,
    /// Sessions would wait for looks that never come.
    #[error("[endpoint.catalog] poll_seconds must be at least 1")]
    NoPause,
    /// The password.
    #[error("cannot read the password from {}", path.display())]
    Password {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// What a side connection logs in with.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The role.
    pub user: String,
    /// Its password.
    pub password: Option<String>,
    /// The time between looks.
    pub poll: Duration,
}

impl CatalogSettings {
    /// Relative paths count from `folder`.
    pub fn anchor(&mut self, folder: &Path) {
        if let Some(path) = &mut self.password_file {
            *path = folder.join(&*path);
        }
    }

    /// Reads the password.
    ///
    /// # Errors
    ///
    /// [`CatalogSettingsError`].
    pub fn credentials(&self) -> Result<Credentials, CatalogSettingsError> {
        if self.user.is_empty() {
            return Err(CatalogSettingsError::NoUser);
        }
        let poll = self.poll_seconds.unwrap_or(POLL_SECONDS);
        if poll == 0 {
            return Err(CatalogSettingsError::NoPause);
        }
        let password = self
            .password_file
            .as_ref()
            .map(|path| {
                fs::read_to_string(path)
                    .map(|text| text.trim_end_matches(['\r', '\n']).to_owned())
                    .map_err(|source| CatalogSettingsError::Password {
                        path: path.clone(),
                        source,
                    })
            })
            .transpose()?;
        Ok(Credentials {
            user: self.user.clone(),
            password,
            poll: Duration::from_secs(poll),
        })
    }
}

impl std::fmt::Debug for Credentials {
    /// Without the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials")
            .field("user", &self.user)
            .field("poll", &self.poll)
            .finish_non_exhaustive()
    }
}

/// A look costs the server about a millisecond; a change behind weir's back stays unseen for as long at most.
const POLL_SECONDS: u64 = 5;
