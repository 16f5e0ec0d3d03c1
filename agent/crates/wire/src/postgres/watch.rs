//! What an answer is held against where something is hidden from the client or limited; nothing of it exists otherwise.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicU64, Ordering},
};

use super::{Limit, Limits, cells::RowPlan};

/// A prepared statement.
#[derive(Debug, Clone)]
pub struct Prepared<S> {
    /// What was decided about its text.
    pub statement: S,
    /// What its description showed; present where it is watched.
    pub plan: Option<SharedPlan>,
}

/// Known once the server has described the statement, which may be after its first rows were asked for.
pub type SharedPlan = Arc<OnceLock<RowPlan>>;

/// A portal: its statement and the hash of its values.
#[derive(Debug, Clone)]
pub struct Bound<S> {
    /// The statement.
    pub statement: S,
    /// Keyed hash of the values.
    pub parameters: u64,
    /// Present where it is watched.
    pub watched: Option<Box<WatchedPortal>>,
}

/// What is kept of a portal that is watched.
#[derive(Debug, Clone)]
pub struct WatchedPortal {
    /// Its statement's.
    pub plan: SharedPlan,
    /// As bound.
    pub formats: Formats,
    /// What all its `Execute`s have let pass.
    pub tally: Arc<Tally>,
}

/// Rows and bytes that have passed already.
#[derive(Debug, Default)]
pub struct Tally {
    rows: AtomicU64,
    bytes: AtomicU64,
}

impl Tally {
    /// Adds to it.
    pub fn add(&self, rows: u64, bytes: u64) {
        self.rows.fetch_add(rows, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn read(&self) -> (u64, u64) {
        (
            self.rows.load(Ordering::Relaxed),
            self.bytes.load(Ordering::Relaxed),
        )
    }
}

/// In which formats a portal's columns come.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Formats {
    /// As the description says.
    #[default]
    Described,
    /// All in this one.
    All(i16),
    /// Each in its own.
    Each(Arc<[i16]>),
    /// Not read: the values ahead of them were too long to be held.
    Unknown,
}

impl Formats {
    /// Reads what follows the names in a `Bind`; `whole` says that it is all there.
    #[must_use]
    pub fn of_bind(rest: &[u8], whole: bool) -> Self {
        if whole { read_formats(rest) } else { None }.unwrap_or(Self::Unknown)
    }

    /// One column's format: 0 is text, 1 binary; `None` when nobody knows.
    #[must_use]
    pub fn of(&self, index: usize, described: i16) -> Option<i16> {
        match self {
            Self::Described => Some(described),
            Self::All(format) => Some(*format),
            Self::Each(formats) => formats.get(index).copied(),
            Self::Unknown => None,
        }
    }
}

fn read_formats(rest: &[u8]) -> Option<Formats> {
    let (count, mut rest) = take_i16(rest)?;
    rest = rest.get(usize::try_from(count).ok()? * 2..)?;
    let (count, mut rest) = take_i16(rest)?;
    for _ in 0..count {
        let length = i32::from_be_bytes(*rest.first_chunk()?);
        // -1 is NULL and has no bytes.
        rest = rest.get(4 + usize::try_from(length).unwrap_or(0)..)?;
    }
    let (count, mut rest) = take_i16(rest)?;
    let mut formats = Vec::new();
    for _ in 0..count {
        let (format, after) = take_i16(rest)?;
        formats.push(format);
        rest = after;
    }
    Some(match formats.as_slice() {
        [] => Formats::All(0),
        [format] => Formats::All(*format),
        _ => Formats::Each(formats.into()),
    })
}

fn take_i16(bytes: &[u8]) -> Option<(i16, &[u8])> {
    Some((i16::from_be_bytes(*bytes.first_chunk()?), bytes.get(2..)?))
}

/// One answer in flight that is watched.
#[derive(Debug)]
pub struct Watch<S> {
    /// What was decided.
    pub statement: S,
    /// The columns to mask, as soon as they are known.
    pub plan: SharedPlan,
    /// As bound.
    pub formats: Formats,
    /// What may pass of all that its portal gives; `None` when nobody counts.
    pub limits: Option<Limits>,
    /// What more may pass of what several requests share, since `reported`; `None` until it was asked for.
    pub allowance: Option<Limits>,
    /// What a portal has let pass before.
    pub tally: Option<Arc<Tally>>,
    /// The limit that was reached: nothing more of the answer passes.
    pub stopped: Option<Limit>,
    /// Whether the client was told so.
    pub told: bool,
    /// Rows and bytes that the judge knows of.
    pub reported: (u64, u64),
}

impl<S> Watch<S> {
    /// Watches what answers a statement itself: a `Query`, a `Parse`.
    pub fn new(statement: S) -> Self {
        Self::with_plan(statement, SharedPlan::default())
    }

    /// Watches what concerns a prepared statement.
    pub fn with_plan(statement: S, plan: SharedPlan) -> Self {
        Self {
            statement,
            plan,
            formats: Formats::Described,
            limits: None,
            allowance: None,
            tally: None,
            stopped: None,
            told: false,
            reported: (0, 0),
        }
    }

    /// Watches what concerns a portal.
    pub fn portal(statement: S, portal: &WatchedPortal) -> Self {
        Self {
            formats: portal.formats.clone(),
            tally: Some(Arc::clone(&portal.tally)),
            ..Self::with_plan(statement, Arc::clone(&portal.plan))
        }
    }

    /// Whether rows are to be changed.
    #[must_use]
    pub fn edits_rows(&self) -> bool {
        self.plan.get().is_some_and(|plan| !plan.is_empty())
    }

    /// How much more may pass after this request has let so much pass.
    #[must_use]
    pub fn left(&self, rows: u64, bytes: u64) -> Limits {
        let Some(limits) = self.limits else {
            return Limits::NONE;
        };
        let (rows_before, bytes_before) = self.tally.as_ref().map_or((0, 0), |tally| tally.read());
        let own = limits.minus(rows + rows_before, bytes + bytes_before);
        let shared = self.allowance.unwrap_or(Limits::NONE);
        own.and(shared.minus(rows - self.reported.0, bytes - self.reported.1))
    }

    /// Whether the judge is to be asked before more passes.
    #[must_use]
    pub fn report_is_due(&self, bytes: u64) -> bool {
        self.limits.is_some()
            && (self.allowance.is_none() || bytes - self.reported.1 >= REPORT_BYTES)
    }
}

/// How much may pass between two reports: what is shared is overdrawn by no more for each connection.
const REPORT_BYTES: u64 = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn bind_rest(results: &[i16]) -> Vec<u8> {
        let mut rest = vec![0, 1, 0, 0, 0, 2];
        rest.extend([0, 0, 0, 3, b'a', b'b', b'c', 0xff, 0xff, 0xff, 0xff]);
        rest.extend(i16::try_from(results.len()).expect("few").to_be_bytes());
        rest.extend(results.iter().flat_map(|format| format.to_be_bytes()));
        rest
    }

    #[test]
    fn result_formats_stand_behind_the_values() {
        assert_eq!(Formats::of_bind(&bind_rest(&[]), true), Formats::All(0));
        assert_eq!(Formats::of_bind(&bind_rest(&[1]), true), Formats::All(1));
        let each = Formats::of_bind(&bind_rest(&[0, 1]), true);
        assert_eq!(
            (each.of(0, 9), each.of(1, 9), each.of(2, 9)),
            (Some(0), Some(1), None)
        );
    }

    #[test]
    fn what_is_cut_off_is_unknown() {
        let rest = bind_rest(&[0, 1]);
        for end in 0..rest.len() {
            assert_eq!(Formats::of_bind(&rest[..end], true), Formats::Unknown);
        }
        assert_eq!(Formats::of_bind(&rest, false), Formats::Unknown);
    }

    #[test]
    fn a_portals_executes_are_counted_together() {
        let tally = Arc::new(Tally::default());
        let mut watch = Watch::new(());
        watch.tally = Some(Arc::clone(&tally));
        watch.limits = Some(Limits {
            rows: 10,
            ..Limits::NONE
        });
        tally.add(4, 400);
        let left = watch.left(3, 300);
        assert_eq!(
            left,
            Limits {
                rows: 3,
                bytes: u64::MAX
            }
        );
        assert_eq!(watch.left(30, 0).rows, 0);
    }

    #[test]
    fn what_is_shared_counts_from_the_last_report() {
        let mut watch = Watch::new(());
        watch.limits = Some(Limits::NONE);
        assert!(watch.report_is_due(0), "ahead of the first row");
        watch.allowance = Some(Limits {
            rows: 5,
            bytes: 1_000,
        });
        watch.reported = (100, 70_000);
        assert_eq!(
            watch.left(103, 70_100),
            Limits {
                rows: 2,
                bytes: 900
            }
        );
        assert!(!watch.report_is_due(70_100));
        assert!(watch.report_is_due(70_000 + REPORT_BYTES));
    }
}
