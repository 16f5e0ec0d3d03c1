//! Auditors' questions, answered from the store.
//!
//! A [`Report`] is data: a [`Header`] that says how far to trust it, tables, charts. [`render`] makes text of it.

mod access;
mod approvals;
mod charts;
mod columns;
mod completeness;
mod header;
pub mod period;
mod privileged;
mod reading;
pub mod render;
mod review;
mod usage;
mod words;

use std::path::Path;

use rusqlite::{Connection, types::ValueRef};

use super::store::StoreError;

pub use charts::{Bar, Chart, Tone};
pub use header::Header;
pub use period::Period;
pub use reading::Most;
use reading::Reading;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// Who used what: principal × actor × program × database × table.
    Usage {
        /// Only this table.
        table: Option<String>,
    },
    /// Who touched a table, or data of a class, with which program and as which database user.
    Access {
        /// Only this table.
        table: Option<String>,
        /// Only data of this class, or of what is part of it.
        class: Option<String>,
    },
    /// Who used which column, and whether they saw it masked.
    Columns {
        /// Only columns like this: a pattern over `schema.table.column`.
        column: Option<String>,
    },
    /// DDL, grants, refusals, and changes to agent, policy and bindings.
    Privileged,
    /// Who asked for which approval, who decided, why, and what ran.
    Approvals,
    /// For access reviews: each principal, its groups, what it touched, when last, and how its identity was proved.
    Review,
    /// What weir saw, what it did not govern, and every gap.
    Completeness,
}

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// `usage`, `access`, …
    pub name: &'static str,
    /// How far to trust it.
    pub header: Header,
    /// What the rows hold.
    pub columns: Vec<Column>,
    /// The rows, in the order of the question.
    pub rows: Vec<Vec<Value>>,
    /// Further tables that the question calls for.
    pub sections: Vec<Section>,
    /// Pictures of the same figures.
    pub charts: Vec<Chart>,
    /// Counts over everything in the period, each statement once.
    pub totals: Vec<(&'static str, u64)>,
}

/// A table beside the first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// In one word.
    pub name: &'static str,
    /// What it shows.
    pub title: &'static str,
    /// What the rows hold.
    pub columns: &'static [Column],
    /// The rows.
    pub rows: Vec<Vec<Value>>,
}

/// A column's name and how its values read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// Its name in every format.
    pub name: &'static str,
    /// How its values read.
    pub shape: Shape,
}

/// How values read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// As they are.
    Text,
    /// A count.
    Count,
    /// A size.
    Bytes,
    /// Nanoseconds since the epoch.
    Time,
}

/// One value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Words.
    Text(String),
    /// A count, a size or a time.
    Number(u64),
    /// Nothing.
    Empty,
}

impl Value {
    /// Reads a column of a row.
    ///
    /// # Errors
    ///
    /// The row has no such column.
    pub fn read(row: &rusqlite::Row<'_>, at: usize) -> rusqlite::Result<Self> {
        Ok(match row.get_ref(at)? {
            ValueRef::Null => Self::Empty,
            ValueRef::Integer(number) => {
                u64::try_from(number).map_or_else(|_| Self::Text(number.to_string()), Self::Number)
            }
            ValueRef::Real(number) => Self::Text(number.to_string()),
            ValueRef::Text(bytes) => Self::Text(String::from_utf8_lossy(bytes).into_owned()),
            ValueRef::Blob(bytes) => Self::Text(hex::encode(bytes)),
        })
    }
}

/// Answers `question` for `period` from the store of `state_dir`.
///
/// # Errors
///
/// The store cannot be read.
pub fn ask(
    store: &Connection,
    state_dir: &Path,
    question: &Question,
    period: Period,
) -> Result<Report, StoreError> {
    ask_at_most(store, state_dir, question, period, Most::ALL)
}

/// As [`ask`], but of the answer only as much as `most`: the header says when that is not all.
///
/// # Errors
///
/// The store cannot be read.
pub fn ask_at_most(
    store: &Connection,
    state_dir: &Path,
    question: &Question,
    period: Period,
    most: Most,
) -> Result<Report, StoreError> {
    let header = header::read(store, state_dir, period)?;
    let reading = Reading::new(store, most);
    answer(&reading, question, period, header).map_err(StoreError::sqlite("ask"))
}

fn answer(
    store: &Reading<'_>,
    question: &Question,
    period: Period,
    header: Header,
) -> rusqlite::Result<Report> {
    let (columns, rows) = match question {
        Question::Usage { table } => usage::rows(store, period, table.as_deref()),
        Question::Access { table, class } => match class {
            Some(class) => access::rows_of_class(store, period, table.as_deref(), class),
            None => access::rows(store, period, table.as_deref()),
        },
        Question::Columns { column } => columns::rows(store, period, column.as_deref()),
        Question::Privileged => privileged::rows(store, period),
        Question::Approvals => approvals::rows(store, period),
        Question::Review => review::rows(store, period),
        Question::Completeness => completeness::rows(store, period),
    }?;
    let sections = match question {
        Question::Completeness => completeness::sections(store, period)?,
        _ => Vec::new(),
    };
    let mut report = Report {
        name: question.name(),
        header,
        columns: columns.to_vec(),
        rows,
        sections,
        charts: Vec::new(),
        totals: totals(store, period)?,
    };
    report.charts = charts::of(&report, store, period)?;
    report.header.incomplete.extend(store.note());
    Ok(report)
}

impl Question {
    /// As the command line spells it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Usage { .. } => "usage",
            Self::Access { .. } => "access",
            Self::Columns { .. } => "columns",
            Self::Privileged => "privileged",
            Self::Approvals => "approvals",
            Self::Review => "review",
            Self::Completeness => "completeness",
        }
    }
}

/// Columns and the rows that fit them.
type Answer = (&'static [Column], Vec<Vec<Value>>);

const fn column(name: &'static str, shape: Shape) -> Column {
    Column { name, shape }
}

/// Rows are what servers say that they are, and a store made earlier may hold any number of them: reports add them up by
/// `total()`, which cannot overflow as `sum()` can.
fn totals(store: &Connection, period: Period) -> rusqlite::Result<Vec<(&'static str, u64)>> {
    const NAMES: [&str; 7] = [
        "requests",
        "outcomes",
        "statements",
        "denied",
        "failed",
        "rows",
        "bytes",
    ];
    let sums = NAMES
        .map(|name| format!("CAST(total({name}) AS INTEGER)"))
        .join(", ");
    let sql = format!("SELECT {sums} FROM totals WHERE hour >= ?1 AND hour < ?2");
    store.query_row(&sql, period.hours(), |row| {
        NAMES
            .iter()
            .enumerate()
            .map(|(at, name)| Ok((*name, row.get(at)?)))
            .collect()
    })
}

/// Runs a question whose result columns are those of `columns`, in order.
fn select(
    store: &Reading<'_>,
    columns: &[Column],
    sql: &str,
    parameters: impl rusqlite::Params,
) -> rusqlite::Result<Vec<Vec<Value>>> {
    let mut query = store.prepare(sql)?;
    let rows = query.query_map(parameters, |row| {
        (0..columns.len()).map(|at| Value::read(row, at)).collect()
    })?;
    store.gather(rows)
}

/// As SQL says who a context is.
/// How many sessions of a period weir relayed without reading them.
const UNREAD_SESSIONS: &str =
    "SELECT count(*) FROM session_records WHERE unread AND opened_ns >= ?1 AND opened_ns < ?2";
const PRINCIPAL: &str = "CASE c.subject WHEN '' THEN 'unidentified' ELSE c.subject END";

/// SQL for how the identities of the contexts were proved that are like `c` in these columns: a JSON list of words.
fn proof_of(columns: &[&str]) -> String {
    format!(
        "(SELECT json_group_array(DISTINCT p.method || ', ' || p.strength) FROM context_proofs p JOIN contexts o ON o.id = p.context
          WHERE {} AND p.method <> '')",
        alike(columns)
    )
}

/// SQL for when the provider last vouched for them, nanoseconds since the epoch.
fn verified_of(columns: &[&str]) -> String {
    format!(
        "(SELECT max((SELECT max(s.verified_s) FROM session_records s WHERE s.context = o.id)) * 1000000000 FROM contexts o WHERE {})",
        alike(columns)
    )
}

fn alike(columns: &[&str]) -> String {
    let of = |table: &str| {
        let qualified: Vec<String> = columns.iter().map(|it| format!("{table}.{it}")).collect();
        qualified.join(", ")
    };
    format!("({}) = ({})", of("o"), of("c"))
}

/// A table as asked for, as SQL's `GLOB` and as the name without schema: a statement may leave the schema out.
fn table_patterns(table: Option<&str>) -> (String, String) {
    match table {
        None => ("*".to_owned(), "*".to_owned()),
        Some(table) => match table.rsplit_once('.') {
            Some((_, name)) => (escape(table), escape(name)),
            None => (format!("*.{}", escape(table)), escape(table)),
        },
    }
}

/// `*` stays a wildcard; what else `GLOB` would take as one is a plain character in a table's name.
fn escape(table: &str) -> String {
    table.replace('[', "[[]").replace('?', "[?]")
}

#[cfg(test)]
mod tests;
