//! Relations and columns as weir finds them, held against what the server itself says a view depends on.

mod server;
mod statements;

use std::collections::BTreeSet;

use anyhow::{Context as _, ensure};
use server::Server;
use statements::{SCHEMA, STATEMENTS};
use weir_sql::catalog::{Builder, FINGERPRINT, QUERIES};
use weir_sql::postgres::{Context, analyse_in};
use weir_sql::{Catalog, Naming, SessionModes};

#[test]
fn weir_finds_every_column_that_the_server_does() -> anyhow::Result<()> {
    let server = Server::start()?;
    server.psql(SCHEMA)?;
    let catalog = read_catalog(&server)?;
    let expected = ask_the_server(&server)?;
    let naming = naming();
    let (mut exact, mut rows, mut missed, mut more) = (0, 0, Vec::new(), Vec::new());
    for (text, expected) in STATEMENTS.iter().zip(&expected) {
        let found = ask_weir(text, &catalog, &naming);
        let missing: Vec<_> = expected.difference(&found).collect();
        let extra: Vec<_> = found.difference(expected).collect();
        if !missing.is_empty() {
            missed.push(format!("{text}\n    misses {missing:?}"));
        } else if extra.is_empty() {
            exact += 1;
        } else if extra
            .iter()
            .all(|name| is_of_whole_row(&catalog, name, &found, expected))
        {
            rows += 1;
        } else {
            more.push(format!("{text}\n    has also {extra:?}"));
        }
    }
    println!(
        "{} statements, {exact} equal, {rows} with whole rows",
        STATEMENTS.len()
    );
    println!("{}", more.join("\n"));
    ensure!(missed.is_empty(), "missed:\n{}", missed.join("\n"));
    ensure!(STATEMENTS.len() >= 150, "only {}", STATEMENTS.len());
    // What is more than the server says is noise in a policy: it has to stay rare.
    ensure!(
        (exact + rows) * 100 >= STATEMENTS.len() * 98,
        "only {exact} of {} equal:\n{}",
        STATEMENTS.len(),
        more.join("\n")
    );
    Ok(())
}

#[test]
fn the_catalog_is_read_as_the_server_has_it() -> anyhow::Result<()> {
    let server = Server::start()?;
    server.psql(SCHEMA)?;
    let catalog = read_catalog(&server)?;
    ensure!(catalog.server_version >= 150_000, "no version");
    let names = |schema, view: &str| -> anyhow::Result<Vec<String>> {
        let view = catalog
            .relation(schema, view)
            .with_context(|| view.to_owned())?;
        Ok(view
            .columns
            .iter()
            .map(|column| {
                let bases: Vec<_> = column
                    .bases
                    .iter()
                    .map(|base| format!("{}.{}", base.relation, base.column))
                    .collect();
                let sign = if column.exact { "=" } else { "~" };
                format!("{}{sign}{}", column.name, bases.join(","))
            })
            .collect())
    };
    let rows = |view: &str| -> Vec<String> {
        catalog
            .relation("app", view)
            .map(|view| {
                view.row_bases
                    .iter()
                    .map(|base| base.column.clone())
                    .collect()
            })
            .unwrap_or_default()
    };
    assert_eq!(
        names("app", "contacts")?,
        [
            "id=customers.id",
            "name=customers.name",
            "mail~customers.email"
        ]
    );
    assert_eq!(rows("contacts"), ["city"]);
    assert_eq!(
        names("app", "big_spenders")?,
        ["name=customers.name", "spent~orders.total"]
    );
    assert_eq!(rows("big_spenders"), ["city", "id", "name", "customer"]);
    assert_eq!(names("app", "events_2024")?[0], "id=events.id");
    assert_eq!(names("app", "org")?[0], "id~staff.id,staff.boss");
    let salary = catalog.relation("app", "customers").context("customers")?;
    let salary = salary.column("salary").context("salary")?;
    assert_eq!(
        (salary.type_sql.as_str(), salary.base_type),
        ("app.amount", 1_700)
    );
    let atomic = &catalog.functions["spent_by"][0];
    let body = atomic.body.as_deref().unwrap_or_default();
    assert!(
        body.contains("BEGIN ATOMIC") && body.contains("orders"),
        "{body}"
    );
    Ok(())
}

#[test]
fn the_fingerprint_changes_with_ddl_and_with_nothing_else() -> anyhow::Result<()> {
    let server = Server::start()?;
    server.psql(SCHEMA)?;
    let fingerprint = || server.psql(FINGERPRINT);
    let mut before = fingerprint()?;
    for harmless in [
        "VACUUM ANALYZE",
        "VACUUM FULL app.customers",
        "TRUNCATE app.notes",
        "INSERT INTO app.notes SELECT n, 'x' FROM generate_series(1, 1000) n",
        "CREATE TEMP TABLE scratch (id int PRIMARY KEY, a text)",
    ] {
        server.psql(harmless)?;
        assert_eq!(fingerprint()?, before, "{harmless}");
    }
    for ddl in [
        "CREATE TABLE app.more (id int)",
        "ALTER TABLE app.more ADD b text",
        "ALTER TABLE app.more RENAME b TO c",
        "ALTER TABLE app.more ALTER c TYPE varchar(20)",
        "ALTER TABLE app.more ALTER c TYPE varchar(30)",
        "ALTER TABLE app.more ADD PRIMARY KEY (id)",
        "ALTER TABLE app.more RENAME TO fewer",
        "ALTER TABLE app.fewer SET SCHEMA public",
        "ALTER TABLE public.fewer INHERIT app.base",
        "CREATE OR REPLACE VIEW app.upper_names AS SELECT lower(name) AS name FROM app.customers",
        "ALTER VIEW app.upper_names RENAME name TO low",
        "CREATE FUNCTION app.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE OR REPLACE FUNCTION app.f() RETURNS int LANGUAGE sql AS 'SELECT 2'",
        "CREATE DOMAIN app.d AS text",
        "CREATE OPERATOR app.=== (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq)",
        "ALTER SCHEMA app RENAME TO application",
        "ALTER DATABASE postgres SET search_path = application",
        "ALTER TABLE public.fewer DROP COLUMN c",
        "DROP TABLE public.fewer",
    ] {
        server.psql(ddl)?;
        let after = fingerprint()?;
        assert_ne!(after, before, "{ddl}");
        before = after;
    }
    Ok(())
}

/// Whether a column is found because a whole row is: the server then names the relation alone.
fn is_of_whole_row(
    catalog: &Catalog,
    name: &str,
    found: &BTreeSet<String>,
    expected: &BTreeSet<String>,
) -> bool {
    let parts: Vec<_> = name.split('.').collect();
    let [schema, relation, _] = parts.as_slice() else {
        return false;
    };
    let prefix = format!("{schema}.{relation}.");
    catalog.relation(schema, relation).is_some_and(|relation| {
        relation
            .columns
            .iter()
            .all(|column| found.contains(&format!("{prefix}{}", column.name)))
    }) && !expected.iter().any(|name| name.starts_with(&prefix))
}

fn naming() -> Naming {
    Naming {
        search_path: vec!["app".to_owned(), "public".to_owned()],
        certain: true,
        ..Naming::default()
    }
}

fn read_catalog(server: &Server) -> anyhow::Result<Catalog> {
    let mut builder = Builder::new();
    for (name, query) in QUERIES {
        let output = server.psql(&format!("SET search_path = '';\n{query};\n"))?;
        for row in output.trim_end_matches(['\n', '\x1e']).split('\x1e') {
            if row.is_empty() {
                continue;
            }
            let cells: Vec<_> = row
                .split('\x1f')
                .map(|cell| (cell != "\x02").then_some(cell))
                .collect();
            builder.row(name, &cells)?;
        }
    }
    Ok(builder.finish())
}

/// `schema.relation` and `schema.relation.column` of all that each statement depends on, for the server.
fn ask_the_server(server: &Server) -> anyhow::Result<Vec<BTreeSet<String>>> {
    let mut script = String::from("SET search_path = app, public;\n");
    for text in STATEMENTS {
        script.push_str("\\echo @\nBEGIN;\nCREATE TEMP VIEW weir_v AS ");
        script.push_str(text);
        script.push_str(";\n");
        script.push_str(DEPENDS);
        script.push_str("ROLLBACK;\n");
    }
    let output = server.psql(&script)?;
    let found: Vec<_> = output
        .split('@')
        .skip(1)
        .map(|rows| {
            rows.split(['\x1e', '\n'])
                .filter(|name| !name.is_empty())
                .map(str::to_owned)
                .collect()
        })
        .collect();
    ensure!(found.len() == STATEMENTS.len(), "{} answers", found.len());
    Ok(found)
}

/// The same, for weir: what the text itself names, not what is behind a view.
fn ask_weir(text: &str, catalog: &Catalog, naming: &Naming) -> BTreeSet<String> {
    let context = Context {
        modes: SessionModes::default(),
        catalog,
        naming,
    };
    let facts = analyse_in(text.as_bytes(), &context);
    assert_eq!(facts.parse_error, None, "{text}");
    let mut found = BTreeSet::new();
    for used in &facts.relations {
        let name = &used.relation;
        let resolved = catalog.resolve(naming, name.schema.as_deref(), &name.name);
        found.extend(
            resolved
                .candidates()
                .iter()
                .filter(|relation| !relation.system)
                .map(|relation| format!("{}.{}", relation.schema, relation.name)),
        );
    }
    let behind_views = |name: &String| {
        found.iter().any(|used| {
            let view = used
                .split_once('.')
                .and_then(|(schema, view)| catalog.relation(schema, view));
            view.is_some_and(|view| view.definition.is_some())
        }) && !found.contains(name)
    };
    let mut columns = Vec::new();
    for column in facts.columns.iter().map(|used| &used.column) {
        let relation = format!("{}.{}", column.schema, column.relation);
        if !behind_views(&relation) {
            columns.push(format!("{relation}.{}", column.column));
            columns.push(relation);
        }
    }
    found.extend(columns);
    found
}

const DEPENDS: &str = "\
SELECT concat_ws('.', n.nspname, c.relname, a.attname)
FROM pg_rewrite w
JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid AND d.refclassid = 'pg_class'::regclass
JOIN pg_class c ON c.oid = d.refobjid JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = d.refobjsubid AND d.refobjsubid > 0
WHERE w.ev_class = 'weir_v'::regclass AND c.oid <> w.ev_class AND c.oid >= 16384 AND c.relkind <> 'c'
UNION
SELECT concat_ws('.', n.nspname, c.relname)
FROM pg_rewrite w
JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid AND d.refclassid = 'pg_class'::regclass
JOIN pg_class c ON c.oid = d.refobjid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE w.ev_class = 'weir_v'::regclass AND c.oid <> w.ev_class AND c.oid >= 16384 AND c.relkind <> 'c';
";
