//! What tokens say beyond who they are for: who acts, and in which pod.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// Claims that only some uses of a token need.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extra {
    /// Who acts for the subject (RFC 8693).
    pub act: Option<Act>,
    /// The OAuth client it was issued to.
    pub client_id: Option<String>,
    /// The pod it was issued for.
    pub pod: Option<PodClaim>,
}

/// One who acts; inside it those who acted before.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Act {
    /// The actor.
    pub sub: String,
    /// Who names it so; the token's own issuer when absent.
    pub iss: Option<String>,
    /// Through whom it came to act.
    pub act: Option<Box<Act>>,
}

/// A Kubernetes pod, as its projected token names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodClaim {
    /// Its namespace.
    pub namespace: String,
    /// The service account it runs under.
    pub service_account: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
}

impl Extra {
    pub(super) fn of(claims: &BTreeMap<String, Value>, client_id: Option<&str>) -> Self {
        Self {
            act: claims
                .get("act")
                .and_then(|act| serde_json::from_value(act.clone()).ok()),
            client_id: client_id.map(str::to_owned),
            pod: claims.get("kubernetes.io").and_then(pod),
        }
    }
}

fn pod(claim: &Value) -> Option<PodClaim> {
    let text = |pointer: &str| claim.pointer(pointer)?.as_str().map(str::to_owned);
    Some(PodClaim {
        namespace: text("/namespace")?,
        service_account: text("/serviceaccount/name")?,
        name: text("/pod/name")?,
        uid: text("/pod/uid")?,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn actors_and_pods_are_read_and_halves_of_them_are_not() {
        let claims: BTreeMap<String, Value> = serde_json::from_value(json!({
            "act": {"sub": "bot", "act": {"sub": "outer", "iss": "https://i"}},
            "kubernetes.io": {"namespace": "n", "pod": {"name": "p", "uid": "u"}, "serviceaccount": {"name": "s", "uid": "x"}},
        }))
        .expect("claims");
        let extra = Extra::of(&claims, Some("client"));
        let act = extra.act.expect("an actor");
        assert_eq!(
            (act.sub.as_str(), act.act.expect("another").sub.as_str()),
            ("bot", "outer")
        );
        assert_eq!(extra.client_id.as_deref(), Some("client"));
        assert_eq!(extra.pod.expect("a pod").service_account, "s");
        let half = serde_json::from_value(
            json!({"act": {"iss": "i"}, "kubernetes.io": {"namespace": "n"}}),
        )
        .expect("claims");
        assert_eq!(Extra::of(&half, None), Extra::default());
    }
}
