//! `weir discover`: which columns hold sensitive data, and why that is thought.

use std::{
    fmt::Write as _,
    fs::OpenOptions,
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use comfy_table::Table;
use serde_json::json;
use weir_detect::columns::{Evidence, Extent};

use crate::{
    cli::output::print,
    control::{Client, socket_path},
    discover::{Found, Plan, Progress, Proposed},
    terminal::visible_line,
};

/// Proposes classes for the columns of the databases that sessions on this host speak to.
///
/// The agent reads a sample of each table over its own connection. Evidence is counts: no value is shown or kept.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 looked at every database, 1 not.\n\nExamples:\n  weir discover\n  weir discover --database shop --sample 1000 --json\n  weir discover --write classes.yaml"
)]
pub(super) struct Args {
    /// Only databases of this endpoint.
    #[arg(long, value_name = "NAME")]
    endpoint: Option<String>,
    /// Only databases of this name.
    #[arg(long, value_name = "NAME")]
    database: Option<String>,
    /// Rows to look at in each table.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    sample: u32,
    /// Also what the policy's classes say already.
    #[arg(long)]
    all: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Writes the proposals as a `classes.yaml` to review; refuses to replace a file.
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> Result<ExitCode> {
    let mut progress = look(args)?;
    if !args.all {
        for found in &mut progress.found {
            found.proposals.retain(|proposed| !proposed.is_known());
        }
    }
    if let Some(file) = &args.write {
        write(file, &progress.found)?;
    }
    if args.json {
        print(&format!(
            "{}\n",
            serde_json::to_string_pretty(&progress.found)?
        ))?;
    } else {
        let mut out = String::new();
        for found in &progress.found {
            describe(&mut out, found);
        }
        print(&out)?;
    }
    let failed = progress.found.iter().any(|found| found.problem.is_some());
    Ok(if failed || !progress.done {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn look(args: &Args) -> Result<Progress> {
    let plan = Plan {
        endpoint: args.endpoint.clone(),
        database: args.database.clone(),
        sample: args.sample,
    };
    let begun = ask(&json!({ "op": "discover", "plan": plan }))?;
    loop {
        let progress = ask(&json!({ "op": "discovered", "job": begun["job"] }))?;
        let progress: Progress =
            serde_json::from_value(progress).context("the agent's answer cannot be read")?;
        if progress.done {
            return Ok(progress);
        }
        thread::sleep(PAUSE);
    }
}

fn ask(request: &serde_json::Value) -> Result<serde_json::Value> {
    Ok(Client::connect(&socket_path())?.ask(request)?)
}

fn describe(out: &mut String, found: &Found) {
    let _ = writeln!(
        out,
        "{} at {} ({}): {} columns of {} tables",
        visible_line(&found.database),
        found.address,
        found.endpoint,
        found.columns,
        found.relations
    );
    if let Some(problem) = &found.problem {
        let _ = writeln!(out, "  not looked at to the end: {}", visible_line(problem));
        if found.columns == 0 {
            out.push('\n');
            return;
        }
    }
    if !found.unread.is_empty() {
        let _ = writeln!(out, "  judged by names and types only:");
        for unread in &found.unread {
            let line = format!("    {}: {}", unread.relation, unread.why);
            let _ = writeln!(out, "{}", visible_line(&line));
        }
    }
    if found.proposals.is_empty() {
        let _ = writeln!(out, "  nothing to propose\n");
        return;
    }
    let mut table = Table::new();
    table.set_header(["column", "class", "sure", "why"]);
    for proposed in &found.proposals {
        table.add_row([
            visible_line(&proposed.column.to_string()),
            class(proposed),
            format!("{} %", proposed.proposal.confidence),
            visible_line(&why(&proposed.proposal.evidence)),
        ]);
    }
    let _ = writeln!(out, "{table}\n");
}

fn class(proposed: &Proposed) -> String {
    let proposal = &proposed.proposal;
    let mut text = match proposal.extent {
        Extent::Whole => proposal.class.clone(),
        Extent::Within => format!("contains {}", proposal.class),
    };
    for class in &proposal.also {
        text.push_str(", ");
        text.push_str(class);
    }
    text
}

fn why(evidence: &Evidence) -> String {
    let mut parts = Vec::new();
    if let Some(name) = &evidence.name {
        parts.push(format!("name says {name:?}"));
    }
    parts.push(format!("type {}", evidence.type_name));
    for count in evidence.values.iter().take(3) {
        parts.push(format!(
            "{} of {} {}",
            count.values, evidence.sampled, count.kind
        ));
    }
    if evidence.sampled == 0 {
        parts.push("no values seen".to_owned());
    } else if evidence.values.is_empty() {
        parts.push(format!("{} values tell nothing", evidence.sampled));
    }
    parts.join(", ")
}

fn write(file: &Path, found: &[Found]) -> Result<()> {
    let opened = OpenOptions::new().write(true).create_new(true).open(file);
    let mut opened = match opened {
        Ok(opened) => opened,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            bail!(
                "{} is there already: write to another file and take over what you agree with",
                file.display()
            )
        }
        Err(error) => {
            return Err(error).with_context(|| format!("writing {}", file.display()));
        }
    };
    opened
        .write_all(yaml(found).as_bytes())
        .with_context(|| format!("writing {}", file.display()))?;
    eprintln!(
        "proposals are in {}: review them before use",
        file.display()
    );
    Ok(())
}

/// A `classes.yaml`. Names with a dot or a star in them would be read as patterns, and are left to a person.
fn yaml(found: &[Found]) -> String {
    let mut text =
        "# Proposed by weir discover: review every line.\nversion: 1\ncolumns:\n".to_owned();
    let mut written = std::collections::BTreeSet::new();
    for proposed in found.iter().flat_map(|found| &found.proposals) {
        let name = &proposed.column;
        let parts = [&name.schema, &name.relation, &name.column];
        let is_plain = parts
            .iter()
            .all(|part| !part.contains(['.', '*', '?', '[', '\n', '\r']));
        let key = proposed.column.to_string();
        let note = format!(
            "{} %, {}",
            proposed.proposal.confidence,
            why(&proposed.proposal.evidence)
        );
        let note = note.replace(['\n', '\r'], " ");
        if !is_plain {
            text.push_str("  # a name with signs of a pattern in it is left out\n");
        } else if written.insert(key.clone()) {
            let key = serde_json::Value::from(key);
            let class = &proposed.proposal.class;
            let extent = match proposed.proposal.extent {
                Extent::Whole => "",
                Extent::Within => " inside its text",
            };
            // Writing into a string cannot fail.
            let _ = writeln!(text, "  {key}: {class} # {note}{extent}");
        }
    }
    if written.is_empty() {
        text.truncate(text.len() - "columns:\n".len());
        text.push_str("columns: {}\n");
    }
    text
}

const PAUSE: Duration = Duration::from_millis(300);

#[cfg(test)]
mod tests {
    use super::*;
    use weir_detect::columns::{Count, Proposal};
    use weir_policy::{Mode, Pack, Sources};
    use weir_sql::ColumnName;

    fn found(columns: &[&str]) -> Vec<Found> {
        let proposals = columns.iter().map(|column| Proposed {
            column: ColumnName {
                schema: "app".to_owned(),
                relation: "customers".to_owned(),
                column: (*column).to_owned(),
            },
            known: Vec::new(),
            proposal: Proposal {
                class: "pii.email".to_owned(),
                extent: Extent::Whole,
                confidence: 97,
                also: Vec::new(),
                evidence: Evidence {
                    name: Some("email".to_owned()),
                    type_name: "text".to_owned(),
                    sampled: 10,
                    values: vec![Count {
                        kind: "email".to_owned(),
                        values: 9,
                    }],
                },
            },
        });
        vec![Found {
            endpoint: "shop".to_owned(),
            address: "127.0.0.1:5432".to_owned(),
            database: "app".to_owned(),
            at_s: 0,
            relations: 1,
            columns: 1,
            unread: Vec::new(),
            problem: None,
            proposals: proposals.collect(),
        }]
    }

    fn compiles(text: String) -> bool {
        let rules = "version: 1\ndefaults: { effect: deny }\nrules:\n  - id: a\n    match: { kind: [select] }\n    effect: allow\n";
        let files = vec![
            ("classes.yaml".to_owned(), text),
            ("rules.yaml".to_owned(), rules.to_owned()),
        ];
        let sources = Sources::from_files(Path::new("test"), files);
        match Pack::compile(&sources, Mode::Enforce) {
            Ok(pack) => !pack.classes().columns.is_empty(),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn what_is_written_is_a_classes_file() {
        assert!(compiles(yaml(&found(&[
            "email",
            "e mail: x",
            "\"quoted\" # y"
        ]))));
        assert!(!compiles(yaml(&found(&[]))));
    }

    #[test]
    fn names_that_would_be_patterns_are_left_out() {
        assert!(!yaml(&found(&["a.b", "*"])).contains("pii.email"));
    }

    #[test]
    fn evidence_is_told_in_one_line() {
        let all = found(&["email"]);
        assert_eq!(
            why(&all[0].proposals[0].proposal.evidence),
            "name says \"email\", type text, 9 of 10 email"
        );
    }
}
