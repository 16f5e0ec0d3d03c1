//! What columns a statement touches, and what for.

use super::*;
use crate::facts::{ColumnUsage, ColumnUse};
use crate::postgres::analyse_in;
use crate::{Catalog, Naming};

fn catalog() -> Catalog {
    Catalog::from_tables(
        [
            (
                "app.customers",
                vec![
                    ("id", "int"),
                    ("name", "text"),
                    ("ssn", "text"),
                    ("salary", "numeric"),
                ],
            ),
            (
                "app.orders",
                vec![("id", "int"), ("customer", "int"), ("total", "numeric")],
            ),
            ("app.notes", vec![("id", "int"), ("note", "text")]),
            (
                "app.docs",
                vec![
                    ("id", "int"),
                    ("body", "text"),
                    ("embedding", "public.vector(3)"),
                    ("place", "public.geometry"),
                ],
            ),
            ("app.events", vec![("id", "int"), ("who", "text")]),
            ("app.events_1", vec![("id", "int"), ("who", "text")]),
            ("crm.notes", vec![("id", "int"), ("body", "text")]),
        ],
        [
            (
                "app.masked",
                "SELECT id, upper(ssn) AS ssn FROM app.customers WHERE salary > 0",
            ),
            ("app.behind", "SELECT id AS number, ssn FROM app.masked"),
            ("app.recent", "SELECT id, who FROM app.events"),
        ],
    )
    .and_then(|catalog| catalog.with_child("app.events_1", "app.events"))
    .expect("a good catalog")
}

fn naming(certain: bool) -> Naming {
    Naming {
        search_path: vec!["app".to_owned()],
        certain,
        temporary: ["drafts".to_owned()].into(),
        veiled: false,
    }
}

fn facts_in(text: &str) -> Facts {
    let facts = analyse_in(
        text.as_bytes(),
        &Context {
            modes: SessionModes::default(),
            catalog: &catalog(),
            naming: &naming(true),
        },
    );
    assert_eq!(facts.parse_error, None, "{text}");
    facts
}

/// `O customers.id`: the usage's first letter, relation and column.
fn short(ColumnUse { column, usage, .. }: &ColumnUse) -> String {
    let letter = match usage {
        ColumnUsage::Output => 'O',
        ColumnUsage::Predicate => 'P',
        ColumnUsage::Join => 'J',
        ColumnUsage::Write => 'W',
    };
    format!("{letter} {}.{}", column.relation, column.column)
}

fn check(text: &str, expected: &[&str]) {
    let found: Vec<_> = facts_in(text).columns.iter().map(short).collect();
    assert_eq!(in_order(&found), in_order(expected), "{text}");
}

fn in_order<T: AsRef<str>>(uses: &[T]) -> Vec<&str> {
    let mut uses: Vec<_> = uses.iter().map(AsRef::as_ref).collect();
    uses.sort_unstable();
    uses
}

#[test]
fn of_queries_are_told_apart_by_use() {
    for (text, expected) in [
        ("SELECT id FROM customers", &["O customers.id"][..]),
        (
            "SELECT name FROM customers WHERE ssn = '1'",
            &["O customers.name", "P customers.ssn"],
        ),
        (
            "SELECT c.name FROM customers c JOIN orders o ON o.customer = c.id AND o.total > 5",
            &[
                "O customers.name",
                "J customers.id",
                "J orders.customer",
                "P orders.total",
            ],
        ),
        (
            "SELECT total FROM customers c, orders o WHERE o.customer = c.id AND (c.ssn = '1' OR o.id = 2)",
            &[
                "O orders.total",
                "J customers.id",
                "J orders.customer",
                "P customers.ssn",
                "P orders.id",
            ],
        ),
        (
            "SELECT a.name FROM customers a JOIN customers b ON a.ssn = b.ssn",
            &["O customers.name", "J customers.ssn"],
        ),
        (
            "SELECT name FROM customers WHERE ssn = name",
            &["O customers.name", "P customers.name", "P customers.ssn"],
        ),
        (
            "SELECT note, name FROM notes JOIN customers USING (id)",
            &[
                "O notes.note",
                "O customers.name",
                "J notes.id",
                "J customers.id",
            ],
        ),
        (
            "SELECT name FROM customers WHERE id IN (SELECT customer FROM orders WHERE total > 1)",
            &[
                "O customers.name",
                "J customers.id",
                "J orders.customer",
                "P orders.total",
            ],
        ),
        (
            "SELECT name FROM customers c WHERE EXISTS (SELECT o.id FROM orders o WHERE o.customer = c.id AND o.total > 1)",
            &[
                "O customers.name",
                "J customers.id",
                "J orders.customer",
                "P orders.total",
                "P orders.id",
            ],
        ),
    ] {
        check(text, expected);
    }
}

#[test]
fn of_what_is_made_of_queries_are_followed() {
    for (text, expected) in [
        (
            "SELECT count(*) FROM customers GROUP BY name HAVING max(salary) > 1",
            &["P customers.name", "P customers.salary"][..],
        ),
        (
            "SELECT DISTINCT name FROM customers",
            &["O customers.name", "P customers.name"],
        ),
        (
            "SELECT id FROM customers UNION SELECT id FROM notes",
            &[
                "O customers.id",
                "P customers.id",
                "O notes.id",
                "P notes.id",
            ],
        ),
        (
            "SELECT id FROM customers UNION ALL SELECT id FROM notes",
            &["O customers.id", "O notes.id"],
        ),
        (
            "SELECT s FROM (SELECT ssn AS s FROM customers) x WHERE s = '1'",
            &["O customers.ssn", "P customers.ssn"],
        ),
        (
            "WITH x AS (SELECT id, ssn FROM customers) SELECT o.total FROM x JOIN orders o ON o.customer = x.id",
            &[
                "O customers.id",
                "O customers.ssn",
                "J customers.id",
                "J orders.customer",
                "O orders.total",
            ],
        ),
        (
            "SELECT id, name FROM customers ORDER BY 2",
            &[
                "O customers.id",
                "O customers.name",
                "P customers.id",
                "P customers.name",
            ],
        ),
    ] {
        check(text, expected);
    }
}

#[test]
fn of_other_statements_are_found_too() {
    for (text, expected) in [
        ("SELECT * FROM drafts", &[][..]),
        ("SELECT id FROM nowhere", &[]),
        ("SELECT nothing FROM customers", &[]),
        ("EXPLAIN SELECT id FROM customers", &["O customers.id"]),
        ("PREPARE p AS SELECT id FROM customers", &["O customers.id"]),
        (
            "DECLARE k CURSOR FOR SELECT id FROM customers",
            &["O customers.id"],
        ),
        (
            "CREATE TABLE n AS SELECT id FROM customers",
            &["O customers.id"],
        ),
        ("COPY notes TO STDOUT", &["O notes.id", "O notes.note"]),
        ("COPY notes (id) TO STDOUT", &["O notes.id"]),
        ("COPY notes (id) FROM STDIN", &["W notes.id"]),
        (
            "COPY (SELECT ssn FROM customers) TO STDOUT",
            &["O customers.ssn"],
        ),
        (
            "CREATE INDEX ON customers (lower(ssn)) WHERE id > 1",
            &["P customers.ssn", "P customers.id"],
        ),
    ] {
        check(text, expected);
    }
}

#[test]
fn of_writes_are_told_apart_by_use() {
    for (text, expected) in [
        ("INSERT INTO notes (id) VALUES (1)", &["W notes.id"][..]),
        ("INSERT INTO notes VALUES (1)", &["W notes.id"]),
        (
            "INSERT INTO notes VALUES (1, 'a')",
            &["W notes.id", "W notes.note"],
        ),
        ("INSERT INTO notes DEFAULT VALUES", &[]),
        (
            "INSERT INTO notes (id, note) SELECT id, ssn FROM customers WHERE salary > 1 RETURNING note",
            &[
                "W notes.id",
                "W notes.note",
                "O customers.id",
                "O customers.ssn",
                "P customers.salary",
                "O notes.note",
            ],
        ),
        (
            "INSERT INTO notes AS n VALUES (1, 'a') ON CONFLICT (id) DO UPDATE SET note = excluded.note WHERE n.note <> 'b'",
            &["W notes.id", "W notes.note", "P notes.id", "P notes.note"],
        ),
        (
            "UPDATE customers SET name = ssn WHERE id = 1 RETURNING *",
            &[
                "W customers.name",
                "O customers.ssn",
                "P customers.id",
                "O customers.id",
                "O customers.name",
                "O customers.salary",
            ],
        ),
        (
            "UPDATE customers c SET (name, ssn) = (SELECT note, 'x' FROM notes n WHERE n.id = c.id)",
            &[
                "W customers.name",
                "W customers.ssn",
                "O notes.note",
                "J notes.id",
                "J customers.id",
            ],
        ),
        (
            "UPDATE customers c SET name = n.note FROM notes n WHERE n.id = c.id",
            &[
                "W customers.name",
                "O notes.note",
                "J notes.id",
                "J customers.id",
            ],
        ),
        (
            "DELETE FROM customers c USING orders o WHERE o.customer = c.id AND c.ssn = '1'",
            &["J orders.customer", "J customers.id", "P customers.ssn"],
        ),
        (
            "MERGE INTO notes n USING customers c ON n.id = c.id WHEN MATCHED AND c.salary > 1 THEN UPDATE SET note = c.ssn \
             WHEN NOT MATCHED THEN INSERT (id, note) VALUES (c.id, c.name)",
            &[
                "J notes.id",
                "J customers.id",
                "P customers.salary",
                "W notes.note",
                "O customers.ssn",
                "W notes.id",
                "O customers.id",
                "O customers.name",
            ],
        ),
        (
            "WITH gone AS (DELETE FROM notes RETURNING note) SELECT note FROM gone",
            &["O notes.note"],
        ),
        (
            "UPDATE notes SET note = 'x' RETURNING old.note AS a, new.id AS b",
            &["W notes.note", "O notes.note", "O notes.id"],
        ),
        (
            "UPDATE notes SET note = 'x' RETURNING WITH (OLD AS o) o.note AS a",
            &["W notes.note", "O notes.note"],
        ),
    ] {
        check(text, expected);
    }
}

#[test]
fn of_views_are_traced_to_tables() {
    let facts = facts_in("SELECT ssn FROM behind");
    let used: Vec<_> = facts.columns.iter().map(short).collect();
    assert_eq!(used, ["O behind.ssn", "P customers.salary"]);
    let bases = &facts.columns[0].bases;
    assert_eq!(bases.len(), 1);
    assert_eq!(
        (bases[0].relation.as_str(), bases[0].column.as_str()),
        ("customers", "ssn")
    );
    let catalog = catalog();
    let behind = catalog.relation("app", "behind").expect("a view");
    assert_eq!(behind.row_bases[0].column, "salary");
    assert!(behind.columns[0].exact, "a copy of a copy");
    assert!(!behind.columns[1].exact, "made by a function");
    assert_eq!(behind.columns[0].bases[0].column, "id");
}

fn reachable(text: &str) -> Vec<String> {
    let mut relations: Vec<_> = facts_in(text)
        .reachable
        .iter()
        .map(|reachable| format!("{}.{}", reachable.column.schema, reachable.column.relation))
        .collect();
    relations.dedup();
    relations
}

#[test]
fn everything_of_what_is_read_is_reachable() {
    for (text, expected) in [
        ("SELECT id FROM notes", &["app.notes"][..]),
        ("SELECT 1 FROM notes, orders", &["app.notes", "app.orders"]),
        (
            "SELECT id FROM behind",
            &["app.behind", "app.customers", "app.masked"],
        ),
        ("WITH notes AS (SELECT 1) SELECT * FROM notes", &[]),
        ("INSERT INTO notes VALUES (1, 'a')", &[]),
        (
            "INSERT INTO notes VALUES (1, 'a') RETURNING id",
            &["app.notes"],
        ),
        ("UPDATE notes SET note = 'a'", &[]),
        ("UPDATE notes SET note = 'a' WHERE id = 1", &["app.notes"]),
        ("DELETE FROM notes", &[]),
        (
            "INSERT INTO notes SELECT id, ssn FROM customers",
            &["app.customers"],
        ),
        ("COPY notes TO STDOUT", &["app.notes"]),
        ("COPY notes FROM STDIN", &[]),
        ("SELECT (SELECT max(total) FROM orders)", &["app.orders"]),
        ("SELECT id FROM drafts", &[]),
    ] {
        assert_eq!(reachable(text), expected, "{text}");
    }
}

#[test]
fn children_and_parents_share_what_is_known_of_their_columns() {
    let bases = |text: &str| -> Vec<String> {
        facts_in(text).columns[0]
            .bases
            .iter()
            .map(|base| format!("{}.{}", base.relation, base.column))
            .collect()
    };
    assert_eq!(bases("SELECT who FROM events"), ["events_1.who"]);
    assert_eq!(bases("SELECT who FROM events_1"), ["events.who"]);
    assert_eq!(
        bases("SELECT who FROM recent"),
        ["events.who", "events_1.who"]
    );
}

#[test]
fn an_uncertain_path_lists_every_candidate() {
    let catalog = catalog();
    let read = |text: &str, certain| -> Vec<String> {
        let naming = naming(certain);
        let context = Context {
            modes: SessionModes::default(),
            catalog: &catalog,
            naming: &naming,
        };
        let facts = analyse_in(text.as_bytes(), &context);
        let columns = facts.columns.iter().map(|used| &used.column);
        columns
            .map(|name| format!("{}.{}", name.schema, name.column))
            .collect()
    };
    assert_eq!(read("SELECT id FROM notes", true), ["app.id"]);
    assert_eq!(read("SELECT id FROM notes", false), ["app.id", "crm.id"]);
    assert_eq!(read("SELECT body FROM notes", false), ["crm.body"]);
    assert_eq!(read("SELECT id FROM app.notes", false), ["app.id"]);
}

#[test]
fn vectors_are_known_by_their_columns() {
    let kinds = |text: &str| facts_in(text).kinds;
    for (text, searches) in [
        (
            "SELECT id FROM docs ORDER BY embedding <=> $1 LIMIT 5",
            true,
        ),
        (
            "SELECT id FROM docs ORDER BY embedding <-> '[1,2,3]' LIMIT 5",
            true,
        ),
        ("SELECT id, embedding <#> $1 AS d FROM docs", true),
        (
            "SELECT id FROM docs WHERE cosine_distance(embedding, $1) < 1",
            true,
        ),
        (
            "SELECT id FROM (SELECT id, embedding AS e FROM docs) x ORDER BY x.e <+> $1",
            true,
        ),
        ("SELECT id FROM drafts ORDER BY e <-> $1::vector", true),
        ("SELECT id FROM drafts ORDER BY e <-> $1", true),
        ("SELECT id FROM docs ORDER BY place <-> $1 LIMIT 5", false),
        ("SELECT id FROM docs ORDER BY body <-> 'x' LIMIT 5", false),
        ("SELECT l2_distance(place, $1) FROM docs", false),
        ("SELECT embedding FROM docs", false),
    ] {
        assert_eq!(
            kinds(text).contains(&Kind::VectorSearch),
            searches,
            "{text}"
        );
    }
    for (text, writes) in [
        ("INSERT INTO docs (id, embedding) VALUES (1, $1)", true),
        ("INSERT INTO docs VALUES (1, 'a', '[1]')", true),
        ("UPDATE docs SET embedding = NULL", true),
        ("COPY docs FROM STDIN", true),
        ("INSERT INTO docs (id) VALUES (1)", false),
        ("UPDATE docs SET body = 'x' WHERE embedding IS NULL", false),
        ("COPY docs (id, body) FROM STDIN", false),
        ("DELETE FROM docs", false),
    ] {
        assert_eq!(
            kinds(text).contains(&Kind::EmbeddingWrite),
            writes,
            "{text}"
        );
    }
}

#[test]
fn vectors_are_guessed_without_a_catalog() {
    for (text, expected) in [
        (
            "SELECT id FROM t ORDER BY e <=> $1",
            &[Kind::Select, Kind::VectorSearch][..],
        ),
        (
            "SELECT id FROM t ORDER BY e <-> '[1]'::vector(3)",
            &[Kind::Select, Kind::VectorSearch],
        ),
        (
            "SELECT l2_distance(e, $1) FROM t",
            &[Kind::Select, Kind::VectorSearch],
        ),
        ("SELECT id FROM t WHERE a <-> b", &[Kind::Select]),
        (
            "INSERT INTO t VALUES ('[1]'::halfvec)",
            &[Kind::Insert, Kind::EmbeddingWrite],
        ),
        ("SELECT '[1]'::vector", &[Kind::Select]),
    ] {
        assert_eq!(facts(text).kinds, expected, "{text}");
    }
}

#[test]
fn what_a_text_cannot_sensibly_say_is_bounded() {
    let wide = format!("SELECT {} FROM customers", vec!["*"; 2_000].join(", "));
    let doubled = (0..40).fold("customers".to_owned(), |inner, level| {
        format!("(SELECT *, * FROM {inner}) x{level}")
    });
    let doubled = format!("SELECT * FROM {doubled}");
    for text in [wide, doubled] {
        let start = std::time::Instant::now();
        let facts = facts_in(&text);
        assert!(start.elapsed().as_millis() < 1_000, "{:?}", start.elapsed());
        // Everything counts as touched then.
        let outputs = (facts.columns.iter()).filter(|used| used.usage == ColumnUsage::Output);
        assert_eq!(outputs.count(), 4);
    }
}

#[test]
fn deeply_nested_texts_are_bound_on_the_stack_they_are_parsed_on() {
    let depth = 1_500;
    let nested = format!(
        "{}SELECT id FROM customers{}",
        "SELECT * FROM (".repeat(depth),
        ") x".repeat(depth)
    );
    let chained = format!("SELECT ssn{} FROM customers", " || ssn".repeat(3_000));
    for text in [nested, chained] {
        let facts = analyse_in(
            text.as_bytes(),
            &Context {
                modes: SessionModes::default(),
                catalog: &catalog(),
                naming: &naming(true),
            },
        );
        // The grammar may refuse it; what it accepts must be read.
        assert_eq!(facts.columns.is_empty(), facts.parse_error.is_some());
    }
}

#[test]
fn every_statement_of_the_corpus_can_be_bound() {
    for text in corpus::STATEMENTS {
        let context = Context {
            modes: SessionModes::default(),
            catalog: &catalog(),
            naming: &naming(false),
        };
        let facts = analyse_in(text.as_bytes(), &context);
        assert_eq!(facts.parse_error, None, "{text}");
    }
}
