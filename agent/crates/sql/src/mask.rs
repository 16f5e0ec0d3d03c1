//! What masked data becomes: the words that rules, rewriting and records share.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::catalog::ColumnName;

/// What a column's values become.
///
/// The order is that of strictness, strictest last: where several rules mask a column, the greatest holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mask {
    /// A coarser value.
    Generalise,
    /// A date moved by a fixed secret distance.
    ShiftDate,
    /// An address without its local part.
    DomainOnly,
    /// The last four characters.
    Last4,
    /// Some characters.
    Partial,
    /// A made-up value of the same form.
    Fake,
    /// A keyed hash: equal values stay equal.
    Hash,
    /// A fixed value of the column's type, the same for every row, also where there was none.
    Redact,
    /// NULL.
    Null,
}

impl fmt::Display for Mask {
    /// The word that rules use.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// A column whose values must not be seen as they are.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ColumnMask {
    /// Which, as the catalog names it; a view's column where the statement reads the view.
    pub column: ColumnName,
    /// What they become.
    pub mask: Mask,
}

impl fmt::Display for ColumnMask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.column, self.mask)
    }
}

/// Rows that may be seen, of one relation.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RowFilter {
    /// Its schema.
    pub schema: String,
    /// The relation.
    pub relation: String,
    /// A condition over its columns, all values filled in.
    pub condition: String,
}

impl fmt::Display for RowFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}: {}", self.schema, self.relation, self.condition)
    }
}
