//! Bindings as they begin and end.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering};

use weir_policy::Identity;

use super::{BindError, Bindings, Change, Identities, NewBinding};
use crate::{
    clock,
    identity::{
        bound::{Bound, Key, State},
        process::Sighting,
    },
};

impl Identities {
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

    /// Binds the audit session of a process. A binding that it had is ended, or renewed where it was for the same
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
        Ok(self.put_session(id, new))
    }

    /// Binds an audit session by its id, as [`Identities::bind_session`] does. `None`: it has ended. Looks at every
    /// process.
    #[must_use]
    pub fn bind_session_of(&self, id: u32, new: NewBinding) -> Option<Vec<Change>> {
        let _making = lock(&self.making);
        self.is_live_session(id).then(|| self.put_session(id, new))
    }

    /// Whether a process belongs to that audit session. Looks at every process.
    #[must_use]
    pub fn is_live_session(&self, id: u32) -> bool {
        self.processes.live_sessions().binary_search(&id).is_ok()
    }

    fn put_session(&self, id: u32, new: NewBinding) -> Vec<Change> {
        let key = Key::AuditSession {
            boot_id: self.boot_id().to_owned(),
            id,
        };
        let before = self.session(id);
        if let Some(before) = before
            .as_ref()
            .filter(|before| is_same_subject(&before.identity, &new.identity))
            // One that has expired holds again: its connections may still be waiting.
            .filter(|before| before.state(clock::now()) != State::Revoked)
        {
            before.extend(new.not_after_s);
            let bound = Arc::new(before.renewed(new.identity, new.fingerprint));
            self.put_in_place(before, &bound);
            return vec![Change {
                what: "login",
                bound,
            }];
        }
        let bound = Arc::new(new.bound_to(key));
        if let Ok(mut bindings) = self.bindings.write() {
            bindings.sessions.insert(id, Arc::clone(&bound));
        }
        let before = before.filter(|before| before.revoke());
        self.changed();
        let replaced = before.map(|bound| Change {
            what: "replaced",
            bound,
        });
        replaced
            .into_iter()
            .chain([Change {
                what: "login",
                bound,
            }])
            .collect()
    }

    /// Logs the same subject in once more where it is logged in already, as after a step-up: what rests on the binding,
    /// agents' runs among it, goes on with the newer proof.
    ///
    /// # Errors
    ///
    /// [`BindError::Occupied`] when somebody else is logged in there, or it has ended meanwhile.
    pub fn bind_again(
        &self,
        before: &Arc<Bound>,
        what: &'static str,
        new: NewBinding,
    ) -> Result<Change, BindError> {
        let _making = lock(&self.making);
        let may = is_same_subject(&before.identity, &new.identity)
            && !before.is_agent_run()
            && before.state(clock::now()) == State::Live
            && self.is_held(before);
        if !may {
            return Err(BindError::Occupied);
        }
        before.extend(new.not_after_s);
        let bound = Arc::new(before.renewed(new.identity, new.fingerprint));
        self.put_in_place(before, &bound);
        Ok(Change { what, bound })
    }

    pub(super) fn session(&self, id: u32) -> Option<Arc<Bound>> {
        let bindings = self.bindings.read().ok()?;
        bindings.sessions.get(&id).cloned()
    }

    /// Puts a renewed binding where it was, and under all that rests on it.
    pub(super) fn put_in_place(&self, before: &Arc<Bound>, now: &Arc<Bound>) {
        if let Ok(mut bindings) = self.bindings.write() {
            let Bindings { runs, sessions, .. } = &mut *bindings;
            for place in runs.values_mut().chain(sessions.values_mut()) {
                if place.rests_on(before) {
                    let newer = rebuilt(place, now);
                    // Sessions that rest on the old one go on with it.
                    place.supersede(&newer);
                    *place = newer;
                }
            }
        }
        self.changed();
    }

    /// Whether a binding still is one, or something rests on it.
    pub(super) fn is_held(&self, bound: &Bound) -> bool {
        self.bindings.read().is_ok_and(|bindings| {
            let mut all = bindings.runs.values().chain(bindings.sessions.values());
            all.any(|held| held.rests_on(bound))
        }) && !bound.is_revoked()
    }

    /// A process in an agent's run may only be bound to what rests on that run: a request that took its time must not
    /// lead out of a run that began meanwhile.
    fn check_mark(&self, pid: u32, new: &NewBinding) -> Result<Sighting, BindError> {
        let seen = self.processes.sighting(pid).map_err(BindError::Gone)?;
        let resolved = self.resolve_sighting(&seen);
        let rests_on_it = match (&resolved.identity, &new.parent) {
            (Some(run), Some(parent)) => run.is(parent),
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
            bindings.sessions.retain(|_, session| !session.is(bound));
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

    /// Takes over what an earlier agent of this boot had bound.
    pub(super) fn restore(&self) {
        let Ok(mut bindings) = self.bindings.write() else {
            return;
        };
        for bound in self.kept.read(self.boot_id()) {
            if !self.issuers.knows(&bound.identity.principal.issuer) {
                // Kept as ended: its processes keep their mark.
                bound.revoke();
            }
            match &bound.key {
                Key::AuditSession { id, .. } => {
                    bindings.sessions.insert(*id, Arc::clone(&bound));
                }
                Key::Cgroup { id, path } if self.cgroups.id_of(path).ok() == Some(*id) => {
                    bindings.runs.insert(path.clone(), Arc::clone(&bound));
                }
                Key::Cgroup { .. } | Key::Workload { .. } => {}
            }
        }
    }

    /// Tells sessions to look again, and the next agent what there is.
    pub(super) fn changed(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
        self.keep();
    }

    /// Tells the next agent what there is.
    pub(super) fn keep(&self) {
        let all: Vec<_> = match self.bindings.read() {
            Ok(bindings) => bindings
                .runs
                .values()
                .chain(bindings.sessions.values())
                .cloned()
                .collect(),
            Err(_) => return,
        };
        self.kept.write(self.boot_id(), &all);
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
        // A clock that was set back makes nothing hold for longer.
        let boot_s = i64::try_from(clock::boot().as_secs()).unwrap_or(i64::MAX);
        let now_s = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        held()
            .filter(|bound| boot_s >= bound.boot_limit_s())
            .for_each(|bound| bound.end_by(now_s));
        let is_over = |bound: &Arc<Bound>| bound.state(now) == State::Expired;
        expired.retain(|known| is_over(known) && held().any(|bound| bound.is(known)));
        let new: Vec<Arc<Bound>> = held()
            .filter(|bound| is_over(bound))
            .filter(|bound| !expired.iter().any(|known| known.is(bound)))
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
}

fn is_same_subject(one: &Identity, other: &Identity) -> bool {
    one.principal.issuer == other.principal.issuer
        && one.principal.subject == other.principal.subject
}

/// `bound` over `now`, which takes the place of what it rests on.
fn rebuilt(bound: &Arc<Bound>, now: &Arc<Bound>) -> Arc<Bound> {
    if bound.is(now) {
        return Arc::clone(now);
    }
    let Some(parent) = bound.parent.as_ref().filter(|parent| parent.rests_on(now)) else {
        return Arc::clone(bound);
    };
    let identity = Identity {
        principal: now.identity.principal.clone(),
        ..bound.identity.clone()
    };
    let mut over = bound.renewed(identity, bound.token_fingerprint.clone());
    over.parent = Some(rebuilt(parent, now));
    Arc::new(over)
}

/// The lock guards no data, so a panic elsewhere cannot have left it half done.
fn lock(mutex: &Mutex<()>) -> MutexGuard<'_, ()> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
