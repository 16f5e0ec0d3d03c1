//! The extended protocol from the client: statements and portals by name, and what runs through them.

use std::sync::Arc;

use super::{
    Conversation, ConversationError, Skip, Unclear,
    client::{Step, sendable, watch},
};
use crate::postgres::{
    Asked, Gate, Judge, Outbox, Piece, Point, Refusal, Ruling, Via,
    expect::{Expect, Named, Running},
    frontend::{self, tag},
    judge::{LIMIT_REACHED, Unreadable},
    watch::{Bound, Formats, Prepared, SharedPlan, Watch, WatchedPortal},
};

impl<J: Judge> Conversation<J> {
    pub(super) fn parse(
        &mut self,
        piece: &Piece<'_>,
        input: &[u8],
        judge: &mut J,
        out: &mut Outbox,
    ) -> Result<Step, ConversationError> {
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
        let full = !self.skip.skipping && self.statements.is_full_for(name);
        let ruling = match sendable(ruling, judge) {
            Ruling::Permit(statement) if full => {
                Ruling::Refuse(statement, Box::new(too_many_names("prepared statements")))
            }
            ruling => ruling,
        };
        match ruling {
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
        Ok(Step::On)
    }

    fn prepare(&mut self, name: &[u8], statement: J::Statement, judge: &mut J) {
        if !name.is_empty() {
            judge.named(&statement);
        }
        let plan = judge.watches(&statement).then(SharedPlan::default);
        let watch = plan
            .as_ref()
            .map(|plan| Watch::with_plan(statement.clone(), SharedPlan::clone(plan)));
        let undo = self.statements.insert(name, Prepared { statement, plan });
        self.queue
            .push_watched(Expect::Parse(undo), watch.map(Box::new));
    }

    pub(super) fn bind(
        &mut self,
        piece: &Piece<'_>,
        input: &[u8],
        judge: &mut J,
        out: &mut Outbox,
    ) -> Result<Step, ConversationError> {
        let (portal, name, values) =
            frontend::bind(piece.body()).ok_or(ConversationError::Malformed { message: "Bind" })?;
        if self.skip.skipping {
            out.pass(input, piece);
            return Ok(Step::On);
        }
        if self.must_wait_for(Named::Statements, name) {
            return Ok(Step::Wait);
        }
        let (statement, plan) = match self.statements.get(name) {
            Some(prepared) => (prepared.statement.clone(), prepared.plan.clone()),
            None => (judge.made_by_sql(), None),
        };
        if self.portals.is_full_for(portal) {
            let mut refusal = too_many_names("portals");
            judge.refused(&statement, &mut refusal, Via::Execute, piece.total);
            self.poison(Box::new(refusal), false, input, out);
            return Ok(Step::On);
        }
        let asked = Asked {
            parameters: judge.hash(values),
            values,
            ..self.asked(piece, Point::Bind)
        };
        let statement = match self.ask(judge, &statement, &asked) {
            Gate::Open(other) => other.unwrap_or(statement),
            Gate::Refuse(refusal) => {
                self.poison(refusal, false, input, out);
                return Ok(Step::On);
            }
            Gate::Wait => return Ok(Step::Wait),
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
        let bound = Bound {
            statement,
            parameters: asked.parameters,
            watched: watched.map(Box::new),
        };
        let undo = self.portals.insert(portal, bound);
        self.queue
            .push_watched(Expect::Bind(undo), watch.map(Box::new));
        out.pass(input, piece);
        Ok(Step::On)
    }

    pub(super) fn execute(
        &mut self,
        piece: &Piece<'_>,
        input: &[u8],
        judge: &mut J,
        out: &mut Outbox,
    ) -> Result<Step, ConversationError> {
        let portal = frontend::execute(piece.body())
            .ok_or(ConversationError::Malformed { message: "Execute" })?;
        // Its statement was refused, or stands behind one that was: the server discards it unread, and it is no request.
        if self.skip.poisoned {
            out.pass(input, piece);
            return Ok(Step::On);
        }
        if self.must_wait_for(Named::Portals, portal) {
            return Ok(Step::Wait);
        }
        let made_by_sql;
        let bound = self.portals.get(portal);
        let (statement, parameters) = if let Some(bound) = bound {
            (&bound.statement, bound.parameters)
        } else {
            made_by_sql = judge.made_by_sql();
            (&made_by_sql, 0)
        };
        let asked = Asked {
            parameters,
            ..self.asked(piece, Point::Execute)
        };
        let other = match self.ask(judge, statement, &asked) {
            Gate::Open(other) => other,
            Gate::Refuse(refusal) => {
                self.poison(refusal, false, input, out);
                return Ok(Step::On);
            }
            Gate::Wait => return Ok(Step::Wait),
        };
        let statement = other.as_ref().unwrap_or(statement);
        let requested = judge
            .request(statement, Via::Execute, parameters, piece.total)
            .map(|ticket| {
                let watched = bound.and_then(|bound| bound.watched.as_deref());
                let watch = watch(judge, statement, &ticket, |statement| match watched {
                    Some(portal) => Watch::portal(statement, portal),
                    None => Watch::new(statement),
                });
                (Running::new(ticket, judge.may_copy(statement)), watch)
            });
        if let Some(other) = other
            && let Some(bound) = self.portals.get_mut(portal)
        {
            bound.statement = other;
        }
        match requested {
            Ok((running, watch)) => {
                self.owe(Expect::Execute(running), watch, judge);
                out.pass(input, piece);
            }
            Err(refusal) => self.poison(refusal, false, input, out),
        }
        Ok(Step::On)
    }

    /// `Describe` and `Close`.
    pub(super) fn named(
        &mut self,
        piece: &Piece<'_>,
        input: &[u8],
        judge: &mut J,
        out: &mut Outbox,
    ) -> Result<Step, ConversationError> {
        let message = if piece.tag == tag::CLOSE {
            "Close"
        } else {
            "Describe"
        };
        let (kind, name) =
            frontend::target(piece.body()).ok_or(ConversationError::Malformed { message })?;
        if !self.skip.skipping {
            let what = if kind == b'S' {
                Named::Statements
            } else {
                Named::Portals
            };
            if piece.tag == tag::DESCRIBE && self.must_wait_for(what, name) {
                return Ok(Step::Wait);
            }
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
        Ok(Step::On)
    }

    /// Whether it is not known yet what a name stands for: what last changed it may have failed, and a `Sync` came behind it, so that
    /// the server runs what comes next by what the name stood for before. What is judged has to be what runs.
    #[inline]
    fn must_wait_for(&mut self, what: Named, name: &[u8]) -> bool {
        if self.skip != Skip::default() || !self.queue.doubts(what, name) {
            return false;
        }
        self.unclear = Some(Unclear::Name(what));
        true
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
        if self.portals.is_full_for(name) {
            return Some(watch);
        }
        let bound = Bound {
            statement,
            parameters: 0,
            watched: Some(Box::new(portal)),
        };
        let _ = self.portals.insert(name, bound);
        Some(watch)
    }
}

/// A session keeps as many names as its server would let it only with gigabytes of memory.
#[cold]
fn too_many_names(what: &str) -> Refusal {
    Refusal {
        sqlstate: LIMIT_REACHED.into(),
        message: format!("weir: this session has too many named {what}"),
        detail: None,
        hint: Some("close those that are not needed any more, or use the unnamed one".into()),
    }
}
