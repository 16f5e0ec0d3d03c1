//! Segments that a power failure left empty: made, named, and never brought to the disk.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::Path,
};

use super::super::segment;
use crate::audit::chain;

/// Removes those at the journal's end, and their numbers; whether there were some.
pub(super) fn remove(dir: &Path, numbers: &mut Vec<u64>) -> io::Result<bool> {
    let mut removed = false;
    while let Some(&last) = numbers.last() {
        let path = segment::path(dir, last);
        let chain = chain::path(dir, last);
        let is_sealed = chain::seal::path(dir, last).exists();
        // What was chained was on the disk before.
        if is_sealed || !is_empty(&path)?.unwrap_or(false) || !is_empty(&chain)?.unwrap_or(true) {
            break;
        }
        tracing::warn!(
            segment = last,
            "a segment of the journal that holds nothing is removed"
        );
        fs::remove_file(&path)?;
        if chain.exists() {
            fs::remove_file(&chain)?;
        }
        numbers.pop();
        removed = true;
    }
    Ok(removed)
}

/// Whether a file holds nothing but zeros; `None` when there is none.
fn is_empty(path: &Path) -> io::Result<Option<bool>> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut window = vec![0; WINDOW_BYTES];
    loop {
        let count = file.read(&mut window)?;
        if count == 0 {
            return Ok(Some(true));
        }
        if window[..count].iter().any(|byte| *byte != 0) {
            return Ok(Some(false));
        }
    }
}

const WINDOW_BYTES: usize = 64 << 10;
