//! Who is behind a process: the bindings there are, and the fixed order in which they count.
//!
//! An agent's run, then a workload entry, then a login; else unidentified. The mark of a run sticks: a process in a
//! run's cgroup, now or when it connected, resolves to the run or to nobody, never to the person alone. That holds
//! after the run's end, and for runs that an earlier agent made and this one knows nothing of.

mod ambiguities;
mod bindings;
mod outcomes;
mod trail;

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use self::ambiguities::Ambiguities;
pub use self::{
    outcomes::{Absence, BindError, Change, NewBinding, Resolved},
    trail::{Said, Tried},
};
use super::{
    account::Account,
    agents::{AgentError, Agents, Delegated, DelegationError},
    bound::{Bound, Key, State},
    cgroups::{Cgroups, CgroupsError},
    events::{EventError, Receiver, Whom},
    evidence::Evidence,
    fetch::FetchError,
    issuers::{IssuerError, Issuers},
    kept::Kept,
    login::Granted,
    process::{Processes, Sighting},
    renewal::{Outcome, Renewals},
    settings::Settings,
    token::{TokenError, Verified},
    workload::{self, Answer, ExeHashes, Images, Look, Workload, WorkloadError},
};
use crate::{capture::Origin, clock};
use weir_policy::Identity;

/// Why identities cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The cgroup hierarchy.
    #[error("cannot use the cgroup hierarchy")]
    Cgroups(#[from] CgroupsError),
    /// /proc.
    #[error("cannot read /proc")]
    Proc(#[source] io::Error),
    /// An `[[issuer]]` entry.
    #[error("cannot use the configured issuers")]
    Issuers(#[from] IssuerError),
    /// A `[[workload]]` entry.
    #[error("cannot use the configured workloads")]
    Workloads(#[from] WorkloadError),
    /// An `[[ai_agent]]` entry.
    #[error("cannot use the configured AI agents")]
    Agents(#[from] AgentError),
}

/// All identities of this host.
#[derive(Debug)]
pub struct Identities {
    cgroups: Cgroups,
    processes: Processes,
    issuers: Issuers,
    receivers: Vec<Arc<Receiver>>,
    workloads: Vec<Workload>,
    agents: Agents,
    hashes: ExeHashes,
    images: Images,
    ambiguities: Ambiguities,
    bindings: RwLock<Bindings>,
    kept: Kept,
    renewals: Renewals,
    generation: AtomicU64,
    /// Held while a run is made and entered, so that the sweep does not take it for an empty one.
    making: Mutex<()>,
}

/// How many logins there are, and how well they are vouched for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Logins {
    /// Those that hold.
    pub live: usize,
    /// Those whose time is over while their session is not.
    pub expired: usize,
    /// Those whose provider does not answer.
    pub stale: usize,
    /// Those that the agent renews.
    pub renewed: usize,
}

#[derive(Debug, Default)]
struct Bindings {
    /// By the run's cgroup path.
    runs: HashMap<String, Arc<Bound>>,
    /// By audit session id, of this boot.
    sessions: HashMap<u32, Arc<Bound>>,
    /// Those whose expiry has been reported.
    expired: Vec<Arc<Bound>>,
}

impl Identities {
    /// Sets up identities. `cgroup` is where the kernel programs are attached; runs are made below it. Issuers' keys
    /// and the bindings of this boot are kept in `state_dir` and found again. Asks nobody on the network.
    ///
    /// # Errors
    ///
    /// [`OpenError`] for settings that cannot be used, or a host without cgroup v2 or /proc.
    pub fn open(settings: &Settings, state_dir: &Path, cgroup: &Path) -> Result<Self, OpenError> {
        let cgroups = Cgroups::open(cgroup)?;
        let issuers = Issuers::open(&settings.issuers, &keys_folder(state_dir))?;
        let identities = Self {
            receivers: receivers(&issuers, &keys_folder(state_dir))?,
            processes: Processes::open(cgroups.clone()).map_err(OpenError::Proc)?,
            cgroups,
            issuers,
            workloads: workload::parse(&settings.workloads)?,
            agents: Agents::parse(&settings.ai_agents)?,
            hashes: ExeHashes::default(),
            images: Images::default(),
            ambiguities: Ambiguities::default(),
            bindings: RwLock::default(),
            kept: Kept::at(state_dir.join("bindings.json")),
            renewals: Renewals::default(),
            generation: AtomicU64::new(0),
            making: Mutex::new(()),
        };
        identities.restore();
        Ok(identities)
    }

    /// Who is behind a socket. Reads /proc and memory only; never the network.
    #[must_use]
    pub fn resolve(&self, origin: &Origin) -> Resolved {
        self.resolve_sighting(&Sighting::from(origin))
    }

    /// Who is behind a process that runs now.
    ///
    /// # Errors
    ///
    /// When there is no such process.
    pub fn resolve_process(&self, pid: u32) -> io::Result<Resolved> {
        Ok(self.resolve_sighting(&self.processes.sighting(pid)?))
    }

    /// Changes whenever any binding begins, ends or is replaced: a session that sees another number than before
    /// resolves its origin again. Expiry by time alone is seen in [`Bound::state`].
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Whether a development issuer is trusted: every report says so.
    #[must_use]
    pub fn development(&self) -> bool {
        self.issuers.development()
    }

    /// What `weir doctor` has to say: workload entries without a valid proof, and those that mean the same process.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        self.workloads
            .iter()
            .flat_map(Workload::problems)
            .chain(self.ambiguities.list())
            .collect()
    }

    /// Whether something was asked for that [`Identities::renew_workloads`] would find out.
    #[must_use]
    pub fn wants_renewal(&self) -> bool {
        self.workloads.iter().any(Workload::is_asked)
    }

    /// How the logins stand, for `weir status`.
    #[must_use]
    pub fn logins(&self) -> Logins {
        let now = clock::now();
        let mut logins = Logins::default();
        let is_login = |bound: &Arc<Bound>| {
            bound.parent.is_none() && !matches!(bound.key, Key::Workload { .. })
        };
        for bound in self.bindings().iter().filter(|bound| is_login(bound)) {
            match bound.state(now) {
                State::Live => logins.live += 1,
                State::Expired => logins.expired += 1,
                State::Revoked => continue,
            }
            logins.stale += usize::from(bound.is_stale());
            logins.renewed += usize::from(bound.is_renewable());
        }
        logins
    }

    /// The kernel's boot id, as bindings to audit sessions carry it.
    #[must_use]
    pub fn boot_id(&self) -> &str {
        self.processes.boot_id()
    }

    /// The audit sessions of this boot that a person has logged in in, ended log-ins that still mark processes included.
    #[must_use]
    pub fn sessions_of(&self, person: &Identity) -> Vec<u32> {
        let is_same = |bound: &Arc<Bound>| {
            let (own, other) = (&bound.identity.principal, &person.principal);
            own.issuer == other.issuer && own.subject == other.subject
        };
        let Ok(bindings) = self.bindings.read() else {
            return Vec::new();
        };
        let logins = bindings.sessions.values().filter(|bound| is_same(bound));
        logins
            .filter_map(|bound| match &bound.key {
                Key::AuditSession { boot_id, id } if boot_id == self.boot_id() => Some(*id),
                _ => None,
            })
            .collect()
    }

    /// All bindings there are, ended ones that still mark processes included.
    #[must_use]
    pub fn bindings(&self) -> Vec<Arc<Bound>> {
        let workloads = self.workloads.iter().flat_map(Workload::bounds);
        let Ok(bindings) = self.bindings.read() else {
            return workloads.collect();
        };
        bindings
            .runs
            .values()
            .chain(bindings.sessions.values())
            .cloned()
            .chain(workloads)
            .collect()
    }

    /// Verifies a bearer token. May ask the issuer for its keys.
    ///
    /// # Errors
    ///
    /// [`TokenError`] for every rule that it breaks.
    pub async fn verify(&self, token: &str) -> Result<Verified, TokenError> {
        self.issuers.verify(token).await
    }

    /// Has the development issuer sign a token; `None` when none is configured.
    ///
    /// # Errors
    ///
    /// [`FetchError`] when it cannot be reached or knows no such user.
    pub async fn development_token(&self, user: &str) -> Option<Result<String, FetchError>> {
        self.issuers.development_token(user).await
    }

    /// The configured issuers.
    #[must_use]
    pub fn issuers(&self) -> &Issuers {
        &self.issuers
    }

    /// Keeps a login true from now on: asks its provider again and again, and gives the refresh token back at its end.
    /// Must be called inside a runtime.
    pub fn keep_true(&self, bound: &Arc<Bound>, granted: Granted, account: Account) {
        bound.set_renewable(granted.refresh_token.is_some());
        self.renewals.add(bound, granted, account);
    }

    /// Asks providers whether logins still hold, as far as it is time; to be called twice a second. Does not wait for
    /// them: what they answer is in what a later call returns.
    pub async fn renew_logins(&self) -> Vec<Change> {
        let answers = self.renewals.turn(|bound| self.is_held(bound)).await;
        let mut changes = Vec::new();
        for (bound, outcome) in answers {
            changes.extend(self.settle_renewal(&bound, outcome));
        }
        changes
    }

    /// Where security events come from.
    #[must_use]
    pub fn receivers(&self) -> &[Arc<Receiver>] {
        &self.receivers
    }

    /// Takes a security event of a provider, and ends the logins that it is about. Says whom it is about, too: somebody
    /// may be logged in where no process of this host is.
    ///
    /// # Errors
    ///
    /// [`EventError`] for every rule that it breaks.
    pub async fn receive_event(
        &self,
        receiver: &Receiver,
        event: &str,
    ) -> Result<(Whom, Vec<Change>), EventError> {
        let whom = receiver.receive(event).await?;
        // A login that went on into an agent's run is known only through the run.
        let changes: Vec<Change> = self
            .bindings()
            .iter()
            .map(root)
            .filter(|bound| whom.is(&bound.identity.principal))
            .flat_map(|bound| self.end(bound, "revoked"))
            .collect();
        tracing::info!(
            issuer = whom.issuer,
            ended = changes.len(),
            "a security event was received"
        );
        Ok((whom, changes))
    }

    fn settle_renewal(&self, bound: &Arc<Bound>, outcome: Outcome) -> Vec<Change> {
        let change = |what, bound: &Arc<Bound>| {
            vec![Change {
                what,
                bound: Arc::clone(bound),
            }]
        };
        match outcome {
            Outcome::Holds(verified) => {
                let was_stale = bound.is_stale();
                bound.extend(verified.not_after_s);
                let mut principal = verified.principal;
                // A refresh need not repeat when the person logged in.
                principal.auth_time = principal.auth_time.or(bound.identity.principal.auth_time);
                if principal != bound.identity.principal {
                    let identity = Identity {
                        principal,
                        ..bound.identity.clone()
                    };
                    let now = Arc::new(bound.renewed(identity, verified.fingerprint));
                    self.put_in_place(bound, &now);
                    self.renewals.replace(&now);
                    return change("renewed", &now);
                }
                self.keep();
                if was_stale {
                    return change("fresh", bound);
                }
                Vec::new()
            }
            Outcome::Silent { until_s } => {
                if bound.make_stale(until_s) {
                    change("stale", bound)
                } else {
                    Vec::new()
                }
            }
            Outcome::Over => self.end(bound, "revoked"),
        }
    }

    /// Has an AI agent act for whom `parent` is. Asks the issuer.
    ///
    /// # Errors
    ///
    /// [`DelegationError`] when the agent is not known, or its issuer does not say so.
    pub async fn delegate(
        &self,
        agent: &str,
        parent: &Arc<Bound>,
    ) -> Result<Delegated, DelegationError> {
        self.agents.delegate(agent, parent, &self.issuers).await
    }

    /// Looks at the workloads' proofs again; to be called at start and every half minute.
    pub async fn renew_workloads(&self) -> Vec<Change> {
        let mut changes = Vec::new();
        for entry in &self.workloads {
            let before = entry.problems();
            let renewals = entry
                .renew(&self.issuers, &self.hashes, &self.processes)
                .await;
            for why in entry.problems().difference(&before) {
                tracing::warn!(why, "a workload cannot be identified");
            }
            for renewal in renewals {
                // Not revoked: the sessions that rest on it go on with the new one.
                let mut what = "renewed";
                if let (Some(ended), Some(begun)) = (&renewal.ended, &renewal.begun)
                    && !ended.supersede(begun)
                {
                    ended.revoke();
                    what = "replaced";
                }
                changes.extend(renewal.ended.map(|bound| Change { what, bound }));
                changes.extend(renewal.begun.map(|bound| Change {
                    what: "workload",
                    bound,
                }));
            }
        }
        if !changes.is_empty() {
            self.changed();
        }
        changes
    }

    /// Whether a process could gain privileges by executing a file.
    ///
    /// # Errors
    ///
    /// When there is no such process.
    pub fn can_gain_privileges(&self, pid: u32) -> io::Result<bool> {
        self.processes.can_gain_privileges(pid)
    }

    fn resolve_sighting(&self, seen: &Sighting) -> Resolved {
        let observation = self.processes.observe(seen);
        let evidence = self.with_hash(seen, observation.evidence);
        let captured = self.run_at(&evidence.cgroup_path);
        let present = observation
            .present_cgroup
            .as_deref()
            .and_then(|path| self.run_at(path));
        // A process may have been moved between connecting and now: whichever is an agent's run counts.
        let runs = [captured, present];
        let agent_run = runs
            .iter()
            .flatten()
            .find(|run| run.is_agent_run_or_foreign());
        let outcome = if let Some(run) = agent_run {
            run.outcome()
        } else if evidence.cgroup_path.is_empty() {
            Err(Absence::UnknownCgroup)
        } else {
            match self.workload_of(seen, &evidence) {
                Ok(None) => runs
                    .iter()
                    .flatten()
                    .next()
                    .map_or_else(|| self.session_of(seen), RunMark::outcome),
                Ok(Some(bound)) => live(bound),
                Err(absence) => Err(absence),
            }
        };
        let in_agent_run = agent_run.is_some();
        match outcome {
            Ok(bound) => Resolved {
                evidence,
                identity: Some(bound),
                absence: Absence::Unbound,
                in_agent_run,
            },
            Err(absence) => Resolved {
                evidence,
                identity: None,
                absence,
                in_agent_run,
            },
        }
    }

    /// With the program file's hash, where it is known already: the first process of a program only asks for it.
    fn with_hash(&self, seen: &Sighting, evidence: Arc<Evidence>) -> Arc<Evidence> {
        let file = self.processes.open_exe(seen);
        match file.and_then(|file| self.hashes.of(file)) {
            Some(digest) => Arc::new(Evidence {
                exe_sha256: Some(hex::encode(digest)),
                ..(*evidence).clone()
            }),
            None => evidence,
        }
    }

    /// The run that a cgroup path lies in.
    fn run_at(&self, path: &str) -> Option<RunMark> {
        let run = self.cgroups.run_of(path)?;
        let bindings = self.bindings.read().ok();
        let bound = bindings.and_then(|bindings| bindings.runs.get(run).cloned());
        Some(bound.map_or(RunMark::Foreign, RunMark::Known))
    }

    fn look<'a>(&'a self, seen: &'a Sighting, evidence: &'a Evidence) -> Look<'a> {
        Look {
            seen,
            evidence,
            processes: &self.processes,
            cgroups: &self.cgroups,
            hashes: &self.hashes,
            images: &self.images,
        }
    }

    fn workload_of(
        &self,
        seen: &Sighting,
        evidence: &Evidence,
    ) -> Result<Option<Arc<Bound>>, Absence> {
        let look = self.look(seen, evidence);
        let mut answers: Vec<(&str, Answer)> = self
            .workloads
            .iter()
            .filter_map(|entry| Some((entry.name(), entry.of(&look)?)))
            .collect();
        let is_pending = |(_, answer): &(&str, Answer)| matches!(answer, Answer::Pending);
        if let Some((name, _)) = answers.iter().find(|answer| is_pending(answer)) {
            return Err(Absence::Pending((*name).to_owned()));
        }
        if answers.len() > 1 {
            let names: Vec<_> = answers.iter().map(|(name, _)| (*name).to_owned()).collect();
            self.ambiguities.note(&names, evidence);
            return Err(Absence::Ambiguous(names));
        }
        match answers.pop() {
            None => Ok(None),
            Some((_, Answer::Bound(bound))) => Ok(Some(bound)),
            Some((name, _)) => Err(Absence::Unproved(name.to_owned())),
        }
    }

    fn session_of(&self, seen: &Sighting) -> Result<Arc<Bound>, Absence> {
        let id = seen.audit_session.ok_or(Absence::Unbound)?;
        let bindings = self.bindings.read().map_err(|_| Absence::Unbound)?;
        live(
            bindings
                .sessions
                .get(&id)
                .cloned()
                .ok_or(Absence::Unbound)?,
        )
    }
}

/// What being in a run's cgroup means.
enum RunMark {
    Known(Arc<Bound>),
    Foreign,
}

impl RunMark {
    fn is_agent_run_or_foreign(&self) -> bool {
        match self {
            Self::Known(bound) => bound.is_agent_run(),
            Self::Foreign => true,
        }
    }

    fn outcome(&self) -> Result<Arc<Bound>, Absence> {
        match self {
            Self::Known(bound) => live(Arc::clone(bound)),
            Self::Foreign => Err(Absence::ForeignRun),
        }
    }
}

fn live(bound: Arc<Bound>) -> Result<Arc<Bound>, Absence> {
    match bound.state(clock::now()) {
        State::Live => Ok(bound),
        State::Expired => Err(Absence::Expired),
        State::Revoked => Err(Absence::Revoked),
    }
}

fn receivers(issuers: &Issuers, folder: &Path) -> Result<Vec<Arc<Receiver>>, IssuerError> {
    let opened = issuers
        .all()
        .iter()
        .map(|issuer| Receiver::open(issuer, folder));
    opened
        .filter_map(Result::transpose)
        .map(|receiver| receiver.map(Arc::new))
        .collect()
}

/// The login or workload that a binding was derived from.
fn root(bound: &Arc<Bound>) -> &Arc<Bound> {
    let mut root = bound;
    while let Some(parent) = &root.parent {
        root = parent;
    }
    root
}

fn keys_folder(state_dir: &Path) -> PathBuf {
    state_dir.join("issuers")
}
