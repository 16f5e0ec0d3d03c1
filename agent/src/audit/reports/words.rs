//! Events as people read them: nothing of a token, not even its fingerprint.

use serde_json::Value;

use super::period::rfc3339;

/// An event in words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// Whom it is about; empty when it is about nobody.
    pub(super) who: String,
    /// Through whom.
    pub(super) actor: String,
    /// What happened.
    pub(super) what: String,
}

/// Tells the event whose JSON is `body`.
pub(super) fn event(body: &str) -> Told {
    let body: Value = serde_json::from_str(body).unwrap_or_default();
    let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
    let number = |name: &str| body[name].as_u64().unwrap_or_default();
    let about = |identity: &Value, what: String| Told {
        who: subject(identity),
        actor: actors(identity),
        what,
    };
    let only = |what: String| Told {
        what,
        ..Told::default()
    };
    match body["event"].as_str().unwrap_or_default() {
        "agent_started" => only(format!(
            "weir {} started{}, policy {}{}",
            text("version"),
            if body["resumed"] == true {
                " and took over from an agent before"
            } else {
                ""
            },
            text("policy"),
            if body["development_issuer"] == true {
                "; a development issuer is trusted"
            } else {
                ""
            },
        )),
        "connection_refused" => only(format!(
            "connection to {} by {} refused: {}",
            body["origin"]["destination"]
                .as_str()
                .unwrap_or("an unknown place"),
            body["evidence"]["exe_path"]
                .as_str()
                .unwrap_or("an unknown program"),
            text("reason")
        )),
        "agent_stopped" => only(format!("stopped: {}", text("reason"))),
        "gap" => only(format!(
            "no agent from {} to {}: {} connections passed, {} refused",
            rfc3339(number("from_ns")),
            rfc3339(number("until_ns")),
            number("passed"),
            number("denied")
        )),
        "policy_loaded" => only(format!(
            "policy {} from {}: {} rules",
            text("digest"),
            text("path"),
            number("rules")
        )),
        "binding" => about(
            &body["identity"],
            format!("{}: bound to {}", text("what"), text("key")),
        ),
        "delegation" => about(
            &body["identity"],
            format!("acts for them, delegation: {}", text("delegation")),
        ),
        "sender_changed" => about(
            &body["identity"],
            format!(
                "another process wrote on the connection of session {}: {}",
                number("session"),
                text("outcome")
            ),
        ),
        "session_ended" => session_ended(&body),
        "approval_requested" => about(
            &body["requester"],
            format!("asks for approval {}: {}", number("approval"), text("text")),
        ),
        "approval_decided" => about(
            &body["approver"],
            format!(
                "{} {}{}: {}",
                text("verdict"),
                number("approval"),
                if body["break_glass"] == true {
                    " by breaking the glass"
                } else {
                    ""
                },
                text("reason")
            ),
        ),
        "approval_ended" => only(format!("approval {}: {}", number("approval"), text("how"))),
        "segments_retired" => only(format!(
            "segments {} to {} of the journal, records up to {}, were removed: {}",
            number("from_segment"),
            number("until_segment"),
            number("last_seq"),
            text("why")
        )),
        "incident" => only(text("what")),
        // A kind of event that this report does not know yet: its plain fields, never a token's.
        _ => only(plain(&body)),
    }
}

/// Without a log-in it was root all the same: nobody else may.
fn session_ended(body: &Value) -> Told {
    let or = |text: String, other: &str| {
        if text.is_empty() {
            other.to_owned()
        } else {
            text
        }
    };
    let reason = body["reason"].as_str().unwrap_or_default().to_owned();
    Told {
        who: or(subject(&body["administrator"]), "root"),
        actor: actors(&body["administrator"]),
        what: format!(
            "ended session {}: {}",
            body["session"],
            or(reason, "no reason given")
        ),
    }
}

/// A JSON list of words, with commas.
pub(super) fn list(json: &str) -> String {
    serde_json::from_str::<Vec<String>>(json)
        .map_or_else(|_| json.to_owned(), |words| words.join(", "))
}

/// Whom an identity speaks for.
pub(super) fn subject(identity: &Value) -> String {
    identity["principal"]["subject"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

/// Who acts for them, outermost first.
pub(super) fn actors(identity: &Value) -> String {
    let subjects: Vec<_> = identity["actors"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|actor| actor["subject"].as_str())
        .collect();
    subjects.join(" > ")
}

fn plain(body: &Value) -> String {
    let fields: Vec<_> = body
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(name, _)| {
            *name != "event" && !name.contains("token") && !name.contains("fingerprint")
        })
        .filter_map(|(name, value)| match value {
            Value::String(text) => Some(format!("{} {text}", name.replace('_', " "))),
            Value::Number(number) => Some(format!("{} {number}", name.replace('_', " "))),
            Value::Bool(true) => Some(name.replace('_', " ")),
            _ => None,
        })
        .collect();
    fields.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binding_is_told_without_its_token() {
        let told = event(
            r#"{"event":"binding","what":"login","key":"session 7","token_fingerprint":"abcdef",
                "identity":{"principal":{"subject":"bob"},"actors":[{"subject":"bot"}]}}"#,
        );
        assert_eq!(
            told,
            Told {
                who: "bob".to_owned(),
                actor: "bot".to_owned(),
                what: "login: bound to session 7".to_owned()
            }
        );
    }

    #[test]
    fn an_ended_session_names_the_administrator_or_root() {
        let by_root =
            event(r#"{"event":"session_ended","session":7,"administrator":null,"reason":"stuck"}"#);
        assert_eq!(
            (by_root.who.as_str(), by_root.what.as_str()),
            ("root", "ended session 7: stuck")
        );
        let by_alice = event(
            r#"{"event":"session_ended","session":7,"administrator":{"principal":{"subject":"alice"}},"reason":""}"#,
        );
        assert_eq!(
            (by_alice.who.as_str(), by_alice.what.as_str()),
            ("alice", "ended session 7: no reason given")
        );
    }

    #[test]
    fn an_unknown_event_shows_its_plain_fields_only() {
        let told =
            event(r#"{"event":"new","why":"x","count":3,"token_fingerprint":"ab","deep":{"a":1}}"#);
        assert_eq!(told.what, "count 3, why x");
    }
}
