//! The results as text for a terminal.

use std::fmt::Write;

use super::idle::Idle;
use super::summary::{Measurements, Row};

/// The rows as a table; a ratio that wanders is followed by `noisy`.
pub(crate) fn of_rows(rows: &[Row]) -> String {
    let head = [
        "workload",
        "peer",
        "ratio",
        "min..max",
        "CPU us/txn",
        "ns/KiB",
        "+p50 us",
        "+p99 us",
        "instr/txn",
        "calls/txn",
        "KiB/conn",
    ];
    let mut lines = vec![head.map(str::to_owned).to_vec()];
    lines.extend(rows.iter().map(cells));
    aligned(&lines)
}

/// What held connections cost, base and proportional memory included.
pub(crate) fn of_idle(measurements: &Measurements) -> String {
    let head = [
        "idle",
        "peer",
        "base KiB",
        "RSS KiB/conn",
        "Pss KiB/conn",
        "idle CPU %",
    ];
    let mut lines = vec![head.map(str::to_owned).to_vec()];
    lines.extend(measurements.idle.iter().map(|idle| {
        let Idle {
            peer,
            connections,
            base_kib,
            ..
        } = idle;
        vec![
            connections.to_string(),
            peer.as_str().to_owned(),
            base_kib.to_string(),
            format!("{:.2}", idle.kib_per_connection),
            format!("{:.2}", idle.proportional_kib_per_connection),
            format!("{:.2}", idle.used_cores * 100.0),
        ]
    }));
    aligned(&lines)
}

fn cells(row: &Row) -> Vec<String> {
    let figure = |value: Option<f64>, decimals: usize| {
        value.map_or_else(|| "-".to_owned(), |value| format!("{value:.decimals$}"))
    };
    let spread = row
        .ratio_spread
        .map(|spread| format!("{:.2}..{:.2}", spread.min, spread.max));
    let mark = if row.is_noisy() { " noisy" } else { "" };
    vec![
        row.work.to_owned(),
        row.peer.to_owned(),
        figure(row.ratio, 3),
        spread.map_or_else(|| "-".to_owned(), |spread| spread + mark),
        figure(row.cpu_us_per_txn, 1),
        figure(row.cpu_ns_per_kib, 0),
        figure(row.added_p50_us, 0),
        figure(row.added_p99_us, 0),
        figure(row.instructions_per_txn, 0),
        figure(row.syscalls_per_txn, 2),
        figure(row.kib_per_idle_connection, 2),
    ]
}

/// Names to the left, numbers to the right.
fn aligned(lines: &[Vec<String>]) -> String {
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            lines
                .iter()
                .filter_map(|line| line.get(column))
                .map(String::len)
                .max()
        })
        .map(Option::unwrap_or_default)
        .collect();
    let mut text = String::new();
    for line in lines {
        for (column, (cell, width)) in line.iter().zip(&widths).enumerate() {
            // Writing to a string cannot fail.
            let _ = if column < NAME_COLUMNS {
                write!(text, "{cell:<width$}  ")
            } else {
                write!(text, "{cell:>width$}  ")
            };
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text
}

const NAME_COLUMNS: usize = 2;

#[cfg(test)]
mod tests {
    use super::super::statistics::Spread;
    use super::*;

    #[test]
    fn a_wandering_ratio_prints_as_noisy() {
        let row = |min| Row {
            work: "conn",
            peer: "relay",
            ratio: Some(0.5),
            cpu_us_per_txn: Some(200.0),
            cpu_ns_per_kib: None,
            added_p50_us: None,
            added_p99_us: None,
            instructions_per_txn: None,
            syscalls_per_txn: None,
            kib_per_idle_connection: None,
            ratio_spread: Some(Spread { min, max: 0.6 }),
        };
        let text = of_rows(&[row(0.4), row(0.55)]);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1].contains("0.40..0.60 noisy"), "{text}");
        assert!(!lines[2].contains("noisy"), "{text}");
    }

    #[test]
    fn columns_stand_below_each_other() {
        let line = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect();
        let text = aligned(&[line(&["a", "peer", "x"]), line(&["work", "p", "12345"])]);
        assert_eq!(text, "a     peer      x\nwork  p     12345\n");
    }
}
