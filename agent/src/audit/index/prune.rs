//! What goes from the store when segments of the journal are retired, so that it holds what an index of the rest would.
//!
//! A row goes when no segment that is left states it. Counts are kept by the hour: an hour goes with its last request, so the
//! one in which the journal begins may count requests that were removed; an index of the rest does not have those.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
    time::{Duration, Instant},
};

use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use super::cursor;
use crate::audit::{chain::retired::Retired, journal::FOLDER, store::StoreError};

/// Rows that one step removes: some 20 ms of the store's write lock.
const STEP_ROWS: u32 = 2000;
/// Pages that one step gives back to the file system.
const STEP_PAGES: u32 = 1000;
/// Free pages that are kept for new rows: this part of all.
const FREE_PART: u64 = 4;

/// What is gone from the journal.
#[derive(Debug, Clone, Copy)]
struct Gone {
    /// The last segment.
    segment: u64,
    /// The last record.
    seq: u64,
    /// The first hour with a request that is left.
    until_hour: u64,
}

/// Removes one step's rows; how many there were.
type Step = fn(&Transaction<'_>, &Gone) -> rusqlite::Result<usize>;

/// In this order: what refers goes before what it refers to.
const STEPS: &[Step] = &[
    |transaction, gone| hours(transaction, gone, "activity", "session, statement, hour"),
    |transaction, gone| {
        hours(
            transaction,
            gone,
            "statement_usage",
            "hour, context, statement",
        )
    },
    |transaction, gone| {
        hours(
            transaction,
            gone,
            "usage",
            "hour, context, relation, action, kinds",
        )
    },
    |transaction, gone| hours(transaction, gone, "totals", "hour, context"),
    |transaction, gone| {
        transaction
            .prepare_cached("DELETE FROM open_requests WHERE seq IN (SELECT seq FROM open_requests WHERE seq <= ?1 LIMIT ?2)")?
            .execute(params![gone.seq, STEP_ROWS])
    },
    |transaction, gone| records(transaction, gone, "event_records"),
    renewals,
    sessions,
    closings,
    |transaction, gone| {
        transaction
            .prepare_cached("DELETE FROM statement_ids WHERE id IN (SELECT id FROM statement_ids WHERE segment <= ?1 LIMIT ?2)")?
            .execute(params![gone.segment, STEP_ROWS])
    },
    statements,
    |transaction, gone| {
        transaction
            .prepare_cached(
                "DELETE FROM contexts WHERE id IN (SELECT c.id FROM contexts c WHERE c.last_hour < ?1
                 AND NOT EXISTS (SELECT 1 FROM session_records s WHERE s.context = c.id) LIMIT ?2)",
            )?
            .execute(params![gone.until_hour, STEP_ROWS])
    },
    |transaction, gone| {
        transaction
            .prepare_cached("DELETE FROM breaks WHERE segment <= ?1")?
            .execute([gone.segment])
    },
    |transaction, gone| {
        transaction
            .prepare_cached("DELETE FROM segment_hours WHERE segment <= ?1")?
            .execute([gone.segment])
    },
];

/// Removes from the store of `state_dir` what only retired segments stated, step by step for as long as `patience`; whether
/// nothing is left to remove.
///
/// # Errors
///
/// SQLite refuses.
pub fn prune(
    store: &mut Connection,
    state_dir: &Path,
    patience: Duration,
) -> Result<bool, StoreError> {
    let Some(gone) = gone(store, state_dir)? else {
        return Ok(true);
    };
    let begun = Instant::now();
    let run = |store: &mut Connection, step: &Step| {
        let transaction = store.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let removed = step(&transaction, &gone)?;
        transaction.commit()?;
        Ok(removed)
    };
    for step in STEPS {
        while run(store, step).map_err(StoreError::sqlite("prune"))? > 0 {
            if begun.elapsed() >= patience {
                return Ok(false);
            }
        }
    }
    while give_back(store).map_err(StoreError::sqlite("shrink"))? {
        if begun.elapsed() >= patience {
            return Ok(false);
        }
    }
    store
        .execute("UPDATE cursor SET pruned = ?1", [gone.segment])
        .map_err(StoreError::sqlite("prune"))?;
    Ok(true)
}

/// What has to go; `None` when it is gone already, or the store has not got to what is left.
fn gone(store: &Connection, state_dir: &Path) -> Result<Option<Gone>, StoreError> {
    let Some(retired) = Retired::unverified(&state_dir.join(FOLDER)) else {
        return Ok(None);
    };
    let pruned: u64 = store
        .query_row("SELECT pruned FROM cursor", [], |row| row.get(0))
        .map_err(StoreError::sqlite("read the cursor of"))?;
    if pruned >= retired.segment || cursor(store)?.segment <= retired.segment {
        return Ok(None);
    }
    let first: Option<u64> = store
        .query_row(
            "SELECT min(first_hour) FROM segment_hours WHERE segment > ?1",
            [retired.segment],
            |row| row.get(0),
        )
        .map_err(StoreError::sqlite("prune"))?;
    Ok(Some(Gone {
        segment: retired.segment,
        seq: retired.last_seq,
        // Without a request that is left no hour is.
        until_hour: first.unwrap_or(i64::MAX.unsigned_abs()),
    }))
}

fn hours(
    transaction: &Transaction<'_>,
    gone: &Gone,
    table: &str,
    key: &str,
) -> rusqlite::Result<usize> {
    transaction
        .prepare_cached(&format!(
            "DELETE FROM {table} WHERE ({key}) IN (SELECT {key} FROM {table} WHERE hour < ?1 LIMIT ?2)"
        ))?
        .execute(params![gone.until_hour, STEP_ROWS])
}

/// Those that nothing has said again.
fn records(transaction: &Transaction<'_>, gone: &Gone, table: &str) -> rusqlite::Result<usize> {
    transaction
        .prepare_cached(&format!(
            "DELETE FROM {table} WHERE seq IN (SELECT seq FROM {table} WHERE seq <= ?1 AND segment <= ?2 LIMIT ?3)"
        ))?
        .execute(params![gone.seq, gone.segment, STEP_ROWS])
}

/// Renewals that nothing has said again, and their part in when sessions' identities were vouched for last.
fn renewals(transaction: &Transaction<'_>, gone: &Gone) -> rusqlite::Result<usize> {
    let removed: Vec<i64> = transaction
        .prepare_cached(
            "DELETE FROM session_renewals WHERE seq IN (
                 SELECT seq FROM session_renewals WHERE seq <= ?1 AND segment <= ?2 LIMIT ?3)
             RETURNING session",
        )?
        .query_map(params![gone.seq, gone.segment, STEP_ROWS], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let mut update = transaction.prepare_cached(
        "UPDATE session_records SET verified_s = (
             SELECT CASE WHEN left_s IS NULL THEN last_verified_s ELSE max(coalesce(last_verified_s, 0), left_s) END
             FROM (SELECT max(last_verified_s) AS left_s FROM session_renewals WHERE session = ?1))
         WHERE id = ?1",
    )?;
    let sessions: HashSet<&i64> = removed.iter().collect();
    for session in sessions {
        update.execute([session])?;
    }
    Ok(removed.len())
}

/// How sessions ended, where segments that are left name them but do not say it again: an index of those does not know it.
fn closings(transaction: &Transaction<'_>, gone: &Gone) -> rusqlite::Result<usize> {
    transaction
        .prepare_cached(
            "UPDATE session_records SET closed_ns = NULL, close_reason = NULL, requests = NULL, client_bytes = NULL,
             server_bytes = NULL, closed_seq = NULL, closed_segment = NULL
             WHERE id IN (SELECT id FROM session_records WHERE closed_segment <= ?1 AND segment > ?1 LIMIT ?2)",
        )?
        .execute(params![gone.segment, STEP_ROWS])
}

/// A context, groups, method and strength.
type Proof = (i64, String, String, String);

/// Sessions, and their part in what sessions of their kind rested on.
fn sessions(transaction: &Transaction<'_>, gone: &Gone) -> rusqlite::Result<usize> {
    let removed: Vec<Proof> = transaction
        .prepare_cached(
            "DELETE FROM session_records WHERE id IN (
                 SELECT id FROM session_records WHERE last_hour < ?1 AND segment <= ?2 LIMIT ?3)
             RETURNING context, groups, coalesce(method, ''), coalesce(strength, '')",
        )?
        .query_map(params![gone.until_hour, gone.segment, STEP_ROWS], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })?
        .collect::<rusqlite::Result<_>>()?;
    let count = removed.len();
    let mut proofs: HashMap<Proof, u64> = HashMap::new();
    for proof in removed {
        *proofs.entry(proof).or_default() += 1;
    }
    for ((context, groups, method, strength), sessions) in proofs {
        let of = params![context, groups, method, strength, sessions];
        let left: u64 = transaction
            .prepare_cached(
                "UPDATE context_proofs SET sessions = sessions - ?5
                 WHERE context = ?1 AND groups = ?2 AND method = ?3 AND strength = ?4 RETURNING sessions",
            )?
            .query_row(of, |row| row.get(0))?;
        let of = params![context, groups, method, strength];
        let then = if left == 0 { NO_PROOF } else { PROOF_TIMES };
        transaction.prepare_cached(then)?.execute(of)?;
    }
    Ok(count)
}

const NO_PROOF: &str = "DELETE FROM context_proofs WHERE context = ?1 AND groups = ?2 AND method = ?3 AND strength = ?4";
/// Found by the index, from both ends.
const PROOF_TIMES: &str = "UPDATE context_proofs SET
     first_ns = (SELECT opened_ns FROM session_records s WHERE s.context = ?1 AND s.groups = ?2
                 AND coalesce(s.method, '') = ?3 AND coalesce(s.strength, '') = ?4 ORDER BY opened_ns LIMIT 1),
     last_ns = (SELECT opened_ns FROM session_records s WHERE s.context = ?1 AND s.groups = ?2
                 AND coalesce(s.method, '') = ?3 AND coalesce(s.strength, '') = ?4 ORDER BY opened_ns DESC LIMIT 1)
 WHERE context = ?1 AND groups = ?2 AND method = ?3 AND strength = ?4";

/// Statements that no id stands for any more, with what they touch.
fn statements(transaction: &Transaction<'_>, gone: &Gone) -> rusqlite::Result<usize> {
    let unused: Vec<i64> = transaction
        .prepare_cached(
            "SELECT s.id FROM statement_records s WHERE s.last_hour < ?1
             AND NOT EXISTS (SELECT 1 FROM statement_ids i WHERE i.statement = s.id) LIMIT ?2",
        )?
        .query_map(params![gone.until_hour, STEP_ROWS], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    for id in &unused {
        for table in [
            "statement_relations",
            "statement_columns",
            "statement_classes",
        ] {
            transaction
                .prepare_cached(&format!("DELETE FROM {table} WHERE statement = ?1"))?
                .execute([id])?;
        }
        transaction
            .prepare_cached("DELETE FROM statement_records WHERE id = ?1")?
            .execute([id])?;
    }
    Ok(unused.len())
}

/// New rows take the place of those that went; what is more than they need for a while goes back to the file system. Whether
/// something did.
fn give_back(store: &Connection) -> rusqlite::Result<bool> {
    let pages = |what: &str| store.query_row(what, [], |row| row.get::<_, u64>(0));
    let (free, all) = (pages("PRAGMA freelist_count")?, pages("PRAGMA page_count")?);
    if free <= u64::from(STEP_PAGES) || free <= all / FREE_PART {
        return Ok(false);
    }
    let mut vacuum = store.prepare(&format!("PRAGMA incremental_vacuum({STEP_PAGES})"))?;
    // Each row is a page.
    let mut given = vacuum.query([])?;
    while given.next()?.is_some() {}
    // A file that was made by an earlier version cannot shrink.
    Ok(pages("PRAGMA freelist_count")? < free)
}
