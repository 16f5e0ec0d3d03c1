use std::path::Path;

use super::*;

fn compile(files: &[(&str, &str)]) -> Result<Pack, PackError> {
    let files = files
        .iter()
        .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
        .collect();
    Pack::compile(
        &Sources::from_files(Path::new("pack"), files),
        Mode::Enforce,
    )
}

fn error(rules: &str) -> String {
    match compile(&[("rules.yaml", rules)]) {
        Ok(_) => panic!("accepted: {rules}"),
        Err(error) => error.to_string(),
    }
}

fn warnings(rules: &str) -> Vec<String> {
    let pack = compile(&[("rules.yaml", rules)]).expect("accepted");
    pack.warnings().iter().map(ToString::to_string).collect()
}

#[test]
fn an_unknown_field_is_refused_with_its_place_and_the_closest_name() {
    let text = error(
        "version: 1\nrules:\n  - id: a\n    match: { actor.kinds: [human] }\n    effect: allow\n",
    );
    assert!(
        text.contains(
            "rules.yaml:4:14: error: unknown field `actor.kinds`; did you mean `actor.kind`?"
        ),
        "{text}"
    );
}

#[test]
fn an_unknown_word_is_refused_with_the_known_ones() {
    let text =
        error("version: 1\nrules:\n  - id: a\n    match: { kind: [dropp] }\n    effect: allow\n");
    assert!(
        text.contains("rules.yaml:4:21: error: unknown word `dropp`; did you mean `drop`?"),
        "{text}"
    );
}

#[test]
fn a_key_given_twice_is_refused() {
    let text =
        error("version: 1\nrules:\n  - id: a\n    match: {}\n    match: {}\n    effect: allow\n");
    assert!(
        text.contains("rules.yaml:5:5: error: `match` is given twice"),
        "{text}"
    );
}

#[test]
fn an_unknown_effect_is_refused_within_its_map_too() {
    let text = error("version: 1\nrules:\n  - id: a\n    match: {}\n    effect: { denny: x }\n");
    assert!(
        text.contains("unknown field `denny`; did you mean `deny`?")
            && text.contains("rules.yaml:5:"),
        "{text}"
    );
    let text = error("version: 1\nrules:\n  - id: a\n    match: {}\n    effect: deny\n");
    assert!(
        text.contains("rules.yaml:5:13: error: a denial needs a text for the client; write {"),
        "{text}"
    );
    let text = error("version: 1\nrules:\n  - id: a\n    match: {}\n    effect: { deny: ' ' }\n");
    assert!(text.contains("a denial needs a text"), "{text}");
}

#[test]
fn rule_ids_are_unique_across_files() {
    let rule = "version: 1\nrules: [{ id: same, match: {}, effect: { tag: x } }]\n";
    let error = compile(&[("a.yaml", rule), ("b.yaml", rule)])
        .expect_err("taken")
        .to_string();
    assert!(
        error.contains("b.yaml:2:15: error: rule id `same` is taken (a.yaml:2:15)"),
        "{error}"
    );
}

#[test]
fn reserved_ids_unknown_versions_and_empty_lists_are_refused() {
    assert!(
        error("version: 1\nrules: [{ id: default, match: {}, effect: allow }]\n")
            .contains("`default` is the name")
    );
    assert!(error("version: 2\nrules: []\n").contains("version 2 of the format is not known"));
    assert!(
        error("version: 1\nrules: [{ id: a, match: { kind: [] }, effect: allow }]\n")
            .contains("empty list")
    );
    assert!(
        error("version: 1\nrules: [{ id: a, match: { actor.groups: {} }, effect: allow }]\n")
            .contains("names nothing")
    );
    assert!(
        error("version: 1\nrules: [{ id: a, match: {}, unless: {}, effect: { deny: x } }]\n")
            .contains("an empty `unless`")
    );
    assert!(error("version: 1\nrules: [{ id: a, match: { limit: { above: 1, at_most: 2 } }, effect: { deny: x } }]\n").contains("both bounds"));
}

#[test]
fn an_exemption_needs_a_reason_an_end_and_somebody() {
    let with = |exempt: &str| {
        error(&format!(
            "version: 1\nrules: [{{ id: a, match: {{}}, exempt: [{exempt}], effect: {{ deny: x }} }}]\n"
        ))
    };
    assert!(
        with("{ match: { database: x }, expires: 2030-01-01 }")
            .contains("field `reason` is missing")
    );
    assert!(with("{ match: { database: x }, reason: y }").contains("field `expires` is missing"));
    assert!(
        with("{ match: { database: x }, reason: y, expires: soon }").contains("`soon` is no date")
    );
    assert!(with("{ match: {}, reason: y, expires: 2030-01-01 }").contains("holds for everybody"));
    assert!(
        error("version: 1\nrules: [{ id: a, match: {}, exempt: [{ match: { database: x }, reason: y, expires: 2030-01-01 }], effect: allow }]\n")
            .contains("nothing to be exempt from")
    );
}

#[test]
fn effects_that_could_do_nothing_are_refused() {
    let wrong = [
        (
            "{ id: a, match: {}, effect: { cap: {} } }",
            "a cap without a limit",
        ),
        (
            "{ id: a, match: {}, effect: { cap: { bytes: 5 apples } } }",
            "`5 apples` is no size",
        ),
        (
            "{ id: a, match: {}, effect: { budget: { per: run, window: 1h } } }",
            "a budget without a limit",
        ),
        (
            "{ id: a, match: {}, effect: { budget: { rows: 1, per: run } } }",
            "field `window` is missing",
        ),
        (
            "{ id: a, match: {}, effect: { approve: { groups: [] } } }",
            "an approval that nobody can give",
        ),
        (
            "{ id: a, match: {}, effect: { on_write: masked, tag: x } }",
            "`on_write` says how masked values are stored",
        ),
        (
            "{ id: a, match: {}, effect: { filter: 'a = 1' } }",
            "does not say of which relation",
        ),
        (
            "{ id: a, match: { relation: [x.y] }, effect: { filter: 'a = ' } }",
            "is no condition",
        ),
        (
            "{ id: a, match: { joins: { all: [pii] } }, effect: { deny: x } }",
            "names nothing that could meet",
        ),
        (
            "{ id: a, match: { time: { hours: noon } }, effect: { deny: x } }",
            "`noon` is no range of hours",
        ),
        (
            "{ id: a, match: { time: { days: [mon..fri], zone: Europe/Berlin } }, effect: { deny: x } }",
            "`Europe/Berlin` is no zone",
        ),
    ];
    for (rule, expected) in wrong {
        let text = error(&format!("version: 1\nrules: [{rule}]\n"));
        assert!(text.contains(expected), "{rule}: {text}");
    }
}

#[test]
fn every_error_of_every_file_is_reported_at_once() {
    let error = compile(&[
        ("a.yaml", "version: 1\nrule: []\n"),
        ("b.yaml", "version: 7\n"),
        (
            "cases.yaml",
            "version: 1\npeople: {}\ncases: [{ name: x, as: alcie, sql: y, expect: allow }]\n",
        ),
        ("classes.yaml", "version: 1\ncolums: {}\n"),
    ])
    .expect_err("wrong");
    let files: Vec<_> = error
        .findings()
        .iter()
        .map(|finding| finding.place.file.as_str())
        .collect();
    assert_eq!(files, ["a.yaml", "b.yaml", "cases.yaml", "classes.yaml"]);
}

#[test]
fn a_second_file_can_only_make_the_defaults_stricter() {
    let open = "version: 1\ndefaults: { effect: allow, on_opaque: allow, mode: observe }\n";
    let pack = |files: &[(&str, &str)]| compile(files).expect("accepted").compiled.defaults;
    let alone = pack(&[("a.yaml", open)]);
    assert_eq!(
        (alone.effect, alone.on_opaque, alone.mode),
        (Answer::Allow, Answer::Allow, Mode::Observe)
    );
    let silent = pack(&[("a.yaml", open), ("b.yaml", "version: 1\n")]);
    assert_eq!(silent, alone);
    let closed = pack(&[
        ("a.yaml", open),
        (
            "b.yaml",
            "version: 1\ndefaults: { effect: deny, on_opaque: deny, mode: enforce }\n",
        ),
    ]);
    assert_eq!(
        (closed.effect, closed.on_opaque, closed.mode),
        (Answer::Deny, Answer::Deny, Mode::Enforce)
    );
}

#[test]
fn a_rule_that_cannot_fire_is_warned_of() {
    let rule = |rule: &str| warnings(&format!("version: 1\nrules: [{rule}]\n")).join("\n");
    assert!(
        rule(
            "{ id: a, match: { actor.identified: false, actor.kind: human }, effect: { deny: x } }"
        )
        .contains("`a` can never fire")
    );
    assert!(
        rule("{ id: a, match: { kind: [drop], has_where: false }, effect: { deny: x } }")
            .contains("exclude each other")
    );
    assert!(
        rule("{ id: a, match: { kind: [drop], action: [read] }, effect: { deny: x } }")
            .contains("exclude each other")
    );
    assert!(
        rule("{ id: a, match: { database: shop, kind: [drop] }, unless: { database: 'sh*' }, effect: { deny: x } }")
            .contains("its `unless` excepts")
    );
    assert_eq!(
        rule("{ id: a, match: { kind: [delete], has_where: false }, effect: { deny: x } }"),
        ""
    );
}

#[test]
fn an_allow_that_another_rule_cancels_is_warned_of() {
    let text = warnings(
        "version: 1\nrules:\n  - { id: open, match: { environment: production, kind: [drop], actor.kind: human }, effect: allow }\n  - { id: shut, match: { environment: 'prod*', kind: [ddl] }, effect: { deny: x } }\n",
    );
    assert_eq!(text.len(), 1);
    assert!(
        text[0].contains("rules.yaml:3:11: warning: `open` allows nothing: `shut` denies all"),
        "{text:?}"
    );
    let lifted = warnings(
        "version: 1\nrules:\n  - { id: open, match: { kind: [drop], database: a }, effect: allow }\n  - { id: shut, match: { kind: [drop] }, unless: { database: a }, effect: { deny: x } }\n",
    );
    assert!(lifted.is_empty(), "{lifted:?}");
    let idle = warnings(
        "version: 1\ndefaults: { effect: allow }\nrules: [{ id: a, match: {}, effect: allow }]\n",
    );
    assert!(idle[0].contains("changes nothing"), "{idle:?}");
}

#[test]
fn a_group_spelt_differently_once_is_warned_of() {
    let text = warnings(
        "version: 1\nrules:\n  - { id: a, match: { actor.groups: { any: [support-lead] } }, effect: allow }\n  - { id: b, match: { actor.groups: { any: [support-lead] } }, effect: allow }\n  - { id: c, match: { actor.groups: { any: [Support_Lead] } }, effect: allow }\n",
    );
    assert_eq!(text.len(), 1, "{text:?}");
    assert!(
        text[0].contains("group `Support_Lead` looks like `support-lead`"),
        "{text:?}"
    );
}

#[test]
fn a_folder_is_read_whole_and_yml_is_not_left_out_in_silence() {
    let folder = tempfile::tempdir().expect("a folder");
    let write =
        |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("written");
    assert!(matches!(
        Pack::load(folder.path()),
        Err(PackError::Empty { .. })
    ));
    write("notes.txt", "not a rule");
    write(
        "a.yaml",
        "version: 1\nrules: [{ id: a, match: {}, effect: { tag: x } }]\n",
    );
    write(
        "b.yaml",
        "version: 1\nrules: [{ id: b, match: {}, effect: { tag: x } }]\n",
    );
    assert_eq!(Pack::load(folder.path()).expect("a pack").rules().len(), 2);
    write("c.yml", "version: 1\n");
    assert!(matches!(
        Pack::load(folder.path()),
        Err(PackError::Read { .. })
    ));
    assert!(matches!(
        Pack::load(&folder.path().join("missing")),
        Err(PackError::Read { .. })
    ));
}

#[test]
fn what_a_rule_says_of_data_and_hardly_means_is_warned_of() {
    let classes = "version: 1\ncolumns: { '*.*.ssn': pii.ssn, '*.*.email': pii.email }\n";
    let warn = |rules: &str| {
        let rules = format!("version: 1\nrules: [{rules}]\n");
        let pack = compile(&[("rules.yaml", &rules), ("classes.yaml", classes)]).expect("accepted");
        let warnings: Vec<_> = pack.warnings().iter().map(ToString::to_string).collect();
        warnings.join("\n")
    };
    for (rules, expected) in [
        (
            "{ id: a, match: { classes: { any: [pii.emial] } }, effect: { deny: x } }",
            "the class `pii.emial`, which classes.yaml gives to nothing; did you mean `pii.email`?",
        ),
        (
            "{ id: a, match: { classes: { any: [pii.ssn], none: [pii] } }, effect: { deny: x } }",
            "`a` can never fire: `classes` leaves out",
        ),
        (
            "{ id: a, match: { classes: { any: [pii] } }, effect: { mask: { pii.ssn: domain_only } } }",
            "hardly fits such values",
        ),
        (
            "{ id: a, match: { classes: { any: [pii] }, actor.kind: agent }, effect: { mask: { default: partial } } }, { id: b, match: { classes: { any: [pii] } }, effect: { mask: { default: redact } } }",
            "`a` changes nothing: `b` masks all",
        ),
        (
            "{ id: a, match: { claimed: { x: y } }, effect: allow }",
            "anybody can write that",
        ),
        (
            "{ id: a, match: {}, unless: { claimed: { x: y } }, effect: { deny: x } }",
            "anybody can write that",
        ),
    ] {
        let text = warn(rules);
        assert!(text.contains(expected), "{rules}: {text}");
    }
    for fine in [
        "{ id: a, match: { classes: { any: [pii] } }, effect: { mask: { default: partial, pii.email: domain_only } } }",
        "{ id: a, match: { classes: { any: [pii] } }, unless: { actor.kind: human }, effect: { mask: { default: redact } } }, { id: b, match: { classes: { any: [pii] } }, effect: { mask: { default: partial } } }",
        "{ id: a, match: { claimed: { x: y } }, effect: { deny: x } }",
    ] {
        assert_eq!(warn(fine), "", "{fine}");
    }
}
