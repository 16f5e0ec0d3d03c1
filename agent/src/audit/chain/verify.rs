//! Checks a journal against its chain: finds any change, gap, reordering or truncation.

use std::{
    io,
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::{key::PublicKey, seal::Seal};
use crate::audit::journal::{self, FOLDER, segment as segments};

use walk::Walk;

mod segment;
mod walk;

/// What verification found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// Whether everything that is covered is as it was recorded.
    pub intact: bool,
    /// The first fault, when there is one.
    pub fault: Option<Fault>,
    /// All of them: behind a fault verification goes on with the next segment, from what is signed.
    pub faults: Vec<Fault>,
    /// The journal's id, hexadecimal; empty in an empty journal.
    pub journal: String,
    /// The last record of those that were removed because they were kept long enough; zero when none were.
    pub retired_seq: u64,
    /// Segments checked.
    pub segments: u64,
    /// Those of them that are full and have a signed checkpoint.
    pub sealed: u64,
    /// Blocks checked.
    pub blocks: u64,
    /// The last record that the chain covers, before the first fault.
    pub covered_seq: u64,
    /// Whole records after it: not yet hashed, so a change to them does not show.
    pub uncovered: u64,
    /// Bytes of a record that a crash cut short, behind all of these.
    pub torn_bytes: u64,
    /// The chain's hash at its end, hexadecimal: compare it with what was published before.
    pub head: String,
    /// When the head was signed, nanoseconds since the epoch; zero without one.
    pub head_ns: u64,
    /// Whether an agent is writing this journal now.
    pub live: bool,
}

/// A place where the journal is not what was recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The segment.
    pub segment: u64,
    /// The block in it; `None` when it concerns the segment as a whole.
    pub block: Option<u64>,
    /// The first record concerned.
    pub first_seq: u64,
    /// The last record concerned; `None` when unknown.
    pub last_seq: Option<u64>,
    /// What is wrong.
    pub what: String,
}

/// Why a journal cannot be verified at all.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The operating system refused.
    #[error("cannot read {}", path.display())]
    Io {
        /// What.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Verifies the journal in `state_dir` with `key`. `published` is a checkpoint that was copied elsewhere before.
///
/// # Errors
///
/// [`VerifyError`] when it cannot be read; what is wrong with its content is in [`Verification::fault`].
pub fn verify(
    state_dir: &Path,
    key: &PublicKey,
    published: Option<&Seal>,
) -> Result<Verification, VerifyError> {
    verify_by_step(state_dir, key, published, &|_, _| {})
}

/// As [`verify`]; tells how many segments are done, of how many, before each.
///
/// # Errors
///
/// As [`verify`].
pub fn verify_by_step(
    state_dir: &Path,
    key: &PublicKey,
    published: Option<&Seal>,
    step: &dyn Fn(u64, u64),
) -> Result<Verification, VerifyError> {
    let dir = state_dir.join(FOLDER);
    let numbers = segments::list(&dir).map_err(|source| VerifyError::Io {
        path: dir.clone(),
        source,
    })?;
    let mut walk = Walk {
        key,
        published,
        step,
        head: None,
        journal: [0; 16],
        previous: [0; 32],
        previous_root: [0; 32],
        next_seq: 1,
        retired: 0,
        last_sealed: 0,
        at: 0,
        covered: 0,
        resumed: None,
        is_head_read: false,
        is_head_damaged: false,
        is_published_met: false,
        done: Verification {
            intact: false,
            fault: None,
            faults: Vec::new(),
            journal: String::new(),
            retired_seq: 0,
            segments: 0,
            sealed: 0,
            blocks: 0,
            covered_seq: 0,
            uncovered: 0,
            torn_bytes: 0,
            head: String::new(),
            head_ns: 0,
            live: journal::is_live(&dir),
        },
        dir,
    };
    let walked = walk.all(&numbers);
    walk.note(walked)?;
    walk.done.fault = walk.done.faults.first().cloned();
    walk.done.intact = walk.done.faults.is_empty();
    walk.done.head = hex::encode(walk.previous);
    Ok(walk.done)
}

#[cfg(test)]
mod tests;
