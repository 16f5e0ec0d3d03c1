//! PostgreSQL's regression suite as a source of statements: it is run on a private server, which logs every text it reads.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Permissions};
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;
use tests::Postgres;

use crate::source::Source;

/// A text as a server read it. It was parsed: the server logs a text only behind its parser.
#[derive(Clone, Debug)]
pub(crate) struct Logged {
    /// Whether the session had `standard_conforming_strings` off.
    pub(crate) backslash_in_strings: bool,
    /// The text.
    pub(crate) text: String,
}

/// A suite that has been run; the database `regression` is what it left.
#[derive(Debug)]
pub(crate) struct Regression {
    log: PathBuf,
    // The suite's libraries are loaded from here by functions that it made.
    _home: TempDir,
}

/// What the server needs to be started with.
pub(crate) fn settings() -> Vec<(String, String)> {
    [
        ("logging_collector", "on"),
        ("log_destination", "jsonlog"),
        ("log_statement", "all"),
        ("log_rotation_size", "0"),
        ("log_directory", "statements"),
        ("log_filename", "all.log"),
        ("max_prepared_transactions", "10"),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .collect()
}

impl Regression {
    /// Runs the suite beside weir.
    ///
    /// # Errors
    ///
    /// When it cannot be had or does not come to its end.
    pub(crate) fn run(server: &Postgres) -> Result<Self> {
        let source = Source::obtain()?;
        let home = tempfile::Builder::new()
            .prefix("weir-regression-")
            .permissions(Permissions::from_mode(0o755))
            .tempdir()
            .context("cannot make a folder")?;
        for name in INPUTS {
            let copied = Command::new("cp")
                .arg("--recursive")
                .arg(source.test("regress").join(name))
                .arg(home.path())
                .status()
                .context("cannot run cp")?;
            ensure!(copied.success(), "cannot copy {name}");
        }
        // The server and the client both write into it.
        let results = home.path().join("results");
        fs::create_dir(&results).context("cannot make a folder for results")?;
        fs::set_permissions(&results, Permissions::from_mode(0o777))
            .context("cannot open the folder for the server")?;
        let psql = server.programs().client("psql");
        let programs = psql.parent().context("psql lies in no folder")?;
        let mut command = Command::new("timeout");
        command
            .args(["--kill-after=5", "600"])
            .arg(source.test("regress/pg_regress"))
            .arg(format!("--inputdir={}", home.path().display()))
            .arg(format!("--outputdir={}", home.path().display()))
            .arg(format!("--dlpath={}", home.path().display()))
            .arg(format!("--bindir={}", programs.display()))
            .arg(format!("--host={}", Postgres::DIRECT_HOST))
            .arg(format!("--port={}", server.port()))
            .arg(format!("--user={}", Postgres::USER))
            .arg(format!(
                "--schedule={}",
                home.path().join("parallel_schedule").display()
            ))
            .args(["--dbname=regression", "--max-concurrent-tests=20"])
            .current_dir(home.path())
            .stdin(Stdio::null());
        for variable in tests::postgres::CLIENT_VARIABLES {
            command.env_remove(variable);
        }
        let output = command.output().context("cannot run pg_regress")?;
        let printed = String::from_utf8_lossy(&output.stdout);
        ensure!(
            printed.contains("tests passed") || printed.contains("tests failed"),
            "the suite did not end ({}): {printed}{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(Self {
            log: server.data_folder().join("statements/all.json"),
            _home: home,
        })
    }

    /// Every text that the server parsed, in order.
    ///
    /// # Errors
    ///
    /// When the log cannot be read.
    pub(crate) fn logged(&self) -> Result<Vec<Logged>> {
        let file = fs::File::open(&self.log)
            .with_context(|| format!("cannot read {}", self.log.display()))?;
        let mut found = Vec::new();
        let mut modes: BTreeMap<String, bool> = BTreeMap::new();
        for line in BufReader::new(file).split(b'\n') {
            let line = line.context("cannot read the log")?;
            // Texts in other encodings than UTF-8 make lines that are no JSON.
            let Ok(entry) = serde_json::from_slice::<Value>(&line) else {
                continue;
            };
            let message = entry["message"].as_str().unwrap_or_default();
            let Some(text) = message.strip_prefix("statement: ") else {
                continue;
            };
            if entry["error_severity"] == "LOG" && entry["dbname"] == "regression" {
                let session = entry["session_id"].as_str().unwrap_or_default();
                let mode = modes.entry(session.to_owned()).or_default();
                found.push(Logged {
                    backslash_in_strings: *mode,
                    text: text.to_owned(),
                });
                *mode = backslashes_after(text).unwrap_or(*mode);
            }
        }
        ensure!(
            found.len() >= 35_000,
            "the server logged only {} texts",
            found.len()
        );
        Ok(found)
    }

    /// The texts that are queries, each once.
    ///
    /// # Errors
    ///
    /// When the log cannot be read.
    pub(crate) fn queries(&self) -> Result<Vec<String>> {
        let mut seen = BTreeSet::new();
        let mut queries = Vec::new();
        for logged in self.logged()? {
            let is_plain = is_query(&logged.text) && !logged.backslash_in_strings;
            if is_plain && seen.insert(logged.text.clone()) {
                queries.push(logged.text);
            }
        }
        Ok(queries)
    }
}

const INPUTS: &[&str] = &[
    "sql",
    "expected",
    "data",
    "resultmap",
    "parallel_schedule",
    "regress.so",
    "refint.so",
    "autoinc.so",
];

/// How the session's next texts are read, when this one changes it.
fn backslashes_after(text: &str) -> Option<bool> {
    let text = text.to_ascii_lowercase();
    let words: Vec<&str> = text
        .split(|c: char| c.is_whitespace() || "=;'".contains(c))
        .filter(|word| !word.is_empty())
        .collect();
    match words.as_slice() {
        ["set", "standard_conforming_strings", rest @ ..]
        | [
            "set",
            "session" | "local",
            "standard_conforming_strings",
            rest @ ..,
        ] => Some(rest.last() == Some(&"off")),
        ["reset", "standard_conforming_strings" | "all"] | ["discard", "all"] => Some(false),
        _ => None,
    }
}

/// By its first word; a comment in front of it hides it, which loses a few.
fn is_query(text: &str) -> bool {
    let first = text.trim_start_matches(|c: char| c.is_whitespace() || c == '(');
    let word: String = first
        .chars()
        .take_while(char::is_ascii_alphabetic)
        .collect();
    ["select", "values", "table", "with"].contains(&word.to_ascii_lowercase().as_str())
}

#[test]
fn queries_are_told_by_their_first_word() {
    assert!(is_query(" ((SELECT 1))") && is_query("with a as (select 1) table a"));
    assert!(!is_query("insert into t select 1") && !is_query("selection") && !is_query(""));
}

#[test]
fn a_session_is_followed() {
    assert_eq!(
        backslashes_after("SET standard_conforming_strings TO off;"),
        Some(true)
    );
    assert_eq!(
        backslashes_after("set standard_conforming_strings = 'on'"),
        Some(false)
    );
    assert_eq!(backslashes_after("select 1"), None);
}
