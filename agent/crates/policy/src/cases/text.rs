//! `cases.yaml` as it is written.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_saphyr::Spanned;
use weir_sql::Mask;

use crate::{
    database::DatabaseText,
    principal::{
        Actor, Delegation, Identity, Method, Principal, PrincipalKind, Process, Strength, Target,
    },
    schema::OneOrMany,
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CaseFile {
    pub(super) version: Spanned<u32>,
    pub(super) people: BTreeMap<String, PersonText>,
    /// Where a case does not say otherwise.
    #[serde(default)]
    pub(super) target: TargetText,
    pub(super) cases: Vec<CaseText>,
    /// What the database holds; without it no statement's columns are known.
    pub(super) catalog: Option<Spanned<DatabaseText>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PersonText {
    pub(super) kind: PersonKind,
    #[serde(default)]
    pub(super) groups: Vec<String>,
    #[serde(default = "yes")]
    pub(super) groups_complete: bool,
    #[serde(rename = "for")]
    pub(super) on_behalf_of: Option<Spanned<String>>,
    pub(super) purpose: Option<String>,
    #[serde(default)]
    pub(super) issuer: String,
    #[serde(default)]
    pub(super) claims: BTreeMap<String, String>,
    #[serde(default = "strong")]
    pub(super) strength: Strength,
    pub(super) run: Option<String>,
    pub(super) method: Option<Method>,
    pub(super) delegation: Option<Delegation>,
    pub(super) acr: Option<String>,
    #[serde(default)]
    pub(super) amr: Vec<String>,
    /// How long before the case the person logged in; written `90s`, `15m`, `2h`, `1d`.
    pub(super) auth_age: Option<Spanned<String>>,
    /// Whether the provider could not be asked lately.
    #[serde(default)]
    pub(super) stale: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum PersonKind {
    Human,
    Workload,
    Agent,
    Unidentified,
}

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct TargetText {
    pub(super) endpoint: Option<String>,
    pub(super) environment: Option<String>,
    pub(super) engine: Option<String>,
    pub(super) database: Option<String>,
    pub(super) database_user: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ProcessText {
    pub(super) exe: String,
    pub(super) exe_sha256: Option<String>,
    pub(super) cgroup: String,
    pub(super) unit: Option<String>,
    pub(super) container: Option<String>,
    pub(super) uid: u32,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CaseText {
    pub(super) name: Spanned<String>,
    #[serde(rename = "as")]
    pub(super) who: Spanned<String>,
    #[serde(default)]
    pub(super) on: TargetText,
    #[serde(default)]
    pub(super) process: ProcessText,
    pub(super) sql: Option<String>,
    pub(super) request: Option<RequestText>,
    pub(super) expect: Expected,
    pub(super) rules: Option<Vec<String>>,
    pub(super) would: Option<Vec<String>>,
    pub(super) tags: Option<Vec<String>>,
    /// Masks of the columns that the statement touches; `{}` for none.
    pub(super) masked: Option<BTreeMap<String, Option<Mask>>>,
    /// Relation to the conditions on its rows; `{}` for none.
    pub(super) filters: Option<BTreeMap<String, OneOrMany<String>>>,
    pub(super) cap: Option<CapText>,
    /// Ids of the rules whose budgets the request counts for.
    pub(super) budgets: Option<Vec<String>>,
    pub(super) stores_masked: Option<bool>,
    /// When it is asked: a date or an instant.
    pub(super) at: Option<Spanned<String>>,
    /// Part of the text that the client reads.
    pub(super) reason: Option<String>,
}

/// What becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Expected {
    Allow,
    /// Goes on once somebody has agreed.
    Approve,
    Deny,
}

/// What may come back; `{}` for no limit.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CapText {
    pub(super) rows: Option<u64>,
    pub(super) bytes: Option<u64>,
}

/// What is not a text.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum RequestText {
    Connect,
    Replication,
    FunctionCall,
}

impl PersonText {
    pub(super) fn identity(
        &self,
        name: &str,
        principal: Option<(&str, &Self)>,
    ) -> Option<Identity> {
        let kind = match self.kind {
            PersonKind::Unidentified => return None,
            PersonKind::Human => PrincipalKind::Human,
            PersonKind::Workload => PrincipalKind::Workload,
            PersonKind::Agent => PrincipalKind::Agent,
        };
        if let Some((of, principal)) = principal {
            let mut identity = principal.identity(of, None)?;
            identity.actors.push(Actor {
                issuer: self.issuer.clone(),
                subject: name.to_owned(),
                client_id: None,
                run_id: self.run.clone(),
            });
            identity.purpose.clone_from(&self.purpose);
            (self.method.unwrap_or(Method::Exec).word()).clone_into(&mut identity.method);
            identity.delegation = self.delegation.or(Some(Delegation::Local));
            return Some(identity);
        }
        Some(Identity {
            principal: Principal {
                issuer: self.issuer.clone(),
                subject: name.to_owned(),
                kind,
                display: name.to_owned(),
                groups: self.groups.clone(),
                groups_complete: self.groups_complete,
                auth_time: None,
                acr: self.acr.clone(),
                amr: self.amr.clone(),
                claims: self.claims.clone(),
            },
            actors: Vec::new(),
            method: self.method().word().to_owned(),
            strength: self.strength,
            purpose: self.purpose.clone(),
            delegation: self.delegation,
        })
    }

    fn method(&self) -> Method {
        self.method.unwrap_or(match self.kind {
            PersonKind::Workload => Method::Workload,
            _ => Method::Login,
        })
    }
}

impl TargetText {
    pub(super) fn or(self, other: &Self) -> Self {
        let or = |own: Option<String>, other: &Option<String>| own.or_else(|| other.clone());
        Self {
            endpoint: or(self.endpoint, &other.endpoint),
            environment: or(self.environment, &other.environment),
            engine: or(self.engine, &other.engine),
            database: or(self.database, &other.database),
            database_user: or(self.database_user, &other.database_user),
        }
    }

    pub(super) fn target(&self) -> Target {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        Target {
            endpoint: text(&self.endpoint),
            environment: text(&self.environment),
            engine: text(&self.engine),
            database: text(&self.database),
            database_user: text(&self.database_user),
        }
    }
}

impl Default for ProcessText {
    /// Some account; root asks only where a case says so.
    fn default() -> Self {
        Self {
            exe: String::new(),
            exe_sha256: None,
            cgroup: String::new(),
            unit: None,
            container: None,
            uid: 1000,
        }
    }
}

impl ProcessText {
    pub(super) fn process(&self) -> Process {
        Process {
            exe: self.exe.clone(),
            exe_sha256: self.exe_sha256.clone(),
            cgroup: self.cgroup.clone(),
            unit: self.unit.clone(),
            container: self.container.clone(),
            uid: self.uid,
        }
    }
}

fn yes() -> bool {
    true
}

fn strong() -> Strength {
    Strength::Strong
}
