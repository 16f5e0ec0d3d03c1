//! Cancellations on their way to a server: the client's own, and weir's when an answer has reached its limit.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::io::AsyncWriteExt;

use crate::proxy::{Endpoint, Proxy, dial};

/// Where a session's server is, for connections beside the session's own.
#[derive(Clone)]
pub(super) struct Route {
    pub(super) proxy: Arc<Proxy>,
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) destination: SocketAddr,
}

impl Route {
    /// Sends a cancel request and waits until the server has closed the connection: by then it is on its way.
    ///
    /// What fails is only logged: nobody is owed an answer to a cancellation.
    pub(super) async fn cancel(self, packet: Vec<u8>) {
        let deadlines = &self.proxy.deadlines;
        let marker = &self.proxy.marker;
        let mut server = match dial::dial(deadlines, marker, &self.endpoint, self.destination).await
        {
            Ok(server) => server,
            Err(error) => {
                tracing::warn!(%error, "cannot send a cancellation on");
                return;
            }
        };
        let sent = async {
            server.write_all(&packet).await?;
            server.flush().await?;
            tokio::io::copy(&mut server, &mut tokio::io::sink()).await
        };
        if !matches!(deadlines.within(CANCEL_LIMIT, sent).await, Some(Ok(_))) {
            tracing::warn!(destination = %self.destination, "a cancellation was not taken");
        }
    }
}

/// A server that accepts takes a cancellation at once.
const CANCEL_LIMIT: Duration = Duration::from_secs(30);
