//! What a proxy keeps for connections that do nothing.

use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use harness::lab::{Engine, LabOptions};
use harness::service::Ending;
use harness::{Lab, Postgres, Service, port};

use super::client::{self, Client};
use super::peer::{DIRECT_HOST, Peer, PeerName, load_tool};
use super::process::{self, Memory};
use super::statistics::real;

/// What was found for one peer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Idle {
    pub(crate) peer: PeerName,
    pub(crate) connections: u32,
    /// Resident before the first connection.
    pub(crate) base_kib: u64,
    /// Growth of `VmRSS` per connection.
    pub(crate) kib_per_connection: f64,
    /// Growth of `Pss` per connection.
    pub(crate) proportional_kib_per_connection: f64,
    /// Share of one core used while every connection is idle.
    pub(crate) used_cores: f64,
}

/// Holds `connections` connections that each ran one statement, through a fresh process of the
/// peer in front of a fake server: real ones would fill the machine with server processes.
/// `None` for no proxy or one that is not installed.
pub(crate) fn measure(name: PeerName, connections: u32, folder: &Path) -> Result<Option<Idle>> {
    let server = FakeServer::start(folder)?;
    let peer = match name.proxy() {
        Some(proxy) => Peer::proxy(proxy, server.port, folder)?,
        None if name == PeerName::Weir => Some(agent(server.port)?),
        None => None,
    };
    let Some(peer) = peer else {
        return Ok(None);
    };
    let pid = peer.pid().context("the peer has ended")?;
    let mut command = client::command(&peer, &load_tool("pgtool")?, folder);
    command.args([
        "idle",
        &peer.address.to_string(),
        Postgres::USER,
        Postgres::DATABASE,
    ]);
    command.arg(connections.to_string());
    let mut client = Client::start(command, folder)?;
    thread::sleep(SETTLE);
    let before = Memory::read(pid)?;
    client.go()?;
    client.wait_for("ready", CONNECT_LIMIT)?;
    thread::sleep(SETTLE);
    let after = Memory::read(pid)?;
    let start = process::processor_time(pid)?;
    thread::sleep(IDLE_TIME);
    let used = process::processor_time(pid)?.saturating_sub(start);
    let growth =
        |now: u64, then: u64| real(now.saturating_sub(then)) / f64::from(connections.max(1));
    Ok(Some(Idle {
        peer: name,
        connections,
        base_kib: before.resident_kib,
        kib_per_connection: growth(after.resident_kib, before.resident_kib),
        proportional_kib_per_connection: growth(after.proportional_kib, before.proportional_kib),
        used_cores: process::cores(used, IDLE_TIME),
    }))
}

/// An agent that governs the fake server.
fn agent(server_port: u16) -> Result<Peer> {
    let ports = toml::Value::Array(vec![i64::from(server_port).into()]);
    let options = LabOptions {
        engine: Engine::None,
        settings: vec![("endpoint.0.ports".to_owned(), ports)],
        ..LabOptions::default()
    };
    Ok(Peer::weir(Rc::new(Lab::start(&options)?), server_port))
}

struct FakeServer {
    port: u16,
    _service: Service,
}

impl FakeServer {
    /// Listens on both addresses that a real server of the benchmark has.
    fn start(folder: &Path) -> Result<Self> {
        let port = port::free(&["127.0.0.1", "127.0.0.2"])?;
        let mut command = Command::new(load_tool("pgtool")?);
        command
            .arg("fake")
            .args([Ipv4Addr::LOCALHOST, DIRECT_HOST].map(|ip| format!("{ip}:{port}")));
        let log = folder.join("fake.log");
        let service = Service::start("the fake server", command, &log, Ending::default())?;
        service.wait_until(Duration::from_secs(5), || {
            TcpStream::connect((DIRECT_HOST, port)).is_ok()
        })?;
        Ok(Self {
            port,
            _service: service,
        })
    }
}

/// Allocators hand memory back and threads finish their start within this.
const SETTLE: Duration = Duration::from_secs(1);

const CONNECT_LIMIT: Duration = Duration::from_mins(1);

/// How long the processor time of idle connections is watched.
const IDLE_TIME: Duration = Duration::from_secs(2);
