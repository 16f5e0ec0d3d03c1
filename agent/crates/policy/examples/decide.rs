//! How long a decision takes that nobody remembers: all shipped packs as one, on facts that were read before.
//!
//! `cargo run --release -p weir-policy --example decide`

use std::{error::Error, fs, hint::black_box, path::Path, time::Duration};

use weir_policy::{
    Actor, Identity, Mode, Pack, Principal, PrincipalKind, Process, Question, Sources, Strength,
    Target,
};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../policies");
    let shipped = Pack::load(&folder.join("pii"))?;
    let database = shipped.cases().database().ok_or("the pack has a catalog")?;
    for (with, text) in [
        ("without expressions", all_rules(&folder, false)?),
        ("with expressions", all_rules(&folder, true)?),
    ] {
        let classes = fs::read_to_string(folder.join("pii/classes.yaml"))?;
        let files = vec![
            ("rules.yaml".to_owned(), text),
            ("classes.yaml".to_owned(), classes),
        ];
        let pack = Pack::compile(&Sources::from_files(Path::new("all"), files), Mode::Enforce)?;
        println!("{} rules {with}", pack.rules().len());
        for sql in STATEMENTS {
            let facts = database.analyse(sql.as_bytes());
            for (who, identity) in [("person", person()), ("agent", agent())] {
                let question = Question {
                    identity: Some(&identity),
                    process: &Process::default(),
                    target: &target(),
                    facts: &facts,
                    now: Duration::from_hours(473_364),
                    stale: false,
                };
                let ns = nanoseconds(|| {
                    black_box(pack.decide(black_box(&question)));
                });
                println!(
                    "{ns:>7} ns  {who:<6}  {:>2} columns in reach  {sql}",
                    facts.reachable.len()
                );
            }
        }
    }
    Ok(())
}

/// The rules of every pack under ids of their own; each pack's first `defaults` would be the same.
fn all_rules(folder: &Path, expressions: bool) -> Result<String, Box<dyn Error>> {
    let mut text = "version: 1\ndefaults: { effect: deny }\nrules:\n".to_owned();
    for pack in ["ai-agents", "baseline", "pci", "pii", "production"] {
        let rules = fs::read_to_string(folder.join(pack).join("rules.yaml"))?;
        let (_, rules) = rules.split_once("\nrules:\n").ok_or("no rules")?;
        for line in rules.lines() {
            let line = line.replace("- id: ", &format!("- id: {pack}."));
            if expressions || !line.trim_start().starts_with("when:") {
                text.push_str(&line);
                text.push('\n');
            }
        }
    }
    Ok(text)
}

/// The median of several rounds, by this thread's own time on a processor.
fn nanoseconds(mut decide: impl FnMut()) -> u64 {
    let mut rounds: Vec<u64> = (0..ROUNDS)
        .map(|_| {
            let started = on_cpu_ns();
            (0..DECISIONS).for_each(|_| decide());
            (on_cpu_ns() - started) / DECISIONS
        })
        .collect();
    rounds.sort_unstable();
    rounds.get(rounds.len() / 2).copied().unwrap_or_default()
}

fn on_cpu_ns() -> u64 {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    stat.split(' ')
        .next()
        .and_then(|ns| ns.parse().ok())
        .unwrap_or_default()
}

fn person() -> Identity {
    Identity {
        principal: Principal {
            issuer: "https://idp.example".to_owned(),
            subject: "bob".to_owned(),
            kind: PrincipalKind::Human,
            display: "Bob".to_owned(),
            groups: vec!["analyst".to_owned(), "on-call".to_owned()],
            groups_complete: true,
            auth_time: None,
            acr: None,
            amr: Vec::new(),
            claims: [("region".to_owned(), "eu".to_owned())].into(),
        },
        actors: Vec::new(),
        method: "login".to_owned(),
        strength: Strength::Strong,
        purpose: Some("churn".to_owned()),
        delegation: None,
    }
}

fn agent() -> Identity {
    let mut identity = person();
    identity.actors.push(Actor {
        issuer: "https://idp.example".to_owned(),
        subject: "churn-bot".to_owned(),
        client_id: None,
        run_id: Some("r-1".to_owned()),
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

/// The kernel counts a thread's time in steps of some milliseconds: a round is many of them.
const ROUNDS: u64 = 5;
const DECISIONS: u64 = 50_000;
const STATEMENTS: &[&str] = &[
    "SELECT 1",
    "SELECT total FROM app.orders WHERE id = 7",
    "SELECT o.id, c.email FROM app.orders o JOIN app.customers c ON c.id = o.customer_id WHERE c.region = 'eu'",
    "SELECT * FROM app.customers",
];
