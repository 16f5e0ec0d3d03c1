//! Deciding about a statement that waits, and taking back what was decided to last.

use std::{collections::BTreeMap, time::Duration};

use super::{
    Approver, DecideError, Grant, Holds, State, What,
    held::{Given, lasting, missing, not_in_group},
    ticket::Outcome,
};
use crate::{
    audit::record::{Event, Verdict},
    clock,
};

/// What an approver says.
#[derive(Debug, Clone)]
pub struct Decision {
    /// Yes or no.
    pub verdict: Verdict,
    /// Why, in one line.
    pub reason: String,
    /// For how long the same statement needs no other approval; `None` is this once.
    pub lasting: Option<Duration>,
    /// In an emergency: at once, whatever the quorum, one's own statement too.
    pub break_glass: bool,
}

/// What became of a decision.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Decided {
    /// The approval's number.
    pub id: u64,
    /// Whether the wait is over.
    pub over: bool,
    /// How many still have to agree, by rule.
    pub missing: BTreeMap<String, usize>,
    /// Until when the same statement needs no other approval, nanoseconds since the epoch.
    pub until_ns: Option<u64>,
}

/// What somebody may do about a statement that waits.
#[derive(Debug)]
pub struct Choices {
    /// Agree to it, or why not.
    pub approve: Result<(), DecideError>,
    /// Refuse it, or why not.
    pub refuse: Result<(), DecideError>,
    /// Set its rules aside in an emergency.
    pub emergency: bool,
}

impl Choices {
    /// Whether there is any.
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.approve.is_ok() || self.refuse.is_ok() || self.emergency
    }
}

impl Holds {
    /// What somebody may do about a statement: nobody should be offered what would be refused.
    ///
    /// # Errors
    ///
    /// [`DecideError::Gone`] when it waits no more.
    pub fn choices(&self, id: u64, approver: &Approver) -> Result<Choices, DecideError> {
        let state = self.lock();
        let held = state.waiting(id)?;
        let would = |verdict, break_glass| {
            let decision = Decision {
                verdict,
                reason: String::new(),
                lasting: None,
                break_glass,
            };
            held.may_decide(approver, &decision)
        };
        Ok(Choices {
            approve: would(Verdict::Approved, false),
            refuse: would(Verdict::Denied, false),
            emergency: would(Verdict::Approved, true).is_ok(),
        })
    }

    /// Takes somebody's decision.
    ///
    /// # Errors
    ///
    /// [`DecideError`]; then nothing has changed.
    pub fn decide(
        &self,
        id: u64,
        approver: &Approver,
        decision: &Decision,
    ) -> Result<Decided, DecideError> {
        check_reason(&decision.reason)?;
        let mut state = self.lock();
        let State { held, grants, .. } = &mut *state;
        let held = held
            .get_mut(&id)
            .filter(|held| held.is_waiting())
            .ok_or(DecideError::Gone { id })?;
        held.may_decide(approver, decision)?;
        let agrees = decision.verdict == Verdict::Approved;
        let now_ns = clock::now_ns();
        let mut given = held.given.clone();
        if agrees {
            given.push(Given {
                approver: approver.clone(),
                lasting: decision.lasting,
            });
        }
        let names = names(&given);
        let missing = missing(&held.ask.approvals, &given);
        let over = !agrees || decision.break_glass || missing.is_empty();
        let until_ns = (agrees && over && !decision.break_glass)
            .then(|| lasting(&given))
            .flatten()
            .map(|lasting| now_ns.saturating_add(nanoseconds(lasting)));
        // Written down before it is recorded, and in force only after: what was recorded can be kept, what cannot be is refused.
        let lasts = match (until_ns, &held.ask.repeated) {
            (Some(until_ns), Some(repeated)) => {
                let grant = Grant {
                    approval: id,
                    requester: held.ask.requester.to_string(),
                    approvers: names.clone(),
                    reason: decision.reason.clone(),
                    until_ns,
                    repeated: repeated.clone(),
                };
                Some(grants.with(grant, now_ns).map_err(DecideError::Keep)?)
            }
            _ => None,
        };
        self.journal.event(&Event::ApprovalDecided {
            approval: id,
            approver: approver.identity.clone(),
            verdict: decision.verdict,
            reason: decision.reason.clone(),
            until_ns,
            break_glass: decision.break_glass,
        })?;
        if lasts.is_some() {
            // It outlives a power failure, and so does the record of who gave it. For one that is for a single statement that
            // statement's own record sees to that.
            self.journal.sync()?;
        }
        held.given = given;
        if let Some(Err(error)) = lasts.map(|change| grants.put(change)) {
            tracing::error!(
                %error,
                approval = id,
                "a lasting approval is in force, and may be lost when the agent restarts"
            );
        }
        let what = What::Decided {
            by: approver.name().to_owned(),
            verdict: decision.verdict,
            reason: decision.reason.clone(),
            until_ns,
            break_glass: decision.break_glass,
            missing: if over { 0 } else { missing.values().sum() },
        };
        self.tell(held, id, what);
        if over {
            held.end(if agrees {
                let by = names.join(", ");
                Outcome::Approved { by }
            } else {
                Outcome::Denied {
                    by: approver.name().to_owned(),
                    reason: decision.reason.clone(),
                }
            });
        }
        drop(state);
        if decision.break_glass {
            tracing::warn!(
                approval = id,
                by = approver.name(),
                "rules were set aside in an emergency"
            );
        }
        Ok(Decided {
            id,
            over,
            missing: if over { BTreeMap::new() } else { missing },
            until_ns,
        })
    }

    /// Takes a lasting approval back.
    ///
    /// # Errors
    ///
    /// [`DecideError`]; then it still holds, but for [`DecideError::Returns`].
    pub fn revoke(&self, id: u64, approver: &Approver, reason: &str) -> Result<Grant, DecideError> {
        check_reason(reason)?;
        let mut state = self.lock();
        let now_ns = clock::now_ns();
        let live = state.grants.list(now_ns);
        let grant = live.into_iter().find(|grant| grant.approval == id);
        let grant = grant.ok_or(DecideError::NoGrant { id })?;
        let approvals = &grant.repeated.approvals;
        if !approver.may_approve(approvals) {
            return Err(not_in_group(approvals));
        }
        let change = state.grants.without(id, now_ns);
        let change = change.map_err(DecideError::KeepRevoked)?;
        self.journal.event(&Event::ApprovalRevoked {
            approval: id,
            approver: approver.identity.clone(),
            reason: reason.to_owned(),
        })?;
        self.journal.sync()?;
        state.grants.put(change).map_err(DecideError::Returns)?;
        Ok(grant)
    }
}

/// Who has agreed.
fn names(given: &[Given]) -> Vec<String> {
    let given = given.iter();
    given.map(|it| it.approver.name().to_owned()).collect()
}

/// Looks whether somebody says why, in a line that fits into the record.
///
/// # Errors
///
/// [`DecideError::Reason`]
pub fn check_reason(reason: &str) -> Result<(), DecideError> {
    let fits = !reason.trim().is_empty()
        && reason.len() <= REASON_BYTES
        && !reason.chars().any(char::is_control);
    if fits {
        Ok(())
    } else {
        Err(DecideError::Reason {
            limit: REASON_BYTES,
        })
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The longest reason.
const REASON_BYTES: usize = 1_024;
