//! `weir logout`: ends the login of this session or tree.

use std::process::ExitCode;

use anyhow::Context;

use crate::{
    control::{
        Client,
        protocol::{Binding, Request},
        socket_path,
    },
    terminal::visible_line,
};

/// End this session's login, and with it its connections and the agents that act for it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  weir logout")]
pub(super) struct Args {}

/// Logs out.
///
/// # Errors
///
/// When nobody is logged in here, or the agent cannot be reached.
pub(super) fn run(_args: Args) -> anyhow::Result<ExitCode> {
    let answer = Client::connect(&socket_path())?.ask(&Request::Logout)?;
    let binding: Binding =
        serde_json::from_value(answer).context("cannot read the agent's answer")?;
    eprintln!(
        "weir: {} is logged out of {}",
        visible_line(&binding.identity.principal.display),
        visible_line(&binding.key)
    );
    Ok(ExitCode::SUCCESS)
}
