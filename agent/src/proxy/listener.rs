//! Accepting, and spreading connections over one current-thread runtime per core.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use tokio::{net::TcpListener, sync::mpsc};

use super::Proxy;

/// The workers: each thread serves its connections to their end, and shares nothing on their way.
#[derive(Debug)]
pub struct Workers {
    workers: Vec<Worker>,
}

#[derive(Debug)]
struct Worker {
    live: Arc<AtomicUsize>,
    connections: mpsc::UnboundedSender<std::net::TcpStream>,
}

impl Workers {
    /// Starts `count` threads.
    ///
    /// # Errors
    ///
    /// The operating system gives no thread or no epoll instance.
    pub fn start(proxy: &Arc<Proxy>, count: usize) -> io::Result<Self> {
        let workers = (0..count.max(1))
            .map(|number| Worker::start(Arc::clone(proxy), number))
            .collect::<io::Result<_>>()?;
        Ok(Self { workers })
    }

    /// Gives a connection to the worker with the fewest.
    fn hand(&self, connection: std::net::TcpStream) {
        let least = self
            .workers
            .iter()
            .min_by_key(|worker| worker.live.load(Ordering::Relaxed));
        if let Some(worker) = least {
            worker.live.fetch_add(1, Ordering::Relaxed);
            // A worker ends with the process only; what cannot be handed over is closed by the drop.
            let _ = worker.connections.send(connection);
        }
    }
}

impl Worker {
    fn start(proxy: Arc<Proxy>, number: usize) -> io::Result<Self> {
        let (connections, mut accepted) = mpsc::unbounded_channel::<std::net::TcpStream>();
        let live = Arc::new(AtomicUsize::new(0));
        let of_worker = Arc::clone(&live);
        let runtime = tokio::runtime::Builder::new_current_thread()
            // No timers: see `Deadlines`.
            .enable_io()
            .build()?;
        thread::Builder::new()
            .name(format!("weir-worker-{number}"))
            .spawn(move || {
                runtime.block_on(async move {
                    while let Some(connection) = accepted.recv().await {
                        let place = Place(Arc::clone(&of_worker));
                        let proxy = Arc::clone(&proxy);
                        tokio::spawn(async move {
                            match tokio::net::TcpStream::from_std(connection) {
                                Ok(client) => proxy.serve(client, place).await,
                                Err(error) => tracing::error!(%error, "cannot serve a connection"),
                            }
                        });
                    }
                });
            })?;
        Ok(Self { live, connections })
    }
}

/// A connection's place on its worker, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Accepts for ever. Cancelling is safe: a connection is either handed on or still in the kernel's queue.
pub async fn accept(listener: TcpListener, workers: Arc<Workers>) {
    loop {
        match listener
            .accept()
            .await
            .and_then(|(client, _)| client.into_std())
        {
            Ok(client) => workers.hand(client),
            Err(error) => {
                // Out of descriptors, most often: others must end first.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
