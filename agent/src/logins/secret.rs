//! The files that secrets are in.

use std::{
    fs::File,
    io::{self, Read as _},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

use crate::identity::Secret;

/// Why a file with a secret is not used.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Everybody on the host can read it.
    #[error("{} can be read by everybody on this host: chmod o-rwx it", path.display())]
    Open {
        /// Which.
        path: PathBuf,
    },
    /// It is no secret but a heap.
    #[error("{} holds more than {MAX_BYTES} bytes", path.display())]
    TooLong {
        /// Which.
        path: PathBuf,
    },
    /// Passwords and verifiers are text.
    #[error("{} is not UTF-8", path.display())]
    NotText {
        /// Which.
        path: PathBuf,
    },
    /// There is nothing in it.
    #[error("{} is empty", path.display())]
    Empty {
        /// Which.
        path: PathBuf,
    },
}

/// Reads a file that holds one secret; a line's end behind it is none of it.
///
/// # Errors
///
/// [`SecretFileError`].
pub(crate) fn read_secret(path: &Path) -> Result<Secret, SecretFileError> {
    let text = read_private(path)?;
    secret_of(&text).ok_or_else(|| SecretFileError::Empty {
        path: path.to_owned(),
    })
}

/// Reads a file that nobody but its owner and its group may read.
///
/// # Errors
///
/// [`SecretFileError`].
pub(super) fn read_private(path: &Path) -> Result<Zeroizing<String>, SecretFileError> {
    let failed = |source| SecretFileError::Read {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(failed)?;
    // Of the opened file: a name may come to mean another one meanwhile.
    let found = file.metadata().map_err(failed)?;
    if found.mode() & 0o007 != 0 {
        return Err(SecretFileError::Open {
            path: path.to_owned(),
        });
    }
    // Reserved whole: a buffer that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_BYTES + 1));
    file.take(MAX_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() > MAX_BYTES {
        return Err(SecretFileError::TooLong {
            path: path.to_owned(),
        });
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| SecretFileError::NotText {
        path: path.to_owned(),
    })?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// A secret without the line's end behind it; `None` when nothing is left, or a zero byte is in it.
pub(super) fn secret_of(text: &str) -> Option<Secret> {
    let text = text.trim_end_matches(['\r', '\n']);
    let usable = !text.is_empty() && !text.contains('\0');
    usable.then(|| Secret::new(text.to_owned()))
}

/// Verifiers of some thousands of users.
const MAX_BYTES: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    #[test]
    fn a_secret_is_read_without_its_line_end_and_never_shown() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("secret");
        fs::write(&path, "s3cret \n").expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("ours");
        let secret = read_secret(&path).expect("read");
        assert_eq!(secret.expose(), "s3cret ");
        assert_eq!(format!("{secret:?}"), "Secret");
    }

    #[test]
    fn what_everybody_can_read_is_no_secret() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("secret");
        fs::write(&path, "s3cret").expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("ours");
        assert!(matches!(
            read_secret(&path),
            Err(SecretFileError::Open { .. })
        ));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("ours");
        fs::write(&path, "\n").expect("written");
        assert!(matches!(
            read_secret(&path),
            Err(SecretFileError::Empty { .. })
        ));
        assert!(matches!(
            read_secret(folder.path()),
            Err(SecretFileError::Open { .. } | SecretFileError::Read { .. })
        ));
    }
}
