//! A report as one page: no script, no request, light and dark, for a phone, a screen and paper.
//!
//! Shapes are SVG that stretches; words stand beside them in HTML, so that they keep their size on every screen.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{
    super::{Bar, Chart, Column, Report, Shape, Tone, Value, period::rfc3339},
    notes, shown, size, text,
};

const STYLE: &str = include_str!("../../../../ui/report.css");

/// The page of a report.
pub(super) fn page(report: &Report) -> String {
    let (title, lead) = title(report.name);
    document(
        &format!("{title} · {}", report.header.host),
        &html! {
            header {
                p.brand { "weir · evidence" }
                h1 { (title) }
                p.lead { (lead) }
            }
            (content(report))
        },
    )
}

/// What stands below the title.
pub(super) fn content(report: &Report) -> Markup {
    let (title, _) = title(report.name);
    let header = &report.header;
    let notes = notes(report);
    html! {
        section.card aria-label="About this report" { (facts(report)) }
        @if !notes.is_empty() {
            ul.notes aria-label="What weakens this report" {
                @for note in &notes { li { (note) } }
            }
        }
        section.tiles aria-label="Totals of the period" {
            @for (name, count) in &report.totals {
                div.tile { b { (tile(name, *count)) } span { (name) } }
            }
        }
        @if !report.charts.is_empty() {
            @let alone = alone(&report.charts);
            div.charts { @for (at, chart) in report.charts.iter().enumerate() { (picture(chart, at == alone)) } }
        }
        (sheet(title, &report.columns, &report.rows))
        @for section in &report.sections {
            (sheet(section.title, section.columns, &section.rows))
        }
        footer {
            p {
                "Totals count each statement once, whatever it touches. Literals and values never enter the record; statements show "
                "placeholders in their place. To check that the record behind this page is what was recorded, run "
                span.mono { (command(&header.verify)) }
                " on the host and compare the chain head, or verify a copy of the journal elsewhere with the public key."
            }
        }
    }
}

/// The page of a query's rows.
pub(super) fn rows(columns: &[&str], rows: &[Vec<Value>]) -> String {
    document(
        "Rows of the audit store",
        &html! {
            section.card.sheet {
                div.scroll {
                    table {
                        thead { tr { @for name in columns { th scope="col" { (name) } } } }
                        tbody {
                            @for row in rows {
                                tr { @for (name, value) in columns.iter().zip(row) { td data-name=(name) { span { (text(value)) } } } }
                            }
                        }
                    }
                }
            }
        },
    )
}

fn document(title: &str, content: &Markup) -> String {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'";
                meta name="referrer" content="no-referrer";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body { main { (content) } }
        }
    }
    .into_string()
}

fn title(name: &str) -> (&'static str, &'static str) {
    match name {
        "usage" => (
            "Usage",
            "Who used which data, through whom and with which program.",
        ),
        "access" => (
            "Access",
            "Who touched which table, with which program and as which database user.",
        ),
        "columns" => (
            "Columns",
            "Who used which column, what for, and whether they saw it masked.",
        ),
        "privileged" => (
            "Privileged actions",
            "Definitions, grants and refusals, and every change to weir itself.",
        ),
        "approvals" => ("Approvals", "Who asked, who decided and why, and what ran."),
        "review" => (
            "Access review",
            "Each principal, what it touched and when last, and how its identity was proved: keep or withdraw.",
        ),
        "completeness" => (
            "Completeness",
            "What the kernel counted, what weir saw of it, what it did not govern, and every gap.",
        ),
        _ => ("Report", ""),
    }
}

fn facts(report: &Report) -> Markup {
    let header = &report.header;
    let day = |time: &str| html! { span.whole { (time.replace('T', " ").replace('Z', " UTC")) } };
    html! {
        dl.facts {
            div { dt { "Host" } dd { (header.host) } }
            div { dt { "Period, whole hours" } dd { (day(&header.since)) " – " (day(&header.until)) } }
            div { dt { "Made" } dd { (day(&header.generated)) } }
            div { dt { "Records counted" } dd { (grouped(header.indexed_seq)) " of " (grouped(header.chain_seq)) " in the chain" } }
            div.wide { dt { "Policy digest" } dd.mono { (or_none(&header.policy)) } }
            div.wide { dt { "Chain head at record " (header.chain_seq) } dd.mono { (or_none(&header.chain_head)) } }
            div.wide { dt { "Verify with" } dd.mono { (command(&header.verify)) } }
        }
    }
}

fn or_none(text: &str) -> &str {
    if text.is_empty() {
        "none recorded"
    } else {
        text
    }
}

fn tile(name: &str, count: u64) -> String {
    if name == "bytes" {
        size(count)
    } else {
        grouped(count)
    }
}

/// A table; columns without any value are left out. On a narrow screen each row is a card, by the style alone.
fn sheet(title: &str, columns: &[Column], rows: &[Vec<Value>]) -> Markup {
    let all: Vec<(usize, &Column)> = columns
        .iter()
        .enumerate()
        .filter(|(at, _)| {
            rows.iter()
                .any(|row| row.get(*at).is_some_and(|value| !is_empty(value)))
        })
        .collect();
    // What is the same in every row is said once: a wide table does not fit a screen.
    let (same, kept): (Vec<_>, Vec<_>) = all
        .iter()
        .copied()
        .partition(|(at, column)| all.len() > WIDE_COLUMNS && is_same(rows, *at, column));
    html! {
        section.card.sheet {
            h2 { (title) }
            @if rows.is_empty() {
                p.none { "Nothing in this period." }
            } @else {
                @if !same.is_empty() {
                    p.none {
                        "In every row: "
                        @for (index, (at, column)) in same.iter().enumerate() {
                            @if index > 0 { ", " }
                            (spaced(column.name)) " " b { (rows.first().and_then(|row| row.get(*at)).map(text).unwrap_or_default()) }
                        }
                    }
                }
                div.scroll tabindex="0" role="region" aria-label=(title) {
                    table {
                        thead {
                            tr {
                                @for (_, column) in &kept {
                                    th scope="col" class=[some(class(column.shape, false))] { (head(column)) }
                                }
                            }
                        }
                        tbody {
                            @for row in rows {
                                tr {
                                    @for (at, column) in &kept { (cell(column, row.get(*at).unwrap_or(&Value::Empty))) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Tables with more columns than this do not fit a screen.
const WIDE_COLUMNS: usize = 10;

fn is_same(rows: &[Vec<Value>], at: usize, column: &Column) -> bool {
    let first = rows.first().and_then(|row| row.get(at));
    column.shape == Shape::Text && rows.len() > 1 && rows.iter().all(|row| row.get(at) == first)
}

fn some(class: &'static str) -> Option<&'static str> {
    Some(class).filter(|class| !class.is_empty())
}

fn cell(column: &Column, value: &Value) -> Markup {
    let empty = is_empty(value);
    let content = match (column.shape, value) {
        (Shape::Count, Value::Number(count)) => grouped(*count),
        (shape, value) if !empty => shown(shape, value),
        _ => String::new(),
    };
    let long = column.shape == Shape::Text && content.len() > LONG_TEXT;
    let mono = matches!(
        column.name,
        "text" | "statement" | "program" | "programs" | "column"
    );
    let classes = [
        class(column.shape, long),
        if mono { "mono" } else { "" },
        if empty { "empty" } else { "" },
    ];
    let classes: Vec<_> = classes
        .into_iter()
        .filter(|class| !class.is_empty())
        .collect();
    html! {
        td class=[(!classes.is_empty()).then(|| classes.join(" "))] data-name=(head(column)) {
            @match column.shape {
                Shape::Text => span { (breakable(&content)) },
                // Day and time stay whole.
                _ => span { @for part in content.split_inclusive(' ') { span.whole { (part.trim_end()) } " " } },
            }
        }
    }
}

/// Texts longer than this get a wider column.
const LONG_TEXT: usize = 60;

fn class(shape: Shape, long: bool) -> &'static str {
    match shape {
        Shape::Count | Shape::Bytes => "number",
        Shape::Time => "time",
        Shape::Text if long => "long",
        Shape::Text => "",
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Empty => true,
        Value::Text(text) => text.is_empty(),
        Value::Number(_) => false,
    }
}

fn head(column: &Column) -> String {
    let name = spaced(column.name);
    match column.shape {
        Shape::Time => format!("{name} (UTC)"),
        _ => name,
    }
}

fn spaced(name: &str) -> String {
    name.replace('_', " ")
}

/// The picture that would stand in a row by itself: the last of an odd number of narrow ones.
fn alone(charts: &[Chart]) -> usize {
    let narrow = charts
        .iter()
        .filter(|chart| matches!(chart, Chart::Ranking { .. }));
    if narrow.count().is_multiple_of(2) {
        charts.len()
    } else {
        charts.len().saturating_sub(1)
    }
}

fn picture(chart: &Chart, wide: bool) -> Markup {
    match chart {
        Chart::Time {
            title,
            from_hour,
            step,
            parts,
            steps,
        } => over_time(title, *from_hour, *step, parts, steps),
        Chart::Ranking { title, bars } => ranking(title, bars, wide),
    }
}

fn over_time(
    title: &str,
    from_hour: u64,
    step: u64,
    parts: &[(&'static str, Tone)],
    steps: &[Vec<u64>],
) -> Markup {
    let sums = steps.iter().map(|counts| counts.iter().sum::<u64>());
    let top = sums.max().unwrap_or(0);
    let at = |index: usize| hour(from_hour + index as u64 * step);
    let width = steps.len().max(1) * STEP_WIDTH;
    html! {
        figure.card.wide {
            h2 { (title) " (UTC)" }
            div.legend {
                @for (name, tone) in parts {
                    span { svg viewBox="0 0 10 10" aria-hidden="true" { rect class=(tone_class(*tone)) width="10" height="10" rx="2" {} } (name) }
                }
                @if top > 0 { span.top { "highest " (grouped(top)) " in " (span(step)) } }
                @else { span.top { "nothing in this period" } }
            }
            div.time {
                svg viewBox=(format!("0 0 {width} {TIME_HEIGHT}")) preserveAspectRatio="none" role="img" aria-label=(title) {
                    @for quarter in 0..=4_u64 {
                        @let y = quarter * TIME_HEIGHT / 4;
                        line.grid x1="0" x2=(width) y1=(y) y2=(y) {}
                    }
                    @for (index, counts) in steps.iter().enumerate() {
                        @let total: u64 = counts.iter().sum();
                        @if total > 0 {
                            g {
                                title { (at(index)) ": " @for ((name, _), count) in parts.iter().zip(counts) { (grouped(*count)) " " (name) " " } }
                                @for (tone, y, height) in stacked(parts, counts, top) {
                                    rect class=(tone_class(tone)) x=(index * STEP_WIDTH + 1) width=(STEP_WIDTH - 2) y=(y) height=(height) {}
                                }
                            }
                        }
                    }
                }
                div.axis { span { (at(0)) } span { (at(steps.len() / 2)) } span { (at(steps.len())) } }
            }
        }
    }
}

const STEP_WIDTH: usize = 10;
const TIME_HEIGHT: u64 = 1000;

/// Where the parts of a step are drawn, from the bottom; what there is shows, however little.
fn stacked(parts: &[(&'static str, Tone)], counts: &[u64], top: u64) -> Vec<(Tone, u64, u64)> {
    let mut y = TIME_HEIGHT;
    let mut drawn = Vec::new();
    for ((_, tone), count) in parts.iter().zip(counts).filter(|(_, count)| **count > 0) {
        let height = share(*count, top, TIME_HEIGHT).clamp(8, y.max(8));
        y = y.saturating_sub(height);
        drawn.push((*tone, y, height));
    }
    drawn
}

fn ranking(title: &str, bars: &[Bar], wide: bool) -> Markup {
    let top = bars.iter().map(|bar| bar.count).max().unwrap_or(0).max(1);
    html! {
        figure.card.wide[wide] {
            h2 { (title) }
            div.bars {
                @for bar in bars {
                    div.bar {
                        span.label { (breakable(&bar.label)) }
                        span.count { (grouped(bar.count)) }
                        svg viewBox="0 0 1000 12" preserveAspectRatio="none" aria-hidden="true" {
                            rect.track width="1000" height="12" {}
                            rect class=(tone_class(bar.tone)) width=(share(bar.count, top, 1000).max(6)) height="12" {}
                        }
                    }
                }
            }
        }
    }
}

/// Long names may break behind their separators, but not within a number.
fn breakable(text: &str) -> Markup {
    let mut parts = text.split_inclusive(['/', '.', '_', ',']).peekable();
    html! {
        @while let Some(part) = parts.next() {
            (part)
            @if !(part.ends_with('.') && parts.peek().is_some_and(|next| next.starts_with(|it: char| it.is_ascii_digit()))) { wbr; }
        }
    }
}

/// A command breaks between its words, and not within an option.
fn command(text: &str) -> Markup {
    html! {
        @for word in text.split_inclusive(' ') {
            @if word.starts_with('-') { span.whole { (word.trim_end()) } " " } @else { (word) }
        }
    }
}

/// `count` of `top`, scaled to `whole`.
fn share(count: u64, top: u64, whole: u64) -> u64 {
    let scaled = u128::from(count) * u128::from(whole) / u128::from(top.max(1));
    u64::try_from(scaled).unwrap_or(whole).min(whole)
}

fn tone_class(tone: Tone) -> &'static str {
    match tone {
        Tone::Plain => "plain",
        Tone::Masked => "masked",
        Tone::Refused => "refused",
        Tone::Attention => "attention",
    }
}

fn hour(hour: u64) -> String {
    rfc3339(hour.saturating_mul(3_600_000_000_000))
        .replace('T', " ")
        .trim_end_matches(":00Z")
        .to_owned()
}

fn span(hours: u64) -> String {
    match hours {
        1 => "an hour".to_owned(),
        24 => "a day".to_owned(),
        days if days.is_multiple_of(24) => format!("{} days", days / 24),
        hours => format!("{hours} hours"),
    }
}

/// Digits in groups of three, by narrow spaces.
fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_234_567), "1\u{202f}234\u{202f}567");
    }

    #[test]
    fn names_break_behind_separators_and_addresses_do_not() {
        assert_eq!(
            breakable("/usr/a.b").into_string(),
            "/<wbr>usr/<wbr>a.<wbr>b<wbr>"
        );
        assert_eq!(
            breakable("http://127.0.0.1:1").into_string(),
            "http:/<wbr>/<wbr>127.0.0.1:1<wbr>"
        );
    }

    #[test]
    fn parts_of_a_step_never_leave_the_picture() {
        let parts = [
            ("a", Tone::Plain),
            ("b", Tone::Refused),
            ("c", Tone::Attention),
        ];
        for counts in [[1, 1, 1], [u64::MAX / 4, 1, 0], [0, 0, 5], [3, 0, 3]] {
            let top = counts.iter().sum();
            for (_, y, height) in stacked(&parts, &counts, top) {
                assert!(y + height <= TIME_HEIGHT + 8, "{counts:?}: {y} {height}");
            }
        }
    }

    #[test]
    fn what_a_client_can_choose_is_escaped() {
        let evil = "<script>alert(1)</script>\"'&";
        let page = rows(&["x"], &[vec![Value::Text(evil.to_owned())]]);
        assert!(
            !page.contains("<script") && page.contains("&lt;script&gt;"),
            "{page}"
        );
    }
}
