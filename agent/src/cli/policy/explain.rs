//! `weir policy explain`: which rules decide about a statement, what they make of it, and which nearly did.

use std::{fmt::Write as _, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, bail};
use clap::ValueEnum;
use serde_json::json;
use weir_policy::{
    Actor, Database, Decision, Effect, Explanation, Identity, Obligations, Pack, Principal,
    PrincipalKind, Process, Question, RuleTrace, Strength, Target,
};
use weir_sql::{
    Facts, SessionModes,
    postgres::{self, Context, Outcome},
};

use super::{open, refused};
use crate::{
    cli::audit::print,
    clock,
    control::{
        Client,
        protocol::{Request, Who},
        socket_path,
    },
    policy::Settings,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The pack's folder.
    #[arg(long, value_name = "DIR", default_value_os_t = Settings::default().dir)]
    policy: PathBuf,
    /// Asks as one of the people of the pack's cases.yaml.
    #[arg(long = "as", value_name = "NAME", conflicts_with_all = ["pid", "as_kind", "groups", "agent"])]
    person: Option<String>,
    /// Asks as whoever is behind this process; the agent says who that is.
    #[arg(long, value_name = "PID", conflicts_with_all = ["as_kind", "groups", "agent"])]
    pid: Option<u32>,
    /// What kind of subject asks.
    #[arg(long, value_enum, default_value_t = AsKind::Human)]
    as_kind: AsKind,
    /// The subject's name.
    #[arg(long, default_value = "somebody")]
    subject: String,
    /// A group of the subject; may be given several times.
    #[arg(long = "group", value_name = "GROUP")]
    groups: Vec<String>,
    /// A claim of the subject, `name=value`; may be given several times.
    #[arg(long = "claim", value_name = "NAME=VALUE", value_parser = claim)]
    claims: Vec<(String, String)>,
    /// An AI agent that acts for the subject.
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// What the agent's run is for.
    #[arg(long)]
    purpose: Option<String>,
    /// What the database holds: YAML as under `catalog:` in cases.yaml [default: that of the pack's cases].
    #[arg(long, value_name = "FILE")]
    catalog: Option<PathBuf>,
    /// The endpoint's name in the configuration.
    #[arg(long)]
    endpoint: Option<String>,
    /// The endpoint's environment in the configuration.
    #[arg(long)]
    environment: Option<String>,
    /// The database's name.
    #[arg(long)]
    database: Option<String>,
    /// The database user.
    #[arg(long)]
    database_user: Option<String>,
    /// The program's file.
    #[arg(long)]
    exe: Option<String>,
    /// The process's cgroup.
    #[arg(long)]
    cgroup: Option<String>,
    /// The process's user id.
    #[arg(long)]
    uid: Option<u32>,
    /// Prints one JSON object.
    #[arg(long)]
    json: bool,
    /// The statement.
    sql: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum AsKind {
    Human,
    Workload,
    Agent,
    Unidentified,
}

/// Prints the explanation.
///
/// # Errors
///
/// When the agent, the catalog's file or the pack's cases do not know who or what is asked about.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let pack = match open(args.policy.clone()) {
        Ok(loaded) => loaded.pack,
        Err(error) => return Ok(refused(&args.policy, &error)),
    };
    let own = args.catalog.as_ref().map(read_catalog).transpose()?;
    let database = own.as_ref().or(pack.cases().database());
    let (identity, process) = args.who(&pack)?;
    let target = args.target(&pack);
    let facts = match database {
        Some(database) => database.analyse(args.sql.as_bytes()),
        None => postgres::analyse(args.sql.as_bytes(), SessionModes::default()),
    };
    let explanation = pack.explain(&Question {
        identity: identity.as_ref(),
        process: &process,
        target: &target,
        facts: &facts,
        now: clock::now(),
    });
    let protect = pack.hides(identity.as_ref(), &process, &target, clock::now());
    let sent = database
        .and_then(|database| sent(&args.sql, database, &explanation.decision, protect, &pack));
    if args.json {
        let mut answer = serde_json::to_value(&explanation)?;
        answer["facts"] = serde_json::to_value(&facts)?;
        answer["sent"] = json!(sent.as_ref().and_then(|sent| sent.as_ref().ok()));
        answer["obstacle"] = json!(sent.as_ref().and_then(|sent| sent.as_ref().err()));
        print(&format!("{answer:#}\n"))?;
    } else {
        print(&shown(&explanation, &facts, sent.as_ref()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What the database would get; the keys of hashes and made-up values are not the agent's.
fn sent(
    sql: &str,
    database: &Database,
    decision: &Decision,
    protect: bool,
    pack: &Pack,
) -> Option<Result<String, String>> {
    if !decision.permits() {
        return None;
    }
    let naming = database.naming();
    let context = Context {
        modes: SessionModes::default(),
        catalog: database.catalog(),
        naming,
    };
    let governed = postgres::govern(sql.as_bytes(), &context, &mut |_| {
        let reviewed = pack.reviewed_functions();
        decision.obligations.orders(protect, reviewed, &[0; 32])
    });
    Some(match governed.outcome {
        Ok(Outcome::Unchanged) => Ok(sql.to_owned()),
        Ok(Outcome::Rewritten(rewritten)) => Ok(rewritten.text),
        Err(obstacle) => Err(if obstacle.hint.is_empty() {
            obstacle.reason
        } else {
            format!("{}; {}", obstacle.reason, obstacle.hint)
        }),
    })
}

fn read_catalog(path: &PathBuf) -> anyhow::Result<Database> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the catalog {}", path.display()))?;
    let name = path.display().to_string();
    Ok(Database::parse(&name, &text)?)
}

impl Args {
    fn who(&self, pack: &Pack) -> anyhow::Result<(Option<Identity>, Process)> {
        // Some account: root asks only where it is said.
        let mut process = Process {
            uid: 1000,
            ..Process::default()
        };
        let mut identity = match (&self.person, self.pid) {
            (Some(name), _) => match pack.cases().person(name) {
                Some(person) => person.cloned(),
                None => bail!(
                    "nobody in the pack's cases is called {name}; there are {}",
                    pack.cases().people().collect::<Vec<_>>().join(", ")
                ),
            },
            (None, Some(pid)) => {
                let who = ask_agent(pid)?;
                process.exe = who.evidence.exe_path;
                process.cgroup = who.evidence.cgroup_path;
                process.uid = who.evidence.uid;
                who.binding.map(|binding| binding.identity)
            }
            (None, None) => self.identity(),
        };
        if let Some(identity) = &mut identity {
            identity.purpose = self.purpose.clone().or(identity.purpose.take());
            identity
                .principal
                .claims
                .extend(self.claims.iter().cloned());
        }
        let or = |own: &Option<String>, found: String| own.clone().unwrap_or(found);
        let process = Process {
            exe: or(&self.exe, process.exe),
            cgroup: or(&self.cgroup, process.cgroup),
            uid: self.uid.unwrap_or(process.uid),
        };
        Ok((identity, process))
    }

    fn target(&self, pack: &Pack) -> Target {
        // The cases' own target only where their people ask.
        let target = if self.person.is_some() {
            pack.cases().target()
        } else {
            Target::default()
        };
        let or = |own: &Option<String>, found: String| own.clone().unwrap_or(found);
        Target {
            endpoint: or(&self.endpoint, target.endpoint),
            environment: or(&self.environment, target.environment),
            engine: "postgres".to_owned(),
            database: or(&self.database, target.database),
            database_user: or(&self.database_user, target.database_user),
        }
    }

    fn identity(&self) -> Option<Identity> {
        let kind = match self.as_kind {
            AsKind::Human => PrincipalKind::Human,
            AsKind::Workload => PrincipalKind::Workload,
            AsKind::Agent => PrincipalKind::Agent,
            AsKind::Unidentified => return None,
        };
        let actor = |name: &String| Actor {
            issuer: String::new(),
            subject: name.clone(),
            client_id: None,
            run_id: None,
        };
        Some(Identity {
            principal: Principal {
                issuer: String::new(),
                subject: self.subject.clone(),
                kind,
                display: self.subject.clone(),
                groups: self.groups.clone(),
                groups_complete: true,
                auth_time: None,
                acr: None,
                claims: std::collections::BTreeMap::new(),
            },
            actors: self.agent.iter().map(actor).collect(),
            method: "explain".to_owned(),
            strength: Strength::Strong,
            purpose: None,
        })
    }
}

fn ask_agent(pid: u32) -> anyhow::Result<Who> {
    let request = Request::Whois {
        pid: Some(pid),
        address: None,
    };
    let answer = Client::connect(&socket_path())?.ask(&request)?;
    serde_json::from_value(answer).context("cannot understand the agent's answer")
}

fn claim(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .ok_or_else(|| "write NAME=VALUE".to_owned())
}

/// The explanation for people to read. Writing to a string cannot fail.
fn shown(
    explanation: &Explanation,
    facts: &Facts,
    sent: Option<&Result<String, String>>,
) -> String {
    let mut out = verdict(&explanation.decision);
    out.push('\n');
    show_obligations(&mut out, &explanation.decision.obligations);
    match sent {
        Some(Ok(text)) => {
            let _ = writeln!(out, "sent: {text}");
        }
        Some(Err(reason)) => {
            let _ = writeln!(out, "refused after all: {reason}");
        }
        None if !facts.resolved && !facts.relations.is_empty() => {
            let _ = writeln!(
                out,
                "columns and classes are not known here; give --catalog FILE"
            );
        }
        None => {}
    }
    show_traces(&mut out, "matched", &explanation.matched);
    show_traces(&mut out, "nearly matched", &explanation.near_misses);
    out
}

fn verdict(decision: &Decision) -> String {
    let names = |ids: &[weir_policy::RuleId]| {
        ids.iter()
            .map(|id| id.0.as_str())
            .collect::<Vec<_>>()
            .join(", ")
    };
    let mut lines = vec![match &decision.effect {
        Effect::Allow => format!("allow, by {}", names(&decision.rules)),
        Effect::Deny { reason } => format!("deny, by {}: {reason}", names(&decision.rules)),
    }];
    if !decision.would.is_empty() {
        lines.push(format!("observed only: {}", names(&decision.would)));
    }
    if !decision.tags.is_empty() {
        lines.push(format!("tags: {}", decision.tags.join(", ")));
    }
    lines.join("\n")
}

fn show_obligations(out: &mut String, obligations: &Obligations) {
    for masked in &obligations.masks {
        let _ = writeln!(out, "mask {masked}");
    }
    for filter in &obligations.filters {
        let _ = writeln!(
            out,
            "rows of {}.{} where {}",
            filter.schema, filter.relation, filter.condition
        );
    }
    if let Some(rows) = obligations.max_rows {
        let _ = writeln!(out, "at most {rows} rows");
    }
    if let Some(bytes) = obligations.max_bytes {
        let _ = writeln!(out, "at most {bytes} bytes");
    }
    for budget in &obligations.budgets {
        let _ = writeln!(out, "counts for the budget of {}", budget.rule.0);
    }
}

fn show_traces(out: &mut String, title: &str, traces: &[RuleTrace]) {
    for trace in traces {
        let actor = trace
            .actor
            .as_ref()
            .map(|actor| format!(" as {actor}"))
            .unwrap_or_default();
        let _ = writeln!(
            out,
            "\n{title}{actor}: {} ({}, {})",
            trace.rule.0, trace.effect, trace.place
        );
        if let Some(why) = &trace.why {
            let _ = writeln!(out, "  why: {why}");
        }
        for check in &trace.checks {
            let mark = if check.holds { "ok" } else { "NO" };
            let _ = writeln!(
                out,
                "  {mark}  {}: wants {}; is {}",
                check.field, check.wanted, check.found
            );
        }
        for hidden in &trace.hidden {
            let _ = writeln!(out, "  hides {hidden}");
        }
    }
}
