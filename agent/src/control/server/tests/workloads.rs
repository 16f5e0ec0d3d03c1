//! Services: which process an entry of the configuration means.

use super::*;

#[test]
fn a_workload_is_what_its_entry_and_its_token_say() {
    let token_file = tempfile::NamedTempFile::new().expect("a file");
    let entry = |name: &str, uid| WorkloadSettings {
        name: name.to_owned(),
        uid: Some(uid),
        token_file: Some(token_file.path().to_owned()),
        ..WorkloadSettings::default()
    };
    let twice = WorkloadSettings {
        exe: Some("/nowhere".into()),
        ..entry("never", 65_534)
    };
    let rig = Rig::with(vec![entry("billing", 65_534), twice]);
    let process = rig.process(&["nobody"]);
    wait_until("the process gives up root", || {
        let resolved = rig.identities.resolve_process(process.pid());
        resolved.is_ok_and(|resolved| resolved.evidence.uid == 65_534)
    });
    assert_eq!(
        rig.absence(process.pid()),
        Absence::Unproved("billing".to_owned())
    );
    wait_until("the empty token file is reported", || {
        !rig.identities.problems().is_empty()
    });

    fs::copy(rig.folder.path().join("token"), token_file.path()).expect("a token");
    let renew = || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(rig.identities.renew_workloads())
    };
    let changes = renew();

    assert_eq!(
        changes
            .iter()
            .filter(|change| change.what == "workload")
            .count(),
        2
    );
    assert!(rig.identities.problems().is_empty() && renew().is_empty());
    let bound = rig
        .identities
        .resolve_process(process.pid())
        .expect("the process")
        .identity
        .expect("billing");
    assert_eq!(
        (
            bound.identity.method.as_str(),
            bound.identity.principal.subject.as_str()
        ),
        ("workload", "svc-billing")
    );
}

#[test]
fn a_process_that_two_entries_match_is_refused() {
    let entry = |name: &str| WorkloadSettings {
        name: name.to_owned(),
        uid: Some(65_534),
        token_file: Some("/nowhere".into()),
        ..WorkloadSettings::default()
    };
    let rig = Rig::with(vec![entry("one"), entry("two")]);
    let process = rig.process(&["nobody"]);
    wait_until("both entries match", || {
        let resolved = rig.identities.resolve_process(process.pid());
        resolved.is_ok_and(|resolved| {
            resolved.absence == Absence::Ambiguous(vec!["one".to_owned(), "two".to_owned()])
        })
    });
}
