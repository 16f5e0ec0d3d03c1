//! `weir whois`: who is behind a process or a connection.

use std::{net::SocketAddr, process::ExitCode, str::FromStr};

use super::whoami;
use crate::control::{Client, protocol::Request, socket_path};

/// Show who is behind a process, or behind the client's end of a connection, and how that answer came about.
#[derive(Debug, Clone, Copy, clap::Args)]
#[command(
    after_help = "Exit codes: 0 identified, 1 unidentified, or the agent cannot be reached or refuses.\n\nExamples:\n  weir whois 4242\n  weir whois 127.0.0.1:51724 --json"
)]
pub(super) struct Args {
    /// A process id, or the client's address and port
    #[arg(value_name = "PID|ADDR:PORT")]
    subject: Subject,
    /// Print the whole answer as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Subject {
    Process(u32),
    Socket(SocketAddr),
}

impl FromStr for Subject {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(pid) = text.parse() {
            return Ok(Self::Process(pid));
        }
        text.parse()
            .map(Self::Socket)
            .map_err(|_| "give a process id, or an address and port such as 127.0.0.1:51724")
    }
}

/// Prints who it is; exits with 1 when unidentified.
///
/// # Errors
///
/// When the agent refuses: others' processes are for root.
pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let request = match args.subject {
        Subject::Process(pid) => Request::Whois {
            pid: Some(pid),
            address: None,
        },
        Subject::Socket(address) => Request::Whois {
            pid: None,
            address: Some(address),
        },
    };
    let answer = Client::connect(&socket_path())?.ask(&request)?;
    whoami::tell(&answer, args.json)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_and_sockets_are_told_apart() {
        assert_eq!("42".parse(), Ok(Subject::Process(42)));
        assert_eq!(
            "[::1]:5".parse(),
            Ok(Subject::Socket("[::1]:5".parse().expect("an address")))
        );
        assert!("localhost:5".parse::<Subject>().is_err());
        assert!("-1".parse::<Subject>().is_err());
    }
}
