//! The kernel programs on this kernel: what is captured, what is left alone, and what a crash leaves.
//!
//! Needs root, a cgroup2 mount, and python3 for the clients. Each test has a cgroup and a bpf file
//! system of its own; nothing outside of them is touched.

#[path = "kernel/absence.rs"]
mod absence;
#[path = "kernel/around.rs"]
mod around;
#[path = "kernel/bench.rs"]
mod bench;
#[path = "kernel/clients.rs"]
mod clients;
#[path = "kernel/host.rs"]
mod host;

use bench::Bench;
use serde_json::Value;

/// Whether a finding of the self-check leaves enforcement whole: it is met, or the kernel may do without it.
fn is_good(finding: &Value) -> bool {
    finding["ok"] == true || finding["optional"] == true
}

/// What every captured connection must show on both sides.
fn assert_captured(bench: &Bench, client: &Value, accepted: &Value, destination: &str) {
    assert_eq!(client["bytes"], "weir", "the client spoke to {client}");
    let origin = &accepted["origin"];
    assert_eq!(origin["destination"], destination);
    assert_eq!(origin["tgid"], client["pid"]);
    assert_eq!(origin["endpoint"], 7);
    assert_eq!(origin["uid"], 0);
    assert!(origin["start_boottime_ns"].as_u64() > Some(0));
    assert!(origin["connected_at_ns"].as_u64() >= origin["start_boottime_ns"].as_u64());
    let id =
        std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(&bench.cgroup).expect("metadata"));
    assert_eq!(origin["cgroup_id"], id);
    assert_eq!(
        accepted["peer"], accepted["peer_name"],
        "accept and getpeername agree"
    );
}
