//! What servers, programs and periods may do to a report: nothing but be counted in it.

use super::*;

fn questions() -> [Question; 7] {
    [
        Question::Usage { table: None },
        Question::Access {
            table: None,
            class: None,
        },
        Question::Columns { column: None },
        Question::Privileged,
        Question::Approvals,
        Question::Review,
        Question::Completeness,
    ]
}

/// Two servers say that they sent all the rows there can be.
fn forged() -> Case {
    let dir = tempfile::tempdir().expect("a folder");
    let journal = open(dir.path());
    let mut columns = facts(Kind::Select, &[("orders", Use::Read)]);
    let card = ColumnName {
        schema: "public".to_owned(),
        relation: "orders".to_owned(),
        column: "card".to_owned(),
    };
    columns.columns = vec![ColumnUse {
        column: card,
        bases: Vec::new(),
        usage: ColumnUsage::Output,
    }];
    let classes = vec![Classed {
        name: "public.orders.card".to_owned(),
        classes: vec!["pci".to_owned()],
    }];
    let read = journal.statement(columns, allowed(), "abc", classes);
    for exe in ["/usr/bin/psql", "/usr/bin/python3"] {
        let session = journal
            .session(new_session("alice", exe))
            .expect("recorded");
        for rows in [u64::MAX, u64::MAX, 1] {
            let seq = journal
                .requested(&session, &read, Via::Simple, 0, 9)
                .expect("recorded");
            let ended = outcome(seq, Ending::Completed, rows, rows);
            journal.outcome(&ended).expect("recorded");
        }
    }
    drop(journal);
    let mut store = store::open(dir.path()).expect("a store");
    index::catch_up(&mut store, dir.path()).expect("indexed");
    Case { dir, store }
}

#[test]
fn a_forged_row_count_takes_no_report_away() {
    let mut case = forged();
    let answers = |case: &Case| {
        questions().map(|question| {
            let mut report = case.ask(&question);
            report.header.generated.clear();
            report
        })
    };
    let before = answers(&case);
    let rows = before[0].totals.iter().find(|(name, _)| *name == "rows");
    assert_eq!(rows, Some(&("rows", 2 << 48)));
    store::clear(&mut case.store).expect("cleared");
    index::catch_up(&mut case.store, case.dir.path()).expect("indexed");
    assert_eq!(answers(&case), before);
}

#[test]
fn a_count_that_an_earlier_version_stored_takes_no_report_away_and_can_be_added_to() {
    let case = forged();
    for table in ["activity", "totals", "usage", "statement_usage"] {
        let set = format!(
            "UPDATE {table} SET rows = {max}, bytes = {max}",
            max = i64::MAX
        );
        assert!(case.store.execute(&set, []).expect("changed") > 0);
    }
    for question in questions() {
        case.ask(&question);
    }
    let journal = open(case.dir.path());
    let session = journal
        .session(new_session("alice", "/usr/bin/psql"))
        .expect("recorded");
    let read = journal.statement(
        facts(Kind::Select, &[("orders", Use::Read)]),
        allowed(),
        "abc",
        Vec::new(),
    );
    let seq = journal
        .requested(&session, &read, Via::Simple, 0, 9)
        .expect("recorded");
    let ended = outcome(seq, Ending::Completed, u64::MAX, 1);
    journal.outcome(&ended).expect("recorded");
    drop(journal);
    let mut case = case;
    index::catch_up(&mut case.store, case.dir.path()).expect("indexed");
    for question in questions() {
        case.ask(&question);
    }
}

#[test]
fn an_answer_that_is_too_long_is_cut_and_says_so() {
    let case = case();
    let period = Period::parse("24h", None, clock::now().as_secs()).expect("a period");
    let ask = |question: &Question, lines, bytes| {
        let most = Most { lines, bytes };
        ask_at_most(&case.store, case.dir.path(), question, period, most).expect("an answer")
    };
    let is_cut = |report: &Report| {
        let mut notes = report.header.incomplete.iter();
        notes.any(|note| note.contains("narrow the period"))
    };
    for question in questions() {
        let whole = case.ask(&question);
        assert!(!is_cut(&whole), "{question:?}");
        if question == Question::Completeness {
            continue;
        }
        let count = whole.rows.len();
        assert!(count > 1, "{question:?}");
        let cut = ask(&question, count - 1, usize::MAX);
        assert_eq!(cut.rows.len(), count - 1, "{question:?}");
        assert!(is_cut(&cut), "{question:?}");
        let exact = ask(&question, count, usize::MAX);
        assert!(exact.rows == whole.rows && !is_cut(&exact), "{question:?}");
        let small = ask(&question, usize::MAX, 1);
        assert!(small.rows.is_empty() && is_cut(&small), "{question:?}");
    }
    let gaps = ask(&Question::Completeness, 0, usize::MAX);
    assert!(gaps.sections.is_empty() && is_cut(&gaps));
}
