//! One statement that waits: what its rules want, what it has got, and who may decide about it.

use std::{collections::BTreeMap, time::Duration};

use tokio::sync::oneshot;
use weir_policy::{Approval, Identity};

use super::{
    Approver, Ask, DecideError, Decision, Estimate, Outcome,
    approver::{in_one_of, same},
    view,
};
use crate::audit::record::{Event, Verdict};

/// One that waits.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) ask: Ask,
    pub(super) since_ns: u64,
    pub(super) expires_ns: u64,
    pub(super) given: Vec<Given>,
    pub(super) estimate: Option<Estimate>,
    /// Gone once the wait is over.
    pub(super) waiting: Option<oneshot::Sender<Outcome>>,
}

/// One agreement.
#[derive(Debug, Clone)]
pub(super) struct Given {
    pub(super) approver: Approver,
    pub(super) lasting: Option<Duration>,
}

impl Held {
    pub(super) fn requested(&self, id: u64) -> Event {
        let ask = &self.ask;
        let mut approvers: Vec<String> = ask
            .approvals
            .iter()
            .flat_map(|approval| approval.groups.iter().cloned())
            .collect();
        approvers.sort_unstable();
        approvers.dedup();
        Event::ApprovalRequested {
            approval: id,
            session: ask.session.id,
            requester: Some(ask.requester.clone()),
            rules: view::rules(&ask.approvals),
            reason: view::reasons(&ask.approvals),
            text: ask.statement.decided.facts.normalised.clone(),
            approvers,
            quorum: ask.approvals.iter().map(|it| it.quorum).max().unwrap_or(1),
            expires_ns: self.expires_ns,
            bound: Some(ask.bound.clone()),
        }
    }

    pub(super) fn may_decide(
        &self,
        approver: &Approver,
        decision: &Decision,
    ) -> Result<(), DecideError> {
        let approvals = &self.ask.approvals;
        if decision.break_glass {
            // An emergency is for letting something run.
            return if decision.verdict == Verdict::Approved && approver.may_break_glass(approvals) {
                Ok(())
            } else {
                Err(DecideError::NoBreakGlass)
            };
        }
        if approver.asks(&self.ask) {
            return Err(DecideError::Own);
        }
        if !approver.may_approve(approvals) {
            return Err(not_in_group(approvals));
        }
        if decision.verdict == Verdict::Denied {
            return Ok(());
        }
        if (self.given.iter()).any(|given| given.approver.is(&approver.identity)) {
            let missing = missing(approvals, &self.given);
            return Err(DecideError::Again {
                missing: missing.values().sum(),
            });
        }
        if let Some(wanted) = decision.lasting {
            let limit = approvals.iter().map(|it| it.reuse_s.unwrap_or(0)).min();
            let limit = Duration::from_secs(limit.unwrap_or(0));
            if self.ask.repeated.is_none() || limit.is_zero() {
                let limit = "once".to_owned();
                return Err(DecideError::TooLong { limit });
            }
            if wanted > limit {
                let limit = format!("for {} s", limit.as_secs());
                return Err(DecideError::TooLong { limit });
            }
        }
        Ok(())
    }

    pub(super) fn may_see(&self, approver: &Approver) -> Result<(), DecideError> {
        let approvals = &self.ask.approvals;
        if approver.may_break_glass(approvals) {
            return Ok(());
        }
        if approver.asks(&self.ask) {
            return Err(DecideError::Own);
        }
        if !approver.may_approve(approvals) {
            return Err(not_in_group(approvals));
        }
        Ok(())
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    /// Whether it may be shown to somebody; to whoever runs this host everything may.
    pub(super) fn is_for(&self, viewer: Option<&Identity>) -> bool {
        viewer.is_none_or(|viewer| self.concerns(viewer))
    }

    /// Whether somebody asks for it, or may decide about it.
    fn concerns(&self, viewer: &Identity) -> bool {
        let approvals = &self.ask.approvals;
        let in_one_of = |groups: &[String]| in_one_of(viewer, groups);
        same(&self.ask.requester, viewer)
            || approvals
                .iter()
                .any(|approval| in_one_of(&approval.groups) || in_one_of(&approval.break_glass))
    }

    pub(super) fn end(&mut self, outcome: Outcome) {
        if let Some(waiting) = self.waiting.take() {
            // A session that is gone has its ticket dropped, which says so.
            let _ = waiting.send(outcome);
        }
    }
}

/// How many have still to agree, by rule; empty when all have.
pub(super) fn missing(approvals: &[Approval], given: &[Given]) -> BTreeMap<String, usize> {
    approvals
        .iter()
        .filter_map(|approval| {
            let agreed = given
                .iter()
                .filter(|given| given.approver.in_one_of(&approval.groups))
                .count();
            let missing = usize::try_from(approval.quorum)
                .unwrap_or(usize::MAX)
                .saturating_sub(agreed);
            (missing > 0).then(|| (approval.rule.0.clone(), missing))
        })
        .collect()
}

/// For how long all who agreed let the same statement run; `None` when one of them did only this once.
pub(super) fn lasting(given: &[Given]) -> Option<Duration> {
    let all: Option<Vec<Duration>> = given.iter().map(|given| given.lasting).collect();
    all?.into_iter().min()
}

pub(super) fn not_in_group(approvals: &[Approval]) -> DecideError {
    let mut groups: Vec<&str> = approvals
        .iter()
        .flat_map(|approval| approval.groups.iter().map(String::as_str))
        .collect();
    groups.sort_unstable();
    groups.dedup();
    DecideError::NotInGroup {
        groups: groups.join(" or "),
    }
}
