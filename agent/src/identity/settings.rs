//! What the operator writes about issuers and workloads.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

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
    /// The audience that tokens which are handed over must name; the client's id when absent.
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
    /// weir's client at the provider: with it, `weir login` lets people log in there.
    pub client_id: Option<String>,
    /// The client's secret, where it has one.
    pub client_secret_file: Option<PathBuf>,
    /// The client's private key (PEM), where it proves itself by `private_key_jwt`.
    pub client_key_file: Option<PathBuf>,
    /// The id by which the provider knows that key.
    pub client_key_id: Option<String>,
    /// What is asked for at a login.
    pub scopes: Vec<String>,
    /// Which of the provider's tokens says who logged in.
    pub login_token: LoginToken,
    /// The claim that lists groups; `groups` when absent.
    pub groups_claim: Option<String>,
    /// Whether who logs in at the provider must be who asks on this host: without it, whoever is talked into typing a
    /// code logs somebody else in. On by default, off for a development issuer.
    pub account_match: Option<bool>,
    /// The claim that names the account on this host; `preferred_username` when absent.
    pub account_claim: Option<String>,
    /// The domains whose addresses count as accounts: `alice@shop.example` is `alice` with `["shop.example"]`.
    pub account_domains: Vec<String>,
    /// Accounts of this host and the value of the claim that each belongs to, where the names differ. Root is matched
    /// only by an entry here.
    pub accounts: BTreeMap<String, String>,
    /// How often the provider is asked whether a login still holds, and for the groups; seconds, 300 at most.
    pub probe_seconds: Option<u64>,
    /// How long a login holds while the provider cannot be reached, seconds; its token's end is the other limit.
    pub offline_grace_seconds: Option<u64>,
    /// The provider's security events.
    pub events: Option<EventSettings>,
}

/// Which token says who logged in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LoginToken {
    /// The ID token: every provider has one, and its audience is the client.
    #[default]
    Id,
    /// The access token, where it is a JWT for `audience`.
    Access,
}

/// `[issuer.events]`: where security event tokens (CAEP, RISC) come from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EventSettings {
    /// The audience that the events must name: this receiver, and no client.
    pub audience: String,
    /// The exact `iss` of the events, where it is not the issuer's own.
    pub issuer: Option<String>,
    /// The transmitter's keys, where they are not the issuer's own.
    pub jwks_uri: Option<String>,
    /// Where events are fetched (RFC 8936).
    pub poll: Option<String>,
    /// The bearer token for that.
    pub poll_token_file: Option<PathBuf>,
    /// How often, seconds; 5 when absent.
    pub poll_seconds: Option<u64>,
    /// Where events are taken (RFC 8935): a loopback address and port, behind whatever speaks TLS on this host.
    pub push: Option<std::net::SocketAddr>,
    /// The bearer token that the transmitter must send.
    pub push_token_file: Option<PathBuf>,
}

impl IssuerSettings {
    /// Relative paths count from `folder`.
    pub fn anchor(&mut self, folder: &Path) {
        let events = self.events.as_mut();
        let (poll, push) = match events {
            Some(events) => (
                events.poll_token_file.as_mut(),
                events.push_token_file.as_mut(),
            ),
            None => (None, None),
        };
        for path in [
            self.client_secret_file.as_mut(),
            self.client_key_file.as_mut(),
            poll,
            push,
        ]
        .into_iter()
        .flatten()
        {
            *path = folder.join(&*path);
        }
    }

    /// Whether account and login must match.
    #[must_use]
    pub fn matches_accounts(&self) -> bool {
        self.account_match.unwrap_or(!self.development)
    }

    /// Between two questions whether a login still holds.
    #[must_use]
    pub fn probe(&self) -> Duration {
        Duration::from_secs(self.probe_seconds.unwrap_or(LONGEST_PROBE_S))
    }

    /// How long a login holds without an answer.
    #[must_use]
    pub fn offline_grace(&self) -> Duration {
        Duration::from_secs(self.offline_grace_seconds.unwrap_or(DEFAULT_GRACE_S))
    }

    /// The scopes to ask for, as the protocol writes them.
    #[must_use]
    pub fn scope(&self) -> String {
        if self.scopes.is_empty() {
            DEFAULT_SCOPE.to_owned()
        } else {
            self.scopes.join(" ")
        }
    }
}

/// A login is looked at again at least this often.
pub const LONGEST_PROBE_S: u64 = 300;

const DEFAULT_GRACE_S: u64 = 3_600;
const DEFAULT_SCOPE: &str = "openid profile offline_access";

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
    /// Proof: a JWT-SVID from the node's SPIFFE Workload or Broker API; in builds with the feature `spiffe`.
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

/// Where SPIFFE is, and what to ask it for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SpiffeSettings {
    /// Whom the answer is about.
    pub api: SpiffeApi,
    /// Where `api` is served, as `unix:///run/spire/sockets/agent.sock`; the socket and the folders above it must be root's.
    pub socket: String,
    /// With `broker`: where the Workload API is, which gives weir the X509-SVID that it shows the broker.
    pub workload_socket: Option<String>,
    /// With `broker`: the SPIFFE ID of who serves it; one that ends in `/*` means every id below.
    pub server_id: Option<String>,
    /// The exact SPIFFE ID, as `spiffe://shop.example/billing`.
    pub id: String,
    /// What the token must be for.
    pub audience: String,
}

impl Default for SpiffeSettings {
    fn default() -> Self {
        Self {
            api: SpiffeApi::default(),
            socket: String::new(),
            workload_socket: None,
            server_id: None,
            id: String::new(),
            audience: "weir".to_owned(),
        }
    }
}

/// Which of SPIFFE's interfaces is asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SpiffeApi {
    /// For weir itself: the id's registration has to name weir's selectors.
    #[default]
    Workload,
    /// For each process: its own registration counts, and weir's has to make it a broker.
    Broker,
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
            [[workload]]
            name = "svc-orders"
            cgroup = "/system.slice/orders.service"
            [workload.spiffe]
            api = "broker"
            socket = "unix:///run/spire/broker.sock"
            workload_socket = "unix:///run/spire/agent.sock"
            server_id = "spiffe://shop.example/spire/agent/*"
            id = "spiffe://shop.example/orders"
        "#;

        let settings: Settings = toml::from_str(text).expect("the documented form");

        assert!(settings.issuers[0].development && !settings.issuers[0].trust_kind);
        assert_eq!(settings.workloads[0].uid, Some(1001));
        let spiffe = settings.workloads[1].spiffe.as_ref().expect("a proof");
        assert_eq!(spiffe.audience, "weir");
        let apis = settings.workloads[1..].iter().map(|entry| {
            let spiffe = entry.spiffe.as_ref().expect("a proof");
            spiffe.api
        });
        assert!(apis.eq([SpiffeApi::Workload, SpiffeApi::Broker]));
        assert!(toml::from_str::<Settings>(&text.replace("\"broker\"", "\"brokers\"")).is_err());
    }

    #[test]
    fn a_provider_for_people_parses() {
        let text = r#"
            [[issuer]]
            issuer = "https://shop.okta.com"
            client_id = "0oa1"
            client_secret_file = "okta.secret"
            scopes = ["openid", "profile", "groups", "offline_access"]
            account_domains = ["shop.example"]
            accounts = { root = "alice@shop.example" }
            probe_seconds = 60
            [issuer.events]
            audience = "https://weir.shop.example"
            poll = "https://shop.okta.com/ssf/poll"
            poll_token_file = "/etc/weir/poll.token"
        "#;

        let mut settings: Settings = toml::from_str(text).expect("the documented form");

        let issuer = &mut settings.issuers[0];
        issuer.anchor(Path::new("/etc/weir"));
        assert_eq!(
            issuer.client_secret_file.as_deref(),
            Some(Path::new("/etc/weir/okta.secret"))
        );
        assert!(issuer.matches_accounts() && issuer.login_token == LoginToken::Id);
        assert_eq!(issuer.scope(), "openid profile groups offline_access");
        assert_eq!(IssuerSettings::default().probe(), Duration::from_mins(5));
    }

    #[test]
    fn an_unknown_key_is_an_error() {
        assert!(toml::from_str::<Settings>("[[issuer]]\nisuer = \"x\"\n").is_err());
    }
}
