//! RFC 5424: one message for each record, its facts as structured data.
//! <https://www.rfc-editor.org/rfc/rfc5424>

use std::fmt::Write as _;

use super::{
    Host,
    ocsf::sqlstate,
    tape::{Asked, Item, What},
};
use crate::audit::{
    record::{Ending, Event, SessionOpened},
    reports::period::rfc3339,
};

/// `log audit`.
const FACILITY: u8 = 13;
const CRITICAL: u8 = 2;
const WARNING: u8 = 4;
const INFORMATIONAL: u8 = 6;

/// A record as a message; `None` where it says nothing new.
pub(super) fn message(host: &Host, item: &Item) -> Option<String> {
    let mut data = vec![("seq", item.seq.to_string())];
    let (name, severity, text) = match &item.what {
        What::Opened(opened) => {
            session(&mut data, opened);
            ("session", INFORMATIONAL, "session opened".to_owned())
        }
        What::Asked(asked) => {
            statement(&mut data, asked);
            let severity = if asked.statement.decision.permits() {
                INFORMATIONAL
            } else {
                WARNING
            };
            (
                "request",
                severity,
                asked.statement.facts.normalised.clone(),
            )
        }
        What::Answered { outcome, asked } => {
            data.push(("request", outcome.request.to_string()));
            data.push(("ending", word(outcome.ending).to_owned()));
            data.push(("rows", outcome.rows.to_string()));
            data.push(("bytes", outcome.bytes.to_string()));
            data.push(("duration_ns", outcome.duration_ns.to_string()));
            data.extend(sqlstate(outcome).map(|code| ("sqlstate", code)));
            if let Some(asked) = asked {
                statement(&mut data, asked);
            }
            let severity = if outcome.ending == Ending::Denied {
                WARNING
            } else {
                INFORMATIONAL
            };
            let text = asked.as_deref().map_or_else(String::new, |asked| {
                asked.statement.facts.normalised.clone()
            });
            ("outcome", severity, text)
        }
        // The agent's start is told, and that these are over follows from it.
        What::Unanswered(_) | What::Abandoned(..) => return None,
        What::Event { event, .. } => {
            let severity = match **event {
                Event::Incident { .. } => CRITICAL,
                Event::Gap { .. } | Event::Ungoverned { .. } | Event::ConnectionRefused { .. } => {
                    WARNING
                }
                _ => INFORMATIONAL,
            };
            ("event", severity, super::plain(event).to_string())
        }
        What::Missing { until_seq } => (
            "event",
            CRITICAL,
            format!("records up to {until_seq} of the journal cannot be read"),
        ),
    };
    let time = time(item.time_ns);
    let mut line = format!(
        "<{}>1 {time} {} weir {} {name} [weir@32473",
        FACILITY * 8 + severity,
        header(&host.name, 255),
        std::process::id(),
    );
    for (key, value) in data {
        // Writing to a string cannot fail.
        let _ = write!(line, " {key}=\"{}\"", escaped(&value));
    }
    line.push_str("] ");
    if !text.is_ascii() {
        // Text that is UTF-8 has to say so.
        line.push('\u{feff}');
    }
    line.extend(text.chars().map(|c| if c.is_control() { ' ' } else { c }));
    Some(line)
}

fn session(data: &mut Vec<(&'static str, String)>, opened: &SessionOpened) {
    let identity = opened.identity.as_ref();
    let who = identity.map_or("unidentified", |identity| {
        identity.principal.subject.as_str()
    });
    data.push(("principal", who.to_owned()));
    if let Some(actor) = identity.and_then(|identity| identity.actors.last()) {
        data.push(("actor", actor.subject.clone()));
    }
    data.push(("session", opened.session.to_string()));
    data.push(("program", opened.evidence.exe_path.clone()));
    data.push(("uid", opened.evidence.uid.to_string()));
    data.push(("endpoint", opened.target.endpoint.clone()));
    data.push(("database", opened.target.database.clone()));
    data.push(("database_user", opened.target.database_user.clone()));
}

fn statement(data: &mut Vec<(&'static str, String)>, asked: &Asked) {
    session(data, &asked.session);
    let decision = &asked.statement.decision;
    let rules: Vec<_> = decision.rules.iter().map(|rule| rule.0.as_str()).collect();
    data.push((
        "effect",
        if decision.permits() { "allow" } else { "deny" }.to_owned(),
    ));
    data.push(("rules", rules.join(",")));
    data.push(("policy", asked.statement.policy.clone()));
}

fn word(ending: Ending) -> &'static str {
    match ending {
        Ending::Completed => "completed",
        Ending::Failed => "failed",
        Ending::Denied => "denied",
        Ending::Suspended => "suspended",
        Ending::Skipped => "skipped",
        Ending::Disconnected => "disconnected",
    }
}

/// With microseconds, as finely as the RFC allows.
fn time(ns: u64) -> String {
    let whole = rfc3339(ns);
    let micros = ns / 1000 % 1_000_000;
    whole.strip_suffix('Z').map_or_else(
        || "-".to_owned(),
        |seconds| format!("{seconds}.{micros:06}Z"),
    )
}

/// A header's field: printable ASCII without spaces.
fn header(text: &str, most: usize) -> String {
    let field: String = text
        .chars()
        .filter(char::is_ascii_graphic)
        .take(most)
        .collect();
    if field.is_empty() {
        "-".to_owned()
    } else {
        field
    }
}

fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for c in value.chars() {
        match c {
            '"' | '\\' | ']' => text.extend(['\\', c]),
            c if c.is_control() => text.push(' '),
            c => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structured_data_and_headers_cannot_be_broken_out_of() {
        assert_eq!(escaped("a\"b\\c]d\ne"), "a\\\"b\\\\c\\]d e");
        assert_eq!(header("my host\n", 255), "myhost");
        assert_eq!(header("", 9), "-");
        assert_eq!(
            time(1_769_862_600_123_456_789),
            "2026-01-31T12:30:00.123456Z"
        );
    }
}
