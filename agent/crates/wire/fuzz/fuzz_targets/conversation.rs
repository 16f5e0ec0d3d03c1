//! With a judge that lets everything go, some of it only after a wait, what goes out is what came in, in its order and in both
//! directions, and nothing panics. Only a `Flush` is added ahead of what waits,
//! and a `Sync` amid a copy from the client is swallowed.

#![no_main]

use libfuzzer_sys::fuzz_target;
use weir_wire::postgres::{
    Asked, Conversation, Cutter, Finished, Gate, Judge, Outbox, Refusal, Ruling, Via,
    backend::tag::READY_FOR_QUERY,
    conversation::ChannelBinding,
    frontend::{
        self, message,
        tag::{FLUSH, SYNC},
    },
    judge::Unreadable,
};

/// Lets everything go that is not to wait.
#[derive(Default)]
struct Permits {
    /// How often whatever asks is made to wait, bit by bit.
    waits: u64,
    requested: usize,
    finished: usize,
}

impl Judge for Permits {
    type Statement = ();
    type Ticket = ();

    fn statement(&mut self, _: &[u8], _: Via) -> Ruling<()> {
        Ruling::Permit(())
    }
    fn unreadable(&mut self, _: Unreadable, _: usize, _: Via) -> Ruling<()> {
        Ruling::Permit(())
    }
    fn function(&mut self, _: u32) -> Ruling<()> {
        Ruling::Permit(())
    }
    fn made_by_sql(&mut self) {}
    fn gate(&mut self, (): &(), asked: &Asked<'_>) -> Gate<()> {
        let waits = self.waits & 1 == 1;
        self.waits >>= 1;
        if waits && asked.whole {
            Gate::Wait
        } else {
            Gate::Open(Some(()))
        }
    }
    fn request(&mut self, (): &(), _: Via, _: u64, _: usize) -> Result<(), Box<Refusal>> {
        self.requested += 1;
        Ok(())
    }
    fn refused(&mut self, (): &(), _: &mut Refusal, _: Via, _: usize) {
        unreachable!("nothing is refused");
    }
    fn finished(&mut self, (): (), _: Finished) {
        self.finished += 1;
    }
    fn hash(&mut self, _: &[u8]) -> u64 {
        0
    }
    fn parameter(&mut self, _: &[u8], _: &[u8]) {}
    fn settled(&mut self, _: u8) {}
    fn may_copy(&self, (): &()) -> bool {
        self.waits & 2 == 2
    }
}

/// What of a client's stream is whole, without each `Flush` and `Sync`.
fn without_pauses(bytes: &[u8]) -> Vec<u8> {
    let (mut cutter, mut cursor, mut kept) = (Cutter::default(), 0, Vec::new());
    while let Ok(Some(piece)) = cutter.next(bytes, &mut cursor, frontend::plan) {
        if piece.tag != FLUSH && piece.tag != SYNC {
            kept.extend_from_slice(piece.bytes);
        }
    }
    kept
}

fuzz_target!(|input: (bool, u64, Vec<(u8, &[u8])>)| {
    let (logged_in, waits, steps) = input;
    let mut judge = Permits {
        waits,
        ..Permits::default()
    };
    let mut conversation = Conversation::new(ChannelBinding::Relayed);
    let mut out = Outbox::default();
    if logged_in {
        let ready = message(READY_FOR_QUERY, &[b"I"]);
        conversation
            .server(&ready, &mut judge, &mut out)
            .expect("well-formed");
    }
    let (mut from_client, mut to_server) = (Vec::new(), Vec::new());
    let (mut from_server, mut to_client) = (Vec::new(), Vec::new());
    let mut broken = false;
    for (kind, bytes) in steps {
        out.begin();
        match kind % 4 {
            0 => {
                from_client.extend_from_slice(bytes);
                broken |= conversation.client(bytes, &mut judge, &mut out).is_err();
                to_server.extend_from_slice(out.finish(bytes));
            }
            1 => {
                from_server.extend_from_slice(bytes);
                broken |= conversation.server(bytes, &mut judge, &mut out).is_err();
                to_client.extend_from_slice(out.finish(bytes));
                match conversation.release_early(&mut judge, &mut out) {
                    Ok(early) => to_server.extend(early.into_iter().flatten()),
                    Err(_) => broken = true,
                }
            }
            2 if conversation.is_held() => {
                from_client.extend_from_slice(bytes);
                conversation.hold_more(bytes);
            }
            _ => match conversation.resume(&mut judge, &mut out) {
                Ok(bytes) => to_server.extend(bytes),
                Err(_) => broken = true,
            },
        }
        assert!(from_server.starts_with(&to_client));
        assert!(conversation.held_bytes() <= from_client.len());
        if broken {
            break;
        }
    }
    judge.waits = 0;
    if !broken {
        match conversation.resume(&mut judge, &mut out) {
            Ok(bytes) => to_server.extend(bytes),
            Err(_) => broken = true,
        }
        assert!(!conversation.is_held() || conversation.awaits_answers());
    }
    // Before the log-in's end, passwords may overtake what waits for it.
    if logged_in {
        let (came, went) = (without_pauses(&from_client), without_pauses(&to_server));
        assert!(came.starts_with(&went));
        assert!(broken || conversation.is_held() || came == went);
    }
    conversation.disconnected(&mut judge);
    assert_eq!(judge.requested, judge.finished);
});
