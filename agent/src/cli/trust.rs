//! `weir trust`: the host's CA, and who trusts it.

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::{Context, ensure};
use aws_lc_rs::digest::{SHA256, digest};
use clap::ValueEnum;
use serde_json::json;

use crate::{
    config::Config,
    control::{Client, protocol::Request, socket_path},
    tls::Authority,
    trust::{Account, Action, Finding, State, Store, Task},
};

/// Makes clients on this host trust the certificates that weir shows them, or takes that back.
///
/// Where an endpoint's mode has clients speak TLS with weir, those that verify certificates must trust the host's CA.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 done (for status: trusted everywhere that was asked), 1 not.\n\nExamples:\n  weir trust install --store libpq --user billing\n  weir trust status\n  weir trust remove"
)]
pub(super) struct Args {
    /// What to do.
    #[arg(value_enum, default_value_t = Verb::Status)]
    verb: Verb,
    /// Where; libpq's file only where there is one, unless it is named.
    #[arg(long, value_enum, value_name = "STORE", default_value_t = Where::All)]
    store: Where,
    /// Whose ~/.postgresql [default: the user who calls, behind sudo too]
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// A Python interpreter beside those in the path, such as a virtual environment's.
    #[arg(long, value_name = "FILE")]
    python: Vec<PathBuf>,
    /// A Java runtime beside those below /usr/lib/jvm.
    #[arg(long, value_name = "FOLDER")]
    java_home: Vec<PathBuf>,
    /// The agent's state folder [default: the running agent's, or /var/lib/weir]
    #[arg(long, value_name = "FOLDER")]
    state_dir: Option<PathBuf>,
    /// The agent's configuration, for its state folder.
    #[arg(long, value_name = "FILE", conflicts_with = "state_dir")]
    config: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Verb {
    /// Put the CA where clients look; it is made when there is none.
    Install,
    /// Take it out again: every file is as it was.
    Remove,
    /// Say where it is trusted.
    Status,
    /// Print it.
    Show,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Where {
    System,
    Libpq,
    Java,
    Node,
    Python,
    All,
}

impl Where {
    fn stores(self) -> Vec<Store> {
        match self {
            Self::System => vec![Store::System],
            Self::Libpq => vec![Store::Libpq],
            Self::Java => vec![Store::Java],
            Self::Node => vec![Store::Node],
            Self::Python => vec![Store::Python],
            // Java's may follow the system's.
            Self::All => vec![
                Store::System,
                Store::Libpq,
                Store::Java,
                Store::Node,
                Store::Python,
            ],
        }
    }
}

/// Runs the command.
pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let state_dir = state_dir(args.state_dir, args.config)?;
    let file = state_dir.join("ca.pem");
    if args.verb == Verb::Install && !file.exists() {
        fs::create_dir_all(&state_dir)
            .with_context(|| format!("cannot make {}", state_dir.display()))?;
        Authority::open(&state_dir).context("cannot make the local CA")?;
    }
    let pem = fs::read_to_string(&file).with_context(|| {
        format!(
            "cannot read the local CA from {}: \"weir run\" and \"weir trust install\" make it",
            file.display()
        )
    })?;
    let certificate = rustls_pemfile::certs(&mut pem.as_bytes())
        .next()
        .context("the local CA's file holds no certificate")??;
    let fingerprint = hex::encode(digest(&SHA256, &certificate));
    if args.verb == Verb::Show {
        if args.json {
            println!(
                "{:#}",
                json!({"file": file, "sha256": fingerprint, "pem": pem})
            );
        } else {
            print!("{pem}");
        }
        return Ok(ExitCode::SUCCESS);
    }
    let action = match args.verb {
        Verb::Install => Action::Install,
        Verb::Remove => Action::Remove,
        Verb::Status | Verb::Show => Action::Look,
    };
    let task = Task {
        pem,
        action,
        named: args.store != Where::All,
        user: Account::find(args.user.as_deref()).context("cannot tell whose files are meant")?,
        pythons: args.python,
        java_homes: args.java_home,
    };
    let stores = args.store.stores();
    let findings: Vec<Finding> = stores.into_iter().flat_map(|it| task.run(it)).collect();
    if args.json {
        println!(
            "{:#}",
            json!({"file": file, "sha256": fingerprint, "stores": findings})
        );
    } else {
        println!("{}  SHA-256 {fingerprint}", file.display());
        findings.iter().for_each(print);
    }
    let wanted = |finding: &Finding| match (action, finding.state) {
        (_, State::Skipped) => true,
        (Action::Remove, state) => state == State::Absent,
        (_, state) => state == State::Installed,
    };
    Ok(if findings.iter().all(wanted) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn state_dir(given: Option<PathBuf>, config: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    if let Some(path) = given {
        return Ok(path);
    }
    if let Some(path) = config {
        return Ok(Config::load(&path)?.agent.state_dir);
    }
    let status = Client::connect(&socket_path()).and_then(|mut agent| agent.ask(&Request::Status));
    let of_agent = status
        .ok()
        .and_then(|status| status["state_dir"].as_str().map(PathBuf::from));
    let path = of_agent.unwrap_or_else(|| Config::default().agent.state_dir);
    ensure!(path.is_absolute(), "the agent names no state folder");
    Ok(path)
}

fn print(finding: &Finding) {
    let state = match finding.state {
        State::Installed => "trusted",
        State::Absent => "not trusted",
        State::Stale => "an older CA",
        State::Skipped => "left alone",
        State::Failed => "FAILED",
    };
    let store = finding
        .store
        .to_possible_value()
        .map_or_else(String::new, |value| value.get_name().to_owned());
    println!("  {store:<8}{state:<13}{}", finding.place.display());
    if !finding.detail.is_empty() {
        println!("{:23}{}", "", finding.detail);
    }
}
