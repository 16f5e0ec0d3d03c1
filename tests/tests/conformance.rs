//! PostgreSQL's own suites give the same results through weir as beside it, under a pack that permits everything.
//!
//! Compared are the two runs with each other, not with the expected files: the installed server may differ from what
//! those were made with, and a difference that both runs show is none of weir's.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;
use tests::{Identity, Lab, LabOptions, place};

use source::Source;

#[path = "conformance/source.rs"]
mod source;

#[test]
fn the_regression_suite_gives_the_same_results() -> Result<()> {
    let source = Source::obtain()?;
    let suite = Suite {
        program: source.test("regress/pg_regress"),
        folder: source.test("regress"),
        inputs: &["sql", "expected", "data", "resultmap", "parallel_schedule"],
        libraries: &["regress.so", "refint.so", "autoinc.so"],
        schedule: "parallel_schedule",
        database: "regression",
        more_arguments: &["--max-concurrent-tests=20"],
        fewest_tests: 200,
        reruns: 0,
    };
    suite.gives_the_same_results()
}

#[test]
fn the_isolation_suite_gives_the_same_results() -> Result<()> {
    let source = Source::obtain()?;
    let suite = Suite {
        program: source.test("isolation/pg_isolation_regress"),
        folder: source.test("isolation"),
        inputs: &["specs", "expected", "isolation_schedule"],
        libraries: &[],
        schedule: "isolation_schedule",
        database: "isolation_regression",
        more_arguments: &[],
        fewest_tests: 100,
        reruns: 3,
    };
    suite.gives_the_same_results()
}

#[test]
fn libpq_pipelines_leave_the_same_traces() -> Result<()> {
    let source = Source::obtain()?;
    let program = source.test("modules/libpq_pipeline/libpq_pipeline");
    let expected = source.test("modules/libpq_pipeline/traces");
    let lab = start()?;
    let names = Command::new(&program)
        .arg("tests")
        .output()
        .context("cannot run libpq_pipeline")?;
    let names = String::from_utf8(names.stdout).context("names are not UTF-8")?;
    // A test finds the tables of the one before it, so each run has a database of its own.
    lab.admin("create database direct")?;
    lab.admin("create database governed")?;
    let mut compared = 0;
    for name in names.split_whitespace() {
        let direct = trace(lab.command_direct(&program), &lab, name, "direct")?;
        let governed = trace(
            lab.command(Identity::Alice, &program),
            &lab,
            name,
            "governed",
        )?;
        // Where libpq has no trace to expect, what is in it depends on how the bytes arrive.
        if expected.join(format!("{name}.trace")).is_file() {
            ensure!(
                governed == direct,
                "the trace of {name} differs\ngoverned:\n{governed}\ndirect:\n{direct}"
            );
            compared += 1;
        }
    }
    println!("{compared} traces are the same");
    ensure!(compared >= 9, "only {compared} traces were compared");
    Ok(())
}

/// Runs one test of libpq_pipeline to its successful end; returns its trace.
fn trace(mut command: Command, lab: &Lab, name: &str, database: &str) -> Result<String> {
    let file = lab.folder().join("libpq.trace");
    let output = command
        .args(["-r", "700", "-t"])
        .arg(&file)
        .args([name, &format!("dbname={database}")])
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {command:?}"))?;
    ensure!(
        output.status.success(),
        "{command:?} ({}): {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    fs::read_to_string(&file).with_context(|| format!("{name} left no trace"))
}

/// A suite that `pg_regress` or its sister for isolation tests drives.
struct Suite {
    program: PathBuf,
    folder: PathBuf,
    inputs: &'static [&'static str],
    libraries: &'static [&'static str],
    schedule: &'static str,
    /// Some tests know its name.
    database: &'static str,
    more_arguments: &'static [&'static str],
    fewest_tests: usize,
    /// How often tests whose results differ are run again, by themselves. An isolation test waits ten milliseconds for
    /// a notice before it prints that the session is blocked: on a busy machine the order of the two is chance.
    reruns: usize,
}

/// What one run left: result files by name.
struct Run {
    results: BTreeMap<String, Vec<u8>>,
    folder: PathBuf,
}

impl Suite {
    fn gives_the_same_results(&self) -> Result<()> {
        let lab = start()?;
        let home = self.set_out()?;
        let mut direct = self.run(&lab, None, home.path(), &[])?;
        let mut governed = self.run(&lab, Some(Identity::Alice), home.path(), &[])?;
        ensure!(
            direct.results.len() >= self.fewest_tests,
            "only {} tests ran",
            direct.results.len()
        );
        for _ in 0..self.reruns {
            let differing = direct.differs_in(&governed);
            if differing.is_empty() {
                break;
            }
            println!("run again: {differing:?}");
            direct.replace(self.run(&lab, None, home.path(), &differing)?);
            governed.replace(self.run(&lab, Some(Identity::Alice), home.path(), &differing)?);
        }
        let differing = direct.differs_in(&governed);
        if let Some(first) = differing.first() {
            let shown = Command::new("diff")
                .args(["--text", "--unified=3"])
                .arg(direct.folder.join(first))
                .arg(governed.folder.join(first))
                .output()
                .context("cannot run diff")?;
            let shown: String = String::from_utf8_lossy(&shown.stdout)
                .chars()
                .take(6000)
                .collect();
            bail!("{} results differ: {differing:?}\n{shown}", differing.len());
        }
        println!("{} results are the same", direct.results.len());
        Ok(())
    }

    /// Copies what is read at run time to where the server, which runs as somebody else, can read it too.
    fn set_out(&self) -> Result<TempDir> {
        let home = tempfile::Builder::new()
            .prefix("weir-conformance-")
            .permissions(Permissions::from_mode(0o755))
            .tempdir()
            .context("cannot make a folder")?;
        for name in self.inputs.iter().chain(self.libraries) {
            let copied = Command::new("cp")
                .arg("--recursive")
                .arg(self.folder.join(name))
                .arg(home.path())
                .status()
                .context("cannot run cp")?;
            ensure!(copied.success(), "cannot copy {name}");
        }
        Ok(home)
    }

    /// Runs the whole suite, or the tests that left the results `only`. Tests that fail are results like others; that
    /// they ran at all is seen by their number.
    fn run(
        &self,
        lab: &Lab,
        identity: Option<Identity>,
        home: &Path,
        only: &[String],
    ) -> Result<Run> {
        let results = home.join("results");
        fs::create_dir(&results).context("cannot make a folder for results")?;
        // The server and the client both write into it.
        fs::set_permissions(&results, Permissions::from_mode(0o777))
            .context("cannot open the folder for the server")?;
        let (host, mut command) = match identity {
            Some(identity) => ("127.0.0.1", lab.command(identity, "timeout")),
            None => (tests::Postgres::DIRECT_HOST, lab.command_direct("timeout")),
        };
        let psql = lab.postgres().programs().client("psql");
        let programs = psql.parent().context("psql lies in no folder")?;
        let mut tests: Vec<String> = only
            .iter()
            .map(|result| result.trim_end_matches(".out").to_owned())
            .collect();
        if tests.is_empty() {
            tests.push(format!("--schedule={}", home.join(self.schedule).display()));
        }
        let began = Instant::now();
        let output = command
            .args(["--kill-after=5", "600"])
            .arg(&self.program)
            .arg(format!("--inputdir={}", home.display()))
            .arg(format!("--outputdir={}", home.display()))
            .arg(format!("--dlpath={}", home.display()))
            .arg(format!("--bindir={}", programs.display()))
            .arg(format!("--host={host}"))
            .arg(format!("--port={}", lab.postgres().port()))
            .arg(format!("--user={}", tests::Postgres::USER))
            .arg(format!("--dbname={}", self.database))
            .args(self.more_arguments)
            .args(tests)
            .current_dir(self.folder.as_path())
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("cannot run {command:?}"))?;
        let printed = String::from_utf8_lossy(&output.stdout);
        let summary = printed
            .lines()
            .find(|line| line.contains("tests passed") || line.contains("tests failed"))
            .with_context(|| {
                format!(
                    "the suite did not end ({}): {printed}{}",
                    output.status,
                    String::from_utf8_lossy(&output.stderr)
                )
            })?;
        let name = identity.map_or("direct", |_| "governed");
        println!(
            "{name}: {} {:.1} s",
            summary.trim(),
            began.elapsed().as_secs_f64()
        );
        let kept = home.join(name);
        if kept.exists() {
            fs::remove_dir_all(&kept).context("cannot remove the run before")?;
        }
        fs::rename(&results, &kept).context("cannot keep the results")?;
        Ok(Run {
            results: files(&kept)?,
            folder: kept,
        })
    }
}

impl Run {
    /// The names of the results that are not the same in both.
    fn differs_in(&self, other: &Self) -> Vec<String> {
        let names: BTreeSet<&String> = self.results.keys().chain(other.results.keys()).collect();
        names
            .into_iter()
            .filter(|name| self.results.get(*name) != other.results.get(*name))
            .cloned()
            .collect()
    }

    /// Takes the results of a later run of some tests.
    fn replace(&mut self, later: Self) {
        self.results.extend(later.results);
        self.folder = later.folder;
    }
}

fn files(folder: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).context("cannot list the results")? {
        let entry = entry.context("cannot list the results")?;
        if entry.path().is_file() {
            let text = fs::read(entry.path()).context("cannot read a result")?;
            files.insert(entry.file_name().to_string_lossy().into_owned(), text);
        }
    }
    Ok(files)
}

fn start() -> Result<Lab> {
    let setting = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    Lab::start(&LabOptions {
        policy: Some(place::project().join("policies/permit-all")),
        server_settings: vec![
            setting("max_prepared_transactions", "10"),
            setting("max_connections", "120"),
        ],
        ..LabOptions::default()
    })
}
