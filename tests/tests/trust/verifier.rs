//! Mode V beside the matrix: passwords change, run out, and are none of the agent's business.

use std::fs;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tests::lab::{Mode, write_secret};
use tests::{Identity, Lab, LabOptions, Postgres};
use toml::Value;

/// psql with everything demanded: the server's certificate verified, the log-in bound to it.
fn psql(lab: &Lab, user: &str, password: &str, sql: &str) -> Result<Output> {
    let mut command = lab.command(Identity::Alice, lab.postgres().programs().client("psql"));
    command
        .args(["-X", "-w", "-A", "-t", "-c", sql])
        .env("PGUSER", user)
        .env("PGPASSWORD", password)
        .env("PGSSLMODE", "verify-full")
        .env("PGCHANNELBINDING", "require");
    command.output().context("cannot run psql")
}

fn succeeds(lab: &Lab, user: &str, password: &str) -> Result<()> {
    let output = psql(lab, user, password, "select current_user")?;
    let printed = String::from_utf8_lossy(&output.stdout);
    ensure!(
        printed.trim() == user,
        "{user}: {printed} {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

fn fails(lab: &Lab, user: &str, password: &str, words: &str) -> Result<()> {
    let output = psql(lab, user, password, "select 1")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        !output.status.success() && said.contains(words),
        "{user} was not refused with {words:?}: {said}"
    );
    Ok(())
}

fn wrong(user: &str) -> String {
    format!("password authentication failed for user \"{user}\"")
}

#[test]
fn a_password_counts_from_the_moment_it_is_changed() -> Result<()> {
    let lab = Lab::start(&LabOptions {
        tls: true,
        scram: true,
        ..LabOptions::default()
    })?;
    lab.admin("CREATE ROLE carol LOGIN PASSWORD 'first'")?;
    // A role's own settings must not decide what the agent asks.
    lab.admin(
        "ALTER ROLE weir_auth SET search_path = evil; CREATE SCHEMA evil; \
         CREATE FUNCTION evil.now() RETURNS timestamptz LANGUAGE sql AS $$ SELECT 'infinity'::timestamptz $$",
    )?;
    succeeds(&lab, "carol", "first")?;
    fails(&lab, "carol", "second", &wrong("carol"))?;
    fails(&lab, "nobody", "first", &wrong("nobody"))?;
    lab.admin("ALTER ROLE carol PASSWORD 'second'")?;
    succeeds(&lab, "carol", "second")?;
    fails(&lab, "carol", "first", &wrong("carol"))?;
    lab.admin("ALTER ROLE carol VALID UNTIL '2001-01-01'")?;
    fails(&lab, "carol", "second", &wrong("carol"))?;
    lab.admin("ALTER ROLE carol VALID UNTIL 'infinity'")?;
    succeeds(&lab, "carol", "second")?;
    lab.admin("ALTER ROLE carol NOLOGIN")?;
    fails(&lab, "carol", "second", &wrong("carol"))?;
    // What the role may read is one function: the table itself is closed to it.
    let open =
        lab.admin("SELECT has_table_privilege('weir_auth', 'pg_catalog.pg_authid', 'select')")?;
    ensure!(open.trim() == "f", "the agent's role reads pg_authid");

    // The source is gone: log-ins are refused with its name, and the operator sees why.
    lab.postgres()
        .admin("postgres", "DROP FUNCTION weir_auth.verifier")?;
    fails(&lab, "app", "x", "cannot check the password")?;
    let status = lab.weir(&["status", "--json"]).output()?;
    let status: serde_json::Value = serde_json::from_slice(&status.stdout)?;
    let endpoint = &status["endpoints"][0];
    ensure!(
        endpoint["mode"] == "verifier" && endpoint["problem"].is_string(),
        "{endpoint}"
    );
    Ok(())
}

#[test]
fn verifiers_in_a_file_are_enough() -> Result<()> {
    let secrets = tempfile::tempdir()?;
    let file = secrets.path().join("verifiers");
    write_secret(&file, "# to be filled\n")?;
    let mut verifiers = toml::Table::new();
    verifiers.insert("file".into(), file.display().to_string().into());
    let lab = Lab::start(&LabOptions {
        tls: true,
        scram: true,
        settings: vec![("endpoint.0.verifiers".into(), Value::Table(verifiers))],
        ..LabOptions::default()
    })?;
    let password = lab.postgres().password().unwrap_or_default().to_owned();
    let export = || {
        lab.admin(
            "SELECT rolname, rolpassword, to_char(rolvaliduntil AT TIME ZONE 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') \
             FROM pg_authid WHERE rolpassword IS NOT NULL",
        )
    };
    fails(&lab, Postgres::USER, &password, &wrong(Postgres::USER))?;
    write_secret(&file, &export()?)?;
    succeeds(&lab, Postgres::USER, &password)?;
    // The file is older than the password: the holder of the old one is told so, and nobody else.
    lab.admin(&format!("ALTER ROLE {} PASSWORD 'another'", Postgres::USER))?;
    fails(&lab, Postgres::USER, &password, "out of date")?;
    write_secret(&file, &export()?)?;
    succeeds(&lab, Postgres::USER, "another")?;
    Ok(())
}

/// What the agent's own log-in is bound to is the hash that the certificate's signature has, and nothing where it has none.
#[test]
fn the_servers_certificate_may_be_signed_in_any_way() -> Result<()> {
    let lab = Lab::start(&LabOptions {
        tls: true,
        scram: true,
        settings: vec![("endpoint.0.tls".into(), "require".into())],
        ..LabOptions::default()
    })?;
    lab.admin("CREATE ROLE carol LOGIN PASSWORD 'first'")?;
    let signed = "req -x509 -nodes -days 2 -config server.cnf -extensions leaf -keyout other.key -out other.pem";
    for way in [
        "-newkey ec -pkeyopt ec_paramgen_curve:P-384 -sha384",
        "-newkey rsa:2048 -sha512",
        "-newkey rsa:2048 -sha256 -sigopt rsa_padding_mode:pss",
        "-newkey ed25519",
    ] {
        let folder = lab.folder().join("tls");
        let made = Command::new("openssl")
            .args(signed.split_whitespace())
            .args(way.split_whitespace())
            .current_dir(&folder)
            .stdin(Stdio::null())
            .output()
            .context("cannot run openssl")?;
        ensure!(
            made.status.success(),
            "{way}: {}",
            String::from_utf8_lossy(&made.stderr)
        );
        for (from, to) in [("other.pem", "server.crt"), ("other.key", "server.key")] {
            // Into the file that is there: it belongs to the server's account.
            fs::write(
                lab.postgres().data_folder().join(to),
                fs::read(folder.join(from))?,
            )?;
        }
        reload(&lab)?;
        succeeds(&lab, "carol", "first").context(way)?;
    }
    Ok(())
}

/// Waits until the postmaster, whose children inherit what it has read, has read it again.
fn reload(lab: &Lab) -> Result<()> {
    let read = || lab.admin("SELECT pg_conf_load_time()");
    let before = read()?;
    lab.admin("SELECT pg_reload_conf()")?;
    let until = Instant::now() + Duration::from_mins(1);
    while read()? == before {
        ensure!(Instant::now() < until, "the server does not read its files");
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// The operator gave weir a certificate that the server no longer has.
#[test]
fn a_certificate_that_is_not_the_servers_is_named() -> Result<()> {
    let other = tempfile::tempdir()?;
    let authority = tests::Authority::create(other.path())?;
    let lab = Lab::start(&LabOptions {
        tls: true,
        scram: true,
        mode: Some(Mode::ServerCertificate),
        settings: vec![
            (
                "endpoint.0.server_certificate".into(),
                authority.server_certificate().display().to_string().into(),
            ),
            (
                "endpoint.0.server_key".into(),
                authority.server_key().display().to_string().into(),
            ),
        ],
        ..LabOptions::default()
    })?;
    let mut command = lab.command(Identity::Alice, lab.postgres().programs().client("psql"));
    command
        .args(["-X", "-w", "-c", "select 1"])
        .env("PGSSLMODE", "require")
        .env_remove("PGSSLROOTCERT")
        .env("HOME", other.path());
    let output = command.output().context("cannot run psql")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        said.contains("server_certificate is not the one") && said.contains("present certificate"),
        "{said}"
    );
    Ok(())
}
