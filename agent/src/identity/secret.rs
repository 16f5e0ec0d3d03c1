//! Texts that are worth as much as a login: never printed, and overwritten when they are dropped.

use std::{fmt, fs, io, io::Read as _, os::unix::fs::OpenOptionsExt as _, path::Path};

use serde::Deserialize;
use zeroize::Zeroize as _;

/// More than any secret in a file has.
const FILE_BYTES: u64 = 64 * 1024;

/// A token, code or password.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Takes a text out of sight.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// Reads the first line of a file; never waits on a pipe.
    ///
    /// # Errors
    ///
    /// When it cannot be read, is no regular file, or is empty.
    pub fn read(path: &Path) -> io::Result<Self> {
        let mut text = Self(read_file(path)?);
        let line = text.0.lines().next().unwrap_or_default().trim();
        if line.is_empty() {
            return Err(io::Error::other("it is empty"));
        }
        let line = line.to_owned();
        text.0.zeroize();
        Ok(Self(line))
    }

    /// The text itself, for sending it to whom it is for.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// A file's text, bounded; refuses what is no regular file.
pub(super) fn read_file(path: &Path) -> io::Result<String> {
    let file = fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut text = String::new();
    file.take(FILE_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Secret")
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_printed() {
        let secret = Secret::new("hunter2".to_owned());
        assert_eq!(format!("{secret:?}"), "Secret");
        assert_eq!(secret.expose(), "hunter2");
    }

    #[test]
    fn the_first_line_of_a_file_is_the_secret() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("s");
        fs::write(&path, " hunter2 \nmore\n").expect("written");
        assert_eq!(Secret::read(&path).expect("a secret").expose(), "hunter2");
        fs::write(&path, "\n").expect("written");
        assert!(Secret::read(&path).is_err());
        assert!(Secret::read(folder.path()).is_err());
    }
}
