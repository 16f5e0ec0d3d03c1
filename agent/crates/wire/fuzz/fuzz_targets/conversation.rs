//! With a judge that permits everything, what goes out is a prefix of what came in, in both directions, and nothing panics.

#![no_main]

use libfuzzer_sys::fuzz_target;
use weir_wire::postgres::{
    Conversation, Finished, Judge, Outbox, Refusal, Ruling, Via, conversation::ChannelBinding,
    judge::Unreadable,
};

struct Permits;

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
    fn request(&mut self, (): &(), _: Via, _: u64, _: usize) -> Result<(), Box<Refusal>> {
        Ok(())
    }
    fn refused(&mut self, (): &(), _: &mut Refusal, _: Via, _: usize) {}
    fn finished(&mut self, (): (), _: Finished) {}
    fn hash(&mut self, _: &[u8]) -> u64 {
        0
    }
    fn parameter(&mut self, _: &[u8], _: &[u8]) {}
    fn settled(&mut self) {}
}

fuzz_target!(|chunks: Vec<(bool, &[u8])>| {
    let mut conversation = Conversation::new(ChannelBinding::Relayed);
    let mut out = Outbox::default();
    let (mut from_client, mut to_server) = (Vec::new(), Vec::new());
    let (mut from_server, mut to_client) = (Vec::new(), Vec::new());
    for (client, bytes) in chunks {
        out.begin();
        let broken = if client {
            from_client.extend_from_slice(bytes);
            let broken = conversation.client(bytes, &mut Permits, &mut out).is_err();
            to_server.extend_from_slice(out.finish(bytes));
            broken
        } else {
            from_server.extend_from_slice(bytes);
            let broken = conversation.server(bytes, &mut Permits, &mut out).is_err();
            to_client.extend_from_slice(out.finish(bytes));
            if let Ok(Some(early)) = conversation.release_early(&mut Permits, &mut out) {
                to_server.extend_from_slice(&early);
            }
            broken
        };
        assert!(from_server.starts_with(&to_client));
        if broken {
            break;
        }
    }
    // Before the log-in's end, passwords may overtake what waits for it.
    if conversation.is_ready() {
        assert!(to_server.len() <= from_client.len());
    }
    conversation.disconnected(&mut Permits);
});
