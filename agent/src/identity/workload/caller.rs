//! One process that is proved by itself, and the broker that is asked about it.

use std::collections::BTreeSet;

use tokio::task::JoinSet;

use super::{ProofError, asked::Asked};
use crate::{
    identity::{
        evidence::Evidence,
        process::{Processes, Sighting},
        spiffe::Broker,
        token::Verified,
    },
    telemetry,
};

/// A process as it connected. What a broker judges by is part of it: the same process with another program, user or
/// cgroup has to be proved anew.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Caller {
    tgid: u32,
    start_ticks: u64,
    uid: u32,
    cgroup_id: u64,
    exe_path: String,
}

impl Caller {
    /// `None`: it has ended, and nobody can say any more what it was.
    pub(super) fn of(seen: &Sighting, evidence: &Evidence) -> Option<Self> {
        (!evidence.gone).then(|| Self {
            tgid: seen.tgid,
            start_ticks: seen.start_ticks(),
            uid: seen.uid,
            cgroup_id: seen.cgroup_id,
            exe_path: evidence.exe_path.clone(),
        })
    }

    /// Whether that very process runs, as it was.
    pub(super) fn is_here(&self, processes: &Processes) -> bool {
        let Ok(seen) = processes.sighting(self.tgid) else {
            return false;
        };
        let evidence = processes.observe(&seen).evidence;
        Self::of(&seen, &evidence).as_ref() == Some(self)
    }
}

impl std::fmt::Display for Caller {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "process {} ({})", self.tgid, self.exe_path)
    }
}

/// A broker and the processes that wait for it.
#[derive(Debug)]
pub(super) struct Brokered {
    pub(super) broker: Broker,
    pub(super) asked: Asked<Caller>,
}

impl Brokered {
    pub(super) fn by(broker: Broker) -> Self {
        Self {
            broker,
            asked: Asked::default(),
        }
    }

    /// What the broker says of each, all asked at once. One that ended or became another meanwhile is left out: whom the
    /// answer was about cannot be told.
    pub(super) async fn obtain(
        &self,
        callers: BTreeSet<Caller>,
        processes: &Processes,
    ) -> Vec<(Caller, Result<Verified, String>)> {
        if callers.is_empty() {
            return Vec::new();
        }
        let round = match self.broker.connect().await {
            Ok(round) => round,
            Err(error) => {
                let why = telemetry::chain(&ProofError::from(error));
                return callers
                    .into_iter()
                    .map(|caller| (caller, Err(why.clone())))
                    .collect();
            }
        };
        let mut asking = JoinSet::new();
        for caller in callers {
            let round = round.clone();
            asking.spawn(async move { (round.obtain(caller.tgid).await, caller) });
        }
        let mut answers = Vec::new();
        while let Some(answered) = asking.join_next().await {
            let Ok((answer, caller)) = answered else {
                tracing::error!("a question to a broker failed inside: it is asked again");
                continue;
            };
            if caller.is_here(processes) {
                let answer = answer.map_err(|error| telemetry::chain(&ProofError::from(error)));
                answers.push((caller, answer));
            } else {
                tracing::info!(%caller, "a process was another, or none, when the broker had answered");
            }
        }
        answers
    }
}

#[cfg(test)]
mod tests;
