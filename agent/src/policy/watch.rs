//! Notices that the pack's folder changed, and puts the new pack in force, or keeps the old one and says so.

use std::{
    fs, io,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::time::{MissedTickBehavior, interval};
use weir_policy::PackError;

use crate::clock;

use super::{Policy, Settings, Snapshot, load};

/// What happened to the policy.
#[derive(Debug)]
pub enum Change {
    /// Another pack is in force.
    Loaded(Arc<Snapshot>),
    /// The same pack, but an exemption in it has ended.
    Expired(Arc<Snapshot>),
    /// The folder changed, but what is in it now is refused: the old pack stays in force.
    Refused(PackError),
}

/// Looks at the folder every second. Polling also sees what the kernel's notifications do not: network file systems
/// and folders that are replaced as a whole.
#[derive(Debug)]
pub struct Watcher {
    policy: Arc<Policy>,
    settings: Settings,
    /// What the folder looked like when it was last loaded or refused.
    settled: Option<Stamp>,
    /// What it looked like a moment ago: a folder that is still being written is left alone.
    last: Option<Stamp>,
    expiry: Option<Duration>,
}

/// What tells one state of the folder from another without reading the files.
type Stamp = Vec<(String, u64, Option<SystemTime>)>;

impl Watcher {
    /// Watches for changes since `policy` was loaded by these settings.
    #[must_use]
    pub fn new(policy: Arc<Policy>, settings: Settings) -> Self {
        let expiry = policy.current().pack.next_expiry(clock::now());
        // The first look loads once more: the folder may have changed between the start and now.
        Self {
            policy,
            settings,
            settled: None,
            last: None,
            expiry,
        }
    }

    /// Waits for the next change. Cancelling it loses nothing: a change that was not reported is in force, and the
    /// next call goes on from there.
    pub async fn next(&mut self) -> Change {
        let mut ticks = interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Some(change) = self.look(clock::now()) {
                return change;
            }
        }
    }

    /// Looks once; `now` since the epoch.
    pub fn look(&mut self, now: Duration) -> Option<Change> {
        self.reload(now).or_else(|| self.expire(now))
    }

    fn reload(&mut self, now: Duration) -> Option<Change> {
        let stamp = stamp(&self.settings.dir).unwrap_or_default();
        let steady = self.last.as_ref() == Some(&stamp);
        self.last = Some(stamp.clone());
        if !steady || self.settled.as_ref() == Some(&stamp) {
            return None;
        }
        self.settled = Some(stamp);
        match load::load(&self.settings) {
            Ok(loaded) if self.policy.is_loaded(&loaded.digest) => None,
            Ok(loaded) => {
                let snapshot = self.policy.replace(loaded);
                self.expiry = snapshot.pack.next_expiry(now);
                tracing::info!(
                    digest = snapshot.digest,
                    rules = snapshot.pack.rules().len(),
                    "policy loaded"
                );
                Some(Change::Loaded(snapshot))
            }
            Err(error) => {
                let kept = self.policy.current();
                tracing::error!(%error, digest = kept.digest, "policy refused; the old one stays in force");
                Some(Change::Refused(error))
            }
        }
    }

    fn expire(&mut self, now: Duration) -> Option<Change> {
        if self.expiry? > now {
            return None;
        }
        let snapshot = self.policy.renew();
        self.expiry = snapshot.pack.next_expiry(now);
        for finding in snapshot.pack.expired(now) {
            tracing::warn!(%finding, "an exemption has expired");
        }
        Some(Change::Expired(snapshot))
    }
}

fn stamp(folder: &Path) -> io::Result<Stamp> {
    let mut stamp = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        // Through links: that is how mounted configuration is swapped.
        let Ok(file) = fs::metadata(entry.path()) else {
            continue;
        };
        stamp.push((
            entry.file_name().to_string_lossy().into_owned(),
            file.len(),
            file.modified().ok(),
        ));
    }
    stamp.sort_unstable();
    Ok(stamp)
}

/// Short beside the time it takes to edit a file, long beside the time a look takes (some tens of microseconds).
const PERIOD: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    const EXEMPT: &str = "version: 1\nrules: [{ id: a, match: { kind: [drop] }, exempt: [{ match: { database: x }, reason: y, expires: 1970-01-02 }], effect: { deny: x } }]\n";

    #[test]
    fn a_change_is_put_in_force_once_it_is_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let (policy, mut watcher) = watched(folder.path(), "version: 1\nrules: []\n");
        assert!(look(&mut watcher, 3).is_empty());
        write(folder.path(), EXEMPT);
        assert!(
            watcher.look(Duration::ZERO).is_none(),
            "it may still be written"
        );
        assert!(matches!(look(&mut watcher, 3)[..], [Change::Loaded(_)]));
        assert_eq!(
            (policy.epoch(), policy.current().pack.rules().len()),
            (2, 1)
        );
    }

    #[test]
    fn a_refused_pack_leaves_the_old_one_and_is_reported_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let (policy, mut watcher) = watched(folder.path(), "version: 1\nrules: []\n");
        look(&mut watcher, 2);
        let before = policy.current().digest.clone();
        write(folder.path(), "version: 1\nrulez: []\n");
        assert!(matches!(
            look(&mut watcher, 4)[..],
            [Change::Refused(PackError::Refused(_))]
        ));
        std::fs::remove_dir_all(folder.path()).expect("removed");
        assert!(matches!(
            look(&mut watcher, 4)[..],
            [Change::Refused(PackError::Read { .. })]
        ));
        assert_eq!(
            (policy.current().digest.as_str(), policy.epoch()),
            (before.as_str(), 1)
        );
    }

    #[test]
    fn the_end_of_an_exemption_voids_cached_decisions() {
        let folder = tempfile::tempdir().expect("a folder");
        write(folder.path(), EXEMPT);
        let (policy, mut watcher) = watched(folder.path(), EXEMPT);
        watcher.expiry = Some(Duration::from_hours(24));
        assert!(watcher.look(Duration::from_secs(1)).is_none());
        assert!(matches!(
            watcher.look(Duration::from_hours(24)),
            Some(Change::Expired(_))
        ));
        assert_eq!(policy.epoch(), 2);
        assert!(watcher.look(Duration::from_hours(25)).is_none());
    }

    fn watched(folder: &Path, rules: &str) -> (Arc<Policy>, Watcher) {
        write(folder, rules);
        let settings = Settings {
            dir: folder.to_owned(),
            ..Settings::default()
        };
        let policy = Arc::new(Policy::new(load::load(&settings).expect("a pack")));
        (Arc::clone(&policy), Watcher::new(policy, settings))
    }

    fn write(folder: &Path, rules: &str) {
        std::fs::write(folder.join("rules.yaml"), rules).expect("written");
    }

    fn look(watcher: &mut Watcher, times: usize) -> Vec<Change> {
        (0..times)
            .filter_map(|_| watcher.look(Duration::ZERO))
            .collect()
    }
}
