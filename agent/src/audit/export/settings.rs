//! `[[export]]`: where records go, and in which form.

use std::path::PathBuf;

use reqwest::Url;
use rustls::pki_types::ServerName;
use serde::{Deserialize, Serialize};

use crate::{
    names::{self, NameError},
    net::http::{ClientError, is_loopback},
    tls::ServiceTlsError,
};

/// What a sink is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// OCSF Datastore Activity (6005), a JSON object a line: to a file or by HTTP.
    Ocsf,
    /// OpenTelemetry logs as JSON, by HTTP.
    Otlp,
    /// OpenTelemetry spans as JSON, by HTTP: a span for each statement, session and wait for an approval.
    OtlpTraces,
    /// RFC 5424: to a file, by TLS (RFC 5425), TCP (RFC 6587, octets counted), a unix datagram socket or UDP.
    Syslog,
}

/// One `[[export]]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExportSettings {
    /// For the cursor and `weir status`; letters, digits, `-` and `_`.
    pub name: String,
    /// What it is sent.
    pub form: Form,
    /// `file:///path`, `https://…`, `tls://host:port`, `tcp://host:port`, `unix:///path` or `udp://host:port`.
    pub to: String,
    /// A file with the token for `Authorization: Bearer`.
    #[serde(default)]
    pub token_file: Option<PathBuf>,
    /// A PEM file with the certificate authorities that an `https` or `tls` sink is trusted by; default: the system's.
    #[serde(default)]
    pub ca: Option<PathBuf>,
}

/// Why a sink cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum ExportSettingsError {
    /// The name is its cursor's.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Not an address.
    #[error(
        "{to:?} is no address: write file:///path, https://…, tls://host:port, tcp://host:port, unix:///path or udp://host:port"
    )]
    Address {
        /// As written.
        to: String,
    },
    /// The form does not go there.
    #[error("{form} does not go to {scheme}://")]
    Pair {
        /// The form.
        form: &'static str,
        /// The address's scheme.
        scheme: String,
    },
    /// Records in clear on the network.
    #[error("{to:?} would send records in clear over the network; http is for loopback only")]
    Clear {
        /// As written.
        to: String,
    },
    /// The certificates, or the HTTP client.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// TLS for syslog.
    #[error(transparent)]
    Tls(#[from] ServiceTlsError),
    /// Its certificate has to name it.
    #[error("{host:?} is no name of a host that a certificate could be for")]
    HostName {
        /// As written.
        host: String,
    },
    /// A collector would be trusted by nobody.
    #[error("ca is for https:// and tls://; {to:?} would not look at it")]
    UselessAuthority {
        /// As written.
        to: String,
    },
}

/// Where a sink is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    File(PathBuf),
    Http(Url),
    Tls {
        address: String,
        name: ServerName<'static>,
    },
    Tcp(String),
    Unix(PathBuf),
    Udp(String),
}

impl ExportSettings {
    /// Checks what can be checked without reaching the sink.
    ///
    /// # Errors
    ///
    /// [`ExportSettingsError`].
    pub(super) fn target(&self) -> Result<Target, ExportSettingsError> {
        names::check(&self.name)?;
        let wrong = || ExportSettingsError::Address {
            to: self.to.clone(),
        };
        let url = Url::parse(&self.to).map_err(|_| wrong())?;
        let path = || {
            let path = PathBuf::from(url.path());
            (path.is_absolute() && url.host_str().is_none_or(str::is_empty) && url.path().len() > 1)
                .then_some(path)
                .ok_or_else(wrong)
        };
        let address = || match (url.host_str(), url.port()) {
            (Some(host), Some(port)) if !host.is_empty() => Ok(format!("{host}:{port}")),
            _ => Err(wrong()),
        };
        if self.ca.is_some() && !matches!(url.scheme(), "https" | "tls") {
            return Err(ExportSettingsError::UselessAuthority {
                to: self.to.clone(),
            });
        }
        let pair = |form| ExportSettingsError::Pair {
            form,
            scheme: url.scheme().to_owned(),
        };
        Ok(match (self.form, url.scheme()) {
            (Form::Ocsf | Form::Syslog, "file") => Target::File(path()?),
            (Form::Ocsf | Form::Otlp | Form::OtlpTraces, "https") => Target::Http(url),
            (Form::Ocsf | Form::Otlp | Form::OtlpTraces, "http") if is_loopback(&url) => {
                Target::Http(url)
            }
            (Form::Ocsf | Form::Otlp | Form::OtlpTraces, "http") => {
                return Err(ExportSettingsError::Clear {
                    to: self.to.clone(),
                });
            }
            (Form::Syslog, "tls") => Target::Tls {
                address: address()?,
                name: server_name(&url)?,
            },
            (Form::Syslog, "tcp") => Target::Tcp(address()?),
            (Form::Syslog, "udp") => Target::Udp(address()?),
            (Form::Syslog, "unix") => Target::Unix(path()?),
            (Form::Ocsf, _) => return Err(pair("ocsf")),
            (Form::Otlp, _) => return Err(pair("otlp")),
            (Form::OtlpTraces, _) => return Err(pair("otlp-traces")),
            (Form::Syslog, _) => return Err(pair("syslog")),
        })
    }

    /// Checks all sinks together.
    ///
    /// # Errors
    ///
    /// The first that cannot be set up, by its name.
    pub fn check(all: &[Self]) -> Result<(), (String, ExportSettingsError)> {
        let check = |export: &Self| export.target().map(drop);
        names::check_all(all, |export| &export.name, check)
    }
}

/// What the certificate of the host in a URL has to name.
fn server_name(url: &Url) -> Result<ServerName<'static>, ExportSettingsError> {
    let host = url.host_str().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    ServerName::try_from(bare.to_owned()).map_err(|_| ExportSettingsError::HostName {
        host: host.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn export(form: Form, to: &str) -> ExportSettings {
        ExportSettings {
            name: "siem".to_owned(),
            form,
            to: to.to_owned(),
            token_file: None,
            ca: None,
        }
    }

    #[test]
    fn addresses_and_forms_that_fit_are_taken() {
        for (form, to) in [
            (Form::Ocsf, "file:///var/log/weir.jsonl"),
            (Form::Ocsf, "https://siem.example/in"),
            (Form::Otlp, "http://127.0.0.1:4318/v1/logs"),
            (Form::Otlp, "http://[::1]:4318/v1/logs"),
            (Form::OtlpTraces, "https://collector.example/v1/traces"),
            (Form::Syslog, "tcp://logs.example:601"),
            (Form::Syslog, "tls://logs.example:6514"),
            (Form::Syslog, "tls://[::1]:6514"),
            (Form::Syslog, "unix:///dev/log"),
            (Form::Syslog, "udp://10.0.0.1:514"),
        ] {
            assert!(export(form, to).target().is_ok(), "{to}");
        }
    }

    #[test]
    fn others_are_refused() {
        for (form, to) in [
            (Form::Ocsf, "/var/log/weir.jsonl"),
            (Form::Ocsf, "file://relative"),
            (Form::Ocsf, "tcp://logs.example:601"),
            (Form::Otlp, "http://collector.example:4318/v1/logs"),
            (Form::Otlp, "file:///x"),
            (Form::OtlpTraces, "http://collector.example:4318/v1/traces"),
            (Form::OtlpTraces, "tcp://collector.example:4317"),
            (Form::Syslog, "tcp://logs.example"),
            (Form::Syslog, "tls://logs.example"),
            (Form::Ocsf, "tls://logs.example:6514"),
            (Form::Syslog, "https://logs.example"),
        ] {
            assert!(export(form, to).target().is_err(), "{to}");
        }
        let mut clear = export(Form::Syslog, "tcp://logs.example:601");
        clear.ca = Some("ca.pem".into());
        assert!(clear.target().is_err(), "nobody would look at ca");
        let twice = [
            export(Form::Ocsf, "file:///a"),
            export(Form::Ocsf, "file:///b"),
        ];
        assert!(ExportSettings::check(&twice).is_err());
    }
}
