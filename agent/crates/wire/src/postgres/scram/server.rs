//! The server's end: challenging a client and checking its proof.

use super::{
    Keys, ScramError, Verifier,
    keys::{self, base64, hmac, same, sha256, xor},
    message::{ClientFinal, ClientFirst, Flag},
};
use crate::postgres::sasl::Mechanism;

/// A client that was challenged.
pub struct ServerExchange {
    verifier: Verifier,
    /// Whatever the proof is, it does not fit: there is no such user.
    doomed: bool,
    header: String,
    binding: Option<Vec<u8>>,
    bare: String,
    challenge: String,
    nonce: String,
}

/// A client that has proved itself.
#[derive(Debug)]
pub struct Proven {
    /// What logs it in elsewhere.
    pub keys: Keys,
    /// The last message for the client: the server's own proof.
    pub farewell: String,
}

impl ServerExchange {
    /// Reads the client's first message and challenges it; returns the challenge to send.
    ///
    /// `binding` is this end's channel binding, present where the PLUS mechanism was offered. `nonce` is random and
    /// printable. `verifier` is an error for a user without one: the exchange then goes its way and fails at its end.
    ///
    /// # Errors
    ///
    /// [`ScramError`] when the message is wrong or the client's idea of channel binding is another.
    pub fn begin(
        verifier: Result<Verifier, Verifier>,
        mechanism: Mechanism,
        binding: Option<&[u8]>,
        first: &[u8],
        nonce: &str,
    ) -> Result<(Self, String), ScramError> {
        let first = ClientFirst::read(first)?;
        match (mechanism, first.flag) {
            (Mechanism::Plain, Flag::Unoffered) if binding.is_some() => {
                return Err(ScramError::Downgrade);
            }
            (Mechanism::Plain, Flag::Unknown | Flag::Unoffered) => {}
            (Mechanism::Plus, Flag::Bound) if binding.is_some() => {}
            _ => {
                return Err(ScramError::Malformed {
                    what: "the mechanism and the channel binding flag contradict each other",
                });
            }
        }
        let doomed = verifier.is_err();
        let verifier = verifier.unwrap_or_else(|pretended| pretended);
        let nonce = format!("{}{nonce}", first.nonce);
        let challenge = format!(
            "r={nonce},s={},i={}",
            base64(&verifier.salt),
            verifier.iterations
        );
        let exchange = Self {
            verifier,
            doomed,
            header: first.header.to_owned(),
            binding: binding
                .filter(|_| first.flag == Flag::Bound)
                .map(<[u8]>::to_vec),
            bare: first.bare.to_owned(),
            challenge: challenge.clone(),
            nonce,
        };
        Ok((exchange, challenge))
    }

    /// Checks the client's proof.
    ///
    /// # Errors
    ///
    /// [`ScramError`]; [`ScramError::Proof`] is a wrong password, or a user that there is none of.
    pub fn finish(self, message: &[u8]) -> Result<Proven, ScramError> {
        let message = ClientFinal::read(message)?;
        let mut bound = self.header.clone().into_bytes();
        bound.extend(self.binding.iter().flatten());
        if !same(&message.binding, &bound) {
            return Err(ScramError::Binding);
        }
        if message.nonce != self.nonce {
            return Err(ScramError::Nonce);
        }
        let transcript = format!("{},{},{}", self.bare, self.challenge, message.without_proof);
        let signature = hmac(&self.verifier.stored_key, &[transcript.as_bytes()]);
        let client_key = xor(&message.proof, &signature);
        let fits = same(&sha256(&client_key), &self.verifier.stored_key);
        if !fits || self.doomed {
            return Err(ScramError::Proof);
        }
        let farewell = hmac(&self.verifier.server_key, &[transcript.as_bytes()]);
        Ok(Proven {
            keys: Keys {
                client_key,
                server_key: self.verifier.server_key,
            },
            farewell: format!("v={}", keys::base64(&farewell)),
        })
    }
}
