//! Counts, and the tables they are added to: several sessions of one program are one line there.

use rusqlite::{Transaction, params};

/// What happened of one kind in one hour.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    pub(super) requests: u64,
    pub(super) outcomes: u64,
    pub(super) statements: u64,
    pub(super) denied: u64,
    pub(super) failed: u64,
    pub(super) rows: u64,
    pub(super) bytes: u64,
    pub(super) duration_ns: u64,
    pub(super) first_ns: u64,
    pub(super) last_ns: u64,
}

impl Counts {
    pub(super) fn add(&mut self, other: &Self) {
        let first = if self.first_ns == 0 {
            other.first_ns
        } else {
            self.first_ns.min(other.first_ns)
        };
        *self = Self {
            requests: self.requests + other.requests,
            outcomes: self.outcomes + other.outcomes,
            statements: self.statements + other.statements,
            denied: self.denied + other.denied,
            failed: self.failed + other.failed,
            rows: self.rows.saturating_add(other.rows),
            bytes: self.bytes.saturating_add(other.bytes),
            duration_ns: self.duration_ns.saturating_add(other.duration_ns),
            first_ns: first,
            last_ns: self.last_ns.max(other.last_ns),
        };
    }
}

/// Adds counts to everything that reports read.
pub(super) fn store_rolled(
    transaction: &Transaction<'_>,
    context: i64,
    statement: i64,
    hour: u64,
    counts: &Counts,
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "INSERT INTO totals VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
             ON CONFLICT DO UPDATE SET requests = requests + excluded.requests,
             outcomes = outcomes + excluded.outcomes, statements = statements + excluded.statements,
             denied = denied + excluded.denied, failed = failed + excluded.failed,
             rows = min(rows + excluded.rows, ?10),
             bytes = min(bytes + excluded.bytes, ?10)",
        )?
        .execute(params![
            hour,
            context,
            counts.requests,
            counts.outcomes,
            counts.statements,
            counts.denied,
            counts.failed,
            capped(counts.rows),
            capped(counts.bytes),
            MOST,
        ])?;
    transaction
        .prepare_cached(
            "INSERT INTO statement_usage VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
             ON CONFLICT DO UPDATE SET statements = statements + excluded.statements,
             denied = denied + excluded.denied, failed = failed + excluded.failed,
             rows = min(rows + excluded.rows, ?11), bytes = min(bytes + excluded.bytes, ?11),
             first_ns = min(first_ns, excluded.first_ns), last_ns = max(last_ns, excluded.last_ns)",
        )?
        .execute(params![
            hour,
            context,
            statement,
            counts.statements,
            counts.denied,
            counts.failed,
            capped(counts.rows),
            capped(counts.bytes),
            counts.first_ns,
            counts.last_ns,
            MOST,
        ])?;
    let kinds: String = transaction
        .prepare_cached("SELECT kinds FROM statement_records WHERE id = ?1")?
        .query_row([statement], |row| row.get(0))?;
    let mut relations: Vec<(String, String)> = transaction
        .prepare_cached("SELECT relation, action FROM statement_relations WHERE statement = ?1")?
        .query_map([statement], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    if relations.is_empty() {
        relations.push((String::new(), String::new()));
    }
    let mut usage = transaction.prepare_cached(
        "INSERT INTO usage VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
         ON CONFLICT DO UPDATE SET statements = statements + excluded.statements,
         denied = denied + excluded.denied, failed = failed + excluded.failed,
         rows = min(rows + excluded.rows, ?13), bytes = min(bytes + excluded.bytes, ?13),
         first_ns = min(first_ns, excluded.first_ns), last_ns = max(last_ns, excluded.last_ns)",
    )?;
    for (relation, action) in relations {
        usage.execute(params![
            hour,
            context,
            relation,
            action,
            kinds,
            counts.statements,
            counts.denied,
            counts.failed,
            capped(counts.rows),
            capped(counts.bytes),
            counts.first_ns,
            counts.last_ns,
            MOST,
        ])?;
    }
    Ok(())
}

/// The most that is kept of a count that others state. Rows are what a server says that they are, and one that lies must
/// not make sums overflow. 2^48 is more than any hour of one statement moves, and tens of thousands of them still add up.
pub(super) const MOST: i64 = 1 << 48;

/// At most [`MOST`].
pub(super) fn capped(value: u64) -> i64 {
    i64::try_from(value).map_or(MOST, |value| value.min(MOST))
}

/// SQLite's integers are signed.
pub(super) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
