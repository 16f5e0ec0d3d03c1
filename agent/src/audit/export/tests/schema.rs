//! What of OCSF 1.9.0 weir's events use, and a check of events against it.
//! <https://schema.ocsf.io/1.9.0>

use serde_json::{Map, Value};

/// Objects and their attributes: `!` is required, `#` a whole number, `?` true or false, `*` a list, `=` names the object that an
/// attribute is; `any` is whatever there is. All others are text.
const OBJECTS: &[(&str, &str)] = &[
    (
        "event",
        "activity_id!# activity_name category_name category_uid!# class_name class_uid!# duration# end_time# message
         metadata!=metadata severity severity_id!# start_time# status status_code status_detail status_id# time!# type_name
         type_uid!# unmapped=any attestation=attestation",
    ),
    (
        "security_control",
        "action action_id# disposition disposition_id# is_alert? policy=policy",
    ),
    (
        "datastore_activity",
        "actor!=actor database=database dst_endpoint=network_endpoint query_info=query_info src_endpoint!=network_endpoint
         table=table type type_id#",
    ),
    ("ai_operation", "ai_agent=ai_agent"),
    (
        "metadata",
        "version! product!=product profiles* log_name log_provider logged_time# sequence# uid correlation_uid",
    ),
    ("product", "name vendor_name version"),
    ("actor", "user=user session=session process=process application=application"),
    ("application", "name"),
    ("user", "name uid full_name type type_id# groups*=group"),
    ("group", "name"),
    ("session", "uid issuer"),
    ("process", "pid# name file=file user=user"),
    ("file", "name! path type type_id!# hashes*=fingerprint"),
    (
        "fingerprint",
        "algorithm algorithm_id!# value! serialization serialization_id#",
    ),
    ("network_endpoint", "hostname ip port# svc_name"),
    (
        "database",
        "name type type_id!# data_classifications*=data_classification",
    ),
    (
        "data_classification",
        "category category_id# confidentiality confidentiality_id# discovery_details*=discovery_details",
    ),
    ("discovery_details", "type count#"),
    ("query_info", "query_string! uid bytes#"),
    ("table", "name"),
    ("policy", "name uid is_applied?"),
    ("ai_agent", "uid! name instance_uid type type_id#"),
    (
        "attestation",
        "authority_uid chain_uid prev_event=prev_event fingerprint=fingerprint",
    ),
    ("prev_event", "uid! type_uid# fingerprint=fingerprint"),
];

/// Objects that need at least one of some attributes.
const ONE_OF: &[(&str, &str)] = &[
    ("datastore_activity", "database databucket table"),
    ("actor", "process user session application"),
    ("application", "name uid"),
    ("user", "account name uid"),
    ("process", "pid uid cpid"),
    ("network_endpoint", "ip uid name hostname svc_name"),
    ("database", "name uid"),
    ("data_classification", "category_id confidentiality_id"),
    ("query_info", "name uid"),
    ("table", "name uid"),
    ("policy", "name type uid"),
    ("attestation", "fingerprint signatures"),
];

type Caption = (u64, &'static str);

/// Numbers and their captions, by object and attribute; a caption's own attribute is named as the number's, without `_id`.
const ENUMS: &[(&str, &str, &[Caption])] = &[
    (
        "datastore_activity",
        "activity_id",
        &[
            (1, "Read"),
            (2, "Update"),
            (3, "Connect"),
            (4, "Query"),
            (5, "Write"),
            (6, "Create"),
            (7, "Delete"),
            (8, "List"),
            (9, "Encrypt"),
            (10, "Decrypt"),
        ],
    ),
    (
        "datastore_activity",
        "type_id",
        &[(1, "Database"), (2, "Databucket"), (3, "Table")],
    ),
    (
        "event",
        "severity_id",
        &[
            (1, "Informational"),
            (2, "Low"),
            (3, "Medium"),
            (4, "High"),
            (5, "Critical"),
            (6, "Fatal"),
        ],
    ),
    ("event", "status_id", &[(1, "Success"), (2, "Failure")]),
    (
        "security_control",
        "action_id",
        &[(1, "Allowed"), (2, "Denied")],
    ),
    (
        "security_control",
        "disposition_id",
        &[
            (1, "Allowed"),
            (2, "Blocked"),
            (8, "Approved"),
            (14, "Delayed"),
            (15, "Detected"),
        ],
    ),
    (
        "user",
        "type_id",
        &[(1, "User"), (2, "Admin"), (3, "System"), (4, "Service")],
    ),
    (
        "file",
        "type_id",
        &[(1, "Regular File"), (8, "Executable File")],
    ),
    ("fingerprint", "algorithm_id", &[(3, "SHA-256")]),
    (
        "fingerprint",
        "serialization_id",
        &[(1, "Flat"), (2, "JCS")],
    ),
    ("database", "type_id", &[(1, "Relational"), (7, "Vector")]),
    (
        "data_classification",
        "category_id",
        &[
            (1, "Personal"),
            (2, "Governmental"),
            (3, "Financial"),
            (4, "Business"),
            (6, "Security"),
        ],
    ),
    (
        "data_classification",
        "confidentiality_id",
        &[(1, "Not Confidential"), (2, "Confidential"), (3, "Secret")],
    ),
    ("ai_agent", "type_id", &[(1, "Native"), (2, "LangChain")]),
];

/// Whether an event is one of OCSF: nothing is missing, nothing unknown, each of its type, numbers and captions agree.
pub(super) fn check(event: &Value) -> Result<(), String> {
    let class = match event["class_uid"].as_u64() {
        Some(0) => None,
        Some(6005) => Some("datastore_activity"),
        other => return Err(format!("class {other:?}")),
    };
    let profiles = event["metadata"]["profiles"]
        .as_array()
        .ok_or("no profiles")?;
    let applied = profiles.iter().filter_map(Value::as_str);
    let known = ["security_control", "ai_operation"];
    let mut parts = vec!["event"];
    parts.extend(class);
    parts.extend(applied.filter(|profile| known.contains(profile)));
    let fields = event.as_object().ok_or("no object")?;
    object(&parts, fields)?;
    let has = |profile: &str| profiles.iter().any(|applied| applied == profile);
    let attributes = [
        ("record_integrity", "/attestation"),
        ("data_classification", "/database/data_classifications"),
        ("security_control", "/action_id"),
        ("ai_operation", "/ai_agent"),
    ];
    for (profile, pointer) in attributes {
        if has(profile) != event.pointer(pointer).is_some() {
            return Err(format!("{profile} and {pointer} do not go together"));
        }
    }
    let number = |name: &str| event[name].as_u64().unwrap_or_default();
    if number("type_uid") != number("class_uid") * 100 + number("activity_id")
        || number("class_uid") / 1000 != number("category_uid")
    {
        return Err("type_uid or category_uid does not fit".to_owned());
    }
    if event["metadata"]["version"] != "1.9.0" || number("time") < 1_600_000_000_000 {
        return Err("version or time".to_owned());
    }
    Ok(())
}

/// An object that is all of `parts`.
fn object(parts: &[&str], fields: &Map<String, Value>) -> Result<(), String> {
    let attributes: Vec<_> = OBJECTS
        .iter()
        .filter(|(name, _)| parts.contains(name))
        .flat_map(|(_, attributes)| attributes.split_whitespace())
        .map(Attribute::parse)
        .collect();
    let here = parts.join("+");
    for attribute in &attributes {
        match fields.get(attribute.name) {
            Some(value) => attribute.check(value, &here)?,
            None if attribute.required => return Err(format!("{here} lacks {}", attribute.name)),
            None => {}
        }
    }
    let known = |name: &String| attributes.iter().any(|attribute| attribute.name == name);
    if let Some(unknown) = fields.keys().find(|name| !known(name)) {
        return Err(format!("{here} has no {unknown}"));
    }
    for (_, names) in ONE_OF.iter().filter(|(name, _)| parts.contains(name)) {
        if !names
            .split_whitespace()
            .any(|name| fields.contains_key(name))
        {
            return Err(format!("{here} has none of {names}"));
        }
    }
    for (_, name, captions) in ENUMS.iter().filter(|(of, ..)| parts.contains(of)) {
        if let Some(number) = fields.get(*name).and_then(Value::as_u64) {
            captioned(fields, name, number, captions)
                .map_err(|error| format!("{here}: {error}"))?;
        }
    }
    Ok(())
}

fn captioned(
    fields: &Map<String, Value>,
    name: &str,
    number: u64,
    captions: &[(u64, &str)],
) -> Result<(), String> {
    let plain = name.trim_end_matches("_id");
    let sibling = if plain == "activity" {
        "activity_name"
    } else {
        plain
    };
    let said = fields.get(sibling).and_then(Value::as_str);
    let caption = match number {
        0 => "Unknown",
        // It is in the source's own words.
        99 => {
            return said
                .map(drop)
                .ok_or(format!("{name} is 99 and nothing says what"));
        }
        _ => captions
            .iter()
            .find_map(|(known, caption)| (*known == number).then_some(*caption))
            .ok_or(format!("{name} is {number}"))?,
    };
    if said != Some(caption) {
        return Err(format!("{name} is {number} and {sibling} {said:?}"));
    }
    Ok(())
}

struct Attribute<'a> {
    name: &'a str,
    required: bool,
    list: bool,
    what: What<'a>,
}

#[derive(Clone, Copy)]
enum What<'a> {
    Text,
    Number,
    Flag,
    Any,
    Object(&'a str),
}

impl<'a> Attribute<'a> {
    fn parse(text: &'a str) -> Self {
        let (marked, object) = match text.split_once('=') {
            Some((marked, object)) => (marked, Some(object)),
            None => (text, None),
        };
        let name = marked.trim_end_matches(['!', '#', '?', '*']);
        let marks = &marked[name.len()..];
        let what = match object {
            Some("any") => What::Any,
            Some(object) => What::Object(object),
            None if marks.contains('#') => What::Number,
            None if marks.contains('?') => What::Flag,
            None => What::Text,
        };
        Self {
            name,
            required: marks.contains('!'),
            list: marks.contains('*'),
            what,
        }
    }

    fn check(&self, value: &Value, here: &str) -> Result<(), String> {
        match value {
            Value::Array(values) if self.list => {
                values.iter().try_for_each(|value| self.one(value, here))
            }
            value if !self.list => self.one(value, here),
            _ => Err(format!("{here}.{} is no list", self.name)),
        }
    }

    fn one(&self, value: &Value, here: &str) -> Result<(), String> {
        let fits = match self.what {
            What::Text => value.as_str().is_some_and(|text| !text.is_empty()),
            What::Number => value.is_u64(),
            What::Flag => value.is_boolean(),
            What::Any => value.is_object(),
            What::Object(name) => {
                return value
                    .as_object()
                    .ok_or(format!("{here}.{} is no object", self.name))
                    .and_then(|fields| object(&[name], fields));
            }
        };
        fits.then_some(())
            .ok_or(format!("{here}.{} is {value}", self.name))
    }
}
