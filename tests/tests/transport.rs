//! Clients reach the server over every transport that weir stands for: in clear, with TLS on either leg, with SCRAM.

use anyhow::Result;
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

/// With a certificate of weir's own the client's binding cannot hold; a client that does not ask for it is served.
#[test]
fn tls_on_both_legs_with_scram_serves_who_does_not_bind() -> Result<()> {
    reached(
        &LabOptions {
            tls: true,
            scram: true,
            ..LabOptions::default()
        },
        &[
            "no-channel-binding",
            "verify-full",
            "wrong-password=refused",
        ],
    )
}

fn reached(options: &LabOptions, cases: &[&str]) -> Result<()> {
    let lab = Lab::start(options)?;
    let mut program = Program::python_with_drivers("transport.py")?;
    for case in cases {
        program = program.argument(case);
    }
    verdicts::all_well(&verdicts::run(program.governed(&lab, Identity::Alice))?)
}
