//! Statements of a masked principal on a real server: what is rewritten answers on the real data as the statement itself
//! answers on a twin database whose masked columns hold the constants.

mod filters;
mod kinds;
mod server;
mod tools;

use server::Server;
use weir_sql::catalog::{Builder, QUERIES};
use weir_sql::postgres::{Context, Orders, Outcome, Tracker, govern, steps};
use weir_sql::{Catalog, ColumnMask, ColumnName, Facts, Mask, Naming, SessionModes};

const SCHEMA: &str = include_str!("schema.sql");
const TWIN: &str = include_str!("twin.sql");
const OTHER: &str = include_str!("other.sql");
const STATEMENTS: &str = include_str!("statements.sql");
const TRICKS: &str = include_str!("tricks.sql");

/// Columns that are masked with `redact`.
const MASKED: &[(&str, &[&str])] = &[
    (
        "customers",
        &[
            "email", "ssn", "salary", "born", "meta", "tags", "mood", "active", "seen",
        ],
    ),
    ("people", &["ssn"]),
    ("events", &["ssn"]),
    ("Weird Name", &["S S"]),
];

#[test]
fn masked_statements_answer_as_the_twin_does() {
    let server = Server::start("masking");
    for database in ["real", "twin"] {
        server.psql("postgres", &format!("CREATE DATABASE {database}"));
        server.psql(database, SCHEMA);
    }
    server.psql("twin", TWIN);
    for database in ["real", "twin"] {
        // Rows lie at the same places in both.
        server.psql(database, "REFRESH MATERIALIZED VIEW app.mv");
        server.psql(database, "VACUUM FULL");
    }
    let catalog = read_catalog(&server, "real");
    let naming = Naming {
        search_path: vec!["app".to_owned(), "public".to_owned()],
        certain: true,
        ..Naming::default()
    };

    let statements: Vec<&str> = cases(STATEMENTS);
    let mut refused = Vec::new();
    let mut run = Vec::new();
    for statement in &statements {
        let context = Context {
            modes: SessionModes::default(),
            catalog: &catalog,
            naming: &naming,
        };
        match govern(statement.as_bytes(), &context, &mut redacting).outcome {
            Ok(Outcome::Unchanged) => run.push((*statement, (*statement).to_owned())),
            Ok(Outcome::Rewritten(rewritten)) => run.push((*statement, rewritten.text)),
            Err(obstacle) => refused.push((*statement, obstacle.to_string())),
        }
    }
    let governed: Vec<&str> = run.iter().map(|(_, text)| text.as_str()).collect();
    let plain: Vec<&str> = run.iter().map(|(text, _)| *text).collect();
    let real = answers(&server, "real", &governed);
    let twin = answers(&server, "twin", &plain);
    let mut different = Vec::new();
    for (((statement, rewritten), real), twin) in run.iter().zip(&real).zip(&twin) {
        if normal(statement, real) != normal(statement, twin) {
            different.push(format!(
                "{statement}\n-> {rewritten}\n{real}\n-- twin:\n{twin}"
            ));
        }
    }
    println!(
        "{} statements: {} as on the twin, {} differ, {} refused",
        statements.len(),
        run.len() - different.len(),
        different.len(),
        refused.len()
    );
    for (statement, why) in &refused {
        println!("refused: {statement}\n    {why}");
    }
    assert!(different.is_empty(), "{}", different.join("\n\n"));
    assert!(refused.is_empty(), "{refused:#?}");
}

#[test]
fn no_trick_tells_databases_apart_that_differ_in_masked_values() {
    let server = Server::start("tricks");
    for (database, change) in [("one", ""), ("other", OTHER)] {
        server.psql("postgres", &format!("CREATE DATABASE {database}"));
        server.psql(database, SCHEMA);
        server.psql(database, change);
        server.psql(database, "REFRESH MATERIALIZED VIEW app.mv");
        server.psql(database, "VACUUM FULL");
        server.psql(database, "ANALYZE");
    }
    let catalog = read_catalog(&server, "one");
    let (mut texts, mut refused) = (0, Vec::new());
    let mut run = Vec::new();
    for trick in cases(TRICKS) {
        let path = vec!["app".to_owned(), "public".to_owned()];
        let mut tracker = Tracker::new("postgres".to_owned(), Some(path));
        let mut sent = Vec::new();
        for text in trick.lines() {
            texts += 1;
            let naming = tracker.naming();
            let context = Context {
                modes: SessionModes::default(),
                catalog: &catalog,
                naming: &naming,
            };
            let governed = govern(text.as_bytes(), &context, &mut redacting);
            match governed.outcome {
                Ok(Outcome::Unchanged) => sent.push(text.to_owned()),
                Ok(Outcome::Rewritten(rewritten)) => sent.push(rewritten.text),
                Err(obstacle) => {
                    refused.push((text, obstacle.to_string()));
                    continue;
                }
            }
            tracker.sent(&steps(text.as_bytes(), SessionModes::default()));
            // The whole trick is one transaction.
            tracker.status(b'T');
        }
        run.push((trick, sent.join(";\n")));
    }
    let sent: Vec<&str> = run.iter().map(|(_, text)| text.as_str()).collect();
    let one = answers(&server, "one", &sent);
    let other = answers(&server, "other", &sent);
    println!(
        "{texts} texts of {} tricks, {} refused:",
        run.len(),
        refused.len()
    );
    for (text, why) in &refused {
        println!("  {text}\n    {why}");
    }
    let mut leaks = Vec::new();
    for (((trick, text), one), other) in run.iter().zip(&one).zip(&other) {
        if timeless(one) != timeless(other) {
            leaks.push(format!("{trick}\n-> {text}\n{one}\n-- other:\n{other}"));
        }
    }
    assert!(leaks.is_empty(), "{}", leaks.join("\n\n"));
}

/// Without what `EXPLAIN ANALYZE` measures.
fn timeless(answer: &str) -> Vec<String> {
    answer
        .lines()
        .filter(|line| !line.contains(" Time: "))
        .map(|line| match line.find("actual time=") {
            Some(at) => {
                let (kept, rest) = line.split_at(at);
                let counts = rest.find(" rows=").map_or("", |at| &rest[at..]);
                format!("{kept}{counts}")
            }
            None => line.to_owned(),
        })
        .collect()
}

/// Decides as a policy does: over what is reachable.
fn redacting(facts: &Facts) -> Orders {
    let is_masked = |name: &ColumnName| {
        name.schema == "app"
            && MASKED.iter().any(|(relation, columns)| {
                *relation == name.relation && columns.contains(&name.column.as_str())
            })
    };
    let masks = facts
        .reachable
        .iter()
        .filter(|reachable| is_masked(&reachable.column) || reachable.bases.iter().any(is_masked))
        .map(|reachable| ColumnMask {
            column: reachable.column.clone(),
            mask: Mask::Redact,
        })
        .collect();
    Orders {
        protect: true,
        masks,
        ..Orders::default()
    }
}

/// One statement, or several of one text, to a paragraph.
fn cases(text: &str) -> Vec<&str> {
    text.split("\n\n")
        .map(str::trim)
        .filter(|case| !case.is_empty())
        .collect()
}

/// What each statement prints, in a transaction of its own that is rolled back.
fn answers(server: &Server, database: &str, statements: &[&str]) -> Vec<String> {
    let mut script =
        "\\set VERBOSITY sqlstate\nSET search_path = app, public;\nSET enable_seqscan = on;\n"
            .to_owned();
    for statement in statements {
        script.push_str("\\echo <<<>>>\nBEGIN;\n");
        script.push_str(statement);
        script.push_str("\n;\nROLLBACK;\nDEALLOCATE ALL;\n");
    }
    server
        .psql(database, &script)
        .split("<<<>>>\n")
        .skip(1)
        .map(str::to_owned)
        .collect()
}

/// Without an order rows may come in any; plans differ as they must.
fn normal(statement: &str, answer: &str) -> Vec<String> {
    let mut lines: Vec<String> = answer.lines().map(str::to_owned).collect();
    if statement.starts_with("explain") {
        return vec![lines.len().min(1).to_string()];
    }
    if !statement.contains("order by") && !statement.contains("ORDER BY") {
        lines.sort();
    }
    lines
}

fn read_catalog(server: &Server, database: &str) -> Catalog {
    let mut builder = Builder::default();
    for (name, query) in QUERIES {
        let script = format!(
            "SET search_path = '';\n\\pset tuples_only on\n\\pset null '\\001'\n\
             \\pset fieldsep '\\037'\n\\pset recordsep '\\036'\n{query};\n"
        );
        let printed = server.psql(database, &script);
        for row in printed.trim_end_matches('\n').split('\u{1e}') {
            let row = row.strip_prefix('\n').unwrap_or(row);
            if row.is_empty() {
                continue;
            }
            let cells: Vec<Option<&str>> = row
                .split('\u{1f}')
                .map(|cell| (cell != "\u{1}").then_some(cell))
                .collect();
            builder.row(name, &cells).expect(name);
        }
    }
    builder.finish()
}
