//! What entries may say.

use super::*;
use crate::identity::settings::{ClientSettings, PodSettings, ProjectedSettings};

fn entry(name: &str) -> WorkloadSettings {
    WorkloadSettings {
        name: name.to_owned(),
        token_file: Some("/nowhere".into()),
        ..WorkloadSettings::default()
    }
}

fn refusal(entry: WorkloadSettings) -> WorkloadError {
    parse(&[entry]).expect_err("an entry that cannot be used")
}

#[test]
fn entries_that_mean_anyone_are_refused() {
    assert!(matches!(
        refusal(entry("a")),
        WorkloadError::NoSelector { .. }
    ));
    let by_program = [
        WorkloadSettings {
            exe: Some("/usr/bin/psql".into()),
            ..entry("a")
        },
        WorkloadSettings {
            exe_sha256: Some("ab".repeat(32)),
            ..entry("a")
        },
    ];
    for program in by_program {
        assert!(matches!(
            refusal(program.clone()),
            WorkloadError::Weak { .. }
        ));
        let weak = WorkloadSettings {
            weak: true,
            ..program
        };
        assert!(parse(&[weak]).is_ok());
    }
    for pattern in ["system.slice/x", "/a/**/b", "/a//b", "/"] {
        let cgroup = WorkloadSettings {
            cgroup: Some(pattern.to_owned()),
            ..entry("a")
        };
        assert!(
            matches!(refusal(cgroup), WorkloadError::Pattern { .. }),
            "{pattern}"
        );
    }
    let twice = WorkloadSettings {
        uid: Some(1),
        ..entry("a")
    };
    assert!(matches!(
        parse(&[twice.clone(), twice]),
        Err(WorkloadError::Twice { .. })
    ));
}

#[test]
fn values_that_mean_nothing_are_refused() {
    let unit = |text: &str| WorkloadSettings {
        systemd_unit: Some(text.to_owned()),
        ..entry("a")
    };
    assert!(parse(&[unit("billing@*.service")]).is_ok());
    for wrong in ["billing", ".service", "a/b.service", "a.slice"] {
        assert!(
            matches!(refusal(unit(wrong)), WorkloadError::Selector { .. }),
            "{wrong}"
        );
    }
    for wrong in ["", "ab", "zz", &"ab".repeat(33)] {
        let digest = WorkloadSettings {
            exe_sha256: Some(wrong.to_owned()),
            ..unit("a.service")
        };
        assert!(
            matches!(refusal(digest), WorkloadError::Selector { .. }),
            "{wrong}"
        );
    }
    for wrong in ["latest", "sha256:ab", "md5:ab"] {
        let image = WorkloadSettings {
            image_digest: Some(wrong.to_owned()),
            ..entry("a")
        };
        assert!(
            matches!(refusal(image), WorkloadError::Selector { .. }),
            "{wrong}"
        );
    }
}

#[test]
fn there_is_exactly_one_proof_and_pods_prove_themselves() {
    let uid = WorkloadSettings {
        uid: Some(1),
        ..entry("a")
    };
    let none = WorkloadSettings {
        token_file: None,
        ..uid.clone()
    };
    let two = WorkloadSettings {
        client_credentials: Some(ClientSettings::default()),
        ..uid.clone()
    };
    for wrong in [none.clone(), two] {
        assert!(matches!(refusal(wrong), WorkloadError::Proofs { .. }));
    }
    let pod = WorkloadSettings {
        k8s: Some(PodSettings::default()),
        ..uid
    };
    assert!(matches!(
        refusal(pod),
        WorkloadError::PodWithoutToken { .. }
    ));
    let template = |text: &str| WorkloadSettings {
        k8s: Some(PodSettings::default()),
        kubernetes: Some(ProjectedSettings {
            token_file: text.to_owned(),
        }),
        ..none.clone()
    };
    assert!(parse(&[template("/pods/{pod_uid}/token")]).is_ok());
    assert!(matches!(
        refusal(template("/pods/token")),
        WorkloadError::Selector { .. }
    ));
    let client = WorkloadSettings {
        client_credentials: Some(ClientSettings::default()),
        ..none
    };
    assert!(matches!(refusal(client), WorkloadError::Client { .. }));
}
