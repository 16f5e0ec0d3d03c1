//! The figures of a report as pictures: what happened when, and who or what had most of it.

use std::collections::HashMap;

use rusqlite::{Connection, params};

use super::{Column, Period, Report, Value};

/// Bars of a chart over time, at most: narrower ones cannot be told apart on a small screen.
const MOST_STEPS: u64 = 96;
/// Bars of a ranking.
const MOST_BARS: usize = 8;

/// A picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chart {
    /// Counts over time.
    Time {
        /// What it shows.
        title: &'static str,
        /// The first step, hours since the epoch.
        from_hour: u64,
        /// Hours of a step.
        step: u64,
        /// What the parts of each step are, from the bottom.
        parts: Vec<(&'static str, Tone)>,
        /// Each step's counts, in the order of `parts`.
        steps: Vec<Vec<u64>>,
    },
    /// The largest few.
    Ranking {
        /// What it shows.
        title: &'static str,
        /// Largest first.
        bars: Vec<Bar>,
    },
}

/// One line of a ranking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bar {
    /// What it stands for.
    pub label: String,
    /// How much.
    pub count: u64,
    /// How it is to be taken.
    pub tone: Tone,
}

/// How a figure is to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// As it should be.
    Plain,
    /// Answered with less than the data.
    Masked,
    /// Refused by a rule.
    Refused,
    /// Something to look into.
    Attention,
}

/// The pictures of a report.
pub(super) fn of(
    report: &Report,
    store: &Connection,
    period: Period,
) -> rusqlite::Result<Vec<Chart>> {
    let rank = |title, by: &str, of: &str| ranking(report, title, by, of, Tone::Plain);
    let charts = match report.name {
        "usage" => vec![
            Some(time(store, period)?),
            // A statement has a row for each table that it touches.
            rank("Uses of tables, by principal", "principal", "statements"),
            rank("Rows by table", "table", "rows"),
            rank("Uses of tables, by program", "program", "statements"),
        ],
        "access" => vec![
            // Here too: one on three tables counts in each of them.
            rank("Rows of tables, by principal", "principal", "rows"),
            rank("Uses of tables, by program", "program", "statements"),
        ],
        "columns" => vec![
            rank("Statements by column", "column", "statements"),
            ranking(
                report,
                "Statements by how values were shown",
                "shown",
                "statements",
                Tone::Masked,
            ),
        ],
        "privileged" => vec![
            Some(time(store, period)?),
            ranking(
                report,
                "Refused statements by principal",
                "principal",
                "denied",
                Tone::Refused,
            ),
            ranked(report, "What happened", "what", Tone::Plain),
        ],
        "approvals" => vec![
            ranked(report, "Verdicts", "verdict", Tone::Plain),
            ranked(report, "Requests by requester", "requester", Tone::Plain),
        ],
        "review" => vec![
            ranked(
                report,
                "Access paths by principal",
                "principal",
                Tone::Plain,
            ),
            ranked(report, "Worth a look", "attention", Tone::Attention),
        ],
        "completeness" => vec![fates(report)],
        _ => Vec::new(),
    };
    Ok(charts.into_iter().flatten().collect())
}

/// Statements over the period, those refused and failed apart.
fn time(store: &Connection, period: Period) -> rusqlite::Result<Chart> {
    let (from, until) = period.hours();
    let mut query = store.prepare(
        "SELECT hour, sum(statements), sum(denied), sum(failed) FROM totals WHERE hour >= ?1 AND hour < ?2 GROUP BY hour ORDER BY hour",
    )?;
    let hours: Vec<[u64; 4]> = query
        .query_map(params![from, until], |row| {
            Ok([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?])
        })?
        .collect::<rusqlite::Result<_>>()?;
    // A period may begin long before weir did.
    let first = hours.first().map_or(from, |hour| hour[0]);
    let from = if until.saturating_sub(from) > MOST_STEPS {
        first.max(from)
    } else {
        from
    };
    let step = step_of(until.saturating_sub(from));
    let from = from - from % step;
    let count = usize::try_from(until.saturating_sub(from).div_ceil(step)).unwrap_or(0);
    let mut steps = vec![vec![0_u64; 3]; count];
    for [hour, statements, denied, failed] in hours {
        let at = usize::try_from(hour.saturating_sub(from) / step).unwrap_or(usize::MAX);
        if let Some(parts) = steps.get_mut(at) {
            let ran = statements.saturating_sub(denied).saturating_sub(failed);
            for (part, more) in parts.iter_mut().zip([ran, denied, failed]) {
                *part = part.saturating_add(more);
            }
        }
    }
    Ok(Chart::Time {
        title: "Statements over time",
        from_hour: from,
        step,
        parts: vec![
            ("ran", Tone::Plain),
            ("refused", Tone::Refused),
            ("failed", Tone::Attention),
        ],
        steps,
    })
}

/// Whole parts or multiples of a day, so that steps begin where days do.
fn step_of(hours: u64) -> u64 {
    [1, 2, 3, 6, 12, 24]
        .into_iter()
        .find(|step| hours.div_ceil(*step) <= MOST_STEPS)
        .unwrap_or_else(|| 24 * hours.div_ceil(24 * MOST_STEPS))
}

/// Sums of the column `of` for each value of the column `by`.
fn ranking(report: &Report, title: &'static str, by: &str, of: &str, tone: Tone) -> Option<Chart> {
    let of = position(&report.columns, of)?;
    sums(report, title, by, tone, |row| match row.get(of) {
        Some(Value::Number(count)) => *count,
        _ => 0,
    })
}

/// How many rows have each value of the column `by`.
fn ranked(report: &Report, title: &'static str, by: &str, tone: Tone) -> Option<Chart> {
    sums(report, title, by, tone, |_| 1)
}

fn sums(
    report: &Report,
    title: &'static str,
    by: &str,
    tone: Tone,
    count: impl Fn(&[Value]) -> u64,
) -> Option<Chart> {
    let by = position(&report.columns, by)?;
    let mut sums: HashMap<&str, u64> = HashMap::new();
    for row in &report.rows {
        if let Some(Value::Text(label)) = row.get(by)
            && !label.is_empty()
        {
            let sum = sums.entry(label).or_default();
            *sum = sum.saturating_add(count(row));
        }
    }
    let mut bars: Vec<_> = sums
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .map(|(label, count)| Bar {
            label: label.to_owned(),
            count,
            tone: tone_of(label, tone),
        })
        .collect();
    bars.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.label.cmp(&b.label)));
    if bars.len() > MOST_BARS {
        let rest = bars.split_off(MOST_BARS - 1);
        bars.push(Bar {
            label: format!("{} more", rest.len()),
            count: rest
                .iter()
                .fold(0, |sum: u64, bar| sum.saturating_add(bar.count)),
            tone,
        });
    }
    (!bars.is_empty()).then_some(Chart::Ranking { title, bars })
}

/// Some labels say how a bar is to be taken.
fn tone_of(label: &str, tone: Tone) -> Tone {
    match (label, tone) {
        ("as it is", Tone::Masked) => Tone::Plain,
        ("unidentified", Tone::Plain) => Tone::Attention,
        ("denied", Tone::Plain) => Tone::Refused,
        _ => tone,
    }
}

/// What became of the connections that the kernel saw.
fn fates(report: &Report) -> Option<Chart> {
    let bars: Vec<_> = report
        .rows
        .iter()
        .filter_map(|row| match (row.first(), row.get(1), row.get(2)) {
            (Some(Value::Text(label)), Some(Value::Number(count)), Some(Value::Text(kind))) => {
                let tone = match kind.as_str() {
                    "governed" => Tone::Plain,
                    "refused" => Tone::Refused,
                    "not governed" => Tone::Attention,
                    _ => return None,
                };
                (*count > 0).then(|| Bar {
                    label: label.clone(),
                    count: *count,
                    tone,
                })
            }
            _ => None,
        })
        .collect();
    (!bars.is_empty()).then_some(Chart::Ranking {
        title: "What became of the connections that the kernel counted",
        bars,
    })
}

fn position(columns: &[Column], name: &str) -> Option<usize> {
    columns.iter().position(|column| column.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_divide_days_and_are_few() {
        assert_eq!(step_of(25), 1);
        assert_eq!(step_of(97), 2);
        assert_eq!(step_of(24 * 30), 12);
        assert_eq!(step_of(24 * 90), 24);
        let years = step_of(24 * 365 * 3);
        assert!(years.is_multiple_of(24) && (24 * 365 * 3_u64).div_ceil(years) <= MOST_STEPS);
    }
}
