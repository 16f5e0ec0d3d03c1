//! Every kind of mask on columns of every type: the value is hidden, the type stays.

use weir_sql::postgres::{Context, Orders, Outcome, govern};
use weir_sql::{Catalog, ColumnMask, ColumnName, Mask, Naming, SessionModes};

use crate::read_catalog;
use crate::server::Server;

/// Column type and a value that no mask may give back.
const COLUMNS: &[(&str, &str)] = &[
    ("text", "someone@example.org"),
    ("varchar(40)", "4012888888881881"),
    ("varchar(2)", "ab"),
    ("char(12)", "Mr Secretive"),
    ("name", "nameofit"),
    ("int2", "12345"),
    ("int4", "123456789"),
    ("int8", "4012888888881881"),
    ("numeric", "12345.678"),
    ("numeric(8,2)", "54321.12"),
    ("numeric(3,3)", "0.123"),
    ("float4", "1234.5"),
    ("float8", "-98765.25"),
    ("money", "$12.34"),
    ("bool", "t"),
    ("uuid", "7f1b2c3d-0000-4000-8000-123456789abc"),
    ("json", "{\"a\": 1}"),
    ("jsonb", "{\"a\": 1}"),
    ("bytea", "\\xdeadbeef"),
    ("date", "1984-05-06"),
    ("time", "12:34:56"),
    ("timetz", "12:34:56+02"),
    ("timestamp", "1984-05-06 12:34:56"),
    ("timestamp(3)", "1984-05-06 12:34:56.123"),
    ("timestamptz", "1984-05-06 12:34:56+00"),
    ("interval", "3 days"),
    ("inet", "192.168.7.42"),
    ("cidr", "192.168.7.0/24"),
    ("macaddr", "08:00:2b:01:02:03"),
    ("bit(4)", "1010"),
    ("varbit(8)", "101"),
    ("text[]", "{a,b}"),
    ("int4[]", "{1,2}"),
    ("int4range", "[3,9)"),
    (
        "tstzrange",
        "[2020-01-01 00:00:00+00,2020-01-02 00:00:00+00)",
    ),
    ("int4multirange", "{[3,9)}"),
    ("point", "(1,2)"),
    ("xml", "<a>secret</a>"),
    ("tsvector", "\'cat\'"),
    ("app.mood", "cross"),
    ("app.email_domain", "someone@example.org"),
    ("app.mood_domain", "cross"),
    ("app.pair", "(1,x)"),
];

const MASKS: &[Mask] = &[
    Mask::Generalise,
    Mask::ShiftDate,
    Mask::DomainOnly,
    Mask::Last4,
    Mask::Partial,
    Mask::Fake,
    Mask::Hash,
    Mask::Redact,
    Mask::Null,
];

#[test]
fn every_kind_hides_every_type_and_keeps_it() {
    let server = Server::start("kinds");
    let columns: Vec<String> = COLUMNS
        .iter()
        .enumerate()
        .map(|(number, (type_sql, _))| format!("c{number} {type_sql}"))
        .collect();
    let values: Vec<String> = COLUMNS
        .iter()
        .map(|(_, value)| format!("'{}'", value.replace('\'', "''")))
        .collect();
    let made = server.psql(
        "postgres",
        &format!(
            "CREATE SCHEMA app; CREATE TYPE app.mood AS ENUM ('calm', 'cross');
             CREATE DOMAIN app.email_domain AS text CHECK (VALUE ~ '@');
             CREATE DOMAIN app.mood_domain AS app.mood;
             CREATE TYPE app.pair AS (a int, b text);
             CREATE TABLE app.kinds ({}); INSERT INTO app.kinds VALUES ({});
             CREATE TABLE app.truth AS TABLE app.kinds;",
            columns.join(", "),
            values.join(", ")
        ),
    );
    assert_eq!(made, "");
    let catalog = read_catalog(&server, "postgres");
    let mut asked = Vec::new();
    let mut script = "\\pset tuples_only on\n".to_owned();
    for mask in MASKS {
        for (number, (type_sql, value)) in COLUMNS.iter().enumerate() {
            let column = format!("c{number}");
            let text = format!(
                "SELECT k.{column}, pg_typeof(k.{column}), pg_typeof(t.{column}), \
                 k.{column}::text IS NOT DISTINCT FROM t.{column}::text FROM app.kinds k, app.truth t"
            );
            let rewritten = rewritten(&catalog, &text, "kinds", &column, *mask);
            script.push_str("\\echo <<<>>>\n");
            script.push_str(&rewritten);
            script.push_str(";\n");
            asked.push((*mask, *type_sql, *value, rewritten));
        }
    }
    let printed = server.psql("postgres", &script);
    let mut wrong = Vec::new();
    for ((mask, type_sql, value, rewritten), answer) in
        asked.iter().zip(printed.split("<<<>>>\n").skip(1))
    {
        let cells: Vec<&str> = answer.trim_end().rsplitn(4, '|').collect();
        // A domain is masked as what it is made of.
        let same_type = matches!(cells.as_slice(), [_, real, made, _] if real == made)
            || (type_sql.ends_with("_domain") && cells.len() == 4);
        let hidden = cells.first() == Some(&"f");
        if !same_type || !hidden || answer.contains(value) {
            wrong.push(format!("{mask:?} of {type_sql}: {answer}{rewritten}"));
        }
    }
    assert_eq!(asked.len(), MASKS.len() * COLUMNS.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn masks_that_keep_something_keep_what_they_say() {
    let server = Server::start("kept");
    server.psql(
        "postgres",
        "CREATE SCHEMA app; CREATE TABLE app.t (id int, email text, phone text, born date, pan int8, ip inet, n int, name text, other text);
         INSERT INTO app.t VALUES (1, 'someone@example.org', '+4930123456', '1984-05-06', 4012888888881881, '10.1.2.3', 123456, 'Ann', 'same'),
         (2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL), (3, 'ab', '12', '1999-12-31', 77, 'fe80::1', -7, 'Bob', 'same');",
    );
    let catalog = read_catalog(&server, "postgres");
    for (column, mask, expected) in [
        ("email", Mask::Partial, "s***@example.org||***"),
        ("phone", Mask::Partial, "+***||***"),
        ("email", Mask::DomainOnly, "***@example.org||***"),
        ("phone", Mask::Last4, "***3456||***"),
        ("pan", Mask::Last4, "1881||0"),
        ("born", Mask::Generalise, "1984-01-01||1999-01-01"),
        ("ip", Mask::Generalise, "10.1.2.0/24||fe80::/48"),
        ("n", Mask::Generalise, "120000||-7"),
        ("name", Mask::Generalise, "A||B"),
        ("email", Mask::Redact, "***|***|***"),
        ("n", Mask::Redact, "0|0|0"),
        ("n", Mask::Null, "||"),
    ] {
        assert_eq!(
            masked(&server, &catalog, column, mask),
            expected,
            "{column} {mask:?}"
        );
    }
    for (column, mask) in [("other", Mask::Hash), ("other", Mask::Fake)] {
        let cells = masked(&server, &catalog, column, mask);
        let cells: Vec<_> = cells.split('|').collect();
        assert!(
            matches!(cells.as_slice(), [a, "", b] if a == b && !a.is_empty()),
            "{mask:?} {cells:?}"
        );
    }
    let shifted = masked(&server, &catalog, "born", Mask::ShiftDate);
    assert!(
        shifted.starts_with("198") && !shifted.contains("1984-05-06"),
        "{shifted}"
    );
    let fake = masked(&server, &catalog, "email", Mask::Fake);
    assert!(fake.contains("@example.com"), "{fake}");
}

/// All values of a column, masked.
fn masked(server: &Server, catalog: &Catalog, column: &str, mask: Mask) -> String {
    let text =
        format!("SELECT string_agg(coalesce({column}::text, ''), '|' ORDER BY id) FROM app.t");
    let text = rewritten(catalog, &text, "t", column, mask);
    server
        .psql("postgres", &format!("\\pset tuples_only on\n{text};\n"))
        .trim_end()
        .to_owned()
}

/// The text under one mask.
fn rewritten(catalog: &Catalog, text: &str, relation: &str, column: &str, mask: Mask) -> String {
    let orders = Orders {
        protect: true,
        masks: vec![ColumnMask {
            column: ColumnName {
                schema: "app".to_owned(),
                relation: relation.to_owned(),
                column: column.to_owned(),
            },
            mask,
        }],
        key: [7; 32],
        ..Orders::default()
    };
    let naming = Naming::default();
    let context = Context {
        modes: SessionModes::default(),
        catalog,
        naming: &naming,
    };
    match govern(text.as_bytes(), &context, &mut |_| orders.clone()).outcome {
        Ok(Outcome::Rewritten(rewritten)) => rewritten.text,
        other => panic!("{text}: {other:?}"),
    }
}
