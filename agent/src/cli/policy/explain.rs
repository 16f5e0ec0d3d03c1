//! `weir policy explain`: which rules decide about a statement, what they make of it, and which nearly did.

use std::{fmt::Write as _, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context as _, bail};
use clap::ValueEnum;
use serde_json::json;
use weir_policy::{
    Actor, Database, Decision, Delegation, Effect, Explanation, Identity, Method, Obligations,
    Pack, Principal, PrincipalKind, Process, Question, RuleTrace, Strength, Target,
};
use weir_sql::{
    Facts, SessionModes,
    postgres::{self, Context, Outcome},
};

use super::{open, refused};
use crate::{
    cli::output::print,
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
    #[command(flatten)]
    login: LoginArgs,
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
    /// SHA-256 of the program's file, hex.
    #[arg(long, value_name = "HEX")]
    exe_sha256: Option<String>,
    /// The process's systemd unit.
    #[arg(long)]
    unit: Option<String>,
    /// The process's container.
    #[arg(long, value_name = "ID")]
    container: Option<String>,
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

/// How the subject logged in, where rules ask for it.
#[derive(Debug, clap::Args)]
struct LoginArgs {
    /// How the process was bound: login, code, device, token, workload or exec.
    #[arg(long, value_name = "WORD", value_parser = word::<Method>)]
    method: Option<Method>,
    /// How long ago the subject logged in: 90s, 15m, 2h or 1d.
    #[arg(long, value_name = "AGE", value_parser = duration)]
    auth_age: Option<Duration>,
    /// The context class of the log-in.
    #[arg(long, value_name = "CLASS")]
    acr: Option<String>,
    /// By which means the subject logged in; may be given several times.
    #[arg(long, value_name = "MEANS")]
    amr: Vec<String>,
    /// The identity provider could not be asked lately.
    #[arg(long)]
    stale: bool,
    /// How strongly the process is bound: strong or weak.
    #[arg(long, value_name = "WORD", value_parser = word::<Strength>)]
    strength: Option<Strength>,
    /// Who vouches for it that the agent acts for the subject: local or exchanged.
    #[arg(long, value_name = "WORD", value_parser = word::<Delegation>)]
    delegation: Option<Delegation>,
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
        Err(error) => return refused(&args.policy, &error),
    };
    let own = args.catalog.as_ref().map(read_catalog).transpose()?;
    let database = own.as_ref().or(pack.cases().database());
    let now = clock::now();
    let Asked {
        identity,
        process,
        stale,
    } = args.who(&pack, now)?;
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
        now,
        stale,
    });
    let protect = pack.hides(identity.as_ref(), &process, &target, now);
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
    fn who(&self, pack: &Pack, now: Duration) -> anyhow::Result<Asked> {
        // Some account: root asks only where it is said.
        let mut process = Process {
            uid: 1000,
            ..Process::default()
        };
        let mut stale = self.login.stale;
        let mut identity = match (&self.person, self.pid) {
            (Some(name), _) => match pack.cases().person(name) {
                Some(person) => {
                    stale |= person.stale;
                    person.identity(now)
                }
                None => bail!(
                    "nobody in the pack's cases is called {name}; there are {}",
                    pack.cases().people().collect::<Vec<_>>().join(", ")
                ),
            },
            (None, Some(pid)) => {
                let who = ask_agent(pid)?;
                process = Process::from(&who.evidence);
                who.binding.map(|binding| {
                    stale |= binding.stale;
                    binding.identity
                })
            }
            (None, None) => self.identity(),
        };
        if let Some(identity) = &mut identity {
            identity.purpose = self.purpose.clone().or(identity.purpose.take());
            identity
                .principal
                .claims
                .extend(self.claims.iter().cloned());
            self.login.apply(identity, now);
        }
        let or = |own: &Option<String>, found: String| own.clone().unwrap_or(found);
        let process = Process {
            exe: or(&self.exe, process.exe),
            exe_sha256: self.exe_sha256.clone().or(process.exe_sha256),
            cgroup: or(&self.cgroup, process.cgroup),
            unit: self.unit.clone().or(process.unit),
            container: self.container.clone().or(process.container),
            uid: self.uid.unwrap_or(process.uid),
        };
        Ok(Asked {
            identity,
            process,
            stale,
        })
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
        let method = match (kind, &self.agent) {
            (_, Some(_)) => Method::Exec,
            (PrincipalKind::Workload, None) => Method::Workload,
            _ => Method::Login,
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
                amr: Vec::new(),
                claims: std::collections::BTreeMap::new(),
            },
            actors: self.agent.iter().map(actor).collect(),
            method: method.word().to_owned(),
            strength: Strength::Strong,
            purpose: None,
            delegation: self.agent.as_ref().map(|_| Delegation::Local),
        })
    }
}

impl LoginArgs {
    /// Puts what was given in place of what is known.
    fn apply(&self, identity: &mut Identity, now: Duration) {
        let principal = &mut identity.principal;
        if let Some(age) = self.auth_age {
            let at = now.saturating_sub(age).as_secs();
            principal.auth_time = i64::try_from(at).ok();
        }
        if self.acr.is_some() {
            principal.acr.clone_from(&self.acr);
        }
        if !self.amr.is_empty() {
            principal.amr.clone_from(&self.amr);
        }
        if let Some(method) = self.method {
            method.word().clone_into(&mut identity.method);
        }
        identity.strength = self.strength.unwrap_or(identity.strength);
        identity.delegation = self.delegation.or(identity.delegation);
    }
}

/// Who asks, with which program.
struct Asked {
    identity: Option<Identity>,
    process: Process,
    /// Whether the provider could not be asked lately.
    stale: bool,
}

/// A word as rules write it.
fn word<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_value(json!(text)).map_err(|error| error.to_string())
}

fn duration(text: &str) -> Result<Duration, String> {
    weir_policy::schema::parse_duration(text).ok_or_else(|| "write 90s, 15m, 2h or 1d".to_owned())
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
pub(in crate::cli) fn shown(
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

/// What a decision comes to, in lines.
pub(in crate::cli) fn verdict(decision: &Decision) -> String {
    let names = |ids: &[weir_policy::RuleId]| {
        ids.iter()
            .map(|id| id.0.as_str())
            .collect::<Vec<_>>()
            .join(", ")
    };
    let mut lines = vec![match &decision.effect {
        Effect::Allow if decision.waits() => format!("hold, by {}", names(&decision.rules)),
        Effect::Allow => format!("allow, by {}", names(&decision.rules)),
        Effect::Deny { reason } => format!("deny, by {}: {reason}", names(&decision.rules)),
    }];
    if !decision.would.is_empty() {
        lines.push(format!("observed only: {}", names(&decision.would)));
    }
    if !decision.tags.is_empty() {
        lines.push(format!("tags: {}", decision.tags.join(", ")));
    }
    if let Some(step) = &decision.step_up {
        lines.push(format!("a new log-in would do: {}", step.hint()));
    }
    lines.join("\n")
}

fn show_obligations(out: &mut String, obligations: &Obligations) {
    for approval in &obligations.approvals {
        let _ = writeln!(out, "{approval}, within {} s", approval.ttl_s);
    }
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
