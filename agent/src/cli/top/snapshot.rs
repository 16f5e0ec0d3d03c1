//! Two looks at the agent and what happened between them.

use std::{
    collections::HashMap,
    fmt::Write as _,
    time::{Duration, Instant},
};

use serde_json::Value;

/// One look at the agent.
#[derive(Debug, Clone)]
pub(super) struct Snapshot {
    taken: Instant,
    totals: Counts,
    live: u64,
    lag: u64,
    development: bool,
    sessions: Vec<Session>,
}

/// Counts since the agent's or the session's start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counts {
    requests: u64,
    denied: u64,
    masked: u64,
}

#[derive(Debug, Clone)]
struct Session {
    id: u64,
    identity: String,
    process: String,
    pid: u64,
    database: String,
    counts: Counts,
}

/// What happened between two looks.
#[derive(Debug, Clone, Default)]
pub(super) struct Rates {
    /// One line over everything.
    pub(super) summary: String,
    /// One row per live session.
    pub(super) rows: Vec<Row>,
}

/// A session's row.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Row {
    pub(super) session: u64,
    pub(super) identity: String,
    pub(super) process: String,
    pub(super) pid: u64,
    pub(super) database: String,
    /// Per second, since the last look.
    pub(super) per_second: f64,
    pub(super) requests: u64,
    pub(super) denied: u64,
    pub(super) masked: u64,
}

impl Snapshot {
    /// Reads the answer to a status request; what is missing counts as zero.
    pub(super) fn read(status: &Value) -> Self {
        let journal = &status["journal"];
        let sessions = status["sessions"].as_array().map_or(&[][..], Vec::as_slice);
        Self {
            taken: Instant::now(),
            totals: Counts::read(&status["totals"]),
            live: number(&status["totals"]["live"]),
            lag: number(&journal["seq"]).saturating_sub(number(&journal["synced_seq"])),
            development: status["development_issuer"] == true,
            sessions: sessions.iter().map(Session::read).collect(),
        }
    }

    /// How long ago it was taken.
    pub(super) fn age(&self) -> Duration {
        self.taken.elapsed()
    }

    /// What happened since `earlier`.
    pub(super) fn since(&self, earlier: &Self) -> Rates {
        let seconds = self.taken.duration_since(earlier.taken).as_secs_f64();
        let before: HashMap<u64, Counts> = earlier
            .sessions
            .iter()
            .map(|session| (session.id, session.counts))
            .collect();
        let rows = self.sessions.iter().map(|session| {
            let known = before.get(&session.id).copied().unwrap_or_default();
            Row {
                session: session.id,
                identity: session.identity.clone(),
                process: session.process.clone(),
                pid: session.pid,
                database: session.database.clone(),
                per_second: rate(session.counts.requests, known.requests, seconds),
                requests: session.counts.requests,
                denied: session.counts.denied,
                masked: session.counts.masked,
            }
        });
        let (now, then) = (&self.totals, &earlier.totals);
        let mut summary = format!(
            "{} sessions   {:.0} requests/s   {:.0} denied/s   {:.0} masked/s   {} records not on disk yet",
            self.live,
            rate(now.requests, then.requests, seconds),
            rate(now.denied, then.denied, seconds),
            rate(now.masked, then.masked, seconds),
            self.lag,
        );
        if self.development {
            summary.push_str("   a development issuer is trusted");
        }
        Rates {
            summary,
            rows: rows.collect(),
        }
    }
}

impl Rates {
    /// Everything as lines of text.
    pub(super) fn plain(&self) -> String {
        let mut text = format!("{}\n", self.summary);
        for row in &self.rows {
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "{:>8} {:<32} {:<28} {:>8} {:<24} {:>8.1}/s {:>9} requests {:>6} denied {:>6} masked",
                row.session,
                row.identity,
                row.process,
                row.pid,
                row.database,
                row.per_second,
                row.requests,
                row.denied,
                row.masked
            );
        }
        text
    }
}

impl Session {
    fn read(session: &Value) -> Self {
        let text = |name: &str| session[name].as_str().unwrap_or_default().to_owned();
        Self {
            id: number(&session["session"]),
            identity: text("identity"),
            process: text("process"),
            pid: number(&session["pid"]),
            database: text("database"),
            counts: Counts::read(session),
        }
    }
}

impl Counts {
    fn read(of: &Value) -> Self {
        Self {
            requests: number(&of["requests"]),
            denied: number(&of["denied"]),
            masked: number(&of["masked"]),
        }
    }
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_default()
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people to read")]
fn rate(now: u64, then: u64, seconds: f64) -> f64 {
    if seconds > 0.0 {
        now.saturating_sub(then) as f64 / seconds
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(requests: u64) -> Value {
        serde_json::json!({
            "totals": { "live": 1, "requests": requests, "denied": 2, "masked": 3 },
            "journal": { "seq": 12, "synced_seq": 10 },
            "sessions": [{ "session": 7, "identity": "bob through churn-bot", "process": "/usr/bin/psql", "pid": 42,
                           "database": "shop as app", "requests": requests, "denied": 2, "masked": 3 }],
        })
    }

    #[test]
    fn rates_are_what_happened_between_two_looks() {
        let mut first = Snapshot::read(&look(10));
        first.taken -= Duration::from_secs(2);
        let rates = Snapshot::read(&look(30)).since(&first);
        let row = rates.rows.first().expect("a session");
        assert!((9.0..=10.0).contains(&row.per_second), "{}", row.per_second);
        assert_eq!((row.denied, row.masked, row.pid), (2, 3, 42));
        assert!(rates.summary.contains("2 records not on disk yet"));
        assert!(rates.plain().contains("bob through churn-bot"));
    }

    #[test]
    fn an_answer_without_sessions_is_an_empty_list() {
        let rates = Snapshot::read(&Value::Null).since(&Snapshot::read(&Value::Null));
        assert!(rates.rows.is_empty() && rates.summary.starts_with("0 sessions"));
    }
}
