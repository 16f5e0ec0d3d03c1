//! What the operator writes about issuers and workloads.

use std::path::PathBuf;

use serde::Deserialize;

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

/// One service: which processes are it (all selectors that are given must match), and what proves it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WorkloadSettings {
    /// The operator's name for it.
    pub name: String,
    /// A pattern from the cgroup root; `*` and `?` stay within one component, sub-cgroups match too.
    pub cgroup: Option<String>,
    /// The program file.
    pub exe: Option<PathBuf>,
    /// The effective user id.
    pub uid: Option<u32>,
    /// Where its token is; read again as it is rotated.
    pub token_file: PathBuf,
    /// The `sub` that the token must carry; any when absent.
    pub subject: Option<String>,
    /// Says that selectors which any user can satisfy (`exe` alone) are meant; the binding is then reported as weak.
    pub weak: bool,
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
        "#;

        let settings: Settings = toml::from_str(text).expect("the documented form");

        assert!(settings.issuers[0].development && !settings.issuers[0].trust_kind);
        assert_eq!(settings.workloads[0].uid, Some(1001));
    }

    #[test]
    fn an_unknown_key_is_an_error() {
        assert!(toml::from_str::<Settings>("[[issuer]]\nisuer = \"x\"\n").is_err());
    }
}
