//! What rules ask of a log-in and of the process behind it, by cases as a pack would promise them.

use std::{path::Path, time::Duration};

use weir_policy::{Mode, Pack, PackError, Sources};

const RULES: &str = r#"
version: 1
rules:
  - { id: staff, match: { actor.identified: true }, effect: allow }
  - id: fresh-for-ddl
    match: { kind: [drop] }
    unless: { actor.max_auth_age: 15m }
    effect: { deny: "destructive work needs a fresh log-in" }
  - id: mfa-for-grants
    match: { kind: [grant] }
    unless: { actor.amr: { any: [mfa, hwk] }, actor.acr: ["urn:high"] }
    effect: { deny: "grants need a second factor" }
  - id: not-while-stale
    match: { actor.stale: true, action: [write, define] }
    effect: { deny: "the identity provider cannot be asked" }
  - id: no-tokens-by-hand
    match: { actor.method: [token], kind: [truncate] }
    effect: { deny: "log in" }
  - id: exchanged-only
    match: { actor.delegation: [local], kind: [delete] }
    effect: { deny: "the provider must vouch for the agent" }
  - id: this-build-only
    match: { kind: [update] }
    unless: { process.exe_sha256: ["AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"] }
    effect: { deny: "another build" }
  - id: units
    match: { process.unit: ["cron*"], actor.strength: strong, actor.purpose: [export], kind: [select] }
    effect: { deny: "not from here" }
  - id: containers
    match: { process.container: ["ab*"], kind: [select] }
    effect: { deny: "not from this container" }
  - id: by-expression
    match: { kind: [call] }
    when: "actor.auth_age > 3600 || actor.method == 'device' || 'sms' in actor.amr || process.unit == 'x.service'"
    effect: { deny: "by expression" }
"#;

const CASES: &str = r#"
version: 1
people:
  fresh: { kind: human, auth_age: 5m, amr: [pwd, mfa], acr: "urn:high" }
  tired: { kind: human, auth_age: 2h, amr: [pwd], stale: true }
  mute: { kind: human }
  pasted: { kind: human, method: token, auth_age: 1m }
  phone: { kind: human, method: device, auth_age: 1m }
  local-bot: { kind: agent, for: fresh, purpose: export }
  vouched-bot: { kind: agent, for: fresh, delegation: exchanged }
cases:
  - { name: a fresh log-in may, as: fresh, sql: "DROP TABLE t", expect: allow }
  - { name: an old one may not, as: tired, sql: "DROP TABLE t", expect: deny, rules: [fresh-for-ddl, not-while-stale] }
  - { name: one of unknown age may not, as: mute, sql: "DROP TABLE t", expect: deny, rules: [fresh-for-ddl] }
  - { name: an agent goes by its person's log-in, as: vouched-bot, sql: "DROP TABLE t", expect: allow }
  - { name: a second factor, as: fresh, sql: "GRANT SELECT ON t TO PUBLIC", expect: allow }
  - { name: without one, as: pasted, sql: "GRANT SELECT ON t TO PUBLIC", expect: deny, rules: [mfa-for-grants] }
  - { name: stale, as: tired, sql: "INSERT INTO t VALUES (1)", expect: deny, rules: [not-while-stale] }
  - { name: stale reads, as: tired, sql: "SELECT 1", expect: allow }
  - { name: by a token, as: pasted, sql: "TRUNCATE t", expect: deny, rules: [no-tokens-by-hand] }
  - { name: by name, as: fresh, sql: "TRUNCATE t", expect: allow }
  - { name: local, as: local-bot, sql: "DELETE FROM t WHERE a = 1", expect: deny, rules: [exchanged-only] }
  - { name: exchanged, as: vouched-bot, sql: "DELETE FROM t WHERE a = 1", expect: allow }
  - { name: this build, as: fresh, process: { exe_sha256: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa }, sql: "UPDATE t SET a = 1 WHERE a = 2", expect: allow }
  - { name: an unknown build, as: fresh, sql: "UPDATE t SET a = 1 WHERE a = 2", expect: deny, rules: [this-build-only] }
  - { name: unit and purpose, as: local-bot, process: { unit: cron.service }, sql: "SELECT 1", expect: deny, rules: [units] }
  - { name: another unit, as: local-bot, process: { unit: app.service }, sql: "SELECT 1", expect: allow }
  - { name: a container, as: fresh, process: { container: abcd }, sql: "SELECT 1", expect: deny, rules: [containers] }
  - { name: expression on age, as: tired, sql: "CALL p()", expect: deny }
  - { name: expression on method, as: phone, sql: "CALL p()", expect: deny }
"#;

#[test]
fn log_ins_and_processes_decide_as_the_cases_say() {
    let pack = pack(RULES, Some(CASES)).expect("a good pack");
    assert!(pack.warnings().is_empty(), "{:?}", pack.warnings());
    for now in [1_700_000_000, 0] {
        let failures: Vec<_> = pack
            .cases()
            .run(&pack, Duration::from_secs(now))
            .into_iter()
            .filter_map(|case| Some(format!("{}: {}", case.name, case.failure?)))
            .collect();
        assert!(failures.is_empty(), "{}", failures.join("\n"));
    }
    assert_eq!(pack.auth_age_limits(), [Duration::from_mins(15)]);
}

#[test]
fn a_refusal_that_a_new_log_in_lifts_says_which() {
    let pack = pack(RULES, Some(CASES)).expect("a good pack");
    let step_up = |who: &str, sql: &str| {
        let now = Duration::from_secs(1_700_000_000);
        let person = pack.cases().person(who).expect("somebody");
        let identity = person.identity(now);
        let facts = weir_sql::postgres::analyse(sql.as_bytes(), weir_sql::SessionModes::default());
        let decision = pack.decide(&weir_policy::Question {
            identity: identity.as_ref(),
            process: &weir_policy::Process::default(),
            target: &weir_policy::Target::default(),
            facts: &facts,
            now,
            stale: person.stale,
        });
        assert!(!decision.permits());
        decision.step_up.map(|step| step.hint())
    };
    assert_eq!(
        step_up("mute", "DROP TABLE t").as_deref(),
        Some("run \"weir login --max-age 900\"")
    );
    assert_eq!(
        step_up("pasted", "GRANT SELECT ON t TO PUBLIC").as_deref(),
        Some("run \"weir login --acr urn:high\"; the identity provider must state amr hwk or mfa")
    );
    assert_eq!(
        step_up("tired", "DROP TABLE t"),
        None,
        "one denial would stay"
    );
}

#[test]
fn what_is_not_in_the_vocabulary_is_refused_and_what_cannot_fire_is_said() {
    let refused = |matching: &str| {
        let rules = format!(
            "version: 1\nrules: [{{ id: a, match: {{ {matching} }}, effect: {{ deny: x }} }}]\n"
        );
        match pack(&rules, None) {
            Err(PackError::Refused(findings)) => findings
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join("\n"),
            other => panic!("{matching}: {other:?}"),
        }
    };
    for (matching, expected) in [
        ("actor.method: [browser]", "unknown word `browser`"),
        ("actor.delegation: [remote]", "unknown word `remote`"),
        ("actor.max_auth_age: soon", "`soon` is no duration"),
        ("actor.amr: {}", "`actor.amr` names nothing"),
        ("process.exe_sha256: [abc]", "`abc` is no SHA-256"),
        ("actor.acrs: [x]", "did you mean `actor.acr`?"),
    ] {
        let message = refused(matching);
        assert!(message.contains(expected), "{matching}: {message}");
    }
    let warned = |rule: &str| {
        let rules = format!("version: 1\nrules: [{{ id: a, {rule} }}]\n");
        let pack = pack(&rules, None).expect("a pack");
        let warnings = pack.warnings().iter().map(ToString::to_string);
        warnings.collect::<Vec<_>>().join("\n")
    };
    for (rule, expected) in [
        (
            "match: { actor.kind: [human], actor.method: [workload] }, effect: { deny: x }",
            "`actor.method` and `actor.kind` exclude each other",
        ),
        (
            "match: { actor.identified: false, actor.method: [device] }, effect: { deny: x }",
            "exclude each other",
        ),
        (
            "match: { actor.kind: [workload], actor.max_auth_age: 1h }, effect: allow",
            "`a` can never fire",
        ),
        (
            "match: { actor.amr: { any: [mfa], none: [mfa] } }, effect: { deny: x }",
            "`actor.amr` leaves out what it asks for",
        ),
        (
            "match: { actor.amr: { any: [MFA] } }, effect: { deny: x }",
            "which looks like `mfa`",
        ),
        (
            "match: { kind: [drop], actor.max_auth_age: 5m }, unless: { actor.max_auth_age: 1h }, effect: { deny: x }",
            "whatever it matches, its `unless` excepts",
        ),
    ] {
        let message = warned(rule);
        assert!(message.contains(expected), "{rule}: {message}");
    }
}

fn pack(rules: &str, cases: Option<&str>) -> Result<Pack, PackError> {
    let mut files = vec![("rules.yaml".to_owned(), rules.to_owned())];
    files.extend(cases.map(|cases| ("cases.yaml".to_owned(), cases.to_owned())));
    Pack::compile(&Sources::from_files(Path::new("p"), files), Mode::Enforce)
}
