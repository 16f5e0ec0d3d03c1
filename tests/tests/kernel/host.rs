//! What is asked of the host.

use serde_json::Value;

use crate::{
    bench::{Acceptor, Bench},
    is_good,
};

#[test]
fn cgroup_ids_become_paths() {
    let bench = Bench::new();
    let mut acceptor = bench.acceptor();
    bench.client("say(connected(FAR_V4))");
    let id = acceptor.accepted()["origin"]["cgroup_id"].clone();

    let name = bench.cgroup.file_name().expect("a name").to_string_lossy();
    assert_eq!(acceptor.ask(&format!("cgroup {id}")), format!("/{name}"));
    assert_eq!(acceptor.ask("cgroup 18446744073709551615"), Value::Null);
}

#[test]
fn this_host_has_what_capturing_needs() {
    let findings = weir::capture::probe();
    let names: Vec<&str> = findings.iter().map(|finding| finding.name).collect();
    assert_eq!(
        names[..5],
        ["kernel", "btf", "cgroup2", "privileges", "bpffs"]
    );
    for finding in findings {
        assert!(!finding.is_bad(), "{}: {}", finding.name, finding.detail);
    }
}

#[test]
fn a_missing_bpf_file_system_is_mounted() {
    let bench = Bench::new();
    let name = format!("/sys/fs/bpf/weir-test-{}", std::process::id());

    let mut acceptor = Acceptor::start_without_bpffs(&bench, &name);

    assert_eq!(acceptor.ready["resumed"], false);
    for finding in acceptor.ask("check").as_array().expect("findings") {
        assert!(is_good(finding), "{finding}");
    }
}
