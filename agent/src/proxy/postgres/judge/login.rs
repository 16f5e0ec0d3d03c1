//! The log-in behind a session: whether it holds, what has taken its place, and what may still pass once it is over.

use std::{sync::Arc, time::Duration};

use weir_sql::{Confidence, Kind};
use weir_wire::postgres::Refusal;

use super::SessionJudge;
use crate::{
    audit::record::Event,
    guard::Verdict,
    identity::{Bound, Key, State},
};

impl SessionJudge {
    /// Looks at what has become of the log-in since the last time: a newer one of the same subject takes its place, with the
    /// groups it has now, and it ages. A few atomics where nothing has changed.
    pub(super) fn follow_login(&mut self) {
        if let Some(renewed) = self.bound.as_ref().and_then(|bound| bound.newer()) {
            let renewed = Arc::clone(renewed);
            self.scope = self
                .guard
                .scope_of_renewed(&self.scope, renewed.identity.clone());
            self.record_renewed(&renewed);
            self.bound = Some(renewed);
        }
        let stale = self.bound.as_ref().is_some_and(|bound| bound.is_stale());
        let known = &mut self.known_standing;
        self.standing = self.guard.standing(&self.scope, known, stale);
    }

    /// Refuses what may not pass any more: of an expired log-in all but the end of a transaction, of one that was ended all.
    pub(super) fn check_login(&self, verdict: &Verdict, now: Duration) -> Result<(), Box<Refusal>> {
        if let Some(refusal) = &self.sending.barred {
            return Err(refusal.clone());
        }
        let Some(bound) = &self.bound else {
            return Ok(());
        };
        match bound.state(now) {
            State::Live => Ok(()),
            State::Expired if !self.idle && ends_transaction(verdict) => Ok(()),
            state => Err(Box::new(is_over(bound, state))),
        }
    }

    fn record_renewed(&self, bound: &Bound) {
        let session = self.session.id;
        let event = Event::SessionRenewed {
            session,
            identity: bound.identity.clone(),
            proof: bound.proof(),
        };
        if let Err(error) = self.journal.event_of(&self.session, &event) {
            tracing::error!(%error, session, "cannot record that a log-in was renewed");
        }
    }
}

fn is_over(bound: &Bound, state: State) -> Refusal {
    let message = match state {
        State::Revoked => "weir: the log-in behind this connection was ended",
        _ => "weir: the log-in behind this connection has expired",
    };
    let hint = match (&bound.key, state) {
        (_, State::Revoked) => "run \"weir login\" and connect again",
        (Key::Workload { .. }, _) => {
            "this service's token has to be renewed: \"weir doctor\" says what keeps it from that"
        }
        _ if bound.is_agent_run() => "the agent's run is over: start it again",
        _ => {
            "run \"weir login\": for a while this connection waits and goes on with the new log-in"
        }
    };
    Refusal {
        sqlstate: "28000".into(),
        message: message.into(),
        detail: None,
        hint: Some(hint.into()),
    }
}

/// Whether a text is nothing but the end of the transaction it is in.
fn ends_transaction(verdict: &Verdict) -> bool {
    let facts = &verdict.statement.decided.facts;
    facts.kinds == [Kind::Transaction]
        && facts.statement_count == 1
        && facts.confidence == Confidence::Exact
        && is_end(&facts.normalised)
}

fn is_end(text: &str) -> bool {
    let text = text.trim().trim_end_matches(';').to_ascii_lowercase();
    let mut words = text.split_ascii_whitespace();
    if !matches!(words.next(), Some("commit" | "end" | "rollback" | "abort")) {
        return false;
    }
    let rest: Vec<_> = words.collect();
    let mut rest = rest.as_slice();
    if let ["work" | "transaction", behind @ ..] = rest {
        rest = behind;
    }
    matches!(rest, [] | ["and", "no", "chain"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_ends_a_transaction_and_begins_none_ends_it() {
        for text in [
            "COMMIT",
            "commit;",
            "END",
            "ROLLBACK WORK",
            "abort transaction and no chain",
        ] {
            assert!(is_end(text), "{text}");
        }
        for text in [
            "COMMIT AND CHAIN",
            "ROLLBACK TO SAVEPOINT a",
            "ROLLBACK TO a",
            "COMMIT PREPARED 'x'",
            "PREPARE TRANSACTION 'x'",
            "BEGIN",
            "COMMIT; SELECT 1",
            "",
        ] {
            assert!(!is_end(text), "{text}");
        }
    }
}
