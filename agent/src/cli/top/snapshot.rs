//! Two looks at the agent and what happened between them.

use std::{collections::HashMap, path::PathBuf, time::Instant};

use serde_json::Value;

use super::rates::{Lag, Rates, Row, Rows};
use crate::terminal::visible;

/// One look at the agent.
#[derive(Debug, Clone)]
pub(super) struct Snapshot {
    taken: Instant,
    /// Where the agent's files are.
    pub(super) state_dir: PathBuf,
    /// The policy's folder.
    pub(super) policy: PathBuf,
    totals: Counts,
    live: u64,
    waiting: u64,
    lag: Lag,
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
    client: String,
    destination: String,
    database: String,
    counts: Counts,
}

impl Snapshot {
    /// Reads the answer to a status request; what is missing counts as zero.
    pub(super) fn read(status: &Value) -> Self {
        let journal = &status["journal"];
        let seq = number(&journal["seq"]);
        let behind = |name: &str| seq.saturating_sub(number(&journal[name]));
        let sinks = status["exports"].as_array().map_or(&[][..], Vec::as_slice);
        let sessions = status["sessions"].as_array().map_or(&[][..], Vec::as_slice);
        Self {
            taken: Instant::now(),
            state_dir: text(&status["state_dir"]).into(),
            policy: text(&status["policy"]["path"]).into(),
            totals: Counts::read(&status["totals"]),
            live: number(&status["totals"]["live"]),
            waiting: number(&status["waiting"]),
            lag: Lag {
                journal: behind("synced_seq"),
                index: behind("indexed_seq"),
                export: sinks.iter().map(|sink| number(&sink["lag"])).max(),
                problems: std::iter::once(&journal["failure"])
                    .chain(sinks.iter().map(|sink| &sink["problem"]))
                    .filter_map(Value::as_str)
                    .map(visible)
                    .collect(),
            },
            development: status["development_issuer"] == true,
            sessions: sessions.iter().map(Session::read).collect(),
        }
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
                client: session.client.clone(),
                destination: session.destination.clone(),
                database: session.database.clone(),
                per_second: rate(session.counts.requests, known.requests, seconds),
                requests: session.counts.requests,
                denied: session.counts.denied,
                masked: session.counts.masked,
            }
        });
        let (now, then) = (&self.totals, &earlier.totals);
        Rates {
            live: self.live,
            waiting: self.waiting,
            statements: rate(now.requests, then.requests, seconds),
            denied: rate(now.denied, then.denied, seconds),
            masked: rate(now.masked, then.masked, seconds),
            denied_in_all: now.denied,
            masked_in_all: now.masked,
            lag: self.lag.clone(),
            development: self.development,
            rows: Rows(rows.collect()),
        }
    }

    #[cfg(test)]
    pub(super) fn set_back(&mut self, by: std::time::Duration) {
        self.taken -= by;
    }
}

impl Session {
    fn read(session: &Value) -> Self {
        let text = |name: &str| visible(text(&session[name]));
        Self {
            id: number(&session["session"]),
            identity: text("identity"),
            process: text("process"),
            pid: number(&session["pid"]),
            client: text("client"),
            destination: text("destination"),
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

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
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
    use std::time::Duration;

    use super::*;

    fn look(requests: u64) -> Value {
        serde_json::json!({
            "totals": { "live": 1, "requests": requests, "denied": 2, "masked": 3 },
            "waiting": 4,
            "journal": { "seq": 12, "synced_seq": 10, "indexed_seq": 5, "failure": null },
            "exports": [{ "name": "siem", "lag": 7, "problem": "refused\u{1b}[2J" }, { "name": "lake", "lag": 0 }],
            "sessions": [{ "session": 7, "identity": "bob through churn-bot", "process": "/usr/bin/psql", "pid": 42,
                           "client": "127.0.0.1:999", "database": "shop as app", "requests": requests, "denied": 2, "masked": 3 }],
        })
    }

    #[test]
    fn rates_are_what_happened_between_two_looks() {
        let mut first = Snapshot::read(&look(10));
        first.set_back(Duration::from_secs(2));
        let rates = Snapshot::read(&look(30)).since(&first);
        let row = rates.rows.0.first().expect("a session");
        assert!((9.0..=10.0).contains(&row.per_second), "{}", row.per_second);
        assert_eq!((row.denied, row.masked, row.pid), (2, 3, 42));
        assert_eq!(row.client, "127.0.0.1:999");
        let [counts, lags] = rates.summary();
        assert!(counts.contains("4 held"), "{counts}");
        assert!(
            lags.contains("2 not on disk yet, 7 not indexed, 7 not exported"),
            "{lags}"
        );
        assert!(
            lags.contains("refused\\u{1b}[2J"),
            "nothing steers the terminal: {lags}"
        );
        assert!(rates.plain().contains("bob through churn-bot"));
    }

    #[test]
    fn an_agent_that_has_started_again_has_no_negative_rates() {
        let mut first = Snapshot::read(&look(30));
        first.set_back(Duration::from_secs(1));
        let rates = Snapshot::read(&look(3)).since(&first);
        assert!(rates.statements.abs() < f64::EPSILON);
    }

    #[test]
    fn an_answer_without_sessions_is_an_empty_list() {
        let rates = Snapshot::read(&Value::Null).since(&Snapshot::read(&Value::Null));
        assert!(rates.rows.0.is_empty());
        assert_eq!(rates.lag.export, None, "nothing is exported");
    }
}
