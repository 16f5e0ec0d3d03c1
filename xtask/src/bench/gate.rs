//! What weir must reach. Every limit is a ratio within one interleaved run or an exact count, so
//! that it holds on other machines too.

use super::peer::PeerName;
use super::run::Run;
use super::statistics::{Spread, median};
use super::summary::Measurements;
use super::workload::{CONN, IDLE, LAT1_PREP_PIN, LAT1_SIMPLE_PIN, ROWS10K, S8_PREP};

/// How a goal was met.
#[derive(Debug, PartialEq)]
pub(crate) enum Verdict {
    Passed(f64),
    Failed(f64),
    /// Not measured, or too noisy to judge.
    Skipped(&'static str),
}

/// A figure of weir and its limit.
pub(crate) struct Goal {
    pub(crate) work: &'static str,
    pub(crate) what: &'static str,
    pub(crate) limit: Limit,
    figure: Figure,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Limit {
    AtMost(f64),
    AtLeast(f64),
}

enum Figure {
    /// Processor time per transaction divided by the relay's.
    TimeToRelay,
    /// Processor time per KiB divided by the relay's.
    BulkTimeToRelay,
    RateToDirect,
    RateToRelay,
    AddedP50,
    AddedP99,
    Instructions,
    Syscalls,
    IdleMemory,
}

/// Limits of user-space costs come from pgbouncer 1.25 in session mode, expressed against the
/// relay, which is always there.
pub(crate) const GOALS: &[Goal] = &[
    goal(
        LAT1_SIMPLE_PIN,
        "CPU time to relay",
        Limit::AtMost(1.16),
        Figure::TimeToRelay,
    ),
    goal(
        LAT1_PREP_PIN,
        "CPU time to relay",
        Limit::AtMost(1.15),
        Figure::TimeToRelay,
    ),
    goal(
        LAT1_SIMPLE_PIN,
        "rate to direct",
        Limit::AtLeast(0.57),
        Figure::RateToDirect,
    ),
    goal(
        LAT1_PREP_PIN,
        "rate to direct",
        Limit::AtLeast(0.52),
        Figure::RateToDirect,
    ),
    goal(
        LAT1_SIMPLE_PIN,
        "added p50, us",
        Limit::AtMost(23.0),
        Figure::AddedP50,
    ),
    goal(
        LAT1_PREP_PIN,
        "added p50, us",
        Limit::AtMost(23.0),
        Figure::AddedP50,
    ),
    goal(
        LAT1_SIMPLE_PIN,
        "added p99, us",
        Limit::AtMost(50.0),
        Figure::AddedP99,
    ),
    goal(
        LAT1_PREP_PIN,
        "added p99, us",
        Limit::AtMost(50.0),
        Figure::AddedP99,
    ),
    goal(
        LAT1_SIMPLE_PIN,
        "instructions",
        Limit::AtMost(9000.0),
        Figure::Instructions,
    ),
    goal(
        LAT1_PREP_PIN,
        "instructions",
        Limit::AtMost(13_000.0),
        Figure::Instructions,
    ),
    goal(
        LAT1_SIMPLE_PIN,
        "system calls",
        Limit::AtMost(6.1),
        Figure::Syscalls,
    ),
    goal(
        LAT1_PREP_PIN,
        "system calls",
        Limit::AtMost(6.1),
        Figure::Syscalls,
    ),
    goal(
        S8_PREP,
        "system calls",
        Limit::AtMost(5.2),
        Figure::Syscalls,
    ),
    goal(
        S8_PREP,
        "rate to relay",
        Limit::AtLeast(0.95),
        Figure::RateToRelay,
    ),
    goal(
        CONN,
        "rate to direct",
        Limit::AtLeast(0.90),
        Figure::RateToDirect,
    ),
    goal(
        ROWS10K,
        "CPU time to relay",
        Limit::AtMost(1.10),
        Figure::BulkTimeToRelay,
    ),
    goal(
        IDLE,
        "KiB per connection",
        Limit::AtMost(6.0),
        Figure::IdleMemory,
    ),
];

const fn goal(work: &'static str, what: &'static str, limit: Limit, figure: Figure) -> Goal {
    Goal {
        work,
        what,
        limit,
        figure,
    }
}

impl Goal {
    /// Judges what was measured of weir.
    pub(crate) fn judge(&self, measured: &Measurements) -> Verdict {
        let rows = measured.rows();
        let row = rows
            .iter()
            .find(|row| (row.work, row.peer) == (self.work, WEIR.as_str()));
        let of_row = |value: Option<f64>| {
            value.map_or(Verdict::Skipped(UNMEASURED), |value| {
                self.limit.judge(value)
            })
        };
        let Some(row) = row else {
            return Verdict::Skipped(UNMEASURED);
        };
        match self.figure {
            Figure::TimeToRelay => self.to_relay(measured, Run::proxy_us_per_transaction),
            Figure::BulkTimeToRelay => self.to_relay(measured, Run::proxy_ns_per_kib),
            Figure::RateToRelay => self.to_relay(measured, |run| Some(run.rate)),
            Figure::RateToDirect | Figure::AddedP50 | Figure::AddedP99 if row.is_noisy() => {
                Verdict::Skipped(NOISY)
            }
            Figure::RateToDirect => of_row(row.ratio),
            Figure::AddedP50 => of_row(row.added_p50_us),
            Figure::AddedP99 => of_row(row.added_p99_us),
            Figure::Instructions => of_row(row.instructions_per_txn),
            Figure::Syscalls => of_row(row.syscalls_per_txn),
            Figure::IdleMemory => of_row(row.kib_per_idle_connection),
        }
    }

    fn to_relay(&self, measured: &Measurements, figure: fn(&Run) -> Option<f64>) -> Verdict {
        let ratios = measured.round_ratios(self.work, [WEIR, PeerName::Relay], figure);
        let Some((spread, ratio)) = Spread::of(&ratios).zip(median(ratios)) else {
            return Verdict::Skipped(UNMEASURED);
        };
        if spread.is_noisy() {
            Verdict::Skipped(NOISY)
        } else {
            self.limit.judge(ratio)
        }
    }
}

impl Limit {
    fn judge(self, value: f64) -> Verdict {
        let is_met = match self {
            Self::AtMost(limit) => value <= limit,
            Self::AtLeast(limit) => value >= limit,
        };
        if is_met {
            Verdict::Passed(value)
        } else {
            Verdict::Failed(value)
        }
    }
}

const WEIR: PeerName = PeerName::Weir;
const UNMEASURED: &str = "not measured";
const NOISY: &str = "noisy";

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::counts::Count;
    use super::*;

    #[test]
    fn without_figures_every_goal_is_skipped() {
        for goal in GOALS {
            assert_eq!(
                goal.judge(&Measurements::default()),
                Verdict::Skipped(UNMEASURED)
            );
        }
    }

    #[test]
    fn a_count_above_its_limit_fails() {
        let count = |per_transaction| Measurements {
            syscalls: vec![Count {
                work: S8_PREP,
                peer: WEIR,
                per_transaction,
            }],
            ..Measurements::default()
        };
        let goal = GOALS
            .iter()
            .find(|goal| (goal.work, goal.what) == (S8_PREP, "system calls"));
        let goal = goal.expect("it is a goal");
        assert_eq!(goal.judge(&count(5.2)), Verdict::Passed(5.2));
        assert_eq!(goal.judge(&count(5.3)), Verdict::Failed(5.3));
    }

    #[test]
    fn the_relay_is_the_measure_of_processor_time() {
        let goal = &GOALS[0];
        assert_eq!(goal.judge(&times([110, 112, 111])), Verdict::Passed(1.11));
        assert_eq!(goal.judge(&times([130, 132, 131])), Verdict::Failed(1.31));
        assert_eq!(goal.judge(&times([100, 132, 131])), Verdict::Skipped(NOISY));
    }

    fn times(weir_us: [u64; 3]) -> Measurements {
        let mut runs = Vec::new();
        for (round, time) in (0..).zip(weir_us) {
            runs.push(run(PeerName::Relay, round, 100));
            runs.push(run(WEIR, round, time));
        }
        Measurements {
            runs,
            ..Measurements::default()
        }
    }

    fn run(peer: PeerName, round: u32, proxy_us: u64) -> Run {
        Run {
            work: LAT1_SIMPLE_PIN,
            peer,
            round,
            rate: 1.0,
            transactions: 1,
            bytes: None,
            p50_us: None,
            p99_us: None,
            proxy_time: Some(Duration::from_micros(proxy_us)),
            foreign_cores: 0.0,
        }
    }
}
