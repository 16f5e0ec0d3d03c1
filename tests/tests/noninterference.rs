//! What a masked reader is told does not depend on masked values: two databases that differ only in those give the same
//! frames, for the queries of PostgreSQL's own regression suite and for what sqlsmith makes up.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::verdicts::{self, Program};
use tests::{Governed, Identity, Lab, LabOptions, Postgres, governed};

use regression::Regression;

#[path = "noninterference/regression.rs"]
mod regression;
#[path = "conformance/source.rs"]
mod source;

#[test]
fn the_regression_suites_queries_tell_nothing() -> Result<()> {
    let masked = fs::read(folder().join("masked.json")).context("cannot read masked.json")?;
    let site = start(&serde_json::from_slice(&masked)?)?;
    let regression = Regression::run(site.lab().postgres())?;
    let queries = regression.queries()?;
    copies(&site, "regression", &folder().join("differ.sql"))?;

    let file = write(site.lab(), &queries)?;
    let program = replay(&file);
    let beside = counts(program.clone().argument("--direct").direct(site.lab()))?;
    println!("beside weir: {beside}");
    // Queries that tell nothing anyway prove nothing.
    ensure!(
        number(&beside, "different") >= 500,
        "the queries hardly touch what is masked"
    );

    let through = counts(program.governed(site.lab(), Identity::Bob))?;
    println!("through weir: {through}");
    ensure!(
        number(&through, "refused") * 10 <= number(&through, "statements"),
        "more than a tenth of the queries were refused"
    );
    Ok(())
}

#[test]
fn sqlsmiths_statements_tell_nothing() -> Result<()> {
    made_up_statements_tell_nothing(2_000)
}

#[test]
#[ignore = "takes several minutes; the shorter one runs always"]
fn ten_thousand_of_sqlsmiths_statements_tell_nothing() -> Result<()> {
    made_up_statements_tell_nothing(10_000)
}

fn made_up_statements_tell_nothing(wanted: usize) -> Result<()> {
    let site = start(&governed::shop_classes()?)?;
    site.create("shop_0", &[governed::folder().join("schema.sql")])?;
    copies(&site, "shop_0", &governed::folder().join("differ.sql"))?;
    let statements = sqlsmith(site.lab(), "shop_0", wanted)?;
    ensure!(
        statements.len() >= wanted,
        "sqlsmith made {} statements",
        statements.len()
    );
    let file = write(site.lab(), &statements)?;
    let through = counts(replay(&file).governed(site.lab(), Identity::Bob))?;
    println!("through weir: {through}");
    // Most of what it makes up calls functions that nobody may call who must not see everything.
    ensure!(
        number(&through, "answered") * 10 >= wanted,
        "hardly a statement was answered"
    );
    Ok(())
}

fn start(masked: &BTreeMap<String, String>) -> Result<Governed> {
    let mut server_settings = vec![
        // Workers hand in their rows as they come.
        ("max_parallel_workers_per_gather".into(), "0".into()),
        ("autovacuum".into(), "off".into()),
    ];
    server_settings.extend(regression::settings());
    Governed::start(
        masked,
        LabOptions {
            server_settings,
            ..LabOptions::default()
        },
    )
}

/// Makes the databases `twins_a` and `twins_b` of `original`; `script` gives the second one's masked columns other values.
fn copies(site: &Governed, original: &str, script: &Path) -> Result<()> {
    let text =
        fs::read_to_string(script).with_context(|| format!("cannot read {}", script.display()))?;
    for (database, other) in [("twins_a", "false"), ("twins_b", "true")] {
        let prepared = site.lab().folder().join(format!("{database}.sql"));
        fs::write(&prepared, format!("\\set other {other}\n{text}"))
            .context("cannot write the script")?;
        let server = site.lab().postgres();
        server.admin(
            "postgres",
            &format!("CREATE DATABASE {database} TEMPLATE {original}"),
        )?;
        server.seed(database, &prepared)?;
    }
    Ok(())
}

/// What sqlsmith makes up for a database; the same at each call.
fn sqlsmith(lab: &Lab, database: &str, wanted: usize) -> Result<Vec<String>> {
    let target = format!(
        "host={} port={} dbname={database} user={}",
        Postgres::DIRECT_HOST,
        lab.postgres().port(),
        Postgres::USER
    );
    let output = Command::new("sqlsmith")
        .arg(format!("--target={target}"))
        .arg(format!("--max-queries={}", wanted + 1))
        .args(["--dry-run", "--seed=1", "--exclude-catalog"])
        .stdin(Stdio::null())
        .output()
        .context("cannot run sqlsmith: `cargo xtask setup --for test` installs it")?;
    let printed = String::from_utf8_lossy(&output.stdout);
    Ok(printed
        .split(";\n")
        .map(str::trim)
        .filter(|text| !text.is_empty())
        .take(wanted)
        .map(str::to_owned)
        .collect())
}

fn replay(file: &Path) -> Program {
    Program::python("../noninterference/replay.py")
        .argument(&file.display().to_string())
        .argument("twins_a")
        .argument("twins_b")
        .patience(Duration::from_mins(20))
}

fn write(lab: &Lab, texts: &[String]) -> Result<PathBuf> {
    let file = lab.folder().join("statements.json");
    fs::write(&file, serde_json::to_vec(texts)?).context("cannot write the statements")?;
    Ok(file)
}

/// Demands that no difference was seen; returns the numbers.
fn counts(command: Command) -> Result<Value> {
    let verdicts = verdicts::run(command)?;
    verdicts::all_well(&verdicts)?;
    let last = verdicts.into_iter().next_back();
    Ok(last.context("no numbers")?.got)
}

fn number(counts: &Value, name: &str) -> usize {
    counts[name]
        .as_u64()
        .and_then(|n| usize::try_from(n).ok())
        .unwrap_or_default()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("noninterference")
}
