//! Database wire protocols as state machines: bytes in, frames out; no sockets, no clock.
//!
//! PostgreSQL is in [`postgres`]. What a statement means and whether it may run is asked through
//! [`postgres::Judge`]; this crate only keeps the conversation right.

pub mod postgres;
