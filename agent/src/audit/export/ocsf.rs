//! OCSF 1.8: statements and log-ins as Datastore Activity (6005), the rest as Base Events.
//! <https://schema.ocsf.io/1.8.0/classes/datastore_activity>

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use weir_policy::{Classed, Decision, Effect, Identity, PrincipalKind, Target};
use weir_sql::Kind;

use super::{
    Host,
    tape::{Asked, Item, What},
};
use crate::audit::record::{Ending, Event, Outcome, SessionOpened};

const VERSION: &str = "1.8.0";
const CLASS: u64 = 6005;
const INFORMATIONAL: (u64, &str) = (1, "Informational");
const MEDIUM: (u64, &str) = (3, "Medium");
const HIGH: (u64, &str) = (4, "High");

/// A record as an event.
pub(super) fn event(host: &Host, item: &Item) -> Value {
    match &item.what {
        What::Opened(opened) => connected(host, item, opened),
        What::Asked(asked) => asked_event(host, item, asked),
        What::Answered { outcome, asked } => answered(host, item, outcome, asked.as_deref()),
        What::Event(event) => base(host, item, event),
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
    }
}

fn connected(host: &Host, item: &Item, opened: &SessionOpened) -> Value {
    let mut event = activity(host, item, opened, (3, "Connect"), INFORMATIONAL);
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
    let mut event = activity(host, item, &asked.session, kind(asked), severity);
    event.extend(judged(asked));
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
    let severity = if outcome.ending == Ending::Denied {
        MEDIUM
    } else {
        INFORMATIONAL
    };
    let mut event = activity(host, item, &asked.session, kind(asked), severity);
    event.extend(judged(asked));
    let (status_id, status) = match outcome.ending {
        Ending::Completed | Ending::Suspended => (1, "Success"),
        Ending::Failed | Ending::Denied => (2, "Failure"),
        Ending::Skipped | Ending::Disconnected => (99, "Other"),
    };
    event.extend(fields(json!({ "status_id": status_id, "status": status })));
    if let Some(code) = sqlstate(outcome) {
        event.insert("status_code".to_owned(), json!(code));
    }
    event.insert(
        "duration".to_owned(),
        json!(outcome.duration_ns / 1_000_000),
    );
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
    (activity_id, activity): (u64, &str),
    severity: (u64, &str),
) -> Map<String, Value> {
    let target = &opened.target;
    let destination = opened.origin.destination;
    let mut event = common(host, item, severity);
    event.extend(fields(json!({
        "category_uid": 6,
        "category_name": "Application Activity",
        "class_uid": CLASS,
        "class_name": "Datastore Activity",
        "activity_id": activity_id,
        "activity_name": activity,
        "type_uid": CLASS * 100 + activity_id,
        "type_name": format!("Datastore Activity: {activity}"),
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
    event
}

/// What was decided of a statement.
fn judged(asked: &Asked) -> Map<String, Value> {
    let facts = &asked.statement.facts;
    let decision = &asked.statement.decision;
    let permitted = decision.permits();
    let mut event = fields(json!({
        "query_info": {
            "query_string": facts.normalised,
            "uid": format!("{:016x}", facts.fingerprint),
        },
        "action_id": if permitted { 1 } else { 2 },
        "action": if permitted { "Allowed" } else { "Denied" },
        "disposition_id": if permitted { 1 } else { 2 },
        "disposition": if permitted { "Allowed" } else { "Blocked" },
        "policy": { "uid": asked.statement.policy, "name": rules(decision), "is_applied": true },
    }));
    if let Some(first) = facts.relations.first() {
        event.insert(
            "table".to_owned(),
            json!({ "name": first.relation.to_string() }),
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
        .map(|used| json!({ "name": used.relation.to_string(), "use": used.usage }))
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

/// The database, with the classes of what a statement uses of it; the categories are the policy's own.
fn database(target: &Target, data: &[Classed]) -> Value {
    let mut database = json!({ "name": target.database, "type_id": 1, "type": "Relational" });
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for class in data.iter().flat_map(|one| &one.classes) {
        *counts.entry(class).or_default() += 1;
    }
    if !counts.is_empty() {
        let classes: Vec<_> = counts
            .into_iter()
            .map(|(class, count)| {
                let details = [json!({ "type": class, "count": count })];
                json!({ "category_id": 99, "category": class, "discovery_details": details })
            })
            .collect();
        database["data_classifications"] = json!(classes);
    }
    database
}

/// Where and through whom; the agent as OCSF's `ai_agent` object.
fn context(opened: &SessionOpened) -> Value {
    let target = &opened.target;
    let identity = opened.identity.as_ref();
    let mut context = json!({
        "endpoint": target.endpoint,
        "environment": target.environment,
        "database_user": target.database_user,
        "session": opened.session,
        "proof": identity.map(|identity| json!({ "method": identity.method, "strength": identity.strength })),
        "purpose": identity.and_then(|identity| identity.purpose.as_deref()),
    });
    let agent = identity
        .filter(|identity| identity.acting_kind() == PrincipalKind::Agent)
        .and_then(|identity| identity.actors.first());
    if let Some(agent) = agent {
        context["ai_agent"] = json!({
            "uid": format!("{}#{}", agent.issuer, agent.subject),
            "name": agent.subject,
            "instance_uid": agent.run_id,
            "type_id": 0,
        });
    }
    context
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

fn actor(opened: &SessionOpened) -> Value {
    let evidence = &opened.evidence;
    let name = evidence.exe_path.rsplit('/').next().unwrap_or_default();
    json!({
        "user": user(opened.identity.as_ref(), evidence.uid),
        "session": {
            "uid": opened.session.to_string(),
            "issuer": opened.identity.as_ref().map(|identity| &identity.principal.issuer),
        },
        "process": {
            "pid": evidence.tgid,
            "name": evidence.comm,
            "file": { "name": name, "path": evidence.exe_path, "type_id": 1, "type": "Regular File" },
            "user": { "uid": evidence.uid.to_string(), "type_id": 0 },
        },
        "app_name": opened.application_name,
    })
}

fn user(identity: Option<&Identity>, uid: u32) -> Value {
    let Some(identity) = identity else {
        return json!({ "name": "unidentified", "uid": format!("os:{uid}"), "type_id": 0, "type": "Unknown" });
    };
    let principal = &identity.principal;
    let (type_id, kind) = match principal.kind {
        PrincipalKind::Human => (1, "User"),
        PrincipalKind::Workload | PrincipalKind::Agent => (4, "Service"),
    };
    let groups: Vec<_> = principal
        .groups
        .iter()
        .map(|group| json!({ "name": group }))
        .collect();
    json!({
        "name": principal.subject,
        "uid": format!("{}#{}", principal.issuer, principal.subject),
        "full_name": principal.display,
        "type_id": type_id,
        "type": kind,
        "groups": groups,
    })
}

fn kind(asked: &Asked) -> (u64, &'static str) {
    match asked.statement.facts.kinds.first() {
        Some(Kind::Select | Kind::VectorSearch | Kind::CopyOut | Kind::Explain) => (4, "Query"),
        Some(Kind::Update | Kind::Merge) => (2, "Update"),
        Some(Kind::Insert | Kind::CopyIn | Kind::EmbeddingWrite) => (5, "Write"),
        Some(Kind::Create) => (6, "Create"),
        Some(Kind::Delete | Kind::Truncate | Kind::Drop) => (7, "Delete"),
        _ => (99, "Other"),
    }
}

/// The five characters, where the server gave some.
pub(super) fn sqlstate(outcome: &Outcome) -> Option<String> {
    let code = String::from_utf8_lossy(&outcome.sqlstate);
    let code = code.trim_matches('\0');
    (!code.is_empty()).then(|| code.to_owned())
}

fn rules(decision: &Decision) -> String {
    let rules: Vec<_> = decision.rules.iter().map(|rule| rule.0.as_str()).collect();
    rules.join(", ")
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
            "profiles": ["security_control", "data_classification"],
            "log_name": "weir journal",
            "sequence": item.seq,
            "uid": format!("{}/{}", host.name, item.seq),
            "correlation_uid": format!("{}/{request}", host.name),
        },
    }))
}

fn fields(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}
