//! What has begun and not ended yet: sessions, requests, waits for an approval.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, hash_map},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use weir_policy::Identity;

use super::Asked;
use crate::{
    audit::record::{Event, SessionOpened},
    identity::Proof,
};

/// Requests that are remembered until their outcome comes; of more than these the outcome finds its request in the journal.
const MOST_OPEN: usize = 100_000;
/// Sessions and waits that are remembered; ends of more than these are told without their beginning.
const MOST_BEGUN: usize = 100_000;
/// Of both, what is kept with the cursor.
const MOST_CARRIED: usize = 10_000;

/// When what an event ends began, and whose it was.
#[derive(Debug, Clone)]
pub(crate) struct Since {
    /// Nanoseconds since the epoch.
    pub(crate) time_ns: u64,
    /// `None` when no record read so far says more of it than its id.
    pub(crate) session: Option<Arc<SessionOpened>>,
    /// The event that began it, where it was one.
    pub(crate) event: Option<Arc<Event>>,
}

/// What had begun and not ended at a cursor's place, so that whoever goes on there knows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Carry {
    /// The numbers of requests without an outcome.
    pub(crate) requests: BTreeSet<u64>,
    /// When each session was opened, nanoseconds since the epoch.
    pub(crate) sessions: BTreeMap<u64, u64>,
}

impl Carry {
    /// Takes in what another knows. More than what is open does no harm: the next agent's start ends all of it.
    pub(crate) fn join(mut self, other: Self) -> Self {
        self.requests.extend(other.requests);
        self.sessions.extend(other.sessions);
        self
    }
}

/// What an agent left behind.
pub(super) struct Left {
    /// In their order.
    pub(super) requests: Vec<Arc<Asked>>,
    /// Requests of which only the number is known.
    pub(super) carried: BTreeSet<u64>,
    pub(super) sessions: BTreeMap<u64, Since>,
}

#[derive(Debug)]
pub(super) struct Begun {
    sessions: HashMap<u64, Since>,
    requests: HashMap<u64, Arc<Asked>>,
    /// Requests of segments that are not read again.
    carried: BTreeSet<u64>,
    waits: HashMap<u64, Since>,
}

impl Begun {
    pub(super) fn new(carry: &Carry) -> Self {
        let known = |(id, time_ns): (&u64, &u64)| {
            let since = Since {
                time_ns: *time_ns,
                session: None,
                event: None,
            };
            (*id, since)
        };
        Self {
            sessions: carry.sessions.iter().map(known).collect(),
            requests: HashMap::new(),
            carried: carry.requests.clone(),
            waits: HashMap::new(),
        }
    }

    pub(super) fn carry(&self) -> Carry {
        let open = self.requests.keys().chain(&self.carried).copied();
        let sessions = self.sessions.iter();
        Carry {
            requests: open.take(MOST_CARRIED).collect(),
            sessions: sessions
                .map(|(id, since)| (*id, since.time_ns))
                .take(MOST_CARRIED)
                .collect(),
        }
    }

    /// A session's opening, as it stands now, and whether this is the first that is heard of it: each segment repeats those
    /// that it mentions, as they were when they began.
    pub(super) fn opened(
        &mut self,
        opened: Arc<SessionOpened>,
        time_ns: u64,
    ) -> (Arc<SessionOpened>, bool) {
        let full = self.sessions.len() >= MOST_BEGUN;
        match self.sessions.entry(opened.session) {
            hash_map::Entry::Occupied(mut entry) => {
                let known = entry.get_mut().session.get_or_insert(opened);
                (Arc::clone(known), false)
            }
            hash_map::Entry::Vacant(entry) => {
                if !full {
                    entry.insert(Since {
                        time_ns: opened.opened_ns.unwrap_or(time_ns),
                        session: Some(Arc::clone(&opened)),
                        event: None,
                    });
                }
                (opened, true)
            }
        }
    }

    /// A session goes on with a newer log-in; its opening as it stands then.
    pub(super) fn renewed(
        &mut self,
        session: u64,
        identity: &Identity,
        proof: &Proof,
    ) -> Option<Arc<SessionOpened>> {
        let opened = self.sessions.get_mut(&session)?.session.as_mut()?;
        let renewed = Arc::make_mut(opened);
        renewed.identity = Some(identity.clone());
        renewed.proof = Some(proof.clone());
        Some(Arc::clone(opened))
    }

    pub(super) fn asked(&mut self, asked: Arc<Asked>) {
        self.carried.remove(&asked.seq);
        if self.requests.len() < MOST_OPEN {
            self.requests.insert(asked.seq, asked);
        }
    }

    pub(super) fn answered(&mut self, request: u64) -> Option<Arc<Asked>> {
        self.carried.remove(&request);
        self.requests.remove(&request)
    }

    /// Another agent began: nothing of what was under way goes on.
    pub(super) fn ended(&mut self) -> Left {
        self.waits.clear();
        let mut requests: Vec<_> = self.requests.drain().map(|(_, asked)| asked).collect();
        requests.sort_unstable_by_key(|asked| asked.seq);
        Left {
            requests,
            carried: std::mem::take(&mut self.carried),
            sessions: self.sessions.drain().collect(),
        }
    }

    /// What an event ends.
    pub(super) fn event(&mut self, event: &Event, time_ns: u64) -> Option<Since> {
        match event {
            Event::SessionClosed { session, .. } => self.sessions.remove(session),
            Event::ApprovalRequested {
                approval, session, ..
            } => {
                if self.waits.len() < MOST_BEGUN {
                    let opened = self.sessions.get(session);
                    let since = Since {
                        time_ns,
                        session: opened.and_then(|since| since.session.clone()),
                        event: Some(Arc::new(event.clone())),
                    };
                    self.waits.insert(*approval, since);
                }
                None
            }
            Event::ApprovalEnded { approval, .. } => self.waits.remove(approval),
            _ => None,
        }
    }
}
