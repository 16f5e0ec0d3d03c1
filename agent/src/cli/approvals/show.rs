//! What waits, for people to read.

use std::fmt::Write as _;

use comfy_table::Table;

use crate::{
    audit::reports::period::rfc3339,
    clock,
    control::protocol::Approvals,
    holds::{Decided, Demand, Estimate, Exact, Summary, View},
    terminal::{visible, visible_line},
};

pub(super) fn list(approvals: &Approvals) -> String {
    let mut out = String::new();
    if approvals.waiting.is_empty() {
        out.push_str("nothing waits\n");
    } else {
        let mut table = Table::new();
        table.set_header([
            "request",
            "requester",
            "database",
            "wants",
            "left",
            "statement",
        ]);
        for held in &approvals.waiting {
            table.add_row([
                held.id.to_string(),
                visible_line(&held.requester),
                visible_line(&held.database),
                visible_line(&wants(held)),
                left(held.expires_ns),
                line(&held.text),
            ]);
        }
        let _ = writeln!(out, "{table}");
    }
    if approvals.left_out > 0 {
        let _ = writeln!(out, "and {} more", approvals.left_out);
    }
    if !approvals.lasting.is_empty() {
        let mut table = Table::new();
        table.set_header(["request", "requester", "approved by", "until", "statement"]);
        for grant in &approvals.lasting {
            table.add_row([
                grant.approval.to_string(),
                visible_line(&grant.requester),
                visible_line(&grant.approvers.join(", ")),
                rfc3339(grant.until_ns),
                line(&grant.repeated.text),
            ]);
        }
        let _ = writeln!(out, "\napprovals that last\n{table}");
    }
    out
}

/// All that is known of one; the exact text and values where they were asked for.
pub(in crate::cli) fn one(view: &View, exact: Option<&Exact>) -> String {
    let held = &view.summary;
    let mut out = String::new();
    let mut field = |name: &str, value: &str| {
        if !value.is_empty() {
            let _ = writeln!(out, "{name:<14}{}", visible(value));
        }
    };
    field("request", &held.id.to_string());
    field("requester", &held.requester);
    field("purpose", view.purpose.as_deref().unwrap_or_default());
    field("process", &held.process);
    field("started by", &view.lineage.join(" < "));
    field("cgroup", &view.cgroup);
    field(
        "database",
        &format!(
            "{} as {} at {}",
            held.database, held.database_user, held.endpoint
        ),
    );
    for demand in &held.demands {
        field("wants", &wanted(demand));
    }
    field("because", &held.reason);
    field("given up in", &left(held.expires_ns));
    field("does", &view.kinds.join(", "));
    field("relations", &view.relations.join(", "));
    field("columns", &view.columns.join(", "));
    field("expected", &expected(view.estimate.as_ref()));
    if view.in_transaction {
        field("transaction", "it waits inside one, whose locks are held");
    }
    if view.rewritten {
        field("hidden", "the server gets it with data masked or filtered");
    }
    field("sha-256", &view.text_sha256);
    match exact {
        None => {
            field("statement", &held.text);
            if view.values_bytes > 0 {
                field("values", "bound apart: --values shows them");
            }
        }
        Some(exact) => {
            field("statement", &exact.text);
            for (at, value) in exact.values.iter().enumerate() {
                field(&format!("${}", at + 1), value.as_deref().unwrap_or("NULL"));
            }
        }
    }
    out
}

/// What an approval has led to.
pub(in crate::cli) fn approved(decided: &Decided) -> String {
    if !decided.over {
        let missing: Vec<String> = decided
            .missing
            .iter()
            .map(|(rule, count)| format!("{count} more for rule {rule}"))
            .collect();
        return format!(
            "{} has your approval, and waits for {}\n",
            decided.id,
            missing.join(", ")
        );
    }
    let until = decided.until_ns.map_or_else(String::new, |until| {
        format!("; the same statement may run until {}", rfc3339(until))
    });
    format!("{} is approved{until}\n", decided.id)
}

/// What the rules want of whom, and what they have got.
pub(in crate::cli) fn wants(held: &Summary) -> String {
    let all: Vec<String> = held.demands.iter().map(wanted).collect();
    all.join("; ")
}

fn wanted(demand: &Demand) -> String {
    let groups = demand.groups.join(" or ");
    let given = if demand.given.is_empty() {
        String::new()
    } else {
        format!(", given by {}", demand.given.join(", "))
    };
    format!("{} of {groups} ({}){given}", demand.quorum, demand.rule)
}

/// Seconds, until a time of the epoch.
pub(in crate::cli) fn left(expires_ns: u64) -> String {
    let seconds = expires_ns.saturating_sub(clock::now_ns()) / 1_000_000_000;
    format!("{} min {:02} s", seconds / 60, seconds % 60)
}

fn expected(estimate: Option<&Estimate>) -> String {
    match estimate {
        Some(Estimate::Plan { rows, cost, step }) => {
            format!("{rows} rows at a cost of {cost}, by {step}")
        }
        Some(Estimate::None(why)) => format!("not known: {why}"),
        None => String::new(),
    }
}

/// The beginning of a text, on one line.
pub(in crate::cli) fn line(text: &str) -> String {
    let mut line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() > LINE {
        line = line.chars().take(LINE).collect();
        line.push('…');
    }
    visible_line(&line)
}

const LINE: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_cannot_write_over_what_is_shown_of_it() {
        let text = "UPDATE a\n/* \u{1b}[2K\r\u{202e} */";
        assert_eq!(line(text), "UPDATE a /* \\u{1b}[2K \\u{202e} */");
    }

    #[test]
    fn names_in_the_list_cannot_steer_the_terminal() {
        let held = Summary {
            id: 1,
            session: 2,
            requester: "alice\u{1b}[8m".to_owned(),
            process: String::new(),
            endpoint: String::new(),
            database: "shop\n\u{202e}".to_owned(),
            database_user: String::new(),
            rules: Vec::new(),
            reason: String::new(),
            text: "SELECT 1".to_owned(),
            since_ns: 0,
            expires_ns: 0,
            demands: Vec::new(),
        };
        let shown = list(&Approvals {
            waiting: vec![held],
            lasting: Vec::new(),
            left_out: 0,
        });
        assert!(!shown.contains(['\u{1b}', '\u{202e}']), "{shown}");
        assert!(shown.contains("alice\\u{1b}[8m"), "{shown}");
        assert!(shown.contains("shop\\u{a}\\u{202e}"), "{shown}");
    }
}
