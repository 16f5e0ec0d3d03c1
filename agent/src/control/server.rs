//! The agent's end of the control socket, and the chores that keep bindings true.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::UnixStream,
    time,
};

use super::{
    Parts, events,
    logins::Talk,
    peer::Peer,
    protocol::{LINE_BYTES, Refusal, Reply},
    requests::Desk,
};
use crate::{
    identity::Identities,
    net::{seats::Seats, socket::Listener},
};

/// For a client to send its next line, or to take an answer.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(10);

/// The same while a login is waited for, which ends with the connection.
const LOGIN_TIMEOUT: Duration = Duration::from_mins(1);

/// For an answer; longer than an issuer has for two requests.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// Connections served at a time, of one user and of all; root is exempt.
const CONNECTIONS_PER_USER: usize = 32;
const CONNECTIONS: usize = 256;

/// Between two looks at runs, and at sessions and workloads' tokens.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
const RENEW_EVERY: Duration = Duration::from_secs(30);

/// Between two looks at logins that are due to be renewed, or whose end is to be told to their provider.
const PROBE_EVERY: Duration = Duration::from_millis(500);

/// Answers requests and keeps bindings true (expiry, empty runs, ended sessions, workloads' tokens) until `stop`
/// completes. Dropping the future is safe at any point.
pub async fn serve(
    listener: Listener,
    identities: Arc<Identities>,
    parts: Arc<dyn Parts>,
    stop: impl Future<Output = ()>,
) {
    let desk = Arc::new(Desk {
        identities,
        parts,
        detached: Arc::default(),
    });
    let seats = Seats::new(CONNECTIONS_PER_USER, CONNECTIONS);
    let chores = async {
        tokio::join!(
            sweep(&desk),
            renew(&desk),
            probe(&desk),
            events::receive(&desk)
        );
    };
    tokio::select! {
        () = accept(&listener, &desk, &seats) => {}
        () = chores => {}
        () = stop => {}
    }
}

async fn accept(listener: &Listener, desk: &Arc<Desk>, seats: &Arc<Seats<u32>>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors, mostly: they come back as clients leave.
            time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let Ok(peer) = Peer::of(&stream) else {
            continue;
        };
        let Some(seat) = seats.take_as_user(peer.uid) else {
            continue;
        };
        let desk = Arc::clone(desk);
        tokio::spawn(async move {
            if let Err(error) = converse(&desk, &peer, stream).await {
                tracing::debug!(pid = peer.pid, %error, "a control connection ended");
            }
            drop(seat);
        });
    }
}

async fn converse(desk: &Desk, peer: &Peer, stream: UnixStream) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    // A login that nobody waits for any more ends with the connection.
    let mut talk = Talk::default();
    loop {
        let mut line = Vec::new();
        let limit = LINE_BYTES as u64 + 1;
        let patience = if talk.has_begun() {
            LOGIN_TIMEOUT
        } else {
            CLIENT_TIMEOUT
        };
        time::timeout(
            patience,
            (&mut reader).take(limit).read_until(b'\n', &mut line),
        )
        .await??;
        if line.is_empty() {
            return Ok(());
        }
        let whole = line.last() == Some(&b'\n');
        let answer = if whole {
            let late = || Err(Refusal::new("the answer took too long"));
            time::timeout(ANSWER_TIMEOUT, desk.answer(peer, &mut talk, &line))
                .await
                .unwrap_or_else(|_| late())
        } else {
            Err(Refusal::new(format!(
                "a request is one line of at most {LINE_BYTES} bytes"
            )))
        };
        let reply = answer.map_or_else(Reply::Error, Reply::Ok);
        let mut bytes = serde_json::to_vec(&reply)?;
        bytes.push(b'\n');
        time::timeout(CLIENT_TIMEOUT, writer.write_all(&bytes)).await??;
        if !whole {
            return Ok(());
        }
    }
}

async fn sweep(desk: &Desk) {
    loop {
        time::sleep(SWEEP_EVERY).await;
        desk.settle(&desk.identities.sweep());
        desk.parts.end_lapsed_sessions();
    }
}

async fn probe(desk: &Desk) {
    loop {
        desk.settle(&desk.identities.renew_logins().await);
        time::sleep(PROBE_EVERY).await;
    }
}

async fn renew(desk: &Desk) {
    loop {
        desk.settle(&desk.identities.renew_workloads().await);
        let identities = Arc::clone(&desk.identities);
        if let Ok(changes) = tokio::task::spawn_blocking(move || identities.sweep_sessions()).await
        {
            desk.settle(&changes);
        }
        let due = time::Instant::now() + RENEW_EVERY;
        // A pod that connects for the first time is looked at soon, and a crowd of them together.
        while time::Instant::now() < due {
            time::sleep(SWEEP_EVERY).await;
            if desk.identities.wants_renewal() {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests;
