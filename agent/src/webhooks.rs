//! Statements that wait for an approval, announced elsewhere: Slack, or whatever takes signed JSON.
//!
//! A hook that is down or slow holds up nobody: its messages wait in a short queue, are tried a few times and then given up,
//! counted. The record has all of them; a log of all of it is what an export is for.

mod delivery;
mod message;
mod settings;

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use serde::Serialize;
use tokio::{
    sync::{mpsc, watch},
    time::sleep,
};

use crate::{clock, holds::Note};

use delivery::{Hook, Message};

pub use message::Place;
pub use settings::{Form, Occasion, WebhookSettings, WebhookSettingsError};

/// Messages that wait for one hook.
const QUEUE: usize = 256;
/// How long the agent's end waits for hooks to be told.
const FAREWELL: Duration = Duration::from_secs(3);

/// Why nothing is announced.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// A hook cannot be set up.
    #[error("webhook {name:?}")]
    Settings {
        /// Which.
        name: String,
        /// Why.
        #[source]
        source: WebhookSettingsError,
    },
    /// Their thread.
    #[error("cannot start a thread for webhooks")]
    Start(#[source] io::Error),
}

/// How a hook is doing.
#[derive(Debug, Clone, Serialize)]
pub struct HookStatus {
    /// Its name.
    pub name: String,
    /// The host that it is at; the rest of its address may be secret.
    pub to: String,
    /// Messages that it took.
    pub delivered: u64,
    /// Messages that were given up.
    pub lost: u64,
    /// Messages that wait for it.
    pub waiting: usize,
    /// Why the last one was given up.
    pub problem: Option<String>,
}

/// All hooks. Dropped, it waits a moment for what is still to be told.
#[derive(Debug, Default)]
pub struct Webhooks {
    hooks: Vec<(Arc<Hook>, mpsc::Sender<Message>)>,
    place: Place,
    /// Begins the number of each message, so that those of two runs differ.
    run: u64,
    count: AtomicU64,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

/// Opens a hook's files as [`Webhooks::start`] does.
///
/// # Errors
///
/// What is wrong with them.
pub fn check(settings: &WebhookSettings) -> Result<(), WebhookSettingsError> {
    Hook::open(settings).map(drop)
}

impl Webhooks {
    /// Starts a thread for all hooks, where there are some.
    ///
    /// # Errors
    ///
    /// [`WebhookError`]; a hook that is down is none.
    pub fn start(settings: &[WebhookSettings], place: Place) -> Result<Self, WebhookError> {
        let stop = watch::Sender::new(false);
        let mut hooks = Vec::new();
        let mut receivers = Vec::new();
        for settings in settings {
            let hook = Hook::open(settings).map_err(|source| WebhookError::Settings {
                name: settings.name.clone(),
                source,
            })?;
            let hook = Arc::new(hook);
            let (sender, receiver) = mpsc::channel(QUEUE);
            receivers.push((Arc::clone(&hook), receiver));
            hooks.push((hook, sender));
        }
        let thread = if receivers.is_empty() {
            None
        } else {
            Some(spawn(receivers, &stop).map_err(WebhookError::Start)?)
        };
        Ok(Self {
            hooks,
            place,
            run: clock::now_ns(),
            count: AtomicU64::new(0),
            stop,
            thread,
        })
    }

    /// Tells every hook that wants to know; never waits.
    pub fn tell(&self, note: &Note) {
        let now_ns = clock::now_ns();
        for (hook, sender) in &self.hooks {
            if !hook.on.contains(&note.what.occasion()) {
                continue;
            }
            let number = self.count.fetch_add(1, Ordering::Relaxed);
            let message = Message {
                id: format!("weir_{:x}_{number}", self.run),
                body: message::body(hook.form, &self.place, note, now_ns).to_string(),
                since_ns: now_ns,
            };
            if sender.try_send(message).is_err() {
                hook.lose(format!("{QUEUE} messages wait for it already"));
            }
        }
    }

    /// How each hook is doing.
    #[must_use]
    pub fn status(&self) -> Vec<HookStatus> {
        let status = |(hook, sender): &(Arc<Hook>, mpsc::Sender<Message>)| HookStatus {
            name: hook.name.clone(),
            to: hook.host(),
            delivered: hook.delivered.load(Ordering::Relaxed),
            lost: hook.lost.load(Ordering::Relaxed),
            waiting: sender.max_capacity() - sender.capacity(),
            problem: hook.problem(),
        };
        self.hooks.iter().map(status).collect()
    }
}

impl Drop for Webhooks {
    fn drop(&mut self) {
        // Their queues end; what is in them is still brought.
        self.hooks.clear();
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of webhooks panicked");
        }
    }
}

type Receiver = (Arc<Hook>, mpsc::Receiver<Message>);

fn spawn(receivers: Vec<Receiver>, stop: &watch::Sender<bool>) -> io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut stop = stop.subscribe();
    let work = async move {
        let tasks: Vec<_> = receivers
            .into_iter()
            .map(|(hook, receiver)| tokio::spawn(async move { hook.run(receiver).await }))
            .collect();
        let all = async {
            for task in tasks {
                if task.await.is_err() {
                    tracing::error!("a webhook's task panicked");
                }
            }
        };
        let farewell = async {
            // That the sender is gone is a stop too.
            let _ = stop.wait_for(|stop| *stop).await;
            sleep(FAREWELL).await;
        };
        tokio::select! {
            () = all => {}
            () = farewell => {}
        }
    };
    std::thread::Builder::new()
        .name("weir-webhooks".to_owned())
        .spawn(move || runtime.block_on(work))
}

#[cfg(test)]
mod tests;
