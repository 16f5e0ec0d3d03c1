//! `weir policy`: checks a pack, holds it to its cases, explains one decision.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::{Subcommand, ValueEnum};
use serde_json::json;
use weir_policy::{
    Actor, Decision, Effect, Explanation, Finding, Identity, Pack, PackError, Principal,
    PrincipalKind, Process, Question, RuleTrace, Severity, Strength, Target,
};
use weir_sql::SessionModes;

use crate::{
    clock,
    policy::{Loaded, Settings, load},
};

/// Validates a policy pack, runs its cases, explains a decision.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Says what is wrong with a pack: file, line, column, and what to do.
    Check(PackArgs),
    /// Decides every case of the pack's cases.yaml and compares.
    Test(PackArgs),
    /// Shows which rules decide about a statement, field by field, and which nearly did.
    Explain(Box<ExplainArgs>),
}

#[derive(Debug, clap::Args)]
struct PackArgs {
    /// The pack's folder.
    #[arg(default_value_os_t = Settings::default().dir)]
    dir: PathBuf,
    /// Prints one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct ExplainArgs {
    /// The pack's folder.
    #[arg(long, value_name = "DIR", default_value_os_t = Settings::default().dir)]
    policy: PathBuf,
    /// What kind of subject asks.
    #[arg(long, value_enum, default_value_t = AsKind::Human)]
    as_kind: AsKind,
    /// The subject's name.
    #[arg(long, default_value = "somebody")]
    subject: String,
    /// A group of the subject; may be given several times.
    #[arg(long = "group", value_name = "GROUP")]
    groups: Vec<String>,
    /// An AI agent that acts for the subject.
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// What the agent's run is for.
    #[arg(long)]
    purpose: Option<String>,
    /// The endpoint's name in the configuration.
    #[arg(long, default_value = "")]
    endpoint: String,
    /// The endpoint's environment in the configuration.
    #[arg(long, default_value = "")]
    environment: String,
    /// The database's name.
    #[arg(long, default_value = "")]
    database: String,
    /// The database user.
    #[arg(long, default_value = "")]
    database_user: String,
    /// The program's file.
    #[arg(long, default_value = "")]
    exe: String,
    /// The process's cgroup.
    #[arg(long, default_value = "")]
    cgroup: String,
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

/// Runs `weir policy`.
///
/// # Errors
///
/// When an explanation cannot be written as JSON; what is wrong with a pack is printed instead.
pub(super) fn run(args: Args) -> Result<ExitCode> {
    match args.command {
        Command::Check(args) => Ok(check(&args)),
        Command::Test(args) => Ok(test(&args)),
        Command::Explain(args) => explain(&args),
    }
}

fn check(args: &PackArgs) -> ExitCode {
    let (findings, summary) = match open(args.dir.clone()) {
        Ok(loaded) => {
            let pack = &loaded.pack;
            let mut findings = pack.warnings().to_vec();
            findings.extend(pack.expired(clock::now()));
            let summary = json!({
                "rules": pack.rules().len(), "cases": pack.cases().len(), "digest": loaded.digest,
            });
            (findings, summary)
        }
        Err(PackError::Refused(findings)) => (findings, json!({})),
        Err(error) => return unreadable(&error),
    };
    if args.json {
        let mut report =
            json!({ "path": args.dir, "ok": findings.is_empty(), "findings": findings });
        merge(&mut report, summary);
        println!("{report:#}");
    } else {
        print_findings(&args.dir, &findings);
        if findings.is_empty() {
            println!(
                "{}: {} rules, {} cases, nothing wrong",
                args.dir.display(),
                summary["rules"],
                summary["cases"]
            );
        }
    }
    exit(findings.is_empty())
}

fn test(args: &PackArgs) -> ExitCode {
    let pack = match open(args.dir.clone()) {
        Ok(loaded) => loaded.pack,
        Err(error) => return refused(&args.dir, &error),
    };
    let results = pack.cases().run(&pack, clock::now());
    let failed: Vec<_> = results
        .iter()
        .filter(|result| result.failure.is_some())
        .collect();
    // A pack without a case has kept no promise.
    let ok = failed.is_empty() && !results.is_empty();
    if args.json {
        println!(
            "{:#}",
            json!({ "path": args.dir, "ok": ok, "cases": results.len(), "failed": failed })
        );
    } else {
        for result in &failed {
            let failure = result.failure.as_deref().unwrap_or_default();
            println!(
                "{}/{}: {}: {failure}",
                args.dir.display(),
                result.place,
                result.name
            );
        }
        println!(
            "{}: {} cases, {} failed",
            args.dir.display(),
            results.len(),
            failed.len()
        );
        if results.is_empty() {
            println!("add a cases.yaml that says what the rules are for");
        }
    }
    exit(ok)
}

fn explain(args: &ExplainArgs) -> Result<ExitCode> {
    let pack = match open(args.policy.clone()) {
        Ok(loaded) => loaded.pack,
        Err(error) => return Ok(refused(&args.policy, &error)),
    };
    let explanation = args.ask(&pack);
    if args.json {
        println!("{:#}", serde_json::to_value(&explanation)?);
    } else {
        print_explanation(&explanation);
    }
    Ok(ExitCode::SUCCESS)
}

impl ExplainArgs {
    fn ask(&self, pack: &Pack) -> Explanation {
        let identity = self.identity();
        let facts = weir_sql::postgres::analyse(self.sql.as_bytes(), SessionModes::default());
        pack.explain(&Question {
            identity: identity.as_ref(),
            process: &Process {
                exe: self.exe.clone(),
                cgroup: self.cgroup.clone(),
                uid: 0,
            },
            target: &Target {
                endpoint: self.endpoint.clone(),
                environment: self.environment.clone(),
                engine: "postgres".to_owned(),
                database: self.database.clone(),
                database_user: self.database_user.clone(),
            },
            facts: &facts,
            now: clock::now(),
        })
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
            purpose: self.purpose.clone(),
        })
    }
}

fn open(dir: PathBuf) -> Result<Loaded, PackError> {
    load::load(&Settings {
        dir,
        ..Settings::default()
    })
}

fn print_findings(dir: &std::path::Path, findings: &[Finding]) {
    for finding in findings {
        println!("{}/{finding}", dir.display());
    }
    let errors = findings
        .iter()
        .filter(|finding| finding.severity == Severity::Error)
        .count();
    if !findings.is_empty() {
        println!("{errors} errors, {} warnings", findings.len() - errors);
    }
}

fn print_explanation(explanation: &Explanation) {
    println!("{}", verdict(&explanation.decision));
    print_traces("matched", &explanation.matched);
    print_traces("nearly matched", &explanation.near_misses);
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

fn print_traces(title: &str, traces: &[RuleTrace]) {
    for trace in traces {
        let actor = trace
            .actor
            .as_ref()
            .map(|actor| format!(" as {actor}"))
            .unwrap_or_default();
        println!(
            "\n{title}{actor}: {} ({}, {})",
            trace.rule.0, trace.effect, trace.place
        );
        if let Some(why) = &trace.why {
            println!("  why: {why}");
        }
        for check in &trace.checks {
            let mark = if check.holds { "ok" } else { "NO" };
            println!(
                "  {mark}  {}: wants {}; is {}",
                check.field, check.wanted, check.found
            );
        }
    }
}

fn refused(dir: &std::path::Path, error: &PackError) -> ExitCode {
    if error.findings().is_empty() {
        return unreadable(error);
    }
    print_findings(dir, error.findings());
    exit(false)
}

fn unreadable(error: &PackError) -> ExitCode {
    let cause = std::error::Error::source(error)
        .map(|cause| format!(": {cause}"))
        .unwrap_or_default();
    eprintln!("weir: {error}{cause}");
    ExitCode::from(BAD_USAGE)
}

fn merge(report: &mut serde_json::Value, more: serde_json::Value) {
    if let (Some(report), serde_json::Value::Object(more)) = (report.as_object_mut(), more) {
        report.extend(more);
    }
}

fn exit(ok: bool) -> ExitCode {
    ExitCode::from(u8::from(!ok))
}

/// As clap has it.
const BAD_USAGE: u8 = 2;

const EXAMPLES: &str = "\
Examples:
  weir policy check policies/baseline
  weir policy test policies/baseline
  weir policy explain --policy policies/baseline --subject bob --group analyst --environment production 'DROP TABLE orders'
  weir policy explain --policy policies/baseline --agent churn-bot --environment production --json 'SELECT 1'

Exit codes: 0 nothing wrong, 1 findings or failed cases, 2 bad usage or a folder that cannot be read.";
