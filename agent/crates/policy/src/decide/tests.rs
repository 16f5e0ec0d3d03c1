use std::path::Path;

use super::*;
use crate::principal::{Actor, Principal, PrincipalKind, Strength};
use crate::source::Sources;

const STAFF: &str = "{ id: staff, match: { actor.kind: [human, workload, agent] }, effect: allow }";

#[test]
fn nothing_is_allowed_where_no_rule_speaks() {
    let pack = pack(&[]);
    let decision = decide(&pack, Some(&human(&[])), &select());
    assert_eq!(denied_by(&decision), ["default"]);
}

#[test]
fn the_strictest_rule_holds_whatever_the_order() {
    let deny = "{ id: no-drop, match: { kind: [drop] }, effect: { deny: no } }";
    for rules in [[STAFF, deny], [deny, STAFF]] {
        let pack = pack(&rules);
        assert_eq!(
            denied_by(&decide(&pack, Some(&human(&[])), &facts(&["drop"], &[]))),
            ["no-drop"]
        );
        assert!(decide(&pack, Some(&human(&[])), &select()).permits());
    }
}

#[test]
fn a_grant_covers_all_of_a_text_and_a_restriction_any_of_it() {
    let pack = pack(&["{ id: read, match: { kind: [select] }, effect: allow }"]);
    assert!(decide(&pack, None, &select()).permits());
    assert_eq!(
        denied_by(&decide(&pack, None, &facts(&["select", "drop"], &[]))),
        ["default"]
    );
    let pack = self::pack(&[
        STAFF,
        "{ id: no, match: { kind: ddl }, effect: { deny: x } }",
    ]);
    for kind in ["create", "alter", "drop", "truncate"] {
        assert_eq!(
            denied_by(&decide(
                &pack,
                Some(&human(&[])),
                &facts(&["select", kind], &[])
            )),
            ["no"]
        );
    }
}

#[test]
fn an_exception_for_part_of_a_text_excepts_nothing() {
    let pack = pack(&[
        STAFF,
        "{ id: no, match: { action: [write] }, unless: { relation: [scratch.*] }, effect: { deny: x } }",
    ]);
    let human = human(&[]);
    assert!(
        decide(
            &pack,
            Some(&human),
            &facts(&["insert"], &[("scratch", "a", "write")])
        )
        .permits()
    );
    let both = facts(
        &["insert"],
        &[("scratch", "a", "write"), ("public", "b", "write")],
    );
    assert_eq!(denied_by(&decide(&pack, Some(&human), &both)), ["no"]);
}

#[test]
fn a_name_without_a_schema_is_restricted_in_doubt_and_not_granted_in_doubt() {
    let orders = facts(&["select"], &[("", "orders", "read")]);
    let restricted = pack(&[
        STAFF,
        "{ id: no, match: { relation: [secret.orders] }, effect: { deny: x } }",
    ]);
    assert_eq!(
        denied_by(&decide(&restricted, Some(&human(&[])), &orders)),
        ["no"]
    );
    let granted = pack(&["{ id: yes, match: { relation: [public.orders] }, effect: allow }"]);
    assert!(!decide(&granted, Some(&human(&[])), &orders).permits());
    let anywhere = pack(&["{ id: yes, match: { relation: [orders] }, effect: allow }"]);
    assert!(decide(&anywhere, Some(&human(&[])), &orders).permits());
    assert!(
        !decide(&anywhere, Some(&human(&[])), &select()).permits(),
        "a text without relations is not covered"
    );
}

#[test]
fn groups_grant_and_except_only_when_the_list_is_whole() {
    let pack = pack(&[
        "{ id: dba-only, match: { actor.groups: { any: [dba] } }, effect: allow }",
        "{ id: no-drop, match: { kind: [drop] }, unless: { actor.groups: { any: [dba] } }, effect: { deny: x } }",
        "{ id: no-interns, match: { actor.groups: { any: [intern] } }, effect: { deny: y } }",
    ]);
    let mut dba = human(&["dba", "unheard-of"]);
    assert!(decide(&pack, Some(&dba), &facts(&["drop"], &[])).permits());
    assert_eq!(
        denied_by(&decide(&pack, Some(&human(&["dba", "intern"])), &select())),
        ["no-interns"]
    );
    dba.principal.groups_complete = false;
    assert_eq!(
        denied_by(&decide(&pack, Some(&dba), &facts(&["drop"], &[]))),
        ["no-drop", "no-interns"]
    );
}

#[test]
fn a_group_that_must_be_missing_restricts_the_unidentified_but_grants_them_nothing() {
    let restricted = pack_of(
        "defaults: { effect: allow }",
        &["{ id: no, match: { actor.groups: { none: [dba] } }, effect: { deny: x } }"],
    );
    assert_eq!(denied_by(&decide(&restricted, None, &select())), ["no"]);
    assert!(decide(&restricted, Some(&human(&["dba"])), &select()).permits());
    let granted =
        pack(&["{ id: yes, match: { actor.groups: { none: [contractor] } }, effect: allow }"]);
    assert!(!decide(&granted, None, &select()).permits());
    assert!(decide(&granted, Some(&human(&[])), &select()).permits());
}

#[test]
fn a_delegated_agent_needs_the_leave_of_both() {
    let people_only = pack(&["{ id: people, match: { actor.kind: [human] }, effect: allow }"]);
    assert!(decide(&people_only, Some(&human(&[])), &select()).permits());
    assert_eq!(
        denied_by(&decide(&people_only, Some(&agent(&[])), &select())),
        ["default"]
    );
    let agents_only = pack(&["{ id: agents, match: { actor.kind: [agent] }, effect: allow }"]);
    assert_eq!(
        denied_by(&decide(&agents_only, Some(&agent(&[])), &select())),
        ["default"]
    );
    let both = pack(&[
        STAFF,
        "{ id: not-bot, match: { actor.subject: [bot], kind: [drop] }, effect: { deny: x } }",
    ]);
    assert!(decide(&both, Some(&agent(&[])), &select()).permits());
    assert_eq!(
        denied_by(&decide(
            &both,
            Some(&agent(&["dba"])),
            &facts(&["drop"], &[])
        )),
        ["not-bot"]
    );
}

#[test]
fn opaque_text_needs_a_rule_that_names_it() {
    let mut block = facts(&["do"], &[]);
    block.confidence = Confidence::Opaque;
    let pack = pack(&[
        STAFF,
        "{ id: dba-do, match: { actor.groups: { any: [dba] }, confidence: [opaque] }, effect: allow }",
    ]);
    assert_eq!(
        denied_by(&decide(&pack, Some(&human(&[])), &block)),
        ["on_opaque"]
    );
    assert!(decide(&pack, Some(&human(&["dba"])), &block).permits());
    let open = pack_of("defaults: { on_opaque: allow }", &[STAFF]);
    assert!(decide(&open, Some(&human(&[])), &block).permits());
}

#[test]
fn unparsed_text_is_held_to_do_whatever_a_rule_forbids() {
    let open = "defaults: { effect: allow, on_opaque: allow }";
    let pack = pack_of(
        open,
        &[
            "{ id: no-drop, match: { kind: [drop], environment: production }, unless: { relation: [scratch.*] }, effect: { deny: x } }",
        ],
    );
    let decision = decide(&pack, None, &unparsed());
    assert_eq!(denied_by(&decision), ["no-drop"]);
    assert!(
        format!("{decision:?}").contains("cannot be parsed: syntax error"),
        "{decision:?}"
    );
    let elsewhere = pack_of(
        open,
        &["{ id: no-drop, match: { kind: [drop], environment: staging }, effect: { deny: x } }"],
    );
    assert!(decide(&elsewhere, None, &unparsed()).permits());
    let seen = pack_of(
        open,
        &[
            "{ id: no-drop, match: { kind: [drop], confidence: [exact, tainted] }, effect: { deny: x } }",
        ],
    );
    assert!(decide(&seen, None, &unparsed()).permits());
    let closed = self::pack(&[
        STAFF,
        "{ id: no-drop, match: { kind: [drop] }, effect: { deny: x } }",
    ]);
    assert_eq!(
        denied_by(&decide(&closed, Some(&human(&[])), &unparsed())),
        ["on_opaque"]
    );
}

#[test]
fn a_rule_in_observe_mode_only_says_what_it_would_have_done() {
    let pack = pack(&[
        STAFF,
        "{ id: would, mode: observe, match: { kind: [drop] }, effect: { deny: x, tag: seen } }",
        "{ id: later, mode: observe, match: { classes: { any: [pii] } }, effect: { mask: { default: redact } } }",
        "{ id: lifted, mode: observe, match: {}, effect: allow }",
    ]);
    let decision = decide(&pack, Some(&human(&[])), &facts(&["drop"], &[]));
    assert!(decision.permits());
    assert_eq!(names(&decision.would), ["would"]);
    assert!(decision.tags.is_empty());
    assert!(
        !decide(&pack, None, &select()).permits(),
        "a grant that only observes grants nothing"
    );
}

#[test]
fn a_pack_in_observe_mode_refuses_nothing() {
    let files = vec![(
        "rules.yaml".to_owned(),
        text(
            "",
            &["{ id: no, match: { kind: [drop] }, effect: { deny: x } }"],
        ),
    )];
    let pack =
        Pack::compile(&Sources::from_files(Path::new("p"), files), Mode::Observe).expect("a pack");
    let decision = decide(&pack, None, &facts(&["drop"], &[]));
    assert!(decision.permits());
    assert_eq!(names(&decision.would), ["no", "default"]);
    assert_eq!(
        names(&decide(&pack, None, &unparsed()).would),
        ["no", "on_opaque", "default"]
    );
    let (process, target) = (Process::default(), target());
    assert!(
        pack.admit(None, &process, &target, Duration::ZERO)
            .permits()
    );
    assert!(pack.permits_everything(None, &process, &target, Duration::ZERO));
}

#[test]
fn an_exemption_ends_by_itself() {
    let pack = pack(&[
        STAFF,
        "{ id: no, match: { kind: [drop] }, exempt: [{ match: { database_user: app }, reason: migration, expires: 1970-01-02 }], effect: { deny: x } }",
    ]);
    let human = human(&[]);
    let at = |now: u64| {
        let (process, target, facts) = (Process::default(), target(), facts(&["drop"], &[]));
        let now = Duration::from_secs(now);
        pack.decide(&Question {
            identity: Some(&human),
            process: &process,
            target: &target,
            facts: &facts,
            now,
            stale: false,
        })
        .permits()
    };
    assert!(at(86_399));
    assert!(!at(86_400));
    assert_eq!(
        pack.next_expiry(Duration::ZERO),
        Some(Duration::from_hours(24))
    );
    assert_eq!(pack.next_expiry(Duration::from_hours(24)), None);
    assert_eq!(pack.expired(Duration::from_hours(24)).len(), 1);
}

#[test]
fn a_connection_is_refused_when_no_statement_could_be_allowed() {
    let (process, target) = (Process::default(), target());
    let admit = |pack: &Pack, identity: Option<&Identity>| {
        pack.admit(identity, &process, &target, Duration::ZERO)
    };
    let pack = pack(&[
        "{ id: read, match: { actor.kind: [human], kind: [select] }, effect: allow }",
        "{ id: no-drop, match: { kind: [drop] }, effect: { deny: x } }",
        "{ id: who, match: { actor.identified: false }, effect: { deny: 'log in' } }",
    ]);
    assert!(admit(&pack, Some(&human(&[]))).permits());
    assert_eq!(denied_by(&admit(&pack, Some(&agent(&[])))), ["default"]);
    assert_eq!(denied_by(&admit(&pack, None)), ["who"]);
}

#[test]
fn everything_is_permitted_only_when_no_rule_could_refuse() {
    let (process, target) = (Process::default(), target());
    let all = |pack: &Pack| {
        pack.permits_everything(Some(&human(&["dba"])), &process, &target, Duration::ZERO)
    };
    let open = "defaults: { effect: allow, on_opaque: allow }";
    assert!(all(&pack_of(open, &[])));
    assert!(all(&pack_of(
        open,
        &["{ id: a, match: { environment: staging, kind: [drop] }, effect: { deny: x } }"]
    )));
    assert!(all(&pack_of(
        open,
        &[
            "{ id: a, match: { kind: [drop] }, unless: { actor.groups: { any: [dba] } }, effect: { deny: x } }"
        ]
    )));
    assert!(all(&pack_of("defaults: { on_opaque: allow }", &[STAFF])));
    assert!(!all(&pack_of(
        open,
        &["{ id: a, match: { kind: [drop] }, effect: { deny: x } }"]
    )));
    assert!(
        !all(&pack_of("defaults: { effect: allow }", &[])),
        "opaque text is refused"
    );
    assert!(!all(&pack_of(
        "defaults: { on_opaque: allow }",
        &["{ id: a, match: { kind: [select] }, effect: allow }"]
    )));
}

#[test]
fn a_limit_is_trusted_only_for_a_single_statement() {
    let pack = pack(&[
        STAFF,
        "{ id: bulk, match: { limit: { above: 100 } }, effect: { deny: x } }",
    ]);
    let human = human(&[]);
    let with = |limit: Option<u64>, statements: usize| {
        let mut facts = select();
        (facts.limit, facts.statement_count) = (limit, statements);
        decide(&pack, Some(&human), &facts).permits()
    };
    assert!(with(Some(100), 1));
    assert!(!with(Some(101), 1));
    assert!(!with(None, 1));
    assert!(!with(Some(1), 2));
}

#[test]
fn a_text_that_could_be_anything_meets_every_restriction_and_no_grant() {
    let pack = pack(&[
        "{ id: read, match: { action: [read] }, effect: allow }",
        "{ id: no, match: { kind: [grant] }, effect: { deny: x } }",
    ]);
    assert_eq!(
        denied_by(&decide(&pack, Some(&human(&[])), &facts(&["unknown"], &[]))),
        ["no"]
    );
    assert!(
        decide(&pack, Some(&human(&[])), &facts(&["set"], &[])).permits(),
        "what touches no data is covered"
    );
}

#[test]
fn tags_add_up_and_change_nothing_else() {
    let pack = pack(&[
        STAFF,
        "{ id: t1, match: { kind: [select] }, effect: { tag: [b, a] } }",
        "{ id: t2, match: { purpose: [backup] }, effect: { tag: c } }",
        "{ id: t3, match: { process.exe: /usr/bin/* }, effect: { tag: a } }",
    ]);
    let mut human = human(&[]);
    human.purpose = Some("backup".to_owned());
    let decision = decide(&pack, Some(&human), &select());
    assert_eq!(decision.tags, ["a", "b", "c"]);
    assert_eq!(names(&decision.rules), ["staff"]);
}

#[test]
fn an_explanation_shows_fields_and_the_single_one_that_failed() {
    let pack = pack(&[
        STAFF,
        "{ id: no-drop, match: { kind: [drop], environment: production }, unless: { actor.groups: { any: [dba] } }, effect: { deny: x } }",
    ]);
    let (process, target, facts, dba) = (
        Process::default(),
        target(),
        facts(&["drop"], &[]),
        human(&["dba"]),
    );
    let explanation = pack.explain(&Question {
        identity: Some(&dba),
        process: &process,
        target: &target,
        facts: &facts,
        now: Duration::ZERO,
        stale: false,
    });
    assert_eq!(explanation.matched[0].rule.0, "staff");
    let miss = &explanation.near_misses[0];
    assert_eq!(
        (miss.rule.0.as_str(), miss.failed.as_deref()),
        ("no-drop", Some("unless"))
    );
    let environment = miss
        .checks
        .iter()
        .find(|check| check.field == "environment")
        .expect("a check");
    assert_eq!(
        (environment.wanted.as_str(), environment.found.as_str()),
        ("production", "production")
    );
}

/// Not a test of speed, which would fail on a busy machine: `cargo test --release -- --ignored --nocapture` prints it.
#[test]
#[ignore = "measures, asserts nothing"]
fn a_decision_with_a_hundred_rules() {
    let mut rules = vec![STAFF.to_owned()];
    for n in 0..99 {
        rules.push(match n % 6 {
            0 => format!("{{ id: r{n}, match: {{ environment: production, kind: [drop, alter] }}, unless: {{ actor.groups: {{ any: [g{n}] }} }}, effect: {{ deny: x }} }}"),
            1 => format!("{{ id: r{n}, match: {{ actor.groups: {{ any: [g{n}] }}, relation: ['public.t{n}*'] }}, effect: {{ deny: x }} }}"),
            2 => format!("{{ id: r{n}, match: {{ database: 'db{n}', action: [write] }}, effect: {{ deny: x }} }}"),
            3 => format!("{{ id: r{n}, match: {{ relation: ['s{n}.*'] }}, effect: {{ deny: x }} }}"),
            4 => format!("{{ id: r{n}, match: {{ actor.kind: [agent], kind: [select] }}, effect: {{ tag: x }} }}"),
            _ => format!("{{ id: r{n}, match: {{ process.exe: ['/opt/app{n}/**'], kind: [select] }}, effect: {{ deny: x }} }}"),
        });
    }
    let rules: Vec<_> = rules.iter().map(String::as_str).collect();
    let pack = pack(&rules);
    let human = human(&["g1000", "g1001", "staff", "dba", "everyone"]);
    let (process, target) = (
        Process {
            exe: "/usr/bin/psql".to_owned(),
            ..Process::default()
        },
        target(),
    );
    let facts = facts(
        &["select"],
        &[
            ("public", "orders", "read"),
            ("public", "customers", "read"),
        ],
    );
    let question = Question {
        identity: Some(&human),
        process: &process,
        target: &target,
        facts: &facts,
        now: Duration::ZERO,
        stale: false,
    };
    let started = on_cpu_ns();
    let rounds = 200_000;
    for _ in 0..rounds {
        assert!(std::hint::black_box(pack.decide(std::hint::black_box(&question))).permits());
    }
    println!(
        "{} ns a decision with 100 rules",
        (on_cpu_ns() - started) / rounds
    );
}

/// Time that this thread has been running: what others do on the machine is left out.
fn on_cpu_ns() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    stat.split(' ')
        .next()
        .and_then(|ns| ns.parse().ok())
        .expect("a number")
}

fn text(defaults: &str, rules: &[&str]) -> String {
    let rules = rules
        .iter()
        .fold(String::new(), |text, rule| text + "  - " + rule + "\n");
    let rules = if rules.is_empty() {
        " []\n".to_owned()
    } else {
        format!("\n{rules}")
    };
    format!("version: 1\n{defaults}\nrules:{rules}")
}

fn pack(rules: &[&str]) -> Pack {
    pack_of("", rules)
}

fn pack_of(defaults: &str, rules: &[&str]) -> Pack {
    let files = vec![("rules.yaml".to_owned(), text(defaults, rules))];
    Pack::compile(
        &Sources::from_files(Path::new("pack"), files),
        Mode::Enforce,
    )
    .expect("a pack")
}

fn decide(pack: &Pack, identity: Option<&Identity>, facts: &Facts) -> Decision {
    let (process, target) = (
        Process {
            exe: "/usr/bin/psql".to_owned(),
            ..Process::default()
        },
        target(),
    );
    pack.decide(&Question {
        identity,
        process: &process,
        target: &target,
        facts,
        now: Duration::ZERO,
        stale: false,
    })
}

fn denied_by(decision: &Decision) -> Vec<&str> {
    assert!(!decision.permits(), "allowed: {decision:?}");
    names(&decision.rules)
}

fn names(ids: &[RuleId]) -> Vec<&str> {
    ids.iter().map(|id| id.0.as_str()).collect()
}

fn human(groups: &[&str]) -> Identity {
    Identity {
        principal: Principal {
            issuer: "https://idp.example".to_owned(),
            subject: "alice".to_owned(),
            kind: PrincipalKind::Human,
            display: "Alice".to_owned(),
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            groups_complete: true,
            auth_time: None,
            acr: None,
            amr: Vec::new(),
            claims: std::collections::BTreeMap::default(),
        },
        actors: Vec::new(),
        method: "login".to_owned(),
        strength: Strength::Strong,
        purpose: None,
        delegation: None,
    }
}

fn agent(groups: &[&str]) -> Identity {
    let mut identity = human(groups);
    identity.actors.push(Actor {
        issuer: "https://idp.example".to_owned(),
        subject: "bot".to_owned(),
        client_id: None,
        run_id: None,
    });
    identity
}

fn target() -> Target {
    Target {
        endpoint: "shop".to_owned(),
        environment: "production".to_owned(),
        engine: "postgres".to_owned(),
        database: "shop".to_owned(),
        database_user: "app".to_owned(),
    }
}

fn select() -> Facts {
    facts(&["select"], &[])
}

fn unparsed() -> Facts {
    let mut facts = facts(&["unknown"], &[]);
    facts.confidence = Confidence::Unparsed;
    facts.parse_error = Some("syntax error at or near \"x\"".to_owned());
    facts
}

/// Facts as their serialised form has them, so that a field more does not concern these tests.
fn facts(kinds: &[&str], relations: &[(&str, &str, &str)]) -> Facts {
    let relations: Vec<_> = relations
        .iter()
        .map(|(schema, name, usage)| {
            let schema = (!schema.is_empty()).then_some(schema);
            serde_json::json!({ "relation": { "schema": schema, "name": name }, "usage": usage })
        })
        .collect();
    serde_json::from_value(serde_json::json!({
        "kinds": kinds, "relations": relations, "functions": [], "statement_count": 1,
        "has_where": null, "limit": null, "confidence": "exact", "parse_error": null,
        "changes_session": false, "fingerprint": 0, "normalised": "", "claimed": [], "literal_free": false,
    }))
    .expect("facts")
}
