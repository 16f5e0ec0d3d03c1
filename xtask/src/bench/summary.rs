//! From runs to one row per workload and peer: medians over rounds, ratios within a round.

use serde::Serialize;

use super::counts::Count;
use super::idle::Idle;
use super::peer::PeerName;
use super::run::Run;
use super::statistics::{Spread, median, rounded};
use super::workload::{IDLE, WORKLOADS};

/// Everything that was measured.
#[derive(Debug, Default)]
pub(crate) struct Measurements {
    pub(crate) runs: Vec<Run>,
    pub(crate) syscalls: Vec<Count>,
    pub(crate) instructions: Vec<Count>,
    pub(crate) idle: Vec<Idle>,
}

/// The figures of one peer under one workload; `None` where they were not measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Row {
    pub(crate) work: &'static str,
    pub(crate) peer: &'static str,
    /// Rate divided by that of the direct connections of the same round.
    pub(crate) ratio: Option<f64>,
    pub(crate) cpu_us_per_txn: Option<f64>,
    pub(crate) cpu_ns_per_kib: Option<f64>,
    /// Latency beyond that of the direct connections of the same round.
    pub(crate) added_p50_us: Option<f64>,
    pub(crate) added_p99_us: Option<f64>,
    pub(crate) instructions_per_txn: Option<f64>,
    pub(crate) syscalls_per_txn: Option<f64>,
    pub(crate) kib_per_idle_connection: Option<f64>,
    #[serde(skip)]
    pub(crate) ratio_spread: Option<Spread>,
}

impl Measurements {
    /// One row for every workload and peer that has a figure, in the order of the workloads.
    pub(crate) fn rows(&self) -> Vec<Row> {
        let mut peers: Vec<PeerName> = self.runs.iter().map(|run| run.peer).collect();
        peers.extend(
            self.syscalls
                .iter()
                .chain(&self.instructions)
                .map(|count| count.peer),
        );
        peers.extend(self.idle.iter().map(|idle| idle.peer));
        peers.sort();
        peers.dedup();
        let works = WORKLOADS.iter().map(|workload| workload.name).chain([IDLE]);
        let pairs = works.flat_map(|work| peers.iter().map(move |peer| (work, *peer)));
        pairs
            .filter_map(|(work, peer)| self.row(work, peer))
            .collect()
    }

    /// A peer's figures divided by another's in the same round, one per round both ran in.
    pub(crate) fn round_ratios(
        &self,
        work: &str,
        [peer, base]: [PeerName; 2],
        figure: impl Fn(&Run) -> Option<f64>,
    ) -> Vec<f64> {
        let runs = self.runs_of(work, peer);
        let ratios = runs.filter_map(|run| {
            let value = figure(run)?;
            let base = self.in_round(work, base, run.round, &figure)?;
            (base > 0.0).then(|| value / base)
        });
        ratios.collect()
    }

    fn row(&self, work: &'static str, peer: PeerName) -> Option<Row> {
        let to_direct = [peer, PeerName::Direct];
        let ratios = self.round_ratios(work, to_direct, |run| Some(run.rate));
        let own =
            |figure: fn(&Run) -> Option<f64>| median(self.runs_of(work, peer).filter_map(figure));
        let added = |figure: fn(&Run) -> Option<f64>| {
            let differences = self.runs_of(work, peer).filter_map(|run| {
                Some(figure(run)? - self.in_round(work, PeerName::Direct, run.round, figure)?)
            });
            if peer == PeerName::Direct {
                None
            } else {
                median(differences)
            }
        };
        let count = |counts: &[Count]| {
            let count = counts
                .iter()
                .find(|count| (count.work, count.peer) == (work, peer))?;
            Some(count.per_transaction)
        };
        let idle = self
            .idle
            .iter()
            .find(|idle| work == IDLE && idle.peer == peer);
        let row = Row {
            work,
            peer: peer.as_str(),
            ratio: median(ratios.iter().copied()).map(|ratio| rounded(ratio, 3)),
            cpu_us_per_txn: own(Run::proxy_us_per_transaction).map(|time| rounded(time, 2)),
            cpu_ns_per_kib: own(Run::proxy_ns_per_kib).map(|time| rounded(time, 1)),
            added_p50_us: added(|run| run.p50_us.map(f64::from)),
            added_p99_us: added(|run| run.p99_us.map(f64::from)),
            instructions_per_txn: count(&self.instructions).map(|count| rounded(count, 0)),
            syscalls_per_txn: count(&self.syscalls).map(|count| rounded(count, 2)),
            kib_per_idle_connection: idle.map(|idle| rounded(idle.kib_per_connection, 2)),
            ratio_spread: Spread::of(&ratios),
        };
        row.has_figures().then_some(row)
    }

    /// The median over the runs of one round: a direct connection runs three times in it.
    fn in_round(
        &self,
        work: &str,
        peer: PeerName,
        round: u32,
        figure: impl Fn(&Run) -> Option<f64>,
    ) -> Option<f64> {
        median(
            self.runs_of(work, peer)
                .filter(|run| run.round == round)
                .filter_map(figure),
        )
    }

    fn runs_of(&self, work: &str, peer: PeerName) -> impl Iterator<Item = &Run> {
        self.runs
            .iter()
            .filter(move |run| run.work == work && run.peer == peer)
    }
}

impl Row {
    /// Whether the ratio wanders too much over the rounds to be believed.
    pub(crate) fn is_noisy(&self) -> bool {
        self.ratio_spread.is_some_and(Spread::is_noisy)
    }

    fn has_figures(&self) -> bool {
        let figures = [
            self.ratio,
            self.cpu_us_per_txn,
            self.instructions_per_txn,
            self.syscalls_per_txn,
        ];
        figures.iter().any(Option::is_some) || self.kib_per_idle_connection.is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::workload::{LAT1_PREP_PIN, ROWS10K};
    use super::*;

    #[test]
    fn ratios_are_formed_within_a_round() {
        // The second round is three times slower for everyone: the ratio does not notice.
        let runs = vec![
            run(PeerName::Direct, 0, 300.0, 10),
            run(PeerName::Direct, 0, 310.0, 10),
            run(PeerName::Direct, 0, 20.0, 10),
            run(PeerName::Relay, 0, 150.0, 25),
            run(PeerName::Direct, 1, 100.0, 30),
            run(PeerName::Relay, 1, 50.0, 47),
        ];
        let rows = Measurements {
            runs,
            ..Measurements::default()
        }
        .rows();
        let relay = rows.iter().find(|row| row.peer == "relay").expect("it ran");
        assert_eq!(relay.ratio, Some(0.5));
        assert_eq!(relay.added_p50_us, Some(16.0));
        assert_eq!(relay.cpu_us_per_txn, Some(15.0));
        assert!(!relay.is_noisy());
    }

    #[test]
    fn wandering_ratios_are_marked() {
        let runs = vec![
            run(PeerName::Direct, 0, 100.0, 10),
            run(PeerName::Relay, 0, 50.0, 20),
            run(PeerName::Direct, 1, 100.0, 10),
            run(PeerName::Relay, 1, 70.0, 20),
        ];
        let rows = Measurements {
            runs,
            ..Measurements::default()
        }
        .rows();
        assert!(rows.iter().any(|row| row.peer == "relay" && row.is_noisy()));
    }

    #[test]
    fn a_row_has_exactly_the_agreed_keys() {
        let count = Count {
            work: LAT1_PREP_PIN,
            peer: PeerName::Haproxy,
            per_transaction: 6.004,
        };
        let measured = Measurements {
            syscalls: vec![count],
            ..Measurements::default()
        };
        let json = serde_json::to_value(measured.rows()).expect("rows are plain data");
        assert_eq!(
            json,
            serde_json::json!([{
                "work": "lat1-prep-pin",
                "peer": "haproxy",
                "ratio": null,
                "cpu_us_per_txn": null,
                "cpu_ns_per_kib": null,
                "added_p50_us": null,
                "added_p99_us": null,
                "instructions_per_txn": null,
                "syscalls_per_txn": 6.0,
                "kib_per_idle_connection": null,
            }])
        );
    }

    #[test]
    fn bulk_runs_cost_per_kib() {
        let mut bulk = run(PeerName::Relay, 0, 1.0, 1);
        bulk.work = ROWS10K;
        bulk.bytes = Some(1024 * 100);
        let rows = Measurements {
            runs: vec![bulk],
            ..Measurements::default()
        }
        .rows();
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].cpu_ns_per_kib, Some(1500.0));
    }

    fn run(peer: PeerName, round: u32, rate: f64, p50_us: u32) -> Run {
        Run {
            work: LAT1_PREP_PIN,
            peer,
            round,
            rate,
            transactions: 10,
            bytes: None,
            p50_us: Some(p50_us),
            p99_us: None,
            proxy_time: (peer != PeerName::Direct).then(|| Duration::from_micros(150)),
            foreign_cores: 0.0,
        }
    }
}
