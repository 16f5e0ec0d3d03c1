//! `weir policy`: checks a pack, holds it to its cases, explains one decision, replays recorded ones.

mod changes;
pub(super) mod explain;
mod replay;

use std::{fmt::Write as _, path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::Subcommand;
use serde_json::json;
use weir_policy::{Finding, PackError, Severity};

use crate::{
    cli::output::print,
    clock,
    policy::{Loaded, Settings, load},
};

/// Validates a policy pack, runs its cases, explains a decision, replays recorded ones.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Says what is wrong with a pack: file, line, column, and what to do.
    #[command(
        after_help = "Exit codes: 0 nothing wrong, 1 findings, 2 bad usage or a folder that cannot be read.\n\nExample:\n  weir policy check policies/baseline"
    )]
    Check(PackArgs),
    /// Decides every case of the pack's cases.yaml and compares.
    #[command(
        after_help = "Exit codes: 0 all are decided as they say, 1 some are not, or there is none, 2 bad usage or a folder that cannot be read.\n\nExample:\n  weir policy test policies/baseline --json"
    )]
    Test(PackArgs),
    /// Shows which rules decide about a statement, field by field, and which nearly did.
    Explain(Box<explain::Args>),
    /// Decides recorded statements by another pack, and shows what would change.
    Replay(replay::Args),
    /// Decides recorded statements by two packs, and shows where they differ.
    Diff(replay::DiffArgs),
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

/// Runs `weir policy`.
///
/// # Errors
///
/// When an answer cannot be written, or the journal cannot be read; what is wrong with a pack is printed instead.
pub(super) fn run(args: Args) -> Result<ExitCode> {
    match args.command {
        Command::Check(args) => check(&args),
        Command::Test(args) => test(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Diff(args) => replay::diff(&args),
    }
}

fn check(args: &PackArgs) -> Result<ExitCode> {
    let (findings, summary) = match open(args.dir.clone()) {
        Ok(loaded) => {
            let pack = &loaded.pack;
            let mut findings = pack.warnings().to_vec();
            findings.extend(pack.expired(clock::now()));
            let summary = json!({
                "rules": pack.rules().len(), "cases": pack.cases().len(), "digest": loaded.digest,
                "coverage": pack.coverage(),
            });
            (findings, summary)
        }
        Err(PackError::Refused(findings)) => (findings, json!({})),
        Err(error) => return Ok(unreadable(&error)),
    };
    if args.json {
        let mut report =
            json!({ "path": args.dir, "ok": findings.is_empty(), "findings": findings });
        merge(&mut report, summary);
        print(&format!("{report:#}\n"))?;
    } else {
        print(&listed(&args.dir, &findings))?;
        if findings.is_empty() {
            print(&format!(
                "{}: {} rules, {} cases, nothing wrong\n",
                args.dir.display(),
                summary["rules"],
                summary["cases"]
            ))?;
        }
    }
    Ok(exit(findings.is_empty()))
}

fn test(args: &PackArgs) -> Result<ExitCode> {
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
        let report =
            json!({ "path": args.dir, "ok": ok, "cases": results.len(), "failed": failed });
        print(&format!("{report:#}\n"))?;
    } else {
        let mut out = String::new();
        for result in &failed {
            let failure = result.failure.as_deref().unwrap_or_default();
            let _ = writeln!(
                out,
                "{}/{}: {}: {failure}",
                args.dir.display(),
                result.place,
                result.name
            );
        }
        let _ = writeln!(
            out,
            "{}: {} cases, {} failed",
            args.dir.display(),
            results.len(),
            failed.len()
        );
        if results.is_empty() {
            out.push_str("add a cases.yaml that says what the rules are for\n");
        }
        print(&out)?;
    }
    Ok(exit(ok))
}

pub(super) fn open(dir: PathBuf) -> Result<Loaded, PackError> {
    load::load(&Settings {
        dir,
        ..Settings::default()
    })
}

fn listed(dir: &std::path::Path, findings: &[Finding]) -> String {
    let mut out = String::new();
    for finding in findings {
        let _ = writeln!(out, "{}/{finding}", dir.display());
    }
    let errors = findings
        .iter()
        .filter(|finding| finding.severity == Severity::Error)
        .count();
    if !findings.is_empty() {
        let _ = writeln!(out, "{errors} errors, {} warnings", findings.len() - errors);
    }
    out
}

fn refused(dir: &std::path::Path, error: &PackError) -> Result<ExitCode> {
    if error.findings().is_empty() {
        return Ok(unreadable(error));
    }
    print(&listed(dir, error.findings()))?;
    Ok(exit(false))
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
  weir policy explain --policy policies/pii --as bob 'SELECT ssn FROM customers'
  weir policy explain --policy policies/baseline --pid 4242 'SELECT 1'
  weir policy replay --policy policies/pii --since 7d
  weir policy diff policies/baseline policies/production --since 24h --json

Exit codes: 0 nothing wrong, 1 findings, failed cases, or changes with --fail-on-change, 2 bad usage or a folder that cannot be read.";
