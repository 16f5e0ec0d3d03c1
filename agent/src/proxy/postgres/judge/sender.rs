//! What becomes of a session when another process writes on its connection.
//!
//! A child of the same session, or another process of the same service, goes on as before. Anybody else gets the weaker
//! of both identities, or none: from the next statement on the session is judged, and recorded, as that one's. What the
//! session holds already (cursors, prepared statements, temporary tables) was made with the rights of the one before, so
//! where something is hidden from the weaker identity, it may do nothing here.

use std::sync::Arc;

use weir_policy::{Budget, Effect, Process};
use weir_wire::postgres::Refusal;

use super::SessionJudge;
use crate::{
    audit::{NewSession, record::Event},
    capture::{Origin, Writer},
    guard::{Who, admission_refusal},
    identity::{Bound, Identities, Resolved},
    proxy::{
        postgres::barred,
        run_budgets,
        senders::{Remaining, Senders, remaining},
    },
};

/// What a judge keeps of who writes to it.
#[derive(Debug)]
pub(crate) struct Sending {
    pub(crate) senders: Senders,
    pub(crate) identities: Arc<Identities>,
    /// Who the session is now; other than the binding that it was opened with once somebody else wrote.
    pub(super) process: Process,
    /// Of every run that has had a hand in the session: becoming somebody else does not refill them.
    budgets: Vec<Budget>,
    /// Why nothing more may run.
    pub(super) barred: Option<Box<Refusal>>,
}

impl Sending {
    pub(crate) fn new(senders: Senders, identities: Arc<Identities>, opened: &Resolved) -> Self {
        Self {
            senders,
            identities,
            process: process_of(opened),
            budgets: run_budgets(opened.identity.as_ref()),
            barred: None,
        }
    }
}

impl SessionJudge {
    /// Takes notice of foreign writers. To be called when bytes have been read and before they are judged.
    #[inline]
    pub(crate) fn meet_senders(&mut self) {
        for writer in self.sending.senders.news() {
            match writer {
                Writer::Known(origin) => self.meet(&origin),
                Writer::Others => self.meet_too_many(),
            }
        }
    }

    fn meet(&mut self, origin: &Origin) {
        let resolved = self.sending.identities.resolve(origin);
        let process = process_of(&resolved);
        let left = remaining(self.bound.as_ref(), resolved.identity.as_ref());
        let session = self.live.session.id;
        // As what it is recorded and, where the session is no longer what it was, whose it is and whether that is news.
        let (outcome, becomes) = match left {
            Remaining::Same if process == self.sending.process => ("kept", None),
            Remaining::Same => ("kept, another program", Some((self.bound.clone(), false))),
            Remaining::Weaker(bound) => ("weakened", Some((Some(bound), true))),
            Remaining::Nobody => ("unidentified", Some((None, true))),
        };
        let is_other = becomes.is_some();
        let continued_as = becomes.and_then(|(bound, changes_identity)| {
            self.become_other(origin, &resolved, bound, process, changes_identity)
        });
        if is_other {
            tracing::warn!(
                session,
                pid = origin.tgid,
                outcome,
                "another process writes on a session's connection"
            );
        }
        self.record_sender(&Event::SenderChanged {
            session,
            sender: Some(origin.clone()),
            evidence: Some(Box::new((*resolved.evidence).clone())),
            identity: resolved
                .identity
                .map(|bound| Box::new(bound.identity.clone())),
            outcome: outcome.to_owned(),
            continued_as,
        });
    }

    fn meet_too_many(&mut self) {
        let session = self.live.session.id;
        tracing::warn!(
            session,
            "more processes write on a session's connection than can be told apart"
        );
        self.sending.barred = Some(Box::new(refusal(
            "more processes write on this connection than can be told apart",
        )));
        self.record_sender(&Event::SenderChanged {
            session,
            sender: None,
            evidence: None,
            identity: None,
            outcome: "too many".to_owned(),
            continued_as: None,
        });
    }

    /// Goes on as somebody else, under a session record of its own; returns its id.
    fn become_other(
        &mut self,
        origin: &Origin,
        resolved: &Resolved,
        bound: Option<Arc<Bound>>,
        process: Process,
        changes_identity: bool,
    ) -> Option<u64> {
        let target = self.session.opened.target.clone();
        let identity = bound.as_ref().map(|bound| bound.identity.clone());
        let continued = self.journal.session(NewSession {
            origin: origin.clone(),
            evidence: (*resolved.evidence).clone(),
            identity: identity.clone(),
            proof: bound.as_ref().map(|bound| bound.proof()),
            target: target.clone(),
            application_name: self.session.opened.application_name.clone(),
            unread: false,
        });
        for budget in run_budgets(bound.as_ref()) {
            if !self.sending.budgets.contains(&budget) {
                self.sending.budgets.push(budget);
            }
        }
        self.scope = self.guard.scope(Who {
            identity,
            process: process.clone(),
            target,
            budgets: self.sending.budgets.clone(),
        });
        self.bound = bound;
        self.sending.process = process;
        self.follow_login();
        self.protection = self.guard.protection(&self.scope);
        let admission = self.guard.admit(&self.scope);
        if let Some(absence) = resolved.bar().filter(|_| self.guard.enforces()) {
            self.sending.barred = Some(Box::new(barred(absence)));
        } else if let Effect::Deny { .. } = admission.decision.effect {
            let identified = self.bound.is_some();
            self.sending.barred =
                Some(Box::new(admission_refusal(&admission.decision, identified)));
        } else if changes_identity && self.protection.hides {
            self.sending.barred = Some(Box::new(refusal(
                "another process writes on this connection, and not all that this session holds is for it",
            )));
        }
        match continued {
            Ok(session) => {
                self.close("sender changed", 0, 0);
                let id = session.id;
                self.live.continue_as(Arc::clone(&session));
                self.session = session;
                Some(id)
            }
            Err(error) => {
                tracing::error!(%error, session = self.session.id, "cannot record who goes on with a session: it may not");
                self.sending.barred = Some(Box::new(refusal(
                    "who writes on this connection cannot be recorded",
                )));
                None
            }
        }
    }

    fn record_sender(&self, event: &Event) {
        if let Err(error) = self.journal.event_of(&self.live.session, event) {
            tracing::error!(%error, session = self.live.session.id, "cannot record who writes on a connection");
        }
    }
}

/// What rules may ask for of the process.
pub(crate) fn process_of(resolved: &Resolved) -> Process {
    Process::from(&*resolved.evidence)
}

fn refusal(why: &str) -> Refusal {
    Refusal {
        sqlstate: "28000".into(),
        message: format!("weir: {why}"),
        detail: None,
        hint: Some("connect from the process that asks, rather than pass it a connection".into()),
    }
}
