//! What the index knows of the segments that are left, so that nobody has to read them whenever others go.

use std::{collections::HashMap, path::Path};

use rusqlite::{Connection, OptionalExtension};

use super::carried::HOUR_NS;
use crate::audit::{
    index,
    store::{self, StoreError},
};

/// The index as it is at one moment.
#[derive(Debug)]
pub(super) struct Known {
    store: Connection,
}

/// Which segments speak of a session.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Mentions {
    /// The last one that states its opening.
    pub(super) opened: u64,
    /// The record that said first how it ended.
    pub(super) closed_seq: Option<u64>,
    /// The last one that says how it ended.
    pub(super) closed: Option<u64>,
}

impl Known {
    /// The index of `state_dir`; `None` while it has not got to the record `seq`.
    ///
    /// # Errors
    ///
    /// There is none, or it cannot be read.
    pub(super) fn open(state_dir: &Path, seq: u64) -> Result<Option<Self>, StoreError> {
        let store = store::open_read_only(state_dir)?;
        // All questions are answered from what is there at the first one.
        store
            .execute_batch("BEGIN")
            .map_err(StoreError::sqlite("ask"))?;
        let got_to = index::cursor(&store)?.seq;
        Ok((got_to > seq).then_some(Self { store }))
    }

    /// Which segments speak of a session; none when it is not known.
    ///
    /// # Errors
    ///
    /// SQLite refuses.
    pub(super) fn session(&self, id: u64) -> Result<Mentions, StoreError> {
        self.store
            .prepare_cached(
                "SELECT segment, closed_seq, closed_segment FROM session_records WHERE id = ?1",
            )
            .and_then(|mut query| {
                query
                    .query_row([id], |row| {
                        Ok(Mentions {
                            opened: row.get(0)?,
                            closed_seq: row.get(1)?,
                            closed: row.get(2)?,
                        })
                    })
                    .optional()
            })
            .map(Option::unwrap_or_default)
            .map_err(StoreError::sqlite("ask"))
    }

    /// Until when something may come of each approval, nanoseconds since the epoch, by id.
    ///
    /// # Errors
    ///
    /// SQLite refuses.
    pub(super) fn approvals(&self) -> Result<HashMap<u64, u64>, StoreError> {
        // What was approved in time may be sent a little later.
        self.store
            .prepare(
                "SELECT body ->> '$.approval', max(coalesce(body ->> '$.until_ns', body ->> '$.expires_ns' + ?1, 0))
                 FROM event_records WHERE event IN ('approval_requested', 'approval_decided') GROUP BY 1",
            )
            .and_then(|mut query| {
                query
                    .query_map([HOUR_NS], |row| Ok((row.get(0)?, row.get(1)?)))?
                    .collect()
            })
            .map_err(StoreError::sqlite("ask"))
    }
}
