//! A private PostgreSQL server in a temporary folder, on free loopback ports.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use nix::unistd::{User, geteuid};

use crate::authority::Authority;
use crate::port;
use crate::service::{Ending, Service};

pub use programs::Programs;

mod programs;

/// What kind of server is wanted.
#[derive(Clone, Debug, Default)]
pub struct PostgresOptions {
    /// The major version; `None` takes the one that the distribution installed.
    pub version: Option<u16>,
    /// Speak TLS with the certificate of this authority.
    pub tls: Option<Authority>,
    /// Ask for SCRAM on TCP; without it every TCP client is trusted.
    pub scram: bool,
    /// Further loopback addresses to listen on.
    pub addresses: Vec<String>,
    /// Further lines of `pg_hba.conf`, ahead of the others.
    pub access: Vec<String>,
    /// Further settings of `postgresql.conf`.
    pub settings: Vec<(String, String)>,
}

/// A running server: the superuser [`Postgres::USER`], an empty database [`Postgres::DATABASE`].
///
/// It listens on [`Postgres::HOST`], [`Postgres::DIRECT_HOST`] and, where the host has IPv6, `::1`, all on one port,
/// and on a unix socket that trusts everyone.
#[derive(Debug)]
pub struct Postgres {
    service: Service,
    programs: Programs,
    folder: PathBuf,
    port: u16,
    password: Option<String>,
}

impl Postgres {
    /// The role that clients use. It may do everything, so that a refusal can only come from weir.
    pub const USER: &'static str = "app";
    /// The database that clients use.
    pub const DATABASE: &'static str = "shop";
    /// The address that clients are given.
    pub const HOST: &'static str = "127.0.0.1";
    /// A second address of the same server, for measurements beside weir.
    pub const DIRECT_HOST: &'static str = "127.0.0.2";

    /// Starts a server whose files live in `folder`, which must exist and be readable to other users.
    ///
    /// # Errors
    ///
    /// When the server's programs are missing or it does not come up; the message carries its log.
    pub fn start(folder: &Path, options: &PostgresOptions) -> Result<Self> {
        let programs = Programs::find(options.version, folder)?;
        let account = account()?;
        let password = options.scram.then(random_password).transpose()?;
        let data = folder.join("data");
        let sockets = folder.join("socket");
        for made in [&data, &sockets] {
            fs::create_dir(made).with_context(|| format!("cannot make {}", made.display()))?;
            hand_over(made, account.as_ref())?;
        }
        init(&programs, &data, account.as_ref())?;
        let mut addresses: Vec<&str> = addresses();
        addresses.extend(options.addresses.iter().map(String::as_str));
        let port = port::free(&addresses)?;
        write_settings(&data, &sockets, &addresses, port, options, account.as_ref())?;

        let mut command = Command::new(programs.server("postgres"));
        command
            .arg("-D")
            .arg(&data)
            .current_dir(&data)
            .envs(programs.environment());
        run_as(&mut command, account.as_ref());
        // A quick end: nobody reads these files again.
        let ending = Ending {
            signal: Signal::SIGQUIT,
            patience: Duration::from_secs(10),
        };
        let service = Service::start("postgres", command, &folder.join("server.log"), ending)?;
        let server = Self {
            service,
            programs,
            folder: folder.to_path_buf(),
            port,
            password,
        };
        server.wait_until_ready()?;
        server.make_database()?;
        Ok(server)
    }

    /// The TCP port, the same on every address.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The folder of the unix socket.
    #[must_use]
    pub fn socket_folder(&self) -> PathBuf {
        self.folder.join("socket")
    }

    /// The folder of the server's data.
    #[must_use]
    pub fn data_folder(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// The process id of the postmaster.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.service.pid()
    }

    /// The password of [`Postgres::USER`], when the server asks for one.
    #[must_use]
    pub fn password(&self) -> Option<&str> {
        self.password.as_deref()
    }

    /// What the server has logged.
    #[must_use]
    pub fn log(&self) -> String {
        self.service.log()
    }

    /// The server's and the clients' programs.
    #[must_use]
    pub fn programs(&self) -> &Programs {
        &self.programs
    }

    /// Runs SQL on the unix socket, which weir does not see, and returns the rows: unaligned, one a line.
    ///
    /// # Errors
    ///
    /// When a statement fails; the message carries psql's words.
    pub fn admin(&self, database: &str, sql: &str) -> Result<String> {
        let mut command = self.admin_psql(database);
        let output = command
            .args(["-c", sql])
            .output()
            .context("cannot run psql")?;
        ensure!(
            output.status.success(),
            "psql on {database}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(String::from_utf8_lossy(&output.stdout)
            .trim_end()
            .to_owned())
    }

    /// Runs a file of SQL on the unix socket.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or a statement fails.
    pub fn seed(&self, database: &str, file: &Path) -> Result<()> {
        let mut command = self.admin_psql(database);
        let output = command
            .arg("-f")
            .arg(file)
            .output()
            .context("cannot run psql")?;
        ensure!(
            output.status.success(),
            "seeding from {}: {}",
            file.display(),
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(())
    }

    fn admin_psql(&self, database: &str) -> Command {
        let mut command = Command::new(self.programs.client("psql"));
        command
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"])
            .args([
                "-U",
                Self::USER,
                "-d",
                database,
                "-p",
                &self.port.to_string(),
                "-h",
            ])
            .arg(self.socket_folder())
            .stdin(Stdio::null());
        for variable in CLIENT_VARIABLES {
            command.env_remove(variable);
        }
        command
    }

    fn wait_until_ready(&self) -> Result<()> {
        let status_file = self.data_folder().join("postmaster.pid");
        self.service.wait_until(Duration::from_mins(1), || {
            // Its last line is the state, kept by the postmaster itself.
            fs::read_to_string(&status_file)
                .is_ok_and(|text| text.lines().nth(7).is_some_and(|l| l.trim() == "ready"))
        })
    }

    fn make_database(&self) -> Result<()> {
        if let Some(password) = &self.password {
            self.admin(
                "postgres",
                &format!("ALTER ROLE {} PASSWORD '{password}'", Self::USER),
            )?;
        }
        self.admin("postgres", &format!("CREATE DATABASE {}", Self::DATABASE))?;
        Ok(())
    }
}

/// What libpq reads from the environment: a client of the harness must not inherit the caller's.
pub const CLIENT_VARIABLES: &[&str] = &[
    "PGHOST",
    "PGHOSTADDR",
    "PGPORT",
    "PGUSER",
    "PGPASSWORD",
    "PGPASSFILE",
    "PGDATABASE",
    "PGSERVICE",
    "PGOPTIONS",
    "PGSSLMODE",
    "PGSSLROOTCERT",
    "PGCLUSTER",
    "PGAPPNAME",
    "PGREQUIREAUTH",
    "PGCHANNELBINDING",
];

/// The account the server runs under: PostgreSQL refuses to run as root.
fn account() -> Result<Option<User>> {
    if !geteuid().is_root() {
        return Ok(None);
    }
    let found = User::from_name("postgres").context("cannot look up the account `postgres`")?;
    let account = found.context("there is no account `postgres`: run `cargo xtask setup`")?;
    Ok(Some(account))
}

fn run_as(command: &mut Command, account: Option<&User>) {
    if let Some(account) = account {
        command.uid(account.uid.as_raw()).gid(account.gid.as_raw());
    }
}

fn hand_over(path: &Path, account: Option<&User>) -> Result<()> {
    if let Some(account) = account {
        chown(path, Some(account.uid.as_raw()), Some(account.gid.as_raw()))
            .with_context(|| format!("cannot hand {} to {}", path.display(), account.name))?;
    }
    Ok(())
}

fn init(programs: &Programs, data: &Path, account: Option<&User>) -> Result<()> {
    let mut command = Command::new(programs.server("initdb"));
    command
        .args([
            "--username",
            Postgres::USER,
            "--auth",
            "trust",
            "--encoding",
            "UTF8",
            "--locale",
            "C.UTF-8",
        ])
        .args(["--no-sync", "--no-instructions", "--pgdata"])
        .arg(data)
        .current_dir(data)
        .envs(programs.environment())
        .stdin(Stdio::null());
    run_as(&mut command, account);
    let output = command.output().context("cannot run initdb")?;
    ensure!(
        output.status.success(),
        "initdb: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}

fn write_settings(
    data: &Path,
    sockets: &Path,
    addresses: &[&str],
    port: u16,
    options: &PostgresOptions,
    account: Option<&User>,
) -> Result<()> {
    use std::fmt::Write as _;
    let mut settings = format!(
        "listen_addresses = '{}'\nport = {port}\nunix_socket_directories = '{}'\nunix_socket_permissions = 0777\n\
         max_connections = 300\nfsync = off\nfull_page_writes = off\nlog_line_prefix = '%m [%p] %a '\n",
        addresses.join(","),
        sockets.display(),
    );
    if let Some(authority) = &options.tls {
        for (from, to, mode) in [
            (authority.server_certificate(), "server.crt", 0o644),
            (authority.server_key(), "server.key", 0o600),
        ] {
            let to = data.join(to);
            fs::copy(&from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
            fs::set_permissions(&to, fs::Permissions::from_mode(mode))
                .context("cannot protect the server's key")?;
            hand_over(&to, account)?;
        }
        settings.push_str("ssl = on\n");
    }
    for (name, value) in &options.settings {
        writeln!(settings, "{name} = '{}'", value.replace('\'', "''"))?;
    }
    let file = data.join("postgresql.auto.conf");
    fs::write(&file, settings).with_context(|| format!("cannot write {}", file.display()))?;
    hand_over(&file, account)?;

    let method = if options.scram {
        "scram-sha-256"
    } else {
        "trust"
    };
    let access = format!(
        "local all all trust\nlocal replication all trust\n{}\n\
         host all all 127.0.0.0/8 {method}\nhost all all ::1/128 {method}\n\
         host replication all 127.0.0.0/8 {method}\nhost replication all ::1/128 {method}\n",
        options.access.join("\n")
    );
    fs::write(data.join("pg_hba.conf"), access).context("cannot write pg_hba.conf")
}

/// IPv6 may be off on a host.
fn addresses() -> Vec<&'static str> {
    let mut addresses = vec![Postgres::HOST, Postgres::DIRECT_HOST];
    if std::net::TcpListener::bind(("::1", 0)).is_ok() {
        addresses.push("::1");
    }
    addresses
}

fn random_password() -> Result<String> {
    let id =
        fs::read_to_string("/proc/sys/kernel/random/uuid").context("cannot make a password")?;
    Ok(id.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Readable to the server's account, unlike what `tempfile` makes.
    fn open_folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("ours");
        folder
    }

    fn select_one(
        server: &Postgres,
        host: &str,
        sslmode: &str,
        root: Option<&Path>,
    ) -> std::process::Output {
        let mut command = Command::new(server.programs().client("psql"));
        command.args([
            "-X",
            "-A",
            "-t",
            "-h",
            host,
            "-p",
            &server.port().to_string(),
            "-U",
            Postgres::USER,
        ]);
        command.args([
            "-d",
            Postgres::DATABASE,
            "-c",
            "select ssl::text || current_user from pg_stat_ssl where pid = pg_backend_pid()",
        ]);
        command
            .env("PGSSLMODE", sslmode)
            .env("PGPASSWORD", server.password().unwrap_or_default());
        if let Some(root) = root {
            command.env("PGSSLROOTCERT", root);
        }
        command.output().expect("psql runs")
    }

    #[test]
    fn a_server_answers_on_both_addresses_and_is_gone_afterwards() {
        let folder = open_folder();
        let server =
            Postgres::start(folder.path(), &PostgresOptions::default()).expect("it starts");
        for host in [Postgres::HOST, Postgres::DIRECT_HOST] {
            let output = select_one(&server, host, "disable", None);
            assert_eq!(
                String::from_utf8_lossy(&output.stdout).trim(),
                "falseapp",
                "{output:?}"
            );
        }
        let process = PathBuf::from(format!("/proc/{}", server.pid()));
        drop(server);
        assert!(!process.exists());
    }

    #[test]
    fn tls_and_scram_work_together() {
        let folder = open_folder();
        let authority = Authority::create(&folder.path().join("tls")).expect("an authority");
        let options = PostgresOptions {
            tls: Some(authority.clone()),
            scram: true,
            ..PostgresOptions::default()
        };
        let server = Postgres::start(folder.path(), &options).expect("it starts");
        let output = select_one(
            &server,
            "localhost",
            "verify-full",
            Some(&authority.certificate()),
        );
        assert_eq!(
            String::from_utf8_lossy(&output.stdout).trim(),
            "trueapp",
            "{output:?}"
        );
        let refused = Command::new(server.programs().client("psql"))
            .args([
                "-X",
                "-w",
                "-h",
                Postgres::HOST,
                "-p",
                &server.port().to_string(),
                "-U",
                Postgres::USER,
            ])
            .args(["-d", Postgres::DATABASE, "-c", "select 1"])
            .env_remove("PGPASSWORD")
            .output()
            .expect("psql runs");
        assert!(
            !refused.status.success(),
            "a client without the password got in"
        );
    }
}
