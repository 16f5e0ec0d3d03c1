//! `auto_classify`: databases are looked at by themselves when they are first spoken to and once a day, and with `enforce`
//! what is sure holds from then on, over restarts too.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use weir_sql::ColumnName;

use super::{DiscoverError, Discoveries};
use crate::{
    clock, files,
    policy::{AutoClassify, Snapshot},
    telemetry,
};

/// Why what was found cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum AutoError {
    /// The file.
    #[error("cannot use {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Its content.
    #[error("{} does not hold classes: remove it to have databases looked at anew", path.display())]
    Content {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

/// Looks by itself, and what came of it.
pub struct Auto {
    of: Arc<Discoveries>,
    setting: AutoClassify,
    path: PathBuf,
    kept: Mutex<BTreeSet<Assigned>>,
    told: Box<dyn Fn(&Snapshot) + Send + Sync>,
}

/// A class that was found and holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Assigned {
    column: ColumnName,
    class: String,
}

impl Auto {
    /// Puts in force what earlier runs found; `told` hears of every policy that came of it.
    ///
    /// # Errors
    ///
    /// [`AutoError`]: without what was found before, columns would be shown that were masked.
    pub fn open(
        of: Arc<Discoveries>,
        setting: AutoClassify,
        state_dir: &Path,
        told: impl Fn(&Snapshot) + Send + Sync + 'static,
    ) -> Result<Arc<Self>, AutoError> {
        let path = state_dir.join("classes.json");
        let kept = match setting {
            AutoClassify::Enforce => read(&path)?,
            AutoClassify::Off | AutoClassify::Propose => BTreeSet::new(),
        };
        let auto = Arc::new(Self {
            of,
            setting,
            path,
            kept: Mutex::new(kept),
            told: Box::new(told),
        });
        auto.put_in_force();
        Ok(auto)
    }

    /// Looks at databases nobody looked at today; never ends.
    pub async fn keep_looking(self: Arc<Self>) {
        if self.setting == AutoClassify::Off {
            return;
        }
        loop {
            tokio::time::sleep(PERIOD).await;
            self.look();
        }
    }

    /// Takes in what looks found, somebody's own among them.
    fn look(self: &Arc<Self>) {
        self.take_in();
        let now = clock::now().as_secs();
        let mut places = self.of.catalogs.places();
        let latest = self.of.lock();
        places.retain(|place| {
            latest
                .latest
                .get(place)
                .is_none_or(|found| now.saturating_sub(found.at_s) > LASTS.as_secs())
        });
        drop(latest);
        if places.is_empty() {
            return;
        }
        let this = Arc::clone(self);
        match self.of.look_at(places, SAMPLE, move || this.take_in()) {
            Ok(_) | Err(DiscoverError::Busy | DiscoverError::NoDatabase) => {}
            Err(error) => tracing::error!(
                error = telemetry::chain(&error),
                "cannot look for sensitive columns"
            ),
        }
    }

    fn take_in(&self) {
        let found = self.of.latest();
        let proposed = found.iter().flat_map(|found| &found.proposals);
        let unknown: Vec<_> = proposed.filter(|proposed| !proposed.is_known()).collect();
        if self.setting != AutoClassify::Enforce {
            if !unknown.is_empty() {
                tracing::info!(
                    columns = unknown.len(),
                    "columns seem to hold sensitive data that no class names: see weir discover"
                );
            }
            return;
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let before = kept.len();
        kept.extend(
            unknown
                .iter()
                .filter(|proposed| proposed.is_sure())
                .map(|proposed| Assigned {
                    column: proposed.column.clone(),
                    class: proposed.proposal.class.clone(),
                }),
        );
        if kept.len() == before {
            return;
        }
        if let Err(error) = write(&self.path, &kept) {
            tracing::error!(
                error = telemetry::chain(&error),
                "classes that were found hold until the agent ends only"
            );
        }
        drop(kept);
        self.put_in_force();
    }

    fn put_in_force(&self) {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.is_empty() {
            return;
        }
        let assigned = kept
            .iter()
            .map(|assigned| (assigned.column.clone(), assigned.class.clone()))
            .collect();
        if let Some(snapshot) = self.of.policy.assign(assigned) {
            tracing::warn!(
                columns = kept.len(),
                digest = snapshot.digest,
                "classes that were found hold beside classes.yaml"
            );
            (self.told)(&snapshot);
        }
    }
}

fn read(path: &Path) -> Result<BTreeSet<Assigned>, AutoError> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        Err(source) => {
            return Err(AutoError::File {
                path: path.to_owned(),
                source,
            });
        }
    };
    serde_json::from_slice(&text).map_err(|source| AutoError::Content {
        path: path.to_owned(),
        source,
    })
}

fn write(path: &Path, kept: &BTreeSet<Assigned>) -> Result<(), AutoError> {
    let failed = |source| AutoError::File {
        path: path.to_owned(),
        source,
    };
    let text = serde_json::to_vec_pretty(kept).map_err(|error| failed(error.into()))?;
    files::replace(path, files::PUBLIC, &text).map_err(failed)
}

const PERIOD: Duration = Duration::from_secs(15);
/// A look holds for a day.
const LASTS: Duration = Duration::from_hours(24);
const SAMPLE: u32 = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_is_read_back_and_a_broken_file_is_an_error() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("classes.json");
        assert!(read(&path).expect("nothing yet").is_empty());
        let column = ColumnName {
            schema: "app".to_owned(),
            relation: "t".to_owned(),
            column: "ssn".to_owned(),
        };
        let kept = BTreeSet::from([Assigned {
            column,
            class: "pii.ssn".to_owned(),
        }]);
        write(&path, &kept).expect("written");
        assert_eq!(read(&path).expect("read"), kept);
        fs::write(&path, "[{").expect("written");
        assert!(matches!(read(&path), Err(AutoError::Content { .. })));
    }
}
