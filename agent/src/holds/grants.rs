//! Approvals that last: the same statement of the same requester needs no other one until they end. They outlive the agent.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use weir_policy::{Approval, Identity};

use super::approver::in_one_of;
use crate::files::{self, Draft};

/// What has to be the same for an approval to serve again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repeated {
    /// Issuer and subject.
    pub principal: (String, String),
    /// The same of all who act for it, in their order.
    pub actors: Vec<(String, String)>,
    /// The program.
    pub exe: String,
    /// Where to.
    pub endpoint: String,
    /// Which database.
    pub database: String,
    /// As which of its users.
    pub database_user: String,
    /// The statement, literals replaced.
    pub text: String,
    /// Whether backslashes are read in plain strings.
    pub backslash_in_strings: bool,
    /// Where names are looked up.
    pub search_path: Vec<String>,
    /// What the rules want.
    pub approvals: Vec<Approval>,
}

/// One approval that lasts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The approval that it came of.
    pub approval: u64,
    /// Who asked, for people to read.
    pub requester: String,
    /// Who agreed, for people to read.
    pub approvers: Vec<String>,
    /// Why.
    pub reason: String,
    /// Until when, nanoseconds since the epoch.
    pub until_ns: u64,
    /// For what.
    pub repeated: Repeated,
}

/// All of them, and the file that keeps them.
#[derive(Debug)]
pub(super) struct Grants {
    path: PathBuf,
    list: Vec<Grant>,
}

/// What they are to become, written beside their file.
#[derive(Debug)]
pub(super) struct Change {
    list: Vec<Grant>,
    draft: Draft,
}

impl Grants {
    /// # Errors
    ///
    /// When there is a file that cannot be read: who made it knows what it was for.
    pub(super) fn open(state_dir: &Path) -> io::Result<Self> {
        let path = state_dir.join("grants.json");
        let list = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(io::Error::other)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        Ok(Self { path, list })
    }

    pub(super) fn find(&self, repeated: &Repeated, now_ns: u64) -> Option<&Grant> {
        self.list
            .iter()
            .find(|grant| now_ns < grant.until_ns && grant.repeated == *repeated)
    }

    pub(super) fn list(&self, now_ns: u64) -> Vec<Grant> {
        let live = self.list.iter().filter(|grant| now_ns < grant.until_ns);
        live.cloned().collect()
    }

    /// Writes down that there is one more; nothing has changed before that is [put](Self::put) in force.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub(super) fn with(&self, grant: Grant, now_ns: u64) -> io::Result<Change> {
        let mut list = self.list(now_ns);
        list.push(grant);
        self.change(list)
    }

    /// Writes down that there is one less, as [`Self::with`] does.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub(super) fn without(&self, approval: u64, now_ns: u64) -> io::Result<Change> {
        let mut list = self.list(now_ns);
        list.retain(|grant| grant.approval != approval);
        self.change(list)
    }

    fn change(&self, list: Vec<Grant>) -> io::Result<Change> {
        let text = serde_json::to_vec_pretty(&list).map_err(io::Error::other)?;
        let draft = Draft::write(&self.path, files::PRIVATE, &text)?;
        Ok(Change { list, draft })
    }

    /// Puts a change in force.
    ///
    /// # Errors
    ///
    /// When it is in force, but may not be any more once the agent restarts.
    pub(super) fn put(&mut self, change: Change) -> io::Result<()> {
        self.list = change.list;
        change.draft.put()
    }
}

impl Grant {
    /// Whether somebody has asked for it, or could take it back.
    #[must_use]
    pub fn concerns(&self, viewer: &Identity) -> bool {
        let asks = self.repeated.principal == Repeated::principal_of(viewer);
        let mut approvals = self.repeated.approvals.iter();
        asks || approvals.any(|approval| in_one_of(viewer, &approval.groups))
    }
}

impl Repeated {
    /// Issuer and subject.
    #[must_use]
    pub fn principal_of(identity: &Identity) -> (String, String) {
        let principal = &identity.principal;
        (principal.issuer.clone(), principal.subject.clone())
    }

    /// The same of all who act for it.
    #[must_use]
    pub fn actors_of(identity: &Identity) -> Vec<(String, String)> {
        let actors = identity.actors.iter();
        actors
            .map(|actor| (actor.issuer.clone(), actor.subject.clone()))
            .collect()
    }
}
