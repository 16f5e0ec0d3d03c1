//! A message as a hook takes it. What databases and people wrote is quoted: it can neither call people nor look like a link.

use serde_json::{Value, json};

use super::settings::{Form, Occasion};
use crate::{
    audit::{record::Verdict, reports::period::rfc3339, word},
    holds::{Note, Summary, What},
};

/// Where the web page is, and which host speaks.
#[derive(Debug, Clone, Default)]
pub struct Place {
    /// `https://name:port` of the web page; `None` where it is not served to browsers.
    pub origin: Option<String>,
    /// This host.
    pub host: String,
}

impl What {
    pub(super) fn occasion(&self) -> Occasion {
        match self {
            Self::Requested => Occasion::Requested,
            Self::Decided { .. } => Occasion::Decided,
            Self::Ended { .. } => Occasion::Ended,
        }
    }
}

/// The body of a request.
pub(super) fn body(form: Form, place: &Place, note: &Note, now_ns: u64) -> Value {
    match form {
        Form::Slack => slack(place, note),
        Form::Json => plain(place, note, now_ns),
    }
}

fn slack(place: &Place, note: &Note) -> Value {
    let summary = &note.summary;
    let headline = headline(note);
    let text = quoted(&shortened(&summary.text, STATEMENT_CHARS)).replace('`', "'");
    let mut context = vec![format!(
        "{} · database {} at {} as {}",
        quoted(&summary.process),
        quoted(&summary.database),
        quoted(&summary.endpoint),
        quoted(&summary.database_user),
    )];
    if !summary.reason.is_empty() {
        context.push(quoted(&shortened(&summary.reason, LINE_CHARS)));
    }
    if matches!(note.what, What::Requested) {
        context.push(wanted(summary));
    }
    context.push(match link(place, summary.id) {
        Some(link) => format!(
            "<{link}|Approval {}> · host {}",
            summary.id,
            quoted(&place.host)
        ),
        None => format!(
            "weir approvals show {} · host {}",
            summary.id,
            quoted(&place.host)
        ),
    });
    json!({
        "text": headline,
        "blocks": [
            { "type": "section", "text": { "type": "mrkdwn", "text": headline } },
            { "type": "section", "text": { "type": "mrkdwn", "text": format!("```{text}```") } },
            { "type": "context", "elements": [{ "type": "mrkdwn", "text": context.join("\n") }] },
        ],
    })
}

fn headline(note: &Note) -> String {
    let summary = &note.summary;
    let requester = quoted(&shortened(&summary.requester, LINE_CHARS));
    match &note.what {
        What::Requested => format!(
            "{requester} asks for an approval ({})",
            quoted(&summary.rules.join(", "))
        ),
        What::Decided {
            by,
            verdict,
            reason,
            break_glass,
            missing,
            ..
        } => {
            let by = quoted(by);
            let reason = quoted(&shortened(reason, LINE_CHARS));
            let done = match (verdict, break_glass, missing) {
                (_, true, _) => format!("BREAK-GLASS: {by} set the rules aside for {requester}"),
                (Verdict::Denied, ..) => format!("{by} refused the statement of {requester}"),
                (Verdict::Approved, _, 0) => format!("{by} approved the statement of {requester}"),
                (Verdict::Approved, _, missing) => {
                    format!("{by} agreed to the statement of {requester}; {missing} more have to")
                }
            };
            format!("{done}: {reason}")
        }
        What::Ended { how } => format!(
            "The statement of {requester} no longer waits: {}",
            word(how).replace('_', " ")
        ),
    }
}

fn wanted(summary: &Summary) -> String {
    let demands = summary.demands.iter().map(|demand| {
        format!(
            "{} of {}",
            demand.quorum,
            quoted(&demand.groups.join(" or "))
        )
    });
    let demands: Vec<String> = demands.collect();
    format!(
        "{} decide, until {}",
        demands.join(" and "),
        rfc3339(summary.expires_ns)
    )
}

fn plain(place: &Place, note: &Note, now_ns: u64) -> Value {
    let summary = &note.summary;
    let mut data = json!({
        "approval": summary.id,
        "session": summary.session,
        "host": place.host,
        "link": link(place, summary.id),
        "requester": summary.requester,
        "process": summary.process,
        "endpoint": summary.endpoint,
        "database": summary.database,
        "database_user": summary.database_user,
        "rules": summary.rules,
        "reason": summary.reason,
        "statement": shortened(&summary.text, STATEMENT_CHARS),
        "demands": summary.demands,
        "expires": rfc3339(summary.expires_ns),
    });
    let (kind, more) = match &note.what {
        What::Requested => ("approval.requested", json!({})),
        What::Decided {
            by,
            verdict,
            reason,
            until_ns,
            break_glass,
            missing,
        } => (
            "approval.decided",
            json!({ "decision": {
                "by": by,
                "verdict": word(verdict),
                "reason": reason,
                "until": until_ns.map(rfc3339),
                "break_glass": break_glass,
                "missing": missing,
            }}),
        ),
        What::Ended { how } => ("approval.ended", json!({ "ended": word(how) })),
    };
    if let (Value::Object(data), Value::Object(more)) = (&mut data, more) {
        data.extend(more);
    }
    json!({ "type": kind, "timestamp": rfc3339(now_ns), "data": data })
}

fn link(place: &Place, id: u64) -> Option<String> {
    let origin = place.origin.as_ref()?;
    Some(format!("{origin}/approvals/{id}"))
}

fn shortened(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// Slack's control characters, as it wants them escaped; other control characters become spaces.
fn quoted(text: &str) -> String {
    text.chars().fold(String::new(), |mut quoted, c| {
        match c {
            '&' => quoted.push_str("&amp;"),
            '<' => quoted.push_str("&lt;"),
            '>' => quoted.push_str("&gt;"),
            '\n' => quoted.push('\n'),
            c if c.is_control() => quoted.push(' '),
            c => quoted.push(c),
        }
        quoted
    })
}

/// A block takes 3,000 characters, and an escaped one is up to five.
const STATEMENT_CHARS: usize = 550;
const LINE_CHARS: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::webhooks::tests::note;

    fn place() -> Place {
        Place {
            origin: Some("https://weir.example".to_owned()),
            host: "db-client-1".to_owned(),
        }
    }

    #[test]
    fn slack_gets_the_statement_and_the_way_to_it() {
        let body = slack(&place(), &note(7, What::Requested)).to_string();
        assert!(
            body.contains("<https://weir.example/approvals/7|Approval 7>"),
            "{body}"
        );
        assert!(body.contains("bob asks for an approval"), "{body}");
        assert!(body.contains("1 of dba decide, until 20"), "{body}");
        let nowhere = slack(&Place::default(), &note(7, What::Requested)).to_string();
        assert!(nowhere.contains("weir approvals show 7"), "{nowhere}");
    }

    #[test]
    fn what_others_wrote_calls_nobody() {
        let mut note = note(1, What::Requested);
        note.summary.text = "select 1 as \"```<!channel> <https://evil|x>\"".to_owned();
        note.summary.process = "/tmp/<!here>".to_owned();
        let body = slack(&place(), &note);
        let text = body["blocks"].to_string();
        assert!(
            !text.contains("<!") && !text.contains("<https://evil"),
            "{text}"
        );
        let statement = body["blocks"][1]["text"]["text"].as_str().expect("text");
        assert_eq!(statement.matches("```").count(), 2, "{statement}");
    }

    #[test]
    fn the_longest_statement_fits() {
        let mut note = note(1, What::Requested);
        note.summary.text = "&".repeat(100_000);
        let body = slack(&place(), &note);
        let statement = body["blocks"][1]["text"]["text"].as_str().expect("text");
        assert!(statement.len() <= 3_000, "{}", statement.len());
    }

    #[test]
    fn programs_get_fields() {
        let decided = What::Decided {
            by: "alice".to_owned(),
            verdict: Verdict::Approved,
            reason: "ticket 9".to_owned(),
            until_ns: Some(1_700_000_000_000_000_000),
            break_glass: false,
            missing: 0,
        };
        let body = plain(&place(), &note(7, decided), 0);
        assert_eq!(body["type"], "approval.decided");
        assert_eq!(body["timestamp"], "1970-01-01T00:00:00Z");
        assert_eq!(body["data"]["link"], "https://weir.example/approvals/7");
        assert_eq!(body["data"]["decision"]["until"], "2023-11-14T22:13:20Z");
    }

    #[test]
    fn an_emergency_stands_out() {
        let decided = What::Decided {
            by: "carol".to_owned(),
            verdict: Verdict::Approved,
            reason: "outage".to_owned(),
            until_ns: None,
            break_glass: true,
            missing: 0,
        };
        let line = headline(&note(7, decided));
        assert!(line.starts_with("BREAK-GLASS: carol"), "{line}");
    }
}
