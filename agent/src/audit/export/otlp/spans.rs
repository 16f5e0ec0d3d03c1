//! Records as spans: an `ExportTraceServiceRequest`.
//!
//! Each statement is a trace of its own and links to its session's. A pool's connection lives for days and carries thousands of
//! statements that have nothing to do with each other: as one trace they would exceed what backends keep of a trace, and a
//! collector that samples by what happened could not keep the failed ones alone. Where the statement's text names the trace of
//! the client's own (`traceparent` in an sqlcommenter comment), it is linked to as well; it is a claim, so it is no parent.

use serde_json::{Value, json};

use super::{Host, List, attributes, ids::Ids, resource, result, scope, session, statement};
use crate::audit::{
    export::tape::{Asked, Item, Since, What},
    record::{Ending, Event, Outcome, SessionOpened, Settled, Via},
};

const INTERNAL: u64 = 1;
const CLIENT: u64 = 3;
const ERROR: u64 = 2;

/// A batch as one document; `None` when nothing in it ends.
pub(in crate::audit::export) fn document(host: &Host, items: &[Item]) -> Option<Value> {
    let spans: Vec<_> = items.iter().filter_map(|item| span(host, item)).collect();
    (!spans.is_empty()).then(|| {
        json!({
            "resourceSpans": [{
                "resource": resource(host),
                "scopeSpans": [{ "scope": scope(), "spans": spans }],
            }]
        })
    })
}

/// What a record ends, from its beginning.
fn span(host: &Host, item: &Item) -> Option<Value> {
    match &item.what {
        What::Answered {
            outcome,
            asked: Some(asked),
        } => answered(host, item, outcome, asked),
        What::Answered {
            outcome,
            asked: None,
        } => Some(orphan(host, item, outcome)),
        What::Unanswered(asked) => unanswered(host, item, asked),
        What::Abandoned(session, since) => {
            let reason = ("weir.session.reason", json!("the agent ended"));
            let list = vec![reason, ("weir.seq", json!(item.seq))];
            let mut span = over(host, item, *session, list, since);
            fail(&mut span, "the agent ended first");
            Some(span)
        }
        What::Event { event, since } => match (&**event, since) {
            (Event::SessionClosed { session, .. }, Some(since)) => {
                let mut list = totals(event);
                list.push(("weir.seq", json!(item.seq)));
                Some(over(host, item, *session, list, since))
            }
            (
                Event::ApprovalEnded {
                    approval,
                    how,
                    request,
                    ..
                },
                Some(since),
            ) => {
                let ids = Ids::approval(&host.journal, *approval);
                Some(waited(host, item, &ids, *how, *request, since))
            }
            _ => None,
        },
        What::Opened(_) | What::Asked(_) | What::Missing { .. } => None,
    }
}

/// A statement that ran, or was refused. A `Parse` runs nothing: it is told when it fails.
fn answered(host: &Host, item: &Item, outcome: &Outcome, asked: &Asked) -> Option<Value> {
    let failed = matches!(outcome.ending, Ending::Failed | Ending::Denied);
    if asked.request.via == Via::Parse && !failed {
        return None;
    }
    let mut list = statement(asked);
    list.extend(result(outcome));
    let status = match outcome.ending {
        Ending::Completed | Ending::Suspended => None,
        // What the server said stays with the client: only its code is recorded.
        Ending::Failed => Some(String::new()),
        Ending::Denied => Some(refusal(asked)),
        Ending::Skipped => Some("skipped after an earlier error".to_owned()),
        Ending::Disconnected => Some("the connection ended first".to_owned()),
    };
    let end_ns = asked.time_ns.saturating_add(outcome.duration_ns);
    Some(request(host, item, asked, end_ns, list, status))
}

fn refusal(asked: &Asked) -> String {
    match &asked.statement.decision.effect {
        weir_policy::Effect::Deny { reason } => format!("refused by weir: {reason}"),
        // A limit or a budget, while it ran.
        weir_policy::Effect::Allow => "refused by weir".to_owned(),
    }
}

/// A statement that an agent had under way when it ended.
fn unanswered(host: &Host, item: &Item, asked: &Asked) -> Option<Value> {
    if asked.request.via == Via::Parse {
        return None;
    }
    let mut list = statement(asked);
    list.extend([
        ("weir.request", json!(asked.seq)),
        ("weir.ending", json!("unknown")),
        ("error.type", json!("agent_ended")),
    ]);
    let status = "the agent ended first: what came of it was not recorded".to_owned();
    Some(request(host, item, asked, item.time_ns, list, Some(status)))
}

/// The span of a request; without a status it went well, and a status may go without words.
fn request(
    host: &Host,
    item: &Item,
    asked: &Asked,
    end_ns: u64,
    mut list: List,
    status: Option<String>,
) -> Value {
    list.push(("weir.seq", json!(item.seq)));
    let facts = &asked.statement.facts;
    let name = super::operation::summary(facts).unwrap_or_else(|| "statement".to_owned());
    let ids = Ids::statement(&host.journal, asked.seq);
    let mut links = vec![link(&Ids::session(&host.journal, asked.request.session))];
    let claimed = facts.claimed.iter().find(|(key, _)| key == "traceparent");
    links.extend(
        claimed
            .and_then(|(_, value)| Ids::claimed(value))
            .map(|ids| link(&ids)),
    );
    let mut span = of(&ids, &name, CLIENT, (asked.time_ns, end_ns), list);
    span["links"] = json!(links);
    if let Some(message) = status {
        fail(&mut span, &message);
    }
    span
}

/// An outcome whose request was removed from the journal before this was sent.
fn orphan(host: &Host, item: &Item, outcome: &Outcome) -> Value {
    let mut list = result(outcome);
    list.push(("weir.seq", json!(item.seq)));
    let ids = Ids::statement(&host.journal, outcome.request);
    let from_ns = item.time_ns.saturating_sub(outcome.duration_ns);
    let mut span = of(&ids, "statement", CLIENT, (from_ns, item.time_ns), list);
    if !matches!(outcome.ending, Ending::Completed | Ending::Suspended) {
        fail(&mut span, "");
    }
    span
}

/// What a session's end says of its life.
fn totals(event: &Event) -> List {
    let Event::SessionClosed {
        reason,
        requests,
        client_bytes,
        server_bytes,
        ..
    } = event
    else {
        return List::new();
    };
    vec![
        ("weir.session.reason", json!(reason)),
        ("weir.session.requests", json!(requests)),
        ("weir.session.client_bytes", json!(client_bytes)),
        ("weir.session.server_bytes", json!(server_bytes)),
    ]
}

/// A session.
fn over(host: &Host, item: &Item, id: u64, more: List, since: &Since) -> Value {
    let mut list = of_session(since.session.as_deref(), id);
    list.extend(more);
    let ids = Ids::session(&host.journal, id);
    let time = (since.time_ns, item.time_ns);
    of(&ids, "session", INTERNAL, time, list)
}

/// A wait for an approval. It is over before the statement goes on, so it is a trace that links there.
fn waited(
    host: &Host,
    item: &Item,
    ids: &Ids,
    how: Settled,
    ran: Option<u64>,
    since: &Since,
) -> Value {
    let mut list = List::new();
    let mut links = Vec::new();
    if let Some(Event::ApprovalRequested {
        approval,
        session,
        rules,
        approvers,
        quorum,
        text,
        ..
    }) = since.event.as_deref()
    {
        list = of_session(since.session.as_deref(), *session);
        list.extend([
            ("db.query.text", json!(text)),
            ("weir.approval", json!(approval)),
            ("weir.rules", json!(rules)),
            ("weir.approval.groups", json!(approvers)),
            ("weir.approval.quorum", json!(quorum)),
        ]);
        links.push(link(&Ids::session(&host.journal, *session)));
    }
    list.push(("weir.approval.ending", json!(how)));
    list.push(("weir.seq", json!(item.seq)));
    if let Some(request) = ran {
        list.push(("weir.request", json!(request)));
        links.push(link(&Ids::statement(&host.journal, request)));
    }
    let time = (since.time_ns, item.time_ns);
    let mut span = of(ids, "approval", INTERNAL, time, list);
    span["links"] = json!(links);
    if how != Settled::Ran {
        fail(&mut span, "the statement did not go on");
    }
    span
}

fn of_session(opened: Option<&SessionOpened>, id: u64) -> List {
    opened.map_or_else(|| vec![("weir.session", json!(id))], session)
}

fn of(ids: &Ids, name: &str, kind: u64, (from_ns, until_ns): (u64, u64), list: List) -> Value {
    json!({
        "traceId": ids.trace,
        "spanId": ids.span,
        "name": name,
        "kind": kind,
        "startTimeUnixNano": from_ns.to_string(),
        // Clocks may be set back.
        "endTimeUnixNano": until_ns.max(from_ns).to_string(),
        "attributes": attributes(list),
        "status": {},
    })
}

fn link(ids: &Ids) -> Value {
    json!({ "traceId": ids.trace, "spanId": ids.span })
}

fn fail(span: &mut Value, message: &str) {
    let mut status = json!({ "code": ERROR });
    if !message.is_empty() {
        status["message"] = json!(message);
    }
    span["status"] = status;
}
