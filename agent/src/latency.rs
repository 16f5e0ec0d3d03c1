//! How long things take, counted in fixed buckets: for operators, without locks.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use serde::Serialize;

/// How often something took how long.
#[derive(Debug)]
pub struct Histogram {
    /// Upper ends of the buckets, nanoseconds, rising.
    bounds_ns: &'static [u64],
    /// One for each bound, and one for what took longer.
    counts: Box<[AtomicU64]>,
    sum_ns: AtomicU64,
}

/// A histogram as it was at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    /// Upper ends of the buckets, nanoseconds, rising.
    pub bounds_ns: &'static [u64],
    /// What fell into each; the last one is for what took longer than every bound.
    pub counts: Vec<u64>,
    /// All of it together, nanoseconds.
    pub sum_ns: u64,
}

/// A histogram in three figures, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Figures {
    /// How many were timed.
    pub timed: u64,
    /// Half of them took no longer, microseconds; `None` when nothing was timed, or when that is longer than every bound.
    pub p50_us: Option<u64>,
    /// As `p50_us`, of 99 in a hundred.
    pub p99_us: Option<u64>,
}

impl Histogram {
    /// Counts in buckets that end at `bounds_ns`, which have to rise.
    #[must_use]
    pub fn new(bounds_ns: &'static [u64]) -> Self {
        Self {
            bounds_ns,
            counts: (0..=bounds_ns.len()).map(|_| AtomicU64::new(0)).collect(),
            sum_ns: AtomicU64::new(0),
        }
    }

    /// Counts something that took `taken`.
    pub fn count(&self, taken: Duration) {
        let ns = u64::try_from(taken.as_nanos()).unwrap_or(u64::MAX);
        let at = self.bounds_ns.partition_point(|bound| *bound < ns);
        if let Some(count) = self.counts.get(at) {
            count.fetch_add(1, Ordering::Relaxed);
            self.sum_ns.fetch_add(ns, Ordering::Relaxed);
        }
    }

    /// What was counted until now.
    #[must_use]
    pub fn counted(&self) -> Counted {
        let counts = self.counts.iter();
        Counted {
            bounds_ns: self.bounds_ns,
            counts: counts.map(|count| count.load(Ordering::Relaxed)).collect(),
            sum_ns: self.sum_ns.load(Ordering::Relaxed),
        }
    }
}

impl Counted {
    /// How many were counted.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// For people.
    #[must_use]
    pub fn figures(&self) -> Figures {
        Figures {
            timed: self.total(),
            p50_us: self.within(50),
            p99_us: self.within(99),
        }
    }

    /// The end of the bucket that holds this hundredth, microseconds.
    fn within(&self, hundredths: u64) -> Option<u64> {
        let wanted = self.total().saturating_mul(hundredths).div_ceil(100);
        let mut seen = 0;
        for (bound, count) in self.bounds_ns.iter().zip(&self.counts) {
            seen += count;
            if seen >= wanted && seen > 0 {
                return Some(bound.div_ceil(1000));
            }
        }
        None
    }
}

/// From a microsecond to a second: what happens in memory.
pub const IN_MEMORY: &[u64] = &[
    1_000,
    2_000,
    5_000,
    10_000,
    20_000,
    50_000,
    100_000,
    200_000,
    500_000,
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    50_000_000,
    100_000_000,
    1_000_000_000,
];

/// From a tenth of a millisecond to ten seconds: what waits for a disk.
pub const ON_DISK: &[u64] = &[
    100_000,
    200_000,
    500_000,
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    20_000_000,
    50_000_000,
    100_000_000,
    200_000_000,
    500_000_000,
    1_000_000_000,
    10_000_000_000,
];

/// From a second to a day: what waits for people.
pub const BY_PEOPLE: &[u64] = &[
    1_000_000_000,
    5_000_000_000,
    15_000_000_000,
    30_000_000_000,
    60_000_000_000,
    300_000_000_000,
    900_000_000_000,
    3_600_000_000_000,
    14_400_000_000_000,
    86_400_000_000_000,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_duration_is_in_the_bucket_that_ends_at_or_behind_it() {
        let histogram = Histogram::new(&[10, 20, 40]);
        for ns in [0, 10, 11, 20, 40, 41, u64::MAX] {
            histogram.count(Duration::from_nanos(ns));
        }
        let counted = histogram.counted();
        assert_eq!(counted.counts, [2, 2, 1, 2]);
        assert_eq!(counted.total(), 7);
    }

    #[test]
    fn bounds_rise() {
        for bounds in [IN_MEMORY, ON_DISK, BY_PEOPLE] {
            assert!(bounds.is_sorted_by(|one, next| one < next), "{bounds:?}");
        }
    }

    #[test]
    fn figures_are_ends_of_buckets() {
        let histogram = Histogram::new(IN_MEMORY);
        let figures = || histogram.counted().figures();
        assert_eq!((figures().timed, figures().p50_us), (0, None));
        for _ in 0..99 {
            histogram.count(Duration::from_nanos(1_500));
        }
        histogram.count(Duration::from_millis(3));
        assert_eq!((figures().p50_us, figures().p99_us), (Some(2), Some(2)));
        histogram.count(Duration::from_millis(3));
        assert_eq!(figures().p99_us, Some(5_000));
        for _ in 0..200 {
            histogram.count(Duration::from_secs(9));
        }
        assert_eq!((figures().timed, figures().p50_us), (301, None));
    }
}
