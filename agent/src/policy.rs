//! The policy in force: an immutable snapshot, swapped whole.
//!
//! `load` turns a folder into a pack, `watch` notices when it changed. What a decision is, is weir-policy's to say.

pub mod load;
pub mod watch;

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use aws_lc_rs::digest;
use serde::Deserialize;
use weir_policy::{Mode, Pack};
use weir_sql::ColumnName;

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
    /// What becomes of classes that discovery finds beside those of `classes.yaml`.
    pub auto_classify: AutoClassify,
}

/// What becomes of classes that discovery finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AutoClassify {
    /// Nothing is looked for unless somebody asks.
    #[default]
    Off,
    /// Databases are looked at by themselves; what is found is said.
    Propose,
    /// What is found for sure holds as if `classes.yaml` said it.
    Enforce,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            dir: PathBuf::from("/etc/weir/policy"),
            mode: Mode::Enforce,
            auto_classify: AutoClassify::Off,
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
    /// What the files are, and what was found at run time beside them.
    base: Mutex<Base>,
}

#[derive(Debug)]
struct Base {
    digest: String,
    pack: Arc<Pack>,
    assigned: Vec<(ColumnName, String)>,
}

impl Policy {
    /// Puts a loaded pack in force.
    #[must_use]
    pub fn new(loaded: Loaded) -> Self {
        let snapshot = loaded.into_snapshot(FIRST_EPOCH);
        Self {
            base: Mutex::new(Base {
                digest: snapshot.digest.clone(),
                pack: Arc::clone(&snapshot.pack),
                assigned: Vec::new(),
            }),
            current: RwLock::new(Arc::new(snapshot)),
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
        let mut base = self.base();
        let snapshot = loaded.into_snapshot(FIRST_EPOCH);
        base.digest.clone_from(&snapshot.digest);
        base.pack = Arc::clone(&snapshot.pack);
        self.swap(|epoch, _| base.in_force(epoch, snapshot.path))
    }

    /// Gives columns classes beside those that the pack's files give, also to packs to come. `None` when they have them
    /// already.
    pub fn assign(&self, mut assigned: Vec<(ColumnName, String)>) -> Option<Arc<Snapshot>> {
        assigned.sort();
        assigned.dedup();
        let mut base = self.base();
        if base.assigned == assigned {
            return None;
        }
        base.assigned = assigned;
        Some(self.swap(|epoch, old| base.in_force(epoch, old.path.clone())))
    }

    /// Whether the pack in force is the one with this digest, whatever was assigned beside it.
    fn is_loaded(&self, digest: &str) -> bool {
        self.base().digest == digest
    }

    fn base(&self) -> MutexGuard<'_, Base> {
        self.base.lock().unwrap_or_else(PoisonError::into_inner)
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

impl Base {
    /// The digest covers what was assigned too: what decided can be told from records.
    fn in_force(&self, epoch: u64, path: PathBuf) -> Snapshot {
        if self.assigned.is_empty() {
            return Snapshot {
                pack: Arc::clone(&self.pack),
                digest: self.digest.clone(),
                epoch,
                path,
            };
        }
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(self.digest.as_bytes());
        for (column, class) in &self.assigned {
            for part in [&column.schema, &column.relation, &column.column, class] {
                context.update(&(part.len() as u64).to_be_bytes());
                context.update(part.as_bytes());
            }
        }
        Snapshot {
            pack: Arc::new(self.pack.with_assigned(&self.assigned)),
            digest: hex::encode(context.finish()),
            epoch,
            path,
        }
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
    fn what_is_assigned_changes_the_digest_and_outlives_a_reload() {
        let policy = Policy::new(load::permit_all(Mode::Enforce));
        let before = policy.current().digest.clone();
        let column = ColumnName {
            schema: "app".to_owned(),
            relation: "t".to_owned(),
            column: "ssn".to_owned(),
        };
        let assigned = vec![(column, "pii.ssn".to_owned())];
        let snapshot = policy.assign(assigned.clone()).expect("new classes");
        assert_ne!(snapshot.digest, before);
        assert!(policy.assign(assigned).is_none(), "they are known");
        assert!(policy.is_loaded(&before));
        let reloaded = policy.replace(load::permit_all(Mode::Enforce));
        assert_eq!(reloaded.digest, snapshot.digest);
        let without = policy.assign(Vec::new()).expect("other classes");
        assert_eq!(without.digest, before);
    }

    #[test]
    fn settings_name_a_folder_and_a_mode_and_nothing_else() {
        let settings: Settings =
            toml::from_str("dir = \"policies/baseline\"\nmode = \"observe\"").expect("settings");
        assert_eq!(settings.mode, Mode::Observe);
        assert!(toml::from_str::<Settings>("folder = \"x\"").is_err());
    }
}
