//! The key that signs the chain: made at the first start, kept in the state directory.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey},
};

use crate::files;

/// Why the key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Reading or writing failed.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// What was attempted.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The file's content is not such a key.
    #[error("{} does not hold an ed25519 key", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
    },
    /// The system gave no randomness.
    #[error("cannot make a key")]
    Generate,
}

/// The private half.
#[derive(Debug, Clone)]
pub struct SigningKey(Arc<Ed25519KeyPair>);

/// The public half, all that verification needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey([u8; 32]);

impl SigningKey {
    /// Loads the key of `state_dir`, or makes one (readable by its owner only) with the public half beside it.
    ///
    /// # Errors
    ///
    /// The file cannot be read or made, or holds something else.
    pub fn open(state_dir: &Path) -> Result<Self, KeyError> {
        let path = private_path(state_dir);
        match std::fs::read(&path) {
            Ok(pkcs8) => {
                let key = Self::parse(&pkcs8, &path)?;
                key.publish(state_dir)?;
                Ok(key)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::make(state_dir, &path),
            Err(source) => Err(io_error("read", &path, source)),
        }
    }

    fn make(state_dir: &Path, path: &Path) -> Result<Self, KeyError> {
        let pkcs8 =
            Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| KeyError::Generate)?;
        let key = Self::parse(pkcs8.as_ref(), path)?;
        write(path, pkcs8.as_ref(), files::PRIVATE)?;
        key.publish(state_dir)?;
        Ok(key)
    }

    /// Lays the public half beside the key where it is missing.
    fn publish(&self, state_dir: &Path) -> Result<(), KeyError> {
        let path = public_path(state_dir);
        if path.exists() {
            return Ok(());
        }
        write(
            &path,
            format!("{}\n", self.public().to_hex()).as_bytes(),
            files::PUBLIC,
        )
    }

    fn parse(pkcs8: &[u8], path: &Path) -> Result<Self, KeyError> {
        Ed25519KeyPair::from_pkcs8(pkcs8)
            .map(|pair| Self(Arc::new(pair)))
            .map_err(|_| KeyError::Malformed {
                path: path.to_owned(),
            })
    }

    /// Signs.
    ///
    /// # Panics
    ///
    /// Never: the key is ed25519, whose signatures have 64 bytes.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        let signature = self.0.sign(message);
        signature
            .as_ref()
            .try_into()
            .expect("ed25519 signatures have 64 bytes")
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(self.0.public_key().as_ref());
        PublicKey(bytes)
    }
}

impl PublicKey {
    /// Reads the public key of `state_dir`.
    ///
    /// # Errors
    ///
    /// The file cannot be read or holds something else.
    pub fn open(state_dir: &Path) -> Result<Self, KeyError> {
        let path = public_path(state_dir);
        let text =
            std::fs::read_to_string(&path).map_err(|source| io_error("read", &path, source))?;
        Self::parse(text.trim()).ok_or(KeyError::Malformed { path })
    }

    /// Reads 64 hexadecimal digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        hex::decode(text).ok()?.try_into().ok().map(Self)
    }

    /// 64 hexadecimal digits.
    #[must_use]
    pub fn to_hex(&self) -> String {
        hex::encode(self.0)
    }

    /// Whether `signature` is this key's over `message`.
    #[must_use]
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.0)
            .verify(message, signature)
            .is_ok()
    }
}

fn private_path(state_dir: &Path) -> PathBuf {
    state_dir.join("audit.key")
}

fn public_path(state_dir: &Path) -> PathBuf {
    state_dir.join("audit.pub")
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), KeyError> {
    files::replace(path, mode, bytes).map_err(|source| io_error("write", path, source))
}

fn io_error(doing: &'static str, path: &Path, source: io::Error) -> KeyError {
    KeyError::Io {
        doing,
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_key_is_made_once_and_is_its_owners_alone() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let first = SigningKey::open(dir.path()).expect("a new key");
        let again = SigningKey::open(dir.path()).expect("the same key");
        assert_eq!(first.public(), again.public());
        assert_eq!(
            PublicKey::open(dir.path()).expect("a public key"),
            first.public()
        );
        let mode = std::fs::metadata(private_path(dir.path()))
            .expect("the key file")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(first.public().verify(b"m", &first.sign(b"m")));
        assert!(!first.public().verify(b"n", &first.sign(b"m")));
    }
}
