//! The journal, its chain, the store that reports read, and the reports.

pub mod record;
