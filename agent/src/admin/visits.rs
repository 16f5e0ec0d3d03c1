//! Browsers that are logged in. A cookie's value is in no memory of the agent, only its hash.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use aws_lc_rs::digest;
use weir_policy::Identity;

use super::access::{RoleSet, Visitor};
use crate::{
    clock,
    identity::{Secret, events::Whom},
};

/// Without a request for so long, a visit is over.
pub(super) const IDLE: Duration = Duration::from_mins(30);
/// And after so long in any case: what somebody's groups are is asked at log-in only, and a role that was withdrawn since
/// must not last for a working day.
pub(super) const LONGEST: Duration = Duration::from_hours(1);
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

    /// Ends all of those who are meant: their log-in was revoked.
    pub(super) fn end_of(&self, whom: &Whom) {
        self.lock()
            .retain(|_, visit| !whom.is(&visit.identity.principal));
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use weir_policy::{Principal, PrincipalKind, Strength};

    use super::*;
    use crate::{admin::Role, identity::events::About};

    const ISSUER: &str = "https://issuer.example";

    fn person(subject: &str, email: &str) -> Identity {
        Identity {
            principal: Principal {
                issuer: ISSUER.to_owned(),
                subject: subject.to_owned(),
                kind: PrincipalKind::Human,
                display: subject.to_owned(),
                groups: Vec::new(),
                groups_complete: true,
                auth_time: None,
                acr: None,
                amr: Vec::new(),
                claims: BTreeMap::from([("email".to_owned(), email.to_owned())]),
            },
            actors: Vec::new(),
            method: "code".to_owned(),
            strength: Strength::Strong,
            purpose: None,
            delegation: None,
        }
    }

    fn begin(visits: &Visits, identity: Identity) -> VisitKey {
        let cookie = Secret::new(format!("cookie of {}", identity.principal.subject));
        let csrf = Secret::new("token".to_owned());
        let until = clock::now() + Duration::from_hours(10);
        visits.begin(&cookie, csrf, identity, RoleSet::only(Role::Viewer), until)
    }

    #[test]
    fn a_visit_ends_with_the_subject_or_address_of_its_issuer_and_others_go_on() {
        let visits = Visits::default();
        let alice = begin(&visits, person("alice", "a@example.org"));
        let bob = begin(&visits, person("bob", "b@example.org"));
        let carol = begin(&visits, person("carol", "c@example.org"));
        let end = |issuer: &str, about| {
            visits.end_of(&Whom {
                issuer: issuer.to_owned(),
                about: vec![about],
            });
        };
        end("https://other.example", About::Subject("alice".to_owned()));
        assert_eq!(visits.count(), 3);
        end(ISSUER, About::Subject("alice".to_owned()));
        end(ISSUER, About::Address("B@example.org".to_owned()));
        assert!(!visits.is_live(&alice) && !visits.is_live(&bob) && visits.is_live(&carol));
    }

    #[test]
    fn no_visit_outlasts_an_hour_as_groups_are_asked_at_log_in_only() {
        let visits = Visits::default();
        let alice = begin(&visits, person("alice", "a@example.org"));
        let mut all = visits.lock();
        let visit = all.get_mut(&alice).expect("a visit");
        let begun = visit.begun;
        visit.seen = begun + Duration::from_mins(59);
        assert!(!visit.is_over(begun + Duration::from_mins(59)));
        visit.seen = begun + Duration::from_hours(1);
        assert!(visit.is_over(begun + Duration::from_hours(1)));
    }
}
