//! The key of hashes and made-up values: made once, never shown, the same for as long as the state folder lives.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use aws_lc_rs::rand;

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum MaskKeyError {
    /// The file.
    #[error("cannot use {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Its length.
    #[error("{} is not a key of 32 bytes: restore it, or remove it and values are hashed otherwise from then on", path.display())]
    Malformed {
        /// Which.
        path: PathBuf,
    },
    /// No randomness.
    #[error("the system gives no random bytes")]
    Random,
}

/// 32 secret bytes.
#[derive(Clone)]
pub struct MaskKey(pub(super) [u8; 32]);

impl MaskKey {
    /// Reads the key in the state folder; makes it the first time.
    ///
    /// # Errors
    ///
    /// [`MaskKeyError`].
    pub fn open(state_dir: &Path) -> Result<Self, MaskKeyError> {
        let path = state_dir.join(FILE);
        match fs::read(&path) {
            Ok(bytes) => bytes
                .try_into()
                .map(Self)
                .map_err(|_| MaskKeyError::Malformed { path }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::create(&path),
            Err(source) => Err(MaskKeyError::File { path, source }),
        }
    }

    fn create(path: &Path) -> Result<Self, MaskKeyError> {
        let mut key = [0; 32];
        rand::fill(&mut key).map_err(|_| MaskKeyError::Random)?;
        let written = || {
            let draft = path.with_extension("new");
            let mut file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&draft)?;
            file.write_all(&key)?;
            file.sync_all()?;
            // A crash leaves either no key or a whole one.
            fs::rename(&draft, path)
        };
        written().map_err(|source| MaskKeyError::File {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self(key))
    }
}

impl std::fmt::Debug for MaskKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MaskKey(…)")
    }
}

const FILE: &str = "mask.key";

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_is_made_once_for_its_owner_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let first = MaskKey::open(folder.path()).expect("a key");
        let again = MaskKey::open(folder.path()).expect("the same");
        assert_eq!(first.0, again.0);
        assert_ne!(first.0, [0; 32]);
        let mode = fs::metadata(folder.path().join(FILE))
            .expect("a file")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_cut_off_key_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join(FILE), b"short").expect("written");
        assert!(matches!(
            MaskKey::open(folder.path()),
            Err(MaskKeyError::Malformed { .. })
        ));
    }
}
