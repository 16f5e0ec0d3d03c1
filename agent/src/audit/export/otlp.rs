//! OpenTelemetry logs as JSON, with the stable names of the database conventions.
//! <https://opentelemetry.io/docs/specs/otlp/#otlphttp>

use serde_json::{Value, json};

use super::{
    Host,
    ocsf::sqlstate,
    tape::{Asked, Item, What},
};
use crate::audit::record::{Ending, Event, SessionOpened};

const INFO: (u64, &str) = (9, "INFO");
const WARN: (u64, &str) = (13, "WARN");
const ERROR: (u64, &str) = (17, "ERROR");

/// A batch as one `ExportLogsServiceRequest`.
pub(super) fn document(host: &Host, items: &[Item]) -> Value {
    let records: Vec<_> = items.iter().map(record).collect();
    json!({
        "resourceLogs": [{
            "resource": { "attributes": attributes(vec![
                ("service.name", json!("weir")),
                ("service.version", json!(env!("CARGO_PKG_VERSION"))),
                ("host.name", json!(host.name)),
            ]) },
            "scopeLogs": [{ "scope": { "name": "weir.journal" }, "logRecords": records }],
        }]
    })
}

fn record(item: &Item) -> Value {
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
            list.extend([
                ("weir.request", json!(outcome.request)),
                ("weir.ending", json!(outcome.ending)),
                ("db.response.returned_rows", json!(outcome.rows)),
                ("weir.response.bytes", json!(outcome.bytes)),
                ("weir.duration_ns", json!(outcome.duration_ns)),
            ]);
            list.extend(sqlstate(outcome).map(|code| ("db.response.status_code", json!(code))));
            let body = asked.as_deref().map_or_else(
                || format!("outcome of record {}", outcome.request),
                |asked| asked.statement.facts.normalised.clone(),
            );
            ("weir.outcome", severity, body, list)
        }
        What::Event(event) => {
            let severity = match **event {
                Event::Incident { .. } => ERROR,
                Event::Gap { .. } | Event::Ungoverned { .. } | Event::ConnectionRefused { .. } => {
                    WARN
                }
                _ => INFO,
            };
            let body = super::plain(event);
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
    json!({
        "timeUnixNano": item.time_ns.to_string(),
        "observedTimeUnixNano": item.time_ns.to_string(),
        "severityNumber": severity.0,
        "severityText": severity.1,
        "eventName": name,
        "body": { "stringValue": body },
        "attributes": attributes(list),
    })
}

type List = Vec<(&'static str, Value)>;

fn session(opened: &SessionOpened) -> List {
    let target = &opened.target;
    let evidence = &opened.evidence;
    let mut list = vec![
        (
            "db.system.name",
            json!(if target.engine == "postgres" {
                "postgresql"
            } else {
                &target.engine
            }),
        ),
        ("db.namespace", json!(target.database)),
        (
            "server.address",
            json!(opened.origin.destination.ip().to_string()),
        ),
        ("server.port", json!(opened.origin.destination.port())),
        ("process.pid", json!(evidence.tgid)),
        ("process.executable.path", json!(evidence.exe_path)),
        ("user.name", json!(who(opened))),
        ("weir.session", json!(opened.session)),
        ("weir.endpoint", json!(target.endpoint)),
        ("deployment.environment.name", json!(target.environment)),
        ("weir.database_user", json!(target.database_user)),
    ];
    if let Some(identity) = &opened.identity {
        let principal = &identity.principal;
        list.push((
            "user.id",
            json!(format!("{}#{}", principal.issuer, principal.subject)),
        ));
        list.push(("user.roles", json!(principal.groups)));
        let actors: Vec<_> = identity.actors.iter().map(|actor| &actor.subject).collect();
        if !actors.is_empty() {
            list.push(("weir.actors", json!(actors)));
        }
    }
    list
}

fn statement(asked: &Asked) -> List {
    let facts = &asked.statement.facts;
    let decision = &asked.statement.decision;
    let mut list = session(&asked.session);
    list.extend([
        ("db.query.text", json!(facts.normalised)),
        (
            "weir.fingerprint",
            json!(format!("{:016x}", facts.fingerprint)),
        ),
        (
            "weir.effect",
            json!(if decision.permits() { "allow" } else { "deny" }),
        ),
        ("weir.rules", json!(decision.rules)),
        ("weir.policy", json!(asked.statement.policy)),
    ]);
    if let Some(kind) = facts.kinds.first() {
        list.push(("db.operation.name", json!(kind)));
    }
    if let [only] = &facts.relations[..] {
        list.push(("db.collection.name", json!(only.relation.to_string())));
    }
    list
}

fn who(opened: &SessionOpened) -> &str {
    opened.identity.as_ref().map_or("unidentified", |identity| {
        identity.principal.subject.as_str()
    })
}

fn attributes(list: List) -> Vec<Value> {
    list.into_iter()
        .map(|(key, value)| json!({ "key": key, "value": any(&value) }))
        .collect()
}

/// 64-bit integers are text in OTLP's JSON.
fn any(value: &Value) -> Value {
    match value {
        Value::String(text) => json!({ "stringValue": text }),
        Value::Bool(flag) => json!({ "boolValue": flag }),
        Value::Number(number) => json!({ "intValue": number.to_string() }),
        Value::Array(values) => {
            json!({ "arrayValue": { "values": values.iter().map(any).collect::<Vec<_>>() } })
        }
        other => json!({ "stringValue": other.to_string() }),
    }
}
