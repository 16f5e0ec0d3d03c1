//! What the operator writes about issuers and workloads.

use std::path::PathBuf;

use serde::Deserialize;

use super::bound::Delegation;

/// Whose tokens are believed, and which processes are services.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// `[[issuer]]`: the identity providers.
    #[serde(rename = "issuer")]
    pub issuers: Vec<IssuerSettings>,
    /// `[[workload]]`: the services.
    #[serde(rename = "workload")]
    pub workloads: Vec<WorkloadSettings>,
    /// `[[ai_agent]]`: who may act for people by `weir exec`.
    #[serde(rename = "ai_agent")]
    pub ai_agents: Vec<AiAgentSettings>,
}

/// One AI agent: how it proves who it is, and what says that it may act for a person.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AiAgentSettings {
    /// The name that `weir exec --agent` is given.
    pub name: String,
    /// The client that the agent is at its issuer; weir authenticates as it.
    pub client: ClientSettings,
    /// The `sub` by which its issuer knows it; its client id when absent.
    pub subject: Option<String>,
    /// What says that it may act.
    pub delegation: Delegation,
    /// What a delegated token is asked for (`audience` of RFC 8693), where the issuer wants to know.
    pub audience: Option<String>,
}

/// One identity provider.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IssuerSettings {
    /// The exact `iss` of its tokens; discovery starts here.
    pub issuer: String,
    /// The audience that its tokens must name.
    pub audience: String,
    /// Where its keys are; from the discovery document when absent.
    pub jwks_uri: Option<String>,
    /// A `weir dev-idp`: hands a token for any of its users to whoever asks. Only on loopback, and every report says so.
    pub development: bool,
    /// Whether the claim `weir_kind` (`human`, `workload`, `agent`) is believed; without it every subject is a human.
    /// A development issuer's always is.
    pub trust_kind: bool,
    /// Further claims of its tokens that rules and row filters may ask for (`{{actor.region}}`); they are recorded with
    /// the principal. Only those whose value is a text are kept.
    pub claims: Vec<String>,
}

/// One service: which processes are it (all selectors that are given must match), and what proves it (exactly one of
/// `token_file`, `client_credentials`, `kubernetes` and `spiffe`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WorkloadSettings {
    /// The operator's name for it.
    pub name: String,
    /// The name of a system unit, as `billing.service` or `billing@*.service`. User managers' units never match.
    pub systemd_unit: Option<String>,
    /// A pattern from the cgroup root; `*` and `?` stay within one component, sub-cgroups match too.
    pub cgroup: Option<String>,
    /// The program file.
    pub exe: Option<PathBuf>,
    /// SHA-256 of the program file's content, hex.
    pub exe_sha256: Option<String>,
    /// The effective user id.
    pub uid: Option<u32>,
    /// The digest of the container's image, as `sha256:…`.
    pub image_digest: Option<String>,
    /// A Kubernetes pod; the namespace and so on are the projected token's, so `kubernetes` has to be the proof.
    pub k8s: Option<PodSettings>,
    /// Proof: a file with its token, read again as it is rotated.
    pub token_file: Option<PathBuf>,
    /// Proof: a token that weir asks the issuer for, with a signed assertion in place of a password (RFC 7523).
    pub client_credentials: Option<ClientSettings>,
    /// Proof: the token that Kubernetes projects into the pod.
    pub kubernetes: Option<ProjectedSettings>,
    /// Proof: a JWT-SVID from the node's SPIFFE Workload API; in builds with the feature `spiffe`.
    pub spiffe: Option<SpiffeSettings>,
    /// The `sub` that the token must carry; any when absent.
    pub subject: Option<String>,
    /// Says that selectors which any user can satisfy (`exe` and `exe_sha256` alone) are meant; the binding is then
    /// reported as weak.
    pub weak: bool,
}

/// Which pods; all that is given must be what the pod's own token says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PodSettings {
    /// The namespace.
    pub namespace: Option<String>,
    /// The service account's name.
    pub service_account: Option<String>,
    /// The pod's name; `*` and `?` stand for what varies.
    pub pod: Option<String>,
}

/// A client of an issuer that authenticates by a signed assertion.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClientSettings {
    /// The `[[issuer]]` it is registered with.
    pub issuer: String,
    /// Its id there.
    pub client_id: String,
    /// Its private key: PEM (PKCS #8), readable by root alone. P-256, RSA or Ed25519.
    pub key_file: PathBuf,
    /// The key's id, where the issuer needs it to choose one of several.
    pub key_id: Option<String>,
    /// What to ask for, as the issuer names it.
    pub scope: Option<String>,
    /// What the token is for (RFC 8707), where the issuer wants to know.
    pub resource: Option<String>,
}

/// Where Kubernetes puts the tokens of this node's pods.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProjectedSettings {
    /// As `/var/lib/kubelet/pods/{pod_uid}/volumes/kubernetes.io~projected/weir/token`; `*` stands for what varies.
    pub token_file: String,
}

/// Where the SPIFFE Workload API is, and what to ask it for. weir is a workload of its own there: the id's registration
/// has to name weir's selectors.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SpiffeSettings {
    /// As `unix:///run/spire/sockets/agent.sock`; the socket and the folders above it must be root's.
    pub socket: String,
    /// The exact SPIFFE ID, as `spiffe://shop.example/billing`.
    pub id: String,
    /// What the token must be for.
    pub audience: String,
}

impl Default for SpiffeSettings {
    fn default() -> Self {
        Self {
            socket: String::new(),
            id: String::new(),
            audience: "weir".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_sections_parse() {
        let text = r#"
            [[issuer]]
            issuer = "http://127.0.0.1:9000"
            audience = "weir"
            development = true
            [[workload]]
            name = "svc-billing"
            cgroup = "/system.slice/billing.service"
            exe = "/usr/bin/billing"
            uid = 1001
            token_file = "/run/billing/token"
            [[workload]]
            name = "svc-shipping"
            cgroup = "/system.slice/shipping.service"
            spiffe = { socket = "unix:///run/spire/agent.sock", id = "spiffe://shop.example/shipping" }
        "#;

        let settings: Settings = toml::from_str(text).expect("the documented form");

        assert!(settings.issuers[0].development && !settings.issuers[0].trust_kind);
        assert_eq!(settings.workloads[0].uid, Some(1001));
        let spiffe = settings.workloads[1].spiffe.as_ref().expect("a proof");
        assert_eq!(spiffe.audience, "weir");
    }

    #[test]
    fn an_unknown_key_is_an_error() {
        assert!(toml::from_str::<Settings>("[[issuer]]\nisuer = \"x\"\n").is_err());
    }
}
