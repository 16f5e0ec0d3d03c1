//! What is compared: no proxy, the relay floor, two well-known proxies, weir.
//!
//! Every proxy takes its clients on a loopback port of its own and dials [`DIRECT_HOST`], an
//! address of the server that weir is told to leave alone. Clients of weir dial the server's own
//! address and are intercepted.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::ValueEnum;
use harness::service::Ending;
use harness::{Identity, Lab, Postgres, Service, place, port};
use nix::sys::signal::Signal;
use nix::unistd::{User, geteuid};

use crate::elevate::find;

/// The name of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum PeerName {
    /// The client talks to the server itself.
    Direct,
    /// The floor: a relay that looks at nothing, one thread.
    Relay,
    /// haproxy in TCP mode, one thread.
    Haproxy,
    /// pgbouncer in session mode.
    Pgbouncer,
    /// The agent as it is shipped: its own policy pack, an identified client, every record kept.
    Weir,
}

impl PeerName {
    /// The name on the command line and in the results.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Relay => "relay",
            Self::Haproxy => "haproxy",
            Self::Pgbouncer => "pgbouncer",
            Self::Weir => "weir",
        }
    }
}

/// A way to the server that is ready for clients.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) name: PeerName,
    /// Where its clients connect.
    pub(crate) address: SocketAddr,
    way: Way,
}

#[derive(Debug)]
enum Way {
    Direct,
    Proxy(Service),
    Intercepted(Rc<Lab>),
}

/// The second address of the server, which weir leaves alone.
pub(crate) const DIRECT_HOST: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

impl Peer {
    /// No proxy at all.
    pub(crate) fn direct(server_port: u16) -> Self {
        Self {
            name: PeerName::Direct,
            address: direct(server_port),
            way: Way::Direct,
        }
    }

    /// The agent of `lab`, which governs the server on `server_port`.
    pub(crate) fn weir(lab: Rc<Lab>, server_port: u16) -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, server_port));
        Self {
            name: PeerName::Weir,
            address,
            way: Way::Intercepted(lab),
        }
    }

    /// Starts a proxy in front of the server on `server_port`; its files go into `folder`.
    /// `None` when its program is not installed.
    pub(crate) fn proxy(proxy: Proxy, server_port: u16, folder: &Path) -> Result<Option<Self>> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port::free(&["127.0.0.1"])?));
        let server = direct(server_port);
        let (name, command) = match proxy {
            Proxy::Relay => (PeerName::Relay, Some(relay(address, server)?)),
            Proxy::Haproxy => (PeerName::Haproxy, haproxy(address, server, folder)?),
            Proxy::Pgbouncer => (PeerName::Pgbouncer, pgbouncer(address, server, folder)?),
        };
        let Some(command) = command else {
            return Ok(None);
        };
        let log = folder.join(format!("{}-{}.log", name.as_str(), address.port()));
        let ending = Ending {
            signal: Signal::SIGTERM,
            patience: Duration::from_secs(5),
        };
        let service = Service::start(name.as_str(), command, &log, ending)?;
        service.wait_until(START_LIMIT, || TcpStream::connect(address).is_ok())?;
        Ok(Some(Self {
            name,
            address,
            way: Way::Proxy(service),
        }))
    }

    /// The process whose cost is measured; none when there is no proxy or it has ended.
    pub(crate) fn pid(&self) -> Option<u32> {
        match &self.way {
            Way::Direct => None,
            Way::Proxy(service) => Some(service.pid()),
            Way::Intercepted(lab) => lab.agent().pid(),
        }
    }

    /// Tells libpq where this peer is.
    pub(crate) fn set_target(&self, command: &mut Command) {
        command
            .env("PGHOST", self.address.ip().to_string())
            .env("PGPORT", self.address.port().to_string())
            .env("PGUSER", Postgres::USER)
            .env("PGDATABASE", Postgres::DATABASE);
    }

    /// A command that runs `program` as this peer's client.
    pub(crate) fn client(&self, program: &Path) -> Command {
        let mut command = match &self.way {
            Way::Intercepted(lab) => lab.command(Identity::Alice, program),
            Way::Direct | Way::Proxy(_) => Command::new(program),
        };
        for variable in harness::postgres::CLIENT_VARIABLES {
            command.env_remove(variable);
        }
        command
            .env("PGSSLMODE", "disable")
            .env("PGGSSENCMODE", "disable");
        command
    }
}

/// A peer that is a program of its own between client and server.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Proxy {
    Relay,
    Haproxy,
    Pgbouncer,
}

impl PeerName {
    /// The program to start for it, where it is one.
    pub(crate) fn proxy(self) -> Option<Proxy> {
        match self {
            Self::Direct | Self::Weir => None,
            Self::Relay => Some(Proxy::Relay),
            Self::Haproxy => Some(Proxy::Haproxy),
            Self::Pgbouncer => Some(Proxy::Pgbouncer),
        }
    }
}

fn direct(server_port: u16) -> SocketAddr {
    SocketAddr::from((DIRECT_HOST, server_port))
}

/// One of the project's own load tools.
pub(crate) fn load_tool(name: &str) -> Result<PathBuf> {
    Ok(place::programs()?.join(name))
}

fn relay(address: SocketAddr, server: SocketAddr) -> Result<Command> {
    let mut command = Command::new(load_tool("relay")?);
    command.arg(address.to_string()).arg(server.to_string());
    Ok(command)
}

fn haproxy(address: SocketAddr, server: SocketAddr, folder: &Path) -> Result<Option<Command>> {
    let Some(program) = find("haproxy") else {
        return Ok(None);
    };
    let settings = format!(
        "global\n  maxconn 6000\n  nbthread 1\n\
         defaults\n  mode tcp\n  timeout connect 10s\n  timeout client 1h\n  timeout server 1h\n\
         listen postgres\n  bind {address}\n  server postgres {server}\n"
    );
    let file = write(
        folder,
        &format!("haproxy-{}.cfg", address.port()),
        &settings,
    )?;
    let mut command = Command::new(program);
    command.arg("-db").arg("-f").arg(file);
    Ok(Some(command))
}

fn pgbouncer(address: SocketAddr, server: SocketAddr, folder: &Path) -> Result<Option<Command>> {
    let Some(program) = find("pgbouncer") else {
        return Ok(None);
    };
    let (user, database) = (Postgres::USER, Postgres::DATABASE);
    let settings = format!(
        "[databases]\n{database} = host={} port={} dbname={database} user={user}\n\
         [pgbouncer]\nlisten_addr = {}\nlisten_port = {}\nunix_socket_dir =\nauth_type = any\n\
         pool_mode = session\nmax_client_conn = 6000\ndefault_pool_size = 6000\n\
         log_connections = 0\nlog_disconnections = 0\nlog_pooler_errors = 1\n\
         ignore_startup_parameters = extra_float_digits\n",
        server.ip(),
        server.port(),
        address.ip(),
        address.port(),
    );
    let file = write(
        folder,
        &format!("pgbouncer-{}.ini", address.port()),
        &settings,
    )?;
    let mut command = Command::new(program);
    command.arg(file);
    if geteuid().is_root() {
        // It refuses to run as root.
        let account = User::from_name("postgres")?.context("there is no account `postgres`")?;
        command.uid(account.uid.as_raw()).gid(account.gid.as_raw());
    }
    Ok(Some(command))
}

fn write(folder: &Path, name: &str, text: &str) -> Result<PathBuf> {
    let file = folder.join(name);
    fs::write(&file, text).with_context(|| format!("writing {}", file.display()))?;
    Ok(file)
}

const START_LIMIT: Duration = Duration::from_secs(20);
