//! Clients reach the server over every transport that weir stands for: in clear, with TLS on either leg, with SCRAM.

use std::{fs, time::Duration};

use anyhow::{Result, bail};
use tests::verdicts::{self, Program};
use tests::{Identity, Lab, LabOptions};

#[test]
fn scram_passes_through() -> Result<()> {
    reached(
        &LabOptions {
            scram: true,
            ..LabOptions::default()
        },
        &[
            "as-set",
            "prefer",
            "gss-first",
            "newest-protocol",
            "require=refused",
            "wrong-password=refused",
            "unknown-database=refused",
        ],
    )
}

#[test]
fn tls_on_both_legs() -> Result<()> {
    reached(
        &LabOptions {
            tls: true,
            ..LabOptions::default()
        },
        &[
            "as-set",
            "verify-full",
            "require",
            "direct-tls",
            "newest-protocol",
            "unknown-database=refused",
        ],
    )
}

/// The client is told that there is no TLS, on a leg that never leaves the host; the server's leg has it. A server that
/// offers channel binding must not offer it to this client, which could only refuse.
#[test]
fn tls_on_the_servers_leg_alone_with_scram() -> Result<()> {
    reached(
        &LabOptions {
            tls: true,
            scram: true,
            settings: vec![("endpoint.0.client_tls".into(), "off".into())],
            ..LabOptions::default()
        },
        &[
            "disable",
            "prefer",
            "require=refused",
            "wrong-password=refused",
        ],
    )
}

/// The client binds its log-in to weir's certificate, and weir its own to the server's (see `trust.rs` for the whole matrix).
#[test]
fn tls_on_both_legs_with_scram() -> Result<()> {
    reached(
        &LabOptions {
            tls: true,
            scram: true,
            ..LabOptions::default()
        },
        &[
            "as-set",
            "bound",
            "no-channel-binding",
            "verify-full",
            "wrong-password=refused",
        ],
    )
}

/// The challenge is answered by the client and checked by the server; weir only carries it.
#[test]
fn md5_passes_through() -> Result<()> {
    let lab = with_method("md5")?;
    judged(&lab, &["as-set", "wrong-password=refused"])
}

#[test]
fn a_password_in_clear_passes_through() -> Result<()> {
    let lab = with_method("password")?;
    judged(&lab, &["as-set", "wrong-password=refused"])
}

/// The present major version: protocol 3.2 with its long cancel keys, direct TLS, `search_path` reported.
#[test]
fn postgresql_18_with_tls_and_scram() -> Result<()> {
    reached(
        &LabOptions {
            tls: true,
            scram: true,
            server_version: Some(18),
            ..LabOptions::default()
        },
        &[
            "bound",
            "no-channel-binding",
            "verify-full",
            "direct-tls",
            "newest-protocol",
            "wrong-password=refused",
        ],
    )
}

/// A lab whose server asks clients over TCP for their password in this way.
fn with_method(method: &str) -> Result<Lab> {
    let lab = Lab::start(&LabOptions {
        scram: true,
        ..LabOptions::default()
    })?;
    let file = lab.postgres().data_folder().join("pg_hba.conf");
    let access = fs::read_to_string(&file)?;
    fs::write(&file, access.replace("scram-sha-256", method))?;
    let password = lab.postgres().password().unwrap_or_default();
    lab.admin(&format!(
        "SET password_encryption = 'md5'; ALTER ROLE app PASSWORD '{password}'; SELECT pg_reload_conf()"
    ))?;
    // The postmaster hears of it by a signal, and says so in the view once it has read the file.
    for _ in 0..100 {
        let rules = "SELECT count(*) FROM pg_hba_file_rules WHERE auth_method = ";
        if lab.admin(&format!("{rules}'{method}'"))?.trim() != "0" {
            std::thread::sleep(Duration::from_millis(200));
            return Ok(lab);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    bail!("the server did not take up {method}")
}

fn reached(options: &LabOptions, cases: &[&str]) -> Result<()> {
    judged(&Lab::start(options)?, cases)
}

fn judged(lab: &Lab, cases: &[&str]) -> Result<()> {
    let mut program = Program::python_with_drivers("transport.py")?;
    for case in cases {
        program = program.argument(case);
    }
    verdicts::all_well(&verdicts::run(program.governed(lab, Identity::Alice))?)
}
