//! Statement text to facts, with the database's own grammar.
//!
//! What a statement does is stated once, in [`Facts`]; what follows from it is policy's to say.

pub mod facts;
pub mod postgres;

pub use facts::{Confidence, Facts, Kind, RelationName, RelationUse, SessionModes, Use};
