//! The running agent, as the control socket sees it.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::sync::Notify;

use crate::{
    admin::{self, WebHandle},
    audit::{
        export::{Exports, SinkStatus},
        record::Event,
    },
    capture::{Capture, Counters, Finding, Origin},
    clock,
    control::{self, Asking},
    discover::{Discoveries, Plan},
    holds::{Holds, Summary},
    identity::{Bound, events::Whom},
    policy::Policy,
    proxy::Proxy,
    sessions::{End, EndError, EndOrder},
    telemetry,
    webhooks::{HookStatus, Webhooks},
};

/// Where records and announcements go.
pub(super) struct Outlets {
    pub(super) exports: Arc<Exports>,
    pub(super) webhooks: Arc<Webhooks>,
}

/// Everything that runs.
pub(super) struct Running {
    pub(super) proxy: Arc<Proxy>,
    pub(super) policy: Arc<Policy>,
    pub(super) discoveries: Arc<Discoveries>,
    /// Why the folder's present content is not in force.
    policy_problem: Mutex<Option<String>>,
    /// Gone once the agent stops capturing.
    capture: Mutex<Option<Capture>>,
    outlets: Outlets,
    state_dir: PathBuf,
    pub(super) port: u16,
    /// How long a connection waits for a new log-in.
    grace: Duration,
    since: OffsetDateTime,
    pub(super) stop_asked: Notify,
    /// What of the kernel's counts is in the journal.
    noted: Mutex<Option<Counters>>,
    /// The web page, where there is one.
    web: OnceLock<WebHandle>,
}

impl Running {
    pub(super) fn new(
        proxy: &Arc<Proxy>,
        policy: Arc<Policy>,
        capture: Capture,
        outlets: Outlets,
        state_dir: PathBuf,
        port: u16,
        grace: Duration,
    ) -> Self {
        let catalogs = Arc::clone(&proxy.catalogs);
        Self {
            proxy: Arc::clone(proxy),
            discoveries: Discoveries::new(catalogs, Arc::clone(&policy)),
            policy,
            policy_problem: Mutex::default(),
            capture: Mutex::new(Some(capture)),
            outlets,
            state_dir,
            port,
            grace,
            since: OffsetDateTime::now_utc(),
            stop_asked: Notify::new(),
            noted: Mutex::default(),
            web: OnceLock::new(),
        }
    }

    /// Asks the kernel's side; `None` once it was given up.
    pub(super) fn with_capture<T>(&self, ask: impl FnOnce(&Capture) -> T) -> Option<T> {
        let capture = self.capture.lock().unwrap_or_else(PoisonError::into_inner);
        capture.as_ref().map(ask)
    }

    /// Says why the policy's folder is not in force as it is; `None` when it is.
    pub(super) fn set_policy_problem(&self, problem: Option<String>) {
        *self
            .policy_problem
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = problem;
    }

    /// The web page runs.
    pub(super) fn set_web(&self, web: WebHandle) {
        let _ = self.web.set(web);
    }

    fn policy_problem(&self) -> Option<String> {
        self.policy_problem
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Records what the kernel has counted, when that has changed since it was recorded last.
    pub(super) fn note_counts(&self) {
        let Some(Ok(counters)) = self.with_capture(Capture::counters) else {
            return;
        };
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        if *noted == Some(counters) {
            return;
        }
        match self.proxy.journal.event(&Event::KernelCounted { counters }) {
            Ok(_) => *noted = Some(counters),
            Err(error) => tracing::error!(%error, "cannot record the kernel's counts"),
        }
    }

    /// Ends capturing as the settings say: no connection comes from then on.
    pub(super) fn stop_capturing(&self) {
        self.note_counts();
        let capture = self
            .capture
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(Err(error)) = capture.map(Capture::stop) {
            tracing::error!(%error, "the kernel programs are not left as configured");
        }
    }
}

impl Running {
    fn discover(&self, request: &Value) -> Result<Value, String> {
        let plan: Plan = serde_json::from_value(request["plan"].clone())
            .map_err(|error| format!("the request cannot be read: {error}"))?;
        let begun = self.discoveries.begin(&plan);
        let job = begun.map_err(|error| telemetry::chain(&error))?;
        Ok(json!({ "job": job }))
    }

    fn discovered(&self, request: &Value) -> Result<Value, String> {
        let job = request["job"].as_u64();
        let progress = job.and_then(|job| self.discoveries.progress(job));
        let progress = progress.ok_or("there is no such look, or another began since")?;
        serde_json::to_value(progress).map_err(|error| format!("cannot write the answer: {error}"))
    }
}

impl admin::Health for Running {
    fn hooks(&self) -> Vec<Finding> {
        self.with_capture(Capture::self_check).unwrap_or_default()
    }

    fn counters(&self) -> Option<Counters> {
        self.with_capture(|capture| capture.counters().ok())
            .flatten()
    }

    fn exports(&self) -> Vec<SinkStatus> {
        self.outlets.exports.status()
    }

    fn webhooks(&self) -> Vec<HookStatus> {
        self.outlets.webhooks.status()
    }

    fn policy_problem(&self) -> Option<String> {
        Running::policy_problem(self)
    }
}

impl control::Parts for Running {
    fn status(&self) -> Value {
        let snapshot = self.policy.current();
        let hooks = self.with_capture(Capture::self_check).unwrap_or_default();
        let kernel = self
            .with_capture(|capture| {
                capture
                    .counters()
                    .ok()
                    .map(|counters| (counters, capture.leftovers().ok()))
            })
            .flatten();
        let latency = self.proxy.sessions.latency();
        let mut sessions = self.proxy.sessions.list();
        // The whole answer has to fit into one line of the control socket.
        sessions.truncate(LISTED_SESSIONS);
        json!({
            "ready": !hooks.is_empty() && !hooks.iter().any(Finding::is_bad),
            "version": env!("CARGO_PKG_VERSION"),
            "pid": std::process::id(),
            "since": self.since.format(&Rfc3339).unwrap_or_default(),
            "state_dir": self.state_dir,
            "development_issuer": self.proxy.identities.development(),
            "identity_problems": self.proxy.identities.problems(),
            "logins": self.proxy.identities.logins(),
            "policy": {
                "path": snapshot.path,
                "digest": snapshot.digest,
                "rules": snapshot.pack.rules().len(),
                "problem": self.policy_problem(),
            },
            "listener": {"port": self.port},
            "endpoints": self.proxy.endpoint_summaries(),
            "hooks": hooks,
            "kernel": kernel.as_ref().map(|(counters, _)| counters),
            "flows_in_transit": kernel.as_ref().and_then(|(_, leftovers)| *leftovers),
            "journal": self.proxy.journal.health(),
            "exports": self.outlets.exports.status(),
            "webhooks": self.outlets.webhooks.status(),
            "masking": self.proxy.guard.status(),
            "catalogs": self.proxy.catalogs.summaries(&|catalog| snapshot.pack.governed_columns(catalog)),
            "totals": self.proxy.sessions.totals(),
            "latency": {
                "decision": latency.decisions.counted().figures(),
                "durable_wait": latency.durable.counted().figures(),
                "journal_sync": self.proxy.journal.syncs().figures(),
                "approval_wait": self.proxy.holds.waits().figures(),
            },
            "waiting": self.proxy.holds.count(),
            "holds": self.proxy.holds.list(None).into_iter().take(LISTED_HOLDS).map(Summary::shortened).collect::<Vec<_>>(),
            "sessions": sessions,
        })
    }

    fn state_dir(&self) -> PathBuf {
        self.state_dir.clone()
    }

    fn socket_origin(&self, client: SocketAddr) -> Option<Origin> {
        let live = self.proxy.sessions.of_client(client)?;
        Some(live.session.opened.origin.clone())
    }

    fn holds(&self) -> Option<&Arc<Holds>> {
        Some(&self.proxy.holds)
    }

    fn stop(&self) {
        self.stop_asked.notify_one();
    }

    fn record(&self, event: Event) {
        if let Err(error) = self.proxy.journal.event(&event) {
            tracing::error!(%error, "cannot record an event");
        }
    }

    fn other(&self, request: &Value, asking: &Asking) -> Option<Result<Value, String>> {
        let operation = request.get("op").and_then(Value::as_str)?;
        if !matches!(operation, "discover" | "discovered") {
            return None;
        }
        if !asking.is_administrator() {
            let who = "looking for sensitive data is for root, outside of any agent's run";
            return Some(Err(who.to_owned()));
        }
        Some(match operation {
            "discover" => self.discover(request),
            _ => self.discovered(request),
        })
    }

    fn end_sessions(&self, bound: &Bound) {
        let rests = |of: &Option<Arc<Bound>>| of.as_ref().is_some_and(|of| of.rests_on(bound));
        let sessions = &self.proxy.sessions;
        let ended = sessions.end_where(End::Revoked, |live| rests(&live.bound));
        if ended > 0 {
            tracing::info!(ended, "sessions ended with their log-in");
        }
    }

    fn log_out(&self, whom: &Whom) {
        if let Some(web) = self.web.get() {
            web.log_out(whom);
        }
    }

    fn end_session(&self, order: EndOrder) -> Result<(), EndError> {
        let session = order.session;
        let proxy = &self.proxy;
        let ended = proxy.sessions.end_by_order(order, &proxy.journal);
        if !matches!(ended, Err(EndError::NoSession { .. })) {
            tracing::info!(session, "an administrator ended a session");
        }
        ended
    }

    fn end_lapsed_sessions(&self) {
        let ended = self.proxy.sessions.end_lapsed(clock::now(), self.grace);
        if ended > 0 {
            tracing::info!(ended, "sessions end whose log-in was not renewed in time");
        }
    }
}

const LISTED_SESSIONS: usize = 200;
const LISTED_HOLDS: usize = 20;
