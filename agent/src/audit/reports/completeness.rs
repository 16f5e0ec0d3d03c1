//! completeness: what the kernel counted, what weir saw of it, what it did not govern, and every gap.

use rusqlite::{Connection, params};

use super::{Answer, Column, Period, Reading, Section, Shape, Value, column};
use crate::capture::Counters;

const COLUMNS: &[Column] = &[
    column("measure", Shape::Text),
    column("count", Shape::Count),
    column("meaning", Shape::Text),
];

pub(super) fn rows(store: &Connection, period: Period) -> rusqlite::Result<Answer> {
    let (from_ns, until_ns) = period.nanoseconds();
    let mut rows = Vec::new();
    let mut measure = |name: &str, count: u64, meaning: &str| {
        rows.push(vec![
            Value::Text(name.to_owned()),
            Value::Number(count),
            Value::Text(meaning.to_owned()),
        ]);
    };
    let count =
        |sql: &str| store.query_row(sql, params![from_ns, until_ns], |row| row.get::<_, u64>(0));
    let sessions =
        count("SELECT count(*) FROM session_records WHERE opened_ns >= ?1 AND opened_ns < ?2")?;
    let unread = count(super::UNREAD_SESSIONS)?;
    let refused = count(&events("connection_refused", "count(*)"))?;
    // Each of these shares its connection with the session before it.
    let continued = count(
        "SELECT count(*) FROM event_records
         WHERE event = 'sender_changed' AND body ->> '$.continued_as' IS NOT NULL
           AND time_ns >= ?1 AND time_ns < ?2",
    )?;
    if let Some(kernel) = kernel(store, from_ns, until_ns)? {
        let told = sessions.saturating_sub(continued) + refused;
        for (name, count, meaning) in counted(&kernel, told) {
            measure(name, count, meaning);
        }
    }
    measure(
        "sessions governed",
        sessions.saturating_sub(unread),
        "recorded",
    );
    measure(
        "of them unidentified",
        count(
            "SELECT count(*) FROM session_records s JOIN contexts c ON c.id = s.context
             WHERE opened_ns >= ?1 AND opened_ns < ?2 AND c.subject = '' AND NOT s.unread",
        )?,
        "recorded",
    );
    measure(
        "of them gone on with by another process",
        continued,
        "recorded",
    );
    measure(
        "sessions relayed unread",
        unread,
        "recorded as a whole, content unknown",
    );
    measure("connections refused before a session", refused, "recorded");
    for (why, connections) in ungoverned(store, from_ns, until_ns)? {
        measure(
            &format!("connections not governed: {why}"),
            connections,
            "recorded, listed below",
        );
    }
    measure(
        "times without an agent",
        count(&events("gap", "count(*)"))?,
        "listed below",
    );
    measure(
        "connections passed without an agent",
        count(&events("gap", "coalesce(sum(body ->> '$.passed'), 0)"))?,
        "counted by the kernel, content unknown",
    );
    measure(
        "connections refused without an agent",
        count(&events("gap", "coalesce(sum(body ->> '$.denied'), 0)"))?,
        "counted by the kernel",
    );
    measure(
        "incidents",
        count(&events("incident", "count(*)"))?,
        "listed below",
    );
    measure(
        "requests without an outcome",
        store.query_row("SELECT count(*) FROM open_requests", [], |row| row.get(0))?,
        "under way, or cut off by the agent's end",
    );
    measure(
        "records removed by retention",
        store.query_row(
            "SELECT coalesce(max(body ->> '$.last_seq'), 0) FROM event_records WHERE event = 'segments_retired'",
            [],
            |row| row.get(0),
        )?,
        "stated and signed, listed below",
    );
    measure(
        "breaks in the journal",
        store.query_row("SELECT count(*) FROM breaks", [], |row| row.get(0))?,
        "listed below",
    );
    Ok((COLUMNS, rows))
}

/// How many connections were not governed, by why.
fn ungoverned(store: &Connection, from: u64, until: u64) -> rusqlite::Result<Vec<(String, u64)>> {
    let mut query = store.prepare(
        "SELECT body ->> '$.why', count(*) FROM event_records
         WHERE event = 'ungoverned' AND time_ns >= ?1 AND time_ns < ?2 GROUP BY 1 ORDER BY 1",
    )?;
    let found = query.query_map(params![from, until], |row| Ok((row.get(0)?, row.get(1)?)))?;
    found.collect()
}

/// Every gap, one by one.
pub(super) fn sections(store: &Reading<'_>, period: Period) -> rusqlite::Result<Vec<Section>> {
    const GAPS: &[Column] = &[
        column("from", Shape::Time),
        column("until", Shape::Time),
        column("passed", Shape::Count),
        column("refused", Shape::Count),
    ];
    const UNGOVERNED: &[Column] = &[
        column("why", Shape::Text),
        column("destination", Shape::Text),
        column("uid", Shape::Text),
        column("connections", Shape::Count),
        column("first", Shape::Time),
        column("last", Shape::Time),
    ];
    const BREAKS: &[Column] = &[
        column("segment", Shape::Text),
        column("from_record", Shape::Count),
        column("until_record", Shape::Count),
    ];
    const REMOVED: &[Column] = &[
        column("removed", Shape::Time),
        column("segments", Shape::Text),
        column("until_record", Shape::Count),
        column("because_of", Shape::Text),
        column("records_since", Shape::Time),
    ];
    const INCIDENTS: &[Column] = &[column("time", Shape::Time), column("what", Shape::Text)];
    let (from, until) = period.nanoseconds();
    let ask = |columns: &'static [Column], sql: &str| {
        super::select(store, columns, sql, params![from, until])
    };
    let mut gaps = ask(
        GAPS,
        "SELECT body ->> '$.from_ns', body ->> '$.until_ns', body ->> '$.passed', body ->> '$.denied' FROM event_records
         WHERE event = 'gap' AND time_ns >= ?1 AND time_ns < ?2 ORDER BY seq",
    )?;
    for row in &mut gaps {
        for time in row.iter_mut().take(2) {
            // An agent before this one left no heartbeat.
            if *time == Value::Number(0) {
                *time = Value::Text("unknown".to_owned());
            }
        }
    }
    let sections = [
        Section {
            name: "gaps",
            title: "Times without an agent",
            columns: GAPS,
            rows: gaps,
        },
        Section {
            name: "not_governed",
            title: "Connections that were not governed",
            columns: UNGOVERNED,
            rows: ask(
                UNGOVERNED,
                "SELECT body ->> '$.why', body ->> '$.origin.destination', CAST(body ->> '$.origin.uid' AS TEXT), count(*),
                        min(time_ns), max(time_ns) FROM event_records
                 WHERE event = 'ungoverned' AND time_ns >= ?1 AND time_ns < ?2 GROUP BY 1, 2, 3 ORDER BY 1, 2, 3",
            )?,
        },
        Section {
            name: "breaks",
            title: "Breaks in the journal",
            columns: BREAKS,
            rows: super::select(
                store,
                BREAKS,
                "SELECT CAST(segment AS TEXT), from_seq, until_seq FROM breaks ORDER BY segment, from_seq",
                [],
            )?,
        },
        // Whatever the period: the last one says what there can be no records of.
        Section {
            name: "removed",
            title: "Segments of the journal removed by retention",
            columns: REMOVED,
            rows: super::select(
                store,
                REMOVED,
                "SELECT time_ns, (body ->> '$.from_segment') || ' to ' || (body ->> '$.until_segment'), body ->> '$.last_seq',
                        body ->> '$.why', body ->> '$.kept_from_ns' FROM event_records
                 WHERE event = 'segments_retired' ORDER BY seq",
                [],
            )?,
        },
        Section {
            name: "incidents",
            title: "Incidents",
            columns: INCIDENTS,
            rows: ask(
                INCIDENTS,
                "SELECT time_ns, body ->> '$.what' FROM event_records
                 WHERE event = 'incident' AND time_ns >= ?1 AND time_ns < ?2 ORDER BY seq",
            )?,
        },
    ];
    Ok(sections
        .into_iter()
        .filter(|section| !section.rows.is_empty())
        .collect())
}

/// What the kernel counted in a period; `None` when no agent noted it there.
///
/// Each note has everything since the maps were made, so differences count; an agent that found no maps begins anew.
fn kernel(store: &Connection, from: u64, until: u64) -> rusqlite::Result<Option<Counters>> {
    let mut query = store.prepare(
        "SELECT time_ns, event, body FROM event_records
         WHERE event IN ('kernel_counted', 'agent_started') AND time_ns < ?2 AND seq >= coalesce((
             SELECT max(seq) FROM event_records WHERE event = 'kernel_counted' AND time_ns < ?1), 0)
         ORDER BY seq",
    )?;
    let mut found = query.query(params![from, until])?;
    let mut before = Counters::default();
    let mut sum = None;
    while let Some(row) = found.next()? {
        let body: serde_json::Value =
            serde_json::from_str(&row.get::<_, String>(2)?).unwrap_or_default();
        if row.get_ref(1)?.as_str()? == "agent_started" {
            if body["resumed"] != true {
                before = Counters::default();
            }
            continue;
        }
        let Ok(now) = serde_json::from_value::<Counters>(body["counters"].clone()) else {
            continue;
        };
        if row.get::<_, u64>(0)? >= from {
            add(sum.get_or_insert_default(), &now, &before);
        }
        before = now;
    }
    Ok(sum)
}

/// Adds what was counted between two notes.
fn add(sum: &mut Counters, now: &Counters, before: &Counters) {
    // A count that went back began anew.
    let more = |now: u64, before: u64| if now >= before { now - before } else { now };
    sum.governed += more(now.governed, before.governed);
    sum.passed_agent_down += more(now.passed_agent_down, before.passed_agent_down);
    sum.passed_other_namespace += more(now.passed_other_namespace, before.passed_other_namespace);
    sum.denied_agent_down += more(now.denied_agent_down, before.denied_agent_down);
    sum.denied_other_namespace += more(now.denied_other_namespace, before.denied_other_namespace);
    sum.denied_storage += more(now.denied_storage, before.denied_storage);
    sum.denied_device += more(now.denied_device, before.denied_device);
    sum.denied_family += more(now.denied_family, before.denied_family);
    sum.dropped += more(now.dropped, before.dropped);
    sum.events_lost += more(now.events_lost, before.events_lost);
}

/// What the kernel counted, and how much of it is `told` by records of sessions and refusals.
fn counted(kernel: &Counters, told: u64) -> Vec<(&'static str, u64, &'static str)> {
    let fates = fates(kernel);
    let all = fates.iter().map(|(_, count, _)| count).sum();
    let mut measures = vec![("connections that the kernel counted", all, "all of them")];
    measures.extend(fates);
    measures.extend([
        (
            "governed connections without a record of their own",
            kernel.governed.saturating_sub(told),
            "cancel requests, clients that left before they logged in, connections that wait",
        ),
        (
            "packets dropped on their way around weir",
            kernel.dropped,
            "stopped",
        ),
        ("kernel events lost", kernel.events_lost, "to look into"),
    ]);
    measures
}

/// Every connection to a database has one of these.
fn fates(kernel: &Counters) -> [(&'static str, u64, &'static str); 8] {
    [
        (
            "redirected to weir",
            kernel.governed,
            "governed, relayed unread or refused",
        ),
        (
            "let through: no agent ran",
            kernel.passed_agent_down,
            "not governed",
        ),
        (
            "let through: another network namespace",
            kernel.passed_other_namespace,
            "not governed",
        ),
        ("refused: no agent ran", kernel.denied_agent_down, "refused"),
        (
            "refused: another network namespace",
            kernel.denied_other_namespace,
            "refused",
        ),
        (
            "refused: origin could not be noted",
            kernel.denied_storage,
            "refused",
        ),
        (
            "refused: socket bound to a device",
            kernel.denied_device,
            "refused",
        ),
        (
            "refused: no listener for the address family",
            kernel.denied_family,
            "refused",
        ),
    ]
}

fn events(name: &str, what: &str) -> String {
    format!(
        "SELECT {what} FROM event_records WHERE event = '{name}' AND time_ns >= ?1 AND time_ns < ?2"
    )
}
