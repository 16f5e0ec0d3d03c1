//! Why somebody's decision was not taken.

use crate::audit::JournalError;

/// Why somebody's decision was not taken.
#[derive(Debug, thiserror::Error)]
pub enum DecideError {
    /// It waits no more, or never did.
    #[error("no statement waits for approval {id}")]
    Gone {
        /// The approval's number.
        id: u64,
    },
    /// No grant has this number.
    #[error("no lasting approval has the number {id}")]
    NoGrant {
        /// The approval's number.
        id: u64,
    },
    /// Nobody vouches for who decides.
    #[error("only somebody whom the identity provider vouches for can decide: {why}")]
    Unidentified {
        /// What is known.
        why: String,
    },
    /// A service or an agent.
    #[error("services and AI agents cannot decide, nor can people through them")]
    Agent,
    /// The provider could not be asked lately.
    #[error("the identity provider could not be asked lately whether your log-in still holds")]
    Stale,
    /// It is the requester's own.
    #[error("nobody decides about their own statements, or those of agents that act for them")]
    Own,
    /// Not in a group.
    #[error("this takes a member of {groups}")]
    NotInGroup {
        /// The groups.
        groups: String,
    },
    /// It was given already.
    #[error("you have agreed already; {missing} more must")]
    Again {
        /// How many are missing.
        missing: usize,
    },
    /// No reason.
    #[error("say why, in one line of at most {limit} bytes")]
    Reason {
        /// Bytes.
        limit: usize,
    },
    /// The rules let it run only once.
    #[error("the rules let this statement be approved {limit} only")]
    TooLong {
        /// Once, or for how long.
        limit: String,
    },
    /// No break-glass.
    #[error("no emergency approval: the rules name nobody for it, or others")]
    NoBreakGlass,
    /// It cannot be recorded, and so not be.
    #[error("the decision cannot be recorded, so it does not hold")]
    Record(#[from] JournalError),
    /// A lasting approval cannot be written down.
    #[error("the lasting approval cannot be kept on disk, so nothing was decided")]
    Keep(#[source] std::io::Error),
    /// That one is taken back cannot be written down.
    #[error("that it is taken back cannot be kept on disk, so it still holds")]
    KeepRevoked(#[source] std::io::Error),
    /// It is taken back, but not on disk.
    #[error("it is taken back, but not on disk: it may hold again once the agent restarts")]
    Returns(#[source] std::io::Error),
}

impl DecideError {
    /// What to do.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Gone { .. } => {
                "\"weir approvals list\" shows what waits; \"weir report approvals\" what became of the rest"
            }
            Self::NoGrant { .. } => "\"weir approvals list\" shows them",
            Self::Unidentified { .. } | Self::Stale => "run \"weir login\"",
            Self::Agent => "decide as yourself, outside of any agent's run",
            Self::Own | Self::Again { .. } => "ask somebody else of the group",
            Self::NotInGroup { .. } => "ask one of them, or whoever runs the identity provider",
            Self::Reason { .. } => "--reason \"…\"",
            Self::TooLong { .. } => "leave the duration out, or give a shorter one",
            Self::NoBreakGlass => {
                "ask an approver; \"break_glass\" in the rule names who may do without"
            }
            Self::Keep(_) => {
                "leave the duration out to let it run this once, or ask the operator of this host about the agent's disk"
            }
            Self::KeepRevoked(_) | Self::Returns(_) => {
                "ask the operator of this host about the agent's disk"
            }
            Self::Record(_) => "ask the operator of this host: \"weir status\" shows the journal",
        })
    }
}
