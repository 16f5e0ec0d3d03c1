//! `weir unload`: removes what an agent left in the kernel.

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::Context;
use serde::Deserialize;

use super::output::print;
use crate::capture::{self, Settings};

/// Removes the kernel programs and maps that an agent left; connections are no longer governed.
///
/// No agent may run; what an agent with `on_stop = "keep"`, a crash or a kill left is what it is for.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 nothing is loaded any more, 1 an agent runs or a pin cannot be removed.\n\nExamples:\n  weir unload\n  weir unload --config /etc/weir/weir.toml"
)]
pub(super) struct Args {
    /// Where they are pinned.
    #[arg(long, value_name = "FOLDER")]
    pin_dir: Option<PathBuf>,
    /// The agent's configuration, for its `[capture] pin_dir`.
    #[arg(long, value_name = "FILE", conflicts_with = "pin_dir")]
    config: Option<PathBuf>,
}

/// The one section that matters here: a file that is wrong elsewhere must not keep programs loaded.
#[derive(Debug, Default, Deserialize)]
struct File {
    #[serde(default)]
    capture: Settings,
}

/// Runs the command.
pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let folder = match (args.pin_dir, args.config) {
        (Some(folder), _) => folder,
        (None, Some(path)) => {
            let text = fs::read_to_string(&path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            let file: File = toml::from_str(&text)
                .with_context(|| format!("cannot understand {}", path.display()))?;
            file.capture.pin_dir
        }
        (None, None) => Settings::default().pin_dir,
    };
    match capture::unload(&folder)? {
        0 => print(&format!("nothing was loaded below {}\n", folder.display()))?,
        count => print(&format!(
            "{count} kernel programs removed from {}\n",
            folder.display()
        ))?,
    }
    Ok(ExitCode::SUCCESS)
}
