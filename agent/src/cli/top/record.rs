//! What the agent's record says of a session's last statements.

use std::{fmt::Write as _, path::Path};

use anyhow::{Context as _, bail};

use crate::{
    audit::{journal::FOLDER, past::Past, record::Ending, reports::period::rfc3339},
    cli::{
        approvals::show,
        policy::{self, explain},
    },
    terminal::visible,
};

/// The last statements of a session, each with what was decided about it.
pub(super) fn last(state_dir: &Path, session: u64) -> anyhow::Result<String> {
    let past = of(state_dir, session)?;
    if past.is_empty() {
        return Ok("no statement of it is in the newest part of the record".to_owned());
    }
    let mut out = String::from("last statements, literals replaced\n");
    for past in &past {
        // Writing to a string cannot fail.
        let _ = writeln!(
            out,
            "  {}  {}\n    {}",
            rfc3339(past.time_ns),
            show::line(&past.decided.facts.normalised),
            visible(&decided(past)).replace('\n', "; ")
        );
    }
    Ok(out)
}

/// Why the last refused statement of a session, or else its last one, was decided as it was; and what the policy's folder says of
/// it as it is now.
pub(super) fn explained(state_dir: &Path, session: u64, policy: &Path) -> anyhow::Result<String> {
    let past = of(state_dir, session)?;
    let refused = past.iter().find(|past| !past.decided.decision.permits());
    let Some(past) = refused.or(past.first()) else {
        bail!("no statement of session {session} is in the newest part of the record");
    };
    let pack = policy::open(policy.to_owned())
        .with_context(|| format!("cannot read the policy at {}", policy.display()))?
        .pack;
    let today = explain::shown(&past.explain(&pack), &past.decided.facts, None);
    let text = format!(
        "{}, record {}\n{}\n\nrecorded\n{}\n\nby {} as it is now\n{today}",
        rfc3339(past.time_ns),
        past.seq,
        past.decided.facts.normalised,
        decided(past),
        policy.display(),
    );
    Ok(visible(&text))
}

fn of(state_dir: &Path, session: u64) -> anyhow::Result<Vec<Past>> {
    let dir = state_dir.join(FOLDER);
    Past::last_of_session(&dir, session, LISTED)
        .with_context(|| format!("cannot read the record at {}", dir.display()))
}

fn decided(past: &Past) -> String {
    let ending = match past.ending {
        None => "it has not ended",
        Some(Ending::Completed) => "completed",
        Some(Ending::Failed) => "the server refused it",
        Some(Ending::Denied) => "weir refused it",
        Some(Ending::Suspended) => "stopped at its row limit",
        Some(Ending::Skipped) => "skipped after an error",
        Some(Ending::Disconnected) => "the connection ended first",
    };
    format!("{}\n{ending}", explain::verdict(&past.decided.decision))
}

const LISTED: usize = 10;
