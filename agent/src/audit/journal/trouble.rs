//! A disk that is short: since when, and whether requests may go on for a while.

use std::time::{Duration, Instant};

use super::{JournalError, segment::Segment};
use crate::clock;

/// What the journal does about a disk that is short.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    /// How long requests go on; `None` not at all.
    pub(super) allow_for: Option<Duration>,
    /// Made while there was room, for the time when there is none.
    pub(super) emergency: Option<Segment>,
    /// The present trouble, and since when.
    present: Option<(Instant, u64, JournalError)>,
}

impl Trouble {
    /// Notes that something cannot be had. The first time counts.
    pub(super) fn begin(&mut self, error: JournalError) {
        if self.present.is_some() {
            return;
        }
        tracing::error!(
            error = &error as &dyn std::error::Error,
            allow_seconds = self.allow_for.map(|time| time.as_secs()),
            "the audit journal's disk is short"
        );
        self.present = Some((Instant::now(), clock::now_ns(), error));
    }

    /// Notes that there is room again.
    pub(super) fn end(&mut self) {
        if self.present.take().is_some() {
            tracing::info!("the audit journal's disk has room again");
        }
    }

    pub(super) fn is_present(&self) -> bool {
        self.present.is_some()
    }

    /// Why a request may not be recorded now; `None` when it may.
    pub(super) fn refusal(&self) -> Option<&JournalError> {
        let (since, _, error) = self.present.as_ref()?;
        match self.allow_for {
            Some(time) if since.elapsed() < time => None,
            _ => Some(error),
        }
    }

    /// Until when requests go on, nanoseconds since the epoch.
    pub(super) fn allowed_until_ns(&self) -> Option<u64> {
        let (_, since_ns, _) = self.present.as_ref()?;
        let time = u64::try_from(self.allow_for?.as_nanos()).unwrap_or(u64::MAX);
        self.refusal()
            .is_none()
            .then(|| since_ns.saturating_add(time))
    }

    /// A segment for when none can be made; the trouble begins with it.
    pub(super) fn rescue(&mut self, error: JournalError) -> Result<Segment, JournalError> {
        self.begin(error.clone());
        if self.refusal().is_some() {
            return Err(error);
        }
        self.emergency.take().ok_or(error)
    }
}
