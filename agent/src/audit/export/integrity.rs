//! Events that can be checked for themselves: each carries a fingerprint of its own and that of the one before it.
//!
//! The fingerprint covers the canonical form of RFC 8785 (JCS) of the whole event but for the fingerprint itself, so a sink's
//! copy can be verified without weir. It is no signature: what proves who wrote it is the journal's own chain, which has the
//! same record under the same number.
//! <https://schema.ocsf.io/1.9.0/objects/attestation>

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::audit::chain::sha256;

/// Whole numbers beyond this are not the same in every reader of JSON (RFC 7493).
const LARGEST: u64 = (1 << 53) - 1;

/// An event that was sent, for the next one to name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Link {
    uid: String,
    type_uid: u64,
    fingerprint: String,
}

/// Adds the attestation to an event that is complete but for it; `chain` names the row that it is the next of.
pub(super) fn attest(event: Value, chain: &str, previous: Option<&Link>) -> (Value, Link) {
    let mut event = plain(event);
    let mut attestation = json!({ "authority_uid": "weir", "chain_uid": chain });
    if let Some(link) = previous {
        attestation["prev_event"] = json!({
            "uid": link.uid,
            "type_uid": link.type_uid,
            "fingerprint": fingerprint(&link.fingerprint),
        });
    }
    event["attestation"] = attestation;
    let value = hex::encode(sha256(&[canonical(&event).as_bytes()]));
    event["attestation"]["fingerprint"] = fingerprint(&value);
    let link = Link {
        uid: event["metadata"]["uid"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
        type_uid: event["type_uid"].as_u64().unwrap_or_default(),
        fingerprint: value,
    };
    (event, link)
}

fn fingerprint(value: &str) -> Value {
    json!({
        "algorithm_id": 3,
        "algorithm": "SHA-256",
        "serialization_id": 2,
        "serialization": "JCS",
        "value": value,
    })
}

/// Without what is null, and with numbers that every reader reads alike: others become text.
fn plain(value: Value) -> Value {
    match value {
        Value::Number(number) => {
            let whole = number.as_i64().map(i64::unsigned_abs).or(number.as_u64());
            if whole.is_some_and(|whole| whole <= LARGEST) {
                Value::Number(number)
            } else {
                Value::String(number.to_string())
            }
        }
        Value::Array(values) => values.into_iter().map(plain).collect(),
        Value::Object(fields) => {
            let given = fields.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(given.map(|(key, value)| (key, plain(value))).collect())
        }
        other => other,
    }
}

/// The canonical form of a value that is [`plain`].
fn canonical(value: &Value) -> String {
    let mut text = String::new();
    write_canonical(value, &mut text);
    text
}

fn write_canonical(value: &Value, text: &mut String) {
    match value {
        Value::Array(values) => {
            text.push('[');
            for (at, value) in values.iter().enumerate() {
                if at > 0 {
                    text.push(',');
                }
                write_canonical(value, text);
            }
            text.push(']');
        }
        Value::Object(fields) => write_object(fields, text),
        // Text and whole numbers are written as the RFC has it.
        other => {
            let _ = write!(text, "{other}");
        }
    }
}

fn write_object(fields: &Map<String, Value>, text: &mut String) {
    let mut sorted: Vec<_> = fields.iter().collect();
    // In the order of UTF-16, which is another than that of UTF-8.
    sorted.sort_by(|(left, _), (right, _)| left.encode_utf16().cmp(right.encode_utf16()));
    text.push('{');
    for (at, (key, value)) in sorted.into_iter().enumerate() {
        if at > 0 {
            text.push(',');
        }
        let _ = write!(text, "{}:", Value::from(key.as_str()));
        write_canonical(value, text);
    }
    text.push('}');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_canonical_form_is_that_of_the_rfc() {
        let value = plain(json!({
            "\u{20ac}": "Euro Sign", "\r": "Carriage Return", "\u{fb33}": "Dalet", "1": "One",
            "\u{1f600}": "Grinning Face", "\u{80}": "Control", "\u{f6}": "Latin",
        }));
        assert_eq!(
            canonical(&value),
            "{\"\\r\":\"Carriage Return\",\"1\":\"One\",\"\u{80}\":\"Control\",\"\u{f6}\":\"Latin\",\
             \"\u{20ac}\":\"Euro Sign\",\"\u{1f600}\":\"Grinning Face\",\"\u{fb33}\":\"Dalet\"}"
        );
        assert_eq!(
            canonical(&json!(["\u{f}\n\u{8}\"\\/\u{7f}", true, [], {}])),
            "[\"\\u000f\\n\\b\\\"\\\\/\u{7f}\",true,[],{}]"
        );
    }

    #[test]
    fn numbers_that_readers_would_round_are_text_and_nulls_are_left_out() {
        let value = plain(json!({
            "a": 9_007_199_254_740_991_u64, "b": 9_007_199_254_740_992_u64, "c": 0.5, "d": -3, "e": null, "f": [{ "g": null }],
        }));
        let expected = json!({
            "a": 9_007_199_254_740_991_u64, "b": "9007199254740992", "c": "0.5", "d": -3, "f": [{}],
        });
        assert_eq!(value, expected);
    }

    #[test]
    fn whatever_is_changed_shows() {
        let event =
            json!({ "type_uid": 600_504, "metadata": { "uid": "j/7" }, "status": "Success" });
        let (first, link) = attest(event.clone(), "j/siem", None);
        assert_eq!(link.uid, "j/7");
        assert!(first["attestation"].get("prev_event").is_none());
        assert!(holds(&first));
        let (second, _) = attest(event.clone(), "j/siem", Some(&link));
        assert!(holds(&second));
        assert_eq!(
            second["attestation"]["prev_event"]["fingerprint"],
            first["attestation"]["fingerprint"]
        );
        assert_eq!(attest(event, "j/siem", Some(&link)).0, second, "sent again");
        for (pointer, value) in [
            ("/status", json!("Failure")),
            ("/attestation/chain_uid", json!("other")),
            ("/attestation/prev_event/uid", json!("j/6")),
        ] {
            let mut changed = second.clone();
            if let Some(place) = changed.pointer_mut(pointer) {
                *place = value;
            }
            assert!(!holds(&changed), "{pointer}");
        }
    }

    /// As somebody checks it who has the event alone.
    fn holds(event: &Value) -> bool {
        let mut bare = event.clone();
        let attestation = bare["attestation"].as_object_mut().expect("an object");
        let fingerprint = attestation.remove("fingerprint").expect("a fingerprint");
        fingerprint["value"] == hex::encode(sha256(&[canonical(&bare).as_bytes()]))
    }
}
