//! Principal and facts to a decision.
//!
//! Knows no sockets, files of a running agent, or clocks: what it needs arrives as arguments.

pub mod decision;
pub mod principal;

pub use decision::{Decision, Effect, RuleId};
pub use principal::{Actor, Identity, Principal, PrincipalKind, Process, Strength, Target};
