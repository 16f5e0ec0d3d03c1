//! One session's judge: asks the guard, keeps what decisions depend on, writes the journal.

mod allowance;
mod follow;
mod holding;
mod lasting;
mod login;
mod names;
mod records;
mod sender;

use std::{
    sync::{Arc, Weak},
    task::{Context, Poll, ready},
};

use weir_sql::{Kind, SessionModes};
use weir_wire::postgres::{
    Asked as AskedToGo, Ending, Finished, Gate, Incident, Judge, Limit, Limits, Refusal, Ruling,
    Shield, Via,
    backend::{STALE_PLAN, STALE_PLAN_STATE},
    conversation::{Looked, Moment},
    judge::Unreadable,
    positions::{self, Replaced},
};

use crate::{
    audit::{self, Journal},
    catalog::{Link, Turn},
    clock,
    guard::{Guard, KnownStanding, Protection, Scope, SessionView, Standing, Verdict},
    holds::Holds,
    identity::Bound,
    sessions::Registration,
};

use allowance::NamedQueries;
use follow::{budget_used_up, is_plain, limit_reached, only_reads};
use holding::{Holding, unapproved};
use lasting::Lasting;
use names::Names;

pub(crate) use follow::Ticket;

pub(super) use names::Asked;
pub(super) use sender::Sending;

/// Decides and records for one session.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "facts about one session that do not depend on one another"
)]
pub(crate) struct SessionJudge {
    guard: Arc<Guard>,
    journal: Arc<Journal>,
    scope: Arc<Scope>,
    bound: Option<Arc<Bound>>,
    /// How the log-in stands, and what is known of that.
    standing: Standing,
    known_standing: KnownStanding,
    /// Everything sent so far is answered, and no transaction is open.
    idle: bool,
    live: Registration,
    /// What requests are recorded under; another than the one it began with once somebody else goes on with it.
    session: Arc<audit::Session>,
    sending: Sending,
    modes: SessionModes,
    /// What the policy in force means for this session; asked for as statements come.
    protection: Protection,
    names: Names,
    catalog: Link,
    named: NamedQueries,
    /// What SQL gave names to.
    lasting: Lasting,
    holds: Arc<Holds>,
    holding: Option<Holding>,
    /// The client's texts are UTF-8, and so may ours be.
    utf8: bool,
    /// Hidden columns that were found in results, each reported once.
    incidents: Vec<(u32, i16)>,
    /// A statement in flight may have changed the modes.
    modes_uncertain: bool,
    /// A walsender's commands are not SQL.
    replication: bool,
    strict_seq: u64,
    /// For what only SQL named, once it was needed.
    made_by_sql: Option<Arc<Verdict>>,
    /// What approvals let through at its `Bind`. SQL can run its portal too, by name.
    cleared: Vec<Weak<Verdict>>,
}

/// What a judge is made of.
pub(crate) struct Parts {
    pub(crate) guard: Arc<Guard>,
    pub(crate) holds: Arc<Holds>,
    pub(crate) journal: Arc<Journal>,
    pub(crate) scope: Arc<Scope>,
    pub(crate) bound: Option<Arc<Bound>>,
    pub(crate) live: Registration,
    pub(crate) catalog: Link,
    /// Whether the startup packet sets how strings are read.
    pub(crate) modes_uncertain: bool,
    pub(crate) replication: bool,
    pub(crate) database_user: String,
    /// What the startup packet says about the search path.
    pub(crate) search_path: Asked,
    /// Who writes on the connection.
    pub(crate) sending: Sending,
}

impl SessionJudge {
    pub(crate) fn new(parts: Parts) -> Self {
        let names = Names::new(&parts.guard, parts.database_user, parts.search_path);
        Self {
            protection: Protection::default(),
            names,
            catalog: parts.catalog,
            named: NamedQueries::default(),
            lasting: Lasting::default(),
            holds: parts.holds,
            holding: None,
            utf8: false,
            incidents: Vec::new(),
            guard: parts.guard,
            journal: parts.journal,
            scope: parts.scope,
            bound: parts.bound,
            session: Arc::clone(&parts.live.session),
            sending: parts.sending,
            standing: Standing::default(),
            known_standing: KnownStanding::default(),
            idle: true,
            live: parts.live,
            modes: SessionModes::default(),
            modes_uncertain: parts.modes_uncertain,
            replication: parts.replication,
            strict_seq: 0,
            made_by_sql: None,
            cleared: Vec::new(),
        }
    }

    /// Ready when the client's statements may be judged: at once where nothing is hidden, else once the catalog of the
    /// session's database is current. `waiting` says that some have been read already.
    pub(crate) fn poll_catalog(
        &mut self,
        moment: Moment,
        waiting: bool,
        cx: &mut Context<'_>,
    ) -> Poll<Turn> {
        if !self.needs_catalog() {
            return Poll::Ready(self.catalog.poll_lend(moment, cx));
        }
        let turn = ready!(self.catalog.poll_turn(moment, waiting, cx));
        if waiting && matches!(turn, Turn::Go) {
            self.begin_names();
        }
        Poll::Ready(turn)
    }

    /// Whether what was just read may be judged at once, without [`Self::poll_catalog`].
    pub(crate) fn may_judge(&mut self, moment: Moment) -> bool {
        if !self.needs_catalog() {
            return true;
        }
        let may = self.catalog.may_go(moment);
        if may {
            self.begin_names();
        }
        may
    }

    /// What came of a look on this session's connection.
    pub(crate) fn looked(&mut self, looked: Looked) {
        if let Some(looked) = self.estimated(looked) {
            self.catalog.looked(looked);
        }
    }

    fn needs_catalog(&mut self) -> bool {
        self.follow_login();
        self.protection = self.guard.protection(&self.scope);
        // A walsender reads no statements of the extended protocol, and what it does is decided without a catalog.
        self.protection.needs_catalog && !self.replication
    }

    fn begin_names(&mut self) {
        let late = self.live.requests() > 0;
        let catalog = self.catalog.snapshot().map(|known| &known.catalog);
        self.names.begin(&self.guard, catalog, late);
    }

    /// Where this session is recorded.
    pub(crate) fn journal(&self) -> &Arc<Journal> {
        &self.journal
    }

    /// The session's place in the list.
    pub(crate) fn live(&self) -> &Registration {
        &self.live
    }

    /// The record that must be on disk before what was permitted may leave; zero when none.
    pub(crate) fn take_strict_seq(&mut self) -> u64 {
        std::mem::take(&mut self.strict_seq)
    }

    fn view(&self, modes: SessionModes) -> SessionView<'_> {
        SessionView {
            modes,
            naming: self.names.known(),
            catalog: self.catalog.snapshot(),
            defining: self.catalog.is_defining(),
            standing: self.standing,
        }
    }

    /// What is decided about a text, and why it may not go on, where it may not.
    fn decide(&self, text: &[u8]) -> Decided {
        let verdict = self.guard.decide(&self.scope, &self.view(self.modes), text);
        if let Some(refusal) = self.refusal(&verdict) {
            return (verdict, Some(refusal));
        }
        if !self.modes_uncertain || !text.contains(&b'\\') {
            return (verdict, None);
        }
        // How the server will read a backslash is not known yet: both readings must be permitted.
        let other = SessionModes {
            backslash_in_strings: !self.modes.backslash_in_strings,
            ..self.modes
        };
        let second = self.guard.decide(&self.scope, &self.view(other), text);
        if let Some(refusal) = self.refusal(&second) {
            return (second, Some(refusal));
        }
        // Each reading would send another text, or be subject to something else: an approval, a limit, another record.
        let alike = second.stands_as(&verdict)
            && second.statement.decided.facts == verdict.statement.decided.facts;
        let refusal = (!alike).then(|| Box::new(two_readings()));
        (verdict, refusal)
    }

    /// Why a decided text may not go on, where it may not.
    fn refusal(&self, verdict: &Verdict) -> Option<Box<Refusal>> {
        if let Some(refusal) = &verdict.refusal {
            return Some(Box::new(refusal.clone()));
        }
        let text = &verdict.replacement.as_ref()?.text;
        // The server would read names of the catalog in the client's encoding.
        (!self.utf8 && !text.is_ascii()).then(|| Box::new(not_utf8()))
    }

    fn opaque(&self, kind: Kind, description: &str) -> Arc<Verdict> {
        self.guard
            .decide_opaque(&self.scope, self.standing, kind, description)
    }

    fn is_current(&self, verdict: &Verdict) -> bool {
        self.guard
            .is_current(&self.scope, verdict, &self.view(self.modes))
    }

    /// Records a refusal, and says under which number.
    fn tell_refused(&mut self, verdict: &Verdict, refusal: &mut Refusal, via: Via, bytes: usize) {
        if let Some(seq) = self.record_refused(verdict, via, bytes) {
            let detail = refusal.detail.take();
            let detail = detail.map_or_else(String::new, |detail| format!("{detail}; "));
            refusal.detail = Some(format!("{detail}request {seq}"));
        }
    }

    fn rule(&mut self, (verdict, refusal): Decided) -> Ruling<Arc<Verdict>> {
        let certain = !verdict.unknown || self.catalog.unknown_seen() || !verdict.protect;
        match refusal {
            None if !certain => Ruling::Refuse(verdict, Box::new(not_known_yet())),
            None => Ruling::Permit(verdict),
            Some(refusal) => Ruling::Refuse(verdict, refusal),
        }
    }

    fn rule_opaque(&mut self, verdict: Arc<Verdict>) -> Ruling<Arc<Verdict>> {
        let refusal = self.refusal(&verdict);
        self.rule((verdict, refusal))
    }
}

type Decided = (Arc<Verdict>, Option<Box<Refusal>>);

impl Judge for SessionJudge {
    type Statement = Arc<Verdict>;
    type Ticket = Ticket;

    fn statement(&mut self, text: &[u8], via: Via) -> Ruling<Arc<Verdict>> {
        self.follow_login();
        if self.replication {
            let verdict = self.opaque(Kind::Replication, "replication command");
            return self.rule_opaque(verdict);
        }
        let (verdict, refusal) = self.decide(text);
        // What runs at once is checked when it is recorded.
        let over = if via == Via::Parse {
            self.check_login(&verdict, clock::now()).err()
        } else {
            None
        };
        self.rule((verdict, over.or(refusal)))
    }

    fn unreadable(&mut self, why: Unreadable, bytes: usize, _: Via) -> Ruling<Arc<Verdict>> {
        let description = match why {
            Unreadable::TooLong => format!("statement of {bytes} bytes is too long to be analysed"),
            Unreadable::NotOneString => "message is not exactly one text".to_owned(),
        };
        self.follow_login();
        let verdict = self.opaque(Kind::Unknown, &description);
        self.rule_opaque(verdict)
    }

    fn function(&mut self, oid: u32) -> Ruling<Arc<Verdict>> {
        let description = format!("fast-path call of function {oid}");
        self.follow_login();
        let verdict = self.opaque(Kind::FunctionCall, &description);
        self.rule_opaque(verdict)
    }

    fn made_by_sql(&mut self) -> Arc<Verdict> {
        if let Some(verdict) = self
            .made_by_sql
            .as_ref()
            .filter(|verdict| self.is_current(verdict))
        {
            return Arc::clone(verdict);
        }
        let verdict = self.guard.made_by_sql(&self.scope, self.standing);
        self.made_by_sql = Some(Arc::clone(&verdict));
        verdict
    }

    fn named(&mut self, verdict: &Arc<Verdict>) {
        self.lasting.parsed(verdict, &self.names.known().naming);
        self.named.parsed(verdict);
    }

    #[inline]
    fn gate(&mut self, verdict: &Arc<Verdict>, asked: &AskedToGo<'_>) -> Gate<Arc<Verdict>> {
        if self.lasting.runs_unapproved(verdict) {
            return self.refuse_by_name(verdict, asked);
        }
        if self.may_run_cleared(verdict) {
            return self.refuse_ahead_of_cleared(verdict, asked);
        }
        if verdict.obligations.approvals.is_empty() {
            return Gate::Open(None);
        }
        self.hold(verdict, asked)
    }

    fn request(
        &mut self,
        verdict: &Arc<Verdict>,
        via: Via,
        parameters: u64,
        bytes: usize,
    ) -> Result<Ticket, Box<Refusal>> {
        self.follow_login();
        let now = clock::now();
        let now_ns = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        if let Err(refusal) = self.check_login(verdict, now) {
            self.record_refused(verdict, via, bytes);
            return Err(refusal);
        }
        let decided_again;
        let refusal;
        let verdict = if self.is_current(verdict) {
            refusal = self.refusal(verdict).or_else(|| unapproved(verdict));
            verdict
        } else if verdict.text().is_empty() {
            refusal = Some(Box::new(prepare_again()));
            verdict
        } else {
            let (again, reason) = self.decide(verdict.text());
            let stale = reason.is_none()
                && (!again.sends_the_same_as(verdict) || unapproved(&again).is_some());
            refusal = reason.or_else(|| stale.then(|| Box::new(stale_plan())));
            decided_again = again;
            &decided_again
        };
        let followed = match refusal {
            Some(refusal) => Err(refusal),
            None => self.follow(verdict),
        };
        let followed = match followed {
            Ok(followed) => followed,
            Err(mut refusal) => {
                self.refused(verdict, &mut refusal, via, bytes);
                return Err(refusal);
            }
        };
        let seq = self.record(verdict, via, parameters, bytes, now_ns)?;
        self.record_cleared(verdict, parameters, seq);
        if verdict.strict {
            self.strict_seq = seq;
        }
        self.modes_uncertain |= verdict.changes_session;
        self.names.moved(verdict.moves);
        self.idle = false;
        Ok(Ticket {
            seq,
            at_ns: now_ns,
            followed,
        })
    }

    fn refused(&mut self, verdict: &Arc<Verdict>, refusal: &mut Refusal, via: Via, bytes: usize) {
        self.tell_refused(verdict, refusal, via, bytes);
    }

    fn finished(&mut self, ticket: Ticket, finished: Finished) {
        self.record_finished(&ticket, &finished);
        let Some(mut followed) = ticket.followed else {
            return;
        };
        if followed.limits.is_some() {
            self.spend(&mut followed, finished.rows, finished.bytes);
        }
        let (rows, bytes) = (finished.rows, finished.bytes);
        self.named.given(followed.runs, rows, bytes);
        if matches!(finished.ending, Ending::Completed | Ending::Suspended) {
            self.lasting.done(&followed.verdict, followed.named);
        } else {
            self.names.failed(&self.guard);
        }
    }

    fn may_copy(&self, verdict: &Arc<Verdict>) -> bool {
        let kinds = &verdict.statement.decided.facts.kinds;
        let may = |kind: &Kind| matches!(kind, Kind::CopyIn | Kind::Replication | Kind::Unknown);
        kinds.iter().any(may)
    }

    fn hash(&mut self, parameters: &[u8]) -> u64 {
        self.guard.hash_values(parameters)
    }

    fn parameter(&mut self, name: &[u8], value: &[u8]) {
        match name {
            b"standard_conforming_strings" => self.modes.backslash_in_strings = value == b"off",
            b"client_encoding" => {
                self.modes.foreign_encoding = !is_safe_encoding(value);
                self.utf8 = value.eq_ignore_ascii_case(b"UTF8");
            }
            b"search_path" => self.names.reported(&self.guard, value),
            _ => {}
        }
    }

    fn settled(&mut self, transaction: u8) {
        self.modes_uncertain = false;
        self.idle = transaction == b'I';
        self.names.settled(&self.guard, transaction);
        if transaction == b'I' {
            self.catalog.settled();
            self.named.transaction_over();
            self.lasting.transaction_over();
        }
    }

    fn replacement<'a>(&'a self, verdict: &'a Arc<Verdict>) -> Option<&'a [u8]> {
        verdict.replacement.as_ref().map(|other| &*other.text)
    }

    fn watches(&self, verdict: &Arc<Verdict>) -> bool {
        self.protection.hides
            || !is_plain(verdict)
            || !self.named.is_empty()
            || self.scope.is_metered()
    }

    fn shield(&self, verdict: Option<&Arc<Verdict>>) -> Shield {
        if !self.protection.hides && !verdict.is_some_and(|verdict| verdict.protect) {
            return Shield::Off;
        }
        match verdict {
            Some(verdict) if only_reads(&verdict.statement.decided.facts) => Shield::Reads,
            // What runs under a name, or at the end of a transaction, may be a write.
            _ => Shield::Writes,
        }
    }

    fn position(&self, verdict: &Arc<Verdict>, position: usize) -> Option<usize> {
        let Some(replacement) = &verdict.replacement else {
            return Some(position);
        };
        let edits = replacement.edits.iter().map(|edit| Replaced {
            start: edit.start,
            end: edit.end,
            length: edit.length,
        });
        positions::in_clients_text(verdict.text(), &replacement.text, edits, position)
    }

    fn is_masked(&self, verdict: &Arc<Verdict>, relation: u32, column: i16) -> bool {
        let view = self.view(self.modes);
        self.guard
            .is_hidden(&self.scope, verdict, &view, relation, column)
    }

    fn limits(&mut self, ticket: &Ticket) -> Option<Limits> {
        ticket.followed.as_ref()?.limits
    }

    fn progress(&mut self, ticket: &mut Ticket, rows: u64, bytes: u64) -> Limits {
        let Some(followed) = &mut ticket.followed else {
            return Limits::NONE;
        };
        self.spend(followed, rows, bytes);
        let left = self.guard.left(&self.scope, &followed.billed);
        followed.over_budget = left.rows == Some(0) || left.bytes == Some(0);
        Limits {
            rows: left.rows.unwrap_or(u64::MAX),
            bytes: left.bytes.unwrap_or(u64::MAX),
        }
    }

    fn exceeded(&mut self, ticket: &Ticket, limit: Limit) -> Refusal {
        let mut refusal = ticket
            .followed
            .as_ref()
            .map_or_else(budget_used_up, |followed| limit_reached(followed, limit));
        let detail = refusal.detail.take();
        let detail = detail.map_or_else(String::new, |detail| format!("{detail}; "));
        refusal.detail = Some(format!("{detail}request {}", ticket.seq));
        refusal
    }

    fn incident(&mut self, verdict: &Arc<Verdict>, incident: Incident) {
        match incident {
            Incident::MaskedColumn { relation, column } => {
                self.guard.incident();
                let found = (relation, column);
                if self.incidents.len() < MAX_INCIDENTS && !self.incidents.contains(&found) {
                    self.incidents.push(found);
                    self.record_incident(verdict, &format!("a result came straight from hidden column {column} of relation {relation} and was masked on its way"));
                }
            }
            Incident::CompletedBeyondLimit => {
                // Of a read nothing remains.
                if !only_reads(&verdict.statement.decided.facts) {
                    self.record_incident(
                        verdict,
                        "the server completed a request that a limit had ended for its client",
                    );
                }
            }
        }
    }
}

/// The rules, or what the database holds, have changed since a statement was prepared: the server has a text that would not
/// be sent now. Drivers that read the server's own words prepare again by themselves.
fn stale_plan() -> Refusal {
    Refusal {
        sqlstate: STALE_PLAN_STATE.into(),
        message: STALE_PLAN.into(),
        detail: None,
        hint: Some("weir: what this statement may see has changed; prepare it again".into()),
    }
}

fn two_readings() -> Refusal {
    Refusal {
        sqlstate: "42501".into(),
        message: "weir: the backslashes in this statement could be read in two ways just now"
            .into(),
        detail: None,
        hint: Some("run it again when what was sent before it is answered".into()),
    }
}

fn not_known_yet() -> Refusal {
    Refusal {
        sqlstate: "42501".into(),
        message: "weir: this names something that is not known yet, and nothing can be looked up in a transaction".into(),
        detail: None,
        hint: Some("check the name, end the transaction and run it again".into()),
    }
}

fn not_utf8() -> Refusal {
    Refusal {
        sqlstate: "42501".into(),
        message: "weir: what is hidden here can only be left out of texts in UTF-8".into(),
        detail: None,
        hint: Some("SET client_encoding = 'UTF8' and run it again".into()),
    }
}

/// What could not be read when it was prepared cannot be decided again.
fn prepare_again() -> Refusal {
    Refusal {
        sqlstate: "42501".into(),
        message: "weir: the rules have changed since this was prepared".into(),
        detail: None,
        hint: Some("prepare it again".into()),
    }
}

/// Encodings in which no byte of a longer character can be taken for an ASCII character: UTF-8 and those of one byte.
/// Their texts still have to be valid UTF-8 to be analysed.
fn is_safe_encoding(name: &[u8]) -> bool {
    const UNSAFE: [&[u8]; 8] = [
        b"SJIS",
        b"BIG5",
        b"GBK",
        b"UHC",
        b"GB18030",
        b"JOHAB",
        b"SHIFT_JIS_2004",
        b"MULE_INTERNAL",
    ];
    !UNSAFE
        .iter()
        .any(|encoding| name.eq_ignore_ascii_case(encoding))
}

/// A session that meets more has long been noticed.
const MAX_INCIDENTS: usize = 64;
