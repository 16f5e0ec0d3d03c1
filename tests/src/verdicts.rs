//! What the client programs in `drivers/` print, one JSON object a line: `{"case": …, "ok": …, "got": …}`.
//!
//! A program ends with a case called `finished`; one that does not has died on its way, and that is a failure too.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::lab::{Identity, Lab};
use crate::place;

/// One case of a program.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// What was tried.
    pub case: String,
    /// Whether it went as the program expects.
    pub ok: bool,
    /// What was seen.
    pub got: Value,
}

/// After this a program is taken for stuck, unless it is given more; the slowest takes about a minute on a busy machine.
const PATIENCE: Duration = Duration::from_mins(4);

/// A program of `drivers/` and the interpreter that runs it.
#[derive(Clone, Debug)]
pub struct Program {
    interpreter: PathBuf,
    file: PathBuf,
    arguments: Vec<String>,
    patience: Duration,
}

impl Program {
    /// A Python program that needs nothing but Python.
    #[must_use]
    pub fn python(name: &str) -> Self {
        Self::new("python3".into(), name)
    }

    /// A Python program that needs the drivers.
    ///
    /// # Errors
    ///
    /// When the drivers are not installed.
    pub fn python_with_drivers(name: &str) -> Result<Self> {
        let interpreter = place::python_environment()?.join("bin/python");
        ensure!(
            interpreter.is_file(),
            "{} is missing: run `cargo xtask setup --for test`",
            interpreter.display()
        );
        Ok(Self::new(interpreter, name))
    }

    /// A program for Node.js with the drivers.
    #[must_use]
    pub fn node(name: &str) -> Self {
        Self::new("node".into(), name)
    }

    fn new(interpreter: PathBuf, name: &str) -> Self {
        Self {
            interpreter,
            file: drivers().join(name),
            arguments: Vec::new(),
            patience: PATIENCE,
        }
    }

    /// Gives it more time than a program usually has.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Adds an argument.
    #[must_use]
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// The command that runs it as one of the lab's people.
    #[must_use]
    pub fn governed(&self, lab: &Lab, identity: Identity) -> Command {
        self.complete(lab.command(identity, "timeout"))
    }

    /// The command that runs it beside weir.
    #[must_use]
    pub fn direct(&self, lab: &Lab) -> Command {
        self.complete(lab.command_direct("timeout"))
    }

    fn complete(&self, mut command: Command) -> Command {
        command
            .arg("--kill-after=5")
            .arg(self.patience.as_secs().to_string())
            .arg(&self.interpreter)
            .arg(&self.file)
            .args(&self.arguments)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("NODE_NO_WARNINGS", "1")
            .stdin(Stdio::null());
        if let Ok(modules) = place::node_modules() {
            command.env("WEIR_TEST_NODE_MODULES", modules);
        }
        command
    }
}

/// The folder of the client programs.
#[must_use]
pub fn drivers() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("drivers")
}

/// Runs a program to its end and reads its verdicts.
///
/// # Errors
///
/// When it cannot be run or dies before it has finished.
pub fn run(mut command: Command) -> Result<Vec<Verdict>> {
    let output = command
        .output()
        .with_context(|| format!("cannot run {command:?}"))?;
    let printed = String::from_utf8_lossy(&output.stdout);
    let mut verdicts = Vec::new();
    for line in printed.lines() {
        verdicts.push(parse(line).with_context(|| format!("{line:?} is no verdict"))?);
    }
    let finished = verdicts.pop_if(|last| last.case == "finished");
    if finished.is_none() || !output.status.success() {
        bail!(
            "{command:?} died ({}) behind {:?}: {}",
            output.status,
            verdicts.last().map(|verdict| &verdict.case),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(verdicts)
}

fn parse(line: &str) -> Result<Verdict> {
    let mut value: Value = serde_json::from_str(line)?;
    Ok(Verdict {
        case: value["case"].as_str().context("no case")?.to_owned(),
        ok: value["ok"].as_bool().context("no ok")?,
        got: value["got"].take(),
    })
}

/// How many cases of a program that judges them itself came to `verdict`.
#[must_use]
pub fn count(verdicts: &[Verdict], verdict: &str) -> usize {
    let came_to = |case: &&Verdict| case.got["verdict"] == verdict;
    verdicts.iter().filter(came_to).count()
}

/// Demands that every case went as the program expects.
///
/// # Errors
///
/// Names all those that did not.
pub fn all_well(verdicts: &[Verdict]) -> Result<()> {
    ensure!(!verdicts.is_empty(), "the program has no cases");
    let mut failures = String::new();
    for verdict in verdicts.iter().filter(|verdict| !verdict.ok) {
        let _ = writeln!(failures, "{}: {}", verdict.case, pretty(&verdict.got));
    }
    ensure!(failures.is_empty(), "\n{failures}");
    Ok(())
}

/// Demands that a governed run saw what a direct one did, and that the direct one went well. Of the cases named in
/// `apart` it demands only that they went well.
///
/// # Errors
///
/// Names all cases that differ, with both results.
pub fn same(governed: &[Verdict], direct: &[Verdict], apart: &[&str]) -> Result<()> {
    all_well(direct).context("the run beside weir")?;
    ensure!(
        governed.len() == direct.len(),
        "{} cases governed, {} direct",
        governed.len(),
        direct.len()
    );
    let mut differences = String::new();
    for (ours, theirs) in governed.iter().zip(direct) {
        let well = if apart.contains(&ours.case.as_str()) {
            ours.ok && ours.case == theirs.case
        } else {
            ours == theirs
        };
        if !well {
            let _ = writeln!(
                differences,
                "{}:\n  governed: {}\n  direct:   {}",
                theirs.case,
                pretty(&ours.got),
                pretty(&theirs.got)
            );
        }
    }
    ensure!(differences.is_empty(), "\n{differences}");
    Ok(())
}

/// Long results are cut: the beginning tells enough.
fn pretty(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => {
            let text = other.to_string();
            match text.char_indices().nth(1500) {
                Some((at, _)) => format!("{}…", &text[..at]),
                None => text,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(case: &str, ok: bool, got: &str) -> Verdict {
        Verdict {
            case: case.to_owned(),
            ok,
            got: Value::String(got.to_owned()),
        }
    }

    fn printing(text: &str) -> Command {
        let mut command = Command::new("printf");
        command.args(["%s", text]);
        command
    }

    #[test]
    fn a_program_that_does_not_finish_fails() {
        let one = "{\"case\": \"a\", \"ok\": true, \"got\": 1}\n";
        let end = "{\"case\": \"finished\", \"ok\": true, \"got\": null}\n";
        assert!(run(printing(one)).is_err());
        assert!(run(printing("noise\n")).is_err());
        let verdicts = run(printing(&format!("{one}{end}"))).expect("a whole run");
        assert_eq!(verdicts.len(), 1);
    }

    #[test]
    fn every_difference_is_named() {
        let direct = [verdict("a", true, "1"), verdict("b", true, "2")];
        assert!(same(&direct, &direct, &[]).is_ok());
        let governed = [verdict("a", true, "1"), verdict("b", true, "3")];
        let said = same(&governed, &direct, &[])
            .expect_err("b differs")
            .to_string();
        assert!(said.contains("b:") && !said.contains("a:"), "{said}");
        assert!(same(&governed[..1], &direct, &[]).is_err());
        assert!(same(&governed, &direct, &["b"]).is_ok());
    }

    #[test]
    fn a_direct_run_that_fails_proves_nothing() {
        let broken = [verdict("a", false, "no driver")];
        assert!(same(&broken, &broken, &["a"]).is_err());
        assert!(all_well(&[]).is_err());
    }
}
