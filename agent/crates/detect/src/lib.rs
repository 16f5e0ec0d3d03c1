//! What kind of data a value or a column holds.
