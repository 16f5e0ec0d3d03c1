//! `weir audit verify`: is the journal what was recorded?

use std::{fmt::Write as _, path::PathBuf, process::ExitCode};

use anyhow::Context;

use super::StateDir;
use crate::audit::{
    chain::{
        key::PublicKey,
        seal::Seal,
        verify::{Verification, verify},
    },
    journal::FOLDER,
    reports::period::rfc3339,
};

/// Check that no record was changed, removed, reordered or cut off.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  weir audit verify
  weir audit verify --state-dir /var/lib/weir --json
  weir audit verify --checkpoint /mnt/elsewhere/000000000007.seal

Exit codes: 0 intact, 1 broken, 2 cannot be read.

The signing key lies on this host. Whoever is root here can forge a journal from its beginning; what was published elsewhere
before (the head below, or a checkpoint) cannot be forged after the fact. Keep copies of one or the other.")]
pub(super) struct Args {
    #[command(flatten)]
    state_dir: StateDir,
    /// Print everything as JSON
    #[arg(long)]
    json: bool,
    /// The public key, 64 hexadecimal digits [default: audit.pub in the state directory]
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// A checkpoint of this journal that was copied elsewhere
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
}

const BROKEN: u8 = 1;
const CANNOT: u8 = 2;

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    match check(args) {
        Ok(found) => {
            super::print(&if args.json {
                format!("{:#}\n", serde_json::json!(found))
            } else {
                text(&found)
            })?;
            Ok(if found.intact {
                ExitCode::SUCCESS
            } else {
                BROKEN.into()
            })
        }
        Err(error) => {
            eprintln!("weir: {error:#}");
            Ok(CANNOT.into())
        }
    }
}

fn check(args: &Args) -> anyhow::Result<Verification> {
    let state_dir = args.state_dir.find();
    if !state_dir.join(FOLDER).is_dir() {
        anyhow::bail!("there is no journal in {}", state_dir.display());
    }
    let key = match &args.key {
        Some(text) => PublicKey::parse(text).context("the key is not 64 hexadecimal digits")?,
        None => PublicKey::open(&state_dir)?,
    };
    let published = match &args.checkpoint {
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            Some(
                Seal::parse(&text, &key)
                    .with_context(|| format!("cannot use {}", path.display()))?,
            )
        }
        None => None,
    };
    Ok(verify(&state_dir, &key, published.as_ref())?)
}

fn text(found: &Verification) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    if found.intact {
        let _ = writeln!(
            text,
            "intact   records {} to {}, {} blocks",
            found.retired_seq + 1,
            found.covered_seq,
            found.blocks
        );
    }
    for (at, fault) in found.faults.iter().enumerate() {
        let block = fault
            .block
            .map_or_else(String::new, |block| format!(", block {block}"));
        let last = fault
            .last_seq
            .map_or_else(|| "on".to_owned(), |last| format!("to {last}"));
        let _ = writeln!(
            text,
            "BROKEN   segment {}{block}, records {} {last}: {}",
            fault.segment, fault.first_seq, fault.what
        );
        if at == 0 {
            let covered = found.covered_seq;
            let _ = writeln!(text, "         intact before it: records 1 to {covered}");
        }
    }
    let _ = writeln!(
        text,
        "journal  {}, {} segments, {} of them sealed",
        found.journal, found.segments, found.sealed
    );
    if found.head_ns > 0 && found.intact {
        let _ = writeln!(
            text,
            "head     {} signed {}",
            found.head,
            rfc3339(found.head_ns)
        );
    }
    if found.retired_seq > 0 {
        let _ = writeln!(
            text,
            "removed  records 1 to {}, kept long enough: the journal says so, signed",
            found.retired_seq
        );
    }
    if found.uncovered > 0 {
        let _ = writeln!(
            text,
            "uncovered  the last {} records are not chained yet",
            found.uncovered
        );
    }
    if found.torn_bytes > 0 {
        let _ = writeln!(
            text,
            "torn     {} bytes of a record that a crash cut short",
            found.torn_bytes
        );
    }
    if found.live {
        let _ = writeln!(text, "live     an agent is writing this journal");
    }
    text
}
