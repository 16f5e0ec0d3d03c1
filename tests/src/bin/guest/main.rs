//! What runs inside the virtual machine of `cargo xtask vm`, as its first process: the agent, a small server, clients that
//! pass their connections around, and one line of JSON for each thing that happened.
//!
//! The machine has nothing else: no shell, no init, no network but loopback. What is said here is judged outside.

mod checks;
mod machine;
mod puppet;
mod server;
mod wire;

use std::process::ExitCode;

fn main() -> ExitCode {
    let outcome = match std::env::args().nth(1).as_deref() {
        Some("puppet") => puppet::run(),
        Some("say") => puppet::say(std::env::args().nth(2).as_deref().unwrap_or_default()),
        _ if std::process::id() == 1 => machine::run(),
        _ => Err(anyhow::anyhow!(
            "this runs as the first process of a virtual machine: see `cargo xtask vm`"
        )),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("guest: {error:#}");
            ExitCode::FAILURE
        }
    }
}
