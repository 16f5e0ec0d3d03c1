//! Statement text to facts, with the database's own grammar.
//!
//! What a statement does is stated once, in [`Facts`]; what follows from it is policy's to say.

pub mod catalog;
pub mod facts;
pub mod mask;
pub mod postgres;

pub use catalog::{Catalog, ColumnName, Naming};
pub use facts::{
    ColumnUsage, ColumnUse, Confidence, Facts, Kind, Reachable, RelationName, RelationUse,
    SessionModes, Use,
};
pub use mask::{ColumnMask, Mask, RowFilter};
