//! What kind of data a value or a column holds.
//!
//! [`Scanner`] finds sensitive values inside bytes, in one pass and without allocating; [`columns::propose`] says what class a
//! column is of, by a vote of its name, its type and sampled values. What a proposal leads to is the agent's to say.
//!
//! Nothing here knows a database: cells come in as bytes, positions and counts come out. Values are never copied, so that
//! evidence can be shown to people who may not see the data.

pub mod columns;
#[cfg(any(test, feature = "corpus"))]
pub mod corpus;
mod cues;
mod kind;
mod number;
mod scan;
mod text;
mod values;

pub use kind::{Kind, Kinds, Scheme};
pub use scan::{Finding, Scanner, Whole};
