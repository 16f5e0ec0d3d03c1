//! What people use: their tools' own statements must pass.

use weir_sql::postgres::{Context, Outcome, Tracker, govern, steps};
use weir_sql::{Catalog, SessionModes};

use crate::server::Server;
use crate::{SCHEMA, read_catalog, redacting};

#[test]
fn pg_dump_and_psql_pass_and_see_masked_data() {
    let server = Server::start("tools");
    server.psql("postgres", SCHEMA);
    let catalog = read_catalog(&server, "postgres");
    let bin = "/usr/lib/postgresql/15/bin";
    let dump = server.statements_of(&format!("{bin}/pg_dump"), &["-d", "postgres"]);
    assert!(dump.len() > 50, "{} statements", dump.len());
    let copies = pass(&catalog, &dump);
    assert!(
        copies.iter().any(|text| {
            text.starts_with("COPY (SELECT \"id\", \"name\", '***'") && text.ends_with("TO stdout;")
        }),
        "{copies:#?}"
    );
    for command in [
        "\\d",
        "\\d+",
        "\\dt+",
        "\\dn+",
        "\\l",
        "\\du",
        "\\df",
        "\\dv",
        "\\di",
        "\\ds",
        "\\dT",
        "\\do",
        "\\dx",
        "\\d app.customers",
        "\\d+ app.customers",
        "\\d app.v",
        "\\d+ app.events",
        "\\dp",
        "\\ddp",
        "\\sf app.fs",
        "\\sv app.v",
        "\\dC",
        "\\dD",
        "\\dF",
        "\\db",
        "\\dL",
        "\\dm",
        "\\dE",
        "\\dO",
        "\\dconfig",
        "\\drds",
        "\\dRp",
        "\\dX",
    ] {
        let seen = server.statements_of(
            &format!("{bin}/psql"),
            &[
                "-X",
                "-d",
                "postgres",
                "-c",
                "set search_path = app",
                "-c",
                command,
            ],
        );
        pass(&catalog, &seen);
    }
}

/// Each statement in turn; gives those that were rewritten.
fn pass(catalog: &Catalog, statements: &[String]) -> Vec<String> {
    let path = vec!["$user".to_owned(), "public".to_owned()];
    let mut tracker = Tracker::new("postgres".to_owned(), Some(path));
    let mut in_transaction = false;
    let mut rewritten = Vec::new();
    for text in statements {
        let naming = tracker.naming();
        let context = Context {
            modes: SessionModes::default(),
            catalog,
            naming: &naming,
        };
        let governed = govern(text.as_bytes(), &context, &mut redacting);
        match governed.outcome {
            Ok(Outcome::Unchanged) => {}
            Ok(Outcome::Rewritten(made)) => rewritten.push(made.text),
            Err(obstacle) => panic!("{text}\n{obstacle}"),
        }
        tracker.sent(&steps(text.as_bytes(), SessionModes::default()));
        in_transaction = match text.split([' ', ';']).next() {
            Some("BEGIN") => true,
            Some("COMMIT") => false,
            _ => in_transaction,
        };
        tracker.status(if in_transaction { b'T' } else { b'I' });
    }
    rewritten
}
