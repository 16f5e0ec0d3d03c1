//! Prints what reading a statement costs: `cargo run --release -p weir-sql --example measure [FILE]`.
//!
//! With a file of statements separated by zero bytes it reads them all and prints what does not parse.

use std::hint::black_box;
use std::time::Instant;

use weir_sql::postgres::{Context, Shape, analyse, analyse_in, shape};
use weir_sql::{Catalog, Confidence, Naming, SessionModes};

fn main() -> std::io::Result<()> {
    if let Some(path) = std::env::args().nth(1) {
        read_all(&std::fs::read(path)?);
        return Ok(());
    }
    let catalog = catalog();
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
    // Just below and just above the bound from which a thread with a large stack is used.
    let inline = format!("SELECT a{} FROM t", "||a".repeat(60));
    let thread = format!("SELECT a{} FROM t", "||a".repeat(70));
    for (name, text) in [
        (
            "short select",
            "SELECT id, name FROM customers WHERE id = 42 AND city = 'Bonn'",
        ),
        (
            "two-table join",
            "SELECT o.id, c.name FROM orders o JOIN customers c ON c.id = o.customer WHERE o.total > 100 ORDER BY 1",
        ),
        (
            "insert",
            "INSERT INTO orders (id, total, note) VALUES (1, 19.99, 'first')",
        ),
        ("60 operators", inline.as_str()),
        ("70 operators", thread.as_str()),
    ] {
        let analysed = nanoseconds(2_000, || {
            black_box(analyse(black_box(text.as_bytes()), SessionModes::default()));
        });
        let bound = nanoseconds(2_000, || {
            black_box(analyse_in(black_box(text.as_bytes()), &context));
        });
        let mut out = Shape::new();
        let shaped = nanoseconds(100_000, || {
            black_box(shape(
                black_box(text.as_bytes()),
                SessionModes::default(),
                &mut out,
            ));
        });
        println!(
            "{name:16} {:4} bytes  facts {analysed:8.0} ns  with columns {bound:8.0} ns  shape {shaped:6.0} ns",
            text.len()
        );
    }
    Ok(())
}

/// Two tables of ten columns among a thousand others.
fn catalog() -> Catalog {
    let columns = |names: &'static [&'static str]| names.iter().map(|&name| (name, "text"));
    let names: Vec<String> = (0..1_000).map(|number| format!("app.t{number}")).collect();
    let others = names
        .iter()
        .map(|name| (name.as_str(), columns(&["id", "a", "b"])));
    let customers = columns(&[
        "id", "name", "city", "email", "ssn", "salary", "born", "phone", "street", "zip",
    ]);
    let orders = columns(&[
        "id", "customer", "total", "note", "placed", "region", "status", "paid", "tax", "currency",
    ]);
    let tables = others.chain([("app.customers", customers), ("app.orders", orders)]);
    Catalog::from_tables(tables, []).unwrap_or_default()
}

/// The best of five rounds, per call.
fn nanoseconds(calls: u32, mut work: impl FnMut()) -> f64 {
    (0..5)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..calls {
                work();
            }
            start.elapsed().as_secs_f64() * 1e9 / f64::from(calls)
        })
        .fold(f64::INFINITY, f64::min)
}

fn read_all(file: &[u8]) {
    let (mut count, mut unparsed, mut unknown) = (0_usize, 0_usize, 0_usize);
    let start = Instant::now();
    for text in file
        .split(|&byte| byte == 0)
        .filter(|text| !text.is_empty())
    {
        let facts = analyse(text, SessionModes::default());
        count += 1;
        if facts.confidence == Confidence::Unparsed {
            unparsed += 1;
            let reason = facts.parse_error.unwrap_or_default();
            println!(
                "{reason}\t{}",
                String::from_utf8_lossy(text).replace('\n', " ")
            );
        } else if facts.kinds.contains(&weir_sql::Kind::Unknown) {
            unknown += 1;
            println!(
                "unknown kind\t{}",
                String::from_utf8_lossy(text).replace('\n', " ")
            );
        }
    }
    let elapsed = start.elapsed();
    println!("{count} statements, {unparsed} unparsed, {unknown} of unknown kind, {elapsed:?}");
}
