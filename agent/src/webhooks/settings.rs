//! `[[webhook]]`: where statements that wait for an approval are announced.

use std::path::{Path, PathBuf};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::Url;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize as _, Zeroizing};

use crate::{
    identity::Secret,
    logins::{SecretFileError, read_secret},
    names::{self, NameError},
    net::http::{ClientError, is_loopback},
};

/// One `[[webhook]]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookSettings {
    /// For `weir status`, metrics and logs; letters, digits, `-` and `_`.
    pub name: String,
    /// `https://…`.
    #[serde(default)]
    pub url: Option<String>,
    /// A file with the URL, where it is a secret, as Slack's are.
    #[serde(default)]
    pub url_file: Option<PathBuf>,
    /// A file with the key that messages are signed with: `whsec_` and 24 to 64 bytes in base64.
    pub secret_file: PathBuf,
    /// What it is sent.
    #[serde(default)]
    pub form: Form,
    /// What it is told of; everything when absent.
    #[serde(default = "everything")]
    pub on: Vec<Occasion>,
    /// A PEM file with the certificate authorities that it is trusted by; default: the system's.
    #[serde(default)]
    pub ca: Option<PathBuf>,
}

/// How a message is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// Slack's `text` and `blocks`, which Mattermost and others take too.
    #[default]
    Slack,
    /// `type`, `timestamp` and `data`, for programs.
    Json,
}

/// What a hook may be told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Occasion {
    /// A statement waits.
    Requested,
    /// Somebody has decided.
    Decided,
    /// It no longer waits, and nobody has decided.
    Ended,
}

/// Why a hook cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WebhookSettingsError {
    /// Its name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Both, or none.
    #[error("set either url or url_file")]
    OneUrl,
    /// It would never be told anything.
    #[error("on is empty: name some of requested, decided, ended, or leave it out")]
    Nothing,
    /// Not an address. It is not repeated: it may be a secret.
    #[error("its address has to be https://…; http is for loopback only")]
    Address,
    /// A file that holds the URL or the key.
    #[error(transparent)]
    File(#[from] SecretFileError),
    /// The key cannot be used.
    #[error(
        "{} has to hold whsec_ and 24 to 64 bytes in base64: printf 'whsec_%s' \"$(openssl rand -base64 32)\"",
        path.display()
    )]
    Key {
        /// Where it is.
        path: PathBuf,
    },
    /// Certificates.
    #[error(transparent)]
    Client(#[from] ClientError),
}

impl WebhookSettings {
    /// Relative paths count from `folder`.
    pub fn anchor(&mut self, folder: &Path) {
        let paths = [self.url_file.as_mut(), self.ca.as_mut()];
        for path in paths.into_iter().flatten().chain([&mut self.secret_file]) {
            *path = folder.join(&*path);
        }
    }

    /// Checks what can be checked without opening a file.
    ///
    /// # Errors
    ///
    /// The first hook that cannot be used, by its name.
    pub fn check(all: &[Self]) -> Result<(), (String, WebhookSettingsError)> {
        names::check_all(all, |hook| &hook.name, Self::check_one)
    }

    fn check_one(&self) -> Result<(), WebhookSettingsError> {
        if self.on.is_empty() {
            return Err(WebhookSettingsError::Nothing);
        }
        match (&self.url, &self.url_file) {
            (Some(url), None) => read_url(url).map(drop),
            (None, Some(_)) => Ok(()),
            _ => Err(WebhookSettingsError::OneUrl),
        }
    }

    /// Where it is.
    pub(super) fn address(&self) -> Result<Url, WebhookSettingsError> {
        match (&self.url, &self.url_file) {
            (Some(url), None) => read_url(url),
            (None, Some(path)) => read_url(read_secret(path)?.expose()),
            _ => Err(WebhookSettingsError::OneUrl),
        }
    }

    /// What messages are signed with.
    pub(super) fn key(&self) -> Result<Zeroizing<Vec<u8>>, WebhookSettingsError> {
        let secret = read_secret(&self.secret_file)?;
        decode(&secret).ok_or_else(|| WebhookSettingsError::Key {
            path: self.secret_file.clone(),
        })
    }
}

fn decode(secret: &Secret) -> Option<Zeroizing<Vec<u8>>> {
    let text = secret.expose().strip_prefix("whsec_")?;
    let mut key = STANDARD.decode(text).ok()?;
    if (24..=64).contains(&key.len()) {
        Some(Zeroizing::new(key))
    } else {
        key.zeroize();
        None
    }
}

fn read_url(text: &str) -> Result<Url, WebhookSettingsError> {
    let url = Url::parse(text).map_err(|_| WebhookSettingsError::Address)?;
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_loopback(&url) => Ok(url),
        _ => Err(WebhookSettingsError::Address),
    }
}

fn everything() -> Vec<Occasion> {
    vec![Occasion::Requested, Occasion::Decided, Occasion::Ended]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hook(text: &str) -> WebhookSettings {
        toml::from_str(&format!("secret_file = \"key\"\n{text}")).expect("TOML")
    }

    #[test]
    fn what_can_be_used_is_taken() {
        for text in [
            "name = \"ops\"\nurl = \"https://hooks.example/T0/B0\"",
            "name = \"ops\"\nurl = \"http://127.0.0.1:9/x\"\nform = \"json\"",
            "name = \"ops\"\nurl_file = \"url\"\non = [\"requested\"]",
        ] {
            assert!(WebhookSettings::check(&[hook(text)]).is_ok(), "{text}");
        }
    }

    #[test]
    fn the_rest_is_refused_without_repeating_the_address() {
        for text in [
            "name = \"a b\"\nurl = \"https://h\"",
            "name = \"ops\"",
            "name = \"ops\"\nurl = \"https://h\"\nurl_file = \"url\"",
            "name = \"ops\"\nurl = \"http://hooks.example/secret\"",
            "name = \"ops\"\nurl = \"ftp://hooks.example/secret\"",
            "name = \"ops\"\nurl = \"https://h\"\non = []",
        ] {
            let (_, error) = WebhookSettings::check(&[hook(text)]).expect_err(text);
            assert!(!error.to_string().contains("secret"), "{error}");
        }
        let twice = hook("name = \"ops\"\nurl = \"https://h\"");
        assert!(WebhookSettings::check(&[twice.clone(), twice]).is_err());
    }

    #[test]
    fn keys_are_of_the_right_length() {
        let length = |text: &str| decode(&Secret::new(text.to_owned())).map(|key| key.len());
        assert_eq!(
            length(&format!("whsec_{}", STANDARD.encode([7; 32]))),
            Some(32)
        );
        assert_eq!(length(&format!("whsec_{}", STANDARD.encode([7; 23]))), None);
        assert_eq!(length(&format!("whsec_{}", STANDARD.encode([7; 65]))), None);
        assert_eq!(length(&STANDARD.encode([7; 32])), None);
        assert_eq!(length("whsec_?"), None);
    }
}
