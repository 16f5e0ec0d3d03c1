//! Questions to the audit store: few at a time, and none for ever. A visitor must not take the host's memory and processor
//! from the statements that pass through it.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::http::StatusCode;
use rusqlite::{Connection, ErrorCode};
use tokio::sync::Semaphore;

use super::{error::Error, request::Ask};
use crate::audit::{
    reports::Most,
    store::{self, StoreError},
};

/// What is shown of one report: some megabytes as a page, which is more than anybody reads.
pub(super) const MOST: Most = Most {
    lines: 20_000,
    bytes: 32 * 1024 * 1024,
};

/// Questions at a time, of all visitors.
const AT_A_TIME: usize = 2;
/// For one question.
const LONGEST: Duration = Duration::from_secs(30);
/// For who comes while others ask.
const COME_AGAIN: Duration = Duration::from_secs(3);
/// Steps of SQLite's machine between two looks at the clock: well below a millisecond.
const STEPS: std::ffi::c_int = 10_000;

/// The seats of those who ask.
pub(super) fn seats() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(AT_A_TIME))
}

/// Answers a question from the store, beside the requests.
pub(super) async fn put<T: Send + 'static>(
    ask: &Ask,
    question: impl FnOnce(&Connection, &Path) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, Error> {
    let seat = Arc::clone(&ask.web.questions)
        .try_acquire_owned()
        .map_err(|_| Error::too_often(COME_AGAIN))?;
    ask.work(move |web| {
        // Taken along: the visitor may leave, and the work goes on until the store is interrupted.
        let _seat = seat;
        let state_dir = &web.reach.state_dir;
        within(state_dir, LONGEST, question).map_err(|error| told(&error))
    })
    .await
}

/// Asks the store, and gives up after `longest`.
fn within<T>(
    state_dir: &Path,
    longest: Duration,
    question: impl FnOnce(&Connection, &Path) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let mut store = store::open_read_only(state_dir)?;
    let begun = Instant::now();
    store
        .progress_handler(STEPS, Some(move || begun.elapsed() >= longest))
        .map_err(StoreError::sqlite("open"))?;
    question(&store, state_dir)
}

fn told(error: &StoreError) -> Error {
    if is_interrupted(error) {
        return Error::new(StatusCode::SERVICE_UNAVAILABLE, "this takes too long")
            .hint("narrow the period, or use `weir report` on the host");
    }
    Error::internal("the store cannot be asked", error)
}

fn is_interrupted(error: &StoreError) -> bool {
    let StoreError::Sqlite { source, .. } = error else {
        return false;
    };
    source.sqlite_error_code() == Some(ErrorCode::OperationInterrupted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_that_takes_too_long_is_interrupted_and_others_are_answered() {
        let dir = tempfile::tempdir().expect("a folder");
        drop(store::open(dir.path()).expect("a store"));
        let count = |until: u64| {
            move |store: &Connection, _: &Path| {
                let sql =
                    "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
                           SELECT count(*) FROM n";
                store
                    .query_row(sql, [until], |row| row.get::<_, u64>(0))
                    .map_err(StoreError::sqlite("ask"))
            }
        };
        let begun = Instant::now();
        let late = within(dir.path(), Duration::from_millis(50), count(1 << 40));
        assert!(is_interrupted(&late.expect_err("an interruption")));
        assert!(begun.elapsed() < Duration::from_secs(10));
        let soon = within(dir.path(), Duration::from_mins(1), count(100_000));
        assert_eq!(soon.expect("an answer"), 100_000);
    }
}
