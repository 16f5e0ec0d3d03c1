//! A verified identity bound to processes, and whether the binding still holds.

use std::{
    fmt,
    sync::{
        Arc, OnceLock, RwLock,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use weir_policy::Identity;

use super::secret::Secret;
use crate::clock;

/// What a binding is attached to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Key {
    /// The kernel's audit session: everything that descends from one login.
    AuditSession {
        /// Session ids start anew at each boot.
        boot_id: String,
        /// The id.
        id: u32,
    },
    /// A cgroup that weir made, and everything below it.
    Cgroup {
        /// The kernel's id.
        id: u64,
        /// From the hierarchy's root.
        path: String,
    },
    /// A `[[workload]]` entry.
    Workload {
        /// Its name.
        name: String,
    },
}

impl fmt::Display for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AuditSession { boot_id, id } => {
                write!(out, "audit session {id} of boot {boot_id}")
            }
            Self::Cgroup { id, path } => write!(out, "cgroup {path} ({id})"),
            Self::Workload { name } => write!(out, "workload {name}"),
        }
    }
}

/// What the word of an agent's right to act for somebody rests on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Delegation {
    /// The issuer's: a token that names both (RFC 8693).
    #[default]
    Exchange,
    /// The issuer's: an assertion about the person, given to the agent (ID-JAG).
    IdJag,
    /// This host's: both tokens were verified here, and the record in the journal's chain joins them.
    Local,
}

impl Delegation {
    /// Who vouches for it, in the words of rules.
    #[must_use]
    pub fn vouched(self) -> weir_policy::Delegation {
        match self {
            Self::Exchange | Self::IdJag => weir_policy::Delegation::Exchanged,
            Self::Local => weir_policy::Delegation::Local,
        }
    }
}

impl fmt::Display for Delegation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Exchange => "exchange",
            Self::IdJag => "id-jag",
            Self::Local => "local",
        })
    }
}

/// What a run may use up in all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunBudget {
    /// Rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// Bytes of rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

/// Whether a binding holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// It holds.
    Live,
    /// Its time is over: the running statement finishes, the next is refused.
    Expired,
    /// It was ended: cancel, stop relaying, close.
    Revoked,
}

/// An identity bound to processes. Shared by the sessions that rest on it; reading its state takes no lock.
#[derive(Debug)]
pub struct Bound {
    /// Who.
    pub identity: Identity,
    /// To what.
    pub key: Key,
    /// SHA-256 of the token, hex.
    pub token_fingerprint: String,
    /// Whether a development issuer vouches for it.
    pub development: bool,
    /// The user who made it, who may end it.
    pub owner_uid: u32,
    /// The binding that this one was derived from: an agent's run ends with the login it acts for.
    pub parent: Option<Arc<Bound>>,
    /// When it was made, seconds since the epoch.
    pub issued_s: i64,
    /// What an agent's run rests on.
    pub delegation: Option<Delegation>,
    /// What an agent's run may use up.
    pub budget: Option<RunBudget>,
    lease: Arc<Lease>,
    successor: Successor,
}

/// The binding that has taken this one's place: the provider says something else of the same subject now. Sessions that rest on
/// the old one go on with it.
#[derive(Debug, Default)]
struct Successor(OnceLock<Arc<Bound>>);

impl Drop for Successor {
    /// One after the other: an idle session may hold the first of very many.
    fn drop(&mut self) {
        let mut next = self.0.take();
        while let Some(bound) = next {
            next = Arc::into_inner(bound).and_then(|mut bound| bound.successor.0.take());
        }
    }
}

/// What a binding rests on, as records carry it: never a token, only its hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// To what the identity is bound, as text.
    pub key: String,
    /// SHA-256 of the token, hex.
    pub token_fingerprint: String,
    /// When it was bound, seconds since the epoch.
    pub issued_s: i64,
    /// When it ends, if nothing ends it earlier.
    pub not_after_s: i64,
    /// When the provider last vouched for it.
    pub last_verified_s: i64,
    /// Whether the provider could not be asked lately whether it still holds.
    pub stale: bool,
    /// Whether a development issuer vouches for it.
    pub development: bool,
}

/// For how long a binding holds: one for a binding and for what takes its place when the provider renews it.
#[derive(Debug)]
struct Lease {
    not_after_s: AtomicI64,
    /// The same on the clock that nobody can set, seconds since boot.
    boot_limit_s: AtomicI64,
    verified_s: AtomicI64,
    revoked: AtomicBool,
    stale: AtomicBool,
    renewable: AtomicBool,
    token: RwLock<Option<Secret>>,
}

impl Lease {
    fn until(not_after_s: i64) -> Self {
        Self {
            not_after_s: AtomicI64::new(not_after_s),
            boot_limit_s: AtomicI64::new(boot_limit_s(not_after_s)),
            verified_s: AtomicI64::new(seconds(clock::now())),
            revoked: AtomicBool::new(false),
            stale: AtomicBool::new(false),
            renewable: AtomicBool::new(false),
            token: RwLock::new(None),
        }
    }
}

impl Bound {
    /// A live binding that ends at `not_after_s`, seconds since the epoch.
    #[must_use]
    pub fn new(identity: Identity, key: Key, token_fingerprint: String, not_after_s: i64) -> Self {
        Self {
            identity,
            key,
            token_fingerprint,
            development: false,
            owner_uid: 0,
            parent: None,
            issued_s: seconds(clock::now()),
            delegation: None,
            budget: None,
            lease: Arc::new(Lease::until(not_after_s)),
            successor: Successor::default(),
        }
    }

    /// The same binding with what the provider says now: it ends when this one ends.
    #[must_use]
    pub(crate) fn renewed(&self, identity: Identity, token_fingerprint: String) -> Self {
        Self {
            identity,
            key: self.key.clone(),
            token_fingerprint,
            development: self.development,
            owner_uid: self.owner_uid,
            parent: self.parent.clone(),
            issued_s: seconds(clock::now()),
            delegation: self.delegation,
            budget: self.budget,
            lease: Arc::clone(&self.lease),
            successor: Successor::default(),
        }
    }

    /// Whether it, or what has taken its place, holds at `now` (since the epoch), and all it was derived from as well. Reads a
    /// few atomics.
    #[must_use]
    #[inline]
    pub fn state(&self, now: Duration) -> State {
        let latest = self.latest();
        let inherited = latest
            .parent
            .as_ref()
            .map_or(State::Live, |parent| parent.state(now));
        inherited.max(latest.own_state(now))
    }

    /// When nothing holds any more of it, or of what has taken its place, and of what that was derived from.
    #[must_use]
    pub fn expires_s(&self) -> i64 {
        let latest = self.latest();
        let inherited = latest.parent.as_ref().map(|parent| parent.expires_s());
        latest.not_after_s().min(inherited.unwrap_or(i64::MAX))
    }

    /// The binding that has taken this one's place; itself where none has.
    #[must_use]
    #[inline]
    pub fn latest(&self) -> &Self {
        self.newer().map_or(self, |newer| &**newer)
    }

    /// The last of those that have taken this one's place, where one has.
    #[must_use]
    #[inline]
    pub fn newer(&self) -> Option<&Arc<Self>> {
        let mut latest = self.successor.0.get()?;
        while let Some(next) = latest.successor.0.get() {
            latest = next;
        }
        Some(latest)
    }

    /// Puts a newer binding of the same subject, through the same actors, in this one's place: sessions go on with it. Returns
    /// whether it is in place; another subject never is.
    pub(crate) fn supersede(&self, newer: &Arc<Self>) -> bool {
        let (own, other) = (&self.identity, &newer.identity);
        let same = own.principal.issuer == other.principal.issuer
            && own.principal.subject == other.principal.subject
            && own.principal.kind == other.principal.kind
            && own.actors == other.actors
            && own.purpose == other.purpose;
        let cycle = std::ptr::eq(self, newer.latest());
        same && !cycle && !self.is_revoked() && self.successor.0.set(Arc::clone(newer)).is_ok()
    }

    /// What it rests on, for records.
    #[must_use]
    pub fn proof(&self) -> Proof {
        Proof {
            key: self.key.to_string(),
            token_fingerprint: self.token_fingerprint.clone(),
            issued_s: self.issued_s,
            not_after_s: self.not_after_s(),
            last_verified_s: self.verified_s(),
            stale: self.is_stale(),
            development: self.development,
        }
    }

    /// When it ends, seconds since the epoch, if nothing ends it earlier.
    #[must_use]
    pub fn not_after_s(&self) -> i64 {
        self.lease.not_after_s.load(Ordering::Relaxed)
    }

    /// Whether this is an agent acting for somebody.
    #[must_use]
    pub fn is_agent_run(&self) -> bool {
        !self.identity.actors.is_empty()
    }

    /// Whether it is `other` or was derived from it, whichever bindings have taken their places.
    #[must_use]
    pub fn rests_on(&self, other: &Self) -> bool {
        self.is(other)
            || self
                .latest()
                .parent
                .as_ref()
                .is_some_and(|parent| parent.rests_on(other))
    }

    /// Whether both are one binding, renewed or not.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.latest().lease, &other.latest().lease)
    }

    /// The token, where it may serve to have another one issued. It is in memory alone: a restarted agent has none.
    pub(crate) fn token(&self) -> Option<Secret> {
        self.lease.token.read().ok()?.clone()
    }

    /// A newer one, or the first.
    pub(crate) fn hold(&self, token: Secret) {
        if let Ok(mut held) = self.lease.token.write() {
            *held = Some(token);
        }
    }

    /// Whether the provider could not be asked lately: this is the last that it said.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        let latest = self.latest();
        let parent = latest.parent.as_ref();
        latest.lease.stale.load(Ordering::Relaxed) || parent.is_some_and(|parent| parent.is_stale())
    }

    /// Whether the agent can renew it: not after a restart, and not without a refresh token.
    #[must_use]
    pub fn is_renewable(&self) -> bool {
        self.lease.renewable.load(Ordering::Relaxed)
    }

    /// When the provider last vouched for it, seconds since the epoch.
    #[must_use]
    pub fn verified_s(&self) -> i64 {
        self.lease.verified_s.load(Ordering::Relaxed)
    }

    pub(crate) fn set_renewable(&self, renewable: bool) {
        self.lease.renewable.store(renewable, Ordering::Relaxed);
    }

    /// The provider cannot be asked: it holds until then at most. Returns whether this is new.
    pub(crate) fn make_stale(&self, until_s: i64) -> bool {
        self.end_by(until_s);
        !self.lease.stale.swap(true, Ordering::Relaxed)
    }

    /// Seconds on the clock since boot until which it holds, whatever is done to the other clock.
    pub(crate) fn boot_limit_s(&self) -> i64 {
        self.lease.boot_limit_s.load(Ordering::Relaxed)
    }

    /// What an earlier agent knew of it.
    pub(crate) fn restore(&self, verified_s: i64, boot_limit_s: i64) {
        self.lease.verified_s.store(verified_s, Ordering::Relaxed);
        let known = self.boot_limit_s();
        self.lease
            .boot_limit_s
            .store(known.min(boot_limit_s), Ordering::Relaxed);
    }

    /// Ends it at `until_s` at the latest.
    pub(crate) fn end_by(&self, until_s: i64) {
        self.lease.not_after_s.fetch_min(until_s, Ordering::Relaxed);
        self.lease
            .boot_limit_s
            .fetch_min(boot_limit_s(until_s), Ordering::Relaxed);
    }

    /// Ends it. Returns whether it had not been ended before.
    pub(crate) fn revoke(&self) -> bool {
        !self.lease.revoked.swap(true, Ordering::AcqRel)
    }

    /// Whether it was ended itself, whatever it rests on.
    pub(crate) fn is_revoked(&self) -> bool {
        self.lease.revoked.load(Ordering::Acquire)
    }

    /// A newer proof of the same identity.
    pub(crate) fn extend(&self, not_after_s: i64) {
        let lease = &self.lease;
        lease.not_after_s.store(not_after_s, Ordering::Relaxed);
        lease
            .boot_limit_s
            .store(boot_limit_s(not_after_s), Ordering::Relaxed);
        lease
            .verified_s
            .store(seconds(clock::now()), Ordering::Relaxed);
        lease.stale.store(false, Ordering::Relaxed);
    }

    fn own_state(&self, now: Duration) -> State {
        if self.is_revoked() {
            return State::Revoked;
        }
        if seconds(now) >= self.not_after_s() {
            State::Expired
        } else {
            State::Live
        }
    }
}

/// An instant of the clock that can be set, on the one that cannot.
fn boot_limit_s(not_after_s: i64) -> i64 {
    not_after_s
        .saturating_sub(seconds(clock::now()))
        .saturating_add(seconds(clock::boot()))
}

fn seconds(time: Duration) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
pub(crate) mod tests {
    use weir_policy::{Actor, Principal, PrincipalKind, Strength};

    use super::*;

    pub(crate) fn identity(subject: &str, actor: Option<&str>) -> Identity {
        Identity {
            principal: Principal {
                issuer: "http://127.0.0.1:1".to_owned(),
                subject: subject.to_owned(),
                kind: PrincipalKind::Human,
                display: subject.to_owned(),
                groups: Vec::new(),
                groups_complete: true,
                auth_time: None,
                acr: None,
                amr: Vec::new(),
                claims: std::collections::BTreeMap::new(),
            },
            actors: actor
                .map(|name| Actor {
                    issuer: "http://127.0.0.1:1".to_owned(),
                    subject: name.to_owned(),
                    client_id: None,
                    run_id: None,
                })
                .into_iter()
                .collect(),
            method: "login".to_owned(),
            strength: Strength::Strong,
            purpose: None,
            delegation: None,
        }
    }

    fn bound(not_after_s: i64) -> Bound {
        let key = Key::Workload {
            name: "x".to_owned(),
        };
        Bound::new(identity("bob", None), key, String::new(), not_after_s)
    }

    #[test]
    fn a_binding_ends_with_its_time() {
        let bound = bound(100);
        assert_eq!(bound.state(Duration::from_secs(99)), State::Live);
        assert_eq!(bound.state(Duration::from_secs(100)), State::Expired);
        bound.extend(200);
        assert_eq!(bound.state(Duration::from_secs(100)), State::Live);
    }

    #[test]
    fn a_newer_binding_of_the_same_subject_takes_the_place_of_the_old_one() {
        let old = bound(100);
        let newer = Arc::new(bound(200));
        assert!(old.supersede(&newer) && !old.supersede(&Arc::new(bound(300))));
        assert_eq!(old.state(Duration::from_secs(150)), State::Live);
        assert_eq!(old.expires_s(), 200);
        assert!(old.rests_on(&newer) && newer.rests_on(&old));
        newer.revoke();
        assert_eq!(old.state(Duration::from_secs(1)), State::Revoked);
        assert!(!newer.supersede(&Arc::new(bound(300))), "ended is ended");

        let key = Key::Workload {
            name: "x".to_owned(),
        };
        let other = Bound::new(identity("eve", None), key, String::new(), 900);
        assert!(!bound(100).supersede(&Arc::new(other)));
    }

    #[test]
    fn a_long_line_of_bindings_is_dropped_without_a_deep_stack() {
        let first = Arc::new(bound(1));
        let mut last = Arc::clone(&first);
        for _ in 0..100_000 {
            let next = Arc::new(last.renewed(identity("bob", None), String::new()));
            assert!(last.supersede(&next));
            last = next;
        }
        drop(last);
        drop(first);
    }

    #[test]
    fn a_renewed_binding_is_the_same_one() {
        let before = bound(100);
        let after = before.renewed(identity("bob", None), "f".to_owned());
        assert!(after.is(&before) && after.rests_on(&before));
        assert!(after.make_stale(50) && !after.make_stale(90));
        assert!(before.is_stale());
        assert_eq!(before.state(Duration::from_secs(50)), State::Expired);
        after.extend(200);
        assert!(!before.is_stale());
        assert_eq!(before.state(Duration::from_secs(150)), State::Live);
        after.revoke();
        assert_eq!(before.state(Duration::from_secs(150)), State::Revoked);
    }

    #[test]
    fn an_end_holds_on_the_clock_that_nobody_can_set() {
        let now_s = seconds(clock::now());
        let boot_s = seconds(clock::boot());
        let bound = bound(now_s + 100);
        assert!((99..=101).contains(&(bound.boot_limit_s() - boot_s)));
        bound.restore(now_s, boot_s + 10);
        assert!((9..=11).contains(&(bound.boot_limit_s() - boot_s)));
    }

    #[test]
    fn what_rests_on_a_revoked_binding_is_revoked() {
        let person = Arc::new(bound(100));
        let run = Bound {
            parent: Some(Arc::clone(&person)),
            ..bound(50)
        };

        assert!(run.rests_on(&person) && !person.rests_on(&run));
        assert!(person.revoke() && !person.revoke());

        assert_eq!(run.state(Duration::from_secs(1)), State::Revoked);
        assert_eq!(run.state(Duration::from_secs(70)), State::Revoked);
    }
}
