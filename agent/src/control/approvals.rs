//! Statements that wait for approvals, as the control socket offers them: everybody sees what concerns them, and decides as who
//! the provider says they are. Root sees all of it, and decides nothing as root.

use std::sync::Arc;

use serde_json::Value;
use weir_policy::Identity;

use super::{
    peer::Peer,
    protocol::{Approvals, LINE_BYTES, Refusal},
    requests::{Desk, value},
};
use crate::{
    holds::{Approver, DecideError, Decision, Holds, Summary},
    telemetry,
};

impl Desk {
    pub(super) fn approvals(&self, peer: &Peer) -> Result<Value, Refusal> {
        let holds = self.holds()?;
        let viewer = self.viewer(peer)?;
        let waiting = holds.list(viewer.as_ref());
        let mut lasting = holds.grants();
        if let Some(viewer) = &viewer {
            lasting.retain(|grant| grant.concerns(viewer));
        }
        value(&Approvals {
            left_out: waiting.len().saturating_sub(LISTED),
            waiting: (waiting.into_iter().take(LISTED))
                .map(Summary::shortened)
                .collect(),
            lasting: lasting.into_iter().take(LISTED).collect(),
        })
    }

    pub(super) fn approval(&self, peer: &Peer, id: u64) -> Result<Value, Refusal> {
        let viewer = self.viewer(peer)?;
        let view = self.holds()?.show(id, viewer.as_ref());
        let view = view.ok_or_else(|| refusal(&DecideError::Gone { id }))?;
        value(&view.shortened())
    }

    pub(super) fn approval_values(&self, peer: &Peer, id: u64) -> Result<Value, Refusal> {
        let exact = self
            .holds()?
            .exact(id, &self.approver(peer)?)
            .map_err(|error| refusal(&error))?;
        let answer = value(&exact)?;
        if answer.to_string().len() > LINE_BYTES - ANSWER_ROOM {
            return Err(Refusal::with_hint(
                "the statement and its values are too long to be shown here",
                "ask who sent it; what can be seen without values is in `weir approvals show`",
            ));
        }
        Ok(answer)
    }

    pub(super) fn decide(
        &self,
        peer: &Peer,
        id: u64,
        decision: &Decision,
    ) -> Result<Value, Refusal> {
        let decided = self
            .holds()?
            .decide(id, &self.approver(peer)?, decision)
            .map_err(|error| refusal(&error))?;
        value(&decided)
    }

    pub(super) fn revoke_approval(
        &self,
        peer: &Peer,
        id: u64,
        reason: &str,
    ) -> Result<Value, Refusal> {
        let grant = self
            .holds()?
            .revoke(id, &self.approver(peer)?, reason)
            .map_err(|error| refusal(&error))?;
        value(&grant)
    }

    fn holds(&self) -> Result<&Arc<Holds>, Refusal> {
        let holds = self.parts.holds();
        holds.ok_or_else(|| Refusal::new("nothing waits for approvals here"))
    }

    fn approver(&self, peer: &Peer) -> Result<Approver, Refusal> {
        let sessions = |identity: &Identity| self.identities.sessions_of(identity);
        Approver::of(&self.resolve(peer)?, sessions).map_err(|error| refusal(&error))
    }

    /// For whom something is shown; `None` is whoever runs this host.
    fn viewer(&self, peer: &Peer) -> Result<Option<Identity>, Refusal> {
        let resolved = self.resolve(peer)?;
        match &resolved.identity {
            Some(bound) => Ok(Some(bound.identity.clone())),
            None if self.asking(peer)?.is_administrator() => Ok(None),
            None => Err(refusal(&DecideError::Unidentified {
                why: resolved.absence.to_string(),
            })),
        }
    }
}

fn refusal(error: &DecideError) -> Refusal {
    Refusal {
        message: telemetry::chain(error),
        hint: error.hint().map(str::to_owned),
    }
}

/// The whole answer has to fit into one line.
const LISTED: usize = 60;
/// What an answer has around its values.
const ANSWER_ROOM: usize = 1_024;
