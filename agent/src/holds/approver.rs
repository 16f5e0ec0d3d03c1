//! Who may decide: a verified person in one of the rule's groups, never who asks, never through an agent.

use weir_policy::{Approval, Identity, PrincipalKind};

use super::{Ask, DecideError};
use crate::identity::Resolved;

/// Somebody who wants to decide, verified.
#[derive(Debug, Clone)]
pub struct Approver {
    /// Who.
    pub identity: Identity,
    /// The audit sessions of this host that it comes from or is logged in in.
    pub audit_sessions: Vec<u32>,
}

impl Approver {
    /// Who a process of this host is, as far as it may decide at all. `logged_in` tells in which audit sessions somebody is.
    ///
    /// # Errors
    ///
    /// [`DecideError`] for whoever is not a person that the provider vouches for now.
    pub fn of(
        resolved: &Resolved,
        logged_in: impl FnOnce(&Identity) -> Vec<u32>,
    ) -> Result<Self, DecideError> {
        if resolved.in_agent_run {
            return Err(DecideError::Agent);
        }
        let Some(bound) = &resolved.identity else {
            return Err(DecideError::Unidentified {
                why: resolved.absence.to_string(),
            });
        };
        if bound.is_stale() {
            return Err(DecideError::Stale);
        }
        let mut sessions = logged_in(&bound.identity);
        sessions.extend(resolved.evidence.audit_session);
        Self::person(bound.identity.clone(), sessions)
    }

    /// Somebody whose log-in was just verified.
    ///
    /// # Errors
    ///
    /// [`DecideError`] for services and agents.
    pub fn person(identity: Identity, audit_sessions: Vec<u32>) -> Result<Self, DecideError> {
        if identity.acting_kind() != PrincipalKind::Human {
            return Err(DecideError::Agent);
        }
        Ok(Self {
            identity,
            audit_sessions,
        })
    }

    /// How people call it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.identity.principal.display
    }

    pub(super) fn is(&self, other: &Identity) -> bool {
        same(&self.identity, other)
    }

    /// Whether it is who asks, or somebody that acts in the asking, or whoever started the service that asks.
    pub(super) fn asks(&self, ask: &Ask) -> bool {
        let own = &self.identity.principal;
        let requester = &ask.requester;
        let acts = requester
            .actors
            .iter()
            .any(|actor| actor.issuer == own.issuer && actor.subject == own.subject);
        let opened = &ask.session.opened;
        let from = opened.evidence.audit_session;
        let started = requester.principal.kind != PrincipalKind::Human
            && from.is_some_and(|session| self.audit_sessions.contains(&session));
        self.is(requester) || acts || started
    }

    /// Whether it is in one of these groups, as the provider says it.
    pub(super) fn in_one_of(&self, groups: &[String]) -> bool {
        in_one_of(&self.identity, groups)
    }

    pub(super) fn may_approve(&self, approvals: &[Approval]) -> bool {
        approvals
            .iter()
            .any(|approval| self.in_one_of(&approval.groups))
    }

    /// In an emergency: by every rule that holds the statement.
    pub(super) fn may_break_glass(&self, approvals: &[Approval]) -> bool {
        approvals
            .iter()
            .all(|approval| self.in_one_of(&approval.break_glass))
    }
}

/// Whether two are the same subject of the same issuer.
pub(super) fn same(one: &Identity, other: &Identity) -> bool {
    let (one, other) = (&one.principal, &other.principal);
    one.issuer == other.issuer && one.subject == other.subject
}

/// Whether the provider says that it is in one of these groups.
pub(super) fn in_one_of(identity: &Identity, groups: &[String]) -> bool {
    let proven = identity.principal.proven_groups();
    groups.iter().any(|group| proven.contains(group))
}
