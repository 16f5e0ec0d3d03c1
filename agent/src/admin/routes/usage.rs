//! Usage, from principal over program and table down to the statement. Statements are shown with their literals replaced:
//! the store has them no other way.

use axum::response::Response;
use maud::{Markup, html};
use rusqlite::params;
use serde::Serialize;
use serde_json::json;

use crate::{
    admin::{
        error::Error,
        page::{Column, heads, link},
        questions,
        request::Ask,
    },
    audit::{
        reports::{Period, Value, period::rfc3339},
        store::StoreError,
    },
    clock,
};

/// Rows of one step.
const MOST: usize = 500;

const FIGURES: &[Column] = &[
    Column::Number("statements"),
    Column::Number("refused"),
    Column::Number("failed"),
    Column::Number("rows"),
    Column::Number("bytes"),
    Column::Text("last (UTC)"),
];

/// One line of a step.
#[derive(Debug, Serialize)]
struct Line {
    of: String,
    statements: u64,
    denied: u64,
    failed: u64,
    rows: u64,
    bytes: u64,
    last: String,
}

/// Where in the drill-down somebody is.
#[derive(Debug, Clone, Default)]
struct Place {
    since: String,
    /// Principal, program and table, as far as they were chosen.
    chosen: Vec<(&'static str, String)>,
}

/// What each step lists, by the next choice.
const STEPS: [(&str, &str); 4] = [
    (
        "principal",
        "CASE c.subject WHEN '' THEN 'unidentified' ELSE c.subject END",
    ),
    ("process", "c.exe"),
    ("table", "coalesce(r.relation, '')"),
    ("statement", "s.text"),
];

impl Place {
    fn of(ask: &Ask) -> Self {
        let chosen = STEPS[..3]
            .iter()
            .map_while(|(name, _)| Some((*name, ask.query_or_empty(name)?)))
            .collect();
        Self {
            since: ask.query("since").unwrap_or("24h").to_owned(),
            chosen,
        }
    }

    fn step(&self) -> (&'static str, &'static str) {
        STEPS[self.chosen.len().min(3)]
    }

    /// The address of the first `depth` choices, with one more behind them.
    fn link(&self, depth: usize, more: Option<&str>) -> String {
        let next = STEPS.get(depth).map(|(name, _)| *name);
        let fields = std::iter::once(("since", self.since.as_str()))
            .chain((self.chosen.iter().take(depth)).map(|(name, value)| (*name, value.as_str())))
            .chain(next.zip(more));
        link("/usage", fields)
    }
}

/// `GET /usage`
pub(super) async fn page(ask: Ask) -> Result<Response, Error> {
    let place = Place::of(&ask);
    let period = Period::parse(&place.since, None, clock::now().as_secs())
        .map_err(|error| Error::bad(error.to_string()))?;
    let asked = place.clone();
    let lines = questions::put(&ask, move |store, _| {
        lines(store, &asked, period).map_err(StoreError::sqlite("ask"))
    })
    .await?;
    let data = json!({ "by": place.step().0, "since": place.since, "lines": lines });
    Ok(ask.answer("Usage", &data, || draw(&place, &lines)))
}

fn lines(
    store: &rusqlite::Connection,
    place: &Place,
    period: Period,
) -> rusqlite::Result<Vec<Line>> {
    let (from, until) = period.hours();
    let (_, by) = place.step();
    let chosen = |at: usize| place.chosen.get(at).map(|(_, value)| value.as_str());
    // Relations join only where they are asked for: a statement that names two of them counts once elsewhere.
    let relations = if place.chosen.len() >= 2 {
        "LEFT JOIN (SELECT DISTINCT statement, relation FROM statement_relations) r ON r.statement = a.statement"
    } else {
        ""
    };
    let table = if place.chosen.len() >= 3 {
        "AND coalesce(r.relation, '') = ?5"
    } else {
        "AND ?5 IS NULL"
    };
    let sql = format!(
        "SELECT {by}, sum(a.statements), sum(a.denied), sum(a.failed),
                CAST(total(a.rows) AS INTEGER), CAST(total(a.bytes) AS INTEGER), max(a.last_ns)
         FROM statement_usage a JOIN contexts c ON c.id = a.context JOIN statement_records s ON s.id = a.statement
         {relations}
         WHERE a.hour >= ?1 AND a.hour < ?2
           AND (?3 IS NULL OR CASE c.subject WHEN '' THEN 'unidentified' ELSE c.subject END = ?3)
           AND (?4 IS NULL OR c.exe = ?4) {table}
         GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT {MOST}"
    );
    let mut query = store.prepare(&sql)?;
    let found = query.query_map(
        params![from, until, chosen(0), chosen(1), chosen(2)],
        |row| {
            let of = match Value::read(row, 0)? {
                Value::Text(text) => text,
                _ => String::new(),
            };
            Ok(Line {
                of,
                statements: row.get(1)?,
                denied: row.get(2)?,
                failed: row.get(3)?,
                rows: row.get(4)?,
                bytes: row.get(5)?,
                last: rfc3339(row.get(6)?),
            })
        },
    )?;
    found.collect()
}

fn draw(place: &Place, lines: &[Line]) -> Markup {
    let depth = place.chosen.len();
    let (by, _) = place.step();
    let top = lines
        .iter()
        .map(|line| line.statements)
        .max()
        .unwrap_or(0)
        .max(1);
    html! {
        p.lead { "From who to what: choose a line to see what is behind it." }
        nav.trail aria-label="Where you are" {
            ol {
                li { a href=(place.link(0, None)) { "all" } }
                @for (at, (name, value)) in place.chosen.iter().enumerate() {
                    li { a href=(place.link(at + 1, None)) { (name) " " (named(value)) } }
                }
            }
        }
        form.pick method="get" action="/usage" {
            label { "Since " select name="since" {
                @for since in ["1h", "24h", "7d", "30d", "90d"] {
                    option value=(since) selected[place.since == since] { (since) }
                }
            } }
            @for (name, value) in &place.chosen { input type="hidden" name=(name) value=(value); }
            button type="submit" { "Show" }
        }
        section.card.sheet aria-labelledby="lines" {
            h2 #lines { "By " (by) }
            @if lines.is_empty() { p.none { "Nothing in this period." } }
            @else {
                div.scroll tabindex="0" role="region" aria-label={ "Usage by " (by) } {
                    table {
                        thead { tr {
                            (heads(&[Column::Text(by), Column::Text("share")]))
                            (heads(FIGURES))
                        } }
                        tbody {
                            @for line in lines {
                                tr {
                                    td.mono data-name=(by) { span {
                                        @if depth < 3 { a href=(place.link(depth, Some(&line.of))) { (named(&line.of)) } }
                                        @else { (line.of) }
                                    } }
                                    td.share data-name="share" {
                                        svg viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true" {
                                            rect.track width="100" height="8" {}
                                            rect.plain width=(line.statements * 100 / top) height="8" {}
                                        }
                                    }
                                    td.number data-name="statements" { (line.statements) }
                                    td.number data-name="refused" { (line.denied) }
                                    td.number data-name="failed" { (line.failed) }
                                    td.number data-name="rows" { (line.rows) }
                                    td.number data-name="bytes" { (line.bytes) }
                                    td.time data-name="last (UTC)" { (line.last.replace('T', " ").replace('Z', "")) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn named(value: &str) -> &str {
    if value.is_empty() {
        "(no table)"
    } else {
        value
    }
}
