//! Chores of a running agent: heartbeat, names, ungoverned connections, policy changes, the hooks' own health.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    task::spawn_blocking,
    time::{MissedTickBehavior, interval},
};

use super::{AppError, Running};
use crate::{
    audit::{Journal, JournalError, record::Event},
    capture::{Capture, EventStream, Older, Ungoverned},
    clock,
    config::Config,
    policy::{Change, Snapshot, Watcher},
};

/// Starts what goes on beside the sessions; must be called inside the main runtime.
pub(super) fn start_chores(config: &Config, running: &Arc<Running>) -> Result<(), AppError> {
    tokio::spawn(beat(Arc::clone(running)));
    tokio::spawn(check_hooks(Arc::clone(running)));
    tokio::spawn(note_counts(Arc::clone(running)));
    tokio::spawn(expire_holds(Arc::clone(running)));
    if let Some(settings) = &config.policy {
        let watcher = Watcher::new(Arc::clone(&running.policy), settings.clone());
        tokio::spawn(watch_policy(watcher, Arc::clone(running)));
    }
    tokio::spawn(look_around(config.clone(), Arc::clone(running)));
    let events = running.with_capture(Capture::events);
    if let Some(events) = events {
        let events = events?.stream().map_err(AppError::Start)?;
        tokio::spawn(record_events(events, Arc::clone(running)));
    }
    Ok(())
}

/// On the thread that accepts: when that hangs, the kernel must know.
async fn beat(running: Arc<Running>) {
    let mut tick = interval(HEARTBEAT);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        running.proxy.deadlines.fire(Instant::now());
        if let Some(Err(error)) = running.with_capture(Capture::beat) {
            tracing::error!(%error, "the heartbeat cannot be written: the kernel will refuse connections");
        }
    }
}

async fn check_hooks(running: Arc<Running>) {
    let mut tick = interval(SELF_CHECK);
    let mut broken_before = false;
    loop {
        tick.tick().await;
        let findings = running
            .with_capture(Capture::self_check)
            .unwrap_or_default();
        let broken: Vec<_> = findings.iter().filter(|finding| finding.is_bad()).collect();
        if !broken.is_empty() && !broken_before {
            let what = broken
                .iter()
                .map(|finding| {
                    format!(
                        "hook {} is not in its place: {}",
                        finding.name, finding.detail
                    )
                })
                .collect::<Vec<_>>()
                .join("; ");
            tracing::error!(what, "connections may go around weir: restart it");
            report(
                running
                    .proxy
                    .journal
                    .event(&Event::Incident { what })
                    .map(drop),
            );
        }
        broken_before = !broken.is_empty();
    }
}

/// Statements wait for approvals as long as the rules say, and by the rules in force.
async fn expire_holds(running: Arc<Running>) {
    let holds = &running.proxy.holds;
    let mut epoch = running.policy.epoch();
    let mut tick = interval(EXPIRE_HOLDS);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let now = running.policy.epoch();
        if std::mem::replace(&mut epoch, now) != now {
            holds.recheck();
        }
        holds.expire();
    }
}

/// The denominator of completeness has to be in the journal: the kernel forgets it with its maps.
async fn note_counts(running: Arc<Running>) {
    let mut tick = interval(NOTE_COUNTS);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        running.note_counts();
    }
}

async fn watch_policy(mut watcher: Watcher, running: Arc<Running>) {
    loop {
        match watcher.next().await {
            Change::Loaded(snapshot) => {
                running.set_policy_problem(None);
                report(record_policy(&running.proxy.journal, &snapshot));
            }
            Change::Expired(_) => {}
            Change::Refused(error) => running.set_policy_problem(Some(error.to_string())),
        }
    }
}

/// Names are resolved again, and connections around the agent looked for.
async fn look_around(config: Config, running: Arc<Running>) {
    let config = Arc::new(config);
    let mut tick = interval(LOOK_AROUND);
    loop {
        tick.tick().await;
        let (config, running) = (Arc::clone(&config), Arc::clone(&running));
        let looked = spawn_blocking(move || {
            if config.has_names() {
                let rules = config.rules(&running.proxy.endpoints);
                if let Some(Err(error)) =
                    running.with_capture(|capture| capture.replace_rules(&rules))
                {
                    tracing::error!(%error, "the endpoints' addresses cannot be renewed");
                }
            }
            forget_writers(&running);
            match running.with_capture(Capture::older) {
                Some(Ok(found)) => found
                    .iter()
                    .for_each(|older| report(record_older(&running.proxy.journal, older))),
                Some(Err(error)) => {
                    tracing::warn!(%error, "connections around weir cannot be listed");
                }
                None => {}
            }
        });
        if let Err(error) = looked.await {
            tracing::error!(%error, "looking around failed");
        }
    }
}

/// Of connections that became no session. What is live is listed after the notes that may go.
fn forget_writers(running: &Running) {
    if let Some(writers) = &running.proxy.writers {
        let before = clock::boot().saturating_sub(BEGUN_BY_THEN).as_nanos();
        let sessions = &running.proxy.sessions;
        writers.sweep(u64::try_from(before).unwrap_or(0), |cookie| {
            sessions.has_socket(cookie)
        });
    }
}

async fn record_events(mut events: EventStream, running: Arc<Running>) {
    while let Ok(connection) = events.next().await {
        let event = Event::Ungoverned {
            why: connection.why.as_str().to_owned(),
            origin: connection.origin,
        };
        report(running.proxy.journal.event(&event).map(drop));
    }
}

pub(super) fn record_policy(journal: &Journal, snapshot: &Snapshot) -> Result<(), JournalError> {
    journal
        .event(&Event::PolicyLoaded {
            digest: snapshot.digest.clone(),
            path: snapshot.path.display().to_string(),
            rules: snapshot.pack.rules().len(),
        })
        .map(drop)
}

pub(super) fn record_older(journal: &Journal, older: &Older) -> Result<(), JournalError> {
    let why = Ungoverned::Older.as_str().to_owned();
    tracing::warn!(
        pid = older.origin.tgid,
        destination = %older.origin.destination,
        fate = ?older.fate,
        at = ?clock::now(),
        "a connection goes around weir"
    );
    journal
        .event(&Event::Ungoverned {
            why,
            origin: older.origin.clone(),
        })
        .map(drop)
}

fn report(recorded: Result<(), JournalError>) {
    if let Err(error) = recorded {
        tracing::error!(%error, "cannot record an event");
    }
}

/// A quarter of what the kernel waits before it takes the agent for dead.
const HEARTBEAT: Duration = Duration::from_millis(250);
/// Unnoticed beside the time that people take.
const EXPIRE_HOLDS: Duration = Duration::from_millis(200);
const SELF_CHECK: Duration = Duration::from_secs(1);
/// What the agent's sudden death can take of the kernel's counts, where their maps go with it.
const NOTE_COUNTS: Duration = Duration::from_mins(1);
/// A connection that will become a session is one after this time: its startup may take a minute.
const BEGUN_BY_THEN: Duration = Duration::from_mins(5);
/// Shorter than most names' time to live.
const LOOK_AROUND: Duration = Duration::from_secs(15);
