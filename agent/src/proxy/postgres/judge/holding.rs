//! What must be approved before it goes on: waiting in place, and what was approved being what goes.

use std::{
    net::SocketAddr,
    sync::{Arc, Weak},
    task::{Context, Poll},
};

use weir_policy::Identity;
use weir_sql::{Confidence, Facts, Kind, SessionModes};
use weir_wire::postgres::{
    Asked, Gate, Refusal,
    backend::{self, NoticeFields},
    conversation::{Look, LookError, Looked},
};

use super::{SessionJudge, allowance::has_word};
use crate::{
    audit::record::{Bound, Settled},
    clock,
    guard::Verdict,
    holds::{Ask, AskError, Estimate, Outcome, Reading, Repeated, Ticket, estimate},
};

/// A statement of this session that waits.
#[derive(Debug)]
pub(super) struct Holding {
    ticket: Ticket,
    /// As it was decided when it began to wait.
    verdict: Arc<Verdict>,
    modes: SessionModes,
    values: Box<[u8]>,
    /// For the client, until it was told.
    notice: Option<Vec<u8>>,
    /// Nobody has said yet how it is cancelled.
    new: bool,
    estimate: Estimating,
}

/// How far asking for the server's estimate is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Estimating {
    Wanted,
    Asked,
    Done,
}

impl SessionJudge {
    /// Whether a statement that needs an approval may go on.
    pub(super) fn hold(&mut self, verdict: &Arc<Verdict>, asked: &Asked<'_>) -> Gate<Arc<Verdict>> {
        // A portal carries the approval that its `Bind` was let through by; whether it is still the same is for the request.
        if let Some(clearance) = &verdict.clearance {
            let why = if clearance.has_begun() {
                return Gate::Open(None);
            } else if clearance.reading().turn != self.names.times() {
                "how its names are read has changed since"
            } else if !clearance.stands() {
                "it was taken back, or is over"
            } else {
                return Gate::Open(None);
            };
            return self.refuse_held(verdict, refusal(verdict, why, "bind it anew"), asked);
        }
        self.follow_login();
        if let Err(refusal) = self.check_login(verdict, clock::now()) {
            self.record_refused(verdict, asked.via, asked.bytes);
            return Gate::Refuse(refusal);
        }
        let mut again = false;
        if let Some(holding) = self.holding.take() {
            match holding.ticket.outcome() {
                Some(Outcome::Approved { .. }) if holding.is_for(verdict, self.modes, asked) => {
                    let clearance = holding.ticket.into_clearance(self.reading());
                    return self.let_through(verdict.approved(clearance));
                }
                Some(Outcome::Approved { .. } | Outcome::Recheck) => {
                    holding.ticket.settle(Settled::Changed);
                    again = true;
                }
                Some(outcome) => {
                    let refusal = ended(holding.ticket.id(), outcome);
                    return self.refuse_held(verdict, refusal, asked);
                }
                // Another message than the one that waits cannot come before it.
                None => {
                    self.holding = Some(holding);
                    return Gate::Wait;
                }
            }
        }
        let requester = match self.may_wait(verdict, asked) {
            Ok(requester) => requester,
            Err(refusal) => return self.refuse_held(verdict, refusal, asked),
        };
        let repeated = self.repeated(verdict, &requester);
        let granted = |it| self.holds.granted(it, self.reading());
        if let Some(clearance) = repeated.as_ref().and_then(granted) {
            return self.let_through(verdict.approved(clearance));
        }
        if !asked.whole {
            // Asked for nothing: nobody could say yes to values that are not there.
            let refusal = refusal(
                verdict,
                "its message is too long to wait for it",
                "send its values in several shorter statements",
            );
            return self.refuse_held(verdict, refusal, asked);
        }
        let ask = Ask {
            session: Arc::clone(&self.session),
            requester,
            statement: Arc::clone(&verdict.statement),
            text: verdict.text().into(),
            values: asked.values.into(),
            approvals: verdict.obligations.approvals.clone(),
            in_transaction: asked.in_transaction,
            rewritten: verdict.replacement.is_some(),
            cancels: None,
            bound: Bound {
                to: self.hash_bound(verdict, self.modes, asked.parameters),
                policy: verdict.statement.decided.policy.clone(),
                catalog: verdict.catalog(),
            },
            repeated,
        };
        match self.holds.ask(ask) {
            Ok(ticket) => {
                let notice = waits(ticket.id(), verdict, again);
                self.holding = Some(Holding {
                    ticket,
                    verdict: Arc::clone(verdict),
                    modes: self.modes,
                    values: asked.values.into(),
                    notice: Some(notice),
                    new: true,
                    estimate: Estimating::Wanted,
                });
                Gate::Wait
            }
            Err(error) => self.refuse_held(verdict, cannot_wait(&error), asked),
        }
    }

    fn let_through(&mut self, verdict: Arc<Verdict>) -> Gate<Arc<Verdict>> {
        self.cleared.retain(waits_for_execute);
        self.cleared.push(Arc::downgrade(&verdict));
        Gate::Open(Some(verdict))
    }

    /// Whether a statement may run a portal that an approval let through and that waits for its `Execute`: by a cursor's command, or
    /// by a function that has one.
    #[inline]
    pub(super) fn may_run_cleared(&self, verdict: &Verdict) -> bool {
        if self.cleared.is_empty() || !verdict.obligations.approvals.is_empty() {
            return false;
        }
        let is_harmless = |kind: &Kind| matches!(kind, Kind::Transaction | Kind::Set);
        let kinds = &verdict.statement.decided.facts.kinds;
        !kinds.iter().all(is_harmless) && self.cleared.iter().any(waits_for_execute)
    }

    /// It would run without its record, and whatever has become of the approval since.
    #[cold]
    pub(super) fn refuse_ahead_of_cleared(
        &mut self,
        verdict: &Arc<Verdict>,
        asked: &Asked<'_>,
    ) -> Gate<Arc<Verdict>> {
        let refusal = Refusal {
            sqlstate: "42501".into(),
            message: "weir: a statement that was approved is bound and has to be executed first"
                .into(),
            detail: None,
            hint: Some("execute its portal, or end the transaction".into()),
        };
        self.refuse_held(verdict, refusal, asked)
    }

    /// A request goes on that an approval let through.
    pub(super) fn record_cleared(&self, verdict: &Verdict, parameters: u64, request: u64) {
        if let Some(clearance) = &verdict.clearance {
            let hash = self.hash_bound(verdict, clearance.reading().modes, parameters);
            clearance.used(request, hash);
        }
    }

    /// How what is judged now is read.
    fn reading(&self) -> Reading {
        Reading {
            modes: self.modes,
            turn: self.names.times(),
        }
    }

    /// SQL could run by its name what has to be approved, and what that is stands nowhere in its text.
    #[cold]
    pub(super) fn refuse_by_name(
        &mut self,
        verdict: &Arc<Verdict>,
        asked: &Asked<'_>,
    ) -> Gate<Arc<Verdict>> {
        let refusal = Refusal {
            sqlstate: "42501".into(),
            message: "weir: this may run a prepared statement by its name that needs an approval"
                .into(),
            detail: None,
            hint: Some(
                "run that statement itself, by your driver; DEALLOCATE ALL forgets the names"
                    .into(),
            ),
        };
        self.refuse_held(verdict, refusal, asked)
    }

    fn hash_bound(&self, verdict: &Verdict, modes: SessionModes, parameters: u64) -> String {
        let hash = self.guard.hash_bound(verdict, modes, parameters);
        format!("{hash:016x}")
    }

    /// Who asks, if the statement may wait at all.
    fn may_wait(&self, verdict: &Verdict, asked: &Asked<'_>) -> Result<Identity, Refusal> {
        let Some(identity) = self.scope.identity() else {
            return Err(refusal(
                verdict,
                "nobody vouches for this process, so nobody can be asked for it",
                "run \"weir login\", or ask for a workload entry",
            ));
        };
        let facts = &verdict.statement.decided.facts;
        // `PREPARE TRANSACTION` names no statement; beside others it would hide one that does.
        let names = has_word(&facts.normalised, "prepare");
        if names && facts.kinds.iter().any(|kind| *kind != Kind::Transaction) {
            return Err(refusal(
                verdict,
                "what has to be approved cannot be given a name in SQL",
                "run the statement itself, or prepare it by your driver",
            ));
        }
        let outside = verdict.obligations.approvals.iter();
        if asked.in_transaction && outside.clone().any(|approval| approval.not_in_transaction) {
            return Err(refusal(
                verdict,
                "it would wait inside a transaction, and hold its locks",
                "run it outside of a transaction",
            ));
        }
        Ok(identity.clone())
    }

    /// What a lasting approval of this would be for; only where the text says all that it does.
    fn repeated(&self, verdict: &Verdict, requester: &Identity) -> Option<Repeated> {
        let facts = &verdict.statement.decided.facts;
        if facts.confidence != Confidence::Exact || !says_all(facts) {
            return None;
        }
        let followed = self.protection.needs_catalog;
        let search_path = self.names.meaning(&facts.relations, followed)?;
        let opened = &self.session.opened;
        Some(Repeated {
            principal: Repeated::principal_of(requester),
            actors: Repeated::actors_of(requester),
            exe: opened.evidence.exe_path.clone(),
            endpoint: opened.target.endpoint.clone(),
            database: opened.target.database.clone(),
            database_user: opened.target.database_user.clone(),
            text: facts.normalised.clone(),
            backslash_in_strings: self.modes.backslash_in_strings,
            search_path,
            approvals: verdict.obligations.approvals.clone(),
        })
    }

    fn refuse_held(
        &mut self,
        verdict: &Arc<Verdict>,
        refusal: Refusal,
        asked: &Asked<'_>,
    ) -> Gate<Arc<Verdict>> {
        let mut refusal = Box::new(refusal);
        self.tell_refused(verdict, &mut refusal, asked.via, asked.bytes);
        Gate::Refuse(refusal)
    }

    /// Ready when what waits may be read again, and when nothing waits.
    pub(crate) fn poll_hold(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.holding {
            Some(holding) => holding.ticket.poll(cx),
            None => Poll::Ready(()),
        }
    }

    /// What the client is to be told about what waits, once.
    pub(crate) fn hold_notice(&mut self) -> Option<Vec<u8>> {
        self.holding.as_mut()?.notice.take()
    }

    /// Whether something waits that [`Self::cancellable`] was not called for.
    pub(crate) fn is_new_hold(&mut self) -> bool {
        let holding = self.holding.as_mut();
        holding.is_some_and(|holding| std::mem::take(&mut holding.new))
    }

    /// A cancellation with this key takes back what waits.
    pub(crate) fn cancellable(&self, server: SocketAddr, key: &[u8]) {
        if let Some(holding) = &self.holding {
            self.holds.cancellable(holding.ticket.id(), server, key);
        }
    }

    /// What the server is to be asked about what waits, once, while the connection is idle.
    pub(crate) fn take_estimate(&mut self) -> Option<Look> {
        let holding = self.holding.as_mut()?;
        if holding.estimate != Estimating::Wanted {
            return None;
        }
        let verdict = &holding.verdict;
        let replacement = verdict.replacement.as_ref();
        let text = replacement.map_or(verdict.text(), |other| &other.text);
        let facts = &verdict.statement.decided.facts;
        match estimate::question(text, facts, !holding.values.is_empty()) {
            Ok(question) => {
                holding.estimate = Estimating::Asked;
                let statements = estimate::BEGIN.into_iter().chain([question.as_str()]);
                Some(Look::new(ESTIMATE, statements))
            }
            Err(why) => {
                holding.estimate = Estimating::Done;
                let id = holding.ticket.id();
                self.holds.estimated(id, Estimate::None(why.to_owned()));
                None
            }
        }
    }

    /// Takes what the server said, where a look was for that.
    pub(super) fn estimated(&mut self, looked: Looked) -> Option<Looked> {
        let Some(holding) = self
            .holding
            .as_mut()
            .filter(|holding| holding.estimate == Estimating::Asked)
        else {
            return Some(looked);
        };
        holding.estimate = Estimating::Done;
        let estimate = match &looked.answers {
            Ok(answers) => answers
                .last()
                .and_then(|rows| rows.iter().next()??.first().copied()?.map(estimate::answer))
                .unwrap_or_else(|| Estimate::None("the server gave none".to_owned())),
            // Its own words may hold values of the statement.
            Err(LookError::Server { sqlstate, .. }) => Estimate::None(format!(
                "the server refuses to plan it: {}",
                String::from_utf8_lossy(sqlstate)
            )),
            Err(error) => Estimate::None(error.to_string()),
        };
        self.holds.estimated(holding.ticket.id(), estimate);
        None
    }

    /// What waited was read again. Where it came to something else than what it waited for, the wait is over.
    pub(crate) fn resumed(&mut self) {
        if let Some(holding) = self
            .holding
            .take_if(|holding| holding.ticket.outcome().is_some())
        {
            holding.ticket.settle(Settled::Changed);
        }
    }

    /// What is ahead of it has failed: the server is going to discard it.
    pub(crate) fn held_in_vain(&mut self) {
        if let Some(holding) = self.holding.take() {
            holding.ticket.settle(Settled::NotRun);
        }
    }

    /// The client has gone, or takes nothing more.
    pub(crate) fn give_up_hold(&mut self) {
        self.holding = None;
    }
}

/// Whether a portal is still there that has not begun to run.
fn waits_for_execute(cleared: &Weak<Verdict>) -> bool {
    let verdict = cleared.upgrade();
    verdict.is_some_and(|verdict| {
        let clearance = verdict.clearance.as_ref();
        clearance.is_some_and(|clearance| !clearance.has_begun())
    })
}

/// Whether the normalised text tells what a statement does, whatever its literals are: a query's and a write's are data. In
/// others they may be a whole function's body, a role, a file, and there are none only where nothing was replaced.
fn says_all(facts: &Facts) -> bool {
    let is_data = |kind: &Kind| {
        matches!(
            kind,
            Kind::Select
                | Kind::Insert
                | Kind::Update
                | Kind::Delete
                | Kind::Merge
                | Kind::VectorSearch
                | Kind::EmbeddingWrite
        )
    };
    let text = &facts.normalised;
    // `UESCAPE` takes a literal, and an identifier depends on it.
    (facts.kinds.iter().all(is_data) && !has_word(text, "uescape")) || !text.contains('$')
}

impl Holding {
    /// Whether what asks now is what was approved: the same text and values, read and decided in the same way.
    fn is_for(&self, verdict: &Verdict, modes: SessionModes, asked: &Asked<'_>) -> bool {
        self.modes == modes
            && *self.values == *asked.values
            && self.verdict.text() == verdict.text()
            && self.verdict.stands_as(verdict)
    }
}

/// For the client, when its statement begins to wait.
fn waits(id: u64, verdict: &Verdict, again: bool) -> Vec<u8> {
    let approvals = &verdict.obligations.approvals;
    let by: Vec<String> = approvals
        .iter()
        .map(|approval| format!("{approval} (rule {})", approval.rule.0))
        .collect();
    let again = if again {
        "rules or the database have changed since it was asked for: "
    } else {
        ""
    };
    let seconds = approvals.iter().map(|it| it.ttl_s).min().unwrap_or(0);
    backend::notice(&NoticeFields {
        sqlstate: "00000",
        message: &format!(
            "weir: {again}this statement waits as request {id} for {}",
            by.join(" and ")
        ),
        detail: Some(&format!("It is given up after {seconds} s.")),
        hint: Some(&format!(
            "\"weir approvals show {id}\" shows it; cancel the statement to take it back"
        )),
    })
}

/// Nothing that needs an approval goes on without one, whatever way it came here.
pub(super) fn unapproved(verdict: &Verdict) -> Option<Box<Refusal>> {
    let open = verdict.obligations.approvals.is_empty() || verdict.clearance.is_some();
    (!open).then(|| {
        Box::new(refusal(
            verdict,
            "cannot wait for it",
            "run it as a statement of its own",
        ))
    })
}

fn refusal(verdict: &Verdict, message: &str, hint: &str) -> Refusal {
    let approvals = verdict.obligations.approvals.iter();
    let by: Vec<String> = approvals.map(ToString::to_string).collect();
    Refusal {
        sqlstate: "42501".into(),
        message: format!("weir: this needs {}, and {message}", by.join(" and ")),
        detail: None,
        hint: Some(hint.into()),
    }
}

fn ended(id: u64, outcome: &Outcome) -> Refusal {
    let (sqlstate, message, hint) = match outcome {
        Outcome::Denied { by, reason } => (
            "42501",
            format!("approval {id} was denied by {by}: {reason}"),
            "ask them, or change the statement",
        ),
        Outcome::TimedOut => (
            "42501",
            format!("nobody decided about approval {id} in time"),
            "run it again when somebody is there to approve it",
        ),
        Outcome::Cancelled => (
            "57014",
            "canceling statement due to user request, while it waited for an approval".to_owned(),
            "nothing of it reached the server",
        ),
        Outcome::Stopped | Outcome::Recheck | Outcome::Approved { .. } => (
            "57P01",
            format!("the agent is being stopped, and approval {id} with it"),
            "nothing of it reached the server; run it again in a moment",
        ),
    };
    Refusal {
        sqlstate: sqlstate.into(),
        message: format!("weir: {message}"),
        detail: None,
        hint: Some(hint.into()),
    }
}

fn cannot_wait(error: &AskError) -> Refusal {
    let sqlstate = match error {
        AskError::Record(_) => "53100",
        AskError::Stopping => "57P01",
        AskError::Full | AskError::FullForOne => "53000",
    };
    Refusal {
        sqlstate: sqlstate.into(),
        message: format!("weir: this needs an approval, and {error}"),
        detail: None,
        hint: Some("run it again later; \"weir approvals list\" shows what waits".into()),
    }
}

/// No client names a statement so.
const ESTIMATE: &str = "weir_estimate";

#[cfg(test)]
mod tests {
    use weir_sql::postgres::analyse;

    use super::*;

    #[test]
    fn an_approval_lasts_only_for_what_the_text_says_whatever_its_literals() {
        let says = |text: &str| says_all(&analyse(text.as_bytes(), SessionModes::default()));
        for text in [
            "update accounts set note = 'x' where id = 7",
            "insert into accounts select 7, 'x'",
            "refresh materialized view totals",
            "truncate accounts",
        ] {
            assert!(says(text), "{text}");
        }
        for text in [
            "create or replace function f() returns int language sql as 'select 1'",
            "create function f() returns int language sql as $$select 1$$",
            "alter system set archive_command = 'cp'",
            "set role 'somebody'",
            "copy accounts from '/tmp/file'",
            "select * from U&\"t!0061\" uescape '!'",
        ] {
            assert!(!says(text), "{text}");
        }
    }
}
