//! The client's end: logging in with keys, and demanding the server's own proof.

use std::num::NonZeroU32;

use super::{
    Keys, ScramError,
    keys::{KEY_BYTES, base64, bounded, hmac, same, sha256, xor},
    message::{ServerFirst, server_final},
};
use crate::postgres::sasl::Mechanism;

/// What this end says of channel binding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Binding {
    /// Bound to the server's certificate; for a server that offers the PLUS mechanism.
    Bound(Vec<u8>),
    /// Could bind, and the server does not offer it: a server that did will notice.
    Unoffered,
    /// Cannot bind on this channel.
    None,
}

impl Binding {
    /// The mechanism that goes with it.
    #[must_use]
    pub fn mechanism(&self) -> Mechanism {
        match self {
            Self::Bound(_) => Mechanism::Plus,
            _ => Mechanism::Plain,
        }
    }

    fn header(&self) -> &'static str {
        match self {
            Self::Bound(_) => "p=tls-server-end-point,,",
            Self::Unoffered => "y,,",
            Self::None => "n,,",
        }
    }
}

/// A log-in that has begun.
pub struct ClientExchange {
    binding: Binding,
    nonce: String,
}

/// What the server wants proved.
#[derive(Debug)]
pub struct Challenge {
    /// The salt of its verifier.
    pub salt: Vec<u8>,
    /// The iterations of its verifier, within bounds.
    pub iterations: NonZeroU32,
    bare: String,
    text: String,
    without_proof: String,
}

/// A proof that was sent: what is still to come is the server's own.
#[derive(Debug)]
pub struct Outcome {
    signature: [u8; KEY_BYTES],
}

impl ClientExchange {
    /// Begins; returns the first message to send. PostgreSQL takes the user from the startup packet. `nonce` is random
    /// and printable.
    #[must_use]
    pub fn begin(binding: Binding, nonce: &str) -> (Self, String) {
        let message = format!("{}{}", binding.header(), bare(nonce));
        let exchange = Self {
            binding,
            nonce: nonce.to_owned(),
        };
        (exchange, message)
    }

    /// Reads the server's challenge.
    ///
    /// # Errors
    ///
    /// [`ScramError`] when it is malformed, answers another exchange or asks for too much work.
    pub fn challenged(self, message: &[u8]) -> Result<Challenge, ScramError> {
        let first = ServerFirst::read(message)?;
        if !first.nonce.starts_with(&self.nonce) || first.nonce.len() == self.nonce.len() {
            return Err(ScramError::Nonce);
        }
        let iterations = bounded(first.iterations).ok_or(ScramError::Iterations {
            iterations: first.iterations,
        })?;
        let mut bound = self.binding.header().as_bytes().to_vec();
        if let Binding::Bound(data) = &self.binding {
            bound.extend_from_slice(data);
        }
        Ok(Challenge {
            iterations,
            bare: bare(&self.nonce),
            text: first.text.to_owned(),
            without_proof: format!("c={},r={}", base64(&bound), first.nonce),
            salt: first.salt,
        })
    }
}

impl Challenge {
    /// Answers it; returns the message to send.
    #[must_use]
    pub fn answer(&self, keys: &Keys) -> (Outcome, String) {
        let transcript = format!("{},{},{}", self.bare, self.text, self.without_proof);
        let signature = hmac(&sha256(&keys.client_key), &[transcript.as_bytes()]);
        let proof = xor(&keys.client_key, &signature);
        let message = format!("{},p={}", self.without_proof, base64(&proof));
        let outcome = Outcome {
            signature: hmac(&keys.server_key, &[transcript.as_bytes()]),
        };
        (outcome, message)
    }
}

impl Outcome {
    /// Checks the server's last message.
    ///
    /// # Errors
    ///
    /// [`ScramError`] when the server refuses or cannot prove itself.
    pub fn check(&self, message: &[u8]) -> Result<(), ScramError> {
        if same(&server_final(message)?, &self.signature) {
            Ok(())
        } else {
            Err(ScramError::Impostor)
        }
    }
}

fn bare(nonce: &str) -> String {
    format!("n=,r={nonce}")
}
