use std::{collections::BTreeMap, path::Path, time::Duration};

use weir_sql::{
    ColumnName, ColumnUsage, Confidence, Facts, Kind, RelationName, RelationUse, Use,
    facts::{ColumnUse, Reachable},
};

use crate::{
    Actor, Decision, Effect, Identity, Mode, Pack, Principal, PrincipalKind, Process, Question,
    Sources, Strength, Target, schema::Per,
};

const STAFF: &str = "{ id: staff, match: { actor.identified: true }, effect: allow }";
const CLASSES: &str = "version: 1\ncolumns: { '*.*.ssn': pii.ssn, '*.*.email': pii.email }\nrelations: { 'hr.*': confidential, 'web.*': public }\n";

#[test]
fn columns_within_reach_are_masked_whether_or_not_the_text_names_them() {
    let pack = pack(&[
        STAFF,
        "{ id: pii, match: { action: [read], classes: { any: [pii] } }, unless: { actor.groups: { any: [lead] } }, effect: { mask: { default: partial, pii.ssn: last4 } } }",
    ]);
    let facts = reads(&["app.people.id", "app.people.ssn", "app.people.email"]);
    let decision = decide(&pack, Some(&human(&[])), &facts);
    assert_eq!(
        masks(&decision),
        ["app.people.email Partial", "app.people.ssn Last4"]
    );
    assert_eq!(rules(&decision), ["pii", "staff"]);
    let lead = decide(&pack, Some(&human(&["lead"])), &facts);
    assert!(lead.obligations.is_empty());
    assert_eq!(rules(&lead), ["staff"]);
}

#[test]
fn a_view_is_masked_as_what_it_is_made_of() {
    let pack = pack(&[
        STAFF,
        "{ id: pii, match: { classes: { any: [pii] } }, effect: { mask: { default: redact } } }",
    ]);
    let mut facts = reads(&["app.v.label"]);
    facts.reachable[0].bases = vec![column("app.people.ssn"), column("app.people.id")];
    assert_eq!(
        masks(&decide(&pack, Some(&human(&[])), &facts)),
        ["app.people.ssn Redact", "app.v.label Redact"]
    );
}

#[test]
fn an_exception_for_part_of_what_a_column_is_made_of_excepts_nothing() {
    for exception in [
        "classes: { any: [public] }",
        "relation: [web.*]",
        "columns: ['web.*.*']",
    ] {
        let pack = pack(&[
            STAFF,
            &format!(
                "{{ id: all, match: {{}}, unless: {{ {exception} }}, effect: {{ mask: {{ default: redact }} }} }}"
            ),
        ]);
        let mut facts = reads(&["web.pages.title", "web.v.label"]);
        facts.reachable[1].bases = vec![column("web.pages.title"), column("app.people.ssn")];
        assert_eq!(
            masks(&decide(&pack, Some(&human(&[])), &facts)),
            ["app.people.ssn Redact", "web.v.label Redact"],
            "{exception}"
        );
    }
}

#[test]
fn the_strictest_mask_of_all_rules_holds() {
    let pack = pack(&[
        STAFF,
        "{ id: a, match: { classes: { any: [pii] } }, effect: { mask: { default: partial } } }",
        "{ id: b, match: { columns: ['app.people.ssn'] }, effect: { mask: { default: hash } } }",
        "{ id: c, match: { relation: [app.people], columns: ['*.*.email'] }, effect: { mask: { pii.email: domain_only } } }",
    ]);
    assert_eq!(
        masks(&decide(
            &pack,
            Some(&human(&[])),
            &reads(&["app.people.ssn", "app.people.email"])
        )),
        ["app.people.email Partial", "app.people.ssn Hash"]
    );
}

#[test]
fn storing_needs_the_leave_of_every_rule_that_masks() {
    let with = |second: &str| {
        let pack = pack(&[
            STAFF,
            "{ id: a, match: { classes: { any: [pii] } }, effect: { mask: { default: hash }, on_write: masked } }",
            second,
        ]);
        let facts = reads(&["app.people.ssn"]);
        decide(&pack, Some(&human(&[])), &facts)
            .obligations
            .store_masked
    };
    assert!(with(
        "{ id: b, match: { classes: { any: [confidential] } }, effect: { mask: { default: hash } } }"
    ));
    assert!(!with(
        "{ id: b, match: { classes: { any: [pii.ssn] } }, effect: { mask: { default: partial } } }"
    ));
}

#[test]
fn a_filter_is_filled_in_for_each_who_acts_and_refused_without_the_claim() {
    let pack = pack(&[
        STAFF,
        "{ id: region, match: { relation: [app.orders] }, effect: { filter: 'region = {{actor.region}}' } }",
        "{ id: mine, match: { actor.kind: [agent], relation: [app.orders] }, effect: { filter: 'agent = {{actor.subject}}' } }",
    ]);
    let mut bot = agent(&[]);
    bot.principal
        .claims
        .insert("region".to_owned(), "eu".to_owned());
    let mut facts = reads(&["app.orders.id", "app.orders.total", "app.people.id"]);
    let filters = |decision: &Decision| {
        decision
            .obligations
            .filters
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        filters(&decide(&pack, Some(&bot), &facts)),
        ["app.orders: agent = 'bot'", "app.orders: region = 'eu'"]
    );
    let refused = decide(&pack, Some(&human(&[])), &facts);
    assert!(reason(&refused).contains("the claim `region`"));
    assert_eq!(rules(&refused), ["region"]);
    // A view over the relation: the condition is over the relation's own columns.
    facts.reachable = vec![Reachable {
        column: column("app.v.n"),
        bases: vec![column("app.orders.id")],
    }];
    assert_eq!(filters(&decide(&pack, Some(&bot), &facts)).len(), 2);
    assert!(
        decide(&pack, Some(&human(&[])), &reads(&["app.people.id"])).permits(),
        "what is not read needs no claim"
    );
}

#[test]
fn rows_that_may_not_be_seen_may_not_be_changed() {
    let pack = pack(&[
        STAFF,
        "{ id: mine, match: { relation: [app.orders] }, effect: { filter: 'owner = {{actor.subject}}' } }",
    ]);
    let writes = |kind: Kind, schema: Option<&str>| Facts {
        kinds: vec![kind],
        resolved: true,
        statement_count: 1,
        relations: vec![RelationUse {
            relation: RelationName {
                schema: schema.map(str::to_owned),
                name: "orders".to_owned(),
            },
            usage: Use::Write,
        }],
        ..Facts::default()
    };
    let filters = |facts: &Facts| {
        decide(&pack, Some(&human(&[])), facts)
            .obligations
            .filters
            .len()
    };
    assert_eq!(filters(&writes(Kind::Delete, Some("app"))), 1);
    assert_eq!(filters(&writes(Kind::Delete, Some("other"))), 0);
    assert_eq!(filters(&writes(Kind::Insert, Some("app"))), 0);
    let mut named = writes(Kind::Update, None);
    assert!(
        !decide(&pack, Some(&human(&[])), &named).permits(),
        "it could be the one"
    );
    named.columns = vec![used("app.orders.total", ColumnUsage::Write)];
    assert_eq!(filters(&named), 1);
    named.columns = vec![used("other.orders.total", ColumnUsage::Write)];
    assert_eq!(filters(&named), 0);
}

#[test]
fn the_smallest_cap_and_every_budget_hold() {
    let pack = pack(&[
        STAFF,
        "{ id: a, match: {}, effect: { cap: { rows: 100, bytes: 1MiB } } }",
        "{ id: b, match: { actor.kind: [agent] }, effect: { cap: { rows: 20 } } }",
        "{ id: c, match: { actor.kind: [agent] }, effect: { budget: { rows: 1000, per: run, window: 1h } } }",
        "{ id: d, match: { actor.kind: [agent] }, effect: { budget: { statements: 9, bytes: 50MiB, per: principal, window: 1d } } }",
    ]);
    let person = decide(&pack, Some(&human(&[])), &reads(&["app.t.c"])).obligations;
    assert_eq!(
        (person.max_rows, person.max_bytes),
        (Some(100), Some(1 << 20))
    );
    assert!(person.budgets.is_empty());
    let bot = decide(&pack, Some(&agent(&[])), &reads(&["app.t.c"])).obligations;
    assert_eq!((bot.max_rows, bot.max_bytes), (Some(20), Some(1 << 20)));
    let budgets: Vec<_> = bot
        .budgets
        .iter()
        .map(|b| {
            (
                b.rule.0.as_str(),
                b.rows,
                b.bytes,
                b.statements,
                b.per,
                b.window_s,
            )
        })
        .collect();
    assert_eq!(
        budgets,
        [
            ("c", Some(1000), None, None, Per::Run, 3600),
            ("d", None, Some(50 << 20), Some(9), Per::Principal, 86_400)
        ]
    );
}

#[test]
fn what_is_hidden_from_the_person_or_the_agent_is_hidden() {
    let pack = pack(&[
        STAFF,
        "{ id: a, match: { actor.kind: [human], classes: { any: [pii.ssn] } }, effect: { mask: { default: hash } } }",
        "{ id: b, match: { actor.kind: [agent], classes: { any: [pii] } }, effect: { mask: { default: redact } } }",
        "{ id: c, match: { actor.kind: [agent], classes: { any: [pii.ssn] } }, effect: { mask: { default: partial } } }",
    ]);
    let facts = reads(&["app.people.ssn", "app.people.email"]);
    assert_eq!(
        masks(&decide(&pack, Some(&human(&[])), &facts)),
        ["app.people.ssn Hash"]
    );
    assert_eq!(
        masks(&decide(&pack, Some(&agent(&[])), &facts)),
        ["app.people.email Redact", "app.people.ssn Redact"]
    );
}

#[test]
fn what_cannot_be_seen_through_is_refused_to_whom_something_is_hidden() {
    let pack = pack_of(
        "defaults: { on_opaque: allow }",
        &[
            STAFF,
            "{ id: pii, match: { classes: { any: [pii] } }, unless: { actor.groups: { any: [lead] } }, effect: { mask: { default: redact } } }",
        ],
    );
    let block = Facts {
        kinds: vec![Kind::Do],
        confidence: Confidence::Opaque,
        ..Facts::default()
    };
    let unparsed = Facts {
        kinds: vec![Kind::Unknown],
        confidence: Confidence::Unparsed,
        ..Facts::default()
    };
    let mut unresolved = reads(&["app.people.ssn"]);
    unresolved.resolved = false;
    unresolved.reachable.clear();
    unresolved.columns.clear();
    for facts in [&block, &unparsed, &unresolved] {
        let decision = decide(&pack, Some(&human(&[])), facts);
        assert_eq!(rules(&decision), ["pii"], "{decision:?}");
        assert!(!decision.permits());
        assert!(decide(&pack, Some(&human(&["lead"])), facts).permits());
    }
    let set = Facts {
        kinds: vec![Kind::Set],
        ..Facts::default()
    };
    assert!(decide(&pack, Some(&human(&[])), &set).permits());
}

#[test]
fn who_could_be_kept_from_something_is_known_without_a_statement() {
    let pack = pack(&[
        STAFF,
        "{ id: pii, match: { classes: { any: [pii] }, database: shop }, unless: { actor.groups: { any: [lead] } }, effect: { mask: { default: redact } } }",
        "{ id: cap, match: { database: other }, effect: { cap: { rows: 5 } } }",
        "{ id: deny, match: { database: third, classes: { any: [pii] } }, effect: { deny: x } }",
    ]);
    let hides = |identity: Option<&Identity>, database: &str| {
        let target = Target {
            database: database.to_owned(),
            ..Target::default()
        };
        pack.hides(identity, &Process::default(), &target, Duration::ZERO)
    };
    assert!(hides(Some(&human(&[])), "shop"));
    assert!(hides(None, "shop"));
    assert!(hides(Some(&agent(&[])), "shop"));
    assert!(!hides(Some(&human(&["lead"])), "shop"));
    assert!(!hides(Some(&human(&[])), "other"));
    assert!(hides(Some(&human(&[])), "third"));
    assert!(pack.needs_catalog());
}

#[test]
fn a_rule_about_classes_looks_at_what_the_text_touches() {
    let pack = pack(&[
        STAFF,
        "{ id: no-ssn, match: { action: [read], classes: { any: [pii], none: [pii.email] } }, effect: { deny: x } }",
    ]);
    let human = human(&[]);
    let mut facts = reads(&["app.people.id", "app.people.ssn", "app.people.email"]);
    assert!(!decide(&pack, Some(&human), &facts).permits());
    facts.columns.retain(|used| used.column.column != "ssn");
    assert!(decide(&pack, Some(&human), &facts).permits());
    facts.columns = vec![used("app.people.ssn", ColumnUsage::Predicate)];
    assert!(!decide(&pack, Some(&human), &facts).permits());
    facts.columns = vec![used("app.people.ssn", ColumnUsage::Write)];
    assert!(
        decide(&pack, Some(&human), &facts).permits(),
        "a rule about reading does not mind what is written"
    );
}

#[test]
fn classes_meet_when_different_relations_have_them() {
    let pack = pack(&[
        STAFF,
        "{ id: no-join, match: { joins: { all: [confidential, public] } }, effect: { deny: x } }",
    ]);
    let denied = |names: &[&str]| !decide(&pack, Some(&human(&[])), &reads(names)).permits();
    assert!(denied(&["hr.pay.amount", "web.pages.title"]));
    assert!(!denied(&["hr.pay.amount", "hr.people.name"]));
    assert!(!denied(&["hr.pay.amount", "app.orders.id"]));
    let mut view = reads(&["app.v.x"]);
    view.columns[0].bases = vec![column("hr.pay.amount"), column("web.pages.title")];
    assert!(!decide(&pack, Some(&human(&[])), &view).permits());
    let mut counted = reads(&["hr.pay.amount", "web.pages.title"]);
    counted.columns.clear();
    assert!(
        !decide(&pack, Some(&human(&[])), &counted).permits(),
        "a relation with a class is touched when it is read at all"
    );
}

#[test]
fn a_name_is_matched_where_the_catalog_found_it() {
    let pack = pack(&[
        STAFF,
        "{ id: no, match: { relation: [secret.t] }, effect: { deny: x } }",
    ]);
    let mut facts = reads(&["app.t.c"]);
    facts.relations[0].relation.schema = None;
    assert!(decide(&pack, Some(&human(&[])), &facts).permits());
    facts.reachable[0].column.schema = "secret".to_owned();
    facts.columns.clear();
    assert!(!decide(&pack, Some(&human(&[])), &facts).permits());
}

#[test]
fn a_mask_that_observes_is_only_recorded() {
    let pack = pack(&[
        STAFF,
        "{ id: pii, mode: observe, match: { classes: { any: [pii] } }, effect: { mask: { default: redact } } }",
        "{ id: cap, mode: observe, match: {}, effect: { cap: { rows: 5 } } }",
    ]);
    let decision = decide(&pack, Some(&human(&[])), &reads(&["app.people.ssn"]));
    assert!(decision.obligations.is_empty());
    let would: Vec<_> = decision.would.iter().map(|id| id.0.as_str()).collect();
    assert_eq!(would, ["cap", "pii"]);
    let unread = decide(&pack, Some(&human(&[])), &reads(&["app.people.id"]));
    assert_eq!(unread.would.len(), 1);
}

#[test]
fn what_needs_an_approval_waits_for_those_who_can_give_it() {
    let pack = pack(&[
        STAFF,
        "{ id: bulk, match: { limit: { above: 10 } }, effect: { approve: { groups: [owner, boss] }, tag: export } }",
    ]);
    let decision = decide(&pack, Some(&human(&[])), &reads(&["app.t.c"]));
    assert!(decision.waits() && decision.permits());
    let [approval] = decision.obligations.approvals.as_slice() else {
        panic!("{decision:?}");
    };
    assert_eq!(approval.to_string(), "approval by owner or boss");
    assert_eq!((approval.quorum, approval.ttl_s), (1, 900));
    assert_eq!(decision.tags, ["export"]);
}

#[test]
fn time_identity_and_claims_are_asked_for() {
    let pack = pack(&[
        STAFF,
        "{ id: night, match: { actor.identified: true }, unless: { time: { days: [mon..fri], hours: '08:00-18:00' } }, effect: { deny: night } }",
        "{ id: weak, match: { strength: weak }, effect: { deny: weak } }",
        "{ id: eu, match: { actor.claims: { region: [eu, uk] } }, effect: { tag: eu } }",
        "{ id: me, match: { actor.id: 'https://idp.example#alice' }, effect: { tag: me } }",
        "{ id: root, match: { process.uid: [0] }, effect: { tag: root } }",
        "{ id: said, match: { claimed: { application: 'web*' } }, effect: { tag: said } }",
        "{ id: run, match: { actor.run: 'r-*' }, effect: { tag: run } }",
    ]);
    // Monday 2024-01-01 at noon.
    let noon = Duration::from_hours(473_364);
    let mut identity = agent(&[]);
    identity
        .principal
        .claims
        .insert("region".to_owned(), "eu".to_owned());
    identity.actors[0].run_id = Some("r-1".to_owned());
    let mut facts = reads(&["app.t.c"]);
    facts.claimed = vec![("application".to_owned(), "webshop".to_owned())];
    let at = |identity: &Identity, now| {
        pack.decide(&Question {
            identity: Some(identity),
            process: &Process::default(),
            target: &Target::default(),
            facts: &facts,
            now,
            stale: false,
        })
    };
    let decision = at(&identity, noon);
    assert!(decision.permits(), "{decision:?}");
    assert_eq!(decision.tags, ["eu", "me", "root", "run", "said"]);
    assert_eq!(pack.next_expiry(noon), Some(noon + Duration::from_hours(6)));
    assert!(reason(&at(&identity, noon + Duration::from_hours(6))).contains("night"));
    identity.strength = Strength::Weak;
    assert!(reason(&at(&identity, noon)).contains("weak"));
}

#[test]
fn classes_that_were_found_at_run_time_count() {
    let pack = pack(&[
        STAFF,
        "{ id: pii, match: { classes: { any: [pii] } }, effect: { mask: { default: redact } } }",
    ]);
    let facts = reads(&["app.t.c"]);
    assert!(
        decide(&pack, Some(&human(&[])), &facts)
            .obligations
            .is_empty()
    );
    let found = pack.with_assigned(&[(column("app.t.c"), "pii.phone".to_owned())]);
    assert_eq!(
        masks(&decide(&found, Some(&human(&[])), &facts)),
        ["app.t.c Redact"]
    );
}

fn pack(rules: &[&str]) -> Pack {
    pack_of("", rules)
}

fn pack_of(defaults: &str, rules: &[&str]) -> Pack {
    let rules = rules
        .iter()
        .fold(String::new(), |text, rule| text + "  - " + rule + "\n");
    let files = vec![
        (
            "rules.yaml".to_owned(),
            format!("version: 1\n{defaults}\nrules:\n{rules}"),
        ),
        ("classes.yaml".to_owned(), CLASSES.to_owned()),
    ];
    Pack::compile(
        &Sources::from_files(Path::new("pack"), files),
        Mode::Enforce,
    )
    .expect("a pack")
}

fn decide(pack: &Pack, identity: Option<&Identity>, facts: &Facts) -> Decision {
    pack.decide(&Question {
        identity,
        process: &Process::default(),
        target: &Target {
            database: "shop".to_owned(),
            ..Target::default()
        },
        facts,
        now: Duration::ZERO,
        stale: false,
    })
}

/// A select that names all the columns it can reach.
fn reads(names: &[&str]) -> Facts {
    let columns: Vec<_> = names.iter().map(|name| column(name)).collect();
    let mut relations: Vec<_> = columns
        .iter()
        .map(|column| RelationUse {
            relation: RelationName {
                schema: Some(column.schema.clone()),
                name: column.relation.clone(),
            },
            usage: Use::Read,
        })
        .collect();
    relations.dedup();
    Facts {
        kinds: vec![Kind::Select],
        statement_count: 1,
        relations,
        resolved: true,
        columns: names
            .iter()
            .map(|name| used(name, ColumnUsage::Output))
            .collect(),
        reachable: columns
            .into_iter()
            .map(|column| Reachable {
                column,
                bases: Vec::new(),
            })
            .collect(),
        ..Facts::default()
    }
}

fn used(name: &str, usage: ColumnUsage) -> ColumnUse {
    ColumnUse {
        column: column(name),
        bases: Vec::new(),
        usage,
    }
}

fn column(name: &str) -> ColumnName {
    let parts: Vec<_> = name.split('.').collect();
    ColumnName {
        schema: parts[0].to_owned(),
        relation: parts[1].to_owned(),
        column: parts[2].to_owned(),
    }
}

fn masks(decision: &Decision) -> Vec<String> {
    assert!(decision.permits(), "{decision:?}");
    decision
        .obligations
        .masks
        .iter()
        .map(|masked| format!("{} {:?}", masked.column, masked.mask))
        .collect()
}

fn rules(decision: &Decision) -> Vec<&str> {
    decision.rules.iter().map(|id| id.0.as_str()).collect()
}

fn reason(decision: &Decision) -> &str {
    match &decision.effect {
        Effect::Deny { reason } => reason,
        Effect::Allow => panic!("allowed: {decision:?}"),
    }
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
            claims: BTreeMap::new(),
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
