//! The objects of OCSF that events are put together from.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use weir_policy::{Classed, Identity, PrincipalKind, Target};

use crate::audit::record::SessionOpened;

/// The database, with the classes of what a statement uses of it.
pub(super) fn database(target: &Target, data: &[Classed]) -> Value {
    let mut database = json!({ "name": target.database, "type_id": 1, "type": "Relational" });
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for class in data.iter().flat_map(|one| &one.classes) {
        *counts.entry(class).or_default() += 1;
    }
    if !counts.is_empty() {
        database["data_classifications"] = counts
            .into_iter()
            .map(|(class, count)| classification(class, count))
            .collect();
    }
    database
}

/// A class of the policy's, by the categories that OCSF has; what those do not cover keeps its own name.
fn classification(class: &str, count: usize) -> Value {
    let first = class.split('.').next().unwrap_or_default();
    let category: Option<(u64, &str)> = match first {
        "pii" | "phi" => Some((1, "Personal")),
        "pci" => Some((3, "Financial")),
        "secret" => Some((6, "Security")),
        _ => None,
    };
    let confidentiality = match first {
        "public" => Some((1, "Not Confidential")),
        "confidential" => Some((2, "Confidential")),
        _ => None,
    };
    let (category_id, category) = category.unwrap_or((99, class));
    json!({
        "category_id": category_id,
        "category": category,
        "confidentiality_id": confidentiality.map(|(id, _)| id),
        "confidentiality": confidentiality.map(|(_, name)| name),
        "discovery_details": [{ "type": class, "count": count }],
    })
}

/// Where and through whom, as far as OCSF has no place for it.
pub(super) fn context(opened: &SessionOpened) -> Value {
    let target = &opened.target;
    let identity = opened.identity.as_ref();
    json!({
        "endpoint": target.endpoint,
        "environment": target.environment,
        "database_user": target.database_user,
        "session": opened.session,
        "proof": identity.map(|identity| json!({ "method": identity.method, "strength": identity.strength })),
        "purpose": identity.and_then(|identity| identity.purpose.as_deref()),
    })
}

/// The AI agent that acts, where one does; for several in a row the latest, whose run it is.
pub(super) fn ai_agent(opened: &SessionOpened) -> Option<Value> {
    let identity = opened.identity.as_ref()?;
    if identity.acting_kind() != PrincipalKind::Agent {
        return None;
    }
    let (issuer, subject, run) = match identity.actors.last() {
        Some(actor) => (&actor.issuer, &actor.subject, actor.run_id.as_deref()),
        None => (
            &identity.principal.issuer,
            &identity.principal.subject,
            None,
        ),
    };
    Some(json!({
        "uid": format!("{issuer}#{subject}"),
        "name": subject,
        "instance_uid": run,
        "type_id": 0,
        "type": "Unknown",
    }))
}

pub(super) fn actor(opened: &SessionOpened) -> Value {
    let evidence = &opened.evidence;
    let mut process = json!({
        "pid": evidence.tgid,
        "name": evidence.comm,
        "user": { "uid": evidence.uid.to_string(), "type_id": 0, "type": "Unknown" },
    });
    // The path is empty where it could not be read.
    let name = evidence.exe_path.rsplit('/').next().unwrap_or_default();
    if !name.is_empty() {
        let hash = |hash| json!([{ "algorithm_id": 3, "algorithm": "SHA-256", "value": hash }]);
        process["file"] = json!({
            "name": name,
            "path": evidence.exe_path,
            "type_id": 1,
            "type": "Regular File",
            "hashes": evidence.exe_sha256.as_deref().map(hash),
        });
    }
    let application = opened.application_name.as_deref();
    json!({
        "user": user(opened.identity.as_ref(), evidence.uid),
        "session": {
            "uid": opened.session.to_string(),
            "issuer": opened.identity.as_ref().map(|identity| &identity.principal.issuer),
        },
        "process": process,
        "application": application
            .filter(|name| !name.is_empty())
            .map(|name| json!({ "name": name })),
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

pub(super) fn fields(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}
