//! Reports and query results as text: a table for people, a page for auditors, JSON and CSV for programs.

mod html;

use std::fmt::Write as _;

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};
use serde_json::{Map, json};

use super::{Column, Report, Shape, Value, period::rfc3339};
use crate::terminal::{visible, visible_line};

/// The formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// One object, with the header's fields.
    Json,
    /// The rows with a line of column names; what a report says about itself stands in front, in lines that begin with `#`.
    Csv,
    /// One page that needs nothing else: no script, no request, printable.
    Html,
}

/// Whether the text goes to a terminal that shows colours, and how wide that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// A file or a pipe.
    Plain,
    /// A terminal of this many columns.
    Terminal(u16),
}

/// Renders a report.
#[must_use]
pub fn report(report: &Report, format: Format, style: Style) -> String {
    match format {
        Format::Table => {
            let mut text = format!(
                "{}\n{}\n",
                heading(report, style),
                table(&report.columns, &report.rows, style)
            );
            for section in &report.sections {
                let _ = write!(
                    text,
                    "\n{}\n{}\n",
                    section.title,
                    table(section.columns, &section.rows, style)
                );
            }
            text + &footing(report) + "\n"
        }
        Format::Json => {
            let document = json!({
                "report": report.name,
                "header": report.header,
                "totals": report.totals.iter().map(|(name, count)| ((*name).to_owned(), json!(count))).collect::<Map<_, _>>(),
                "rows": objects(&report.columns, &report.rows),
                "sections": report.sections.iter().map(|section| {
                    (section.name.to_owned(), json!(objects(section.columns, &section.rows)))
                }).collect::<Map<_, _>>(),
            });
            format!("{document:#}\n")
        }
        Format::Csv => {
            let mut text = remarks(report) + &csv(&report.columns, &report.rows);
            for section in &report.sections {
                let _ = write!(text, "\n# {}\n", section.title);
                text.push_str(&csv(section.columns, &section.rows));
            }
            text
        }
        Format::Html => html::page(report),
    }
}

/// The header, in front of a CSV's lines.
fn remarks(report: &Report) -> String {
    let header = &report.header;
    let mut lines = vec![
        format!("weir report {}", report.name),
        format!("host: {}", header.host),
        format!("generated: {}", header.generated),
        format!("period: {} to {}", header.since, header.until),
        format!("policy: {}", header.policy),
        format!(
            "chain head: {} at record {}",
            header.chain_head, header.chain_seq
        ),
        format!("verify: {}", header.verify),
    ];
    lines.extend(
        notes(report)
            .into_iter()
            .map(|note| format!("note: {note}")),
    );
    lines.iter().fold(String::new(), |mut text, line| {
        // A line break in a host's or policy's name must not look like data.
        let _ = writeln!(text, "# {}", line.replace(['\n', '\r'], " "));
        text
    })
}

/// What weakens a report.
fn notes(report: &Report) -> Vec<String> {
    let development = report
        .header
        .development_issuer
        .then(|| "identities come from a development issuer: they prove nothing".to_owned());
    development
        .into_iter()
        .chain(report.header.incomplete.iter().cloned())
        .collect()
}

/// Renders rows without a header around them.
#[must_use]
pub fn rows(columns: &[&str], rows: &[Vec<Value>], format: Format, style: Style) -> String {
    match format {
        Format::Table => format!("{}\n", plain_table(columns, rows, style)),
        Format::Json => {
            let objects: Vec<_> = rows
                .iter()
                .map(|row| {
                    columns
                        .iter()
                        .zip(row)
                        .map(|(name, value)| ((*name).to_owned(), raw(value)))
                        .collect::<Map<_, _>>()
                })
                .collect();
            format!("{:#}\n", json!(objects))
        }
        Format::Csv => write_csv(
            columns.iter().copied(),
            rows.iter().map(|row| row.iter().map(csv_cell).collect()),
        ),
        Format::Html => html::rows(columns, rows),
    }
}

/// A report as a part of another page; it wants the styles of `ui/report.css` around it.
#[must_use]
pub fn content(report: &Report) -> maud::Markup {
    html::content(report)
}

fn heading(report: &Report, style: Style) -> String {
    let header = &report.header;
    let or = |text: &str, otherwise: &str| {
        if text.is_empty() {
            otherwise.to_owned()
        } else {
            text.to_owned()
        }
    };
    let mut lines = vec![
        format!("weir report {} · {}", report.name, header.host),
        format!(
            "period   {} to {} (whole hours)",
            header.since, header.until
        ),
        format!("policy   {}", or(&header.policy, "none recorded")),
        format!(
            "chain    {} at record {}",
            or(&header.chain_head, "none yet"),
            header.chain_seq
        ),
        format!("verify   {}", header.verify),
    ];
    lines = lines.iter().map(|line| visible_line(line)).collect();
    // What colours a note is weir's own.
    let notes = notes(report);
    lines.extend(notes.iter().map(|note| warning(&visible_line(note), style)));
    lines.join("\n")
}

fn warning(text: &str, style: Style) -> String {
    match style {
        Style::Plain => format!("note     {text}"),
        Style::Terminal(_) => format!("\x1b[33mnote     {text}\x1b[0m"),
    }
}

fn footing(report: &Report) -> String {
    let totals: Vec<_> = report
        .totals
        .iter()
        .map(|(name, count)| format!("{count} {name}"))
        .collect();
    format!(
        "in all {} (each statement once, whatever it touches)",
        totals.join(", ")
    )
}

fn table(columns: &[Column], rows: &[Vec<Value>], style: Style) -> Table {
    let mut table = new_table(style);
    table.set_header(columns.iter().map(|column| column.name));
    for row in rows {
        table.add_row(columns.iter().zip(row).map(|(column, value)| {
            let cell = Cell::new(visible(&shown(column.shape, value)));
            match column.shape {
                Shape::Count | Shape::Bytes => cell.set_alignment(CellAlignment::Right),
                Shape::Text | Shape::Time => cell,
            }
        }));
    }
    table
}

fn plain_table(columns: &[&str], rows: &[Vec<Value>], style: Style) -> Table {
    let mut table = new_table(style);
    table.set_header(columns.iter().map(|name| visible_line(name)));
    for row in rows {
        table.add_row(row.iter().map(|value| Cell::new(visible(&text(value)))));
    }
    table
}

fn new_table(style: Style) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    if let Style::Terminal(width) = style {
        table
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_width(width);
    }
    table
}

fn shown(shape: Shape, value: &Value) -> String {
    match (shape, value) {
        (Shape::Time, Value::Number(ns)) => rfc3339(*ns).replace('T', " ").replace('Z', ""),
        (Shape::Bytes, Value::Number(bytes)) => size(*bytes),
        (_, Value::Text(words)) if words.is_empty() => "–".to_owned(),
        (_, Value::Empty) => "–".to_owned(),
        (_, value) => text(value),
    }
}

fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut whole, mut rest, mut unit) = (bytes, 0, 0);
    while whole >= 1024 && unit + 1 < UNITS.len() {
        rest = whole % 1024;
        whole /= 1024;
        unit += 1;
    }
    if unit == 0 {
        format!("{whole} B")
    } else {
        format!("{whole}.{} {}", rest * 10 / 1024, UNITS[unit])
    }
}

fn objects(columns: &[Column], rows: &[Vec<Value>]) -> Vec<Map<String, serde_json::Value>> {
    rows.iter()
        .map(|row| {
            columns
                .iter()
                .zip(row)
                .map(|(column, value)| {
                    let value = match (column.shape, value) {
                        (Shape::Time, Value::Number(ns)) => json!(rfc3339(*ns)),
                        (_, value) => raw(value),
                    };
                    (column.name.to_owned(), value)
                })
                .collect()
        })
        .collect()
}

fn csv(columns: &[Column], rows: &[Vec<Value>]) -> String {
    let lines = rows.iter().map(|row| {
        columns
            .iter()
            .zip(row)
            .map(|(column, value)| match (column.shape, value) {
                (Shape::Time, Value::Number(ns)) => rfc3339(*ns),
                (_, value) => csv_cell(value),
            })
            .collect()
    });
    write_csv(columns.iter().map(|column| column.name), lines)
}

/// Spreadsheets take a text for a formula that begins like one, and whoever is watched picks names and statements. An
/// apostrophe in front makes it text to them; a number stays what it is.
fn csv_cell(value: &Value) -> String {
    let text = text(value);
    let is_number = || text.parse::<f64>().is_ok_and(f64::is_finite);
    if text.starts_with(FORMULA) && !is_number() {
        return format!("'{text}");
    }
    text
}

/// What a formula begins with, and what some programs pass over in front of it.
const FORMULA: [char; 7] = ['=', '+', '-', '@', '\t', '\r', '\n'];

fn write_csv<'a>(
    names: impl Iterator<Item = &'a str>,
    lines: impl Iterator<Item = Vec<String>>,
) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let written = writer.write_record(names).and_then(|()| {
        lines
            .into_iter()
            .try_for_each(|line| writer.write_record(line))
    });
    debug_assert!(written.is_ok(), "writing to memory cannot fail");
    String::from_utf8(writer.into_inner().unwrap_or_default()).unwrap_or_default()
}

fn raw(value: &Value) -> serde_json::Value {
    match value {
        Value::Text(text) => json!(text),
        Value::Number(number) => json!(number),
        Value::Empty => serde_json::Value::Null,
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::Text(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Empty => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_in_the_largest_whole_unit() {
        assert_eq!(size(0), "0 B");
        assert_eq!(size(1023), "1023 B");
        assert_eq!(size(1536), "1.5 KiB");
        assert_eq!(size(u64::MAX), "16777215.9 TiB");
    }

    #[test]
    fn csv_quotes_what_needs_it() {
        let rows = [vec![
            Value::Text("a,\"b\"\n".to_owned()),
            Value::Number(1),
            Value::Empty,
        ]];
        assert_eq!(
            super::rows(&["x", "y", "z"], &rows, Format::Csv, Style::Plain),
            "x,y,z\n\"a,\"\"b\"\"\n\",1,\n"
        );
    }

    #[test]
    fn csv_cells_are_no_formulas_and_numbers_stay() {
        let cells = [
            "=1+1", "+A1", "-2+3", "@sum", "\t=1", "\r=1", "a=1", "-5", "-1.5", "+inf",
        ];
        let row = cells.map(|cell| Value::Text(cell.to_owned())).to_vec();
        let names: Vec<&str> = cells.iter().map(|_| "x").collect();
        let text = super::rows(&names, &[row], Format::Csv, Style::Plain);
        assert_eq!(
            text.split_once('\n').expect("a line of names").1,
            "'=1+1,'+A1,'-2+3,'@sum,'\t=1,\"'\r=1\",a=1,-5,-1.5,'+inf\n"
        );
    }

    #[test]
    fn names_in_a_table_cannot_steer_the_terminal_and_json_stays_exact() {
        let name = "/tmp/\u{1b}]0;x\u{7}\u{202e}psql";
        let rows = [vec![Value::Text(name.to_owned())]];
        let table = super::rows(&["exe\u{1b}[1m"], &rows, Format::Table, Style::Plain);
        assert!(!table.contains(['\u{1b}', '\u{7}', '\u{202e}']), "{table}");
        assert!(
            table.contains("/tmp/\\u{1b}]0;x\\u{7}\\u{202e}psql"),
            "{table}"
        );
        let json = super::rows(&["exe"], &rows, Format::Json, Style::Plain);
        let read: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        assert_eq!(read[0]["exe"], name);
    }
}
