//! OCSF 1.9: statements and log-ins as Datastore Activity (6005), the rest as Base Events.
//!
//! 1.9 is the first that has the AI agent's object and the profile of record integrity.
//! <https://schema.ocsf.io/1.9.0/classes/datastore_activity>

mod objects;

use serde_json::{Map, Value, json};
use weir_policy::{Decision, Effect};
use weir_sql::{Facts, Kind};

use self::objects::{actor, ai_agent, context, database, fields};
use super::{
    Host,
    integrity::{Link, attest},
    operation,
    tape::{Asked, Item, What},
};
use crate::audit::record::{Ending, Event, Outcome, SessionOpened};

const VERSION: &str = "1.9.0";
const CLASS: u64 = 6005;
const INFORMATIONAL: (u64, &str) = (1, "Informational");
const MEDIUM: (u64, &str) = (3, "Medium");
const HIGH: (u64, &str) = (4, "High");

const ALLOWED: Control = Control {
    action: (1, "Allowed"),
    disposition: (1, "Allowed"),
};
/// Somebody who may has agreed.
const APPROVED: Control = Control {
    disposition: (8, "Approved"),
    ..ALLOWED
};
/// It goes on when somebody agrees.
const DELAYED: Control = Control {
    disposition: (14, "Delayed"),
    ..ALLOWED
};
/// It would have been refused; the rules are only watched so far.
const DETECTED: Control = Control {
    disposition: (15, "Detected"),
    ..ALLOWED
};
const BLOCKED: Control = Control {
    action: (2, "Denied"),
    disposition: (2, "Blocked"),
};

/// What the rules did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Control {
    action: (u64, &'static str),
    disposition: (u64, &'static str),
}

/// A record as an event, chained to the one before it; `None` where the record says nothing new.
pub(super) fn event(
    host: &Host,
    chain: &str,
    item: &Item,
    previous: Option<&Link>,
) -> Option<(Value, Link)> {
    let mut event = unattested(host, item)?;
    event["metadata"]["profiles"] = json!(profiles(&event));
    Some(attest(event, chain, previous))
}

fn unattested(host: &Host, item: &Item) -> Option<Value> {
    Some(match &item.what {
        What::Opened(opened) => connected(host, item, opened),
        What::Asked(asked) => asked_event(host, item, asked),
        What::Answered { outcome, asked } => answered(host, item, outcome, asked.as_deref()),
        // The agent's start is told, and that these are over follows from it.
        What::Unanswered(_) | What::Abandoned(..) => return None,
        What::Event { event, .. } => base(host, item, event),
        What::Missing { until_seq } => base_event(
            host,
            item,
            HIGH,
            "incident",
            &format!(
                "records {} to {until_seq} of the journal cannot be read",
                item.seq
            ),
            &json!({}),
        ),
    })
}

/// The profiles whose attributes an event has.
fn profiles(event: &Value) -> Vec<&'static str> {
    [
        ("security_control", event.get("action_id").is_some()),
        (
            "data_classification",
            event.pointer("/database/data_classifications").is_some(),
        ),
        ("ai_operation", event.get("ai_agent").is_some()),
        ("record_integrity", true),
    ]
    .into_iter()
    .filter_map(|(profile, has)| has.then_some(profile))
    .collect()
}

fn connected(host: &Host, item: &Item, opened: &SessionOpened) -> Value {
    let mut event = activity(host, item, opened, (3, "Connect"), INFORMATIONAL);
    event.extend(controlled(ALLOWED));
    event.extend(fields(json!({
        "status_id": 1,
        "status": "Success",
        "unmapped": context(opened),
    })));
    Value::Object(event)
}

fn asked_event(host: &Host, item: &Item, asked: &Asked) -> Value {
    let decision = &asked.statement.decision;
    let severity = if decision.permits() {
        INFORMATIONAL
    } else {
        MEDIUM
    };
    let facts = &asked.statement.facts;
    let mut event = activity(host, item, &asked.session, what(facts), severity);
    event.extend(judged(asked));
    event.extend(controlled(match control(asked) {
        // Whether anybody agreed shows in what came of it.
        APPROVED => DELAYED,
        control => control,
    }));
    // What came of it is an event of its own, which names this one.
    event.extend(fields(json!({ "status_id": 99, "status": "Decided" })));
    Value::Object(event)
}

fn answered(host: &Host, item: &Item, outcome: &Outcome, asked: Option<&Asked>) -> Value {
    let Some(asked) = asked else {
        // Its request lies further back than is remembered.
        return base_event(
            host,
            item,
            INFORMATIONAL,
            "outcome",
            &format!("outcome of record {}", outcome.request),
            &counts(outcome),
        );
    };
    let denied = outcome.ending == Ending::Denied;
    let severity = if denied { MEDIUM } else { INFORMATIONAL };
    let facts = &asked.statement.facts;
    let mut event = activity(host, item, &asked.session, what(facts), severity);
    event.extend(judged(asked));
    // A limit may end what was allowed.
    event.extend(controlled(if denied { BLOCKED } else { control(asked) }));
    let (status_id, status) = match outcome.ending {
        Ending::Completed | Ending::Suspended => (1, "Success"),
        Ending::Failed | Ending::Denied => (2, "Failure"),
        Ending::Skipped | Ending::Disconnected => (99, "Other"),
    };
    event.extend(fields(json!({ "status_id": status_id, "status": status })));
    if let Some(code) = sqlstate(outcome) {
        event.insert("status_code".to_owned(), json!(code));
    }
    let end_ns = asked.time_ns.saturating_add(outcome.duration_ns);
    event.extend(fields(json!({
        "start_time": asked.time_ns / 1_000_000,
        "end_time": end_ns / 1_000_000,
        "duration": outcome.duration_ns / 1_000_000,
    })));
    if let Some(query) = event.get_mut("query_info").and_then(Value::as_object_mut) {
        query.insert("bytes".to_owned(), json!(outcome.bytes));
    }
    if let Some(unmapped) = event.get_mut("unmapped").and_then(Value::as_object_mut) {
        unmapped.extend(fields(counts(outcome)));
    }
    Value::Object(event)
}

/// What every Datastore Activity has.
fn activity(
    host: &Host,
    item: &Item,
    opened: &SessionOpened,
    (activity_id, name): (u64, &str),
    severity: (u64, &str),
) -> Map<String, Value> {
    let target = &opened.target;
    let destination = opened.origin.destination;
    let caption = if activity_id == OTHER { "Other" } else { name };
    let mut event = common(host, item, severity);
    event.extend(fields(json!({
        "category_uid": 6,
        "category_name": "Application Activity",
        "class_uid": CLASS,
        "class_name": "Datastore Activity",
        "activity_id": activity_id,
        "activity_name": name,
        "type_uid": CLASS * 100 + activity_id,
        "type_name": format!("Datastore Activity: {caption}"),
        "actor": actor(opened),
        "src_endpoint": { "hostname": host.name },
        "dst_endpoint": {
            "ip": destination.ip().to_string(),
            "port": destination.port(),
            "svc_name": target.engine,
        },
        "type_id": 1,
        "type": "Database",
        "database": database(target, &[]),
    })));
    if let Some(agent) = ai_agent(opened) {
        event.insert("ai_agent".to_owned(), agent);
    }
    event
}

/// What the rules did with a request before anything came of it.
fn control(asked: &Asked) -> Control {
    let decision = &asked.statement.decision;
    if !decision.permits() {
        BLOCKED
    } else if !decision.obligations.approvals.is_empty() {
        APPROVED
    } else if !decision.would.is_empty() {
        DETECTED
    } else {
        ALLOWED
    }
}

fn controlled(control: Control) -> Map<String, Value> {
    fields(json!({
        "action_id": control.action.0,
        "action": control.action.1,
        "disposition_id": control.disposition.0,
        "disposition": control.disposition.1,
        "is_alert": matches!(control, BLOCKED | DETECTED),
    }))
}

/// What was decided of a statement.
fn judged(asked: &Asked) -> Map<String, Value> {
    let facts = &asked.statement.facts;
    let decision = &asked.statement.decision;
    let mut event = fields(json!({
        "query_info": {
            "query_string": facts.normalised,
            "uid": format!("{:016x}", facts.fingerprint),
        },
        "policy": { "uid": asked.statement.policy, "name": rules(decision), "is_applied": true },
    }));
    if let Some(first) = facts.relations.first() {
        event.insert(
            "table".to_owned(),
            json!({ "name": asked.statement.name_of(&first.relation) }),
        );
    }
    let classes = &asked.statement.classes;
    event.insert(
        "database".to_owned(),
        database(&asked.session.target, classes),
    );
    if let Effect::Deny { reason } = &decision.effect {
        event.insert("status_detail".to_owned(), json!(reason));
    }
    let masked: Vec<_> = decision
        .obligations
        .shown_masks(facts)
        .map(|masked| json!({ "column": masked.column.to_string(), "mask": masked.mask.to_string() }))
        .collect();
    let relations: Vec<_> = facts
        .relations
        .iter()
        .map(|used| json!({ "name": asked.statement.name_of(&used.relation), "use": used.usage }))
        .collect();
    let mut unmapped = context(&asked.session);
    if let Some(unmapped) = unmapped.as_object_mut() {
        unmapped.extend(fields(json!({
            "request": asked.seq,
            "via": asked.request.via,
            "kinds": facts.kinds,
            "relations": relations,
            "masked": masked,
            "classes": classes,
            "rules": decision.rules,
            "would": decision.would,
            "tags": decision.tags,
            "parameters_hash": format!("{:016x}", asked.request.parameters_hash),
        })));
    }
    event.insert("unmapped".to_owned(), unmapped);
    event
}

fn counts(outcome: &Outcome) -> Value {
    json!({
        "ending": outcome.ending,
        "rows": outcome.rows,
        "bytes": outcome.bytes,
        "duration_ns": outcome.duration_ns,
        "request": outcome.request,
    })
}

/// An activity that the class has no name for.
const OTHER: u64 = 99;

/// The activity that says most of a statement.
fn what(facts: &Facts) -> (u64, &'static str) {
    match operation::kind(facts) {
        Some(Kind::Select | Kind::VectorSearch | Kind::CopyOut | Kind::Explain) => (4, "Query"),
        Some(Kind::Update | Kind::Merge) => (2, "Update"),
        Some(Kind::Insert | Kind::CopyIn | Kind::EmbeddingWrite) => (5, "Write"),
        Some(Kind::Create) => (6, "Create"),
        Some(Kind::Delete | Kind::Truncate | Kind::Drop) => (7, "Delete"),
        other => (OTHER, other.map_or("UNKNOWN", operation::command)),
    }
}

/// The five characters, where the server gave some.
pub(super) fn sqlstate(outcome: &Outcome) -> Option<String> {
    let code = String::from_utf8_lossy(&outcome.sqlstate);
    let code = code.trim_matches('\0');
    (!code.is_empty()).then(|| code.to_owned())
}

fn rules(decision: &Decision) -> Option<String> {
    let rules: Vec<_> = decision.rules.iter().map(|rule| rule.0.as_str()).collect();
    (!rules.is_empty()).then(|| rules.join(", "))
}

/// Something that is no datastore activity.
fn base(host: &Host, item: &Item, event: &Event) -> Value {
    let body = super::plain(event);
    let name = body["event"].as_str().unwrap_or_default().to_owned();
    let severity = match event {
        Event::Incident { .. } => HIGH,
        Event::Gap { .. } | Event::Ungoverned { .. } | Event::ConnectionRefused { .. } => MEDIUM,
        _ => INFORMATIONAL,
    };
    base_event(host, item, severity, &name, &name.replace('_', " "), &body)
}

fn base_event(
    host: &Host,
    item: &Item,
    severity: (u64, &str),
    name: &str,
    message: &str,
    body: &Value,
) -> Value {
    let mut event = common(host, item, severity);
    event.extend(fields(json!({
        "category_uid": 0,
        "category_name": "Uncategorized",
        "class_uid": 0,
        "class_name": "Base Event",
        "activity_id": 99,
        "activity_name": name,
        "type_uid": 99,
        "type_name": "Base Event: Other",
        "message": message,
        "unmapped": body,
    })));
    Value::Object(event)
}

/// What every event has.
fn common(host: &Host, item: &Item, (severity_id, severity): (u64, &str)) -> Map<String, Value> {
    let request = match &item.what {
        What::Answered { outcome, .. } => outcome.request,
        _ => item.seq,
    };
    fields(json!({
        "time": item.time_ns / 1_000_000,
        "severity_id": severity_id,
        "severity": severity,
        "metadata": {
            "version": VERSION,
            "product": { "name": "weir", "vendor_name": "weir", "version": env!("CARGO_PKG_VERSION") },
            "log_name": "weir journal",
            "log_provider": host.name,
            "logged_time": item.time_ns / 1_000_000,
            "sequence": item.seq,
            "uid": format!("{}/{}", host.journal, item.seq),
            "correlation_uid": format!("{}/{request}", host.journal),
        },
    }))
}
