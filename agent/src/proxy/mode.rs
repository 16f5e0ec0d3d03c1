//! How log-ins pass between a client's leg and the server's: chosen for each endpoint by what the operator gave it.
//!
//! A SCRAM log-in can be bound to the certificate that the client sees. One that weir makes is not the server's, so a bound
//! log-in passes only where weir takes part in it, or shows the server's own certificate.

use serde::{Deserialize, Serialize};

/// The `mode` of an endpoint, as configured. The letters are short for the words.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ModeSetting {
    /// By what the endpoint has.
    #[default]
    Auto,
    /// See [`Mode::Plaintext`].
    #[serde(alias = "P")]
    Plaintext,
    /// See [`Mode::Verifier`].
    #[serde(alias = "V")]
    Verifier,
    /// See [`Mode::ServerCertificate`].
    #[serde(alias = "K")]
    ServerCertificate,
    /// See [`Mode::Inject`].
    #[serde(alias = "I")]
    Inject,
    /// See [`Mode::Opaque`].
    #[serde(alias = "O")]
    Opaque,
}

/// How log-ins pass.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// P: the client's leg, which never leaves the host, is in clear; log-ins are relayed, without channel binding.
    #[default]
    Plaintext,
    /// V: the agent checks the client by the server's verifier and logs it in with the key that its proof reveals.
    Verifier,
    /// K: the agent shows the server's own certificate, so log-ins bound to it are relayed.
    ServerCertificate,
    /// I: the agent logs in with a password that the client does not have.
    Inject,
    /// O: what the client encrypts is relayed unread.
    Opaque,
}

/// What an endpoint has, for choosing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Has {
    /// `[endpoint.verifiers]`.
    pub verifiers: bool,
    /// `server_certificate` and `server_key`.
    pub server_certificate: bool,
    /// `[[endpoint.credential]]`.
    pub credentials: bool,
}

/// Why a mode cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ModeError {
    /// It needs something.
    #[error("mode = {mode:?} needs {what}")]
    Needs {
        /// The mode.
        mode: &'static str,
        /// What is missing.
        what: &'static str,
    },
    /// Something would be ignored, which may not be what was meant.
    #[error("{what} has no use in mode = {mode:?}")]
    Unused {
        /// The mode.
        mode: &'static str,
        /// What is too much.
        what: &'static str,
    },
}

impl Mode {
    /// As it is configured.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plaintext => "plaintext",
            Self::Verifier => "verifier",
            Self::ServerCertificate => "server-certificate",
            Self::Inject => "inject",
            Self::Opaque => "opaque",
        }
    }

    /// Chooses, and says why.
    ///
    /// # Errors
    ///
    /// [`ModeError`] when the setting and what the endpoint has contradict each other.
    pub fn choose(setting: ModeSetting, has: Has) -> Result<(Self, &'static str), ModeError> {
        let mode = match setting {
            ModeSetting::Auto if has.credentials => Self::Inject,
            ModeSetting::Auto if has.server_certificate => Self::ServerCertificate,
            ModeSetting::Auto if has.verifiers => Self::Verifier,
            ModeSetting::Auto | ModeSetting::Plaintext => Self::Plaintext,
            ModeSetting::Verifier => Self::Verifier,
            ModeSetting::ServerCertificate => Self::ServerCertificate,
            ModeSetting::Inject => Self::Inject,
            ModeSetting::Opaque => Self::Opaque,
        };
        for (present, user, what) in [
            (has.verifiers, Self::Verifier, "[endpoint.verifiers]"),
            (
                has.server_certificate,
                Self::ServerCertificate,
                "server_certificate (with server_key)",
            ),
            (has.credentials, Self::Inject, "[[endpoint.credential]]"),
        ] {
            let (mode_name, wanted) = (mode.name(), mode == user);
            if wanted && !present {
                return Err(ModeError::Needs {
                    mode: mode_name,
                    what,
                });
            }
            if present && !wanted {
                return Err(ModeError::Unused {
                    mode: mode_name,
                    what,
                });
            }
        }
        let why = match (setting, mode) {
            (ModeSetting::Auto, Self::Inject) => "chosen: it has [[endpoint.credential]]",
            (ModeSetting::Auto, Self::ServerCertificate) => "chosen: it has server_certificate",
            (ModeSetting::Auto, Self::Verifier) => "chosen: it has [endpoint.verifiers]",
            (ModeSetting::Auto, _) => {
                "chosen: it has neither verifiers, nor the server's certificate, nor credentials"
            }
            _ => "as configured",
        };
        Ok((mode, why))
    }

    /// What clients get in this mode, and what they do not.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Plaintext => {
                "clients are told that there is no TLS on their leg, which stays on this host; \
                 those that insist on it (sslmode=require, verify-*, channel_binding=require) are not served"
            }
            Self::Verifier => {
                "clients speak TLS with a certificate of weir's; SCRAM works with and without channel binding"
            }
            Self::ServerCertificate => {
                "clients speak TLS with the server's own certificate; everything but client certificates works"
            }
            Self::Inject => {
                "weir logs in with a password of its own; clients speak TLS with a certificate of weir's"
            }
            Self::Opaque => {
                "what clients encrypt passes unread: rules about statements cannot hold, so it is refused where there are any"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mode_follows_from_what_the_endpoint_has() {
        let chosen = |has| Mode::choose(ModeSetting::Auto, has).map(|(mode, _)| mode);
        assert_eq!(chosen(Has::default()), Ok(Mode::Plaintext));
        let verifiers = Has {
            verifiers: true,
            ..Has::default()
        };
        assert_eq!(chosen(verifiers), Ok(Mode::Verifier));
        let certificate = Has {
            server_certificate: true,
            ..Has::default()
        };
        assert_eq!(chosen(certificate), Ok(Mode::ServerCertificate));
        let credentials = Has {
            credentials: true,
            ..Has::default()
        };
        assert_eq!(chosen(credentials), Ok(Mode::Inject));
    }

    #[test]
    fn nothing_is_missing_and_nothing_is_ignored() {
        let none = Has::default();
        for setting in [
            ModeSetting::Verifier,
            ModeSetting::ServerCertificate,
            ModeSetting::Inject,
        ] {
            assert!(matches!(
                Mode::choose(setting, none),
                Err(ModeError::Needs { .. })
            ));
        }
        let both = Has {
            verifiers: true,
            credentials: true,
            ..none
        };
        assert!(matches!(
            Mode::choose(ModeSetting::Auto, both),
            Err(ModeError::Unused { .. })
        ));
        assert!(Mode::choose(ModeSetting::Opaque, none).is_ok());
    }

    #[test]
    fn letters_stand_for_words() {
        #[derive(Deserialize)]
        struct Table {
            mode: ModeSetting,
        }
        for (text, mode) in [
            ("P", ModeSetting::Plaintext),
            ("plaintext", ModeSetting::Plaintext),
            ("V", ModeSetting::Verifier),
            ("K", ModeSetting::ServerCertificate),
            ("server-certificate", ModeSetting::ServerCertificate),
            ("I", ModeSetting::Inject),
            ("O", ModeSetting::Opaque),
            ("auto", ModeSetting::Auto),
        ] {
            let table: Table = toml::from_str(&format!("mode = {text:?}")).expect("a mode");
            assert_eq!(table.mode, mode);
        }
    }
}
