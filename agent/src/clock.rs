//! The clocks weir reads.

use std::time::{Duration, SystemTime};

/// Time since the epoch.
#[must_use]
pub fn now() -> Duration {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
}

/// Nanoseconds since the epoch, as records carry it.
#[must_use]
pub fn now_ns() -> u64 {
    u64::try_from(now().as_nanos()).unwrap_or(u64::MAX)
}

/// Time since boot, suspension included: the clock of `start_boottime` and of the heartbeat.
#[must_use]
pub fn boot() -> Duration {
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME)
        .map(Duration::from)
        .unwrap_or_default()
}
