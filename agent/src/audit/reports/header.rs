//! What every report says about itself: where it comes from, and how far to trust it.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, params};
use serde::Serialize;

use super::{Period, period::rfc3339};
use crate::{
    audit::{
        chain::{head::Head, key::PublicKey},
        index,
        journal::{FOLDER, reader},
        store::StoreError,
    },
    clock, net,
};

/// What every report says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Header {
    /// The host.
    pub host: String,
    /// When the report was made.
    pub generated: String,
    /// The period's begin, rounded to the hour.
    pub since: String,
    /// The period's end.
    pub until: String,
    /// When the first record that is left was made; empty when none was removed.
    pub records_since: String,
    /// The digest of the policy that was in force last; empty when no agent has run.
    pub policy: String,
    /// Whether an agent in the period trusted a development issuer: its identities prove nothing.
    pub development_issuer: bool,
    /// The chain's hash at its end, hexadecimal; empty without a chain.
    pub chain_head: String,
    /// The last record that the chain covers.
    pub chain_seq: u64,
    /// The last record that this report counts.
    pub indexed_seq: u64,
    /// The command that verifies the chain.
    pub verify: String,
    /// What is missing or not governed; empty when there is nothing to say.
    pub incomplete: Vec<String>,
}

pub(super) fn read(
    store: &Connection,
    state_dir: &Path,
    period: Period,
) -> Result<Header, StoreError> {
    let indexed_seq = index::cursor(store)?.seq - 1;
    let (from, until) = period.nanoseconds();
    let head = head(state_dir);
    let mut incomplete = incomplete(store, period).map_err(StoreError::sqlite("ask"))?;
    match &head {
        Ok(Some(head)) if head.last_seq > indexed_seq => {
            incomplete.push(format!(
                "{} records are not in the index yet",
                head.last_seq - indexed_seq
            ));
        }
        Ok(_) => {}
        Err(problem) => incomplete.push(problem.clone()),
    }
    let head = head.ok().flatten();
    let removed = removed(store).map_err(StoreError::sqlite("ask"))?;
    incomplete.extend(removed.as_ref().and_then(|removed| removed.note(from)));
    Ok(Header {
        host: net::host_name(),
        generated: rfc3339(clock::now_ns()),
        since: rfc3339(from),
        until: rfc3339(until),
        records_since: removed
            .and_then(|removed| removed.kept_from_ns)
            .map_or_else(String::new, rfc3339),
        policy: policy(store).map_err(StoreError::sqlite("ask"))?,
        development_issuer: development_issuer(store, until).map_err(StoreError::sqlite("ask"))?,
        chain_head: head.map_or_else(String::new, |head| hex::encode(head.hash)),
        chain_seq: head.map_or(0, |head| head.last_seq),
        indexed_seq,
        verify: format!("weir audit verify --state-dir {}", state_dir.display()),
        incomplete,
    })
}

/// What retention has removed, as was recorded last.
struct Removed {
    last_seq: u64,
    why: String,
    kept_from_ns: Option<u64>,
}

impl Removed {
    /// What a report says of it whose period begins at `from_ns`.
    fn note(&self, from_ns: u64) -> Option<String> {
        let Self { last_seq, why, .. } = self;
        match self.kept_from_ns {
            Some(kept_from_ns) if kept_from_ns <= from_ns => None,
            Some(kept_from_ns) => Some(format!(
                "records begin at {}: those up to {last_seq} were removed by retention ({why}); the hour of that time may count \
                 some of them",
                rfc3339(kept_from_ns)
            )),
            None => Some(format!(
                "records up to {last_seq} were removed by retention ({why})"
            )),
        }
    }
}

fn removed(store: &Connection) -> rusqlite::Result<Option<Removed>> {
    store
        .query_row(
            "SELECT body ->> '$.last_seq', body ->> '$.why', body ->> '$.kept_from_ns' FROM event_records
             WHERE event = 'segments_retired' ORDER BY seq DESC LIMIT 1",
            [],
            |row| {
                Ok(Removed {
                    last_seq: row.get(0)?,
                    why: row.get(1)?,
                    kept_from_ns: row.get(2)?,
                })
            },
        )
        .optional()
}

/// The signed head; `None` before the first block.
fn head(state_dir: &Path) -> Result<Option<Head>, String> {
    let dir = state_dir.join(FOLDER);
    let key =
        PublicKey::open(state_dir).map_err(|_| "the chain's key cannot be read".to_owned())?;
    let journal = reader::journal_id(&dir).map_err(|error| error.to_string())?;
    match journal {
        Some(journal) => Head::read(&dir, &journal, &key).map_err(|error| error.to_string()),
        None => Ok(None),
    }
}

fn policy(store: &Connection) -> rusqlite::Result<String> {
    let digest = store
        .query_row(
            "SELECT coalesce(body ->> '$.digest', body ->> '$.policy') FROM event_records
             WHERE event IN ('policy_loaded', 'agent_started') ORDER BY seq DESC LIMIT 1",
            [],
            |row| row.get::<_, Option<String>>(0),
        )
        .optional()?;
    Ok(digest.flatten().unwrap_or_default())
}

/// The agent that was running when the period began counts too, so every one before its end does.
fn development_issuer(store: &Connection, until_ns: u64) -> rusqlite::Result<bool> {
    store.query_row(
        "SELECT count(*) > 0 FROM event_records
         WHERE event = 'agent_started' AND time_ns < ?1 AND body ->> '$.development_issuer'",
        [until_ns],
        |row| row.get(0),
    )
}

fn incomplete(store: &Connection, period: Period) -> rusqlite::Result<Vec<String>> {
    let (from, until) = period.nanoseconds();
    let mut notes = Vec::new();
    let count = |sql: &str| store.query_row(sql, params![from, until], |row| row.get::<_, u64>(0));
    let mut note = |count: u64, one: &str, more: &str| match count {
        0 => {}
        1 => notes.push(format!("1 {one}")),
        count => notes.push(format!("{count} {more}")),
    };
    note(
        count(
            "SELECT count(*) FROM event_records WHERE event = 'gap' AND time_ns >= ?1 AND time_ns < ?2",
        )?,
        "time without an agent",
        "times without an agent",
    );
    note(
        count(
            "SELECT coalesce(sum(body ->> '$.passed'), 0) FROM event_records
             WHERE event = 'gap' AND time_ns >= ?1 AND time_ns < ?2",
        )?,
        "connection that passed while no agent ran",
        "connections that passed while no agent ran",
    );
    note(
        count(
            "SELECT count(*) FROM event_records WHERE event = 'ungoverned' AND time_ns >= ?1 AND time_ns < ?2",
        )?,
        "connection that was not governed",
        "connections that were not governed",
    );
    note(
        count(super::UNREAD_SESSIONS)?,
        "session that was relayed unread",
        "sessions that were relayed unread",
    );
    note(
        store.query_row("SELECT count(*) FROM open_requests", [], |row| row.get(0))?,
        "request without an outcome",
        "requests without an outcome",
    );
    note(
        store.query_row("SELECT count(*) FROM breaks", [], |row| row.get(0))?,
        "break in the journal",
        "breaks in the journal",
    );
    Ok(notes)
}
