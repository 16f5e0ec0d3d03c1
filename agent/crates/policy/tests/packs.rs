//! Every pack of the product keeps what its cases promise.

use std::{fs, path::Path, time::Duration};

use weir_policy::Pack;

#[test]
fn every_pack_keeps_its_promises() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../policies");
    let mut failures = Vec::new();
    let mut packs = Vec::new();
    for entry in fs::read_dir(&folder).expect("the packs' folder") {
        let path = entry.expect("an entry").path();
        if !path.is_dir() {
            continue;
        }
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let pack = Pack::load(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(pack.warnings().is_empty(), "{name}: {:?}", pack.warnings());
        assert!(!pack.cases().is_empty(), "{name} promises nothing");
        for case in pack.cases().run(&pack, Duration::ZERO) {
            if let Some(failure) = case.failure {
                failures.push(format!("{name}/{}: {}: {failure}", case.place, case.name));
            }
        }
        packs.push(name);
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
    packs.sort();
    assert_eq!(
        packs,
        [
            "ai-agents",
            "baseline",
            "pci",
            "permit-all",
            "pii",
            "production"
        ]
    );
}
