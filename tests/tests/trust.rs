//! Trust on the wire: log-ins with TLS and channel binding pass in every mode in which they can, and nowhere else.

#[path = "trust/drivers.rs"]
mod drivers;
#[path = "trust/inject.rs"]
mod inject;
#[path = "trust/matrix.rs"]
mod matrix;
#[path = "trust/opaque.rs"]
mod opaque;
#[path = "trust/stores.rs"]
mod stores;
#[path = "trust/vault.rs"]
mod vault;
#[path = "trust/verifier.rs"]
mod verifier;

use anyhow::Result;
use tests::lab::Mode;
use tests::{Lab, LabOptions, place};
use toml::{Table, Value};

/// What every user of these tests has.
const PASSWORD: &str = "s3cret \u{fc}\u{2168}";

/// Where a mode is to be found. The lab's own address speaks TLS with a certificate of weir's and relays.
fn places() -> Vec<(String, Mode)> {
    let addresses = (11..).map(|last| format!("127.0.0.{last}"));
    addresses.zip(Mode::ALL).collect()
}

/// As the client programs are told.
fn arguments() -> Vec<String> {
    let mut arguments: Vec<String> = places()
        .into_iter()
        .map(|(address, mode)| format!("{}={address}", mode.name()))
        .collect();
    arguments.push("plaintext-tls=127.0.0.1".to_owned());
    arguments
}

/// A server with users who log in by each method, and an endpoint for each mode.
fn lab(server_version: Option<u16>, secrets: &tempfile::TempDir) -> Result<Lab> {
    let file = secrets.path().join("password");
    tests::lab::write_secret(&file, PASSWORD)?;
    let credential = |user: &str| {
        let mut credential = Table::new();
        credential.insert("user".into(), user.into());
        credential.insert("file".into(), file.display().to_string().into());
        Value::Table(credential)
    };
    let users = ["by_scram", "by_trust", "by_md5", "by_password"];
    let inject = 1 + Mode::ALL
        .iter()
        .position(|mode| *mode == Mode::Inject)
        .unwrap_or_default();
    let access = |(user, method): (&str, &str)| format!("host all {user} 127.0.0.0/8 {method}");
    let lab = Lab::start(&LabOptions {
        tls: true,
        scram: true,
        policy: Some(place::project().join("policies/permit-all")),
        server_version,
        mode: Some(Mode::Plaintext),
        modes_at: places(),
        server_access: [
            ("by_trust", "trust"),
            ("by_md5", "md5"),
            ("by_password", "password"),
        ]
        .map(access)
        .to_vec(),
        settings: vec![
            ("endpoint.0.client_tls".into(), "on".into()),
            (
                format!("endpoint.{inject}.credential"),
                Value::Array(users.map(credential).to_vec()),
            ),
        ],
        ..LabOptions::default()
    })?;
    lab.admin(&format!(
        "CREATE ROLE by_scram LOGIN PASSWORD '{PASSWORD}'; CREATE ROLE by_trust LOGIN; \
         CREATE ROLE by_password LOGIN PASSWORD '{PASSWORD}'; \
         SET password_encryption = md5; CREATE ROLE by_md5 LOGIN PASSWORD '{PASSWORD}'"
    ))?;
    Ok(lab)
}
