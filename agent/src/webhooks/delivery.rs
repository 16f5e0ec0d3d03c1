//! Bringing messages to one hook: in order, signed as the Standard Webhooks specification has it, tried a few times.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::{Client, StatusCode, Url, header};
use tokio::{sync::mpsc, time::sleep};

use super::settings::{Form, Occasion, WebhookSettings, WebhookSettingsError};
use crate::{clock, net::http, telemetry};

/// From connecting to the answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait before each further attempt.
const PAUSES: [Duration; 4] = [
    Duration::from_millis(500),
    Duration::from_secs(2),
    Duration::from_secs(8),
    Duration::from_secs(20),
];
/// The longest that a hook may ask to be left alone.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// What waited longer behind others tells nobody anything any more.
const LATE_NS: u64 = 10 * 60 * 1_000_000_000;

/// One message, written and numbered.
#[derive(Debug)]
pub(super) struct Message {
    /// The same at each attempt.
    pub(super) id: String,
    pub(super) body: String,
    /// When it happened, nanoseconds since the epoch.
    pub(super) since_ns: u64,
}

/// One place that is told.
#[derive(Debug)]
pub(super) struct Hook {
    pub(super) name: String,
    pub(super) form: Form,
    pub(super) on: Vec<Occasion>,
    url: Url,
    key: hmac::Key,
    client: Client,
    pub(super) delivered: AtomicU64,
    pub(super) lost: AtomicU64,
    problem: Mutex<Option<String>>,
}

/// Why a message was not taken. The address is in none of it: it may be a secret.
#[derive(Debug, thiserror::Error)]
enum HookError {
    #[error("cannot be reached")]
    Reach(#[source] reqwest::Error),
    #[error("answered {status}")]
    Status {
        status: StatusCode,
        pause: Option<Duration>,
    },
    #[error("took too long with earlier messages")]
    Late,
}

impl Hook {
    pub(super) fn open(settings: &WebhookSettings) -> Result<Self, WebhookSettingsError> {
        let url = settings.address()?;
        Ok(Self {
            name: settings.name.clone(),
            form: settings.form,
            on: settings.on.clone(),
            client: http::client(&url, settings.ca.as_deref(), TIMEOUT)?,
            key: hmac::Key::new(hmac::HMAC_SHA256, &settings.key()?),
            url,
            delivered: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            problem: Mutex::default(),
        })
    }

    /// Where it is, without what may be secret of it.
    pub(super) fn host(&self) -> String {
        self.url.host_str().unwrap_or_default().to_owned()
    }

    pub(super) fn problem(&self) -> Option<String> {
        self.lock().clone()
    }

    /// Brings messages until there are no more.
    pub(super) async fn run(&self, mut messages: mpsc::Receiver<Message>) {
        while let Some(message) = messages.recv().await {
            match self.deliver(&message).await {
                Ok(()) => {
                    self.delivered.fetch_add(1, Ordering::Relaxed);
                    *self.lock() = None;
                }
                Err(error) => self.lose(telemetry::chain(&error)),
            }
        }
    }

    /// Counts a message that is not brought, and says why, once for each reason.
    pub(super) fn lose(&self, problem: String) {
        self.lost.fetch_add(1, Ordering::Relaxed);
        let mut last = self.lock();
        if last.as_ref() != Some(&problem) {
            tracing::warn!(webhook = self.name, problem, "a webhook was not told");
            *last = Some(problem);
        }
    }

    async fn deliver(&self, message: &Message) -> Result<(), HookError> {
        let mut pauses = PAUSES.iter();
        loop {
            if clock::now_ns().saturating_sub(message.since_ns) > LATE_NS {
                return Err(HookError::Late);
            }
            let error = match self.attempt(message).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            let (Some(own), true) = (pauses.next(), error.may_pass()) else {
                return Err(error);
            };
            sleep(error.pause().unwrap_or(*own).min(LONGEST_PAUSE)).await;
        }
    }

    async fn attempt(&self, message: &Message) -> Result<(), HookError> {
        let timestamp = clock::now().as_secs();
        let Message { id, body, .. } = message;
        let signed = hmac::sign(&self.key, format!("{id}.{timestamp}.{body}").as_bytes());
        let request = self
            .client
            .post(self.url.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp.to_string())
            .header(
                "webhook-signature",
                format!("v1,{}", STANDARD.encode(signed)),
            )
            .body(body.clone());
        let answer = request
            .send()
            .await
            .map_err(|error| HookError::Reach(error.without_url()))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let pause = answer
            .headers()
            .get(header::RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.parse().ok())
            .map(Duration::from_secs);
        Err(HookError::Status { status, pause })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HookError {
    /// Whether another attempt may do better.
    fn may_pass(&self) -> bool {
        match self {
            Self::Reach(_) => true,
            Self::Status { status, .. } => {
                status.is_server_error()
                    || matches!(
                        *status,
                        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS
                    )
            }
            Self::Late => false,
        }
    }

    /// How long the hook wants to be left alone.
    fn pause(&self) -> Option<Duration> {
        match self {
            Self::Status { pause, .. } => *pause,
            _ => None,
        }
    }
}
