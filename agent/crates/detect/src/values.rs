//! The recognisers, one file per kind of value.
//!
//! Each looks at one position that the scan has found worth it and answers with what stands there, or nothing.

pub(crate) mod card;
pub(crate) mod crypto;
pub(crate) mod date;
pub(crate) mod domain;
pub(crate) mod email;
pub(crate) mod iban;
pub(crate) mod ip;
pub(crate) mod jwt;
pub(crate) mod key;
pub(crate) mod mac;
pub(crate) mod national;
pub(crate) mod pem;
pub(crate) mod phone;
pub(crate) mod ssn;
