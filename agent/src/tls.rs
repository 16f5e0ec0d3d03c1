//! TLS on both legs: verifying servers, and the certificates that clients are shown.

pub mod authority;
pub mod binding;
pub mod client_leg;
pub mod judge;
mod roots;
pub mod server_leg;
pub mod service;
pub mod site;

pub use authority::{Authority, AuthorityError};
pub use binding::tls_server_end_point;
pub use client_leg::{ClientLeg, Presented, ServerPair, ServerPairError};
pub use server_leg::{ServerTls, ServerTlsError, Verification};
pub use service::{ServiceTlsError, service_tls};
pub use site::{SiteTlsError, site_tls};
