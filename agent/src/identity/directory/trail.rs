//! How an answer came about: the sources in the order in which they count, and what each of them said.

use std::io;

use serde::{Deserialize, Serialize};

use super::{Absence, Identities, RunMark};
use crate::{
    capture::Origin,
    clock,
    identity::{
        bound::{Bound, Key, State},
        evidence::Evidence,
        process::Sighting,
        workload::Workload,
    },
};

/// One source of identities, asked about one process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// Which.
    pub source: String,
    /// What it said.
    pub outcome: Said,
    /// Why.
    pub why: String,
}

/// What a source said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Said {
    /// It knows the process: this is the answer.
    Matched,
    /// It does not know the process; the next one is asked.
    Silent,
    /// It knows the process and gives it no identity: nobody else is asked.
    Refused,
    /// One before it has answered.
    NotAsked,
}

impl Identities {
    /// How it comes about who is behind a socket.
    #[must_use]
    pub fn trail(&self, origin: &Origin) -> Vec<Tried> {
        self.trail_of(&Sighting::from(origin))
    }

    /// How it comes about who a process that runs now is.
    ///
    /// # Errors
    ///
    /// When there is no such process.
    pub fn trail_of_process(&self, pid: u32) -> io::Result<Vec<Tried>> {
        Ok(self.trail_of(&self.processes.sighting(pid)?))
    }

    fn trail_of(&self, seen: &Sighting) -> Vec<Tried> {
        let observation = self.processes.observe(seen);
        let evidence = &observation.evidence;
        let present = observation.present_cgroup.as_deref();
        let runs: Vec<(&str, RunMark)> = [Some(evidence.cgroup_path.as_str()), present]
            .into_iter()
            .flatten()
            .filter_map(|path| Some((path, self.run_at(path)?)))
            .collect();
        let mut trail = Trail::default();
        trail.ask("agent's run", || {
            let run = runs.iter().find(|(_, run)| run.is_agent_run_or_foreign());
            match run {
                Some((_, RunMark::Known(bound))) => of_binding(bound),
                Some((path, RunMark::Foreign)) => {
                    refused(format!("{}: {path}", Absence::ForeignRun))
                }
                None if evidence.cgroup_path.is_empty() => {
                    refused(Absence::UnknownCgroup.to_string())
                }
                None => silent(format!("{} is no agent's run", evidence.cgroup_path)),
            }
        });
        trail.ask("workload", || match self.workload_of(seen, evidence) {
            Ok(Some(bound)) => {
                let (said, why) = of_binding(&bound);
                match self.workload(&bound.key) {
                    Some(entry) => (said, format!("{why} by {}", entry.proof())),
                    None => (said, why),
                }
            }
            Ok(None) => silent(format!(
                "none of {} [[workload]] entries means uid {}, {}, {}",
                self.workloads.len(),
                evidence.uid,
                evidence.exe_path,
                evidence.cgroup_path
            )),
            Err(absence) => refused(self.explained(&absence, seen, evidence)),
        });
        trail.ask("login of a command", || match runs.first() {
            Some((_, RunMark::Known(bound))) => of_binding(bound),
            _ => silent(format!("{} is in no login's cgroup", evidence.cgroup_path)),
        });
        trail.ask("login session", || {
            let Some(id) = seen.audit_session else {
                return silent("the process has no audit session".to_owned());
            };
            match self.session(id) {
                Some(bound) => of_binding(&bound),
                None => silent(format!("nobody is logged in in audit session {id}")),
            }
        });
        trail.0
    }

    fn workload(&self, key: &Key) -> Option<&Workload> {
        let Key::Workload { name } = key else {
            return None;
        };
        self.workloads.iter().find(|entry| entry.name() == name)
    }

    /// An absence, with what came of the last look at the entry's proof.
    fn explained(&self, absence: &Absence, seen: &Sighting, evidence: &Evidence) -> String {
        let Absence::Unproved(name) = absence else {
            return absence.to_string();
        };
        let look = self.look(seen, evidence);
        let mut entries = self.workloads.iter();
        let why = entries
            .find(|entry| entry.name() == name)
            .and_then(|entry| entry.problem_of(&look));
        why.map_or_else(|| absence.to_string(), |why| format!("{absence}: {why}"))
    }
}

type Answer = (Said, String);

/// What the sources have said so far.
#[derive(Default)]
struct Trail(Vec<Tried>);

impl Trail {
    fn ask(&mut self, source: &str, answer: impl FnOnce() -> Answer) {
        let open = self.0.iter().all(|tried| tried.outcome == Said::Silent);
        let (outcome, why) = if open {
            answer()
        } else {
            (Said::NotAsked, "one before it has answered".to_owned())
        };
        self.0.push(Tried {
            source: source.to_owned(),
            outcome,
            why,
        });
    }
}

fn of_binding(bound: &Bound) -> Answer {
    let who = &bound.identity.principal.subject;
    match bound.state(clock::now()) {
        State::Live => (Said::Matched, format!("{} is bound to {who}", bound.key)),
        State::Expired => refused(format!(
            "{} was bound to {who}: {}",
            bound.key,
            Absence::Expired
        )),
        State::Revoked => refused(format!(
            "{} was bound to {who}: {}",
            bound.key,
            Absence::Revoked
        )),
    }
}

fn silent(why: String) -> Answer {
    (Said::Silent, why)
}

fn refused(why: String) -> Answer {
    (Said::Refused, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_answered_is_not_followed() {
        let mut trail = Trail::default();
        trail.ask("a", || silent("no".to_owned()));
        trail.ask("b", || (Said::Matched, "yes".to_owned()));
        trail.ask("c", || panic!("not asked"));
        let said: Vec<_> = trail.0.iter().map(|tried| tried.outcome).collect();
        assert_eq!(said, [Said::Silent, Said::Matched, Said::NotAsked]);
    }
}
