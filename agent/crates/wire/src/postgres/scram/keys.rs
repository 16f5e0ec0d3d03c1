//! What a log-in rests on: a server's verifier, the keys behind it, and the arithmetic of both.

use std::{fmt, num::NonZeroU32};

use aws_lc_rs::{constant_time, digest, hmac, pbkdf2};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use zeroize::{Zeroize, Zeroizing};

use super::MAX_ITERATIONS;

/// Length of every key and proof.
pub(super) const KEY_BYTES: usize = 32;

/// Why text is not a verifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VerifierError {
    /// An MD5 hash, or nothing that PostgreSQL would make.
    #[error(
        "it is not a SCRAM-SHA-256 verifier (SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey)"
    )]
    Form,
    /// Its iterations are zero, or more than any client would do.
    #[error("its iteration count is out of bounds")]
    Iterations,
}

/// What a server keeps instead of a password. A secret: whoever has it can pretend to be the server, and can guess.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    pub(super) iterations: u32,
    pub(super) salt: Vec<u8>,
    pub(super) stored_key: [u8; KEY_BYTES],
    pub(super) server_key: [u8; KEY_BYTES],
}

impl Verifier {
    /// Reads `rolpassword` of `pg_authid`: `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`.
    ///
    /// # Errors
    ///
    /// [`VerifierError`].
    pub fn parse(text: &str) -> Result<Self, VerifierError> {
        let parts = || {
            let rest = text.strip_prefix("SCRAM-SHA-256$")?;
            let (cost, keys) = rest.split_once('$')?;
            let (iterations, salt) = cost.split_once(':')?;
            let (stored_key, server_key) = keys.split_once(':')?;
            Some((
                iterations.parse::<u32>().ok()?,
                STANDARD.decode(salt).ok().filter(|salt| !salt.is_empty())?,
                key(stored_key.as_bytes())?,
                key(server_key.as_bytes())?,
            ))
        };
        let (iterations, salt, stored_key, server_key) = parts().ok_or(VerifierError::Form)?;
        if iterations == 0 || i32::try_from(iterations).is_err() {
            return Err(VerifierError::Iterations);
        }
        Ok(Self {
            iterations,
            salt,
            stored_key,
            server_key,
        })
    }

    /// The verifier of a password.
    #[must_use]
    pub fn of_password(password: &str, salt: &[u8], iterations: NonZeroU32) -> Self {
        let keys = Keys::derive(password, salt, iterations);
        Self {
            iterations: iterations.get(),
            salt: salt.to_vec(),
            stored_key: sha256(&keys.client_key),
            server_key: keys.server_key,
        }
    }

    /// One that nobody's proof fits, for a user who has none: the same for the same name, as a real one would be.
    #[must_use]
    pub fn pretended(user: &[u8], secret: &[u8]) -> Self {
        let salt = hmac(secret, &[b"salt\0", user]);
        Self {
            iterations: DEFAULT_ITERATIONS,
            salt: salt.get(..SALT_BYTES).unwrap_or_default().to_vec(),
            stored_key: hmac(secret, &[b"stored\0", user]),
            server_key: hmac(secret, &[b"server\0", user]),
        }
    }

    /// Whether a server's challenge is made from this verifier.
    #[must_use]
    pub fn makes(&self, salt: &[u8], iterations: u32) -> bool {
        self.iterations == iterations && self.salt == salt
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").finish_non_exhaustive()
    }
}

impl Drop for Verifier {
    fn drop(&mut self) {
        self.stored_key.zeroize();
        self.server_key.zeroize();
    }
}

/// What proves a client to a server, and the server to it. A secret, as good as the password at that server.
#[derive(Clone)]
pub struct Keys {
    pub(super) client_key: [u8; KEY_BYTES],
    pub(super) server_key: [u8; KEY_BYTES],
}

impl Keys {
    /// Those of a password, which is normalised as PostgreSQL does it (SASLprep; as it is where that does not apply).
    /// Takes milliseconds to seconds, by the iterations.
    #[must_use]
    pub fn derive(password: &str, salt: &[u8], iterations: NonZeroU32) -> Self {
        let prepared = match stringprep::saslprep(password) {
            Ok(prepared) => Zeroizing::new(prepared.into_owned()),
            Err(_) => Zeroizing::new(password.to_owned()),
        };
        let mut salted = Zeroizing::new([0; KEY_BYTES]);
        pbkdf2::derive(
            pbkdf2::PBKDF2_HMAC_SHA256,
            iterations,
            salt,
            prepared.as_bytes(),
            &mut *salted,
        );
        Self {
            client_key: hmac(&*salted, &[b"Client Key"]),
            server_key: hmac(&*salted, &[b"Server Key"]),
        }
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").finish_non_exhaustive()
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.client_key.zeroize();
        self.server_key.zeroize();
    }
}

/// An iteration count that keys may be derived with.
pub(super) fn bounded(iterations: u64) -> Option<NonZeroU32> {
    let iterations = u32::try_from(iterations).ok()?;
    NonZeroU32::new(iterations).filter(|it| it.get() <= MAX_ITERATIONS)
}

/// A key or proof in base64; `None` when it is not exactly that.
pub(super) fn key(text: &[u8]) -> Option<[u8; KEY_BYTES]> {
    STANDARD.decode(text).ok()?.try_into().ok()
}

pub(super) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

pub(super) fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; KEY_BYTES] {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    for part in parts {
        context.update(part);
    }
    array(context.sign().as_ref())
}

pub(super) fn sha256(bytes: &[u8]) -> [u8; KEY_BYTES] {
    array(digest::digest(&digest::SHA256, bytes).as_ref())
}

pub(super) fn xor(a: &[u8; KEY_BYTES], b: &[u8; KEY_BYTES]) -> [u8; KEY_BYTES] {
    let mut out = *a;
    for (out, b) in out.iter_mut().zip(b) {
        *out ^= b;
    }
    out
}

/// Whether two values are equal, in a time that does not tell where they differ.
pub(super) fn same(a: &[u8], b: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(a, b).is_ok()
}

fn array(bytes: &[u8]) -> [u8; KEY_BYTES] {
    bytes
        .try_into()
        .expect("SHA-256 gives as many bytes as a key has")
}

/// What PostgreSQL makes verifiers with, and its pretended ones too.
const DEFAULT_ITERATIONS: u32 = 4096;
const SALT_BYTES: usize = 16;
