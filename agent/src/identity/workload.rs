//! Services: which processes an entry means, and the token that proves who they are.
//!
//! Looking a process up reads memory and /proc only. What takes longer (hashing a program, asking an issuer, reading a
//! pod's token) is done beside it, and until it is done the process is nobody.

mod asked;
#[cfg(feature = "spiffe")]
mod caller;
mod exe_hash;
mod images;
mod pattern;
mod place;
mod projected;
mod proof;
mod selectors;

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, RwLock},
};

use weir_policy::{Identity, PrincipalKind, Strength};

#[cfg(feature = "spiffe")]
use self::caller::{Brokered, Caller};
use self::{proof::Proof, selectors::Selectors};
use super::{
    bound::{Bound, Key},
    issuers::Issuers,
    oauth_client::OauthError,
    process::Processes,
    settings::WorkloadSettings,
    token::{PodClaim, SKEW_S, Verified},
};
use crate::{clock, telemetry};

pub use proof::ProofError;
pub(crate) use {
    exe_hash::ExeHashes,
    images::Images,
    selectors::{Look, Match},
};

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
    #[error(
        "workload {name:?} selects nothing: give systemd_unit, cgroup, uid, image_digest, k8s, exe or exe_sha256"
    )]
    NoSelector {
        /// The name.
        name: String,
    },
    /// Any user can start any program.
    #[error(
        "workload {name:?} selects by the program alone, which any user can satisfy: add systemd_unit, cgroup or uid, or say weak = true"
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
    /// A value that means nothing.
    #[error("workload {name:?}: {selector} = {value:?} is not of the form it must have")]
    Selector {
        /// The name.
        name: String,
        /// Which.
        selector: &'static str,
        /// As configured.
        value: String,
    },
    /// None, or more than one.
    #[error(
        "workload {name:?} needs exactly one proof: token_file, client_credentials, kubernetes or spiffe"
    )]
    Proofs {
        /// The name.
        name: String,
    },
    /// SPIFFE's settings.
    #[cfg(feature = "spiffe")]
    #[error("workload {name:?}: spiffe cannot be used")]
    Spiffe {
        /// The name.
        name: String,
        /// Why.
        #[source]
        source: super::spiffe::SpiffeError,
    },
    /// Not built in.
    #[cfg(not(feature = "spiffe"))]
    #[error(
        "workload {name:?}: this weir is built without SPIFFE: build it with `cargo build --release --features spiffe`"
    )]
    NoSpiffe {
        /// The name.
        name: String,
    },
    /// What a pod is called is known from its token alone.
    #[error("workload {name:?}: k8s needs the pod's own token as proof: add kubernetes")]
    PodWithoutToken {
        /// The name.
        name: String,
    },
    /// The client's settings.
    #[error("workload {name:?}: client_credentials cannot be used")]
    Client {
        /// The name.
        name: String,
        /// Why.
        #[source]
        source: OauthError,
    },
}

/// One entry and its present proofs.
#[derive(Debug)]
pub(crate) struct Workload {
    name: String,
    subject: Option<String>,
    selectors: Selectors,
    proof: Proof,
    proved: RwLock<HashMap<Instance, Proved>>,
}

/// What of an entry is proved by itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Instance {
    /// The entry is one identity.
    Whole,
    /// A pod, by its uid.
    Pod(String),
    /// A process.
    #[cfg(feature = "spiffe")]
    Process(Caller),
}

impl std::fmt::Display for Instance {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Whole => Ok(()),
            Self::Pod(uid) => write!(out, ", pod {uid}"),
            #[cfg(feature = "spiffe")]
            Self::Process(caller) => write!(out, ", {caller}"),
        }
    }
}

/// What came of the last looks at a proof.
#[derive(Debug, Default)]
struct Proved {
    bound: Option<Arc<Bound>>,
    pod: Option<PodClaim>,
    problem: Option<String>,
    /// When to look again, seconds since the epoch.
    due_s: i64,
}

/// What a new look at a proof changed.
#[derive(Debug)]
pub(crate) struct Renewal {
    /// No longer to be relied on.
    pub(crate) ended: Option<Arc<Bound>>,
    /// In its place.
    pub(crate) begun: Option<Arc<Bound>>,
}

/// What an entry says of a process that it means.
#[derive(Debug)]
pub(crate) enum Answer {
    /// Who it is.
    Bound(Arc<Bound>),
    /// There is no valid proof.
    Unproved,
    /// Something has to be found out first.
    Pending,
}

/// Reads and checks all entries; two that could match one process are found when one does.
pub(crate) fn parse(settings: &[WorkloadSettings]) -> Result<Vec<Workload>, WorkloadError> {
    let mut workloads: Vec<Workload> = Vec::with_capacity(settings.len());
    for entry in settings {
        let name = entry.name.clone();
        if name.is_empty() {
            return Err(WorkloadError::NoName);
        }
        if workloads.iter().any(|known| known.name == name) {
            return Err(WorkloadError::Twice { name });
        }
        workloads.push(Workload {
            name,
            subject: entry.subject.clone(),
            selectors: Selectors::parse(entry)?,
            proof: Proof::parse(entry)?,
            proved: RwLock::default(),
        });
    }
    Ok(workloads)
}

impl Workload {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What proves it, for people.
    pub(crate) fn proof(&self) -> &'static str {
        self.proof.name()
    }

    /// What it says of a process; `None` when it does not mean it.
    pub(crate) fn of(&self, look: &Look<'_>) -> Option<Answer> {
        match self.selectors.of(look) {
            Match::No => return None,
            Match::Pending => return Some(Answer::Pending),
            Match::Yes => {}
        }
        let Some(instance) = self.instance(look) else {
            return match self.proof {
                Proof::Projected(_) => None,
                // It has ended: nobody can be asked about it any more.
                _ => Some(Answer::Unproved),
            };
        };
        let proved = self.proved.read().ok()?;
        let Some(known) = proved.get(&instance) else {
            return Some(if self.ask_for(instance) {
                Answer::Pending
            } else {
                Answer::Unproved
            });
        };
        if let Proof::Projected(projected) = &self.proof {
            // A pod without a token of its own, or of another service: not meant.
            projected.means(known.pod.as_ref()?).then_some(())?;
        }
        Some(known.bound.clone().map_or(Answer::Unproved, Answer::Bound))
    }

    fn instance(&self, look: &Look<'_>) -> Option<Instance> {
        match self.proof {
            Proof::Projected(_) => self
                .selectors
                .pod_uid(look.cgroups, &look.evidence.cgroup_path)
                .map(Instance::Pod),
            #[cfg(feature = "spiffe")]
            Proof::Brokered(_) => Caller::of(look.seen, look.evidence).map(Instance::Process),
            _ => Some(Instance::Whole),
        }
    }

    /// Has an instance looked at soon; whether that is how its proof is found.
    fn ask_for(&self, instance: Instance) -> bool {
        match (&self.proof, instance) {
            (Proof::Projected(projected), Instance::Pod(uid)) => {
                projected.asked.add(uid);
                true
            }
            #[cfg(feature = "spiffe")]
            (Proof::Brokered(brokered), Instance::Process(caller)) => {
                brokered.asked.add(caller);
                true
            }
            _ => false,
        }
    }

    /// Whether pods or processes wait to be looked at.
    pub(crate) fn is_asked(&self) -> bool {
        match &self.proof {
            Proof::Projected(projected) => projected.asked.is_waiting(),
            #[cfg(feature = "spiffe")]
            Proof::Brokered(brokered) => brokered.asked.is_waiting(),
            _ => false,
        }
    }

    /// Why a process that it means has no proof, or the last one could not be renewed.
    pub(crate) fn problem_of(&self, look: &Look<'_>) -> Option<String> {
        let instance = self.instance(look)?;
        let proved = self.proved.read().ok()?;
        proved.get(&instance)?.problem.clone()
    }

    pub(crate) fn bounds(&self) -> Vec<Arc<Bound>> {
        let Ok(proved) = self.proved.read() else {
            return Vec::new();
        };
        proved
            .values()
            .filter_map(|known| known.bound.clone())
            .collect()
    }

    /// Why there is no proof, or why the last one could not be renewed.
    pub(crate) fn problems(&self) -> BTreeSet<String> {
        let Ok(proved) = self.proved.read() else {
            return BTreeSet::new();
        };
        proved
            .iter()
            .filter_map(|(instance, known)| {
                let why = known.problem.as_ref()?;
                Some(format!("workload {}{instance}: {why}", self.name))
            })
            .collect()
    }

    /// Looks at the proofs again that are due. Nothing: the same identities as before, for longer, or none as before.
    pub(crate) async fn renew(
        &self,
        issuers: &Issuers,
        hashes: &ExeHashes,
        processes: &Processes,
    ) -> Vec<Renewal> {
        // A broker alone is asked about processes.
        #[cfg(not(feature = "spiffe"))]
        let _ = processes;
        self.selectors.prepare(hashes);
        let now_s = now_s();
        let instances = match &self.proof {
            Proof::Projected(projected) => {
                projected.pods().into_iter().map(Instance::Pod).collect()
            }
            #[cfg(feature = "spiffe")]
            Proof::Brokered(brokered) => {
                return self.renew_processes(brokered, processes, now_s).await;
            }
            _ => BTreeSet::from([Instance::Whole]),
        };
        let mut renewals = Vec::new();
        for instance in &instances {
            if self.is_due(instance, now_s) {
                let obtained = self
                    .proof
                    .obtain(instance, self.subject.as_ref(), issuers)
                    .await
                    .map_err(|error| telemetry::chain(&error));
                renewals.extend(self.settle(instance, obtained, now_s));
            }
        }
        if let Proof::Projected(_) = self.proof {
            self.forget(&instances, now_s);
        }
        renewals
    }

    /// Forgets the processes that have ended, and has the others proved that are due or were asked for.
    #[cfg(feature = "spiffe")]
    async fn renew_processes(
        &self,
        brokered: &Brokered,
        processes: &Processes,
        now_s: i64,
    ) -> Vec<Renewal> {
        let mut callers = brokered.asked.take();
        if let Ok(mut proved) = self.proved.write() {
            proved.retain(|instance, known| {
                let Instance::Process(caller) = instance else {
                    return false;
                };
                let is_here = caller.is_here(processes);
                if is_here && known.due_s <= now_s {
                    callers.insert(caller.clone());
                }
                is_here
            });
        }
        let answers = brokered.obtain(callers, processes).await;
        answers
            .into_iter()
            .filter_map(|(caller, answer)| {
                self.settle(&Instance::Process(caller), answer.map(Some), now_s)
            })
            .collect()
    }

    fn is_due(&self, instance: &Instance, now_s: i64) -> bool {
        self.proved
            .read()
            .is_ok_and(|proved| proved.get(instance).is_none_or(|it| it.due_s <= now_s))
    }

    fn settle(
        &self,
        instance: &Instance,
        obtained: Result<Option<Verified>, String>,
        now_s: i64,
    ) -> Option<Renewal> {
        let mut proved = self.proved.write().ok()?;
        let known = proved.entry(instance.clone()).or_default();
        known.due_s = match instance {
            // A broker that said no would say so again at once; other processes must not make it be asked.
            #[cfg(feature = "spiffe")]
            Instance::Process(_) => now_s + ASKED_AGAIN_S,
            _ => 0,
        };
        let verified = match obtained {
            Ok(Some(verified)) => verified,
            // The last proof holds as long as it would have anyway.
            Ok(None) => {
                known.problem = None;
                return None;
            }
            Err(why) => {
                known.problem = Some(why);
                return None;
            }
        };
        known.problem = None;
        known.pod.clone_from(&verified.extra.pod);
        if self.proof.is_asked_for() {
            // Asked for anew in the last third of its life, without the minute by which clocks may differ.
            known.due_s = now_s + (verified.not_after_s - SKEW_S - now_s).max(0) * 2 / 3;
        }
        let begun = self.bind(verified);
        if let Some(bound) = known
            .bound
            .as_ref()
            .filter(|bound| bound.identity == begun.identity)
        {
            bound.extend(begun.not_after_s());
            return None;
        }
        let begun = Arc::new(begun);
        let ended = known.bound.replace(Arc::clone(&begun));
        Some(Renewal {
            ended,
            begun: Some(begun),
        })
    }

    /// Pods come and go.
    fn forget(&self, present: &BTreeSet<Instance>, now_s: i64) {
        let Ok(mut proved) = self.proved.write() else {
            return;
        };
        if proved.len() > REMEMBERED_PODS {
            proved.retain(|instance, _| present.contains(instance));
        }
        proved.retain(|instance, known| {
            let is_over = known
                .bound
                .as_ref()
                .is_some_and(|bound| bound.not_after_s() <= now_s);
            !is_over || present.contains(instance)
        });
    }

    fn bind(&self, verified: Verified) -> Bound {
        // An issuer whose kinds are not believed calls everyone human; here the operator says what this is. The time of
        // the login changes with every token and would make each a new identity.
        let mut principal = verified.principal;
        principal.kind = PrincipalKind::Workload;
        principal.auth_time = None;
        let identity = Identity {
            principal,
            actors: Vec::new(),
            method: "workload".to_owned(),
            strength: if self.selectors.are_weak() {
                Strength::Weak
            } else {
                Strength::Strong
            },
            purpose: None,
            delegation: None,
        };
        let key = Key::Workload {
            name: self.name.clone(),
        };
        let mut bound = Bound::new(identity, key, verified.fingerprint, verified.not_after_s);
        bound.development = verified.development;
        bound
    }
}

fn now_s() -> i64 {
    i64::try_from(clock::now().as_secs()).unwrap_or(i64::MAX)
}

/// A process without a proof is asked about again after this, seconds.
#[cfg(feature = "spiffe")]
const ASKED_AGAIN_S: i64 = 30;

/// Pods that were looked at, beyond which those that are not on this node are forgotten.
const REMEMBERED_PODS: usize = 4_096;

#[cfg(test)]
mod tests;
