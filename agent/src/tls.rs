//! TLS on both legs: verifying servers, and leaves of the local CA for clients.

pub mod authority;
pub mod server_leg;

pub use authority::{Authority, AuthorityError};
pub use server_leg::{ServerTls, ServerTlsError, Verification};
