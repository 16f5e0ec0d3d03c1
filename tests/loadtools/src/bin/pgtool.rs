//! A fake PostgreSQL server, a holder of idle connections and clients for bulk transfer.

use std::convert::Infallible;
use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, thread};

use anyhow::{Context, ensure};
use clap::{Args, Parser, Subcommand, ValueEnum};
use loadtools::client::Client;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Load for PostgreSQL proxies that pgbench cannot make.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    tool: Tool,
}

#[derive(Subcommand)]
enum Tool {
    /// Accepts every login and answers every statement with one row: idle connections then cost
    /// what the proxy keeps for them and no database processes.
    Fake {
        /// Addresses to listen on.
        #[arg(required = true)]
        listen: Vec<SocketAddr>,
    },
    /// Opens connections that each ran one statement, prints `ready`, and holds them until it is
    /// ended.
    Idle {
        #[command(flatten)]
        target: Target,
        /// How many connections.
        connections: usize,
    },
    /// Runs a statement again and again and throws the answers away in bounded memory.
    Drain {
        #[command(flatten)]
        target: Target,
        /// How long to go on, in seconds.
        seconds: f64,
        /// The statement.
        statement: String,
    },
    /// Runs a `COPY … FROM STDIN` again and again, each within a transaction it rolls back.
    Fill {
        #[command(flatten)]
        target: Target,
        /// How long to go on, in seconds.
        seconds: f64,
        /// The `COPY` statement.
        statement: String,
        /// The row, sent as it is and followed by a line feed.
        row: String,
        /// How many times the row is sent per statement.
        rows: u32,
    },
    /// Counts the instructions that a process between here and the server executes for a number
    /// of statements, on a connection that is warm. Prints what `stepcount` prints.
    Steps {
        #[command(flatten)]
        target: Target,
        /// How statements are sent.
        #[arg(value_enum)]
        mode: Mode,
        /// How many statements are counted.
        statements: u32,
        /// What `stepcount` is to count: its own arguments before the command.
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        counted: Vec<String>,
    },
}

/// How statements are sent.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// As text with the value in it.
    Simple,
    /// Prepared once, executed with a parameter.
    Prepared,
}

#[derive(Args)]
struct Target {
    /// Where to connect.
    address: SocketAddr,
    /// The role to log in as.
    user: String,
    /// The database to log in to.
    database: String,
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().tool {
        Tool::Fake { listen } => fake(listen),
        Tool::Idle {
            target,
            connections,
        } => idle(&target, connections).map(|never| match never {}),
        Tool::Drain {
            target,
            seconds,
            statement,
        } => {
            let mut buffer = vec![0; BULK_BUFFER_BYTES];
            let mut client = target.connect(&mut buffer)?;
            repeat(seconds, || Ok(client.query(&statement, &mut buffer)?))
        }
        Tool::Steps {
            target,
            mode,
            statements,
            counted,
        } => steps(&target, mode, statements, &counted),
        Tool::Fill {
            target,
            seconds,
            statement,
            row,
            rows,
        } => {
            let mut buffer = vec![0; BULK_BUFFER_BYTES];
            let mut client = target.connect(&mut buffer)?;
            let row = format!("{row}\n");
            repeat(seconds, || {
                client.query("BEGIN", &mut buffer)?;
                let bytes = client.copy_in(&statement, row.as_bytes(), rows, &mut buffer)?;
                client.query("ROLLBACK", &mut buffer)?;
                Ok(bytes)
            })
        }
    }
}

/// One connection that reads accounts as `pgbench -S` does.
struct Reader {
    client: Client,
    mode: Mode,
    buffer: Vec<u8>,
}

impl Reader {
    fn connect(target: &Target, mode: Mode) -> anyhow::Result<Self> {
        let mut buffer = vec![0; 8192];
        let mut client = target.connect(&mut buffer)?;
        if mode == Mode::Prepared {
            let statement = "SELECT abalance FROM pgbench_accounts WHERE aid = $1;";
            client.prepare("P_0", statement, &mut buffer)?;
        }
        Ok(Self {
            client,
            mode,
            buffer,
        })
    }

    /// Reads one account after the other, so that every statement has another value.
    fn read(&mut self, accounts: std::ops::Range<u32>) -> anyhow::Result<()> {
        for account in accounts {
            match self.mode {
                Mode::Simple => {
                    let from = "SELECT abalance FROM pgbench_accounts WHERE aid =";
                    self.client
                        .query(&format!("{from} {account};"), &mut self.buffer)?;
                }
                Mode::Prepared => {
                    self.client
                        .execute("P_0", &account.to_string(), &mut self.buffer)?;
                }
            }
        }
        Ok(())
    }
}

fn steps(target: &Target, mode: Mode, statements: u32, counted: &[String]) -> anyhow::Result<()> {
    let mut reader = Reader::connect(target, mode)?;
    reader.read(FIRST_ACCOUNT..FIRST_ACCOUNT + WARM_STATEMENTS)?;
    let own = env::current_exe().context("looking for this program")?;
    // The counter counts until its command ends, and `cat` ends when its input does.
    let mut stepper = Command::new(own.with_file_name("stepcount"))
        .args(counted)
        .arg("cat")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("starting the counter")?;
    let (input, output) = (stepper.stdin.take(), stepper.stdout.take());
    let mut lines = BufReader::new(output.context("the counter has no output")?).lines();
    let first = lines.next().context("the counter ended")??;
    ensure!(
        first == "counting",
        "the counter printed something else: {first}"
    );
    let start = FIRST_ACCOUNT + WARM_STATEMENTS;
    let outcome = reader.read(start..start + statements);
    drop(input);
    let result = lines.next().context("the counter ended early")??;
    stepper.wait().context("waiting for the counter")?;
    outcome?;
    println!("{result}");
    Ok(())
}

impl Target {
    fn connect(&self, buffer: &mut [u8]) -> anyhow::Result<Client> {
        Client::connect(self.address, &self.user, &self.database, buffer)
            .with_context(|| format!("logging in at {}", self.address))
    }
}

/// Repeats `once` and prints `<times> <bytes> <seconds>`.
fn repeat(seconds: f64, mut once: impl FnMut() -> anyhow::Result<u64>) -> anyhow::Result<()> {
    let limit = Duration::try_from_secs_f64(seconds).context("reading the number of seconds")?;
    let start = Instant::now();
    let (mut times, mut bytes) = (0_u64, 0_u64);
    while start.elapsed() < limit {
        bytes += once()?;
        times += 1;
    }
    println!("{times} {bytes} {:.6}", start.elapsed().as_secs_f64());
    Ok(())
}

fn idle(target: &Target, connections: usize) -> anyhow::Result<Infallible> {
    let mut buffer = vec![0; 8192];
    let mut held = Vec::with_capacity(connections);
    for index in 0..connections {
        let mut client = target.connect(&mut buffer)?;
        client
            .query("SELECT 1", &mut buffer)
            .with_context(|| format!("connection {index}"))?;
        held.push(client);
    }
    println!("ready");
    loop {
        thread::park();
    }
}

#[tokio::main(flavor = "current_thread")]
async fn fake(addresses: Vec<SocketAddr>) -> anyhow::Result<()> {
    let mut servers = tokio::task::JoinSet::new();
    for address in addresses {
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("listening on {address}"))?;
        servers.spawn(async move {
            loop {
                let (stream, _) = listener.accept().await?;
                // A client that breaks off only ends its own session.
                tokio::spawn(async move { serve(stream).await.ok() });
            }
        });
    }
    while let Some(ended) = servers.join_next().await {
        let ended: io::Result<()> = ended?;
        ended?;
    }
    Ok(())
}

/// One session. Requests of the benchmark fit one read each: they are short and not pipelined.
async fn serve(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = [0; 1024];
    loop {
        let count = stream.read(&mut buffer).await?;
        match buffer.get(4..8) {
            _ if count == 0 => return Ok(()),
            Some(SSL_REQUEST | GSS_REQUEST) if count == 8 => stream.write_all(b"N").await?,
            _ => break,
        }
    }
    stream.write_all(&greeting()).await?;
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 || buffer[0] == b'X' {
            return Ok(());
        }
        stream.write_all(ONE_ROW).await?;
    }
}

/// `AuthenticationOk`, the settings a proxy may wait for, `BackendKeyData`, `ReadyForQuery`.
fn greeting() -> Vec<u8> {
    let mut bytes = b"R\0\0\0\x08\0\0\0\0".to_vec();
    for (name, value) in SETTINGS {
        bytes.push(b'S');
        let length = u32::try_from(4 + name.len() + value.len() + 2).expect("settings are short");
        bytes.extend_from_slice(&length.to_be_bytes());
        for word in [name, value] {
            bytes.extend_from_slice(word.as_bytes());
            bytes.push(0);
        }
    }
    bytes.extend_from_slice(b"K\0\0\0\x0c\0\0\0\x01\0\0\0\x01Z\0\0\0\x05I");
    bytes
}

const SETTINGS: [(&str, &str); 7] = [
    ("server_version", "15.0"),
    ("client_encoding", "UTF8"),
    ("server_encoding", "UTF8"),
    ("DateStyle", "ISO, MDY"),
    ("TimeZone", "UTC"),
    ("standard_conforming_strings", "on"),
    ("integer_datetimes", "on"),
];

/// A row description of one `int4` named `a`, the row `1`, `SELECT 1`, ready.
const ONE_ROW: &[u8] = b"T\0\0\0\x1a\0\x01a\0\0\0\0\0\0\0\0\0\0\x17\0\x04\xff\xff\xff\xff\0\0\
    D\0\0\0\x0b\0\x01\0\0\0\x011C\0\0\0\x0dSELECT 1\0Z\0\0\0\x05I";

/// The request codes 80877103 and 80877104.
const SSL_REQUEST: &[u8] = &80_877_103_u32.to_be_bytes();
const GSS_REQUEST: &[u8] = &80_877_104_u32.to_be_bytes();

/// Account numbers that all have as many digits.
const FIRST_ACCOUNT: u32 = 100_000;

/// The first use of every path happens within these.
const WARM_STATEMENTS: u32 = 200;

/// Large enough that the reader is never what limits a bulk transfer.
const BULK_BUFFER_BYTES: usize = 262_144;
