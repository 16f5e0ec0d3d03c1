//! The policy in force: an immutable snapshot, swapped whole.
//!
//! `load` turns a folder into a pack, `watch` notices when it changed. What a decision is, is weir-policy's to say.

pub mod load;
pub mod watch;

use std::{
    path::PathBuf,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use serde::Deserialize;
use weir_policy::{Mode, Pack};

pub use load::Loaded;
pub use watch::{Change, Watcher};

/// What the operator says about policy.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The pack's folder.
    pub dir: PathBuf,
    /// With `observe` nothing is refused, whatever the pack says; what would have been is recorded.
    pub mode: Mode,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            dir: PathBuf::from("/etc/weir/policy"),
            mode: Mode::Enforce,
        }
    }
}

/// A pack in force, and since which change.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// What decides.
    pub pack: Arc<Pack>,
    /// SHA-256 over the pack's files and the mode, hex: what records refer to.
    pub digest: String,
    /// Grows with every change; a decision cached under another epoch is void.
    pub epoch: u64,
    /// Where the pack comes from.
    pub path: PathBuf,
}

/// The door to the current snapshot. Readers never wait for a load: it happens before the swap.
#[derive(Debug)]
pub struct Policy {
    current: RwLock<Arc<Snapshot>>,
    epoch: AtomicU64,
}

impl Policy {
    /// Puts a loaded pack in force.
    #[must_use]
    pub fn new(loaded: Loaded) -> Self {
        Self {
            current: RwLock::new(Arc::new(loaded.into_snapshot(FIRST_EPOCH))),
            epoch: AtomicU64::new(FIRST_EPOCH),
        }
    }

    /// The snapshot in force. A session may keep it as long as [`Policy::epoch`] says the same.
    #[must_use]
    pub fn current(&self) -> Arc<Snapshot> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The epoch in force: one load, for use before every decision.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Puts another pack in force, for every statement from now on.
    pub fn replace(&self, loaded: Loaded) -> Arc<Snapshot> {
        self.swap(|epoch, _| loaded.into_snapshot(epoch))
    }

    /// Voids cached decisions of the pack in force: something in it depends on the time.
    fn renew(&self) -> Arc<Snapshot> {
        self.swap(|epoch, old| Snapshot {
            epoch,
            ..old.clone()
        })
    }

    fn swap(&self, next: impl FnOnce(u64, &Snapshot) -> Snapshot) -> Arc<Snapshot> {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let snapshot = Arc::new(next(current.epoch + 1, &current));
        *current = Arc::clone(&snapshot);
        self.epoch.store(snapshot.epoch, Ordering::Release);
        snapshot
    }
}

const FIRST_EPOCH: u64 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replacement_is_seen_with_its_epoch_and_a_kept_snapshot_stays() {
        let policy = Policy::new(load::permit_all(Mode::Enforce));
        let kept = policy.current();
        assert_eq!((kept.epoch, policy.epoch()), (1, 1));
        let new = policy.replace(load::permit_all(Mode::Observe));
        assert_eq!(
            (new.epoch, policy.epoch(), policy.current().epoch),
            (2, 2, 2)
        );
        assert_eq!(kept.epoch, 1);
        assert_ne!(kept.digest, new.digest, "the mode is part of what decides");
        let renewed = policy.renew();
        assert_eq!((renewed.epoch, &renewed.digest), (3, &new.digest));
    }

    #[test]
    fn settings_name_a_folder_and_a_mode_and_nothing_else() {
        let settings: Settings =
            toml::from_str("dir = \"policies/baseline\"\nmode = \"observe\"").expect("settings");
        assert_eq!(settings.mode, Mode::Observe);
        assert!(toml::from_str::<Settings>("folder = \"x\"").is_err());
    }
}
