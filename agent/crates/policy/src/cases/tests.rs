use std::path::Path;

use super::*;
use crate::{schema::Mode, source::Sources};

const RULES: &str = "version: 1\nrules:\n  - { id: people, match: { actor.kind: human }, effect: allow }\n  - { id: mark, match: { actor.kind: human }, effect: { tag: seen } }\n";

#[test]
fn a_broken_promise_is_reported_with_what_differs() {
    assert_eq!(
        run("as: ann, sql: SELECT 1, expect: allow, rules: [people], tags: [seen], would: []"),
        None
    );
    let broken = [
        (
            "as: ann, sql: SELECT 1, expect: deny",
            "expected deny, but it is allowed by people",
        ),
        (
            "as: ann, sql: SELECT 1, expect: allow, rules: [other]",
            "expected rules [other], found [people]",
        ),
        (
            "as: ann, sql: SELECT 1, expect: allow, tags: []",
            "expected tags [], found [seen]",
        ),
        (
            "as: ann, sql: SELECT 1, expect: allow, would: [people]",
            "expected would [people], found []",
        ),
        (
            "as: bot, sql: SELECT 1, expect: allow",
            "expected allow, but default denies it: no rule allows this",
        ),
        (
            "as: nobody, request: connect, expect: allow",
            "expected allow, but default denies it",
        ),
        (
            "as: nobody, request: connect, expect: deny, reason: because",
            "expected a reason with \"because\"",
        ),
    ];
    for (case, expected) in broken {
        let failure = run(case).expect(case);
        assert!(failure.starts_with(expected), "{case}: {failure}");
    }
}

#[test]
fn a_case_needs_somebody_known_and_one_request() {
    assert!(
        error("as: an, sql: SELECT 1, expect: allow")
            .contains("nobody here is called `an`; did you mean `ann`?")
    );
    assert!(error("as: ann, expect: allow").contains("asks for nothing, or for two things"));
    assert!(
        error("as: ann, sql: SELECT 1, request: connect, expect: allow")
            .contains("asks for nothing, or for two things")
    );
}

fn run(case: &str) -> Option<String> {
    let pack = compile(case).expect("a pack");
    let mut results = pack.cases().run(&pack, Duration::ZERO);
    assert_eq!(results.len(), 1);
    results.remove(0).failure
}

fn error(case: &str) -> String {
    compile(case).expect_err("refused").to_string()
}

fn compile(case: &str) -> Result<Pack, crate::finding::PackError> {
    let cases = format!(
        "version: 1\npeople: {{ ann: {{ kind: human }}, bot: {{ kind: agent, for: ann }}, nobody: {{ kind: unidentified }} }}\ncases: [{{ name: one, {case} }}]\n"
    );
    let files = vec![
        ("cases.yaml".to_owned(), cases),
        ("rules.yaml".to_owned(), RULES.to_owned()),
    ];
    Pack::compile(
        &Sources::from_files(Path::new("pack"), files),
        Mode::Enforce,
    )
}
