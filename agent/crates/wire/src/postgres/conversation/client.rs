//! From the client: what is decided, what goes on, what is replaced.

use std::sync::Arc;

use super::{Conversation, ConversationError, Copying, Rest};
use crate::postgres::{
    Judge, Outbox, Piece, Refusal, Ruling, Via,
    expect::{Expect, Running},
    frontend::{self, tag},
    judge::{LIMIT_REACHED, Unreadable},
    watch::{Bound, Formats, Prepared, SharedPlan, Watch, WatchedPortal},
};

impl<J: Judge> Conversation<J> {
    /// Takes bytes of the client; what may go to the server is in `out` afterwards (see [`Outbox::finish`]).
    ///
    /// # Errors
    ///
    /// [`ConversationError`]; what is in `out` by then may still be sent, nothing after it.
    pub fn client(
        &mut self,
        input: &[u8],
        judge: &mut J,
        out: &mut Outbox,
    ) -> Result<(), ConversationError> {
        debug_assert!(!self.is_looking(), "the client waits for a look");
        let mut cutter = std::mem::take(&mut self.from_client);
        let mut cursor = 0;
        let result = loop {
            match cutter.next(input, &mut cursor, frontend::plan) {
                Ok(Some(piece)) => {
                    if let Err(error) = self.client_piece(&piece, input, judge, out) {
                        break Err(error);
                    }
                }
                Ok(None) => break Ok(()),
                Err(error) => break Err(ConversationError::Client(error)),
            }
        };
        self.from_client = cutter;
        result
    }

    /// Judges what the client sent ahead of the log-in's end, once that is reached; returns what may go to the server.
    ///
    /// # Errors
    ///
    /// As [`Self::client`].
    pub fn release_early(
        &mut self,
        judge: &mut J,
        out: &mut Outbox,
    ) -> Result<Option<Vec<u8>>, ConversationError> {
        if !self.ready || self.early.is_empty() {
            return Ok(None);
        }
        let early = std::mem::take(&mut self.early);
        // The stream itself may stand in the middle of a later message.
        let stream = std::mem::take(&mut self.from_client);
        out.begin();
        let result = self.client(&early, judge, out);
        self.from_client = stream;
        result.map(|()| Some(out.finish(&early).to_vec()))
    }

    fn client_piece(
        &mut self,
        piece: &Piece<'_>,
        input: &[u8],
        judge: &mut J,
        out: &mut Outbox,
    ) -> Result<(), ConversationError> {
        if !piece.first {
            if self.client_rest == Rest::Pass {
                out.pass(input, piece);
            }
            return Ok(());
        }
        self.client_rest = Rest::Pass;
        if !self.ready && !matches!(piece.tag, tag::PASSWORD | tag::TERMINATE) {
            return self.keep_early(piece);
        }
        self.unfinished = match piece.tag {
            tag::PARSE | tag::BIND | tag::EXECUTE | tag::DESCRIBE | tag::CLOSE => true,
            tag::QUERY | tag::FUNCTION_CALL | tag::SYNC => false,
            _ => self.unfinished,
        };
        match piece.tag {
            tag::QUERY => {
                self.query(piece, input, judge, out);
                Ok(())
            }
            tag::PARSE => self.parse(piece, input, judge, out),
            tag::BIND => self.bind(piece, input, judge, out),
            tag::EXECUTE => self.execute(piece, input, judge, out),
            tag::FUNCTION_CALL => self.function_call(piece, input, judge, out),
            tag::DESCRIBE | tag::CLOSE => self.named(piece, input, judge, out),
            _ => {
                self.unjudged(piece);
                out.pass(input, piece);
                Ok(())
            }
        }
    }

    /// A message that needs no decision.
    fn unjudged(&mut self, piece: &Piece<'_>) {
        match piece.tag {
            tag::SYNC if self.copy != Copying::Both => {
                self.skip.skipping = false;
                self.skip.poisoned = false;
                self.queue.push(Expect::Sync {
                    optional: self.copy == Copying::In,
                });
            }
            tag::COPY_DATA => match self.queue.first() {
                Some(Expect::Execute(running) | Expect::Query(running)) if running.copy_in => {
                    running.bytes += piece.total as u64;
                }
                _ => self.early_copy_bytes += piece.total as u64,
            },
            tag::COPY_DONE | tag::COPY_FAIL
                if !self.skip.skipping && self.copy != Copying::Both =>
            {
                self.copy = Copying::None;
                if !self.queue.is_empty() {
                    self.queue.push(Expect::CopyEnd);
                }
            }
            _ => {}
        }
    }

    /// Clients may send ahead of the log-in's end; what they send is judged once the session's modes are known.
    fn keep_early(&mut self, piece: &Piece<'_>) -> Result<(), ConversationError> {
        let bytes = self.early.len() + piece.total;
        if bytes > MAX_EARLY_BYTES || !piece.last {
            return Err(ConversationError::EarlyData { bytes });
        }
        self.early.extend_from_slice(piece.bytes);
        Ok(())
    }

    fn query(&mut self, piece: &Piece<'_>, input: &[u8], judge: &mut J, out: &mut Outbox) {
        let ruling = if piece.last {
            match frontend::query_text(piece.body()) {
                Some(text) => judge.statement(text, Via::Simple),
                None => judge.unreadable(Unreadable::NotOneString, piece.total, Via::Simple),
            }
        } else {
            judge.unreadable(Unreadable::TooLong, piece.total, Via::Simple)
        };
        let refusal = match sendable(ruling, judge) {
            Ruling::Permit(statement) => {
                let frame = judge.replacement(&statement).map(frontend::query_with);
                match judge.request(&statement, Via::Simple, 0, piece.total) {
                    Ok(ticket) => {
                        let watch = watch(judge, &statement, &ticket, Watch::new);
                        self.owe(Expect::Query(Running::new(ticket)), watch, judge);
                        match frame {
                            None => out.pass(input, piece),
                            Some(frame) => out.push(input, &frame),
                        }
                        return;
                    }
                    Err(refusal) => refusal,
                }
            }
            Ruling::Refuse(statement, mut refusal) => {
                judge.refused(&statement, &mut refusal, Via::Simple, piece.total);
                refusal
            }
        };
        self.poison(refusal, true, input, out);
    }

    fn parse(
        &mut self,
        piece: &Piece<'_>,
        input: &[u8],
        judge: &mut J,
        out: &mut Outbox,
    ) -> Result<(), ConversationError> {
        let malformed = || ConversationError::Malformed { message: "Parse" };
        let (name, ruling) = if piece.last {
            let (name, text) = frontend::parse(piece.body()).ok_or_else(malformed)?;
            (name, judge.statement(text, Via::Parse))
        } else {
            let (name, _) = frontend::take_string(piece.body()).ok_or_else(malformed)?;
            (
                name,
                judge.unreadable(Unreadable::TooLong, piece.total, Via::Parse),
            )
        };
        match sendable(ruling, judge) {
            Ruling::Permit(statement) => {
                match judge.replacement(&statement) {
                    None => out.pass(input, piece),
                    Some(text) => {
                        let frame =
                            frontend::parse_with(piece.body(), text).ok_or_else(malformed)?;
                        out.push(input, &frame);
                    }
                }
                if !self.skip.skipping {
                    self.prepare(name, statement, judge);
                }
            }
            Ruling::Refuse(statement, mut refusal) => {
                judge.refused(&statement, &mut refusal, Via::Parse, piece.total);
                self.poison(refusal, false, input, out);
            }
        }
        Ok(())
    }

    fn prepare(&mut self, name: &[u8], statement: J::Statement, judge: &J) {
        let plan = judge.watches(&statement).then(SharedPlan::default);
        let watch = plan
            .as_ref()
            .map(|plan| Watch::with_plan(statement.clone(), SharedPlan::clone(plan)));
        let undo = self.statements.insert(name, Prepared { statement, plan });
        self.queue
            .push_watched(Expect::Parse(undo), watch.map(Box::new));
    }

    fn bind(
        &mut self,
        piece: &Piece<'_>,
        input: &[u8],
        judge: &mut J,
        out: &mut Outbox,
    ) -> Result<(), ConversationError> {
        let (portal, name, values) =
            frontend::bind(piece.body()).ok_or(ConversationError::Malformed { message: "Bind" })?;
        if !self.skip.skipping {
            let (statement, plan) = match self.statements.get(name) {
                Some(prepared) => (prepared.statement.clone(), prepared.plan.clone()),
                None => (judge.made_by_sql(), None),
            };
            let plan = plan.or_else(|| judge.watches(&statement).then(SharedPlan::default));
            let watch = plan
                .as_ref()
                .map(|plan| Watch::with_plan(statement.clone(), SharedPlan::clone(plan)));
            let watched = plan.map(|plan| WatchedPortal {
                plan,
                formats: Formats::of_bind(values, piece.last),
                tally: Arc::default(),
            });
            let parameters = judge.hash(values);
            let undo = self.portals.insert(
                portal,
                Bound {
                    statement,
                    parameters,
                    watched: watched.map(Box::new),
                },
            );
            self.queue
                .push_watched(Expect::Bind(undo), watch.map(Box::new));
        }
        out.pass(input, piece);
        Ok(())
    }

    fn execute(
        &mut self,
        piece: &Piece<'_>,
        input: &[u8],
        judge: &mut J,
        out: &mut Outbox,
    ) -> Result<(), ConversationError> {
        let portal = frontend::execute(piece.body())
            .ok_or(ConversationError::Malformed { message: "Execute" })?;
        // Its statement was refused, or stands behind one that was: the server discards it unread, and it is no request.
        if self.skip.poisoned {
            out.pass(input, piece);
            return Ok(());
        }
        let requested = if let Some(bound) = self.portals.get(portal) {
            judge
                .request(
                    &bound.statement,
                    Via::Execute,
                    bound.parameters,
                    piece.total,
                )
                .map(|ticket| {
                    let watch = watch(judge, &bound.statement, &ticket, |statement| {
                        match &bound.watched {
                            Some(portal) => Watch::portal(statement, portal),
                            None => Watch::new(statement),
                        }
                    });
                    (ticket, watch)
                })
        } else {
            let statement = judge.made_by_sql();
            judge
                .request(&statement, Via::Execute, 0, piece.total)
                .map(|ticket| {
                    let watch = watch(judge, &statement, &ticket, Watch::new);
                    (ticket, watch)
                })
        };
        match requested {
            Ok((ticket, watch)) => {
                self.owe(Expect::Execute(Running::new(ticket)), watch, judge);
                out.pass(input, piece);
            }
            Err(refusal) => self.poison(refusal, false, input, out),
        }
        Ok(())
    }

    fn function_call(
        &mut self,
        piece: &Piece<'_>,
        input: &[u8],
        judge: &mut J,
        out: &mut Outbox,
    ) -> Result<(), ConversationError> {
        let oid = frontend::function_oid(piece.body()).ok_or(ConversationError::Malformed {
            message: "FunctionCall",
        })?;
        let refusal = match judge.function(oid) {
            Ruling::Permit(statement) => {
                let parameters = judge.hash(piece.body());
                match judge.request(&statement, Via::FunctionCall, parameters, piece.total) {
                    Ok(ticket) => {
                        let watch = watch(judge, &statement, &ticket, Watch::new);
                        self.owe(Expect::Function(Running::new(ticket)), watch, judge);
                        out.pass(input, piece);
                        return Ok(());
                    }
                    Err(refusal) => refusal,
                }
            }
            Ruling::Refuse(statement, mut refusal) => {
                judge.refused(&statement, &mut refusal, Via::FunctionCall, piece.total);
                refusal
            }
        };
        // A failing simple query ends as a failing call does: with one error and one `ReadyForQuery`.
        self.poison(refusal, true, input, out);
        if !piece.last {
            self.client_rest = Rest::Drop;
        }
        Ok(())
    }

    /// `Describe` and `Close`.
    fn named(
        &mut self,
        piece: &Piece<'_>,
        input: &[u8],
        judge: &mut J,
        out: &mut Outbox,
    ) -> Result<(), ConversationError> {
        let message = if piece.tag == tag::CLOSE {
            "Close"
        } else {
            "Describe"
        };
        let (kind, name) =
            frontend::target(piece.body()).ok_or(ConversationError::Malformed { message })?;
        if !self.skip.skipping {
            let (item, watch) = match (piece.tag, kind) {
                (tag::CLOSE, b'S') => (Expect::CloseStatement(self.statements.remove(name)), None),
                (tag::CLOSE, b'P') => (Expect::ClosePortal(self.portals.remove(name)), None),
                (tag::DESCRIBE, b'S') => (Expect::DescribeStatement, self.watch_statement(name)),
                (tag::DESCRIBE, b'P') => (Expect::DescribePortal, self.watch_portal(name, judge)),
                _ => return Err(ConversationError::Malformed { message }),
            };
            self.queue.push_watched(item, watch.map(Box::new));
        }
        out.pass(input, piece);
        Ok(())
    }

    fn watch_statement(&self, name: &[u8]) -> Option<Watch<J::Statement>> {
        let prepared = self.statements.get(name)?;
        let plan = SharedPlan::clone(prepared.plan.as_ref()?);
        Some(Watch::with_plan(prepared.statement.clone(), plan))
    }

    fn watch_portal(&mut self, name: &[u8], judge: &mut J) -> Option<Watch<J::Statement>> {
        if let Some(bound) = self.portals.get(name) {
            let portal = bound.watched.as_ref()?;
            // One that was only ever described may have been made anew since.
            if portal.formats != Formats::Described {
                return Some(Watch::portal(bound.statement.clone(), portal));
            }
        }
        let statement = judge.made_by_sql();
        if !judge.watches(&statement) {
            return None;
        }
        // A cursor of SQL's: what its description shows is kept for the `Execute`s to come.
        let portal = WatchedPortal {
            plan: SharedPlan::default(),
            formats: Formats::Described,
            tally: Arc::default(),
        };
        let watch = Watch::portal(statement.clone(), &portal);
        let bound = Bound {
            statement,
            parameters: 0,
            watched: Some(Box::new(portal)),
        };
        let _ = self.portals.insert(name, bound);
        Some(watch)
    }

    /// Expects an answer, unless the server is skipping and will give none.
    fn owe(
        &mut self,
        item: Expect<J::Statement, J::Ticket>,
        watch: Option<Box<Watch<J::Statement>>>,
        judge: &mut J,
    ) {
        if !self.skip.skipping {
            self.queue.push_watched(item, watch);
            return;
        }
        if let Expect::Execute(running) | Expect::Query(running) | Expect::Function(running) = item
        {
            super::finish(judge, running, crate::postgres::Ending::Skipped);
        }
    }

    /// Sends a frame that cannot parse in place of one that was refused.
    fn poison(&mut self, refusal: Box<Refusal>, simple: bool, input: &[u8], out: &mut Outbox) {
        // The rest of a message that came in pieces must not follow its replacement.
        self.client_rest = Rest::Drop;
        if self.skip.skipping {
            return;
        }
        let frame = if simple {
            frontend::poison_query()
        } else {
            self.skip.poisoned = true;
            frontend::poison_parse()
        };
        out.push(input, &frame);
        self.queue.push(Expect::Poison { refusal, simple });
    }
}

/// A request's watch, where its answer is looked into or counted.
fn watch<J: Judge>(
    judge: &mut J,
    statement: &J::Statement,
    ticket: &J::Ticket,
    make: impl FnOnce(J::Statement) -> Watch<J::Statement>,
) -> Option<Box<Watch<J::Statement>>> {
    let limits = judge.limits(ticket);
    if limits.is_none() && !judge.watches(statement) {
        return None;
    }
    let mut watch = Box::new(make(statement.clone()));
    watch.limits = limits;
    Some(watch)
}

/// A ruling that can be carried out: a text that grew beyond measure is refused.
fn sendable<J: Judge>(ruling: Ruling<J::Statement>, judge: &J) -> Ruling<J::Statement> {
    let Ruling::Permit(statement) = ruling else {
        return ruling;
    };
    let bytes = judge.replacement(&statement).map_or(0, <[u8]>::len);
    if bytes <= frontend::MAX_REPLACEMENT_BYTES {
        return Ruling::Permit(statement);
    }
    let refusal = Refusal {
        sqlstate: LIMIT_REACHED.into(),
        message: "weir: the statement becomes too long when what it may not see is left out".into(),
        detail: None,
        hint: Some("name the columns it needs instead of *, or split it".into()),
    };
    Ruling::Refuse(statement, Box::new(refusal))
}

/// A password and a first query fit many times.
const MAX_EARLY_BYTES: usize = 64 * 1024;
