//! How long reading, deciding and rewriting take, by statement: the median of many runs.

use std::time::Instant;

use weir_sql::postgres::{Context, Orders, Outcome, govern};
use weir_sql::{Catalog, ColumnMask, ColumnName, Facts, Mask, Naming, SessionModes};

const STATEMENTS: &[(&str, &str)] = &[
    (
        "join, masked",
        "SELECT c.id, c.name, c.ssn, o.total FROM customers c JOIN orders o ON o.customer_id = c.id WHERE o.day > '2024-01-01' ORDER BY o.id LIMIT 50",
    ),
    (
        "join, untouched",
        "SELECT c.id, c.name, o.total FROM customers c JOIN orders o ON o.customer_id = c.id WHERE o.day > '2024-01-01' ORDER BY o.id LIMIT 50",
    ),
    ("one row", "SELECT * FROM customers WHERE id = 42"),
    (
        "grouped",
        "SELECT c.id, c.email, count(*), sum(o.total) FROM customers c LEFT JOIN orders o ON o.customer_id = c.id GROUP BY c.id",
    ),
    (
        "view by its columns",
        "SELECT id, ssn FROM plain WHERE id < 10",
    ),
    ("view by its definition", "SELECT * FROM totals"),
    (
        "insert",
        "INSERT INTO orders (id, customer_id, total) VALUES (1, 2, 3)",
    ),
];

const RUNS: usize = 2_000;

fn main() {
    let customers = vec![
        ("id", "int"),
        ("name", "text"),
        ("email", "varchar(60)"),
        ("ssn", "text"),
        ("salary", "numeric(10,2)"),
        ("region", "text"),
    ];
    let orders = vec![
        ("id", "int"),
        ("customer_id", "int"),
        ("total", "numeric(10,2)"),
        ("day", "date"),
    ];
    let views = [
        ("app.plain", "SELECT id, ssn FROM app.customers"),
        (
            "app.totals",
            "SELECT c.ssn, sum(o.total) AS total FROM app.customers c JOIN app.orders o ON o.customer_id = c.id GROUP BY c.ssn",
        ),
    ];
    let catalog = match Catalog::from_tables(
        [("app.customers", customers), ("app.orders", orders)],
        views,
    ) {
        Ok(catalog) => catalog,
        Err(error) => return eprintln!("the catalog is broken: {error}"),
    };
    let naming = Naming {
        search_path: vec!["app".to_owned()],
        certain: true,
        ..Naming::default()
    };
    let context = Context {
        modes: SessionModes::default(),
        catalog: &catalog,
        naming: &naming,
    };
    for (name, text) in STATEMENTS {
        let mut taken = Vec::with_capacity(RUNS);
        let mut outcome = String::new();
        for _ in 0..RUNS {
            let start = Instant::now();
            let governed = govern(text.as_bytes(), &context, &mut mask);
            taken.push(start.elapsed());
            outcome = match governed.outcome {
                Ok(Outcome::Unchanged) => "unchanged".to_owned(),
                Ok(Outcome::Rewritten(rewritten)) => rewritten.text,
                Err(obstacle) => obstacle.to_string(),
            };
        }
        taken.sort_unstable();
        let median = taken.get(RUNS / 2).copied().unwrap_or_default();
        println!("{name}: {:.1} µs\n  {outcome}", median.as_secs_f64() * 1e6);
    }
}

fn mask(facts: &Facts) -> Orders {
    let hidden = |column: &ColumnName| matches!(column.column.as_str(), "ssn" | "email" | "salary");
    Orders {
        protect: true,
        masks: facts
            .reachable
            .iter()
            .filter(|reachable| hidden(&reachable.column) || reachable.bases.iter().any(hidden))
            .map(|reachable| ColumnMask {
                column: reachable.column.clone(),
                mask: Mask::Redact,
            })
            .collect(),
        ..Orders::default()
    }
}
