//! Measurements for Prometheus. Labels come from fixed lists and from the configuration: no user, no statement, no table.

use std::fmt::Write as _;

use axum::{
    http::{HeaderValue, header},
    response::{IntoResponse as _, Response},
};
use serde_json::Value;

use crate::{
    admin::{error::Error, request::Ask},
    audit::{JournalHealth, export::SinkStatus},
    capture::Finding,
    latency::Counted,
    sessions::Totals,
    webhooks::HookStatus,
};

/// `GET /metrics`
pub(super) async fn get(ask: Ask) -> Result<Response, Error> {
    let reach = &ask.web.reach;
    let mut text = Text::default();
    let totals = reach.sessions.totals();
    sessions(&mut text, &totals);
    journal(&mut text, &reach.journal.health());
    let latency = reach.sessions.latency();
    latencies(
        &mut text,
        &[
            latency.decisions.counted(),
            latency.durable.counted(),
            reach.journal.syncs(),
            reach.holds.waits(),
        ],
    );
    outlets(&mut text, &reach.health.exports(), &reach.health.webhooks());
    if let Some(counters) = reach.health.counters() {
        text.head(
            "weir_kernel_connections_total",
            COUNTER,
            "What the kernel programs counted, by verdict.",
        );
        if let Ok(Value::Object(counters)) = serde_json::to_value(counters) {
            for (verdict, count) in counters {
                text.labelled(
                    "weir_kernel_connections_total",
                    "verdict",
                    &verdict,
                    count.as_u64().unwrap_or(0),
                );
            }
        }
    }
    let logins = reach.identities.logins();
    text.head("weir_logins", GAUGE, "Log-ins on this host, by state.");
    for (state, count) in [
        ("live", logins.live),
        ("expired", logins.expired),
        ("stale", logins.stale),
        ("renewed", logins.renewed),
    ] {
        text.labelled("weir_logins", "state", state, count as u64);
    }
    let waiting = reach.holds.count() as u64;
    text.one(
        "weir_approvals_waiting",
        GAUGE,
        "Statements that wait for an approval.",
        waiting,
    );
    let hooks = reach.health.hooks();
    let bad = hooks.iter().filter(|hook| Finding::is_bad(hook)).count();
    text.one(
        "weir_hooks_failing",
        GAUGE,
        "Kernel programs that are not in their place.",
        bad as u64,
    );
    let snapshot = reach.policy.current();
    text.one(
        "weir_policy_rules",
        GAUGE,
        "Rules in force.",
        snapshot.pack.rules().len() as u64,
    );
    text.one(
        "weir_policy_problem",
        GAUGE,
        "1 when the policy's folder is not in force as it is.",
        u64::from(reach.health.policy_problem().is_some()),
    );
    text.one(
        "weir_web_visits",
        GAUGE,
        "Browsers that are logged in.",
        ask.web.visits.count() as u64,
    );
    let mut response = text.0.into_response();
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"),
    );
    Ok(response)
}

fn sessions(text: &mut Text, totals: &Totals) {
    text.one(
        "weir_sessions",
        GAUGE,
        "Sessions that are open.",
        totals.live as u64,
    );
    for (name, help, count) in [
        (
            "weir_sessions_opened_total",
            "Sessions that were opened.",
            totals.opened,
        ),
        (
            "weir_connections_refused_total",
            "Connections refused before a session began.",
            totals.refused,
        ),
        (
            "weir_connections_unattributed_total",
            "Connections to the listener without a governed connect.",
            totals.unattributed,
        ),
        (
            "weir_requests_total",
            "Requests of all sessions.",
            totals.requests,
        ),
        (
            "weir_requests_denied_total",
            "Requests that were refused.",
            totals.denied,
        ),
        (
            "weir_requests_masked_total",
            "Requests whose answer showed less than the data.",
            totals.masked,
        ),
    ] {
        text.one(name, COUNTER, help, count);
    }
}

/// As the values are given: decisions, waits for the disk, the journal's syncs, waits for people.
fn latencies(text: &mut Text, counted: &[Counted; 4]) {
    let families = [
        (
            "weir_decision_seconds",
            "From a read of a client's until every request in it is decided and recorded; one read in eight is timed.",
        ),
        (
            "weir_durable_wait_seconds",
            "Until the record of a request that may not leave before is on disk.",
        ),
        (
            "weir_journal_sync_seconds",
            "Bringing records to the disk and into the chain.",
        ),
        (
            "weir_approval_wait_seconds",
            "From asking for an approval until the wait was over, however it ended.",
        ),
    ];
    for ((name, help), counted) in families.into_iter().zip(counted) {
        text.histogram(name, help, counted);
    }
}

fn outlets(text: &mut Text, exports: &[SinkStatus], webhooks: &[HookStatus]) {
    let name = "weir_export_lag_records";
    text.head(name, GAUGE, "Records that a sink has not confirmed.");
    for sink in exports {
        text.labelled(name, "sink", &sink.name, sink.lag);
    }
    let name = "weir_export_refused_total";
    text.head(
        name,
        COUNTER,
        "Records that a sink refused for good and that were passed over.",
    );
    for sink in exports {
        text.labelled(name, "sink", &sink.name, sink.refused);
    }
    let name = "weir_webhook_delivered_total";
    text.head(
        name,
        COUNTER,
        "Announcements of approvals that a webhook took.",
    );
    for hook in webhooks {
        text.labelled(name, "hook", &hook.name, hook.delivered);
    }
    let name = "weir_webhook_lost_total";
    text.head(
        name,
        COUNTER,
        "Announcements of approvals that were given up.",
    );
    for hook in webhooks {
        text.labelled(name, "hook", &hook.name, hook.lost);
    }
}

fn journal(text: &mut Text, health: &JournalHealth) {
    for (name, help, count) in [
        (
            "weir_journal_records_total",
            "Records in the journal.",
            health.seq,
        ),
        (
            "weir_journal_unsynced_records",
            "Records that are not on disk yet.",
            health.seq.saturating_sub(health.synced_seq),
        ),
        (
            "weir_journal_unchained_records",
            "Records that the signed chain does not cover yet.",
            health.seq.saturating_sub(health.chained_seq),
        ),
        (
            "weir_index_lag_records",
            "Records that are not in the index yet.",
            health.seq.saturating_sub(health.indexed_seq),
        ),
        (
            "weir_journal_requests_in_flight",
            "Requests without an outcome yet.",
            health.in_flight,
        ),
        (
            "weir_journal_free_mebibytes",
            "Free on the journal's file system.",
            health.free_mib,
        ),
        (
            "weir_journal_failing",
            "1 when nothing can be recorded.",
            u64::from(health.failure.is_some()),
        ),
    ] {
        let kind = if name.ends_with("_total") {
            COUNTER
        } else {
            GAUGE
        };
        text.one(name, kind, help, count);
    }
}

/// Prometheus' text format. Writing to a string cannot fail.
#[derive(Default)]
struct Text(String);

impl Text {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: u64) {
        self.head(name, kind, help);
        let _ = writeln!(self.0, "{name} {value}");
    }

    fn histogram(&mut self, name: &str, help: &str, counted: &Counted) {
        self.head(name, HISTOGRAM, help);
        let ends = counted.bounds_ns.iter().copied().map(seconds);
        let mut below = 0;
        for (end, count) in ends.chain(["+Inf".to_owned()]).zip(&counted.counts) {
            below += count;
            let _ = writeln!(self.0, "{name}_bucket{{le=\"{end}\"}} {below}");
        }
        let _ = writeln!(
            self.0,
            "{name}_sum {}\n{name}_count {below}",
            seconds(counted.sum_ns)
        );
    }

    fn labelled(&mut self, name: &str, label: &str, of: &str, value: u64) {
        let of = of
            .replace('\\', "\\\\")
            .replace('"', "\\\"")
            .replace('\n', "\\n");
        let _ = writeln!(self.0, "{name}{{{label}=\"{of}\"}} {value}");
    }
}

/// Nanoseconds as a decimal fraction.
fn seconds(ns: u64) -> String {
    let text = format!("{}.{:09}", ns / NANOS, ns % NANOS);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

const NANOS: u64 = 1_000_000_000;
const HISTOGRAM: &str = "histogram";
const GAUGE: &str = "gauge";
const COUNTER: &str = "counter";

#[cfg(test)]
mod exposition;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::latency::{BY_PEOPLE, Histogram, IN_MEMORY, ON_DISK};

    #[test]
    fn labels_are_escaped() {
        let mut text = Text::default();
        text.labelled("m", "sink", "a\"b\\c\nd", 3);
        assert_eq!(text.0, "m{sink=\"a\\\"b\\\\c\\nd\"} 3\n");
    }

    #[test]
    fn seconds_are_exact() {
        for (ns, text) in [
            (0, "0"),
            (1_000, "0.000001"),
            (1_500_000_000, "1.5"),
            (86_400_000_000_000, "86400"),
            (u64::MAX, "18446744073.709551615"),
        ] {
            assert_eq!(seconds(ns), text);
        }
    }

    #[test]
    fn all_of_it_is_read_by_a_strict_reader() {
        let mut text = Text::default();
        let durations = [0, 1_500, 30_000, 4_000_000, 70_000_000_000, u64::MAX / 4];
        let counted = [IN_MEMORY, ON_DISK, ON_DISK, BY_PEOPLE].map(|bounds| {
            let histogram = Histogram::new(bounds);
            for ns in durations {
                histogram.count(Duration::from_nanos(ns));
            }
            histogram.counted()
        });
        let totals = crate::sessions::Sessions::default().totals();
        sessions(&mut text, &totals);
        latencies(&mut text, &counted);
        outlets(&mut text, &[], &[]);
        text.head("weir_logins", GAUGE, "Log-ins on this host, by state.");
        text.labelled("weir_logins", "state", "a\"b\\c\nd", 3);
        let families = exposition::read(&text.0).expect("well formed");
        let decisions = families
            .iter()
            .find(|family| family.name == "weir_decision_seconds")
            .expect("decisions");
        assert_eq!(decisions.samples.len(), IN_MEMORY.len() + 3);
        assert!(
            text.0
                .contains("weir_decision_seconds_bucket{le=\"0.000002\"} 2\n")
        );
        assert!(text.0.contains("weir_approval_wait_seconds_count 6\n"));
    }
}
