//! OpenTelemetry as JSON: log records and spans, with the stable names of the database conventions.
//!
//! `db.namespace` is the database that the connection was opened with: the schemas that it searches are not known at each
//! statement. `error.type` is the server's SQLSTATE, or weir's where weir refused.
//! <https://opentelemetry.io/docs/specs/otlp/#otlphttp>
//! <https://opentelemetry.io/docs/specs/semconv/db/postgresql/>

mod ids;
pub(super) mod logs;
pub(super) mod spans;

use serde_json::{Value, json};

use super::{Host, ocsf::sqlstate, operation, tape::Asked};
use crate::audit::record::{Ending, Outcome, SessionOpened};

type List = Vec<(&'static str, Value)>;

/// Who sends: one service on each host.
fn resource(host: &Host) -> Value {
    json!({ "attributes": attributes(vec![
        ("service.name", json!("weir")),
        ("service.version", json!(env!("CARGO_PKG_VERSION"))),
        ("service.instance.id", json!(host.journal)),
        ("host.name", json!(host.name)),
    ]) })
}

fn scope() -> Value {
    json!({ "name": "weir.journal", "version": env!("CARGO_PKG_VERSION") })
}

fn session(opened: &SessionOpened) -> List {
    let target = &opened.target;
    let evidence = &opened.evidence;
    let destination = opened.origin.destination;
    let address = destination.ip().to_string();
    let system = match target.engine.as_str() {
        "postgres" => "postgresql",
        other => other,
    };
    let mut list = vec![
        ("db.system.name", json!(system)),
        ("db.namespace", json!(target.database)),
        ("server.address", json!(address)),
        ("server.port", json!(destination.port())),
        ("network.peer.address", json!(address)),
        ("network.peer.port", json!(destination.port())),
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
        let run = identity
            .actors
            .last()
            .and_then(|actor| actor.run_id.as_ref());
        list.extend(run.map(|run| ("weir.run", json!(run))));
    }
    list
}

/// A statement and what was decided about it. Command and relation are those of the server's own grammar, so they are given
/// although the conventions warn of reading them from the text.
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
    list.extend(operation::summary(facts).map(|summary| ("db.query.summary", json!(summary))));
    list.extend(operation::name(facts).map(|name| ("db.operation.name", json!(name))));
    if let Some(only) = operation::only_relation(facts) {
        list.push(("db.collection.name", json!(asked.statement.name_of(only))));
    }
    if facts.statement_count > 1 {
        list.push(("db.operation.batch.size", json!(facts.statement_count)));
    }
    if !decision.would.is_empty() {
        list.push(("weir.would", json!(decision.would)));
    }
    list
}

/// What came of a request.
fn result(outcome: &Outcome) -> List {
    let mut list = vec![
        ("weir.request", json!(outcome.request)),
        ("weir.ending", json!(outcome.ending)),
        ("db.response.returned_rows", json!(outcome.rows)),
        ("weir.response.bytes", json!(outcome.bytes)),
        ("weir.duration_ns", json!(outcome.duration_ns)),
    ];
    let failed = matches!(outcome.ending, Ending::Failed | Ending::Denied);
    let state = sqlstate(outcome).filter(|_| failed);
    list.extend(
        state
            .iter()
            .map(|state| ("db.response.status_code", json!(state))),
    );
    let class = match outcome.ending {
        Ending::Completed | Ending::Suspended => None,
        Ending::Failed | Ending::Denied => Some(state.unwrap_or_else(|| "_OTHER".to_owned())),
        Ending::Skipped => Some("skipped".to_owned()),
        Ending::Disconnected => Some("disconnected".to_owned()),
    };
    list.extend(class.map(|class| ("error.type", json!(class))));
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
