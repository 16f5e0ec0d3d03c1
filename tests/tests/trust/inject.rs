//! Mode I beside the matrix: where passwords come from, who may use them, and that they show nowhere.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Output;

use anyhow::{Context, Result, ensure};
use tests::lab::{Mode, write_secret};
use tests::{Identity, Lab, LabOptions, Places};
use toml::{Table, Value};

use super::vault::Vault;

const FIRST: &str = "first-secret-9f3a";
const SECOND: &str = "second-secret-77b1";
const TOKEN: &str = "hvs.token-of-the-test";

fn psql(lab: &Lab, identity: Identity, user: &str, variables: &[(&str, &str)]) -> Result<Output> {
    let mut command = lab.command(identity, lab.postgres().programs().client("psql"));
    command
        .args(["-X", "-w", "-A", "-t", "-c", "select current_user"])
        .env("PGUSER", user)
        .env("PGPASSWORD", "a placeholder")
        .env("PGSSLMODE", "verify-full")
        .envs(variables.iter().copied());
    command.output().context("cannot run psql")
}

fn succeeds(lab: &Lab, user: &str, variables: &[(&str, &str)]) -> Result<()> {
    let output = psql(lab, Identity::Alice, user, variables)?;
    ensure!(
        String::from_utf8_lossy(&output.stdout).trim() == user,
        "{user}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

fn fails(lab: &Lab, identity: Identity, user: &str, words: &str) -> Result<()> {
    let output = psql(lab, identity, user, &[])?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        !output.status.success() && said.contains(words),
        "{user} was not refused with {words:?}: {said}"
    );
    Ok(())
}

fn credential(user: &str, more: &[(&str, Value)]) -> Value {
    let mut credential = Table::new();
    credential.insert("user".into(), user.into());
    for (key, value) in more {
        credential.insert((*key).to_owned(), value.clone());
    }
    Value::Table(credential)
}

fn path(path: &Path) -> Value {
    path.display().to_string().into()
}

#[test]
fn passwords_come_from_files_vault_and_programs_and_stay_with_the_agent() -> Result<()> {
    let secrets = tempfile::tempdir()?;
    let named = |name: &str| secrets.path().join(name);
    let vault = Vault::start(TOKEN, FIRST)?;
    for (name, text) in [
        ("file", FIRST),
        ("token", TOKEN),
        ("placeholder", "what the application has"),
    ] {
        write_secret(&named(name), text)?;
    }
    let program = named("program");
    write_secret(
        &program,
        &format!("#!/bin/sh\ncat {}/file\n", secrets.path().display()),
    )?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700))?;
    let mut in_vault = Table::new();
    for (key, value) in [
        ("address", vault.url()),
        ("mount", "kv".to_owned()),
        ("path", "db/shop".to_owned()),
        ("token_file", named("token").display().to_string()),
    ] {
        in_vault.insert(key.into(), value.into());
    }
    let credentials = vec![
        credential("of_file", &[("file", path(&named("file")))]),
        credential("of_vault", &[("vault", Value::Table(in_vault))]),
        credential(
            "of_program",
            &[("command", Value::Array(vec![path(&program)]))],
        ),
        credential(
            "of_placeholder",
            &[
                ("file", path(&named("file"))),
                ("accept", "placeholder".into()),
                ("placeholder_file", path(&named("placeholder"))),
            ],
        ),
        credential("of_nothing", &[("file", path(&named("missing")))]),
    ];
    let lab = Lab::start(&LabOptions {
        tls: true,
        scram: true,
        mode: Some(Mode::Inject),
        policy: Some(tests::place::project().join("policies/permit-all")),
        settings: vec![("endpoint.0.credential".into(), Value::Array(credentials))],
        ..LabOptions::default()
    })?;
    let users = [
        "of_file",
        "of_vault",
        "of_program",
        "of_placeholder",
        "of_nothing",
    ];
    let passwords = |verb: &str, password: &str| -> Result<()> {
        for user in users {
            lab.admin(&format!("{verb} ROLE {user} LOGIN PASSWORD '{password}'"))?;
        }
        Ok(())
    };
    passwords("CREATE", FIRST)?;
    let bound = [
        ("PGPASSWORD", "what the application has"),
        ("PGCHANNELBINDING", "require"),
    ];
    let all_in = || -> Result<()> {
        for user in ["of_file", "of_vault", "of_program"] {
            succeeds(&lab, user, &[])?;
        }
        succeeds(&lab, "of_placeholder", &bound)
    };
    all_in()?;

    // Changed at the server and in the source: nobody waits for the kept one to grow old.
    passwords("ALTER", SECOND)?;
    write_secret(&named("file"), SECOND)?;
    vault.set(SECOND);
    all_in()?;

    // Every refusal says what to do, and none of them whose fault it is not.
    let alice = Identity::Alice;
    fails(&lab, Identity::Nobody, "of_file", "verified identity")?;
    fails(&lab, Identity::Nobody, "of_file", "weir login")?;
    fails(&lab, alice, "app", "[[endpoint.credential]]")?;
    fails(&lab, alice, "of_nothing", "cannot have the password")?;
    fails(
        &lab,
        alice,
        "of_placeholder",
        "password authentication failed for user \"of_placeholder\"",
    )?;
    lab.admin("ALTER ROLE of_file PASSWORD 'unknown to weir'")?;
    fails(&lab, alice, "of_file", "the password that weir has")?;

    no_secret_shows(&lab)
}

/// Of what the sources held, neither the agent's log nor its state says anything.
fn no_secret_shows(lab: &Lab) -> Result<()> {
    Places::written_by(lab.agent())?.hold_none_of([
        FIRST,
        SECOND,
        TOKEN,
        "what the application has",
    ])
}
