//! Ending sessions as an administrator orders it.

use serde_json::{Value, json};

use super::{
    peer::Peer,
    protocol::Refusal,
    requests::{Desk, one_line},
};
use crate::{
    sessions::{EndError, EndOrder},
    telemetry,
};

impl Desk {
    /// Ends a session; who asked is recorded with what vouches for it.
    pub(super) fn end_session(
        &self,
        peer: &Peer,
        session: u64,
        reason: String,
    ) -> Result<Value, Refusal> {
        self.asking(peer)?
            .as_administrator("ending others' sessions")?;
        one_line("the reason", &reason)?;
        let resolved = self.resolve(peer)?;
        let order = EndOrder {
            session,
            administrator: resolved.identity.map(|bound| bound.identity.clone()),
            evidence: Some((*resolved.evidence).clone()),
            reason,
        };
        self.parts
            .end_session(order)
            .map_err(|error| match &error {
                EndError::NoSession { .. } => Refusal::with_hint(
                    error.to_string(),
                    "`weir sessions list` shows those that are",
                ),
                EndError::Unrecorded { .. } => Refusal::new(telemetry::chain(&error)),
            })?;
        Ok(json!({ "ended": session }))
    }
}
