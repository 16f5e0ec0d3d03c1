//! What is recorded is what happened: each statement, each row, each byte of them, under the right name.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::verdicts::{self, Program};
use tests::{Identity, Lab, LabOptions};

#[test]
fn every_statement_row_and_byte_is_counted() -> Result<()> {
    let lab = Lab::start(&LabOptions::default())?;
    lab.admin("create table counted (id int)")?;
    let ran = verdicts::run(Program::python("accounting.py").governed(&lab, Identity::Bob))?;
    let recorded = by_session_name(&lab)?;
    let mut differences = String::new();
    for verdict in &ran {
        let counted = recorded.get(&verdict.case).unwrap_or(&Value::Null);
        if *counted != verdict.got {
            let _ = writeln!(
                differences,
                "{}: counted {counted}, happened {}",
                verdict.case, verdict.got
            );
        }
    }
    ensure!(differences.is_empty(), "\n{differences}");
    Ok(())
}

#[test]
fn a_usage_report_counts_what_pgbench_did() -> Result<()> {
    let lab = Lab::start(&LabOptions::default())?;
    let pgbench = lab.postgres().programs().client("pgbench");
    let script = lab.folder().join("counted.sql");
    std::fs::write(
        &script,
        "select id from orders where id = 5;\nupdate products set price = price where id = 3;\n",
    )
    .context("cannot write the script")?;
    let file = format!("--file={}", script.display());
    let mut transactions = 0;
    for (protocol, more) in [
        ("simple", None),
        ("extended", None),
        ("prepared", None),
        ("prepared", Some("--connect")),
    ] {
        let output = lab
            .command(Identity::SvcBilling, &pgbench)
            .args([
                "--no-vacuum",
                "--client=4",
                "--jobs=2",
                "--transactions=250",
                &file,
            ])
            .args(["--protocol", protocol])
            .args(more)
            .output()
            .context("cannot run pgbench")?;
        ensure!(
            output.status.success(),
            "pgbench: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        transactions += 1000;
    }
    let report = lab.agent().json(&["report", "usage", "--format", "json"])?;
    for (table, access) in [("orders", "read"), ("products", "write")] {
        let (mut statements, mut rows) = (0, 0);
        for row in report["rows"].as_array().context("no rows")? {
            let named = row["table"]
                .as_str()
                .is_some_and(|name| name.ends_with(table));
            if named && row["access"] == access {
                let who = (&row["principal"], &row["kind"]);
                ensure!(
                    row["principal"] == "svc-billing" && row["kind"] == "workload",
                    "{who:?} never touched {table}"
                );
                let program = row["program"].as_str().unwrap_or_default();
                ensure!(program.ends_with("/pgbench"), "{program} is not pgbench");
                statements += row["statements"].as_u64().unwrap_or_default();
                rows += row["rows"].as_u64().unwrap_or_default();
            }
        }
        ensure!(
            (statements, rows) == (transactions, transactions),
            "{table}: {statements} statements and {rows} rows in the report, {transactions} of each in pgbench"
        );
    }
    Ok(())
}

/// The counts of each session, by its name.
fn by_session_name(lab: &Lab) -> Result<BTreeMap<String, Value>> {
    let rows = lab.agent().json(&[
        "audit",
        "query",
        "--format",
        "json",
        "select s.application_name as name, coalesce(sum(a.statements), 0) as statements, coalesce(sum(a.rows), 0) as rows, \
         coalesce(sum(a.bytes), 0) as bytes, coalesce(sum(a.denied), 0) as denied, coalesce(sum(a.failed), 0) as failed \
         from sessions s left join activity_view a using (session) group by 1",
    ])?;
    let rows = rows.as_array().context("the query printed no list")?;
    let mut named = BTreeMap::new();
    for row in rows {
        let mut row = row.clone();
        if let Some(name) = row["name"].take().as_str() {
            let counts = row.as_object_mut().context("a row is no object")?;
            counts.remove("name");
            named.insert(name.to_owned(), row);
        }
    }
    Ok(named)
}
