//! What a chore says while it works: lines with the time since its start, on standard error.

use std::sync::OnceLock;
use std::time::Instant;

/// Says what begins now.
pub(crate) fn step(text: &str) {
    eprintln!("[{:>4.0}s] {text}", start().elapsed().as_secs_f64());
}

/// The time of the first call.
pub(crate) fn start() -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    *START.get_or_init(Instant::now)
}
