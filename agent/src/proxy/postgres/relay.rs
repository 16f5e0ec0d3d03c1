//! The session's loop: one task owns both sockets; bytes are read into the worker's scratch buffer, judged, and written at once.
//!
//! An idle session holds no buffer. Both directions are drained whenever they can be: drivers rely on it.

mod farewell;

use std::{
    cell::{Cell, RefCell},
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Instant,
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use weir_wire::postgres::{Conversation, ConversationError, Outbox, conversation::Moment};

use super::{cancel::Route, judge::SessionJudge};
use crate::{audit::JournalError, catalog::Turn, net::Leg};
use farewell::Farewell;

/// A session under way; resolves when it is over and recorded.
pub(super) struct Relay {
    client: Leg,
    /// Gone once the session is over for the server.
    server: Option<Leg>,
    conversation: Conversation<SessionJudge>,
    judge: SessionJudge,
    up: Half,
    down: Half,
    /// What must be on disk before `up` may go on.
    gate: Option<Gate>,
    /// How the server is reached beside this connection.
    route: Route,
    /// A cancellation of ours on its way: `up` waits, or it could hit what comes next.
    cancelling: Option<Cancelling>,
    watched: bool,
    /// What was read of the client and waits for the catalog.
    kept: Vec<u8>,
    /// What runs may finish, nothing more is read of the client, then the session is over.
    closing: bool,
    /// Set once the session is over: what is still to be told, then the end.
    farewell: Option<Box<Farewell>>,
}

type Cancelling = Pin<Box<dyn Future<Output = ()> + Send>>;

type Gate = Pin<Box<dyn Future<Output = Result<(), JournalError>> + Send>>;

/// One direction: what could not be written yet, and how far it has come.
#[derive(Debug, Default)]
struct Half {
    rest: Vec<u8>,
    written: usize,
    /// Where the first message that begins in `rest` does.
    lead: usize,
    unflushed: bool,
    ended: bool,
    shut: bool,
    bytes: u64,
}

/// What every session of a worker uses, one after the other.
struct Scratch {
    input: Box<[u8]>,
    out: Outbox,
}

thread_local! {
    static TIMED: Cell<u64> = const { Cell::new(1) };
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch {
        input: vec![0; SCRATCH_BYTES].into_boxed_slice(),
        out: Outbox::default(),
    });
}

impl Relay {
    pub(super) fn new(
        client: Leg,
        server: Leg,
        conversation: Conversation<SessionJudge>,
        judge: SessionJudge,
        route: Route,
    ) -> Self {
        Self {
            client,
            server: Some(server),
            conversation,
            judge,
            up: Half::default(),
            down: Half::default(),
            gate: None,
            route,
            cancelling: None,
            watched: false,
            kept: Vec::new(),
            closing: false,
            farewell: None,
        }
    }

    /// From the server to the client.
    fn poll_down(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.down.poll_write_out(cx, &mut self.client))?;
            if self.down.ended {
                return self.down.poll_shut(cx, &mut self.client);
            }
            let Some(server) = self.server.as_mut().filter(|_| self.farewell.is_none()) else {
                return Poll::Pending;
            };
            let failure = ready!(SCRATCH.with_borrow_mut(|scratch| {
                let read = ready!(poll_read(cx, server, &mut scratch.input))?;
                let Some(input) = read else {
                    self.down.ended = true;
                    return Poll::Ready(Ok(None));
                };
                if !self.conversation.is_looking() {
                    self.down.bytes += input.len() as u64;
                }
                let unfinished = self.conversation.rest_of_message();
                scratch.out.begin();
                let judged = self
                    .conversation
                    .server(input, &mut self.judge, &mut scratch.out);
                let bytes = scratch.out.finish(input);
                let kept = self.down.write_or_keep(cx, &mut self.client, bytes)?;
                if kept > 0 {
                    let written = bytes.len().saturating_sub(kept);
                    self.down.lead = farewell::lead(bytes, unfinished, written);
                }
                Poll::Ready(io::Result::Ok(judged.err()))
            }))?;
            if let Some(looked) = self.conversation.take_looked() {
                self.judge.looked(looked);
            }
            if let Some(error) = failure {
                self.break_off(&error);
            }
        }
    }

    /// From the client to the server.
    fn poll_up(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.poll_gate(cx))?;
            let Some(server) = self.server.as_mut().filter(|_| self.farewell.is_none()) else {
                return Poll::Pending;
            };
            ready!(self.up.poll_write_out(cx, server))?;
            if self.up.ended {
                return self.up.poll_shut(cx, server);
            }
            if self.closing {
                return Poll::Pending;
            }
            if self.conversation.in_flight() > MAX_IN_FLIGHT {
                // The server's answers bring the task back here.
                return Poll::Pending;
            }
            if self.conversation.is_looking() {
                self.up.rest = self.conversation.take_look_output();
                if self.up.rest.is_empty() {
                    return Poll::Pending;
                }
                continue;
            }
            if self.conversation.is_ready() {
                let held = self.conversation.is_held();
                if held && ready!(self.poll_held(cx))? {
                    continue;
                }
                let early = self.conversation.holds_early();
                let waiting = held || early || !self.kept.is_empty();
                if let Turn::Look(look) =
                    ready!(self.judge.poll_catalog(self.moment(), waiting, cx))
                {
                    self.up.rest = self.conversation.look(*look);
                    continue;
                }
                if held {
                    self.resume_held();
                    continue;
                }
                if early {
                    self.release_early();
                    continue;
                }
                if waiting {
                    self.judge_kept(cx)?;
                    continue;
                }
            }
            let moment = self.moment();
            let failure = ready!(SCRATCH.with_borrow_mut(|scratch| {
                let read = ready!(poll_read(cx, &mut self.client, &mut scratch.input))?;
                let Some(input) = read else {
                    self.up.ended = true;
                    return Poll::Ready(Ok(None));
                };
                self.up.bytes += input.len() as u64;
                self.judge.meet_senders();
                if self.conversation.is_ready()
                    && input != TERMINATE
                    && !self.judge.may_judge(moment)
                {
                    self.kept.extend_from_slice(input);
                    return Poll::Ready(Ok(None));
                }
                Poll::Ready(self.judge_input(cx, input, &mut scratch.out))
            }))?;
            if let Some(error) = failure {
                self.break_off(&error);
            }
        }
    }

    /// Judges what the client sent and sends on what may go; what breaks the conversation off is returned.
    fn judge_input(
        &mut self,
        cx: &mut Context<'_>,
        input: &[u8],
        out: &mut Outbox,
    ) -> io::Result<Option<ConversationError>> {
        out.begin();
        let timed = is_timed().then(|| (Instant::now(), self.judge.live().requests()));
        let judged = self.conversation.client(input, &mut self.judge, out);
        if let Some((begun, before)) = timed
            && self.judge.live().requests() > before
        {
            let decisions = &self.judge.live().all().latency().decisions;
            decisions.count(begun.elapsed());
        }
        let bytes = out.finish(input);
        match self.judge.take_strict_seq() {
            0 => {
                if let Some(server) = &mut self.server {
                    self.up.write_or_keep(cx, server, bytes)?;
                }
            }
            seq => {
                self.gate = Some(durable(&self.judge, seq));
                self.up.rest.extend_from_slice(bytes);
            }
        }
        Ok(judged.err())
    }

    /// Judges what had to wait for the catalog.
    fn judge_kept(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let kept = std::mem::take(&mut self.kept);
        let failure =
            SCRATCH.with_borrow_mut(|scratch| self.judge_input(cx, &kept, &mut scratch.out))?;
        if let Some(error) = failure {
            self.break_off(&error);
        }
        Ok(())
    }

    /// What may be done with the server's connection: nothing of weir's while the client has not taken its answers.
    fn moment(&self) -> Moment {
        match self.conversation.moment() {
            Moment::Idle if !self.down.rest.is_empty() => Moment::Owing,
            moment => moment,
        }
    }

    /// While a request waits: tells the client so, keeps what it sends and sees it leave. Ready with `false` once the request
    /// is to be read again, with `true` when there is something else to do first: to ask the server about it, or to leave.
    fn poll_held(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        if self.conversation.awaits_answers() {
            // They bring the task back here. The client is not read meanwhile, as by a server that is at work.
            return Poll::Pending;
        }
        if !self.conversation.awaits_decision() {
            return Poll::Ready(Ok(false));
        }
        if let (Some(key), true) = (self.conversation.cancel_key(), self.judge.is_new_hold()) {
            self.judge.cancellable(self.route.destination, key);
        }
        if self.conversation.may_notice()
            && let Some(notice) = self.judge.hold_notice()
        {
            if self.down.rest.is_empty() {
                self.down.lead = 0;
            }
            self.down.rest.extend_from_slice(&notice);
            // What cannot be written now is written before the next of the server's bytes.
            if let Poll::Ready(written) = self.down.poll_write_out(cx, &mut self.client) {
                written?;
            }
        }
        if self.moment() == Moment::Idle
            && let Some(look) = self.judge.take_estimate()
        {
            self.up.rest = self.conversation.look(look);
            return Poll::Ready(Ok(true));
        }
        if self.conversation.is_held_in_vain() {
            return Poll::Ready(Ok(false));
        }
        if self.judge.poll_hold(cx).is_ready() {
            let gone = self.client.has_left();
            if gone {
                self.give_up_held();
            }
            return Poll::Ready(Ok(gone));
        }
        // Room for a message behind it, however long it is itself: so it is seen when the client leaves.
        let room = MAX_HELD_BYTES + self.conversation.held_message_bytes();
        while self.conversation.held_bytes() < room {
            let gone = ready!(SCRATCH.with_borrow_mut(|scratch| {
                let read = ready!(poll_read(cx, &mut self.client, &mut scratch.input))?;
                let Some(input) = read else {
                    return Poll::Ready(io::Result::Ok(true));
                };
                self.up.bytes += input.len() as u64;
                self.judge.meet_senders();
                self.conversation.hold_more(input);
                Poll::Ready(Ok(self.conversation.held_terminates()))
            }))?;
            if gone {
                self.give_up_held();
                return Poll::Ready(Ok(true));
            }
        }
        Poll::Pending
    }

    /// Nobody is there any more for whom what waits would run.
    fn give_up_held(&mut self) {
        self.judge.give_up_hold();
        self.up.ended = true;
    }

    /// Judges what waited, and what came behind it.
    fn resume_held(&mut self) {
        if self.conversation.is_held_in_vain() {
            // Before what stands behind it is read, which may have to wait itself.
            self.judge.held_in_vain();
        }
        let resumed = SCRATCH
            .with_borrow_mut(|scratch| self.conversation.resume(&mut self.judge, &mut scratch.out));
        self.judge.resumed();
        match resumed {
            Ok(bytes) => self.up.rest.extend(bytes),
            Err(error) => self.break_off(&error),
        }
        self.close_gate();
    }

    /// Judges what the client sent ahead of the log-in's end.
    fn release_early(&mut self) {
        let released = SCRATCH.with_borrow_mut(|scratch| {
            self.conversation
                .release_early(&mut self.judge, &mut scratch.out)
        });
        match released {
            Ok(bytes) => self.up.rest.extend(bytes.into_iter().flatten()),
            Err(error) => self.break_off(&error),
        }
        self.close_gate();
    }

    /// What was permitted leaves once its record is on disk, where it has to be.
    fn close_gate(&mut self) {
        match self.judge.take_strict_seq() {
            0 => {}
            seq => self.gate = Some(durable(&self.judge, seq)),
        }
    }

    /// Begins a cancellation when a limit asks for one, and drives it.
    fn poll_cancelling(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(packet) = self.conversation.take_cancel() {
            self.cancelling = Some(Box::pin(self.route.clone().cancel(packet)));
        }
        if let Some(cancelling) = &mut self.cancelling {
            ready!(cancelling.as_mut().poll(cx));
            self.cancelling = None;
        }
        Poll::Ready(())
    }

    fn poll_gate(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(gate) = &mut self.gate {
            let durable = ready!(gate.as_mut().poll(cx));
            self.gate = None;
            if let Err(error) = durable {
                tracing::error!(%error, "a record cannot be brought to disk: its session ends");
                return Poll::Ready(Err(io::Error::other(error)));
            }
        }
        Poll::Ready(Ok(()))
    }

    fn over(&mut self, reason: &str) -> Poll<()> {
        self.conversation.disconnected(&mut self.judge);
        self.judge.close(reason, self.up.bytes, self.down.bytes);
        Poll::Ready(())
    }
}

impl Future for Relay {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let relay = self.get_mut();
        relay.check_ended(cx);
        if relay.farewell.is_none() {
            let down = relay.poll_down(cx);
            let cancelling = relay.poll_cancelling(cx).is_pending();
            let up = if cancelling {
                Poll::Pending
            } else {
                relay.poll_up(cx)
            };
            // What was still running when the log-in lapsed may have come to its end.
            relay.check_ended(cx);
            match (down, up) {
                (Poll::Ready(Ok(())), _) => return relay.over("closed"),
                (Poll::Ready(Err(_)), _) | (_, Poll::Ready(Err(_))) => {
                    return relay.over("connection lost");
                }
                // The client has finished; the server may still have something to say.
                (Poll::Pending, _) => {}
            }
        }
        match relay.poll_farewell(cx) {
            Some(reason) => relay.over(reason),
            None => Poll::Pending,
        }
    }
}

fn durable(judge: &SessionJudge, seq: u64) -> Gate {
    let journal = Arc::clone(judge.journal());
    let sessions = Arc::clone(judge.live().all());
    Box::pin(async move {
        let begun = Instant::now();
        let durable = journal.durable(seq).await;
        sessions.latency().durable.count(begun.elapsed());
        durable
    })
}

/// Whether a read of a client's is timed: one in eight, so that looking at the clock costs next to nothing, and at random, so
/// that no client's rhythm hides what it sends (Knuth's MMIX constants).
fn is_timed() -> bool {
    TIMED.with(|state| {
        let next = state
            .get()
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        state.set(next);
        next >> 61 == 0
    })
}

impl Half {
    /// Writes what can be written now and keeps the rest; returns how much that is.
    fn write_or_keep(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut Leg,
        mut bytes: &[u8],
    ) -> io::Result<usize> {
        if self.rest.is_empty() {
            while !bytes.is_empty() {
                match Pin::new(&mut *to).poll_write(cx, bytes) {
                    Poll::Ready(written) => bytes = bytes.get(written?..).unwrap_or_default(),
                    Poll::Pending => break,
                }
            }
            self.unflushed = to.buffers();
        }
        self.rest.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn poll_write_out(&mut self, cx: &mut Context<'_>, to: &mut Leg) -> Poll<io::Result<()>> {
        while let Some(bytes) = self
            .rest
            .get(self.written..)
            .filter(|rest| !rest.is_empty())
        {
            self.written += ready!(Pin::new(&mut *to).poll_write(cx, bytes))?;
            self.unflushed = to.buffers();
        }
        if self.written > 0 {
            self.rest = Vec::new();
            self.written = 0;
        }
        if self.unflushed {
            ready!(Pin::new(to).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shut(&mut self, cx: &mut Context<'_>, to: &mut Leg) -> Poll<io::Result<()>> {
        if !self.shut {
            // The other side may be gone already; there is nothing left to tell it.
            let _ = ready!(Pin::new(to).poll_shutdown(cx));
            self.shut = true;
        }
        Poll::Ready(Ok(()))
    }
}

/// Reads once; `None` at the end of the stream.
fn poll_read<'b>(
    cx: &mut Context<'_>,
    from: &mut Leg,
    buffer: &'b mut [u8],
) -> Poll<io::Result<Option<&'b [u8]>>> {
    let mut read = ReadBuf::new(buffer);
    ready!(Pin::new(from).poll_read(cx, &mut read))?;
    let length = read.filled().len();
    if length == 0 {
        return Poll::Ready(Ok(None));
    }
    Poll::Ready(Ok(buffer.get(..length)))
}

/// Large enough that bulk results cost few calls; shared by all sessions of a worker.
const SCRATCH_BYTES: usize = 64 * 1024;
/// A client that leaves needs no catalog for it.
const TERMINATE: &[u8] = b"X\0\0\0\x04";
/// Answers that a server may owe before the client is read on: far more than fit into a server's send buffer unsent.
const MAX_IN_FLIGHT: usize = 16_384;
/// What is kept of a client whose request waits; it sends on when that is read.
const MAX_HELD_BYTES: usize = 256 * 1024;
