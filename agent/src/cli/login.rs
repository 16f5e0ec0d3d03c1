//! `weir login`: binds this login session, or one command and its children, to an identity.

use std::{
    ffi::OsString,
    io::Read,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context, bail};

use super::whoami;
use crate::control::{
    Client,
    protocol::{Binding, Request, Scope},
    socket_path,
};

/// Log this session in, or one command and its children.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  weir login                          everything that descends from this login to the host
  weir login --as bob -- psql shop    one command and its children
  weir login --token-file - <jwt      with a token of a configured issuer")]
pub(super) struct Args {
    /// The user at the development issuer; your account's name when not given
    #[arg(long = "as", value_name = "USER", conflicts_with = "token_file")]
    user: Option<String>,
    /// What to bind: this login session, or the command and its children; the latter when a command is given
    #[arg(long, value_enum)]
    scope: Option<Scope>,
    /// A file with a JWT of a configured issuer; - reads standard input
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The command to run under the identity
    #[arg(last = true, value_name = "CMD")]
    command: Vec<OsString>,
}

/// Logs in; with a command, becomes it.
///
/// # Errors
///
/// When the agent refuses, or the command cannot be started.
pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let scope = args.scope.unwrap_or(if args.command.is_empty() {
        Scope::Session
    } else {
        Scope::Tree
    });
    if scope == Scope::Tree && args.command.is_empty() {
        bail!(
            "--scope tree binds a command and its children: give one, as in `weir login --scope tree -- bash`"
        );
    }
    let token = args.token_file.as_deref().map(read_token).transpose()?;
    let user = if token.is_some() {
        None
    } else {
        Some(args.user.map_or_else(account, Ok)?)
    };
    let answer = Client::connect(&socket_path())?.ask(&Request::Login { user, token, scope })?;
    let binding: Binding =
        serde_json::from_value(answer).context("cannot read the agent's answer")?;
    if args.command.is_empty() {
        println!("weir: {}", whoami::sentence(&binding));
        return Ok(ExitCode::SUCCESS);
    }
    whoami::announce(&binding);
    become_command(&args.command)
}

/// Replaces this process by the command: what is bound to this process is bound to the command, and its exit status
/// is the command's own.
pub(super) fn become_command(command: &[OsString]) -> anyhow::Result<ExitCode> {
    let (program, arguments) = command
        .split_first()
        .context("there is no command to run")?;
    let error = Command::new(program).args(arguments).exec();
    Err(error).with_context(|| format!("cannot run {}", program.display()))
}

fn read_token(path: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    if path == Path::new("-") {
        std::io::stdin()
            .read_to_string(&mut text)
            .context("cannot read the token from standard input")?;
    } else {
        text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the token file {}", path.display()))?;
    }
    Ok(text.trim().to_owned())
}

fn account() -> anyhow::Result<String> {
    let uid = nix::unistd::getuid();
    let user = nix::unistd::User::from_uid(uid).context("cannot look up your account")?;
    Ok(user
        .with_context(|| format!("user {uid} has no account name: say --as USER"))?
        .name)
}
