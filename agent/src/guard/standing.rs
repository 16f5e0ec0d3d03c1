//! What of an identity changes with time: how old its log-in is, and whether its provider can still be asked.
//!
//! Decisions are remembered; these two would make them wrong. So they are a part of what a decision is remembered by: ages as
//! the number of those limits that the policy names and the log-in has passed.

use std::time::Duration;

use super::{Guard, Scope};
use crate::clock;

/// How somebody's log-in stands towards the policy in force.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    /// Equal ones are decided alike.
    pub(super) code: u32,
    /// When that was found out, where it matters.
    pub(super) now: Option<Duration>,
    /// Whether the provider could not be asked lately.
    pub(super) stale: bool,
}

/// A session's standing, and until when it needs not be asked for again.
#[derive(Debug, Default)]
pub struct KnownStanding {
    epoch: u64,
    scope: u64,
    passed: u32,
    /// Seconds since the epoch; the largest number is never.
    until_s: u64,
}

impl Guard {
    /// How a session's log-in stands now. Reads no clock unless some rule asks for its age.
    #[must_use]
    pub fn standing(&self, scope: &Scope, known: &mut KnownStanding, stale: bool) -> Standing {
        let epoch = self.policy.epoch();
        let mut now = None;
        if known.epoch != epoch || known.scope != scope.id {
            *known = self.ask_standing(scope, epoch, clock::now());
        }
        if known.until_s != u64::MAX {
            let time = clock::now();
            if time.as_secs() >= known.until_s {
                *known = self.ask_standing(scope, epoch, time);
            }
            now = Some(time);
        }
        Standing {
            code: known.passed << 1 | u32::from(stale),
            now,
            stale,
        }
    }

    fn ask_standing(&self, scope: &Scope, epoch: u64, now: Duration) -> KnownStanding {
        let snapshot = self.policy.current();
        let auth_time = scope
            .who
            .identity
            .as_ref()
            .and_then(|identity| identity.principal.auth_time);
        let (passed, until_s) = passed(auth_time, snapshot.pack.auth_age_limits(), now);
        KnownStanding {
            epoch,
            scope: scope.id,
            passed,
            until_s,
        }
    }
}

impl Standing {
    /// The time to decide by.
    pub(super) fn time(self) -> Duration {
        self.now.unwrap_or_else(clock::now)
    }
}

/// How many of the limits, which are sorted, the log-in is older than, and when it passes the next one.
fn passed(auth_time: Option<i64>, limits: &[Duration], now: Duration) -> (u32, u64) {
    let Some(auth_time) = auth_time else {
        return (0, u64::MAX);
    };
    let now_s = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let over = |limit: &Duration| {
        let seconds = i64::try_from(limit.as_secs()).unwrap_or(i64::MAX);
        auth_time.saturating_add(seconds).saturating_add(1)
    };
    let passed = limits.partition_point(|limit| over(limit) <= now_s);
    let until_s = limits
        .get(passed)
        .and_then(|limit| u64::try_from(over(limit)).ok())
        .unwrap_or(u64::MAX);
    (u32::try_from(passed).unwrap_or(u32::MAX >> 1), until_s)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_in_passes_limits_one_after_the_other() {
        let limits = [60, 3_600].map(Duration::from_secs);
        let at = |now_s| passed(Some(1_000), &limits, Duration::from_secs(now_s));
        assert_eq!(at(1_060), (0, 1_061), "exactly as old as allowed");
        assert_eq!(at(1_061), (1, 4_601));
        assert_eq!(at(4_601), (2, u64::MAX));
        assert_eq!(at(900), (0, 1_061), "a clock that went back");
        assert_eq!(passed(None, &limits, Duration::ZERO), (0, u64::MAX));
        assert_eq!(passed(Some(5), &[], Duration::ZERO), (0, u64::MAX));
    }
}
