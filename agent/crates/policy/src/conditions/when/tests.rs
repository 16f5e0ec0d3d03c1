use std::{collections::BTreeMap, path::Path, time::Duration};

use weir_sql::{ColumnName, ColumnUsage, Facts, Kind, facts::ColumnUse};

use super::*;
use crate::{
    Identity, Mode, Pack, Principal, PrincipalKind, Process, Question, Sources, Strength, Target,
};

fn compile(expression: &str) -> Result<When, String> {
    let mut findings = Vec::new();
    When::compile(expression, &Place::default(), &mut findings)
        .ok_or_else(|| findings.iter().map(ToString::to_string).collect())
}

#[test]
fn what_the_schema_does_not_have_is_refused_with_the_closest_name() {
    for (expression, expected) in [
        (
            "stm.limit == null",
            "`stm` is not known; did you mean `stmt`?",
        ),
        (
            "stmt.limits == null",
            "`stmt` has no `limits`; did you mean `limit`?",
        ),
        ("actor.group == 'x'", "did you mean `groups`?"),
        ("stmt.limit == 'x'", "`==` of a number or null and a text"),
        ("stmt.limit", "gives a number or null, not true or false"),
        ("stmt", "gives `stmt` itself"),
        ("stmt == actor", "`==` of `stmt` itself and `actor` itself"),
        (
            "stmt.kinds == 'select'",
            "`==` of a list of a text and a text",
        ),
        ("'x' in stmt.normalised", "`in` of"),
        ("has(stmt.limit)", "is always there"),
        ("stmt.kinds.exists(k, k)", "`||` of"),
        (
            "stmt.normalised.matches('x')",
            "the function `matches` is not known",
        ),
        ("stmt.limit ==", "is no CEL expression"),
        ("1 + 'x' == 2", "`+` of a number and a text"),
        ("['a', 1] == []", "a list holds a text and a number"),
        (
            "timestamp(now) > timestamp(0)",
            "the function `timestamp` is not known",
        ),
        (
            "stmt.kinds.all(a, stmt.kinds.all(b, stmt.kinds.all(c, true)))",
            "too costly",
        ),
        (
            "stmt.kinds.map(a, a).map(a, a in stmt.kinds) == []",
            "too costly",
        ),
        ("", "is no CEL expression"),
    ] {
        let error = compile(expression).expect_err(expression);
        assert!(error.contains(expected), "{expression}: {error}");
    }
    let long = format!("{} true", "true && ".repeat(600));
    assert!(compile(&long).expect_err("long").contains("4096 bytes"));
    let deep = format!("{}true{}", "(".repeat(500), ")".repeat(500));
    compile(&deep).expect_err("deep");
}

#[test]
fn an_expression_is_true_false_or_in_doubt() {
    for (expression, expected) in [
        ("stmt.limit == null", Truth::Yes),
        ("stmt.limit != null && stmt.limit > 5", Truth::No),
        ("stmt.limit > 5", Truth::Maybe),
        ("stmt.has_where == null", Truth::Yes),
        ("'select' in stmt.kinds", Truth::Yes),
        ("'drop' in stmt.kinds || 'read' in stmt.actions", Truth::Yes),
        ("stmt.columns.all(c, c.startsWith('app.'))", Truth::Yes),
        ("stmt.columns.exists(c, c.endsWith('.ssn'))", Truth::Yes),
        (
            "stmt.columns.filter(c, c.endsWith('.ssn')).size() == 1",
            Truth::Yes,
        ),
        (
            "size(stmt.relations) == 0 && stmt.statements == 1",
            Truth::Yes,
        ),
        ("'pii' in stmt.classes", Truth::Yes),
        ("stmt.normalised.contains('from t')", Truth::Yes),
        ("stmt.claimed.app == 'web'", Truth::Yes),
        (
            "has(stmt.claimed.job) && stmt.claimed.job == 'x'",
            Truth::No,
        ),
        ("stmt.claimed.job == 'x'", Truth::Maybe),
        ("actor.kind == 'human' && actor.identified", Truth::Yes),
        ("actor.purpose in ['backup', 'migration']", Truth::Yes),
        ("!(actor.purpose in ['export'])", Truth::Yes),
        ("actor.claims.region == 'eu'", Truth::Yes),
        ("actor.id == 'https://idp#ann'", Truth::Yes),
        ("actor.run == null", Truth::Yes),
        ("'dba' in actor.groups", Truth::Yes),
        (
            "process.uid == 1000 && process.exe.endsWith('/psql')",
            Truth::Yes,
        ),
        (
            "target.environment == 'production' ? target.database == 'shop' : false",
            Truth::Yes,
        ),
        ("now == 120", Truth::Yes),
        ("stmt.confidence == 'exact'", Truth::Yes),
    ] {
        assert_eq!(truth(expression), expected, "{expression}");
    }
}

#[test]
fn a_list_too_long_for_the_expression_leaves_it_in_doubt() {
    let many = |n: usize| {
        let mut facts = facts();
        facts.functions = (0..n).map(|n| format!("f{n}")).collect();
        facts
    };
    let expression = "stmt.functions.all(a, stmt.functions.exists(b, b == a))";
    assert_eq!(evaluate(expression, &many(20)), Truth::Yes);
    assert_eq!(evaluate(expression, &many(5000)), Truth::Maybe);
}

#[test]
fn an_expression_is_a_field_like_any_other() {
    let rule = "version: 1\nrules:\n  - { id: staff, match: {}, effect: allow }\n  - id: bulk\n    match: { action: [read] }\n    when: \"stmt.limit == null && !(actor.purpose in ['backup'])\"\n    effect: { deny: bulk }\n";
    let files = vec![("rules.yaml".to_owned(), rule.to_owned())];
    let pack =
        Pack::compile(&Sources::from_files(Path::new("p"), files), Mode::Enforce).expect("a pack");
    let decide = |facts: &Facts, purpose: &str| {
        let mut identity = identity();
        identity.purpose = Some(purpose.to_owned());
        let question = Question {
            identity: Some(&identity),
            process: &Process::default(),
            target: &Target::default(),
            facts,
            now: Duration::ZERO,
            stale: false,
        };
        let explanation = pack.explain(&question);
        (explanation.decision.permits(), explanation)
    };
    let mut facts = facts();
    let (allowed, explanation) = decide(&facts, "work");
    assert!(!allowed, "{explanation:#?}");
    let (allowed, explanation) = decide(&facts, "backup");
    assert!(allowed);
    assert_eq!(explanation.near_misses[0].failed.as_deref(), Some("when"));
    facts.limit = Some(5);
    assert!(decide(&facts, "work").0);
}

fn truth(expression: &str) -> Truth {
    evaluate(expression, &facts())
}

fn evaluate(expression: &str, facts: &Facts) -> Truth {
    let files = vec![
        (
            "rules.yaml".to_owned(),
            "version: 1\nrules: [{ id: a, match: { classes: { any: [pii] } }, effect: { tag: x } }]\n".to_owned(),
        ),
        (
            "classes.yaml".to_owned(),
            "version: 1\ncolumns: { '*.*.ssn': pii.ssn }\n".to_owned(),
        ),
    ];
    let pack =
        Pack::compile(&Sources::from_files(Path::new("p"), files), Mode::Enforce).expect("a pack");
    let identity = identity();
    let reading = crate::view::Reading::new(facts, &pack.classifier);
    let actor = crate::view::actors(Some(&identity), &pack.compiled.groups)
        .next()
        .expect("one");
    let process = Process {
        exe: "/usr/bin/psql".to_owned(),
        uid: 1000,
        ..Process::default()
    };
    let target = Target {
        environment: "production".to_owned(),
        database: "shop".to_owned(),
        ..Target::default()
    };
    let view = View {
        actor: &actor,
        process: &process,
        target: &target,
        reading: Some(&reading),
        focus: crate::conditions::Focus::Statement,
        classifier: &pack.classifier,
        now: Duration::from_secs(125),
        stale: Some(false),
    };
    compile(expression).expect(expression).evaluate(&view)
}

fn facts() -> Facts {
    let column = |column: &str| ColumnUse {
        column: ColumnName {
            schema: "app".to_owned(),
            relation: "people".to_owned(),
            column: column.to_owned(),
        },
        bases: Vec::new(),
        usage: ColumnUsage::Output,
    };
    Facts {
        kinds: vec![Kind::Select],
        statement_count: 1,
        normalised: "select ssn from t".to_owned(),
        claimed: vec![("app".to_owned(), "web".to_owned())],
        resolved: true,
        columns: vec![column("id"), column("ssn")],
        ..Facts::default()
    }
}

fn identity() -> Identity {
    Identity {
        principal: Principal {
            issuer: "https://idp".to_owned(),
            subject: "ann".to_owned(),
            kind: PrincipalKind::Human,
            display: "Ann".to_owned(),
            groups: vec!["dba".to_owned()],
            groups_complete: true,
            auth_time: None,
            acr: None,
            amr: Vec::new(),
            claims: BTreeMap::from([("region".to_owned(), "eu".to_owned())]),
        },
        actors: Vec::new(),
        method: "login".to_owned(),
        strength: Strength::Strong,
        purpose: Some("backup".to_owned()),
        delegation: None,
    }
}
