//! Signed texts beside the segments: how they are read, and written whole or not at all.

use std::{fs, io, path::Path};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{Hash, key::SigningKey, seal::SealError};

/// What stands before the signature, at the start of the last line.
pub(super) const SIGNATURE: &str = "signature ";

/// Reads a text; `None` when the file is not there.
pub(super) fn read<T>(
    path: &Path,
    parse: impl FnOnce(&str) -> Result<T, SealError>,
) -> Result<Option<T>, SealError> {
    match fs::read_to_string(path) {
        Ok(text) => parse(&text).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(SealError::Malformed),
        Err(error) => Err(SealError::Read(error)),
    }
}

/// Signs a text and writes it to `path` in `dir`, by way of `draft`.
pub(super) fn write(
    dir: &Path,
    draft: &str,
    path: &Path,
    text: &str,
    key: &SigningKey,
) -> io::Result<()> {
    let signature = STANDARD.encode(key.sign(text.as_bytes()));
    let draft = dir.join(draft);
    fs::write(&draft, format!("{text}{SIGNATURE}{signature}\n"))?;
    fs::File::open(&draft)?.sync_all()?;
    fs::rename(&draft, path)?;
    fs::File::open(dir)?.sync_all()
}

/// A hash as such texts spell it.
pub(super) fn hash(text: &str) -> Option<Hash> {
    hex::decode(text).ok()?.try_into().ok()
}
