//! SCRAM-SHA-256, with and without channel binding, from both ends: as pure state machines.
//!
//! [`ServerExchange`] checks a client by a [`Verifier`], the line that a server keeps in `pg_authid`, and recovers from the
//! client's proof the key that proves it; [`ClientExchange`] logs in with such [`Keys`], or with those of a password.
//! So a client that is bound to one channel can be logged in over another, and nobody holds its password.
//! Randomness comes as an argument. <https://www.rfc-editor.org/rfc/rfc5802>, <https://www.rfc-editor.org/rfc/rfc7677>

mod client;
mod keys;
mod message;
mod server;

#[cfg(test)]
mod tests;

pub use client::{Binding, Challenge, ClientExchange, Outcome};
pub use keys::{Keys, Verifier, VerifierError};
pub use server::{Proven, ServerExchange};

/// Why a log-in by SCRAM does not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ScramError {
    /// A message is not what it has to be.
    #[error("malformed SCRAM message: {what}")]
    Malformed {
        /// What is wrong with it.
        what: &'static str,
    },
    /// Something of the standard that PostgreSQL does not have either.
    #[error("{what} is not supported")]
    Unsupported {
        /// What.
        what: &'static str,
    },
    /// The client could bind and believes that this side cannot: somebody took the offer out.
    #[error("the client supports SCRAM channel binding but thinks the server does not")]
    Downgrade,
    /// The client is bound to another channel.
    #[error("SCRAM channel binding check failed")]
    Binding,
    /// A nonce is not the one of this exchange.
    #[error("SCRAM nonce does not match")]
    Nonce,
    /// The proof does not fit: another password, most often.
    #[error("the proof does not fit the verifier")]
    Proof,
    /// The server asks for more work than a log-in may cost, or for none.
    #[error("the server asks for {iterations} iterations")]
    Iterations {
        /// How many.
        iterations: u64,
    },
    /// The server refuses.
    #[error("the server refuses the proof")]
    Refused,
    /// The server could not prove that it knows the verifier.
    #[error("the server's own proof does not fit")]
    Impostor,
}

/// The most iterations that keys are derived with: less than a second's work. PostgreSQL's default is 4,096.
pub const MAX_ITERATIONS: u32 = 1_000_000;
