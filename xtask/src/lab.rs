//! `cargo xtask lab`: a private database, the agent and the development issuer around one command.
//!
//! Standard output belongs to the command: whatever lab has to say goes to standard error.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{ExitCode, ExitStatus};

use anyhow::{Context, Result};
use clap::ValueEnum;
use harness::{CatalogReader, Engine, Identity, Lab, LabOptions, lab::Mode};

use crate::compile::{self, Talk};
use crate::elevate;
use crate::setup::{self, Purpose};

/// Runs CMD bound to an identity, between a private database and the agent, and exits with its status.
///
/// CMD finds the database's own address in PGHOST, PGPORT, PGUSER, PGDATABASE and PGSSLMODE; interception does the rest.
/// WEIR_SOCKET and WEIR_BIN are the agent's. LAB_ADMIN_SOCKET (`folder:port`) is the server's unix socket, ungoverned;
/// LAB_DIRECT_HOST is an address of the same server that weir leaves alone. `$LAB_AS NAME CMD…` runs a command as another
/// of lab's people.
#[derive(Debug, clap::Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "switches of the command line"
)]
#[command(after_help = "Example:\n  cargo xtask lab --as bob -- psql -c 'drop table orders'")]
pub(crate) struct Args {
    /// Who runs CMD: alice (dba), bob (analyst), svc-billing (service), churn-bot (AI agent of bob), nobody
    #[arg(long = "as", value_name = "NAME", default_value = "alice", value_parser = parse_identity)]
    identity: Identity,
    /// The policy pack [default: policies/baseline]
    #[arg(long, value_name = "DIR")]
    policy: Option<PathBuf>,
    /// The database
    #[arg(long, value_enum, default_value_t = EngineName::Postgres)]
    engine: EngineName,
    /// The server's major version: the installed one, or 18, which is fetched [default: the installed one]
    #[arg(long, value_name = "VERSION")]
    server_version: Option<u16>,
    /// SQL that fills the database instead of the small shop
    #[arg(long, value_name = "F.sql")]
    seed: Option<PathBuf>,
    /// The agent has no role of its own to read catalogs with: it reads them on its clients' connections
    #[arg(long)]
    no_catalog_role: bool,
    /// Records what would have been refused instead of refusing it
    #[arg(long)]
    observe: bool,
    /// Server and agent speak TLS; PGSSLROOTCERT trusts both
    #[arg(long)]
    tls: bool,
    /// The server asks for SCRAM; PGPASSWORD is set
    #[arg(long)]
    scram: bool,
    /// How log-ins pass: plaintext (P), verifier (V), server-certificate (K), inject (I), opaque (O)
    /// [default: verifier with --tls --scram]
    #[arg(long, value_name = "MODE", value_parser = parse_mode)]
    mode: Option<Mode>,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<OsString>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum EngineName {
    Postgres,
    Mysql,
    None,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let engine = match args.engine {
        EngineName::Postgres => Engine::Postgres,
        EngineName::None => Engine::None,
        EngineName::Mysql => {
            eprintln!("xtask: --engine mysql comes with MySQL support");
            return Ok(ExitCode::from(2));
        }
    };
    if !elevate::is_prepared() {
        setup::prepare(Purpose::Demo)?;
        compile::weir(Talk::Quiet)?;
    }
    elevate::become_root("loading kernel programs")?;
    let lab = Lab::start(&LabOptions {
        engine,
        policy: args.policy.clone(),
        observe: args.observe,
        tls: args.tls,
        scram: args.scram,
        mode: args.mode,
        server_version: args.server_version,
        catalog: if args.no_catalog_role {
            CatalogReader::Clients
        } else {
            CatalogReader::Role
        },
        seed: args.seed.clone(),
        ..LabOptions::default()
    })?;
    let (program, arguments) = args.command.split_first().context("there is no command")?;
    let status = lab.run(lab.command(args.identity, program).args(arguments))?;
    drop(lab);
    Ok(exit_code(status))
}

/// As a shell reports it: a signal is 128 and its number.
fn exit_code(status: ExitStatus) -> ExitCode {
    let number = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal))
        .unwrap_or(1);
    ExitCode::from(u8::try_from(number).unwrap_or(1))
}

fn parse_mode(name: &str) -> Result<Mode, String> {
    Mode::parse(name).ok_or_else(|| {
        let names = Mode::ALL.map(Mode::name).join(", ");
        format!("lab knows {names}, and P, V, K, I, O")
    })
}

fn parse_identity(name: &str) -> Result<Identity, String> {
    Identity::parse(name).ok_or_else(|| {
        let names = Identity::ALL.map(Identity::name).join(", ");
        format!("lab knows {names}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_reported_as_a_shell_does() {
        assert_eq!(exit_code(ExitStatus::from_raw(9)), ExitCode::from(137));
        assert_eq!(exit_code(ExitStatus::from_raw(3 << 8)), ExitCode::from(3));
    }
}
