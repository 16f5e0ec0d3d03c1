use weir_policy::{Mode, Sources};
use weir_sql::{ColumnName, Kind, Use, facts::ColumnUse};

use super::*;
use crate::audit::{
    fixtures::{allowed, facts as facts_of, new_session, open as open_journal},
    record::Via,
};

const PACK: &str = "version: 1\nrules:\n  - { id: all, match: {}, effect: allow }\n  - { id: no-orders, match: { relation: [orders] }, effect: { deny: closed } }\n  - { id: pii, match: { columns: ['*.*.ssn'] }, effect: { mask: { default: last4 } } }\n";

#[test]
fn what_was_recorded_is_decided_again() {
    let dir = tempfile::tempdir().expect("a folder");
    record(dir.path());
    let recorded = read(&dir.path().join(FOLDER), period()).expect("a journal");
    let pack = pack();
    let found = changes(&recorded, &pack, None);
    assert_eq!(found.requests, 5);
    assert_eq!(found.unknown, 3, "recorded without a catalog");
    assert_eq!(
        found.changes.iter().map(line).collect::<Vec<_>>(),
        ["2 bob new mask app.people.ssn: last4"]
    );
    let database = Database::parse(
        "catalog.yaml",
        "tables: { public.orders: { id: int }, app.people: { ssn: text } }\n",
    )
    .expect("a database");
    let found = changes(&recorded, &pack, Some(&database));
    assert_eq!(found.unknown, 0);
    assert_eq!(
        found.changes.iter().map(line).collect::<Vec<_>>(),
        [
            "3 bob allowed → denied by no-orders: closed",
            "2 bob new mask app.people.ssn: last4"
        ]
    );
}

fn changes(recorded: &Recorded, pack: &Pack, database: Option<&Database>) -> Found {
    let known = Known {
        database,
        needed: pack.needs_catalog(),
    };
    recorded.changes(
        &known,
        |_, decided, _| decided.decision.clone(),
        |moment, facts| decide(pack, moment, facts),
    )
}

fn line(change: &Change) -> String {
    format!("{} {} {}", change.requests, change.principal, change.what)
}

fn pack() -> Pack {
    let files = vec![("rules.yaml".to_owned(), PACK.to_owned())];
    Pack::compile(
        &Sources::from_files(Path::new("pack"), files),
        Mode::Enforce,
    )
    .expect("a pack")
}

fn period() -> Period {
    Period::parse("1h", None, clock::now().as_secs()).expect("a period")
}

/// Bob asks for orders three times, of which no columns are known, and twice for a column.
fn record(dir: &Path) {
    let journal = open_journal(dir);
    let session = journal
        .session(new_session("bob", "/usr/bin/psql"))
        .expect("recorded");
    let orders = Facts {
        normalised: "SELECT id FROM public.orders".to_owned(),
        ..facts_of(Kind::Select, &[("orders", Use::Read)])
    };
    let people = Facts {
        normalised: "SELECT ssn FROM app.people".to_owned(),
        resolved: true,
        columns: vec![ColumnUse {
            column: ColumnName {
                schema: "app".to_owned(),
                relation: "people".to_owned(),
                column: "ssn".to_owned(),
            },
            bases: Vec::new(),
            usage: ColumnUsage::Output,
        }],
        ..facts_of(Kind::Select, &[("people", Use::Read)])
    };
    for (facts, times) in [(orders, 3), (people, 2)] {
        let statement = journal.statement(facts, allowed(), "digest", Vec::new());
        for _ in 0..times {
            journal
                .requested(&session, &statement, Via::Simple, 0, 10)
                .expect("recorded");
        }
    }
}
