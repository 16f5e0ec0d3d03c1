//! `[admin]`: where the web page is served, and whose groups have which role.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use reqwest::Url;
use serde::Deserialize;

use super::access::{Role, RoleSet};
use crate::identity::IssuerSettings;

/// `[admin]`, as the operator writes it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdminSettings {
    /// The unix socket.
    pub socket: PathBuf,
    /// Where TLS is served; nowhere when absent.
    pub listen: Option<SocketAddr>,
    /// The certificate and those it is signed by (PEM); one of the host's own CA when absent.
    pub tls_cert: Option<PathBuf>,
    /// Its key.
    pub tls_key: Option<PathBuf>,
    /// The `[[issuer]]` at which people log in; the only one with a `client_id` when absent.
    pub issuer: Option<String>,
    /// The address that browsers use; `https://` and `listen` when absent.
    pub public_url: Option<String>,
    /// Which groups have which role.
    pub roles: RoleSettings,
    /// A file with the bearer token for `/metrics`.
    pub metrics_token_file: Option<PathBuf>,
}

impl Default for AdminSettings {
    fn default() -> Self {
        Self {
            socket: "/run/weir/web.sock".into(),
            listen: None,
            tls_cert: None,
            tls_key: None,
            issuer: None,
            public_url: None,
            roles: RoleSettings::default(),
            metrics_token_file: None,
        }
    }
}

/// Groups, as the provider names them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RoleSettings {
    /// See what runs, usage, policy and the chain's state.
    pub viewer: Vec<String>,
    /// And decide about statements that wait, where a rule names them.
    pub approver: Vec<String>,
    /// And read reports, explain records, verify the chain.
    pub auditor: Vec<String>,
    /// All of it, and end sessions.
    pub admin: Vec<String>,
}

/// Why `[admin]` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AdminSettingsError {
    /// Nobody could log in.
    #[error(
        "listen needs an [[issuer]] at which people log in: add client_id to one, or leave listen out and use the socket"
    )]
    NoIssuer,
    /// Which one?
    #[error("people log in at several issuers: set issuer to one of {}", issuers.join(", "))]
    ManyIssuers {
        /// Those with a client.
        issuers: Vec<String>,
    },
    /// Not one of those.
    #[error("nobody can log in at the issuer {issuer:?}: name an [[issuer]] that has a client_id")]
    UnknownIssuer {
        /// As configured.
        issuer: String,
    },
    /// Nobody could see anything.
    #[error(
        "listen needs groups with a role: add roles = {{ admin = [\"…\"] }} with groups as the provider names them"
    )]
    NoRoles,
    /// One file without the other.
    #[error("tls_cert and tls_key go together")]
    HalfAPair,
    /// Browsers have to be told an address.
    #[error("listen = {listen:?} is no address for browsers: set public_url to \"https://NAME\"")]
    NoPublicUrl {
        /// As configured.
        listen: SocketAddr,
    },
    /// Not an address of a site.
    #[error(
        "public_url = {url:?} has to be https:// with a name and perhaps a port, and nothing behind it"
    )]
    PublicUrl {
        /// As configured.
        url: String,
    },
    /// Set, and of no use.
    #[error("{field} is for TLS: set listen too, or leave it out")]
    WithoutListen {
        /// Which.
        field: &'static str,
    },
}

/// Where browsers go, and where they log in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// Where it listens.
    pub listen: SocketAddr,
    /// `https://name:port`, without a slash.
    pub origin: String,
    /// Name and port, as the header `Host` has them.
    pub host: String,
    /// The name alone, for a certificate.
    pub name: String,
    /// At whom people log in.
    pub issuer: String,
}

impl AdminSettings {
    /// Relative paths count from `folder`.
    pub fn anchor(&mut self, folder: &Path) {
        self.socket = folder.join(&self.socket);
        for path in [
            &mut self.tls_cert,
            &mut self.tls_key,
            &mut self.metrics_token_file,
        ]
        .into_iter()
        .flatten()
        {
            *path = folder.join(&*path);
        }
    }

    /// What is served by TLS; `None` when nothing is.
    ///
    /// # Errors
    ///
    /// [`AdminSettingsError`] when it cannot be, as configured.
    pub fn site(&self, issuers: &[IssuerSettings]) -> Result<Option<Site>, AdminSettingsError> {
        let Some(listen) = self.listen else {
            return self.check_alone();
        };
        if self.tls_cert.is_some() != self.tls_key.is_some() {
            return Err(AdminSettingsError::HalfAPair);
        }
        if self.roles.is_empty() {
            return Err(AdminSettingsError::NoRoles);
        }
        let text = match &self.public_url {
            Some(url) => url.clone(),
            None if listen.ip().is_unspecified() || listen.port() == 0 => {
                return Err(AdminSettingsError::NoPublicUrl { listen });
            }
            None => format!("https://{listen}"),
        };
        let (origin, host, name) =
            read_origin(&text).ok_or(AdminSettingsError::PublicUrl { url: text })?;
        Ok(Some(Site {
            listen,
            origin,
            host,
            name,
            issuer: self.choose(issuers)?,
        }))
    }

    /// Without TLS nothing of it may be set: somebody would believe that it is served.
    fn check_alone(&self) -> Result<Option<Site>, AdminSettingsError> {
        let set = [
            ("tls_cert", self.tls_cert.is_some()),
            ("tls_key", self.tls_key.is_some()),
            ("issuer", self.issuer.is_some()),
            ("public_url", self.public_url.is_some()),
        ];
        match set.into_iter().find(|(_, is_set)| *is_set) {
            Some((field, _)) => Err(AdminSettingsError::WithoutListen { field }),
            None => Ok(None),
        }
    }

    fn choose(&self, issuers: &[IssuerSettings]) -> Result<String, AdminSettingsError> {
        let able: Vec<String> = issuers
            .iter()
            .filter(|issuer| issuer.client_id.is_some())
            .map(|issuer| issuer.issuer.clone())
            .collect();
        match (&self.issuer, able.as_slice()) {
            (Some(issuer), able) if able.contains(issuer) => Ok(issuer.clone()),
            (Some(issuer), _) => Err(AdminSettingsError::UnknownIssuer {
                issuer: issuer.clone(),
            }),
            (None, [only]) => Ok(only.clone()),
            (None, []) => Err(AdminSettingsError::NoIssuer),
            (None, _) => Err(AdminSettingsError::ManyIssuers { issuers: able }),
        }
    }
}

impl RoleSettings {
    fn is_empty(&self) -> bool {
        self.all().iter().all(|(_, groups)| groups.is_empty())
    }

    fn all(&self) -> [(Role, &[String]); 4] {
        [
            (Role::Viewer, &self.viewer),
            (Role::Approver, &self.approver),
            (Role::Auditor, &self.auditor),
            (Role::Admin, &self.admin),
        ]
    }

    /// The roles of somebody in these groups.
    pub(super) fn of(&self, groups: &[String]) -> RoleSet {
        self.all()
            .into_iter()
            .filter(|(_, named)| named.iter().any(|group| groups.contains(group)))
            .map(|(role, _)| role)
            .collect()
    }
}

fn read_origin(text: &str) -> Option<(String, String, String)> {
    let url = Url::parse(text).ok()?;
    let plain = url.scheme() == "https"
        && url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    let name = url.host_str().filter(|_| plain)?.to_owned();
    let host = match url.port() {
        Some(port) => format!("{name}:{port}"),
        None => name.clone(),
    };
    Some((format!("https://{host}"), host, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issuer(name: &str, client: Option<&str>) -> IssuerSettings {
        IssuerSettings {
            issuer: name.to_owned(),
            client_id: client.map(str::to_owned),
            ..IssuerSettings::default()
        }
    }

    fn site(text: &str, issuers: &[IssuerSettings]) -> Result<Option<Site>, AdminSettingsError> {
        let settings: AdminSettings = toml::from_str(text).expect("TOML");
        settings.site(issuers)
    }

    const LISTEN: &str = "listen = \"127.0.0.1:8443\"\n";
    const ROLES: &str = "roles = { admin = [\"dba\"] }\n";

    #[test]
    fn tls_needs_an_issuer_and_roles() {
        let one = [issuer("https://a", Some("weir"))];
        assert!(matches!(
            site(LISTEN, &one),
            Err(AdminSettingsError::NoRoles)
        ));
        let text = format!("{LISTEN}{ROLES}");
        assert!(matches!(
            site(&text, &[issuer("https://a", None)]),
            Err(AdminSettingsError::NoIssuer)
        ));
        let two = [
            issuer("https://a", Some("w")),
            issuer("https://b", Some("w")),
        ];
        assert!(matches!(
            site(&text, &two),
            Err(AdminSettingsError::ManyIssuers { .. })
        ));
        assert!(matches!(
            site(&format!("{text}issuer = \"https://c\""), &two),
            Err(AdminSettingsError::UnknownIssuer { .. })
        ));
        let found = site(&format!("{text}issuer = \"https://b\""), &two)
            .expect("usable")
            .expect("served");
        assert_eq!(found.issuer, "https://b");
        assert_eq!(
            (found.origin.as_str(), found.name.as_str()),
            ("https://127.0.0.1:8443", "127.0.0.1")
        );
    }

    #[test]
    fn a_public_address_is_an_origin_and_nothing_more() {
        let one = [issuer("https://a", Some("weir"))];
        let with = |url: &str| site(&format!("{LISTEN}{ROLES}public_url = {url:?}"), &one);
        let found = with("https://weir.example/").expect("usable").expect("one");
        assert_eq!(
            (found.host.as_str(), found.origin.as_str()),
            ("weir.example", "https://weir.example")
        );
        for wrong in [
            "http://weir.example",
            "https://weir.example/x",
            "https://a@b",
            "weir",
        ] {
            assert!(
                matches!(with(wrong), Err(AdminSettingsError::PublicUrl { .. })),
                "{wrong}"
            );
        }
        let any = format!("listen = \"0.0.0.0:8443\"\n{ROLES}");
        assert!(matches!(
            site(&any, &one),
            Err(AdminSettingsError::NoPublicUrl { .. })
        ));
    }

    #[test]
    fn what_is_for_tls_alone_is_not_ignored() {
        assert!(site("", &[]).expect("usable").is_none());
        assert!(matches!(
            site("public_url = \"https://weir.example\"", &[]),
            Err(AdminSettingsError::WithoutListen {
                field: "public_url"
            })
        ));
    }

    #[test]
    fn roles_come_from_groups() {
        let settings: AdminSettings =
            toml::from_str("roles = { viewer = [\"a\"], auditor = [\"b\", \"c\"] }").expect("TOML");
        let of = |groups: &[&str]| {
            let groups: Vec<String> = groups.iter().map(|it| (*it).to_owned()).collect();
            settings.roles.of(&groups)
        };
        assert!(of(&["x"]).is_empty());
        assert!(of(&["a"]).may(Role::Viewer) && !of(&["a"]).may(Role::Auditor));
        assert!(of(&["x", "c"]).may(Role::Auditor) && of(&["c"]).may(Role::Viewer));
        assert!(!of(&["c"]).may(Role::Admin) && !of(&["c"]).may(Role::Approver));
    }
}
