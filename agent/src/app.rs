//! Where the parts meet: built bottom-up, run, and taken down again.

mod host;
mod parts;

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

use crate::{
    admin::{Admin, Reach, StartError},
    audit::{
        self, Journal, JournalError,
        export::{ExportError, Exports},
        index::Indexer,
        keeper::{KeepError, Keeper},
        record::Event,
    },
    capture::{self, Capture, CaptureError, ListenerPorts, Provisional, Takeover},
    catalog::{Catalogs, Dial},
    clock,
    config::{Config, ConfigError},
    control::{self, Parts as _},
    discover::{Auto, AutoError},
    guard::{Guard, MaskKey, MaskKeyError},
    holds::Holds,
    identity::{Identities, OpenError},
    logins::Logins,
    net,
    policy::{self, Policy},
    proxy::{
        Deadlines, Proxy,
        dial::Dialler,
        listener::{Workers, accept},
    },
    sessions::{End, Sessions},
    tls::{Authority, AuthorityError},
    webhooks::{Place, WebhookError, Webhooks},
};

use parts::{Outlets, Running};

/// Why the agent does not run.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The folder for journal, store and keys.
    #[error("cannot use the state folder {}", path.display())]
    StateDir {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The configuration.
    #[error("cannot use the configuration")]
    Config(#[from] ConfigError),
    /// The journal: without it nothing may run.
    #[error("cannot open the audit journal")]
    Journal(#[from] JournalError),
    /// The index.
    #[error("cannot open the audit index")]
    Index(#[source] audit::store::StoreError),
    /// What becomes of full segments.
    #[error("cannot keep the audit journal")]
    Keep(#[from] KeepError),
    /// Records cannot be sent elsewhere as configured.
    #[error("cannot set up the exports")]
    Export(#[from] ExportError),
    /// Approvals cannot be announced as configured.
    #[error("cannot set up the webhooks")]
    Webhook(#[from] WebhookError),
    /// The policy: a pack with an error is refused whole.
    #[error("cannot load the policy")]
    Policy(#[from] weir_policy::PackError),
    /// Issuers and workloads.
    #[error("cannot set up identities")]
    Identity(#[from] OpenError),
    /// The local CA.
    #[error("cannot open the local certificate authority")]
    Authority(#[from] AuthorityError),
    /// The key of masks.
    #[error("cannot open the key that values are hashed with")]
    MaskKey(#[from] MaskKeyError),
    /// The kernel programs.
    #[error("cannot capture connections (\"weir doctor\" says what is missing)")]
    Capture(#[from] CaptureError),
    /// No cgroup2.
    #[error("no cgroup2 file system is mounted: mount -t cgroup2 none /sys/fs/cgroup")]
    NoCgroup,
    /// Approvals that last.
    #[error("cannot read the lasting approvals in grants.json of the state folder")]
    Holds(#[source] io::Error),
    /// Classes that were found before.
    #[error("cannot use the classes that discovery found")]
    Found(#[from] AutoError),
    /// The listeners.
    #[error("cannot listen on loopback")]
    Listen(#[source] io::Error),
    /// The control socket.
    #[error("cannot open the control socket")]
    Control(#[from] control::BindError),
    /// The web page.
    #[error("cannot serve the web page")]
    Admin(#[from] StartError),
    /// Threads or the event loop.
    #[error("cannot start")]
    Start(#[source] io::Error),
}

/// Runs the agent until it is asked to stop.
///
/// # Errors
///
/// [`AppError`]; nothing new is left in the kernel then.
pub fn run(config: &Config) -> Result<(), AppError> {
    raise_file_limit();
    let state_dir = open_state_dir(&config.agent.state_dir)?;
    let endpoints = config.endpoints()?;
    let credentials = config.catalogs()?;
    let logins = config.logins()?;
    let loaded = match &config.policy {
        Some(settings) => policy::load::load(settings)?,
        None => policy::load::permit_all(weir_policy::Mode::Observe),
    };
    let policy = Arc::new(Policy::new(loaded));
    let (journal, recovery) = Journal::open(&state_dir, &config.audit)?;
    if recovery.resumed && !recovery.clean {
        tracing::warn!(
            torn_bytes = recovery.torn_bytes,
            alarms = recovery.alarms.len(),
            "the journal was not closed in good order and has been repaired"
        );
    }
    let webhooks = Arc::new(start_webhooks(config)?);
    let indexer = Indexer::start(&state_dir, Arc::clone(&journal)).map_err(AppError::Index)?;
    let exports = Arc::new(Exports::start(&config.export, &state_dir, &journal)?);
    let keeper = Keeper::start(
        &state_dir,
        Arc::clone(&journal),
        config.audit.retention.clone(),
        {
            let exports = Arc::clone(&exports);
            Arc::new(move || exports.confirmed())
        },
    )?;
    let cgroup = find_cgroup(config)?;
    let identities = Arc::new(Identities::open(&config.identity(), &state_dir, &cgroup)?);
    let authority = Authority::open(&state_dir)?;

    let mask_key = MaskKey::open(&state_dir)?;
    let holds = open_holds(&state_dir, &journal, &webhooks)?;

    // Sockets belong to the cgroup that their process is in when they are made.
    capture::enter(&cgroup)?;
    let (v4, v6) = capture::listeners(None).map_err(AppError::Listen)?;
    let port = v4.local_addr().map_err(AppError::Listen)?.port();
    let ports = ListenerPorts {
        v4: port,
        v6: v6.is_some().then_some(port),
    };
    let rules = config.rules(&endpoints);
    let (capture, takeover) = Capture::attach(&config.capture, &rules, ports)?;
    // Whatever fails from here on must not leave programs that take the agent for dead.
    let provisional = capture.provisional();

    let deadlines = Arc::new(Deadlines::default());
    let dialler = Dialler::new(&deadlines, capture.marker(), endpoints.values());
    let dialler: Arc<dyn Dial> = Arc::new(dialler);
    let logins = Logins::start(logins, &dialler).map_err(AppError::Start)?;
    let catalogs = Catalogs::start(credentials, dialler).map_err(AppError::Start)?;

    let proxy = Arc::new(Proxy {
        origins: capture.origins(),
        marker: capture.marker(),
        writers: capture.writers(),
        identities: Arc::clone(&identities),
        guard: Arc::new(Guard::new(
            Arc::clone(&policy),
            Arc::clone(&journal),
            config.audit.durability,
            mask_key,
        )),
        holds,
        catalogs,
        logins,
        journal: Arc::clone(&journal),
        sessions: Arc::new(Sessions::default()),
        endpoints,
        authority,
        deadlines,
        port,
    });
    record_start(&journal, &policy, &identities, &takeover)?;
    let running = Arc::new(Running::new(
        &proxy,
        policy,
        capture,
        Outlets { exports, webhooks },
        state_dir,
        port,
        Duration::from_secs(config.agent.login_grace_seconds),
    ));
    let setting = config.policy.as_ref().map(|it| it.auto_classify);
    let auto = Auto::open(
        Arc::clone(&running.discoveries),
        setting.unwrap_or_default(),
        &running.state_dir(),
        {
            let journal = Arc::clone(&journal);
            move |snapshot| {
                if let Err(error) = host::record_policy(&journal, snapshot) {
                    tracing::error!(%error, "cannot record a policy");
                }
            }
        },
    )?;
    let listeners = [Some(v4), v6].into_iter().flatten().collect();
    let outcome = serve(config, &running, &auto, listeners, provisional);
    drop((indexer, keeper));
    outcome
}

fn find_cgroup(config: &Config) -> Result<PathBuf, AppError> {
    let configured = config.capture.cgroup.clone();
    let cgroup = configured.or_else(capture::cgroup2_mount);
    cgroup.ok_or(AppError::NoCgroup)
}

fn start_webhooks(config: &Config) -> Result<Webhooks, AppError> {
    let site = match &config.admin {
        Some(admin) => admin.site(&config.issuer).map_err(ConfigError::from)?,
        None => None,
    };
    let place = Place {
        origin: site.map(|site| site.origin),
        host: net::host_name(),
    };
    Ok(Webhooks::start(&config.webhook, place)?)
}

fn open_holds(
    state_dir: &Path,
    journal: &Arc<Journal>,
    webhooks: &Arc<Webhooks>,
) -> Result<Arc<Holds>, AppError> {
    let webhooks = Arc::clone(webhooks);
    let tell = Arc::new(move |note| webhooks.tell(&note));
    Holds::open(state_dir, Arc::clone(journal), tell).map_err(AppError::Holds)
}

/// Serves the web page, where that is configured, from a thread of its own.
fn start_admin(config: &Config, running: &Arc<Running>) -> Result<Option<Admin>, AppError> {
    let Some(settings) = &config.admin else {
        return Ok(None);
    };
    let site = settings.site(&config.issuer).map_err(ConfigError::from)?;
    let proxy = &running.proxy;
    let reach = Reach {
        sessions: Arc::clone(&proxy.sessions),
        policy: Arc::clone(&running.policy),
        holds: Arc::clone(&proxy.holds),
        journal: Arc::clone(&proxy.journal),
        identities: Arc::clone(&proxy.identities),
        state_dir: control::Parts::state_dir(&**running),
        health: Arc::clone(running) as Arc<dyn crate::admin::Health>,
    };
    let admin = Admin::start(settings.clone(), site, reach, &proxy.authority)?;
    running.set_web(admin.handle());
    Ok(Some(admin))
}

/// The main thread's part: accepting, heartbeat, chores, control; then the way down.
fn serve(
    config: &Config,
    running: &Arc<Running>,
    auto: &Arc<Auto>,
    listeners: Vec<std::net::TcpListener>,
    provisional: Option<Provisional>,
) -> Result<(), AppError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(AppError::Start)?;
    let count = match config.agent.workers {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        count => count,
    };
    let workers = Arc::new(Workers::start(&running.proxy, count).map_err(AppError::Start)?);
    let admin = start_admin(config, running)?;
    let reason = runtime.block_on(async {
        let control = control::Listener::bind(&config.agent.socket)?;
        for listener in listeners {
            listener.set_nonblocking(true).map_err(AppError::Listen)?;
            let listener = TcpListener::from_std(listener).map_err(AppError::Listen)?;
            tokio::spawn(accept(listener, Arc::clone(&workers)));
        }
        let parts: Arc<dyn control::Parts> = Arc::clone(running) as Arc<dyn control::Parts>;
        let identities = Arc::clone(&running.proxy.identities);
        tokio::spawn(control::serve(
            control,
            identities,
            parts,
            std::future::pending(),
        ));
        host::start_chores(config, running)?;
        tokio::spawn(Arc::clone(auto).keep_looking());
        if let Some(provisional) = provisional {
            provisional.stay();
        }
        tracing::info!(port = running.port, workers = count, "weir governs");
        let reason = stop_requested(running).await?;
        tracing::info!(reason, "weir stops");
        running.stop_capturing();
        drain(running, Duration::from_secs(config.agent.drain_seconds)).await;
        Ok::<_, AppError>(reason)
    })?;
    // Nothing is done by the page that could not be recorded any more.
    drop(admin);
    let journal = &running.proxy.journal;
    journal.event(&Event::AgentStopped {
        reason: reason.to_owned(),
    })?;
    journal.close();
    Ok(())
}

async fn stop_requested(running: &Running) -> Result<&'static str, AppError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(AppError::Start)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(AppError::Start)?;
    Ok(tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
        () = running.stop_asked.notified() => "control socket",
    })
}

/// Lets sessions finish until the deadline, then ends them and waits for their last records.
async fn drain(running: &Running, limit: Duration) {
    // Nobody is made to wait for a decision that cannot come any more.
    running.proxy.holds.stop();
    let sessions = &running.proxy.sessions;
    let wait = async |until: Instant| {
        while sessions.totals().live > 0 && Instant::now() < until {
            tokio::time::sleep(DRAIN_STEP).await;
        }
    };
    wait(Instant::now() + limit).await;
    let ended = sessions.end_where(End::Stopped, |_| true);
    if ended > 0 {
        tracing::info!(ended, "sessions that had not finished were ended");
        wait(Instant::now() + LAST_RECORDS).await;
    }
}

fn record_start(
    journal: &Journal,
    policy: &Policy,
    identities: &Identities,
    takeover: &Takeover,
) -> Result<(), AppError> {
    let snapshot = policy.current();
    journal.event(&Event::AgentStarted {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        resumed: takeover.resumed,
        policy: snapshot.digest.clone(),
        development_issuer: identities.development(),
    })?;
    host::record_policy(journal, &snapshot)?;
    if takeover.resumed {
        journal.event(&Event::Gap {
            from_ns: takeover.last_heartbeat_ns.unwrap_or_default(),
            until_ns: clock::now_ns(),
            passed: takeover.passed,
            denied: takeover.denied,
        })?;
    }
    for older in &takeover.older {
        host::record_older(journal, older)?;
    }
    Ok(())
}

fn open_state_dir(path: &Path) -> Result<PathBuf, AppError> {
    let failed = |source| AppError::StateDir {
        path: path.to_owned(),
        source,
    };
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(failed)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(failed)?;
    path.canonicalize().map_err(failed)
}

/// Each session takes two descriptors; the usual soft limit of 1,024 would end at 500 sessions.
fn raise_file_limit() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
    {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
}

const DRAIN_STEP: Duration = Duration::from_millis(20);
/// For sessions that were ended to record it.
const LAST_RECORDS: Duration = Duration::from_secs(2);
