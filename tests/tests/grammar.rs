//! What PostgreSQL parses, weir parses; what a query reads, weir says it reads. Measured on every text that PostgreSQL's
//! regression suite sends, against what the server itself made of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::{Postgres, PostgresOptions};
use weir_sql::{Confidence, SessionModes, Use};

use regression::{Logged, Regression};

#[path = "noninterference/regression.rs"]
mod regression;
#[path = "conformance/source.rs"]
mod source;

#[test]
fn what_the_server_reads_weir_reads() -> Result<()> {
    let folder = tempfile::Builder::new()
        .prefix("weir-grammar-")
        .permissions(Permissions::from_mode(0o755))
        .tempdir()
        .context("cannot make a folder")?;
    let server = Postgres::start(
        folder.path(),
        &PostgresOptions {
            settings: regression::settings(),
            ..PostgresOptions::default()
        },
    )?;
    let regression = Regression::run(&server)?;
    every_text_is_parsed(&regression.logged()?)?;
    every_query_names_its_relations(&server, &regression, folder.path())
}

/// Texts that the server parsed and weir does not, each with its reason.
fn every_text_is_parsed(texts: &[Logged]) -> Result<()> {
    let mut unparsed = BTreeMap::new();
    let mut accepted = 0;
    for logged in texts {
        let modes = SessionModes {
            backslash_in_strings: logged.backslash_in_strings,
            ..SessionModes::default()
        };
        let facts = weir_sql::postgres::analyse(logged.text.as_bytes(), modes);
        if facts.confidence == Confidence::Unparsed {
            if is_excused(&logged.text) {
                accepted += 1;
            } else {
                unparsed.insert(&logged.text, facts.parse_error);
            }
        }
    }
    println!(
        "{} texts, {} unparsed, {accepted} of the list of exceptions",
        texts.len(),
        unparsed.len()
    );
    for (text, error) in unparsed.iter().take(40) {
        println!(
            "unparsed ({error:?}): {}",
            text.chars().take(300).collect::<String>()
        );
    }
    ensure!(
        unparsed.is_empty(),
        "{} texts are called unparseable",
        unparsed.len()
    );
    Ok(())
}

/// Words that weir's grammar, which is PostgreSQL 18's, refuses where an older server's refuses their meaning: none of
/// these texts can succeed on any version.
fn is_excused(text: &str) -> bool {
    // Since 16 the strategy of a partitioned table is checked by the grammar.
    text.to_ascii_lowercase().contains("partition by magic")
}

fn every_query_names_its_relations(
    server: &Postgres,
    regression: &Regression,
    folder: &std::path::Path,
) -> Result<()> {
    let texts = folder.join("queries.json");
    let truths = folder.join("relations.json");
    fs::write(&texts, serde_json::to_vec(&regression.queries()?)?)
        .context("cannot write the queries")?;
    let output = Command::new("python3")
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/noninterference/depends.py"
        ))
        .args([&texts, &truths])
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("PGHOST", Postgres::DIRECT_HOST)
        .env("PGPORT", server.port().to_string())
        .env("PGUSER", Postgres::USER)
        .env("PGDATABASE", "regression")
        .stdin(Stdio::null())
        .output()
        .context("cannot run python3")?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let truths: Value =
        serde_json::from_slice(&fs::read(&truths).context("cannot read the relations")?)?;
    let own = names(&truths["own"]);
    let queries = truths["queries"].as_array().context("no queries")?;
    let mut wrong = Vec::new();
    for query in queries {
        let text = query["text"].as_str().context("no text")?;
        let facts = weir_sql::postgres::analyse(text.as_bytes(), SessionModes::default());
        let ours: BTreeSet<&str> = facts
            .relations
            .iter()
            .filter(|named| named.usage == Use::Read)
            .filter(|named| match named.relation.schema.as_deref() {
                Some(schema) => schema != "pg_catalog" && schema != "information_schema",
                None => !own.contains(named.relation.name.as_str()),
            })
            .map(|named| named.relation.name.as_str())
            .collect();
        let theirs: BTreeSet<&str> = names(&query["relations"])
            .into_iter()
            .map(|name| name.rsplit_once('.').map_or(name, |(_, name)| name))
            .collect();
        if ours != theirs {
            wrong.push(format!("{text:?}\n  weir: {ours:?}\n  server: {theirs:?}"));
        }
    }
    println!(
        "{} queries, {} name other relations than the server",
        queries.len(),
        wrong.len()
    );
    ensure!(
        queries.len() >= 8_000,
        "only {} queries could be asked about",
        queries.len()
    );
    ensure!(
        wrong.is_empty(),
        "{} differ:\n{}",
        wrong.len(),
        wrong
            .iter()
            .take(40)
            .cloned()
            .collect::<Vec<_>>()
            .join("\n")
    );
    Ok(())
}

fn names(list: &Value) -> BTreeSet<&str> {
    let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter().filter_map(Value::as_str).collect()
}
