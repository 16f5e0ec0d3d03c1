//! Auditors' reports: in the page, and to take away.

use axum::{
    http::{HeaderValue, header},
    response::{IntoResponse as _, Response},
};
use maud::{Markup, PreEscaped, html};

use crate::{
    admin::{
        error::Error,
        page, questions,
        request::{Ask, Wants},
    },
    audit::reports::{
        self, Period, Question,
        render::{self, Format, Style},
    },
    clock,
};

/// Each with what it answers, and what it can be narrowed to.
const KINDS: &[(&str, &str, &[&str])] = &[
    (
        "usage",
        "who used which data, through whom and with which program",
        &["table"],
    ),
    (
        "access",
        "who touched which table, and as which database user",
        &["table", "class"],
    ),
    (
        "columns",
        "who used which column, and whether they saw it masked",
        &["column"],
    ),
    (
        "privileged",
        "definitions, grants and refusals, and what changed about weir",
        &[],
    ),
    (
        "approvals",
        "who asked, who decided and why, and what ran",
        &[],
    ),
    ("review", "for access reviews: keep or withdraw", &[]),
    (
        "completeness",
        "what weir saw, what it did not govern, and every gap",
        &[],
    ),
];

/// `GET /reports`
pub(super) async fn list(ask: Ask) -> Result<Response, Error> {
    let content = html! {
        p.lead { "Answers from the record, each with how far to trust it." }
        ul.choices {
            @for (kind, about, _) in KINDS {
                li.card { h2 { a href={ "/reports/" (kind) } { (kind) } } p { (about) } }
            }
        }
    };
    Ok(page::whole(&ask, "Reports", &content))
}

/// `GET /reports/{kind}`, with `since`, `until`, `table`, `class` or `column`, and `format`.
pub(super) async fn page(ask: Ask) -> Result<Response, Error> {
    let kind = ask.path("kind").to_owned();
    let own = |name: &str| ask.query(name).map(str::to_owned);
    let question = match kind.as_str() {
        "usage" => Question::Usage {
            table: own("table"),
        },
        "access" => Question::Access {
            table: own("table"),
            class: own("class"),
        },
        "columns" => Question::Columns {
            column: own("column"),
        },
        "privileged" => Question::Privileged,
        "approvals" => Question::Approvals,
        "review" => Question::Review,
        "completeness" => Question::Completeness,
        _ => return Err(Error::not_found()),
    };
    let format = match (ask.wants, ask.query("format")) {
        (Wants::Json, None) | (_, Some("json")) => Some(Format::Json),
        (_, Some("csv")) => Some(Format::Csv),
        (_, Some("html")) => Some(Format::Html),
        (Wants::Page, None) => None,
        _ => return Err(Error::bad("format is html, csv or json")),
    };
    let since = own("since").unwrap_or_else(|| "24h".to_owned());
    let period = Period::parse(&since, ask.query("until"), clock::now().as_secs())
        .map_err(|error| Error::bad(error.to_string()))?;
    // Written there too: a long page is work, and this thread serves everybody.
    let written = questions::put(&ask, move |store, state_dir| {
        let report = reports::ask_at_most(store, state_dir, &question, period, questions::MOST)?;
        Ok(match format {
            Some(format) => render::report(&report, format, Style::Plain),
            None => render::content(&report).into_string(),
        })
    })
    .await?;
    let Some(format) = format else {
        let content = html! {
            (pick(&ask, &kind, &since))
            (PreEscaped(written))
        };
        return Ok(page::whole(&ask, &format!("Report: {kind}"), &content));
    };
    let (word, mime) = match format {
        Format::Csv => ("csv", "text/csv; charset=utf-8"),
        Format::Html => ("html", "text/html; charset=utf-8"),
        Format::Json | Format::Table => ("json", "application/json"),
    };
    let mut response = written.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(mime));
    if ask.wants == Wants::Page {
        let name = format!("attachment; filename=\"weir-{kind}.{word}\"");
        if let Ok(value) = HeaderValue::from_str(&name) {
            headers.insert(header::CONTENT_DISPOSITION, value);
        }
    }
    Ok(response)
}

/// What the report can be narrowed to, and where the same can be had as a file.
fn pick(ask: &Ask, kind: &str, since: &str) -> Markup {
    let narrows = KINDS
        .iter()
        .find(|(known, ..)| *known == kind)
        .map_or(&[][..], |(.., narrows)| narrows);
    let chosen = |name: &str| ask.query(name).unwrap_or_default().to_owned();
    let fields: Vec<(&str, &str)> = std::iter::once(("since", since))
        .chain(
            narrows
                .iter()
                .chain(&["until"])
                .filter_map(|name| Some((*name, ask.query(name)?))),
        )
        .collect();
    let file = |format| {
        let fields = fields.iter().copied().chain([("format", format)]);
        page::link(&format!("/reports/{kind}"), fields)
    };
    html! {
        form.pick method="get" action={ "/reports/" (kind) } {
            label { "Since " input type="text" name="since" value=(since) size="12"; }
            label { "Until " input type="text" name="until" value=(chosen("until")) placeholder="now" size="12"; }
            @for name in narrows {
                label { (titled(name)) " " input type="text" name=(name) value=(chosen(name)) placeholder="all" size="18"; }
            }
            button type="submit" { "Show" }
        }
        p.links { "Take away: "
            @for format in ["html", "csv", "json"] { a href=(file(format)) { (format) } " " }
        }
    }
}

fn titled(name: &str) -> String {
    let (first, rest) = name.split_at_checked(1).unwrap_or((name, ""));
    first.to_uppercase() + rest
}
