//! Connections whose protocol weir does not read yet: decided, recorded and counted as a whole, relayed unread.

use tokio::{io::copy_bidirectional, net::TcpStream};

use super::{Candidate, listener::Place, reset};
use crate::net::Leg;

/// Serves one connection. What is inside cannot be judged, so it may pass only where no rule could refuse anything.
pub(super) async fn serve(candidate: Candidate, client: TcpStream, place: Place) {
    let proxy = &candidate.proxy;
    let target = candidate.target();
    if let Some(absence) = candidate.bar() {
        candidate.refuse(&absence.to_string());
        return reset(client);
    }
    if !proxy
        .guard
        .permits_everything(&candidate.scope(target.clone()))
    {
        candidate.refuse("this protocol cannot be read yet, and rules apply");
        return reset(client);
    }
    let mut server = match candidate.dial().await {
        Ok(server) => server,
        Err(error) => {
            candidate.refuse(&error.to_string());
            return reset(client);
        }
    };
    let live = match candidate.record(target, None) {
        Ok(live) => live,
        Err(error) => {
            tracing::error!(%error, "cannot record a session: it is refused");
            return reset(client);
        }
    };
    let mut client = Leg::Plain(client);
    let (up, down) = copy_bidirectional(&mut client, &mut server)
        .await
        .unwrap_or_default();
    let closed = proxy
        .journal
        .session_closed(&live.session, "not inspected", 0, up, down);
    if let Err(error) = closed {
        tracing::error!(%error, "cannot record a session's end");
    }
    drop(place);
}
