//! `weir login`: binds this login session, or one command and its children, to an identity.

use std::{
    ffi::OsString,
    io::Read,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context, bail};
use serde_json::{Value, json};

use super::whoami;
use crate::{
    control::{
        Client,
        protocol::{Begun, Binding, Progress, Request, Scope},
        socket_path,
    },
    identity::login::{Flow, Prompt},
};

/// Log this session in, or one command and its children.
#[derive(Debug, clap::Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
#[command(after_help = "\
The agent talks to the provider and keeps the tokens; this command shows where to go, and waits. Ctrl-C ends the login.

Examples:
  weir login                          everything that descends from this login to the host
  weir login --browser                by a browser on this host, instead of a code for any device
  weir login --scope tree -- psql     one command and its children
  weir login --max-age 300            once more, for rules that ask for a fresh login
  weir login --as bob -- psql shop    at the development issuer
  weir login --token-file - <jwt      with a token of a configured issuer
  weir login --no-wait                shows the code and ends; the agent finishes the login (for PAM)

Exit codes: 0 logged in (or the command's own), 1 refused, 2 wrong usage.")]
pub(super) struct Args {
    /// The user at the development issuer; your account's name when not given
    #[arg(long = "as", value_name = "USER", conflicts_with = "token_file")]
    user: Option<String>,
    /// The provider, where several are configured
    #[arg(long, value_name = "URL", conflicts_with_all = ["user", "token_file"])]
    issuer: Option<String>,
    /// By a browser on this host
    #[arg(long, conflicts_with_all = ["device", "user", "token_file"])]
    browser: bool,
    /// By a code that is typed into a page on any device
    #[arg(long, conflicts_with_all = ["user", "token_file"])]
    device: bool,
    /// Have the provider ask anew unless you proved yourself within so many seconds
    #[arg(long, value_name = "SECONDS", conflicts_with_all = ["user", "token_file"])]
    max_age: Option<u64>,
    /// How you are to prove yourself, in the provider's words (acr)
    #[arg(long, value_name = "ACR", conflicts_with_all = ["user", "token_file"])]
    acr: Option<String>,
    /// End when the code is shown: the agent goes on, until you are logged in or this login session ends. Run by root
    /// with PAM_USER set, as pam_exec does, it logs that account's session in
    #[arg(long, conflicts_with_all = ["user", "token_file", "command"])]
    no_wait: bool,
    /// What to bind: this login session, or the command and its children; the latter when a command is given
    #[arg(long, value_enum)]
    scope: Option<Scope>,
    /// A file with a JWT of a configured issuer; - reads standard input
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Print where to go, and what came of it, as one line of JSON each
    #[arg(long)]
    json: bool,
    /// The command to run under the identity
    #[arg(last = true, value_name = "CMD")]
    command: Vec<OsString>,
}

/// Logs in; with a command, becomes it.
///
/// # Errors
///
/// When the agent refuses, or the command cannot be started.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let scope = args
        .scope
        .or((!args.command.is_empty()).then_some(Scope::Tree));
    if scope == Some(Scope::Tree) && args.command.is_empty() {
        bail!(
            "--scope tree binds a command and its children: give one, as in `weir login --scope tree -- bash`"
        );
    }
    let mut client = Client::connect(&socket_path())?;
    if args.no_wait {
        return begin_only(args, scope, &mut client);
    }
    let binding = log_in(args, scope, &mut client)?;
    if args.command.is_empty() {
        if args.json {
            println!("{}", json!({ "binding": binding }));
        } else {
            println!("weir: {}", whoami::sentence(&binding));
        }
        return Ok(ExitCode::SUCCESS);
    }
    // The command is not to hold a connection to the agent.
    drop(client);
    whoami::announce(&binding);
    become_command(&args.command)
}

fn log_in(args: &Args, scope: Option<Scope>, client: &mut Client) -> anyhow::Result<Binding> {
    let token = args.token_file.as_deref().map(read_token).transpose()?;
    if token.is_none() && args.user.is_none() {
        match read(client.ask(&beginning(args, scope, None))?)? {
            Begun::Prompt(prompt) => return wait(args, &prompt, client),
            Begun::Development => {}
        }
    }
    let user = match token {
        Some(_) => None,
        None => Some(args.user.clone().map_or_else(account, Ok)?),
    };
    let scope = scope.unwrap_or(Scope::Session);
    read(client.ask(&Request::Login { user, token, scope })?)
}

fn beginning(args: &Args, scope: Option<Scope>, account: Option<String>) -> Request {
    Request::LoginBegin {
        issuer: args.issuer.clone(),
        flow: match (args.browser, args.device) {
            (true, _) => Some(Flow::Browser),
            (_, true) => Some(Flow::Device),
            _ => None,
        },
        scope,
        max_age_s: args.max_age,
        acr: args.acr.clone(),
        detached: args.no_wait,
        account,
    }
}

/// Shows where to go, and leaves the rest to the agent.
fn begin_only(args: &Args, scope: Option<Scope>, client: &mut Client) -> anyhow::Result<ExitCode> {
    // Whom PAM lets in; of others the agent would not take it.
    let account = std::env::var("PAM_USER")
        .ok()
        .filter(|_| nix::unistd::geteuid().is_root());
    match read(client.ask(&beginning(args, scope, account))?)? {
        Begun::Prompt(prompt) if args.json => println!("{}", json!({ "prompt": prompt })),
        // To standard output: pam_exec passes that on.
        Begun::Prompt(prompt) => println!(
            "{}",
            instructions(&prompt, "The agent finishes the login by itself")
        ),
        Begun::Development => {
            bail!("the development issuer asks nobody: leave out --no-wait")
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Shows where to go, and waits for what comes of it.
fn wait(args: &Args, prompt: &Prompt, client: &mut Client) -> anyhow::Result<Binding> {
    if args.json {
        println!("{}", json!({ "prompt": prompt }));
    } else {
        // To standard error: standard output may be the command's.
        eprintln!("{}", instructions(prompt, "Ctrl-C ends it"));
    }
    loop {
        match read(client.ask(&Request::LoginWait)?)? {
            Progress::Waiting => {}
            Progress::Bound(binding) => return Ok(*binding),
        }
    }
}

/// `end` says what becomes of it.
fn instructions(prompt: &Prompt, end: &str) -> String {
    let minutes = prompt.expires_s.div_ceil(60);
    match &prompt.code {
        Some(code) => {
            let direct = prompt.url_complete.as_ref();
            let direct = direct.map_or_else(String::new, |url| format!("\n      or {url}"));
            format!(
                "weir: log in at {}\n      go to {}{direct}\n      and enter  {code}\n      Enter it only if you ran this command yourself, or are just logging in. Good for {minutes} minutes. {end}.",
                prompt.issuer, prompt.url
            )
        }
        None => format!(
            "weir: log in at {}\n      open this in a browser on this host:\n      {}\n      Good for {minutes} minutes. {end}.",
            prompt.issuer, prompt.url
        ),
    }
}

fn read<T: serde::de::DeserializeOwned>(answer: Value) -> anyhow::Result<T> {
    serde_json::from_value(answer).context("cannot read the agent's answer")
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
