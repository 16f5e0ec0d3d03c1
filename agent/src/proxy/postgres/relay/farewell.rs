//! How a session ends before its client or server ends it.
//!
//! Nothing that waits for the server is sent any more, so that no `COMMIT` goes through. What the server is at is cancelled, and
//! its connection reset: whatever it was sent before finds nobody to answer to. The client gets the rest of the message that it
//! has a part of, then why, where a message may stand; what does not fit between two messages stays unsaid.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use weir_wire::postgres::{ConversationError, HEADER_BYTES, Refusal, backend};

use super::{Half, Relay, SCRATCH, poll_read};
use crate::{net::Leg, sessions::End};

/// What is still to be told to the client, and for how long that may take.
pub(super) struct Farewell {
    reason: &'static str,
    /// The last message, until it can be put behind all others.
    words: Option<Vec<u8>>,
    /// Bytes of the message under way that the server has still to send.
    owed: usize,
    limit: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Relay {
    /// Somebody may have ended the session from outside.
    pub(super) fn check_ended(&mut self, cx: &mut Context<'_>) {
        if !std::mem::replace(&mut self.watched, true) {
            self.judge.live().on_end(cx.waker());
        }
        if self.farewell.is_some() {
            return;
        }
        match self.judge.live().ends() {
            None => {}
            Some(End::Lapsed)
                if self.conversation.in_flight() > 0 && !self.conversation.awaits_client() =>
            {
                // What runs finishes.
                self.closing = true;
            }
            Some(end) => self.cut(end),
        }
    }

    /// The conversation cannot go on: the client is told where a message may stand, and both sides close.
    pub(super) fn break_off(&mut self, error: &ConversationError) {
        tracing::warn!(%error, "a session is broken off");
        let words = self
            .conversation
            .may_insert()
            .then(|| backend::error_response("FATAL", &error.refusal()));
        self.say_farewell("protocol violation", words, 0);
        // What it was sent before is not undone.
        self.server = None;
    }

    /// Ends the session at once.
    fn cut(&mut self, end: End) {
        self.up.forget();
        self.kept = Vec::new();
        self.gate = None;
        if let Some(packet) = self.conversation.cancel_all() {
            tokio::spawn(self.route.clone().cancel(packet));
        }
        let (reason, refusal) = words(end);
        let owed = self
            .down
            .end_with_message(self.conversation.rest_of_message());
        let words = owed.map(|_| backend::error_response("FATAL", &refusal));
        self.say_farewell(reason, words, owed.unwrap_or_default());
        // Behind what is being cancelled the server may have more to do, which it must not get to.
        if owed != Some(0) && self.conversation.requests() > 1 {
            self.reset_server();
        }
    }

    fn say_farewell(&mut self, reason: &'static str, words: Option<Vec<u8>>, owed: usize) {
        let proxy = Arc::clone(&self.route.proxy);
        let limit = async move {
            let never = std::future::pending::<()>();
            let _ = proxy.deadlines.within(LIMIT, never).await;
        };
        self.farewell = Some(Box::new(Farewell {
            reason,
            words,
            owed,
            limit: Box::pin(limit),
        }));
    }

    /// Tells what is to be told; why the session ended, once that is done or takes too long.
    pub(super) fn poll_farewell(&mut self, cx: &mut Context<'_>) -> Option<&'static str> {
        let mut farewell = self.farewell.take()?;
        self.finish_message(cx, &mut farewell);
        if farewell.owed == 0 {
            self.reset_server();
            self.down
                .rest
                .extend(farewell.words.take().unwrap_or_default());
        }
        let told = match self.down.poll_write_out(cx, &mut self.client) {
            Poll::Ready(Ok(())) if farewell.owed == 0 => {
                // With unread bytes in its socket the client would get a reset, and perhaps not the message.
                self.drain_client(cx);
                self.down.poll_shut(cx, &mut self.client).is_ready()
            }
            Poll::Ready(Err(_)) => true,
            _ => false,
        };
        let reason = farewell.reason;
        let late = farewell.limit.as_mut().poll(cx).is_ready();
        self.farewell = Some(farewell);
        (told || late).then_some(reason)
    }

    /// Takes what is missing of the message under way from the server.
    fn finish_message(&mut self, cx: &mut Context<'_>, farewell: &mut Farewell) {
        while farewell.owed > 0 {
            let Some(server) = &mut self.server else {
                farewell.give_up();
                return;
            };
            let read = SCRATCH.with_borrow_mut(|scratch| {
                let wanted = farewell.owed.min(scratch.input.len());
                let buffer = scratch.input.get_mut(..wanted).unwrap_or_default();
                match poll_read(cx, server, buffer) {
                    Poll::Pending => Poll::Pending,
                    Poll::Ready(Ok(Some(bytes))) => {
                        self.down.rest.extend_from_slice(bytes);
                        Poll::Ready(Some(bytes.len()))
                    }
                    Poll::Ready(_) => Poll::Ready(None),
                }
            });
            match read {
                Poll::Pending => return,
                Poll::Ready(Some(count)) => farewell.owed -= count,
                Poll::Ready(None) => farewell.give_up(),
            }
        }
    }

    fn drain_client(&mut self, cx: &mut Context<'_>) {
        SCRATCH.with_borrow_mut(|scratch| {
            for _ in 0..DRAINED_READS {
                let read = poll_read(cx, &mut self.client, &mut scratch.input);
                if !matches!(read, Poll::Ready(Ok(Some(_)))) {
                    return;
                }
            }
        });
    }

    fn reset_server(&mut self) {
        if let Some(server) = self.server.take() {
            reset(&server);
        }
    }
}

impl Farewell {
    /// The message under way will never be whole: nothing can follow it.
    fn give_up(&mut self) {
        self.owed = 0;
        self.words = None;
    }
}

impl Half {
    /// Nothing of what waits is sent any more.
    fn forget(&mut self) {
        self.rest = Vec::new();
        self.written = 0;
        self.unflushed = false;
    }

    /// Drops what waits behind the message under way. Returns how many bytes of that are still to come, of which `unfinished`
    /// are not here yet; `None` when it is not known where it ends.
    fn end_with_message(&mut self, unfinished: usize) -> Option<usize> {
        if self.rest.is_empty() {
            return Some(unfinished);
        }
        if self.lead == usize::MAX {
            return None;
        }
        let mut at = self.lead;
        while at < self.written && at < self.rest.len() {
            at += message_length(self.rest.get(at..)?)?;
        }
        self.rest.truncate(at);
        Some(at - self.rest.len())
    }
}

/// Where the first message begins that does so at or behind `written`, counted from there: `unfinished` bytes belong to one that
/// began before.
pub(super) fn lead(bytes: &[u8], unfinished: usize, written: usize) -> usize {
    let mut at = unfinished;
    while at < written {
        match bytes.get(at..).and_then(message_length) {
            Some(length) => at += length,
            // Unreadable from here on: nothing can be inserted.
            None => return usize::MAX,
        }
    }
    at - written
}

fn message_length(bytes: &[u8]) -> Option<usize> {
    let [_, a, b, c, d] = *bytes.first_chunk::<HEADER_BYTES>()?;
    let length = u32::from_be_bytes([a, b, c, d]);
    usize::try_from(length).ok()?.checked_add(1)
}

/// Why a session ended, for the record and for the client.
fn words(end: End) -> (&'static str, Refusal) {
    let again = "run \"weir login\" and connect again";
    let (reason, message, hint) = match end {
        End::Stopped => ("ended", "weir: this session was ended", again),
        End::Lapsed => (
            "log-in expired",
            "weir: the log-in behind this connection has expired and was not renewed in time",
            again,
        ),
        End::Revoked => (
            "log-in ended",
            "weir: the log-in behind this connection was ended",
            again,
        ),
        End::Killed => (
            "ended by an administrator",
            "weir: terminating connection due to administrator command",
            "ask those who administer this host why",
        ),
    };
    let refusal = Refusal {
        sqlstate: "57P01".into(),
        message: message.into(),
        detail: None,
        hint: Some(hint.into()),
    };
    (reason, refusal)
}

/// The server finds the connection broken, whatever it is at: an orderly end would let it finish first.
fn reset(server: &Leg) {
    let stream = match server {
        Leg::Plain(stream) => stream,
        Leg::Tls(stream) => stream.get_ref().0,
    };
    let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

/// For a client that does not read.
const LIMIT: Duration = Duration::from_secs(5);
/// A client that keeps sending is not waited for.
const DRAINED_READS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn message(tag: u8, body: usize) -> Vec<u8> {
        let length = u32::try_from(body + 4).expect("short");
        let mut bytes = vec![tag];
        bytes.extend(length.to_be_bytes());
        bytes.resize(bytes.len() + body, 0);
        bytes
    }

    /// The end of a message begun before, two whole ones, the beginning of another.
    fn stream() -> (Vec<u8>, Vec<usize>) {
        let mut bytes = vec![7; 3];
        let mut starts = Vec::new();
        for body in [10, 0, 20] {
            starts.push(bytes.len());
            bytes.extend(message(b'D', body));
        }
        bytes.truncate(bytes.len() - 6);
        (bytes, starts)
    }

    #[test]
    fn what_waits_is_cut_behind_the_message_under_way_wherever_writing_stopped() {
        let (bytes, starts) = stream();
        for written in 0..bytes.len() {
            for more in 0..bytes.len() - written {
                let mut half = Half {
                    rest: bytes[written..].to_vec(),
                    lead: lead(&bytes, 3, written),
                    written: more,
                    ..Half::default()
                };
                let owed = half.end_with_message(6);
                let gone = written + more;
                let boundary = starts.iter().copied().find(|start| *start >= gone);
                if let Some(start) = boundary {
                    assert_eq!(owed, Some(0), "{written} + {more}");
                    assert_eq!(written + half.rest.len(), start, "{written} + {more}");
                } else {
                    assert_eq!(owed, Some(6), "{written} + {more}");
                    assert_eq!(written + half.rest.len(), bytes.len());
                }
            }
        }
    }

    #[test]
    fn with_nothing_waiting_the_server_owes_what_it_has_not_sent() {
        assert_eq!(Half::default().end_with_message(9), Some(9));
    }
}
