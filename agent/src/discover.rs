//! Which columns hold what: databases are looked at over the agent's own connections, and classes proposed with evidence.
//!
//! A look is a job on a thread of its own: reading samples and scanning them must not keep sessions waiting. What was found
//! is kept until the next look. Values never leave the job: proposals hold counts.

mod auto;
mod sample;

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use serde::{Deserialize, Serialize};
use weir_detect::{
    Scanner,
    columns::{Extent, Proposal},
};
use weir_sql::ColumnName;

use crate::{
    catalog::{Catalogs, Place},
    clock,
    policy::Policy,
    telemetry,
};

pub use auto::{Auto, AutoError};

/// What is to be looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Databases of this endpoint only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Databases of this name only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    /// Rows to look at in each table.
    pub sample: u32,
}

impl Plan {
    fn wants(&self, place: &Place) -> bool {
        let is = |wanted: &Option<String>, name: &str| {
            wanted.as_ref().is_none_or(|wanted| wanted == name)
        };
        is(&self.endpoint, &place.endpoint) && is(&self.database, &place.database)
    }
}

/// What a look found in one database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// The endpoint's name.
    pub endpoint: String,
    /// The server.
    pub address: String,
    /// Which.
    pub database: String,
    /// When it was looked at, seconds since the epoch.
    pub at_s: u64,
    /// Relations and columns that were looked at.
    pub relations: usize,
    /// Their columns.
    pub columns: usize,
    /// Relations whose values could not be read: only their names and types speak.
    pub unread: Vec<Unread>,
    /// Why nothing could be looked at.
    pub problem: Option<String>,
    /// Columns with a class, surest first.
    pub proposals: Vec<Proposed>,
}

/// A relation whose values could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unread {
    /// `schema.relation`.
    pub relation: String,
    /// The server's words.
    pub why: String,
}

/// A class proposed for a column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposed {
    /// Which column.
    pub column: ColumnName,
    /// Its classes in the policy in force.
    pub known: Vec<String>,
    /// What is proposed, and why.
    pub proposal: Proposal,
}

impl Proposed {
    /// Whether the policy's classes say it already, or something more particular.
    #[must_use]
    pub fn is_known(&self) -> bool {
        let class = self.proposal.class.as_str();
        let is_part = |known: &str| {
            known
                .strip_prefix(class)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        self.known.iter().any(|known| is_part(known))
    }

    /// Whether it may hold without anybody's approval.
    #[must_use]
    pub fn is_sure(&self) -> bool {
        self.proposal.extent == Extent::Whole && self.proposal.confidence >= SURE_PERCENT
    }
}

/// How a job stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Whether it is over.
    pub done: bool,
    /// Databases to look at.
    pub databases: usize,
    /// What was found so far.
    pub found: Vec<Found>,
}

/// All jobs, and what the last look at each database found.
#[derive(Debug)]
pub struct Discoveries {
    catalogs: Arc<Catalogs>,
    policy: Arc<Policy>,
    scanner: Scanner,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last_job: u64,
    jobs: HashMap<u64, Progress>,
    latest: HashMap<Place, Found>,
}

/// Why a look does not begin.
#[derive(Debug, thiserror::Error)]
pub enum DiscoverError {
    /// No database.
    #[error(
        "no session has spoken to such a database since the agent began: connect to it once through weir, then ask again"
    )]
    NoDatabase,
    /// One at a time: a look costs the server something.
    #[error("another look is under way: wait for its end")]
    Busy,
    /// No thread.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
}

impl Discoveries {
    /// For the databases that sessions speak to.
    #[must_use]
    pub fn new(catalogs: Arc<Catalogs>, policy: Arc<Policy>) -> Arc<Self> {
        Arc::new(Self {
            catalogs,
            policy,
            scanner: Scanner::new(),
            state: Mutex::default(),
        })
    }

    /// Begins a look; the number is for [`Self::progress`].
    ///
    /// # Errors
    ///
    /// [`DiscoverError`].
    pub fn begin(self: &Arc<Self>, plan: &Plan) -> Result<u64, DiscoverError> {
        let mut places = self.catalogs.places();
        places.retain(|place| plan.wants(place));
        if places.is_empty() {
            return Err(DiscoverError::NoDatabase);
        }
        self.look_at(places, plan.sample.clamp(1, MAX_SAMPLE), || ())
    }

    /// How a job stands; `None` when there is no such job.
    #[must_use]
    pub fn progress(&self, job: u64) -> Option<Progress> {
        self.lock().jobs.get(&job).cloned()
    }

    /// What the last looks found.
    #[must_use]
    pub fn latest(&self) -> Vec<Found> {
        let mut found: Vec<_> = self.lock().latest.values().cloned().collect();
        found.sort_by(|a, b| (&a.endpoint, &a.database).cmp(&(&b.endpoint, &b.database)));
        found
    }

    fn look_at(
        self: &Arc<Self>,
        places: Vec<Place>,
        sample: u32,
        then: impl FnOnce() + Send + 'static,
    ) -> Result<u64, DiscoverError> {
        let mut state = self.lock();
        if state.jobs.values().any(|job| !job.done) {
            return Err(DiscoverError::Busy);
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(DiscoverError::Thread)?;
        let job = state.last_job + 1;
        let this = Arc::clone(self);
        let count = places.len();
        thread::Builder::new()
            .name("weir-discover".to_owned())
            .spawn(move || {
                let _ended = Ended { of: &this, job };
                for place in places {
                    let found = runtime.block_on(this.look(&place, sample));
                    this.keep(job, place, found);
                }
                then();
            })
            .map_err(DiscoverError::Thread)?;
        state.last_job = job;
        // Whoever asked has read them by the time another job begins, or never will.
        state.jobs.clear();
        state.jobs.insert(
            job,
            Progress {
                done: false,
                databases: count,
                found: Vec::new(),
            },
        );
        Ok(job)
    }

    async fn look(&self, place: &Place, sample: u32) -> Found {
        let mut found = Found {
            endpoint: place.endpoint.clone(),
            address: place.address.to_string(),
            database: place.database.clone(),
            at_s: clock::now().as_secs(),
            relations: 0,
            columns: 0,
            unread: Vec::new(),
            problem: None,
            proposals: Vec::new(),
        };
        if let Err(error) = sample::read(self, place, sample, &mut found).await {
            found.problem = Some(telemetry::chain(&error));
        }
        found
            .proposals
            .sort_by_key(|proposed| std::cmp::Reverse(proposed.proposal.confidence));
        found.proposals.truncate(MAX_PROPOSALS);
        tracing::info!(
            place = %place,
            columns = found.columns,
            proposals = found.proposals.len(),
            problem = found.problem,
            "looked for sensitive columns"
        );
        found
    }

    fn keep(&self, job: u64, place: Place, found: Found) {
        let mut state = self.lock();
        if let Some(progress) = state.jobs.get_mut(&job) {
            progress.found.push(found.clone());
        }
        state.latest.insert(place, found);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Marks a job as done however its thread ends.
struct Ended<'a> {
    of: &'a Discoveries,
    job: u64,
}

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        if let Some(progress) = self.of.lock().jobs.get_mut(&self.job) {
            progress.done = true;
        }
    }
}

/// From here on a class may hold without approval: the name or the values are unmistakable, and nothing speaks against it.
const SURE_PERCENT: u8 = 85;
/// Values of a column beyond these add nothing to a vote.
const MAX_SAMPLE: u32 = 10_000;
/// An answer has to fit into a line of the control socket.
const MAX_PROPOSALS: usize = 4_000;

#[cfg(test)]
mod tests {
    use super::*;
    use weir_detect::columns::Evidence;

    fn proposed(class: &str, known: &[&str]) -> Proposed {
        Proposed {
            column: ColumnName {
                schema: "app".to_owned(),
                relation: "t".to_owned(),
                column: "c".to_owned(),
            },
            known: known.iter().map(|class| (*class).to_owned()).collect(),
            proposal: Proposal {
                class: class.to_owned(),
                extent: Extent::Whole,
                confidence: 90,
                also: Vec::new(),
                evidence: Evidence::default(),
            },
        }
    }

    #[test]
    fn a_class_is_known_when_the_policy_says_it_or_something_more_particular() {
        assert!(proposed("pii.email", &["pii", "pii.email"]).is_known());
        assert!(proposed("pii.name", &["pii.name.last"]).is_known());
        assert!(!proposed("pii.email", &["pii"]).is_known());
        assert!(!proposed("pii.email", &["pii.emails"]).is_known());
    }

    #[test]
    fn what_is_inside_a_text_never_holds_by_itself() {
        let mut inside = proposed("pii.email", &[]);
        assert!(inside.is_sure());
        inside.proposal.extent = Extent::Within;
        assert!(!inside.is_sure());
    }

    #[test]
    fn a_plan_without_names_wants_every_database() {
        let place = Place {
            endpoint: "shop".to_owned(),
            address: ([127, 0, 0, 1], 5432).into(),
            database: "app".to_owned(),
        };
        let plan = |database: Option<&str>| Plan {
            endpoint: None,
            database: database.map(str::to_owned),
            sample: 10,
        };
        assert!(plan(None).wants(&place) && plan(Some("app")).wants(&place));
        assert!(!plan(Some("other")).wants(&place));
    }
}
