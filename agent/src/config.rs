//! What the operator writes, read once at start into what each part declares; a bad file stops the start.

use std::{
    collections::HashMap,
    fs, io,
    net::{IpAddr, ToSocketAddrs},
    path::{Path, PathBuf},
    sync::{Arc, RwLock},
};

use serde::Deserialize;

use crate::{
    admin::{AdminSettings, AdminSettingsError},
    audit::{
        self,
        export::{ExportSettings, ExportSettingsError},
    },
    capture::{self, Cidr, EndpointRule, OnAgentDown, OnStop},
    catalog::{CatalogSettings, CatalogSettingsError, Credentials},
    identity::{self, AiAgentSettings, IssuerSettings, WorkloadSettings},
    logins::{CredentialSettings, LoginSettings, LoginSettingsError, VerifierSettings},
    policy,
    proxy::{
        Endpoint, Engine,
        endpoint::{ClientTls, Counts},
        mode::{Has, Mode, ModeError, ModeSetting},
    },
    tls::{ServerPair, ServerPairError, ServerTls, ServerTlsError, Verification},
    webhooks::{WebhookSettings, WebhookSettingsError},
};

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is not what it should be; the source says where and why.
    #[error("{} is not a configuration of weir", path.display())]
    Parse {
        /// Which.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// Without rules a file that governs would refuse nothing: that is said, not assumed.
    #[error("no [policy] section: add one with dir = \"…\" (policies/permit-all refuses nothing)")]
    NoPolicy,
    /// An endpoint governs nothing.
    #[error("endpoint {name:?} names no port: add ports = [5432]")]
    NoPorts {
        /// Which.
        name: String,
    },
    /// Two endpoints share a name, which records and rules could not tell apart.
    #[error("two endpoints are named {name:?}")]
    SameName {
        /// The name.
        name: String,
    },
    /// An endpoint's TLS cannot be set up.
    #[error("endpoint {name:?}")]
    Tls {
        /// Which.
        name: String,
        /// Why.
        #[source]
        source: ServerTlsError,
    },
    /// An endpoint's mode and what it has do not go together.
    #[error("endpoint {name:?}")]
    Mode {
        /// Which.
        name: String,
        /// Why.
        #[source]
        source: ModeError,
    },
    /// One file without the other.
    #[error("endpoint {name:?}: server_certificate and server_key go together")]
    HalfAPair {
        /// Which.
        name: String,
    },
    /// The server's certificate or key cannot be used.
    #[error("endpoint {name:?}")]
    ServerPair {
        /// Which.
        name: String,
        /// Why.
        #[source]
        source: ServerPairError,
    },
    /// Verifiers or passwords cannot be had like this.
    #[error("endpoint {name:?}")]
    Logins {
        /// Which.
        name: String,
        /// Why.
        #[source]
        source: LoginSettingsError,
    },
    /// The web page cannot be served like this.
    #[error("[admin]")]
    Admin(#[from] AdminSettingsError),
    /// A sink of records cannot be set up.
    #[error("export {name:?}")]
    Export {
        /// Which.
        name: String,
        /// Why.
        #[source]
        source: ExportSettingsError,
    },
    /// A webhook cannot be set up.
    #[error("webhook {name:?}")]
    Webhook {
        /// Which.
        name: String,
        /// Why.
        #[source]
        source: WebhookSettingsError,
    },
    /// An endpoint's catalogs cannot be read.
    #[error("endpoint {name:?}")]
    Catalog {
        /// Which.
        name: String,
        /// Why.
        #[source]
        source: CatalogSettingsError,
    },
}

/// The whole configuration.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `[agent]`.
    pub agent: AgentSettings,
    /// `[admin]`: the web page; none when absent.
    pub admin: Option<AdminSettings>,
    /// `[capture]`.
    pub capture: capture::Settings,
    /// `[[endpoint]]`.
    pub endpoint: Vec<EndpointSettings>,
    /// `[policy]`; a file must have it.
    pub policy: Option<policy::Settings>,
    /// `[[issuer]]`.
    pub issuer: Vec<IssuerSettings>,
    /// `[[workload]]`.
    pub workload: Vec<WorkloadSettings>,
    /// `[[ai_agent]]`.
    pub ai_agent: Vec<AiAgentSettings>,
    /// `[audit]`.
    pub audit: audit::Settings,
    /// `[[export]]`.
    pub export: Vec<ExportSettings>,
    /// `[[webhook]]`.
    pub webhook: Vec<WebhookSettings>,
}

/// The `[agent]` section.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AgentSettings {
    /// Journal, store and keys.
    pub state_dir: PathBuf,
    /// The control socket.
    pub socket: PathBuf,
    /// Threads that serve connections; 0 is one per core.
    pub workers: usize,
    /// How long sessions may go on after a stop was asked for, seconds.
    pub drain_seconds: u64,
    /// How long a connection whose log-in has expired stays open for a new one, seconds: until then only the end of its
    /// transaction passes.
    pub login_grace_seconds: u64,
}

impl Default for AgentSettings {
    fn default() -> Self {
        Self {
            state_dir: "/var/lib/weir".into(),
            socket: "/run/weir/weir.sock".into(),
            workers: 0,
            drain_seconds: 5,
            login_grace_seconds: 60,
        }
    }
}

/// One `[[endpoint]]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EndpointSettings {
    /// For rules and records.
    pub name: String,
    /// What it speaks.
    pub engine: Engine,
    /// `production`, `staging`, …
    pub environment: String,
    /// Where it listens.
    pub ports: Vec<u16>,
    /// Its addresses; with no `hosts` either, any address.
    pub cidrs: Vec<Cidr>,
    /// Its names, resolved again and again.
    pub hosts: Vec<String>,
    /// Addresses that are left alone.
    pub exclude: Vec<Cidr>,
    /// The server leg.
    pub tls: Verification,
    /// Whom the server leg trusts.
    pub tls_ca: Option<PathBuf>,
    /// The client leg; by the mode where it is not said.
    pub client_tls: Option<ClientTls>,
    /// How log-ins pass.
    pub mode: ModeSetting,
    /// The server's own certificate, for mode K.
    pub server_certificate: Option<PathBuf>,
    /// Its key.
    pub server_key: Option<PathBuf>,
    /// Where the server's verifiers come from, for mode V.
    pub verifiers: Option<VerifierSettings>,
    /// Passwords that only the agent has, for mode I.
    pub credential: Vec<CredentialSettings>,
    /// How the agent reads what its databases hold.
    pub catalog: Option<CatalogSettings>,
}

impl Config {
    /// Reads a file. Relative paths in it count from its folder.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], with line and column where the text is wrong.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.to_owned(),
            source,
        })?;
        let mut config: Self = toml::from_str(&text).map_err(|source| ConfigError::Parse {
            path: path.to_owned(),
            source: Box::new(source),
        })?;
        config.anchor(path.parent().unwrap_or(Path::new("")));
        config.check()?;
        Ok(config)
    }

    /// Without a file: watch PostgreSQL's and MySQL's usual ports, refuse nothing, leave nothing behind.
    #[must_use]
    pub fn observing() -> Self {
        let endpoint = |name: &str, engine, port| EndpointSettings {
            name: name.to_owned(),
            engine,
            environment: "observed".to_owned(),
            ports: vec![port],
            ..EndpointSettings::default()
        };
        Self {
            capture: capture::Settings {
                on_agent_down: OnAgentDown::Open,
                on_stop: OnStop::Detach,
                ..capture::Settings::default()
            },
            endpoint: vec![
                endpoint("postgres", Engine::Postgres, 5432),
                endpoint("mysql", Engine::Mysql, 3306),
            ],
            ..Self::default()
        }
    }

    /// The identity part's settings.
    #[must_use]
    pub fn identity(&self) -> identity::Settings {
        identity::Settings {
            issuers: self.issuer.clone(),
            workloads: self.workload.clone(),
            ai_agents: self.ai_agent.clone(),
        }
    }

    /// The endpoints as the proxy needs them, by the ids that [`Config::rules`] gives them.
    ///
    /// # Errors
    ///
    /// An endpoint's TLS cannot be set up.
    pub fn endpoints(&self) -> Result<HashMap<u32, Arc<Endpoint>>, ConfigError> {
        self.numbered()
            .map(|(id, settings)| {
                let server_tls = ServerTls::prepare(settings.tls, settings.tls_ca.as_ref())
                    .map_err(|source| ConfigError::Tls {
                        name: settings.name.clone(),
                        source,
                    })?;
                let (mode, mode_reason) = settings.choose_mode()?;
                let endpoint = Endpoint {
                    name: settings.name.clone(),
                    engine: settings.engine,
                    environment: settings.environment.clone(),
                    server_tls,
                    client_tls: settings.client_tls.unwrap_or(match mode {
                        Mode::Plaintext | Mode::Opaque => ClientTls::Off,
                        _ => ClientTls::On,
                    }),
                    mode,
                    mode_reason,
                    server_pair: settings.server_pair()?,
                    hosts: settings.hosts.clone(),
                    names: RwLock::default(),
                    counts: Counts::default(),
                };
                Ok((id, Arc::new(endpoint)))
            })
            .collect()
    }

    /// What log-ins need, by the endpoints' names.
    ///
    /// # Errors
    ///
    /// A section is incomplete, or a secret in it cannot be read.
    pub fn logins(&self) -> Result<HashMap<String, LoginSettings>, ConfigError> {
        let logins = self.endpoint.iter().map(|endpoint| {
            let failed = |source| ConfigError::Logins {
                name: endpoint.name.clone(),
                source,
            };
            let verifiers = endpoint.verifiers.as_ref();
            let settings = LoginSettings {
                verifiers: verifiers
                    .map(VerifierSettings::source)
                    .transpose()
                    .map_err(failed)?,
                credentials: CredentialSettings::all(&endpoint.credential).map_err(failed)?,
            };
            Ok((endpoint.name.clone(), settings))
        });
        logins.collect()
    }

    /// How catalogs are read, by the endpoints' names.
    ///
    /// # Errors
    ///
    /// A section is incomplete, or its password cannot be read.
    pub fn catalogs(&self) -> Result<HashMap<String, Arc<Credentials>>, ConfigError> {
        self.endpoint
            .iter()
            .filter_map(|endpoint| Some((endpoint, endpoint.catalog.as_ref()?)))
            .map(|(endpoint, settings)| {
                let credentials =
                    settings
                        .credentials()
                        .map_err(|source| ConfigError::Catalog {
                            name: endpoint.name.clone(),
                            source,
                        })?;
                Ok((endpoint.name.clone(), Arc::new(credentials)))
            })
            .collect()
    }

    /// What the kernel is to govern; host names are resolved now (this blocks), and noted for certificates.
    ///
    /// An endpoint whose names do not resolve is left out until they do: without addresses it would govern all.
    #[must_use]
    pub fn rules(&self, endpoints: &HashMap<u32, Arc<Endpoint>>) -> Vec<EndpointRule> {
        self.numbered()
            .filter_map(|(id, settings)| {
                let names = settings.resolve();
                let mut cidrs = settings.cidrs.clone();
                cidrs.extend(names.keys().copied().map(Cidr::from));
                if cidrs.is_empty() && !settings.hosts.is_empty() {
                    tracing::warn!(
                        endpoint = settings.name,
                        "none of its names resolves: it is not governed yet"
                    );
                    return None;
                }
                if let Some(endpoint) = endpoints.get(&id)
                    && !names.is_empty()
                {
                    *endpoint
                        .names
                        .write()
                        .unwrap_or_else(std::sync::PoisonError::into_inner) = names;
                }
                Some(EndpointRule {
                    id,
                    ports: settings.ports.clone(),
                    cidrs,
                    exclude: settings.exclude.clone(),
                })
            })
            .collect()
    }

    /// Whether any endpoint has names, which may resolve to something else later.
    #[must_use]
    pub fn has_names(&self) -> bool {
        self.endpoint
            .iter()
            .any(|endpoint| !endpoint.hosts.is_empty())
    }

    fn numbered(&self) -> impl Iterator<Item = (u32, &EndpointSettings)> {
        (1..).zip(&self.endpoint)
    }

    fn anchor(&mut self, folder: &Path) {
        let anchor = |path: &mut PathBuf| *path = folder.join(&*path);
        anchor(&mut self.agent.state_dir);
        anchor(&mut self.agent.socket);
        self.admin.iter_mut().for_each(|admin| admin.anchor(folder));
        self.policy
            .iter_mut()
            .for_each(|policy| anchor(&mut policy.dir));
        for endpoint in &mut self.endpoint {
            let files = [
                &mut endpoint.tls_ca,
                &mut endpoint.server_certificate,
                &mut endpoint.server_key,
            ];
            files.into_iter().flatten().for_each(anchor);
            endpoint
                .verifiers
                .iter_mut()
                .for_each(|it| it.anchor(folder));
            endpoint
                .credential
                .iter_mut()
                .for_each(|it| it.anchor(folder));
        }
        self.endpoint
            .iter_mut()
            .filter_map(|endpoint| endpoint.catalog.as_mut())
            .for_each(|catalog| catalog.anchor(folder));
        for agent in &mut self.ai_agent {
            anchor(&mut agent.client.key_file);
        }
        for workload in &mut self.workload {
            workload.token_file.iter_mut().for_each(anchor);
            if let Some(client) = &mut workload.client_credentials {
                anchor(&mut client.key_file);
            }
        }
        for issuer in &mut self.issuer {
            issuer.anchor(folder);
        }
        self.export
            .iter_mut()
            .flat_map(|export| [&mut export.token_file, &mut export.ca])
            .flatten()
            .for_each(anchor);
        for hook in &mut self.webhook {
            hook.anchor(folder);
        }
    }

    fn check(&self) -> Result<(), ConfigError> {
        if self.policy.is_none() {
            return Err(ConfigError::NoPolicy);
        }
        if let Some(admin) = &self.admin {
            admin.site(&self.issuer)?;
        }
        ExportSettings::check(&self.export)
            .map_err(|(name, source)| ConfigError::Export { name, source })?;
        WebhookSettings::check(&self.webhook)
            .map_err(|(name, source)| ConfigError::Webhook { name, source })?;
        for (index, endpoint) in self.endpoint.iter().enumerate() {
            let name = endpoint.name.clone();
            if endpoint.ports.is_empty() {
                return Err(ConfigError::NoPorts { name });
            }
            if self
                .endpoint
                .iter()
                .skip(index + 1)
                .any(|other| other.name == name)
            {
                return Err(ConfigError::SameName { name });
            }
        }
        Ok(())
    }
}

impl EndpointSettings {
    fn choose_mode(&self) -> Result<(Mode, &'static str), ConfigError> {
        let has = Has {
            verifiers: self.verifiers.is_some(),
            server_certificate: self.server_certificate.is_some(),
            credentials: !self.credential.is_empty(),
        };
        Mode::choose(self.mode, has).map_err(|source| ConfigError::Mode {
            name: self.name.clone(),
            source,
        })
    }

    fn server_pair(&self) -> Result<Option<Arc<ServerPair>>, ConfigError> {
        let name = self.name.clone();
        match (&self.server_certificate, &self.server_key) {
            (None, None) => Ok(None),
            (Some(certificate), Some(key)) => ServerPair::load(certificate, key)
                .map(|pair| Some(Arc::new(pair)))
                .map_err(|source| ConfigError::ServerPair { name, source }),
            _ => Err(ConfigError::HalfAPair { name }),
        }
    }

    fn resolve(&self) -> HashMap<IpAddr, String> {
        let mut names = HashMap::new();
        for host in &self.hosts {
            match (host.as_str(), 0).to_socket_addrs() {
                Ok(addresses) => names
                    .extend(addresses.map(|address| (address.ip().to_canonical(), host.clone()))),
                Err(error) => {
                    tracing::warn!(host, %error, "cannot resolve the name of an endpoint");
                }
            }
        }
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Config, ConfigError> {
        let text = format!("{text}\n[policy]\ndir = \"rules\"\n");
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("weir.toml");
        fs::write(&path, text).expect("written");
        Config::load(&path)
    }

    #[test]
    fn an_endpoint_is_read_whole() {
        let config = load(
            r#"
            [[endpoint]]
            name = "shop"
            environment = "production"
            ports = [5432]
            cidrs = ["10.0.0.0/8"]
            exclude = ["10.1.0.0/16"]
            tls = "off"
            "#,
        )
        .expect("valid");
        let endpoints = config.endpoints().expect("valid");
        let rules = config.rules(&endpoints);
        assert_eq!(rules.len(), 1);
        assert_eq!((rules[0].id, rules[0].ports.as_slice()), (1, &[5432][..]));
        assert_eq!(endpoints[&1].environment, "production");
    }

    #[test]
    fn an_endpoints_catalog_needs_a_user_and_a_readable_password() {
        let with = |section: &str| {
            load(&format!(
                "[[endpoint]]\nname = \"shop\"\nports = [5432]\n[endpoint.catalog]\n{section}\n"
            ))
            .expect("valid")
            .catalogs()
        };
        let known = with("user = \"weir\"\npoll_seconds = 2").expect("enough");
        assert_eq!(known["shop"].user, "weir");
        assert_eq!(known["shop"].poll.as_secs(), 2);
        for wrong in [
            "poll_seconds = 2",
            "user = \"weir\"\npoll_seconds = 0",
            "user = \"weir\"\npassword_file = \"nowhere\"",
        ] {
            assert!(matches!(with(wrong), Err(ConfigError::Catalog { .. })));
        }
    }

    #[test]
    fn a_misspelt_key_is_refused_with_its_place() {
        let error = load("[capture]\non_agent_dwon = \"open\"\n").expect_err("refused");
        let source = std::error::Error::source(&error)
            .expect("a place")
            .to_string();
        assert!(
            source.contains("on_agent_dwon") && source.contains("line 2"),
            "{source}"
        );
    }

    #[test]
    fn endpoints_without_ports_or_with_one_name_are_refused() {
        assert!(matches!(
            load("[[endpoint]]\nname = \"a\"\n"),
            Err(ConfigError::NoPorts { .. })
        ));
        let twice = "[[endpoint]]\nname = \"a\"\nports = [1]\n".repeat(2);
        assert!(matches!(load(&twice), Err(ConfigError::SameName { .. })));
    }

    #[test]
    fn a_name_that_does_not_resolve_governs_nothing() {
        let config =
            load("[[endpoint]]\nname = \"a\"\nports = [1]\nhosts = [\"nowhere.invalid\"]\n")
                .expect("valid");
        let endpoints = config.endpoints().expect("valid");
        assert!(config.rules(&endpoints).is_empty());
    }
}
