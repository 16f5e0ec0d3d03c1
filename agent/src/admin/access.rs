//! Who asks, and what they may have.

use std::{fmt, sync::Arc};

use weir_policy::Identity;

use super::visits::VisitKey;
use crate::identity::Evidence;

/// What somebody may do here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// See what runs.
    Viewer,
    /// Decide about statements that wait.
    Approver,
    /// Read the record.
    Auditor,
    /// All of it.
    Admin,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Approver, Self::Auditor, Self::Admin];

    /// As the configuration spells it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Approver => "approver",
            Self::Auditor => "auditor",
            Self::Admin => "admin",
        }
    }

    /// Whether this role is enough where `need` is the least: everybody may view, and an administrator do everything.
    #[must_use]
    pub fn is_enough_for(self, need: Self) -> bool {
        self == need || self == Self::Admin || need == Self::Viewer
    }
}

/// What a route asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Nothing.
    Nothing,
    /// The bearer token for measurements, or a viewer.
    Metrics,
    /// At least this role.
    Role(Role),
}

/// The roles of one person.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct RoleSet(u8);

impl RoleSet {
    pub(super) const fn only(role: Role) -> Self {
        Self(1 << role as u8)
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) fn may(self, need: Role) -> bool {
        self.held().any(|role| role.is_enough_for(need))
    }

    pub(super) fn held(self) -> impl Iterator<Item = Role> {
        Role::ALL
            .into_iter()
            .filter(move |role| self.0 & Self::only(*role).0 != 0)
    }
}

impl FromIterator<Role> for RoleSet {
    fn from_iter<T: IntoIterator<Item = Role>>(roles: T) -> Self {
        Self(
            roles
                .into_iter()
                .fold(0, |all, role| all | Self::only(role).0),
        )
    }
}

impl fmt::Display for RoleSet {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<_> = self.held().map(Role::word).collect();
        out.write_str(&words.join(", "))
    }
}

/// Who asks.
#[derive(Debug, Clone, Default)]
pub(super) struct Visitor {
    /// For people to read.
    pub(super) name: String,
    pub(super) roles: RoleSet,
    /// Who the provider says it is; `None` for root of this host.
    pub(super) identity: Option<Identity>,
    /// Whose process asks, on this host's socket.
    pub(super) uid: Option<u32>,
    /// What was observed of that process.
    pub(super) evidence: Option<Arc<Evidence>>,
    /// What forms have to carry.
    pub(super) csrf: String,
    /// The visit of a browser.
    pub(super) visit: Option<VisitKey>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_role_may_view_and_only_administrators_may_do_everything() {
        for role in Role::ALL {
            let set = RoleSet::only(role);
            assert!(set.may(Role::Viewer));
            assert_eq!(set.may(Role::Admin), role == Role::Admin);
            assert_eq!(
                set.may(Role::Approver),
                matches!(role, Role::Approver | Role::Admin)
            );
            assert_eq!(
                set.may(Role::Auditor),
                matches!(role, Role::Auditor | Role::Admin)
            );
        }
        assert!(!RoleSet::default().may(Role::Viewer));
    }

    #[test]
    fn roles_add_up_and_read_as_configured() {
        let both: RoleSet = [Role::Auditor, Role::Approver].into_iter().collect();
        assert!(both.may(Role::Auditor) && both.may(Role::Approver) && !both.may(Role::Admin));
        assert_eq!(both.to_string(), "approver, auditor");
    }
}
