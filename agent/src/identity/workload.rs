//! Services: which processes an entry means, and the token that proves who they are.

mod pattern;

use std::{
    io::Read,
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::{Arc, RwLock},
};

use weir_policy::{Identity, PrincipalKind, Strength};

use self::pattern::{is_anchored, is_below};
use super::{
    bound::{Bound, Key},
    evidence::Evidence,
    issuers::Issuers,
    settings::WorkloadSettings,
    token::{TOKEN_BYTES, TokenError, Verified},
};
use crate::telemetry;

/// Why an entry cannot be used as written.
#[derive(Debug, thiserror::Error)]
pub enum WorkloadError {
    /// Reports need it.
    #[error("a workload entry has no name")]
    NoName,
    /// Two entries of one name.
    #[error("workload {name:?} is configured twice")]
    Twice {
        /// The name.
        name: String,
    },
    /// It would mean every process.
    #[error("workload {name:?} selects nothing: give cgroup, exe or uid")]
    NoSelector {
        /// The name.
        name: String,
    },
    /// Any user can start any program.
    #[error(
        "workload {name:?} selects by exe alone, which any user can satisfy: add cgroup or uid, or say weak = true"
    )]
    Weak {
        /// The name.
        name: String,
    },
    /// A pattern that could be satisfied further down the hierarchy.
    #[error(
        "workload {name:?}: the cgroup pattern {pattern:?} must start with / and may not hold ** or empty parts"
    )]
    Pattern {
        /// The name.
        name: String,
        /// As configured.
        pattern: String,
    },
}

/// Why an entry is not proved at the moment.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// The token file.
    #[error("cannot read the token file {path}")]
    Read {
        /// Where.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The token breaks a rule.
    #[error("the token is refused")]
    Token(#[source] TokenError),
    /// The token is somebody else's.
    #[error("the token is for {found:?}, not for a workload as the entry says")]
    Subject {
        /// The token's subject.
        found: String,
    },
}

/// One entry and its present proof.
#[derive(Debug)]
pub(crate) struct Workload {
    settings: WorkloadSettings,
    proved: RwLock<Proof>,
}

#[derive(Debug, Default)]
struct Proof {
    bound: Option<Arc<Bound>>,
    problem: Option<String>,
}

/// What a new look at the proof changed.
#[derive(Debug)]
pub(crate) struct Renewal {
    /// No longer to be relied on.
    pub(crate) ended: Option<Arc<Bound>>,
    /// In its place.
    pub(crate) begun: Option<Arc<Bound>>,
}

/// Reads and checks all entries; two that could match one process are found when one does.
pub(crate) fn parse(settings: &[WorkloadSettings]) -> Result<Vec<Workload>, WorkloadError> {
    let mut workloads: Vec<Workload> = Vec::with_capacity(settings.len());
    for entry in settings {
        let name = entry.name.clone();
        if name.is_empty() {
            return Err(WorkloadError::NoName);
        }
        if workloads.iter().any(|known| known.settings.name == name) {
            return Err(WorkloadError::Twice { name });
        }
        if entry.cgroup.is_none() && entry.exe.is_none() && entry.uid.is_none() {
            return Err(WorkloadError::NoSelector { name });
        }
        if entry.cgroup.is_none() && entry.uid.is_none() && !entry.weak {
            return Err(WorkloadError::Weak { name });
        }
        if let Some(pattern) = entry
            .cgroup
            .as_ref()
            .filter(|pattern| !is_anchored(pattern))
        {
            return Err(WorkloadError::Pattern {
                name,
                pattern: pattern.clone(),
            });
        }
        workloads.push(Workload {
            settings: entry.clone(),
            proved: RwLock::default(),
        });
    }
    Ok(workloads)
}

impl Workload {
    pub(crate) fn name(&self) -> &str {
        &self.settings.name
    }

    /// Whether the entry means this process: every selector that is given must match.
    pub(crate) fn matches(&self, evidence: &Evidence) -> bool {
        let WorkloadSettings {
            cgroup, exe, uid, ..
        } = &self.settings;
        cgroup
            .as_ref()
            .is_none_or(|pattern| is_below(pattern, &evidence.cgroup_path))
            && exe
                .as_ref()
                .is_none_or(|exe| exe == Path::new(&evidence.exe_path))
            && uid.is_none_or(|uid| uid == evidence.uid)
    }

    pub(crate) fn bound(&self) -> Option<Arc<Bound>> {
        self.proved.read().ok()?.bound.clone()
    }

    /// Why there is no proof, or why the last one could not be renewed.
    pub(crate) fn problem(&self) -> Option<String> {
        self.proved.read().ok()?.problem.clone()
    }

    /// Reads the token again. `None`: the same identity as before, for longer, or no proof as before.
    pub(crate) async fn renew(&self, issuers: &Issuers) -> Option<Renewal> {
        let verified = self.verify(issuers).await;
        let mut proof = self.proved.write().ok()?;
        match verified {
            Err(error) => {
                proof.problem = Some(telemetry::chain(&error));
                None
            }
            Ok(verified) => {
                proof.problem = None;
                let begun = self.bind(verified);
                if let Some(bound) = proof
                    .bound
                    .as_ref()
                    .filter(|bound| bound.identity == begun.identity)
                {
                    bound.extend(begun.not_after_s());
                    return None;
                }
                let begun = Arc::new(begun);
                let ended = proof.bound.replace(Arc::clone(&begun));
                Some(Renewal {
                    ended,
                    begun: Some(begun),
                })
            }
        }
    }

    async fn verify(&self, issuers: &Issuers) -> Result<Verified, ProofError> {
        let path = &self.settings.token_file;
        let token = read_token(path).map_err(|source| ProofError::Read {
            path: path.clone(),
            source,
        })?;
        let verified = issuers
            .verify(token.trim())
            .await
            .map_err(ProofError::Token)?;
        let principal = &verified.principal;
        let expected = self
            .settings
            .subject
            .as_ref()
            .is_none_or(|subject| *subject == principal.subject);
        if principal.kind == PrincipalKind::Agent || !expected {
            return Err(ProofError::Subject {
                found: principal.subject.clone(),
            });
        }
        Ok(verified)
    }

    fn bind(&self, verified: Verified) -> Bound {
        let strong = self.settings.cgroup.is_some() || self.settings.uid.is_some();
        // An issuer whose kinds are not believed calls everyone human; here the operator says what this is. The time of
        // the login changes with every token and would make each a new identity.
        let mut principal = verified.principal;
        principal.kind = PrincipalKind::Workload;
        principal.auth_time = None;
        let identity = Identity {
            principal,
            actors: Vec::new(),
            method: "workload".to_owned(),
            strength: if strong {
                Strength::Strong
            } else {
                Strength::Weak
            },
            purpose: None,
            delegation: None,
        };
        let key = Key::Workload {
            name: self.settings.name.clone(),
        };
        let mut bound = Bound::new(identity, key, verified.fingerprint, verified.not_after_s);
        bound.development = verified.development;
        bound
    }
}

/// Reads at most one byte more than a token may have, and never waits on a pipe.
pub(crate) fn read_token(path: &Path) -> std::io::Result<String> {
    let file = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::other("not a regular file"));
    }
    let mut text = String::new();
    file.take(TOKEN_BYTES as u64 + 2)
        .read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str) -> WorkloadSettings {
        WorkloadSettings {
            name: name.to_owned(),
            ..WorkloadSettings::default()
        }
    }

    #[test]
    fn entries_that_mean_anyone_are_refused() {
        let exe = WorkloadSettings {
            exe: Some("/usr/bin/psql".into()),
            ..entry("a")
        };
        assert!(matches!(
            parse(&[entry("a")]),
            Err(WorkloadError::NoSelector { .. })
        ));
        assert!(matches!(
            parse(std::slice::from_ref(&exe)),
            Err(WorkloadError::Weak { .. })
        ));
        assert!(
            parse(&[WorkloadSettings {
                weak: true,
                ..exe.clone()
            }])
            .is_ok()
        );
        for pattern in ["system.slice/x", "/a/**/b", "/a//b", "/"] {
            let entry = WorkloadSettings {
                cgroup: Some(pattern.to_owned()),
                ..entry("a")
            };
            assert!(
                matches!(parse(&[entry]), Err(WorkloadError::Pattern { .. })),
                "{pattern}"
            );
        }
        let twice = WorkloadSettings {
            uid: Some(1),
            ..entry("a")
        };
        assert!(matches!(
            parse(&[twice.clone(), twice]),
            Err(WorkloadError::Twice { .. })
        ));
    }

    #[test]
    fn every_selector_must_match() {
        let settings = WorkloadSettings {
            cgroup: Some("/s/b".to_owned()),
            uid: Some(7),
            exe: Some("/b".into()),
            ..entry("a")
        };
        let workloads = parse(&[settings]).expect("a good entry");
        let evidence = Evidence {
            cgroup_path: "/s/b/c".to_owned(),
            uid: 7,
            exe_path: "/b".to_owned(),
            ..Evidence::default()
        };
        assert!(workloads[0].matches(&evidence));
        assert!(!workloads[0].matches(&Evidence {
            uid: 8,
            ..evidence.clone()
        }));
        assert!(!workloads[0].matches(&Evidence {
            exe_path: "/b (deleted)".to_owned(),
            ..evidence.clone()
        }));
        assert!(!workloads[0].matches(&Evidence {
            cgroup_path: "/s".to_owned(),
            ..evidence
        }));
    }
}
