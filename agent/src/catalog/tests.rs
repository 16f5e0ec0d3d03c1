//! Freshness: who waits for what.
