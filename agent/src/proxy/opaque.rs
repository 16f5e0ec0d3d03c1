//! Connections whose bytes weir cannot read: decided, recorded and counted as a whole, relayed unread.

use std::{
    future::{Future as _, poll_fn},
    pin::pin,
    sync::atomic::Ordering,
    task::Poll,
};

use tokio::{io::copy_bidirectional, net::TcpStream};

use super::{Candidate, listener::Place, reset};
use crate::{audit::record::NOT_INSPECTED, net::Leg};

/// Serves one connection. What is inside cannot be judged, so it may pass only where no rule could refuse anything.
pub(super) async fn serve(candidate: Candidate, client: TcpStream, place: Place) {
    if let Some(absence) = candidate.bar() {
        candidate.refuse(&absence.to_string());
        return reset(client);
    }
    if !candidate.may_pass_unread() {
        candidate.refuse("this protocol cannot be read yet, and rules apply");
        return reset(client);
    }
    let server = match candidate.dial().await {
        Ok(server) => server,
        Err(error) => {
            candidate.refuse(&error.to_string());
            return reset(client);
        }
    };
    candidate.relay_unread(client, server).await;
    drop(place);
}

impl Candidate {
    /// Whether no rule could refuse anything on this connection.
    pub(super) fn may_pass_unread(&self) -> bool {
        let scope = self.scope(self.target());
        self.bar().is_none() && self.proxy.guard.permits_everything(&scope)
    }

    /// Relays until a side closes or somebody ends the session.
    pub(super) async fn relay_unread(&self, client: TcpStream, mut server: Leg) {
        let live = match self.record_unread(self.target()) {
            Ok(live) => live,
            Err(error) => {
                tracing::error!(%error, "cannot record a session: it is refused");
                return reset(client);
            }
        };
        let counts = &self.endpoint.counts;
        counts.not_inspected.fetch_add(1, Ordering::Relaxed);
        let mut client = Leg::Plain(client);
        let mut copying = pin!(copy_bidirectional(&mut client, &mut server));
        let copied = poll_fn(|cx| {
            live.on_end(cx.waker());
            if live.ends().is_some() {
                return Poll::Ready(None);
            }
            copying.as_mut().poll(cx).map(Some)
        })
        .await;
        let (how, (up, down)) = match copied {
            Some(copied) => ("", copied.unwrap_or_default()),
            None => ("; ended", (0, 0)),
        };
        let reason = format!("{NOT_INSPECTED}{how}");
        let journal = &self.proxy.journal;
        if let Err(error) = journal.session_closed(&live.session, &reason, 0, up, down) {
            tracing::error!(%error, "cannot record a session's end");
        }
    }
}
