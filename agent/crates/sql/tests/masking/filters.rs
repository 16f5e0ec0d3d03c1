//! Rows that are left out: by every way to read or change them.

use weir_sql::postgres::{Context, Orders, Outcome, govern};
use weir_sql::{Catalog, Naming, RowFilter, SessionModes};

use crate::read_catalog;
use crate::server::Server;

const SCHEMA: &str = "CREATE SCHEMA app; CREATE TABLE app.t (id int PRIMARY KEY, region text, amount int);
    INSERT INTO app.t SELECT i, (ARRAY['north','south'])[1 + i % 2], i * 10 FROM generate_series(1, 10) i;
    CREATE VIEW app.v AS SELECT region, sum(amount) AS total FROM app.t GROUP BY region;
    CREATE VIEW app.w AS SELECT id, amount FROM app.t;
    CREATE TABLE app.p (id int, region text) PARTITION BY RANGE (id);
    CREATE TABLE app.p1 PARTITION OF app.p FOR VALUES FROM (1) TO (10);
    INSERT INTO app.p SELECT i, (ARRAY['north','south'])[1 + i % 2] FROM generate_series(1, 9) i;";

/// What is asked, and what comes back when only `south` (odd numbers) may be seen.
const CASES: &[(&str, &str)] = &[
    ("select count(*) from t", "5"),
    (
        "select count(*), sum(amount) from t where amount > 20",
        "4|240",
    ),
    ("select max(id) from t x where x.id < 8", "7"),
    ("select count(*) from only t", "5"),
    ("select count(*) from t a join t b using (id)", "5"),
    ("select count(*) from (table t) q", "5"),
    (
        "select string_agg(region || ':' || total, ',' order by 1) from v",
        "south:250",
    ),
    ("select count(*) from w", "5"),
    ("select count(*) from p", "5"),
    ("select count(*) from p1", "5"),
    (
        "select id from t where amount / (id - 2) > 1 order by id limit 1",
        "3",
    ),
    ("copy (select id from t order by id limit 1) to stdout", "1"),
    ("copy t (id) to stdout", "1\n3\n5\n7\n9"),
    (
        "update t set amount = 0; select count(*) from t where amount = 0",
        "5",
    ),
    ("update t set amount = 1 where id < 5 returning id", "1\n3"),
    (
        "update t x set amount = 1 where x.id < 3 or x.id > 8 returning x.id",
        "1\n9",
    ),
    (
        "delete from t where 10 / (id - 2) > 1 returning id",
        "3\n5\n7",
    ),
    ("delete from t returning id", "1\n3\n5\n7\n9"),
    (
        "with d as (delete from t where id > 5 returning id) select count(*) from d",
        "2",
    ),
    (
        "with d as (update t set amount = 5 returning id) select count(*) from d",
        "5",
    ),
    ("insert into t values (100, 'north', 1) returning id", "100"),
    ("select id from t order by id limit 1 for update", "1"),
    (
        "select count(*) from t where exists (select 1 from t y where y.id = t.id + 1)",
        "0",
    ),
];

const REFUSED: &[&str] = &[
    "insert into t values (2, 'x', 1) on conflict (id) do update set amount = 7",
    "merge into t using (values (2)) v(id) on t.id = v.id when matched then delete",
    "update v set total = 1",
    "create view app.x as select * from t",
    "select * from pg_stats",
];

#[test]
fn rows_that_may_not_be_seen_are_neither_read_nor_changed() {
    let server = Server::start("filters");
    assert_eq!(server.psql("postgres", SCHEMA), "");
    let catalog = read_catalog(&server, "postgres");
    for (text, expected) in CASES {
        let rewritten = match filtered(&catalog, text, "region = 'south'") {
            Ok(Outcome::Rewritten(rewritten)) => rewritten.text,
            Ok(Outcome::Unchanged) => (*text).to_owned(),
            Err(obstacle) => panic!("{text}: {obstacle}"),
        };
        let script = format!(
            "SET search_path = app;\n\\pset tuples_only on\nBEGIN;\n{rewritten};\nROLLBACK;\n"
        );
        let answer = server.psql("postgres", &script);
        assert_eq!(answer.trim_end(), *expected, "{text}\n{rewritten}");
    }
    for text in REFUSED {
        let outcome = filtered(&catalog, text, "region = 'south'");
        assert!(outcome.is_err(), "{text}: {outcome:?}");
    }
}

#[test]
fn a_filter_that_is_more_than_a_condition_over_its_columns_hides_everything() {
    let catalog = Catalog::from_tables(
        [(
            "app.t",
            vec![("id", "int"), ("region", "text"), ("amount", "int")],
        )],
        [],
    )
    .expect("a good catalog");
    for condition in [
        "",
        "region = ",
        "region = 'a'; drop table t",
        "1) or (1=1",
        "true -- region",
        "t.region = 'a'",
        "region in (select 'a')",
        "nothing = 1",
        "region = $1",
        "true from t",
        "true, true",
        "true as x",
        "true limit 1",
        "distinct true",
    ] {
        let outcome = filtered(&catalog, "select id from t", condition);
        assert!(outcome.is_err(), "{condition}: {outcome:?}");
    }
}

fn filtered(
    catalog: &Catalog,
    text: &str,
    condition: &str,
) -> Result<Outcome, weir_sql::postgres::Obstacle> {
    let naming = Naming {
        search_path: vec!["app".to_owned()],
        certain: true,
        ..Naming::default()
    };
    let context = Context {
        modes: SessionModes::default(),
        catalog,
        naming: &naming,
    };
    let decide = &mut |facts: &weir_sql::Facts| Orders {
        protect: true,
        filters: ["t", "p"]
            .into_iter()
            .filter(|name| {
                facts
                    .reachable
                    .iter()
                    .any(|reachable| reachable.column.relation == *name)
            })
            .map(|name| RowFilter {
                schema: "app".to_owned(),
                relation: name.to_owned(),
                condition: condition.to_owned(),
            })
            .collect(),
        ..Orders::default()
    };
    govern(text.as_bytes(), &context, decide).outcome
}
