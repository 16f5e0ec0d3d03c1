//! Security events as they arrive: fetched from a transmitter (RFC 8936), or pushed to a port of loopback (RFC 8935).

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time,
};

use super::requests::Desk;
use crate::{
    identity::{
        events::{EventError, Receiver},
        fetch::FetchError,
        http::{self, Method, Request, Response},
        secret::Secret,
    },
    telemetry,
};

/// Events of one answer.
const BATCH: usize = 100;

/// Before a port that is taken is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// Transmitters served at a time.
const CLIENTS: usize = 16;

/// Why a transmitter's events could not be fetched.
#[derive(Debug, thiserror::Error)]
enum PollError {
    #[error("cannot fetch security events")]
    Fetch(#[from] FetchError),
    #[error("cannot read the bearer token for security events")]
    Token(#[from] std::io::Error),
    #[error("the answer holds no security events: {0}")]
    Answer(#[from] serde_json::Error),
}

#[derive(Deserialize)]
struct Sets {
    #[serde(default)]
    sets: BTreeMap<String, String>,
    #[serde(default, rename = "moreAvailable")]
    more: bool,
}

/// What the transmitter is to be told with the next question.
#[derive(Default)]
struct Told {
    taken: Vec<String>,
    refused: serde_json::Map<String, Value>,
}

/// Receives until dropped.
pub(super) async fn receive(desk: &Arc<Desk>) {
    let mut tasks = JoinSet::new();
    for receiver in desk.identities.receivers() {
        if receiver.settings().poll.is_some() {
            tasks.spawn(poll(Arc::clone(desk), Arc::clone(receiver)));
        }
        if let Some(address) = receiver.settings().push {
            tasks.spawn(listen(Arc::clone(desk), Arc::clone(receiver), address));
        }
    }
    while tasks.join_next().await.is_some() {}
    std::future::pending::<()>().await;
}

async fn poll(desk: Arc<Desk>, receiver: Arc<Receiver>) {
    let mut told = Told::default();
    let mut failed_before = false;
    loop {
        let more = match fetch(&receiver, &told).await {
            Ok(answer) => {
                failed_before = false;
                told = Told::default();
                for (id, event) in answer.sets.into_iter().take(BATCH) {
                    match take(&desk, &receiver, &event).await {
                        Ok(()) | Err(EventError::Replayed) => told.taken.push(id),
                        Err(error) if error.is_passing() => {}
                        Err(error) => {
                            let says =
                                json!({ "err": error.word(), "description": error.to_string() });
                            told.refused.insert(id, says);
                        }
                    }
                }
                answer.more || !told.taken.is_empty() || !told.refused.is_empty()
            }
            Err(error) => {
                if !failed_before {
                    tracing::warn!(
                        error = telemetry::chain(&error),
                        "security events cannot be fetched"
                    );
                }
                failed_before = true;
                false
            }
        };
        if !more {
            time::sleep(receiver.pause()).await;
        }
    }
}

async fn fetch(receiver: &Receiver, told: &Told) -> Result<Sets, PollError> {
    let provider = receiver.issuer().provider();
    let url = provider.endpoint(receiver.settings().poll.as_deref().unwrap_or_default())?;
    let body = json!({
        "maxEvents": BATCH,
        "returnImmediately": true,
        "ack": told.taken,
        "setErrs": told.refused,
    });
    let token = receiver.poll_token()?;
    let bearer = token.as_ref().map(Secret::expose);
    let answer = provider.fetcher().post_with(&url, bearer, &body).await?;
    Ok(serde_json::from_slice(&answer.body)?)
}

async fn listen(desk: Arc<Desk>, receiver: Arc<Receiver>, address: SocketAddr) {
    let listener = loop {
        match TcpListener::bind(address).await {
            Ok(listener) => break listener,
            Err(error) => tracing::error!(%address, %error, "cannot listen for security events"),
        }
        time::sleep(RETRY).await;
    };
    let slots = Arc::new(Semaphore::new(CLIENTS));
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
            return;
        };
        let Ok((client, _)) = listener.accept().await else {
            time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let (desk, receiver) = (Arc::clone(&desk), Arc::clone(&receiver));
        tokio::spawn(async move {
            serve(&desk, &receiver, client).await;
            drop(slot);
        });
    }
}

async fn serve(desk: &Desk, receiver: &Receiver, mut client: TcpStream) {
    let response = match http::read(&mut client).await {
        Ok(request) => answer(desk, receiver, &request).await,
        Err(problem) => Response::error(problem.status(), problem.text()),
    };
    http::write(&mut client, response).await;
}

async fn answer(desk: &Desk, receiver: &Receiver, request: &Request) -> Response {
    if request.method != Method::Post {
        return Response::error(405, "POST only");
    }
    if !receiver.may_push(&request.authorization) {
        return refused(
            401,
            "authentication_failed",
            "the bearer token is not the one configured",
        );
    }
    if request.content_type != "application/secevent+jwt" {
        return refused(400, "invalid_request", "send application/secevent+jwt");
    }
    let Ok(event) = std::str::from_utf8(&request.body) else {
        return refused(400, "invalid_request", "the event is no text");
    };
    match take(desk, receiver, event.trim()).await {
        Ok(()) => Response::empty(202),
        // Not the transmitter's fault: it may come again.
        Err(error) if error.is_passing() => {
            Response::error(503, "the transmitter's keys cannot be had")
        }
        Err(error) => refused(400, error.word(), &error.to_string()),
    }
}

fn refused(status: u16, word: &str, description: &str) -> Response {
    Response::json(status, &json!({ "err": word, "description": description }))
}

async fn take(desk: &Desk, receiver: &Receiver, event: &str) -> Result<(), EventError> {
    match desk.identities.receive_event(receiver, event).await {
        Ok((whom, changes)) => {
            desk.parts.log_out(&whom);
            desk.settle(&changes);
            Ok(())
        }
        Err(error) => {
            tracing::warn!(
                error = telemetry::chain(&error),
                "a security event is refused"
            );
            Err(error)
        }
    }
}

#[cfg(test)]
mod tests;
