//! How long decisions take that rest on a catalog: remembered, and taken anew (parse, facts, rules, rewriting).
//!
//! `cargo run --release -p weir --example decide [PACK]`

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use weir::{
    audit::{self, Durability, Journal},
    catalog::CatalogSnapshot,
    clock,
    guard::{Guard, MaskKey, SessionView, Standing, Who},
    policy::{self, Policy},
};
use weir_policy::{Identity, Mode, Principal, PrincipalKind, Process, Strength, Target};
use weir_sql::{Catalog, Naming, SessionModes};

fn main() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let settings = policy::Settings {
        dir: pack(folder.path())?,
        mode: Mode::Enforce,
        ..policy::Settings::default()
    };
    let (journal, _) = Journal::open(folder.path(), &audit::Settings::default())?;
    let guard = Guard::new(
        Arc::new(Policy::new(policy::load::load(&settings)?)),
        journal,
        Durability::Batched,
        MaskKey::open(folder.path())?,
    );
    let scope = guard.scope(somebody());
    let naming = guard.naming(Naming {
        search_path: vec!["app".to_owned(), "public".to_owned()],
        certain: true,
        ..Naming::default()
    });
    let known = Arc::new(CatalogSnapshot {
        catalog: catalog()?,
        epoch: 1,
        read_at: clock::now(),
    });
    let view = SessionView {
        modes: SessionModes::default(),
        naming: &naming,
        catalog: Some(&known),
        defining: false,
        standing: Standing::default(),
    };
    println!("{:<10}{:>12}{:>12}", "statement", "anew, us", "again, ns");
    for (name, text) in STATEMENTS {
        // Each text is another one, so that nothing of it is remembered.
        let anew = median(ROUNDS, |round| {
            let text = format!("{text} /* {round} */");
            let begun = Instant::now();
            let verdict = guard.decide(&scope, &view, text.as_bytes());
            let taken = begun.elapsed();
            assert!(verdict.refusal.is_none(), "{name}: {:?}", verdict.refusal);
            taken
        });
        let again = median(ROUNDS, |_| {
            let begun = Instant::now();
            for _ in 0..REPEATED {
                let _ = std::hint::black_box(guard.decide(&scope, &view, text.as_bytes()));
            }
            begun.elapsed() / REPEATED
        });
        println!(
            "{name:<10}{:>12.1}{:>12}",
            anew.as_secs_f64() * 1e6,
            again.as_nanos()
        );
    }
    Ok(())
}

fn median(rounds: usize, mut run: impl FnMut(usize) -> Duration) -> Duration {
    let mut times: Vec<_> = (0..rounds).map(&mut run).collect();
    times.sort_unstable();
    times[rounds / 2]
}

/// The pack that the command line names, or a small one.
fn pack(folder: &std::path::Path) -> Result<PathBuf> {
    if let Some(given) = std::env::args_os().nth(1) {
        return Ok(given.into());
    }
    let made = folder.join("pack");
    std::fs::create_dir(&made)?;
    std::fs::write(made.join("rules.yaml"), RULES)?;
    std::fs::write(made.join("classes.yaml"), CLASSES).context("cannot write the pack")?;
    Ok(made)
}

fn catalog() -> Result<Catalog> {
    Ok(Catalog::from_tables(
        [
            (
                "app.customers",
                vec![
                    ("id", "int"),
                    ("name", "text"),
                    ("email", "text"),
                    ("ssn", "text"),
                    ("region", "text"),
                ],
            ),
            (
                "app.orders",
                vec![
                    ("id", "int"),
                    ("customer_id", "int"),
                    ("total", "numeric"),
                    ("placed_at", "timestamptz"),
                ],
            ),
        ],
        [],
    )?)
}

fn somebody() -> Who {
    Who {
        identity: Some(Identity {
            principal: Principal {
                issuer: "https://id.example".to_owned(),
                subject: "bob".to_owned(),
                kind: PrincipalKind::Human,
                display: "Bob".to_owned(),
                groups: vec!["analyst".to_owned()],
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
            endpoint: "shop".to_owned(),
            environment: "production".to_owned(),
            engine: "postgres".to_owned(),
            database: "shop".to_owned(),
            database_user: "app".to_owned(),
        },
        budgets: Vec::new(),
    }
}

const STATEMENTS: &[(&str, &str)] = &[
    (
        "plain",
        "SELECT id, total FROM orders WHERE customer_id = $1",
    ),
    ("masked", "SELECT name, ssn FROM customers WHERE id = $1"),
    (
        "join",
        "SELECT c.region, c.ssn, sum(o.total) FROM customers c JOIN orders o ON o.customer_id = c.id \
         WHERE o.placed_at > '2026-01-01' GROUP BY c.region, c.ssn ORDER BY 3 DESC LIMIT 10",
    ),
];

const RULES: &str = r"
version: 1
rules:
  - id: everybody
    match: { actor.kind: [human] }
    effect: allow
  - id: mask-pii
    match: { action: [read], classes: { any: [pii] } }
    effect: { mask: { default: redact } }
";

const CLASSES: &str = "version: 1\ncolumns:\n  \"*.*.ssn\": pii.ssn\n  \"*.*.email\": pii.email\n";

const ROUNDS: usize = 2_001;
const REPEATED: u32 = 100;
