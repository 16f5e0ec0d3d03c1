//! What is decided by a catalog, and what without one.

use std::{path::Path, sync::Arc};

use weir_policy::{
    Identity, Mode, Pack, Principal, PrincipalKind, Process, Sources, Strength, Target,
};
use weir_sql::{
    Catalog, Kind,
    catalog::{Naming, Relation},
};

use super::*;
use crate::{audit::fixtures, policy::Loaded};

#[test]
fn masked_columns_are_replaced_and_other_statements_stay() {
    let stage = Stage::new(RULES);
    let masked = stage.decide("bob", "SELECT id, ssn FROM app.customers");
    let sent = masked.replacement.as_ref().expect("another text");
    let sent = String::from_utf8_lossy(&sent.text);
    assert!(sent.contains("'***'"), "{sent}");
    assert_eq!(masked.obligations.masks.len(), 1);
    assert!(masked.protect && masked.refusal.is_none());
    let plain = stage.decide("bob", "SELECT id FROM app.orders");
    assert!(plain.replacement.is_none() && plain.refusal.is_none());
}

#[test]
fn who_sees_everything_needs_no_catalog() {
    let mut stage = Stage::new(RULES);
    assert_eq!(stage.protection("alice"), Protection::default());
    stage.known = None;
    let verdict = stage.decide("alice", "SELECT ssn FROM app.customers");
    assert!(verdict.refusal.is_none() && !verdict.protect);
    assert_eq!(verdict.catalog, None, "it holds whatever the catalog");
}

#[test]
fn without_a_catalog_only_what_touches_nothing_goes_on() {
    let mut stage = Stage::new(RULES);
    stage.known = None;
    let refused = stage.decide("bob", "SELECT id FROM app.orders");
    let refusal = refused.refusal.as_ref().expect("refused");
    assert_eq!(refusal.sqlstate, "42501");
    assert!(refusal.message.contains("catalog"), "{refusal:?}");
    for harmless in ["SELECT 1", "BEGIN", "COMMIT"] {
        assert!(
            stage.decide("bob", harmless).refusal.is_none(),
            "{harmless}"
        );
    }
}

#[test]
fn a_verdict_without_a_catalog_is_void_once_there_is_one() {
    let mut stage = Stage::new(RULES);
    let known = stage.known.take();
    let verdict = stage.decide("bob", "SELECT id FROM app.orders");
    assert!(stage.is_current("bob", &verdict, None));
    assert!(!stage.is_current("bob", &verdict, known.as_ref()));
    stage.known = known;
    assert!(
        stage
            .decide("bob", "SELECT id FROM app.orders")
            .refusal
            .is_none()
    );
}

#[test]
fn a_catalog_read_anew_voids_what_was_remembered() {
    let mut stage = Stage::new(RULES);
    let before = stage.decide("bob", "SELECT ssn FROM app.customers");
    stage.know(&[("app.customers", vec![("id", "int"), ("ssn", "int")])]);
    let after = stage.decide("bob", "SELECT ssn FROM app.customers");
    assert!(!stage.is_current("bob", &before, stage.known.as_ref()));
    assert!(!after.sends_the_same_as(&before), "it is a number now");
}

#[test]
fn names_that_are_read_otherwise_void_what_was_prepared() {
    let mut stage = Stage::new(RULES);
    let bare = stage.decide("bob", "SELECT id FROM orders");
    let qualified = stage.decide("bob", "SELECT id FROM app.orders");
    let temporary = |names: &[&str]| Naming {
        search_path: vec!["public".to_owned()],
        certain: true,
        temporary: names.iter().map(|&name| name.to_owned()).collect(),
        ..Naming::default()
    };
    stage.naming = stage.guard.naming(temporary(&["other"]));
    let known = stage.known.clone();
    assert!(
        stage.is_current("bob", &bare, known.as_ref()),
        "not one of its names"
    );
    stage.naming = stage.guard.naming(temporary(&["orders"]));
    assert!(!stage.is_current("bob", &bare, known.as_ref()));
    assert!(stage.is_current("bob", &qualified, known.as_ref()));
    stage.naming = stage.guard.naming(Naming {
        search_path: vec!["app".to_owned()],
        ..temporary(&[])
    });
    assert!(!stage.is_current("bob", &bare, known.as_ref()));
}

#[test]
fn a_relation_that_is_not_known_is_not_there_unless_the_session_makes_it() {
    let mut stage = Stage::new(RULES);
    let text = "SELECT * FROM app.fresh";
    let verdict = stage.decide("bob", text);
    let refusal = verdict.refusal.as_ref().expect("refused");
    assert!(verdict.unknown);
    assert_eq!(
        (refusal.sqlstate.as_str(), refusal.message.as_str()),
        ("42P01", "relation \"app.fresh\" does not exist")
    );
    stage.defining = true;
    assert!(stage.decide("bob", text).refusal.is_none());
    stage.defining = false;
    assert!(
        stage.decide("bob", text).refusal.is_some(),
        "and not remembered"
    );
    let made_at_once = "CREATE TABLE app.fresh (a int); INSERT INTO app.fresh VALUES (1)";
    assert!(!stage.decide("bob", made_at_once).unknown);
}

#[test]
fn what_cannot_be_seen_through_is_refused_to_whom_something_is_hidden_from() {
    let stage = Stage::new(RULES);
    for (who, refused) in [("bob", true), ("alice", false)] {
        let scope = stage.scope(who);
        for kind in [Kind::FunctionCall, Kind::Replication] {
            let standing = Standing::default();
            let verdict = stage
                .guard
                .decide_opaque(&scope, standing, kind, "something");
            assert_eq!(verdict.refusal.is_some(), refused, "{who} {kind:?}");
        }
    }
}

#[test]
fn texts_of_one_shape_share_a_verdict_only_where_nothing_is_hidden() {
    let stage = Stage::new(RULES);
    let id = |text: &str| stage.decide("bob", text).statement.decided.id;
    let plain = |number| format!("SELECT total FROM app.orders WHERE id = {number}");
    assert_eq!(id(&plain(1)), id(&plain(2)));
    let masked = |number| format!("SELECT ssn FROM app.customers WHERE id = {number}");
    assert_ne!(id(&masked(1)), id(&masked(2)));
    let second = stage.decide("bob", &masked(2));
    let sent = second.replacement.as_ref().expect("another text");
    assert!(sent.text.ends_with(b"id = 2"), "its own literal");
    let calling = |text| format!("SELECT upper('{text}') FROM app.orders");
    assert_ne!(id(&calling("a")), id(&calling("b")));
}

#[test]
fn result_columns_are_checked_by_what_is_hidden_from_somebody() {
    let stage = Stage::new(RULES);
    let known = stage.known.clone().expect("known");
    let customers: &Relation = known
        .catalog
        .relation("app", "customers")
        .expect("a relation");
    let verdict = stage.decide("bob", "SELECT id FROM app.orders");
    let hidden = |relation, column| {
        stage.guard.is_hidden(
            &stage.scope("bob"),
            &verdict,
            &stage.view(),
            relation,
            column,
        )
    };
    assert!(hidden(customers.oid, 2), "ssn");
    assert!(!hidden(customers.oid, 1), "id");
    assert!(hidden(customers.oid, 0), "the whole row");
    assert!(hidden(4_000_000, 1), "nobody knows what that is");
    assert!(!hidden(1_259, 1), "the server's own");
}

#[test]
fn a_rule_about_classes_is_asked_with_the_catalog_though_nothing_is_hidden() {
    let stage = Stage::new(CAPPED);
    let protection = stage.protection("bob");
    assert_eq!((protection.hides, protection.needs_catalog), (false, true));
    let capped = stage.decide("bob", "SELECT ssn FROM app.customers");
    assert_eq!(capped.obligations.max_rows, Some(10));
    let free = stage.decide("bob", "SELECT id FROM app.orders");
    assert_eq!(free.obligations.max_rows, None);
}

const CLASSES: &str = "version: 1\ncolumns:\n  \"app.customers.ssn\": pii.ssn\n";

const RULES: &str = r"
version: 1
defaults: { on_opaque: allow }
rules:
  - id: everybody
    match: { actor.kind: [human] }
    effect: allow
  - id: mask-pii
    match: { action: [read], classes: { any: [pii] } }
    unless: { actor.groups: { any: [dba] } }
    effect: { mask: { default: redact } }
";

const CAPPED: &str = r"
version: 1
rules:
  - id: everybody
    match: { actor.kind: [human] }
    effect: allow
  - id: few
    match: { classes: { any: [pii] } }
    effect: { cap: { rows: 10 } }
";

/// A guard with a catalog that was read.
struct Stage {
    guard: Guard,
    known: Option<Arc<CatalogSnapshot>>,
    naming: Arc<KnownNaming>,
    defining: bool,
    _folder: tempfile::TempDir,
}

impl Stage {
    fn new(rules: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let files = vec![
            ("rules.yaml".to_owned(), rules.to_owned()),
            ("classes.yaml".to_owned(), CLASSES.to_owned()),
        ];
        let sources = Sources::from_files(Path::new("test"), files);
        let policy = Policy::new(Loaded {
            pack: Pack::compile(&sources, Mode::Enforce).expect("a good pack"),
            digest: "d".to_owned(),
            path: "test".into(),
        });
        let guard = Guard::new(
            Arc::new(policy),
            fixtures::open(folder.path()),
            Durability::Batched,
            MaskKey([7; 32]),
        );
        let naming = guard.naming(Naming {
            search_path: vec!["public".to_owned()],
            certain: true,
            ..Naming::default()
        });
        let mut stage = Self {
            guard,
            known: None,
            naming,
            defining: false,
            _folder: folder,
        };
        stage.know(&[
            ("app.customers", vec![("id", "int"), ("ssn", "text")]),
            ("app.orders", vec![("id", "int"), ("total", "numeric")]),
        ]);
        stage
    }

    fn know(&mut self, tables: &[(&str, Vec<(&str, &str)>)]) {
        let epoch = self.known.as_ref().map_or(1, |known| known.epoch + 1);
        let catalog = Catalog::from_tables(tables.iter().cloned(), []).expect("a good catalog");
        self.known = Some(Arc::new(CatalogSnapshot {
            catalog,
            epoch,
            read_at: clock::now(),
        }));
    }

    fn view(&self) -> SessionView<'_> {
        SessionView {
            modes: SessionModes::default(),
            naming: &self.naming,
            catalog: self.known.as_ref(),
            defining: self.defining,
            standing: Standing::default(),
        }
    }

    fn is_current(
        &self,
        who: &str,
        verdict: &Verdict,
        known: Option<&Arc<CatalogSnapshot>>,
    ) -> bool {
        let view = SessionView {
            catalog: known,
            ..self.view()
        };
        self.guard.is_current(&self.scope(who), verdict, &view)
    }

    fn decide(&self, who: &str, text: &str) -> Arc<Verdict> {
        self.guard
            .decide(&self.scope(who), &self.view(), text.as_bytes())
    }

    fn protection(&self, who: &str) -> Protection {
        self.guard.protection(&self.scope(who))
    }

    fn scope(&self, who: &str) -> Arc<Scope> {
        let group = if who == "alice" { "dba" } else { "analyst" };
        self.guard.scope(Who {
            identity: Some(Identity {
                principal: Principal {
                    issuer: "i".to_owned(),
                    subject: who.to_owned(),
                    kind: PrincipalKind::Human,
                    display: who.to_owned(),
                    groups: vec![group.to_owned()],
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
            }),
            process: Process::default(),
            target: Target {
                engine: "postgres".to_owned(),
                database: "shop".to_owned(),
                ..Target::default()
            },
            budgets: Vec::new(),
        })
    }
}
