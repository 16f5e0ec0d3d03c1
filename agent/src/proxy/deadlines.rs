//! Time limits for what begins or ends a connection.
//!
//! The workers' runtimes have no timers: those would be looked at before and after every wait, for connections that
//! need none. The main thread fires what is due instead, a few times a second.

use std::{
    collections::HashMap,
    future::poll_fn,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Poll, Waker},
    time::{Duration, Instant},
};

/// All limits that run.
#[derive(Debug, Default)]
pub struct Deadlines {
    waiting: Mutex<HashMap<u64, (Instant, Arc<Slot>)>>,
    next: AtomicU64,
}

#[derive(Debug, Default)]
struct Slot {
    fired: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Deadlines {
    /// Waits for `future`, at most for `limit` and the time between two calls of [`Self::fire`]; `None` when it took longer.
    pub async fn within<F: Future>(&self, limit: Duration, future: F) -> Option<F::Output> {
        let slot = Arc::new(Slot::default());
        let _place = self.place(Instant::now() + limit, Arc::clone(&slot));
        let mut future = pin!(future);
        poll_fn(|cx| {
            if let Poll::Ready(output) = future.as_mut().poll(cx) {
                return Poll::Ready(Some(output));
            }
            *hold(&slot.waker) = Some(cx.waker().clone());
            // After the waker is in place: a limit that fires in between is seen here.
            if slot.fired.load(Ordering::Acquire) {
                return Poll::Ready(None);
            }
            Poll::Pending
        })
        .await
    }

    /// Ends what is due at `now`.
    pub fn fire(&self, now: Instant) {
        for (_, slot) in hold(&self.waiting).values().filter(|(at, _)| *at <= now) {
            slot.fired.store(true, Ordering::Release);
            if let Some(waker) = hold(&slot.waker).take() {
                waker.wake();
            }
        }
    }

    fn place(&self, at: Instant, slot: Arc<Slot>) -> Place<'_> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        hold(&self.waiting).insert(number, (at, slot));
        Place {
            deadlines: self,
            number,
        }
    }
}

/// A limit's place in the list, until it is dropped.
struct Place<'d> {
    deadlines: &'d Deadlines,
    number: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut waiting = hold(&self.deadlines.waiting);
        waiting.remove(&self.number);
        if waiting.is_empty() {
            // A burst must not keep its memory for good.
            waiting.shrink_to(KEPT_PLACES);
        }
    }
}

fn hold<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const KEPT_PLACES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_in_time_has_its_output_and_leaves_nothing() {
        let deadlines = Deadlines::default();
        let output = deadlines.within(Duration::from_secs(9), async { 7 }).await;
        assert_eq!(output, Some(7));
        assert!(hold(&deadlines.waiting).is_empty());
    }

    #[tokio::test]
    async fn what_is_late_is_ended_by_the_next_look() {
        let deadlines = Arc::new(Deadlines::default());
        let waiting = tokio::spawn({
            let deadlines = Arc::clone(&deadlines);
            async move {
                let never = std::future::pending::<()>();
                deadlines.within(Duration::from_secs(5), never).await
            }
        });
        tokio::task::yield_now().await;
        deadlines.fire(Instant::now());
        assert!(!waiting.is_finished());
        deadlines.fire(Instant::now() + Duration::from_secs(6));
        assert_eq!(waiting.await.expect("no panic"), None);
    }
}
