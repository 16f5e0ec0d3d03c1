//! A database, the development issuer and the agent, and commands that run as one of the lab's people.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use toml::{Table, Value};

use crate::agent::{self, Agent, AgentOptions};
use crate::authority::Authority;
use crate::cgroup::Cgroup;
use crate::dev_idp::DevIdp;
use crate::leftovers::{self, Folder};
use crate::place;
use crate::port;
use crate::postgres::{CLIENT_VARIABLES, Postgres, PostgresOptions};
use crate::undo::Undo;

pub use identity::Identity;

mod identity;

/// What a lab consists of.
#[derive(Clone, Debug)]
pub struct LabOptions {
    /// The database.
    pub engine: Engine,
    /// The policy pack; `None` is `policies/baseline`.
    pub policy: Option<PathBuf>,
    /// Record what would have been refused instead of refusing it.
    pub observe: bool,
    /// Server and agent speak TLS.
    pub tls: bool,
    /// The server asks for SCRAM.
    pub scram: bool,
    /// How log-ins pass; `None` is by verifiers where there is TLS and SCRAM, and as the agent chooses elsewhere.
    pub mode: Option<Mode>,
    /// Further endpoints: loopback addresses of the same server, each with its own way of logging in.
    pub modes_at: Vec<(String, Mode)>,
    /// Further lines of `pg_hba.conf`, ahead of the others.
    pub server_access: Vec<String>,
    /// The server's major version; `None` takes the distribution's.
    pub server_version: Option<u16>,
    /// How the agent reads catalogs.
    pub catalog: CatalogReader,
    /// SQL that fills the database; `None` makes the small shop.
    pub seed: Option<PathBuf>,
    /// Further settings of the server.
    pub server_settings: Vec<(String, String)>,
    /// Changes to the agent's configuration, by dotted path: `("capture.on_agent_down", "open")`.
    pub settings: Vec<(String, Value)>,
    /// Further sections of the agent's configuration, by the name of their list: `("workload", …)`.
    pub sections: Vec<(String, Table)>,
    /// What the agent logs; `None` is `weir=info`.
    pub log: Option<String>,
}

/// How the agent reads catalogs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CatalogReader {
    /// As a role of its own.
    Role,
    /// On its clients' connections.
    Clients,
}

/// How log-ins pass between the legs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// P: in clear on the client's leg.
    Plaintext,
    /// V: by the server's verifiers.
    Verifier,
    /// K: with the server's certificate.
    ServerCertificate,
    /// I: with a password that the client does not have.
    Inject,
    /// O: unread.
    Opaque,
}

impl Mode {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Plaintext,
        Self::Verifier,
        Self::ServerCertificate,
        Self::Inject,
        Self::Opaque,
    ];

    /// As the agent's configuration has it; its letter does as well.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Plaintext => "plaintext",
            Self::Verifier => "verifier",
            Self::ServerCertificate => "server-certificate",
            Self::Inject => "inject",
            Self::Opaque => "opaque",
        }
    }

    /// The mode of that name or letter.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let letters = ["P", "V", "K", "I", "O"];
        Self::ALL
            .into_iter()
            .zip(letters)
            .find(|(mode, letter)| mode.name() == name || *letter == name)
            .map(|(mode, _)| mode)
    }
}

/// The kind of database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// A private PostgreSQL server.
    Postgres,
    /// No database: agent and issuer alone.
    None,
}

impl Default for LabOptions {
    fn default() -> Self {
        Self {
            engine: Engine::Postgres,
            policy: None,
            observe: false,
            tls: false,
            scram: false,
            mode: None,
            modes_at: Vec::new(),
            server_access: Vec::new(),
            server_version: None,
            catalog: CatalogReader::Role,
            seed: None,
            server_settings: Vec::new(),
            settings: Vec::new(),
            sections: Vec::new(),
            log: None,
        }
    }
}

impl LabOptions {
    fn mode(&self) -> Option<Mode> {
        let bound = self.tls && self.scram;
        self.mode.or(bound.then_some(Mode::Verifier))
    }
}

/// Everything running. Dropping it ends the agent first, so that it can write its last records, and the folder last.
#[derive(Debug)]
pub struct Lab {
    agent: Agent,
    issuer: DevIdp,
    postgres: Option<Postgres>,
    environment: BTreeMap<&'static str, OsString>,
    run_as: PathBuf,
    cgroup: Cgroup,
    folder: Folder,
}

impl Lab {
    /// Starts everything and waits until it is ready.
    ///
    /// # Errors
    ///
    /// When a part does not come up; the message carries its log.
    pub fn start(options: &LabOptions) -> Result<Self> {
        leftovers::reclaim();
        let name = next_name();
        let folder = Folder::create(&name)?;
        let postgres = match options.engine {
            Engine::Postgres => Some(start_postgres(&folder, options)?),
            Engine::None => None,
        };
        let issuer = DevIdp::start(folder.path())?;
        let cgroup = Cgroup::create(&name)?;
        let run_as = identity::prepare(&folder, &cgroup, &issuer)?;

        let mut config = configuration(&folder, &name, postgres.as_ref(), &issuer, options)?;
        for (name, section) in &options.sections {
            let list = config
                .entry(name.clone())
                .or_insert_with(|| Value::Array(Vec::new()));
            list.as_array_mut()
                .with_context(|| format!("{name} is no list"))?
                .push(Value::Table(section.clone()));
        }
        for (path, value) in &options.settings {
            agent::set(&mut config, path, value.clone())?;
        }
        let agent = Agent::start(AgentOptions {
            folder: folder.path().to_path_buf(),
            cgroup: cgroup.path().to_path_buf(),
            pin_name: name,
            config,
            log: options.log.clone(),
        })?;
        let mut lab = Self {
            agent,
            issuer,
            postgres,
            environment: BTreeMap::new(),
            run_as,
            cgroup,
            folder,
        };
        lab.environment = lab.make_environment(options)?;
        Ok(lab)
    }

    /// A command that runs bound to `identity`, inside the cgroup that the agent watches, with the lab's environment.
    #[must_use]
    pub fn command(&self, identity: Identity, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(&self.run_as);
        command.arg(identity.name()).arg(program);
        self.set_environment(&mut command);
        command
    }

    /// A command beside weir: the lab's environment, the server's second address, outside the watched cgroup.
    #[must_use]
    pub fn command_direct(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        self.set_environment(&mut command);
        command.env("PGHOST", Postgres::DIRECT_HOST);
        command
    }

    /// A command of weir that talks to the lab's agent.
    #[must_use]
    pub fn weir(&self, arguments: &[&str]) -> Command {
        self.agent.weir(arguments)
    }

    /// Runs SQL behind weir's back and returns the rows: unaligned, one a line.
    ///
    /// # Errors
    ///
    /// When a statement fails.
    pub fn admin(&self, sql: &str) -> Result<String> {
        self.postgres().admin(Postgres::DATABASE, sql)
    }

    /// Gives any command the lab's environment and takes away what it would inherit of libpq's.
    pub fn set_environment(&self, command: &mut Command) {
        for variable in CLIENT_VARIABLES {
            command.env_remove(variable);
        }
        command.envs(&self.environment);
    }

    /// Runs a command to its end. It is ended too when this process is told to end.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn run(&self, command: &mut Command) -> Result<ExitStatus> {
        let mut child = command
            .spawn()
            .with_context(|| format!("cannot run {command:?}"))?;
        let pid = Pid::from_raw(i32::try_from(child.id()).context("an impossible process id")?);
        let undo = Undo::new(move || {
            let _ = kill(pid, Signal::SIGTERM);
        });
        // Its id stays its own until it is waited for, so it is left as a zombie until nobody will send it a signal.
        let _ = waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT);
        undo.disarm();
        child.wait().context("cannot tell how the command ended")
    }

    /// What is set for a command: the contract of `cargo xtask lab`.
    #[must_use]
    pub fn environment(&self) -> &BTreeMap<&'static str, OsString> {
        &self.environment
    }

    /// The agent.
    #[must_use]
    pub fn agent(&self) -> &Agent {
        &self.agent
    }

    /// The agent, to stop and start it.
    pub fn agent_mut(&mut self) -> &mut Agent {
        &mut self.agent
    }

    /// The development issuer.
    #[must_use]
    pub fn issuer(&self) -> &DevIdp {
        &self.issuer
    }

    /// The database.
    ///
    /// # Panics
    ///
    /// When the lab was started without one.
    #[must_use]
    pub fn postgres(&self) -> &Postgres {
        self.postgres
            .as_ref()
            .expect("the lab was started with Engine::None")
    }

    /// The cgroup that the agent watches.
    #[must_use]
    pub fn cgroup(&self) -> &Path {
        self.cgroup.path()
    }

    /// The folder of everything, removed with the lab.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn make_environment(&self, options: &LabOptions) -> Result<BTreeMap<&'static str, OsString>> {
        let mut set: BTreeMap<&'static str, OsString> = BTreeMap::new();
        set.insert("WEIR_BIN", self.agent.program().into());
        set.insert("WEIR_SOCKET", self.agent.socket().into());
        set.insert("LAB_AS", self.run_as.clone().into());
        let Some(postgres) = &self.postgres else {
            return Ok(set);
        };
        let port = postgres.port();
        set.insert("PGHOST", Postgres::HOST.into());
        set.insert("PGPORT", port.to_string().into());
        set.insert("PGUSER", Postgres::USER.into());
        set.insert("PGDATABASE", Postgres::DATABASE.into());
        set.insert(
            "PGSSLMODE",
            if options.tls {
                "verify-full"
            } else {
                "disable"
            }
            .into(),
        );
        set.insert("LAB_DIRECT_HOST", Postgres::DIRECT_HOST.into());
        set.insert(
            "LAB_ADMIN_SOCKET",
            format!("{}:{port}", postgres.socket_folder().display()).into(),
        );
        if let Some(password) = postgres.password() {
            let known = match options.mode() {
                // What the application has is not what lets it in.
                Some(Mode::Inject) => "a placeholder",
                _ => password,
            };
            set.insert("PGPASSWORD", known.into());
        }
        if options.tls {
            set.insert("PGSSLROOTCERT", self.trusted_roots()?.into());
        }
        if options.mode() == Some(Mode::Plaintext) {
            set.insert("PGSSLMODE", "prefer".into());
        }
        Ok(set)
    }

    /// One file with the server's authority and the agent's: a client behind the agent sees the one, beside it the other.
    fn trusted_roots(&self) -> Result<PathBuf> {
        let mut roots = String::new();
        for file in [
            self.folder.path().join("tls/ca.pem"),
            self.agent.state_folder().join("ca.pem"),
        ] {
            roots += &fs::read_to_string(&file)
                .with_context(|| format!("cannot read {}", file.display()))?;
        }
        let file = self.folder.path().join("roots.pem");
        fs::write(&file, roots).with_context(|| format!("cannot write {}", file.display()))?;
        Ok(file)
    }
}

fn next_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    leftovers::name(std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

fn start_postgres(folder: &Folder, options: &LabOptions) -> Result<Postgres> {
    let home = folder.below("postgres")?;
    let tls = options
        .tls
        .then(|| Authority::create(&folder.path().join("tls")))
        .transpose()?;
    let wanted = PostgresOptions {
        version: options.server_version,
        tls,
        scram: options.scram,
        addresses: options.modes_at.iter().map(|(it, _)| it.clone()).collect(),
        access: options.server_access.clone(),
        settings: options.server_settings.clone(),
    };
    let postgres = Postgres::start(&home, &wanted)?;
    make_roles(folder, &postgres, options.catalog)?;
    match &options.seed {
        Some(file) => postgres.seed(Postgres::DATABASE, file)?,
        None => {
            postgres.admin(Postgres::DATABASE, SHOP)?;
        }
    }
    Ok(postgres)
}

/// The role that the agent reads catalogs as: it may log in, and no more. Beside it the superuser that tools expect.
fn make_roles(folder: &Folder, postgres: &Postgres, catalog: CatalogReader) -> Result<()> {
    let mut with_password = String::new();
    if let Some(password) = postgres.password() {
        with_password = format!(" PASSWORD '{password}'");
        let file = folder.path().join(CATALOG_PASSWORD_FILE);
        fs::write(&file, password).with_context(|| format!("cannot write {}", file.display()))?;
    }
    let mut sql = format!("CREATE ROLE postgres SUPERUSER LOGIN{with_password};");
    if catalog == CatalogReader::Role {
        let _ = write!(sql, "CREATE ROLE {CATALOG_ROLE} LOGIN{with_password}");
    }
    let _ = write!(sql, "; CREATE ROLE {VERIFIER_ROLE} LOGIN{with_password}");
    postgres.admin("postgres", &sql)?;
    postgres.admin("postgres", VERIFIER_FUNCTION)?;
    Ok(())
}

/// The role that the agent reads verifiers as may call one function, and no more.
const VERIFIER_ROLE: &str = "weir_auth";
/// What the README tells operators to make.
const VERIFIER_FUNCTION: &str = "
CREATE SCHEMA weir_auth;
CREATE FUNCTION weir_auth.verifier(name text) RETURNS text LANGUAGE sql STABLE SECURITY DEFINER SET search_path = '' AS
$$ SELECT rolpassword FROM pg_catalog.pg_authid WHERE rolname = name::pg_catalog.name AND rolcanlogin
   AND (rolvaliduntil IS NULL OR rolvaliduntil > pg_catalog.now()) $$;
REVOKE ALL ON FUNCTION weir_auth.verifier(text) FROM public;
GRANT USAGE ON SCHEMA weir_auth TO weir_auth;
GRANT EXECUTE ON FUNCTION weir_auth.verifier(text) TO weir_auth;
";

/// What an endpoint needs for a mode, beside the mode itself.
///
/// # Errors
///
/// When a file with a secret cannot be written.
pub fn mode_settings(folder: &Path, password: Option<&str>, mode: Mode) -> Result<Table> {
    let mut settings = Table::new();
    settings.insert("mode".into(), mode.name().into());
    let text = |name: &str| Value::String(folder.join(name).display().to_string());
    match mode {
        Mode::Plaintext | Mode::Opaque => {}
        Mode::Verifier => {
            let mut verifiers = toml::toml! {
                user = "weir_auth"
                function = "weir_auth.verifier"
            };
            if let Some(password) = password {
                let file = folder.join("verifier-password");
                write_secret(&file, password)?;
                verifiers.insert("password_file".into(), file.display().to_string().into());
            }
            settings.insert("verifiers".into(), Value::Table(verifiers));
        }
        Mode::ServerCertificate => {
            settings.insert("server_certificate".into(), text("tls/server.pem"));
            settings.insert("server_key".into(), text("tls/server.key"));
        }
        Mode::Inject => {
            let file = folder.join("injected-password");
            write_secret(&file, password.unwrap_or("none is asked for"))?;
            let mut credential = Table::new();
            credential.insert("user".into(), Postgres::USER.into());
            credential.insert("file".into(), file.display().to_string().into());
            settings.insert(
                "credential".into(),
                Value::Array(vec![Value::Table(credential)]),
            );
        }
    }
    Ok(settings)
}

/// A file that only its owner may read, written whole before it has its name.
///
/// # Errors
///
/// When it cannot be written.
pub fn write_secret(path: &Path, text: &str) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;

    let draft = path.with_extension("draft");
    fs::write(&draft, text).with_context(|| format!("cannot write {}", draft.display()))?;
    fs::set_permissions(&draft, fs::Permissions::from_mode(0o600))
        .with_context(|| format!("cannot protect {}", draft.display()))?;
    fs::rename(&draft, path).with_context(|| format!("cannot name {}", path.display()))
}

const CATALOG_ROLE: &str = "weir";
const CATALOG_PASSWORD_FILE: &str = "catalog-password";

/// Customers with personal data, products, orders.
const SHOP: &str = include_str!("lab/shop.sql");

/// The endpoint once more, at other addresses and each in its own mode.
fn further_endpoints(
    folder: &Folder,
    endpoint: &Table,
    password: Option<&str>,
    options: &LabOptions,
) -> Result<Vec<Value>> {
    let mut further = Vec::new();
    for (address, mode) in &options.modes_at {
        let mut endpoint = endpoint.clone();
        endpoint.remove("client_tls");
        endpoint.insert("name".into(), mode.name().into());
        if options.tls {
            // The server's certificate names the first addresses only.
            endpoint.insert("tls".into(), "verify-ca".into());
        }
        endpoint.insert(
            "cidrs".into(),
            Value::Array(vec![format!("{address}/32").into()]),
        );
        endpoint.extend(mode_settings(folder.path(), password, *mode)?);
        further.push(Value::Table(endpoint));
    }
    Ok(further)
}

fn configuration(
    folder: &Folder,
    name: &str,
    postgres: Option<&Postgres>,
    issuer: &DevIdp,
    options: &LabOptions,
) -> Result<Table> {
    let policy = match &options.policy {
        Some(path) => std::path::absolute(path).context("cannot resolve the policy's path")?,
        None => place::project().join("policies/baseline"),
    };
    // An agent without a database still governs an endpoint: one that nobody listens on.
    let port = match postgres {
        Some(postgres) => postgres.port(),
        None => port::free(&[Postgres::HOST])?,
    };
    let mut config = toml::toml! {
        [capture]
        on_agent_down = "closed"
        [policy]
    };
    let mut endpoint = toml::toml! {
        name = "shop"
        engine = "postgres"
        environment = "production"
        cidrs = ["127.0.0.1/32", "::1/128"]
        exclude = ["127.0.0.2/32"]
    };
    endpoint.insert(
        "ports".into(),
        Value::Array(vec![Value::Integer(port.into())]),
    );
    if options.tls {
        endpoint.insert("tls".into(), "verify-full".into());
        endpoint.insert(
            "tls_ca".into(),
            folder
                .path()
                .join("tls/ca.pem")
                .display()
                .to_string()
                .into(),
        );
        // Without a mode of its own: relayed, with a certificate of weir's.
        if options.mode().is_none() {
            endpoint.insert("client_tls".into(), "on".into());
        }
    }
    let password = postgres.and_then(Postgres::password);
    let further = further_endpoints(folder, &endpoint, password, options)?;
    if let Some(mode) = options.mode() {
        endpoint.extend(mode_settings(folder.path(), password, mode)?);
    }
    if let Some(postgres) = postgres.filter(|_| options.catalog == CatalogReader::Role) {
        let mut catalog = Table::new();
        catalog.insert("user".into(), CATALOG_ROLE.into());
        if postgres.password().is_some() {
            catalog.insert("password_file".into(), CATALOG_PASSWORD_FILE.into());
        }
        endpoint.insert("catalog".into(), Value::Table(catalog));
    }
    let mut endpoints = vec![Value::Table(endpoint)];
    endpoints.extend(further);
    config.insert("endpoint".into(), Value::Array(endpoints));
    agent::set(
        &mut config,
        "policy.dir",
        policy.display().to_string().into(),
    )?;
    agent::set(
        &mut config,
        "policy.mode",
        if options.observe {
            "observe"
        } else {
            "enforce"
        }
        .into(),
    )?;
    let mut trusted = toml::toml! {
        audience = "weir"
        development = true
        claims = ["region"]
    };
    trusted.insert("issuer".into(), issuer.url().to_owned().into());
    config.insert("issuer".into(), Value::Array(vec![Value::Table(trusted)]));
    config.insert(
        "workload".into(),
        Value::Array(vec![Value::Table(identity::workload(folder, name))]),
    );
    Ok(config)
}
