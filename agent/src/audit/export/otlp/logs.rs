//! Records as log records: an `ExportLogsServiceRequest`.

use serde_json::{Value, json};

use super::{Host, attributes, ids::Ids, resource, result, scope, session, statement, who};
use crate::audit::{
    export::{
        plain,
        tape::{Item, What},
    },
    record::{Ending, Event},
};

const INFO: (u64, &str) = (9, "INFO");
const WARN: (u64, &str) = (13, "WARN");
const ERROR: (u64, &str) = (17, "ERROR");

/// A batch as one document; `None` when there is nothing in it to tell.
pub(in crate::audit::export) fn document(host: &Host, items: &[Item]) -> Option<Value> {
    let records: Vec<_> = items.iter().filter_map(|item| record(host, item)).collect();
    (!records.is_empty()).then(|| {
        json!({
            "resourceLogs": [{
                "resource": resource(host),
                "scopeLogs": [{ "scope": scope(), "logRecords": records }],
            }]
        })
    })
}

fn record(host: &Host, item: &Item) -> Option<Value> {
    let (name, severity, body, mut list) = match &item.what {
        What::Opened(opened) => (
            "weir.session",
            INFO,
            format!("session {} of {}", opened.session, who(opened)),
            session(opened),
        ),
        What::Asked(asked) => {
            let permitted = asked.statement.decision.permits();
            let severity = if permitted { INFO } else { WARN };
            let body = asked.statement.facts.normalised.clone();
            ("weir.request", severity, body, statement(asked))
        }
        What::Answered { outcome, asked } => {
            let severity = match outcome.ending {
                Ending::Completed | Ending::Suspended => INFO,
                _ => WARN,
            };
            let mut list = asked.as_deref().map(statement).unwrap_or_default();
            list.extend(result(outcome));
            let body = asked.as_deref().map_or_else(
                || format!("outcome of record {}", outcome.request),
                |asked| asked.statement.facts.normalised.clone(),
            );
            ("weir.outcome", severity, body, list)
        }
        // The agent's start is told, and that these are over follows from it.
        What::Unanswered(_) | What::Abandoned(..) => return None,
        What::Event { event, .. } => {
            let severity = match **event {
                Event::Incident { .. } => ERROR,
                Event::Gap { .. } | Event::Ungoverned { .. } | Event::ConnectionRefused { .. } => {
                    WARN
                }
                _ => INFO,
            };
            let body = plain(event);
            let kind = body["event"].clone();
            (
                "weir.event",
                severity,
                body.to_string(),
                vec![("weir.event", kind)],
            )
        }
        What::Missing { until_seq } => (
            "weir.event",
            ERROR,
            format!(
                "records {} to {until_seq} of the journal cannot be read",
                item.seq
            ),
            Vec::new(),
        ),
    };
    list.push(("weir.seq", json!(item.seq)));
    let mut record = json!({
        "timeUnixNano": item.time_ns.to_string(),
        "observedTimeUnixNano": item.time_ns.to_string(),
        "severityNumber": severity.0,
        "severityText": severity.1,
        "eventName": name,
        "body": { "stringValue": body },
        "attributes": attributes(list),
    });
    // The span of the same thing, for who has both.
    let span = match &item.what {
        What::Opened(opened) => Some(Ids::session(&host.journal, opened.session)),
        What::Asked(asked) => Some(Ids::statement(&host.journal, asked.seq)),
        What::Answered { outcome, .. } => Some(Ids::statement(&host.journal, outcome.request)),
        _ => None,
    };
    if let Some(ids) = span {
        record["traceId"] = json!(ids.trace);
        record["spanId"] = json!(ids.span);
    }
    Some(record)
}
