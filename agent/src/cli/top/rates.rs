//! What happened between two looks, as it is shown.

use std::fmt::Write as _;

/// What happened between two looks.
#[derive(Debug, Clone, Default)]
pub(super) struct Rates {
    /// Sessions that are open.
    pub(super) live: u64,
    /// Statements that wait for an approval.
    pub(super) waiting: u64,
    /// Statements per second.
    pub(super) statements: f64,
    /// Refused ones per second.
    pub(super) denied: f64,
    /// Those per second whose answer showed less than the data.
    pub(super) masked: f64,
    /// Refused ones since the agent's start.
    pub(super) denied_in_all: u64,
    /// Masked ones since the agent's start.
    pub(super) masked_in_all: u64,
    /// How far the record is behind.
    pub(super) lag: Lag,
    /// Whether a development issuer is trusted.
    pub(super) development: bool,
    /// One row per live session.
    pub(super) rows: Rows,
}

/// How far the record is behind, in records.
#[derive(Debug, Clone, Default)]
pub(super) struct Lag {
    /// Not on disk yet.
    pub(super) journal: u64,
    /// Not in the index yet.
    pub(super) index: u64,
    /// Not confirmed by the slowest sink; `None` where nothing is exported.
    pub(super) export: Option<u64>,
    /// Why the journal takes nothing, or a sink gets nothing.
    pub(super) problems: Vec<String>,
}

/// Live sessions.
#[derive(Debug, Clone, Default)]
pub(super) struct Rows(pub(super) Vec<Row>);

/// A session's row.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Row {
    pub(super) session: u64,
    pub(super) identity: String,
    pub(super) process: String,
    pub(super) pid: u64,
    pub(super) client: String,
    pub(super) destination: String,
    pub(super) database: String,
    /// Per second, since the last look.
    pub(super) per_second: f64,
    pub(super) requests: u64,
    pub(super) denied: u64,
    pub(super) masked: u64,
}

impl Row {
    /// Whether one of its texts has `part`, in whatever case.
    pub(super) fn has(&self, part: &str) -> bool {
        let part = part.to_lowercase();
        let session = self.session.to_string();
        [&self.identity, &self.process, &self.database, &session]
            .iter()
            .any(|text| text.to_lowercase().contains(&part))
    }

    /// The program without its folder.
    pub(super) fn program(&self) -> &str {
        self.process.rsplit('/').next().unwrap_or(&self.process)
    }
}

impl Rows {
    /// The row of a session.
    pub(super) fn of(&self, session: u64) -> Option<&Row> {
        self.0.iter().find(|row| row.session == session)
    }
}

impl Rates {
    /// Two lines over everything.
    pub(super) fn summary(&self) -> [String; 2] {
        let counts = format!(
            "{} sessions  {:.0} statements/s  {} held  {} denied ({:.1}/s)  {} masked ({:.1}/s)",
            self.live,
            self.statements,
            self.waiting,
            self.denied_in_all,
            self.denied,
            self.masked_in_all,
            self.masked,
        );
        let lag = &self.lag;
        let mut lags = format!(
            "records: {} not on disk yet, {} not indexed",
            lag.journal, lag.index
        );
        // Writing to a string cannot fail.
        if let Some(export) = lag.export {
            let _ = write!(lags, ", {export} not exported");
        }
        for problem in &lag.problems {
            let _ = write!(lags, "; {problem}");
        }
        if self.development {
            lags.push_str("; a development issuer is trusted");
        }
        [counts, lags]
    }

    /// Everything as lines of text.
    pub(super) fn plain(&self) -> String {
        let [counts, lags] = self.summary();
        let mut text = format!("{counts}\n{lags}\n");
        for row in &self.rows.0 {
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
