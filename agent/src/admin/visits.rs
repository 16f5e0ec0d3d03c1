//! Browsers that are logged in. A cookie's value is in no memory of the agent, only its hash.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use aws_lc_rs::digest;
use weir_policy::Identity;

use super::access::{RoleSet, Visitor};
use crate::{clock, identity::Secret};

/// Without a request for so long, a visit is over.
pub(super) const IDLE: Duration = Duration::from_mins(30);
/// And after so long in any case.
pub(super) const LONGEST: Duration = Duration::from_hours(8);
const MOST: usize = 1_000;
const MOST_OF_ONE: usize = 10;

/// SHA-256 of a cookie's value.
pub(super) type VisitKey = [u8; 32];

/// All visits.
#[derive(Debug, Default)]
pub(super) struct Visits {
    all: Mutex<HashMap<VisitKey, Visit>>,
}

#[derive(Debug)]
struct Visit {
    identity: Identity,
    roles: RoleSet,
    csrf: Secret,
    begun: Instant,
    seen: Instant,
    /// When the token's time is over, since the epoch.
    until: Duration,
}

impl Visit {
    fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.seen) >= IDLE
            || now.saturating_duration_since(self.begun) >= LONGEST
            || clock::now() >= self.until
    }
}

impl Visits {
    /// Begins a visit; `cookie` and `csrf` are random. `until` is since the epoch.
    pub(super) fn begin(
        &self,
        cookie: &Secret,
        csrf: Secret,
        identity: Identity,
        roles: RoleSet,
        until: Duration,
    ) -> VisitKey {
        let now = Instant::now();
        let key = key(cookie.expose());
        let mut all = self.lock();
        all.retain(|_, visit| !visit.is_over(now));
        let of_same = |visit: &Visit| is_same(&visit.identity, &identity);
        if all.values().filter(|visit| of_same(visit)).count() >= MOST_OF_ONE {
            remove_oldest(&mut all, of_same);
        }
        if all.len() >= MOST {
            remove_oldest(&mut all, |_| true);
        }
        all.insert(
            key,
            Visit {
                identity,
                roles,
                csrf,
                begun: now,
                seen: now,
                until,
            },
        );
        key
    }

    /// Who has this cookie; a request of theirs counts as a sign of life.
    pub(super) fn visitor(&self, cookie: &str) -> Option<Visitor> {
        let now = Instant::now();
        let key = key(cookie);
        let mut all = self.lock();
        let visit = all.get_mut(&key)?;
        if visit.is_over(now) {
            all.remove(&key);
            return None;
        }
        visit.seen = now;
        Some(Visitor {
            name: visit.identity.principal.display.clone(),
            roles: visit.roles,
            identity: Some(visit.identity.clone()),
            uid: None,
            evidence: None,
            csrf: visit.csrf.expose().to_owned(),
            visit: Some(key),
        })
    }

    /// Whether a visit goes on, for what lasts longer than a request.
    pub(super) fn is_live(&self, key: &VisitKey) -> bool {
        let now = Instant::now();
        self.lock()
            .get(key)
            .is_some_and(|visit| !visit.is_over(now))
    }

    /// Ends one.
    pub(super) fn end(&self, key: &VisitKey) {
        self.lock().remove(key);
    }

    /// Ends all of a subject: its identity was revoked.
    pub(super) fn end_of(&self, identity: &Identity) {
        self.lock()
            .retain(|_, visit| !is_same(&visit.identity, identity));
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        let now = Instant::now();
        let all = self.lock();
        all.values().filter(|visit| !visit.is_over(now)).count()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<VisitKey, Visit>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A cookie's place.
pub(super) fn key(cookie: &str) -> VisitKey {
    let mut key = [0; 32];
    key.copy_from_slice(digest::digest(&digest::SHA256, cookie.as_bytes()).as_ref());
    key
}

fn is_same(one: &Identity, other: &Identity) -> bool {
    let of = |identity: &Identity| {
        (
            identity.principal.issuer.clone(),
            identity.principal.subject.clone(),
        )
    };
    of(one) == of(other)
}

fn remove_oldest(all: &mut HashMap<VisitKey, Visit>, which: impl Fn(&Visit) -> bool) {
    let oldest = all
        .iter()
        .filter(|(_, visit)| which(visit))
        .min_by_key(|(_, visit)| visit.begun)
        .map(|(key, _)| *key);
    if let Some(key) = oldest {
        all.remove(&key);
    }
}
