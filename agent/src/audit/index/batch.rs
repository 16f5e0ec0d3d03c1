//! One batch of records on its way into the store.

use std::collections::HashMap;

use rusqlite::{OptionalExtension, Transaction, params};

use super::{
    dictionary::{context, json, statement, word},
    rollup::{Counts, MOST, capped, signed, store_rolled},
};
use crate::audit::{
    journal::{
        layout::{self, RawRecord, RecordKind},
        reader,
    },
    record::{
        Ending, Entry, Event, NOT_INSPECTED, Outcome, Requested, SessionOpened, StatementDecided,
        Via,
    },
};

const HOUR_NS: u64 = 3_600_000_000_000;

/// What a batch has counted so far.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Records up to this one were removed from the journal.
    retired_seq: u64,
    /// The segment of the record that is looked at.
    segment: u64,
    /// The earliest hour of a request, by segment, in the order of segments.
    hours: Vec<(u64, u64)>,
    /// The last segment that states them, of sessions and of statements that were known.
    restated: Restated,
    /// By session, the store's statement, and hour.
    counts: HashMap<(u64, i64, u64), Counts>,
    /// The store's statement and whether it was refused, by the journal's statement id.
    statements: HashMap<u64, (i64, bool)>,
    /// Sessions known to be in the store.
    sessions: HashMap<u64, i64>,
    /// Requests of this batch without an outcome.
    open: HashMap<u64, Open>,
}

/// By id.
#[derive(Debug, Default)]
struct Restated {
    sessions: HashMap<u64, u64>,
    statements: HashMap<u64, u64>,
}

#[derive(Debug, Clone, Copy)]
struct Open {
    session: u64,
    statement: i64,
    hour: u64,
}

impl Batch {
    /// Nothing yet, of a journal whose records up to `retired_seq` were removed.
    pub(super) fn new(retired_seq: u64) -> Self {
        Self {
            retired_seq,
            ..Self::default()
        }
    }

    /// Takes a record of `segment` in; `false` when it makes no sense.
    pub(super) fn add(
        &mut self,
        segment: u64,
        raw: &RawRecord<'_>,
        transaction: &Transaction<'_>,
    ) -> rusqlite::Result<bool> {
        self.segment = segment;
        // Dictionary entries repeat in each segment: known ones are not even decoded.
        let id = layout::take(raw.payload, 0);
        let restated = match raw.kind {
            RecordKind::SessionOpened if self.session(id, transaction)?.is_some() => {
                &mut self.restated.sessions
            }
            RecordKind::StatementDecided if self.statement(id, transaction)?.is_some() => {
                &mut self.restated.statements
            }
            _ => return self.add_new(raw, transaction),
        };
        restated.insert(id, segment);
        Ok(true)
    }

    fn add_new(
        &mut self,
        raw: &RawRecord<'_>,
        transaction: &Transaction<'_>,
    ) -> rusqlite::Result<bool> {
        let Some(entry) = reader::decode(raw) else {
            return Ok(false);
        };
        match entry {
            Entry::SessionOpened(opened) => self.opened(&opened, raw.time_ns, transaction),
            Entry::StatementDecided(decided) => self.decided(&decided, transaction),
            Entry::Requested(requested) => self.requested(raw, &requested, transaction),
            Entry::Outcome(outcome) => self.outcome(raw, &outcome, transaction),
            Entry::Event(event) => self.event(raw, &event, transaction),
        }
    }

    /// Writes what was counted.
    pub(super) fn store(&self, transaction: &Transaction<'_>) -> rusqlite::Result<()> {
        let mut activity = transaction.prepare_cached(
            "INSERT INTO activity VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
             ON CONFLICT DO UPDATE SET requests = requests + excluded.requests,
             outcomes = outcomes + excluded.outcomes, statements = statements + excluded.statements,
             denied = denied + excluded.denied, failed = failed + excluded.failed,
             rows = min(rows + excluded.rows, ?14), bytes = min(bytes + excluded.bytes, ?14),
             duration_ns = duration_ns + excluded.duration_ns,
             first_ns = min(first_ns, excluded.first_ns), last_ns = max(last_ns, excluded.last_ns)",
        )?;
        // Several sessions of one program are one line of the roll-up.
        let mut rolled: HashMap<(i64, i64, u64), Counts> = HashMap::new();
        for ((session, statement, hour), counts) in &self.counts {
            activity.execute(params![
                session,
                statement,
                hour,
                counts.requests,
                counts.outcomes,
                counts.statements,
                counts.denied,
                counts.failed,
                capped(counts.rows),
                capped(counts.bytes),
                signed(counts.duration_ns),
                counts.first_ns,
                counts.last_ns,
                MOST,
            ])?;
            let context = self.sessions.get(session).copied().unwrap_or_default();
            rolled
                .entry((context, *statement, *hour))
                .or_default()
                .add(counts);
        }
        for ((context, statement, hour), counts) in &rolled {
            store_rolled(transaction, *context, *statement, *hour, counts)?;
        }
        let counted = self.counts.keys();
        touch(
            transaction,
            "session_records",
            counted.map(|key| (i64::try_from(key.0).unwrap_or(i64::MAX), key.2)),
        )?;
        touch(
            transaction,
            "contexts",
            rolled.keys().map(|key| (key.0, key.2)),
        )?;
        touch(
            transaction,
            "statement_records",
            rolled.keys().map(|key| (key.1, key.2)),
        )?;
        self.store_segments(transaction)?;
        let mut open = transaction
            .prepare_cached("INSERT OR REPLACE INTO open_requests VALUES (?1, ?2, ?3, ?4)")?;
        for (seq, request) in &self.open {
            open.execute(params![
                seq,
                request.session,
                request.statement,
                request.hour
            ])?;
        }
        Ok(())
    }

    /// Writes down which segment states what.
    fn store_segments(&self, transaction: &Transaction<'_>) -> rusqlite::Result<()> {
        let mut hours = transaction.prepare_cached(
            "INSERT INTO segment_hours VALUES (?1, ?2) ON CONFLICT DO UPDATE SET first_hour = min(first_hour, excluded.first_hour)",
        )?;
        for (segment, hour) in &self.hours {
            hours.execute(params![segment, hour])?;
        }
        let mut session =
            transaction.prepare_cached("UPDATE session_records SET segment = ?2 WHERE id = ?1")?;
        for (id, segment) in &self.restated.sessions {
            session.execute(params![id, segment])?;
        }
        let mut statement =
            transaction.prepare_cached("UPDATE statement_ids SET segment = ?2 WHERE id = ?1")?;
        for (id, segment) in &self.restated.statements {
            statement.execute(params![id, segment])?;
        }
        Ok(())
    }

    fn opened(
        &mut self,
        opened: &SessionOpened,
        time_ns: u64,
        transaction: &Transaction<'_>,
    ) -> rusqlite::Result<bool> {
        let context = context(opened, transaction)?;
        let identity = opened.identity.as_ref();
        let principal = identity.map(|identity| &identity.principal);
        let proof = opened.proof.as_ref();
        let opened_ns = opened.opened_ns.unwrap_or(time_ns);
        let groups = identity.map_or_else(
            || "[]".to_owned(),
            |identity| json(&identity.principal.groups),
        );
        transaction
            .prepare_cached(
                "INSERT INTO session_records (id, context, opened_ns, application_name, destination, pid, cgroup, method, strength, purpose,
                 binding, token, issued_s, not_after_s, last_verified_s, stale, development, delegation, auth_time_s, acr, amr, evidence,
                 groups, segment, last_hour, verified_s, unread)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25, ?15, ?26)",
            )?
            .execute(params![
                opened.session,
                context,
                opened_ns,
                opened.application_name,
                opened.origin.destination.to_string(),
                opened.origin.tgid,
                opened.evidence.cgroup_path,
                identity.map(|identity| identity.method.as_str()),
                identity.map(|identity| word(&identity.strength)),
                identity.and_then(|identity| identity.purpose.as_deref()),
                proof.map(|proof| proof.key.as_str()),
                proof.map(|proof| proof.token_fingerprint.as_str()),
                proof.map(|proof| proof.issued_s),
                proof.map(|proof| proof.not_after_s),
                proof.map(|proof| proof.last_verified_s),
                proof.map(|proof| proof.stale),
                proof.map(|proof| proof.development),
                identity
                    .and_then(|identity| identity.delegation)
                    .map(|delegation| word(&delegation)),
                principal.and_then(|principal| principal.auth_time),
                principal.and_then(|principal| principal.acr.as_deref()),
                principal.map(|principal| principal.amr.join(",")),
                json(&opened.evidence),
                groups,
                self.segment,
                opened_ns / HOUR_NS,
                opened.unread,
            ])?;
        transaction
            .prepare_cached(
                "INSERT INTO context_proofs VALUES (?1, ?2, ?3, ?4, 1, ?5, ?5)
                 ON CONFLICT DO UPDATE SET sessions = sessions + 1, first_ns = min(first_ns, excluded.first_ns),
                 last_ns = max(last_ns, excluded.last_ns)",
            )?
            .execute(params![
                context,
                groups,
                identity.map_or("", |identity| identity.method.as_str()),
                identity.map(|identity| word(&identity.strength)).unwrap_or_default(),
                opened_ns,
            ])?;
        self.sessions.insert(opened.session, context);
        Ok(true)
    }

    fn decided(
        &mut self,
        decided: &StatementDecided,
        transaction: &Transaction<'_>,
    ) -> rusqlite::Result<bool> {
        let statement = statement(decided, transaction)?;
        transaction
            .prepare_cached("INSERT INTO statement_ids VALUES (?1, ?2, ?3)")?
            .execute(params![decided.id, statement, self.segment])?;
        self.statements
            .insert(decided.id, (statement, !decided.decision.permits()));
        Ok(true)
    }

    fn requested(
        &mut self,
        raw: &RawRecord<'_>,
        requested: &Requested,
        transaction: &Transaction<'_>,
    ) -> rusqlite::Result<bool> {
        let Some((statement, refused)) = self.statement(requested.statement, transaction)? else {
            return Ok(false);
        };
        if self.session(requested.session, transaction)?.is_none() {
            return Ok(false);
        }
        let open = Open {
            session: requested.session,
            statement,
            hour: raw.time_ns / HOUR_NS,
        };
        match self.hours.last_mut() {
            Some((segment, first)) if *segment == self.segment => *first = (*first).min(open.hour),
            _ => self.hours.push((self.segment, open.hour)),
        }
        let counts = self.counts(&open, raw.time_ns);
        counts.requests += 1;
        // A Parse runs nothing; a refused one is an attempt all the same.
        counts.statements += u64::from(refused || requested.via != Via::Parse);
        self.open.insert(raw.seq, open);
        Ok(true)
    }

    fn outcome(
        &mut self,
        raw: &RawRecord<'_>,
        outcome: &Outcome,
        transaction: &Transaction<'_>,
    ) -> rusqlite::Result<bool> {
        let open = match self.open.remove(&outcome.request) {
            Some(open) => open,
            None => match take_open(outcome.request, transaction)? {
                Some(open) => open,
                None => return Ok(outcome.request <= self.retired_seq),
            },
        };
        // The roll-up needs the session's context.
        if self.session(open.session, transaction)?.is_none() {
            return Ok(false);
        }
        let counts = self.counts(&open, raw.time_ns);
        counts.outcomes += 1;
        counts.denied += u64::from(outcome.ending == Ending::Denied);
        counts.failed += u64::from(outcome.ending == Ending::Failed);
        counts.rows = counts.rows.saturating_add(outcome.rows);
        counts.bytes = counts.bytes.saturating_add(outcome.bytes);
        counts.duration_ns = counts.duration_ns.saturating_add(outcome.duration_ns);
        Ok(true)
    }

    fn counts(&mut self, open: &Open, time_ns: u64) -> &mut Counts {
        let counts = self
            .counts
            .entry((open.session, open.statement, open.hour))
            .or_insert(Counts {
                first_ns: time_ns,
                ..Counts::default()
            });
        counts.first_ns = counts.first_ns.min(time_ns);
        counts.last_ns = counts.last_ns.max(time_ns);
        counts
    }

    /// The context of a session that is in the store.
    fn session(&mut self, id: u64, transaction: &Transaction<'_>) -> rusqlite::Result<Option<i64>> {
        if let Some(context) = self.sessions.get(&id) {
            return Ok(Some(*context));
        }
        let found = transaction
            .prepare_cached("SELECT context FROM session_records WHERE id = ?1")?
            .query_row([id], |row| row.get(0))
            .optional()?;
        self.sessions.extend(found.map(|context| (id, context)));
        Ok(found)
    }

    /// A statement that is in the store, and whether it was refused.
    fn statement(
        &mut self,
        id: u64,
        transaction: &Transaction<'_>,
    ) -> rusqlite::Result<Option<(i64, bool)>> {
        if let Some(statement) = self.statements.get(&id) {
            return Ok(Some(*statement));
        }
        let found = transaction
            .prepare_cached(
                "SELECT s.id, s.effect <> 'allow' FROM statement_ids i JOIN statement_records s ON s.id = i.statement WHERE i.id = ?1",
            )?
            .query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        self.statements
            .extend(found.map(|statement| (id, statement)));
        Ok(found)
    }

    fn event(
        &self,
        raw: &RawRecord<'_>,
        event: &Event,
        transaction: &Transaction<'_>,
    ) -> rusqlite::Result<bool> {
        let place = Place {
            seq: raw.seq,
            time_ns: raw.time_ns,
            segment: self.segment,
        };
        let understood = match event {
            // As it was said first: known where that was not removed yet.
            Event::Repeated { seq, time_ns, said } => {
                let first = Place {
                    seq: *seq,
                    time_ns: *time_ns,
                    ..place
                };
                record_event(first, said, transaction)
            }
            event => record_event(place, event, transaction),
        }?;
        // An earlier version did not repeat a session's opening for its end: it may have been removed.
        Ok(understood || self.retired_seq > 0)
    }
}

/// Where a record is, or was.
#[derive(Debug, Clone, Copy)]
struct Place {
    seq: u64,
    time_ns: u64,
    /// The last segment that states it.
    segment: u64,
}

/// Whether it makes sense: there is a session that it closes.
fn record_event(
    place: Place,
    event: &Event,
    transaction: &Transaction<'_>,
) -> rusqlite::Result<bool> {
    if let Event::SessionClosed {
        session,
        reason,
        requests,
        client_bytes,
        server_bytes,
    } = event
    {
        let mut close = transaction.prepare_cached(
            "UPDATE session_records SET closed_ns = ?2, close_reason = ?3, requests = ?4, client_bytes = ?5, server_bytes = ?6,
             closed_seq = ?7, closed_segment = max(coalesce(closed_segment, 0), ?8), unread = max(unread, ?9) WHERE id = ?1",
        )?;
        let closed = close.execute(params![
            session,
            place.time_ns,
            reason,
            signed(*requests),
            signed(*client_bytes),
            signed(*server_bytes),
            place.seq,
            place.segment,
            // Earlier versions did not tell it at the opening.
            reason.starts_with(NOT_INSPECTED),
        ])?;
        return Ok(closed == 1);
    }
    if let Event::SessionRenewed { session, proof, .. } = event {
        transaction
            .prepare_cached(
                "INSERT INTO session_renewals VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
                 ON CONFLICT DO UPDATE SET segment = max(segment, excluded.segment)",
            )?
            .execute(params![
                place.seq,
                session,
                place.time_ns,
                proof.key,
                proof.token_fingerprint,
                proof.issued_s,
                proof.not_after_s,
                proof.last_verified_s,
                proof.stale,
                place.segment,
            ])?;
        transaction
            .prepare_cached(
                "UPDATE session_records SET verified_s = max(coalesce(verified_s, 0), ?2) WHERE id = ?1",
            )?
            .execute(params![session, proof.last_verified_s])?;
    }
    let body = json(event);
    let name = serde_json::from_str::<serde_json::Value>(&body)
        .ok()
        .and_then(|body| {
            body.get("event")
                .and_then(|name| name.as_str().map(str::to_owned))
        })
        .unwrap_or_default();
    transaction
        .prepare_cached(
            "INSERT INTO event_records VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT DO UPDATE SET segment = max(segment, excluded.segment)",
        )?
        .execute(params![place.seq, place.time_ns, name, body, place.segment])?;
    Ok(true)
}

fn take_open(seq: u64, transaction: &Transaction<'_>) -> rusqlite::Result<Option<Open>> {
    transaction
        .prepare_cached(
            "DELETE FROM open_requests WHERE seq = ?1 RETURNING session, statement, hour",
        )?
        .query_row([seq], |row| {
            Ok(Open {
                session: row.get(0)?,
                statement: row.get(1)?,
                hour: row.get(2)?,
            })
        })
        .optional()
}

/// Notes the last hour in which rows of a table were used.
fn touch(
    transaction: &Transaction<'_>,
    table: &str,
    used: impl Iterator<Item = (i64, u64)>,
) -> rusqlite::Result<()> {
    let mut last: HashMap<i64, u64> = HashMap::new();
    for (id, hour) in used {
        let known = last.entry(id).or_insert(hour);
        *known = hour.max(*known);
    }
    let mut update = transaction.prepare_cached(&format!(
        "UPDATE {table} SET last_hour = ?2 WHERE id = ?1 AND last_hour < ?2"
    ))?;
    for (id, hour) in last {
        update.execute(params![id, hour])?;
    }
    Ok(())
}
