//! Clients that weir is at issuers for services and agents: each authenticates by an assertion signed with its own key.

use std::{io, os::unix::fs::MetadataExt, path::Path};

use super::{
    issuers::Issuers,
    oidc::{self, Client, ClientError, GrantError},
    secret::Secret,
    settings::ClientSettings,
    token::TOKEN_BYTES,
};

/// Why a token could not be had.
#[derive(Debug, thiserror::Error)]
pub enum OauthError {
    /// A field is missing.
    #[error("{field} is missing")]
    Missing {
        /// Which field.
        field: &'static str,
    },
    /// The private key's file.
    #[error("cannot use the key {}", path.display())]
    Key {
        /// Where.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The private key.
    #[error("cannot use the client's key")]
    Client(#[from] ClientError),
    /// No such `[[issuer]]`.
    #[error("no [[issuer]] {issuer:?} is configured")]
    UnknownIssuer {
        /// As configured.
        issuer: String,
    },
    /// It gave none.
    #[error("the issuer gives none")]
    Grant(#[from] GrantError),
    /// It answered, and that was no token.
    #[error("the issuer's answer holds no token")]
    NoToken,
}

/// A client of one issuer.
#[derive(Debug, Clone)]
pub struct OauthClient {
    settings: ClientSettings,
}

/// What a token endpoint gave.
#[derive(Debug)]
pub struct Granted {
    /// The token.
    pub token: Secret,
    /// Of which type, where that was asked (RFC 8693).
    pub issued_type: Option<String>,
}

impl OauthClient {
    /// Checks the settings; the key must be there, and nobody else's.
    ///
    /// # Errors
    ///
    /// [`OauthError`] for what is missing or no key.
    pub fn parse(settings: &ClientSettings) -> Result<Self, OauthError> {
        for (field, is_missing) in [
            ("issuer", settings.issuer.is_empty()),
            ("client_id", settings.client_id.is_empty()),
            ("key_file", settings.key_file.as_os_str().is_empty()),
        ] {
            if is_missing {
                return Err(OauthError::Missing { field });
            }
        }
        let client = Self {
            settings: settings.clone(),
        };
        client.open()?;
        Ok(client)
    }

    /// Where it is registered.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.settings.issuer
    }

    /// Its id there.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.settings.client_id
    }

    /// A token for the client itself (`client_credentials`).
    ///
    /// # Errors
    ///
    /// [`OauthError`] when the issuer gives none.
    pub async fn token(&self, issuers: &Issuers) -> Result<Secret, OauthError> {
        let mut form = vec![("grant_type", "client_credentials")];
        form.extend(self.settings.scope.as_deref().map(|it| ("scope", it)));
        form.extend(self.settings.resource.as_deref().map(|it| ("resource", it)));
        Ok(self.ask(issuers, &form).await?.token)
    }

    /// Asks the token endpoint, with the client's own authentication added to the form.
    ///
    /// # Errors
    ///
    /// [`OauthError`] when the issuer gives nothing.
    pub async fn ask(
        &self,
        issuers: &Issuers,
        form: &[(&str, &str)],
    ) -> Result<Granted, OauthError> {
        let issuer = issuers
            .named(self.issuer())
            .ok_or_else(|| OauthError::UnknownIssuer {
                issuer: self.issuer().to_owned(),
            })?;
        let tokens = issuer.provider().token(&self.open()?, form).await?;
        match tokens.access_token {
            Some(token) if token.expose().len() <= TOKEN_BYTES => Ok(Granted {
                token,
                issued_type: tokens.issued_token_type,
            }),
            _ => Err(OauthError::NoToken),
        }
    }

    /// The key is read again each time: keys are rotated, and weir holds one no longer than it needs it.
    fn open(&self) -> Result<Client, OauthError> {
        let path = &self.settings.key_file;
        check_owner(path).map_err(|source| OauthError::Key {
            path: path.clone(),
            source,
        })?;
        Ok(Client::open(&oidc::ClientSettings {
            id: self.settings.client_id.clone(),
            secret_file: None,
            key_file: Some(path.clone()),
            key_id: self.settings.key_id.clone(),
        })?)
    }
}

/// Whether nobody but root, or the agent's own user, can read or change a file.
fn check_owner(path: &Path) -> io::Result<()> {
    let data = std::fs::metadata(path)?;
    let mode = data.mode() & 0o7777;
    if mode & 0o077 != 0 {
        let what = format!("others than its owner may use it (mode {mode:o}): chmod 600");
        return Err(io::Error::other(what));
    }
    if data.uid() != 0 && data.uid() != nix::unistd::geteuid().as_raw() {
        let what = format!(
            "it belongs to user {}, neither root nor the agent's",
            data.uid()
        );
        return Err(io::Error::other(what));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        let missing = OauthClient::parse(&ClientSettings {
            issuer: "https://i".to_owned(),
            ..ClientSettings::default()
        });
        assert!(matches!(
            missing,
            Err(OauthError::Missing { field: "client_id" })
        ));
    }

    #[test]
    fn a_key_that_others_may_read_is_refused() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let allow = |mode| {
            std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode))
                .expect("a mode");
        };
        allow(0o640);
        let refused = check_owner(file.path()).expect_err("a key for all");
        assert!(refused.to_string().contains("mode 640"), "{refused}");
        allow(0o600);
        assert!(check_owner(file.path()).is_ok());
    }
}
