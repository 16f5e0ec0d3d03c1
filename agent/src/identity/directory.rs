//! Who is behind a process: the bindings there are, and the fixed order in which they count.
//!
//! An agent's run, then a workload entry, then a login; else unidentified. The mark of a run sticks: a process in a
//! run's cgroup, now or when it connected, resolves to the run or to nobody, never to the person alone. That holds
//! after the run's end, and for runs that an earlier agent made and this one knows nothing of.

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use weir_policy::Identity;

use super::{
    bound::{Bound, Key, State},
    cgroups::{Cgroups, CgroupsError},
    evidence::Evidence,
    fetch::FetchError,
    issuers::{IssuerError, Issuers},
    process::{Processes, Sighting},
    settings::Settings,
    token::{TokenError, Verified},
    workload::{self, Workload, WorkloadError},
};
use crate::{capture::Origin, clock};

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
}

/// Why a process cannot be bound.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The mark of an agent's run sticks.
    #[error("this process is in an agent's run and cannot become anyone else")]
    Marked,
    /// Bindings to a session need one.
    #[error("this process has no audit session")]
    NoSession,
    /// The process ended.
    #[error("the process is gone")]
    Gone(#[source] io::Error),
    /// The run's cgroup.
    #[error("cannot make a cgroup for the run")]
    Make(#[source] io::Error),
    /// The move.
    #[error("cannot move the process into the run's cgroup")]
    Enter(#[source] io::Error),
}

/// Why a process that might have had an identity has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Absence {
    /// Nothing binds it.
    Unbound,
    /// The binding's time is over.
    Expired,
    /// The binding was ended.
    Revoked,
    /// It is in a run that this agent did not make.
    ForeignRun,
    /// More than one workload entry matches.
    Ambiguous(Vec<String>),
    /// A workload entry matches and has no valid proof.
    Unproved(String),
}

impl std::fmt::Display for Absence {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unbound => write!(out, "nobody is logged in here: run `weir login`"),
            Self::Expired => write!(out, "the login has expired: run `weir login`"),
            Self::Revoked => write!(out, "the login was ended: run `weir login`"),
            Self::ForeignRun => write!(
                out,
                "this run was begun under an earlier weir: start it again"
            ),
            Self::Ambiguous(names) => write!(
                out,
                "several workload entries match this process: {}",
                names.join(", ")
            ),
            Self::Unproved(name) => write!(out, "workload {name} has no valid token"),
        }
    }
}

/// What is known of a process.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// What was observed.
    pub evidence: Arc<Evidence>,
    /// Who it is; live when it was resolved. `None` is unidentified.
    pub identity: Option<Arc<Bound>>,
    /// Why there is no identity; [`Absence::Unbound`] also where there is one.
    pub absence: Absence,
    /// Whether the process is in an agent's run (or one that this agent did not make): it may not bind itself anew.
    pub in_agent_run: bool,
}

/// A binding began or ended.
#[derive(Debug, Clone)]
pub struct Change {
    /// As recorded: `login`, `exec` and `workload` begin; `logout`, `ended`, `replaced` and `expired` end; `renewed`:
    /// a workload's groups changed; `left`: the last process of a login went on into an agent's run.
    pub what: &'static str,
    /// Which.
    pub bound: Arc<Bound>,
}

impl Change {
    /// Whether the sessions that rest on it must end now. Expiry leaves them to the rules of each statement.
    #[must_use]
    pub fn ends_sessions(&self) -> bool {
        matches!(self.what, "logout" | "ended" | "replaced")
    }
}

/// A request to bind a process's tree or session.
#[derive(Debug)]
pub struct NewBinding {
    /// Who.
    pub identity: Identity,
    /// SHA-256 of the token, hex.
    pub fingerprint: String,
    /// Until when, seconds since the epoch.
    pub not_after_s: i64,
    /// Whether a development issuer vouches for it.
    pub development: bool,
    /// The user who asks.
    pub owner_uid: u32,
    /// What it is derived from.
    pub parent: Option<Arc<Bound>>,
}

/// All identities of this host.
#[derive(Debug)]
pub struct Identities {
    cgroups: Cgroups,
    processes: Processes,
    issuers: Issuers,
    workloads: Vec<Workload>,
    bindings: RwLock<Bindings>,
    generation: AtomicU64,
    /// Held while a run is made and entered, so that the sweep does not take it for an empty one.
    making: Mutex<()>,
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
    /// are kept in `state_dir`. Asks nobody on the network.
    ///
    /// # Errors
    ///
    /// [`OpenError`] for settings that cannot be used, or a host without cgroup v2 or /proc.
    pub fn open(settings: &Settings, state_dir: &Path, cgroup: &Path) -> Result<Self, OpenError> {
        let cgroups = Cgroups::open(cgroup)?;
        Ok(Self {
            processes: Processes::open(cgroups.clone()).map_err(OpenError::Proc)?,
            cgroups,
            issuers: Issuers::open(&settings.issuers, &keys_folder(state_dir))?,
            workloads: workload::parse(&settings.workloads)?,
            bindings: RwLock::default(),
            generation: AtomicU64::new(0),
            making: Mutex::new(()),
        })
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

    /// What `weir doctor` has to say: workload entries without a valid proof.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let problem = |entry: &Workload| {
            entry
                .problem()
                .map(|why| format!("workload {}: {why}", entry.name()))
        };
        self.workloads.iter().filter_map(problem).collect()
    }

    /// The kernel's boot id, as bindings to audit sessions carry it.
    #[must_use]
    pub fn boot_id(&self) -> &str {
        self.processes.boot_id()
    }

    /// All bindings there are, ended ones that still mark processes included.
    #[must_use]
    pub fn bindings(&self) -> Vec<Arc<Bound>> {
        let workloads = self.workloads.iter().filter_map(Workload::bound);
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

    /// Reads the workloads' tokens again; to be called at start and every half minute.
    pub async fn renew_workloads(&self) -> Vec<Change> {
        let mut changes = Vec::new();
        for entry in &self.workloads {
            let before = entry.problem();
            let Some(renewal) = entry.renew(&self.issuers).await else {
                if let Some(why) = entry.problem().filter(|why| Some(why) != before.as_ref()) {
                    tracing::warn!(
                        workload = entry.name(),
                        why,
                        "a workload cannot be identified"
                    );
                }
                continue;
            };
            // Not revoked: sessions see the new generation and resolve to the new identity.
            changes.extend(renewal.ended.map(|bound| Change {
                what: "renewed",
                bound,
            }));
            changes.extend(renewal.begun.map(|bound| Change {
                what: "workload",
                bound,
            }));
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

    /// Makes a run, moves the process into it and binds it. `what` is `login` or `exec`; the last actor gets the
    /// run's id.
    ///
    /// # Errors
    ///
    /// [`BindError`] when the process is in an agent's run already, or the cgroup cannot be made or entered; nothing
    /// is left behind then.
    pub fn bind_run(
        &self,
        pid: u32,
        what: &'static str,
        mut new: NewBinding,
    ) -> Result<Change, BindError> {
        let _making = lock(&self.making);
        self.check_mark(pid, &new)?;
        let run = self.cgroups.make_run().map_err(BindError::Make)?;
        if let Some(actor) = new.identity.actors.last_mut() {
            actor.run_id = Some(run.id.clone());
        }
        let key = Key::Cgroup {
            id: run.cgroup_id,
            path: run.path.clone(),
        };
        let bound = Arc::new(new.bound_to(key));
        // Bound before it is entered: a process that is in the run is never seen without its mark.
        if let Ok(mut bindings) = self.bindings.write() {
            bindings.runs.insert(run.path.clone(), Arc::clone(&bound));
        }
        if let Err(error) = self.cgroups.enter(&run, pid) {
            if let Ok(mut bindings) = self.bindings.write() {
                bindings.runs.remove(&run.path);
            }
            let _ = self.cgroups.remove(&run.path);
            return Err(BindError::Enter(error));
        }
        self.changed();
        Ok(Change { what, bound })
    }

    /// Binds the audit session of a process. A binding that it had is replaced, and ended unless it was for the same
    /// subject.
    ///
    /// # Errors
    ///
    /// [`BindError`] when the process is in an agent's run or has no audit session.
    pub fn bind_session(&self, pid: u32, new: NewBinding) -> Result<Vec<Change>, BindError> {
        let _making = lock(&self.making);
        let id = self
            .check_mark(pid, &new)?
            .audit_session
            .ok_or(BindError::NoSession)?;
        let key = Key::AuditSession {
            boot_id: self.boot_id().to_owned(),
            id,
        };
        let bound = Arc::new(new.bound_to(key));
        let before = self
            .bindings
            .write()
            .ok()
            .and_then(|mut bindings| bindings.sessions.insert(id, Arc::clone(&bound)))
            .filter(|before| {
                !is_same_subject(&before.identity, &bound.identity) && before.revoke()
            });
        self.changed();
        let replaced = before.map(|bound| Change {
            what: "replaced",
            bound,
        });
        Ok(replaced
            .into_iter()
            .chain([Change {
                what: "login",
                bound,
            }])
            .collect())
    }

    /// A process in an agent's run may only be bound to what rests on that run: a request that took its time must not
    /// lead out of a run that began meanwhile.
    fn check_mark(&self, pid: u32, new: &NewBinding) -> Result<Sighting, BindError> {
        let seen = self.processes.sighting(pid).map_err(BindError::Gone)?;
        let resolved = self.resolve_sighting(&seen);
        let rests_on_it = match (&resolved.identity, &new.parent) {
            (Some(run), Some(parent)) => Arc::ptr_eq(run, parent),
            _ => false,
        };
        if resolved.in_agent_run && !rests_on_it {
            Err(BindError::Marked)
        } else {
            Ok(seen)
        }
    }

    /// Ends a binding and all that rest on it. A run keeps its mark until its last process is gone.
    #[must_use]
    pub fn end(&self, bound: &Arc<Bound>, what: &'static str) -> Vec<Change> {
        let mut changes = Vec::new();
        if let Ok(mut bindings) = self.bindings.write() {
            let all: Vec<_> = bindings
                .runs
                .values()
                .chain(bindings.sessions.values())
                .cloned()
                .collect();
            for candidate in all
                .into_iter()
                .filter(|candidate| candidate.rests_on(bound))
            {
                if candidate.revoke() {
                    changes.push(Change {
                        what,
                        bound: candidate,
                    });
                }
            }
            bindings
                .sessions
                .retain(|_, session| !Arc::ptr_eq(session, bound));
        }
        self.changed();
        changes
    }

    /// Removes runs without processes and reports what has expired; to be called every second.
    #[must_use]
    pub fn sweep(&self) -> Vec<Change> {
        let mut changes = self.sweep_runs();
        changes.extend(self.newly_expired());
        changes
    }

    /// Drops the bindings of audit sessions that have ended. Looks at every process: to be called every half minute.
    #[must_use]
    pub fn sweep_sessions(&self) -> Vec<Change> {
        if self
            .bindings
            .read()
            .is_ok_and(|bindings| bindings.sessions.is_empty())
        {
            return Vec::new();
        }
        let before: Vec<Arc<Bound>> = self
            .bindings
            .read()
            .map(|bindings| bindings.sessions.values().cloned().collect())
            .unwrap_or_default();
        let live = self.processes.live_sessions();
        let has_ended = |bound: &&Arc<Bound>| matches!(&bound.key, Key::AuditSession { id, .. } if live.binary_search(id).is_err());
        before
            .iter()
            .filter(has_ended)
            .flat_map(|bound| self.end(bound, "ended"))
            .collect()
    }

    fn sweep_runs(&self) -> Vec<Change> {
        let _making = lock(&self.making);
        let mut changes = Vec::new();
        for path in self.cgroups.runs() {
            if self.cgroups.is_populated(&path) || self.cgroups.remove(&path).is_err() {
                continue;
            }
            changes.extend(self.forget_run(&path));
        }
        changes
    }

    fn forget_run(&self, path: &str) -> Option<Change> {
        let mut bindings = self.bindings.write().ok()?;
        let bound = bindings.runs.remove(path)?;
        // `weir login -- weir exec -- CMD` leaves the login's cgroup empty while the agent's run still rests on it.
        let has_heirs = bindings.runs.values().any(|other| other.rests_on(&bound));
        drop(bindings);
        self.changed();
        if has_heirs {
            return Some(Change {
                what: "left",
                bound,
            });
        }
        bound.revoke().then_some(Change {
            what: "ended",
            bound,
        })
    }

    fn newly_expired(&self) -> Vec<Change> {
        let now = clock::now();
        let Ok(mut bindings) = self.bindings.write() else {
            return Vec::new();
        };
        let Bindings {
            runs,
            sessions,
            expired,
        } = &mut *bindings;
        let held = || runs.values().chain(sessions.values());
        expired.retain(|known| held().any(|bound| Arc::ptr_eq(bound, known)));
        let new: Vec<Arc<Bound>> = held()
            .filter(|bound| bound.state(now) == State::Expired)
            .filter(|bound| !expired.iter().any(|known| Arc::ptr_eq(known, bound)))
            .cloned()
            .collect();
        expired.extend(new.iter().cloned());
        new.into_iter()
            .map(|bound| Change {
                what: "expired",
                bound,
            })
            .collect()
    }

    fn resolve_sighting(&self, seen: &Sighting) -> Resolved {
        let observation = self.processes.observe(seen);
        let evidence = observation.evidence;
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
        } else {
            match self.workload_of(&evidence) {
                Ok(None) => runs
                    .iter()
                    .flatten()
                    .next()
                    .map_or_else(|| self.session_of(seen), |run| run.outcome()),
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

    /// The run that a cgroup path lies in.
    fn run_at(&self, path: &str) -> Option<RunMark> {
        let run = self.cgroups.run_of(path)?;
        let bindings = self.bindings.read().ok();
        let bound = bindings.and_then(|bindings| bindings.runs.get(run).cloned());
        Some(bound.map_or(RunMark::Foreign, RunMark::Known))
    }

    fn workload_of(&self, evidence: &Evidence) -> Result<Option<Arc<Bound>>, Absence> {
        let mut matching = self
            .workloads
            .iter()
            .filter(|entry| entry.matches(evidence));
        let Some(entry) = matching.next() else {
            return Ok(None);
        };
        let others: Vec<_> = matching.map(|entry| entry.name().to_owned()).collect();
        if !others.is_empty() {
            let names: Vec<_> = std::iter::once(entry.name().to_owned())
                .chain(others)
                .collect();
            tracing::warn!(
                ?names,
                tgid = evidence.tgid,
                "several workload entries match one process; it is refused"
            );
            return Err(Absence::Ambiguous(names));
        }
        entry
            .bound()
            .map(Some)
            .ok_or_else(|| Absence::Unproved(entry.name().to_owned()))
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

    fn changed(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
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

impl NewBinding {
    fn bound_to(self, key: Key) -> Bound {
        let mut bound = Bound::new(self.identity, key, self.fingerprint, self.not_after_s);
        bound.development = self.development;
        bound.owner_uid = self.owner_uid;
        bound.parent = self.parent;
        bound
    }
}

fn live(bound: Arc<Bound>) -> Result<Arc<Bound>, Absence> {
    match bound.state(clock::now()) {
        State::Live => Ok(bound),
        State::Expired => Err(Absence::Expired),
        State::Revoked => Err(Absence::Revoked),
    }
}

fn is_same_subject(one: &Identity, other: &Identity) -> bool {
    one.principal.issuer == other.principal.issuer
        && one.principal.subject == other.principal.subject
}

fn keys_folder(state_dir: &Path) -> PathBuf {
    state_dir.join("issuers")
}

/// The lock guards no data, so a panic elsewhere cannot have left it half done.
fn lock(mutex: &Mutex<()>) -> MutexGuard<'_, ()> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
