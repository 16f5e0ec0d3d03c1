//! `weir dev-idp`: an identity provider for development.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use anyhow::Context;

use crate::identity::development::{Issuer, default_users, parse_users};

/// Run an identity provider for development: it signs a token for any of its users, for whoever asks.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  weir dev-idp --listen 127.0.0.1:9000

Its people, when --users names no others: alice (human, group dba), bob (human, group analyst),
svc-billing (workload, group billing), churn-bot (AI agent).")]
pub(super) struct Args {
    /// Where to listen; loopback only. Port 0 takes a free one
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// A file that gets the address once it answers
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
    /// A TOML file of users: [[user]] with name, kind (human, workload, agent) and groups
    #[arg(long, value_name = "FILE")]
    users: Option<PathBuf>,
}

/// Runs until SIGINT or SIGTERM.
///
/// # Errors
///
/// When it cannot listen, or the users' file cannot be read.
pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(serve(args))
}

async fn serve(args: Args) -> anyhow::Result<ExitCode> {
    use tokio::signal::unix::{SignalKind, signal};
    let users = match &args.users {
        None => default_users(),
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            parse_users(&text).with_context(|| format!("cannot use {}", path.display()))?
        }
    };
    let issuer = Issuer::open(args.listen, users).await?;
    let (mut interrupt, mut terminate) = (
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
    );
    eprintln!(
        "weir: FOR DEVELOPMENT ONLY: this issuer signs a token for anyone who asks on this host"
    );
    println!("{}", issuer.url());
    if let Some(path) = &args.ready_file {
        announce(path, issuer.url()).with_context(|| format!("cannot write {}", path.display()))?;
    }
    tokio::select! {
        () = issuer.serve() => {}
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// Whole or not there: a reader that waits for the file never sees half of it.
fn announce(path: &std::path::Path, url: &str) -> std::io::Result<()> {
    let partial = path.with_extension("partial");
    std::fs::write(&partial, format!("{url}\n"))?;
    std::fs::rename(partial, path)
}
