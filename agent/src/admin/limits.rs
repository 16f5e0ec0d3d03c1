//! How often somebody may ask for what costs something: a bucket of tokens for each who asks.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Buckets that are remembered; those that are full again are forgotten first.
const MAX_KEYS: usize = 4_096;

/// So many at once, and one more after each pause.
#[derive(Debug)]
pub(super) struct Limit {
    burst: u32,
    pause: Duration,
    /// When each bucket is full again.
    full_at: Mutex<HashMap<String, Instant>>,
}

impl Limit {
    pub(super) fn new(burst: u32, pause: Duration) -> Self {
        Self {
            burst,
            pause,
            full_at: Mutex::default(),
        }
    }

    /// Takes one for `key`; how long to wait when there is none.
    pub(super) fn take(&self, key: &str, now: Instant) -> Result<(), Duration> {
        let mut all = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MAX_KEYS && !all.contains_key(key) {
            all.retain(|_, full_at| *full_at > now);
            if all.len() >= MAX_KEYS {
                return Err(self.pause);
            }
        }
        let full_at = all.get(key).copied().unwrap_or(now).max(now) + self.pause;
        let most = self.pause * self.burst;
        let owed = full_at.saturating_duration_since(now);
        if owed > most {
            return Err(owed.saturating_sub(most));
        }
        all.insert(key.to_owned(), full_at);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_then_one_for_each_pause_and_others_are_not_held_up() {
        let limit = Limit::new(3, Duration::from_secs(2));
        let now = Instant::now();
        for _ in 0..3 {
            assert!(limit.take("a", now).is_ok());
        }
        assert_eq!(limit.take("a", now), Err(Duration::from_secs(2)));
        assert!(limit.take("b", now).is_ok());
        let later = now + Duration::from_secs(2);
        assert!(limit.take("a", later).is_ok());
        assert!(limit.take("a", later).is_err());
    }

    #[test]
    fn many_askers_do_not_take_memory_without_end() {
        let limit = Limit::new(1, Duration::from_secs(1));
        let now = Instant::now();
        for key in 0..MAX_KEYS {
            assert!(limit.take(&key.to_string(), now).is_ok());
        }
        assert!(limit.take("one more", now).is_err());
        assert!(limit.take("one more", now + Duration::from_secs(2)).is_ok());
    }
}
